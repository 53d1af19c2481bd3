"""Checkpoints on disk: found under their own or another name, and every way of not being whole."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from bundle3d.pipelines.checkpoints.presence import ModelFiles, Presence, look_for, model_folders, sha256_of
from bundle3d.pipelines.checkpoints.registry import REGISTRY, Checkpoint, RemoteFile
from safetensors.torch import save_file

NAME = "FLUX.1-dev-Controlnet-Union.safetensors"
REMOTE = "diffusion_pytorch_model.safetensors"


def weights(path: Path, seed: int = 0) -> Path:
    """A small safetensors file; files of different seeds have the same size and other content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"layer.weight": torch.randn(16, 16, generator=torch.Generator().manual_seed(seed))}, path)
    return path


def sized_as(name: str, path: Path, save_as: str | None = None, remote: str = REMOTE) -> Checkpoint:
    """The registry's entry as if the file at ``path`` were what is published."""
    file = RemoteFile(remote, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest(), save_as)
    return replace(REGISTRY.named(name), files=(file,))


@pytest.fixture
def union(tmp_path: Path) -> Checkpoint:
    """ControlNet Union, with a small file for the published one."""
    return sized_as("ControlNet Union (InstantX)", weights(tmp_path / "published.safetensors"), NAME)


@pytest.fixture
def pro(tmp_path: Path) -> Checkpoint:
    """Another ControlNet whose file has the same size."""
    file = weights(tmp_path / "published_pro.safetensors", seed=1)
    return sized_as("ControlNet Union Pro (Shakker Labs)", file, "FLUX.1-dev-ControlNet-Union-Pro.safetensors")


def look(checkpoint: Checkpoint, models: Path, *others: Checkpoint, verify: bool = False) -> Presence:
    return look_for(checkpoint, ModelFiles(model_folders([models]), (checkpoint, *others)), verify)


def test_nothing_is_missing_quietly(union: Checkpoint, tmp_path: Path) -> None:
    found = look(union, tmp_path / "no such folder")
    assert (found.state, found.path, found.usable) == ("missing", None, False)


@pytest.mark.parametrize("place", [f"controlnet/{NAME}", f"controlnet/flux/{NAME.upper()}", f"t2i_adapter/{NAME}"])
def test_a_file_is_found_by_its_name_in_any_folder_of_its_kind(union: Checkpoint, tmp_path: Path, place: str) -> None:
    path = weights(tmp_path / "models" / place)
    found = look(union, tmp_path / "models")
    assert (found.state, found.path, found.detail) == ("present", path, "")
    assert look(union, tmp_path / "models", verify=True).verified


def test_a_link_that_leads_nowhere_is_no_file(union: Checkpoint, pro: Checkpoint, tmp_path: Path) -> None:
    link = tmp_path / "models" / "controlnet" / NAME
    link.parent.mkdir(parents=True)
    try:
        link.symlink_to(tmp_path / "gone.safetensors")
    except OSError:
        pytest.skip("this user may not make links here")
    assert look(union, tmp_path / "models", pro).state == "missing"
    assert look(pro, tmp_path / "models", union).state == "missing"


def test_another_name_is_known_by_its_size_and_proved_by_its_hash(union: Checkpoint, tmp_path: Path) -> None:
    models = tmp_path / "models"
    path = weights(models / "controlnet" / "my union.safetensors")
    found = look(union, models)
    assert found.usable and found.path == path and "size only" in found.detail
    assert look(union, models, verify=True) == Presence(union, "present", path, verified=True)
    weights(path, seed=5)
    assert look(union, models, verify=True).state == "missing"


def test_the_name_of_another_checkpoint_is_stronger_than_the_size(
    union: Checkpoint, pro: Checkpoint, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    weights(models / "controlnet" / pro.files[0].name, seed=1)
    assert look(pro, models, union).state == "present"
    assert look(union, models, pro).state == "missing"


def test_two_of_one_size_are_told_apart_by_the_hash(union: Checkpoint, pro: Checkpoint, tmp_path: Path) -> None:
    models = tmp_path / "models"
    weights(models / "controlnet" / REMOTE, seed=1)
    assert look(union, models, pro).usable and look(pro, models, union).usable
    assert not look(union, models, pro, verify=True).usable
    assert look(pro, models, union, verify=True).verified


def test_a_namesake_of_another_size_is_not_taken_for_a_broken_file(tmp_path: Path) -> None:
    whole, part = weights(tmp_path / "a.safetensors"), tmp_path / "b.safetensors"
    save_file({"w": torch.zeros(4)}, part)
    together = sized_as("FLUX.1-dev all in one (fp8)", whole, remote="flux1-dev-fp8.safetensors")
    alone = sized_as("FLUX.1-dev (fp8)", part, remote="flux1-dev-fp8.safetensors")
    path = weights(tmp_path / "models" / "diffusion_models" / "flux1-dev-fp8.safetensors")
    assert look(alone, tmp_path / "models", together).state == "missing"
    found = look(together, tmp_path / "models", alone)
    assert (found.state, found.path) == ("misplaced", path)
    assert found.detail == "lies in models/diffusion_models; move it to models/checkpoints"


def test_files_that_are_not_whole_say_so(union: Checkpoint, tmp_path: Path) -> None:
    models = tmp_path / "models"
    path = weights(models / "controlnet" / NAME)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    found = look(union, models)
    assert found.state == "truncated" and found.path == path
    assert found.detail == f"{NAME} has {len(whole) - 100:,} of {len(whole):,} bytes"
    path.write_bytes(whole + b"tail")
    assert look(union, models).state == "other file"
    path.write_bytes(b"<html>".ljust(len(whole)))
    assert look(union, models).state == "damaged"
    weights(path, seed=3)
    assert look(union, models).state == "present"
    found = look(union, models, verify=True)
    assert found.state == "wrong hash" and sha256_of(path) in found.detail


def test_a_cut_file_of_unknown_size_is_seen_by_its_header(tmp_path: Path) -> None:
    lora = REGISTRY.named("Kiss3DGen LoRA")
    assert lora.bytes is None
    path = weights(tmp_path / "loras" / "rgb_normal.safetensors")
    assert look(lora, tmp_path).state == "present"
    path.write_bytes(path.read_bytes()[:-1])
    found = look(lora, tmp_path)
    assert found.state == "damaged" and "cut short" in found.detail


def test_a_cut_torch_file_is_seen_without_unpickling(tmp_path: Path) -> None:
    prm = REGISTRY.named("PRM reconstruction model")
    path = tmp_path / "bundle3d" / "prm_final_ckpt.ckpt"
    path.parent.mkdir()
    torch.save({"state_dict": {"w": torch.zeros(100)}}, path)
    assert look(prm, tmp_path).state == "present"
    path.write_bytes(path.read_bytes()[:-200])
    assert look(prm, tmp_path).state == "damaged"


def folder_model(tmp_path: Path) -> tuple[Checkpoint, Path]:
    """A model of three files, and its folder in the models folder."""
    folder = tmp_path / "models" / "LLM" / "Qwen2-7B-Instruct"
    first, second = weights(folder / "one.safetensors"), weights(folder / "parts" / "two.safetensors", seed=1)
    (folder / "config.json").write_text("{}")
    files = tuple(
        RemoteFile(path.relative_to(folder).as_posix(), path.stat().st_size, sha256_of(path))
        for path in (first, second)
    )
    return replace(REGISTRY.named("Qwen2-7B-Instruct"), files=(RemoteFile("config.json"), *files)), folder


def test_folders_are_whole_only_with_every_file(tmp_path: Path) -> None:
    model, folder = folder_model(tmp_path)
    models = tmp_path / "models"
    assert look(model, models) == Presence(model, "present", folder)
    assert look(model, models, verify=True).verified
    weights(folder / "one.safetensors", seed=9)
    assert look(model, models, verify=True).state == "wrong hash"
    (folder / "one.safetensors").write_bytes(b"short")
    assert look(model, models).state == "truncated"
    (folder / "one.safetensors").unlink()
    found = look(model, models)
    assert (found.state, found.detail) == ("incomplete", "one.safetensors is not there")
    (folder / "config.json").unlink()
    assert look(model, models).detail == "config.json and 1 more is not there"
    (folder / "parts" / "two.safetensors").unlink()
    assert look(model, models) == Presence(model, "missing")


def test_a_renamed_folder_is_known_by_the_sizes_in_it(tmp_path: Path) -> None:
    model, folder = folder_model(tmp_path)
    renamed = folder.rename(folder.with_name("my llm"))
    assert look(model, tmp_path / "models") == Presence(model, "present", renamed)


def test_a_model_without_a_list_of_files_is_unknown(tmp_path: Path) -> None:
    found = look(REGISTRY.named("TRELLIS-image-large"), tmp_path)
    assert found.state == "unknown" and "microsoft/TRELLIS-image-large" in found.detail


def test_hashing_reports_every_part(tmp_path: Path) -> None:
    path, steps = tmp_path / "file.bin", []
    path.write_bytes(bytes(9_000_000))
    digest = sha256_of(path, lambda done, total, preview=None: steps.append((done, total)))
    assert digest == hashlib.sha256(bytes(9_000_000)).hexdigest()
    assert steps[-1] == (9_000_000, 9_000_000) and len(steps) == 3
