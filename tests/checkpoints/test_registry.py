"""The registry: sound in itself, in agreement with the networks' sizes, and shown unchanged in the README."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundle3d.pipelines.checkpoints.registry import CHECKPOINTS, ELEMENT_BYTES, FILE, REGISTRY, find, read_registry
from bundle3d.pipelines.checkpoints.report import readme_table
from bundle3d.pipelines.errors import Bundle3DError

README = Path(__file__).resolve().parents[2] / "README.md"
PHASE = {"name": "draw", "roles": ["vae"], "working_bytes": 1}
NETWORKS = {
    "FLUX.1-dev (bf16)": 11_901_408_320,
    "ControlNet Union (InstantX)": 3_301_956_608,
    "FLUX.1 Redux": 64_503_808,
    "FlexGen multi-view UNet": 865_910_724,
    "PRM reconstruction model": 378_681_518,
    "Pixal3D for several views": 1_339_411_976 + 2 * 1_386_671_648 + 1_386_720_800,
    "TRELLIS.2 shape decoder for ComfyUI": 73_671_201 + 474_231_463,
    "TRELLIS.2 texture decoder for ComfyUI": 474_216_006,
    "NAF": 662_528,
}


def test_a_file_is_as_big_as_its_numbers_and_a_header() -> None:
    checked = 0
    for checkpoint in CHECKPOINTS:
        networks = [checkpoint.networks.get(role) for role in checkpoint.roles]
        if len(checkpoint.files) == 1 and checkpoint.bytes and all(networks):
            weights = sum(network.memory(0) for network in networks if network)
            assert 0.999 < checkpoint.bytes / weights < 1.09, checkpoint.name
            checked += 1
    assert checked >= 15


def test_parameter_counts_are_those_of_the_architectures() -> None:
    for name, count in NETWORKS.items():
        checkpoint = REGISTRY.named(name)
        assert sum(network.parameters for network in checkpoint.networks.values()) == count
    with pytest.raises(Bundle3DError, match="'FLUX 9' is none"):
        REGISTRY.named("FLUX 9")


def test_memory_follows_the_number_type() -> None:
    assert REGISTRY.named("FLUX.1-dev (bf16)").memory == {"bfloat16": 23_802_816_640, "float8_e4m3fn": 11_901_408_320}
    whole = REGISTRY.named("FLUX.1-dev (diffusers folder)")
    assert whole.memory["bfloat16"] == 2 * sum(network.parameters for network in whole.networks.values())
    assert REGISTRY.named("MoGe-2 ViT-L").memory == {}
    for checkpoint in CHECKPOINTS:
        for network in checkpoint.networks.values():
            widths = [ELEMENT_BYTES[dtype] for dtype in network.dtypes]
            assert widths == sorted(widths, reverse=True), checkpoint.name


def test_every_role_of_a_stage_can_be_filled_and_the_recommended_one_is_open() -> None:
    for stage in REGISTRY.stages.values():
        for role in stage.required + stage.optional:
            assert REGISTRY.find(role, stage.id), f"{stage.id}: {role}"
    for role in REGISTRY.stage("text-to-3d").required:
        assert not find(role)[0].gated, role
    with pytest.raises(Bundle3DError, match="'magic' is given"):
        REGISTRY.stage("magic")


def test_what_is_made_from_flux_dev_is_not_commercial() -> None:
    derived = [c for c in CHECKPOINTS if "FLUX.1-dev" in c.repository or c.name.startswith(("FLUX.1-dev", "Kiss3DGen"))]
    assert len(derived) >= 9
    assert {checkpoint.licence.commercial for checkpoint in derived} == {False}


def test_equal_hashes_mean_equal_sizes() -> None:
    sizes: dict[str, set[int | None]] = {}
    for file in (file for checkpoint in CHECKPOINTS for file in checkpoint.files if file.sha256):
        sizes.setdefault(str(file.sha256), set()).add(file.bytes)
    assert all(len(found) == 1 for found in sizes.values())


def test_links_are_what_the_frontend_reads() -> None:
    assert REGISTRY.named("CLIP-L text encoder").link() == {
        "name": "clip_l.safetensors",
        "url": "https://huggingface.co/comfyanonymous/flux_text_encoders/resolve/main/clip_l.safetensors",
        "directory": "text_encoders",
        "hash": "660c6f5b1abae9dc498ac2d21e1347d2abdb0cf6c0c0c8576cd796491d9a6cdd",
        "hash_type": "SHA256",
    }
    assert "hash" not in REGISTRY.named("Kiss3DGen LoRA").link()
    with pytest.raises(Bundle3DError, match="Qwen2-7B-Instruct has several"):
        REGISTRY.named("Qwen2-7B-Instruct").link()


def test_the_readme_shows_the_table_of_the_registry() -> None:
    assert readme_table() in README.read_text("utf-8"), "put the result of report.readme_table() under ## Models"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data["checkpoints"][0].update(roles=["wizard"]), "an unknown role in"),
        (lambda data: data["checkpoints"][0].update(stages=["text-to-4d"]), "an unknown stage in"),
        (lambda data: data["checkpoints"][1].update(name=data["checkpoints"][0]["name"]), "a checkpoint twice"),
        (lambda data: data["checkpoints"][0]["files"][0].update(sha256="abc"), "a bad hash in"),
        (lambda data: data["checkpoints"][0]["files"][0].update(bytes=0), "a bad size in"),
        (lambda data: data["checkpoints"][0]["files"][0].update(path="../x.safetensors"), "leaves the folder"),
        (lambda data: data["checkpoints"][0].update(files=[]), "neither a file nor a folder"),
        (lambda data: data["checkpoints"][0].update(licence="my own"), "my own"),
        (lambda data: data["checkpoints"][0].update(repository="flux"), "a repository without owner"),
        (lambda data: data["checkpoints"][0].pop("folder"), "folder"),
        (lambda data: data["stages"]["selfi"].update(required=["vae"]), "no vae for selfi"),
        (lambda data: data["stages"]["selfi"]["phases"].append(PHASE), "a phase of selfi"),
    ],
)  # fmt: skip
def test_contradictions_are_refused(tmp_path: Path, change: Callable[[dict[str, Any]], Any], words: str) -> None:
    data = copy.deepcopy(json.loads(FILE.read_text("utf-8")))
    change(data)
    file = tmp_path / "registry.json"
    file.write_text(json.dumps(data), "utf-8")
    with pytest.raises(Bundle3DError, match="in registry") as refusal:
        read_registry(file)
    assert words in str(refusal.value)
