"""Plans: what is chosen, what is to be fetched, and what fits into which machine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from bundle3d.pipelines.checkpoints import plan as planning
from bundle3d.pipelines.checkpoints.machine import Machine, free_disk, this_machine
from bundle3d.pipelines.checkpoints.plan import Plan, plan
from bundle3d.pipelines.checkpoints.presence import model_folders
from bundle3d.pipelines.checkpoints.registry import REGISTRY, Registry
from bundle3d.pipelines.checkpoints.report import machine_text, plan_json, plan_text, size_text
from safetensors.torch import save_file

GB = 10**9
STAGE = "text-to-3d"
PLACES = ["none", "offload", "gpu"]  # from worst to best


def machine(gpu: float = 0, ram: float = 64) -> Machine:
    kind = ("cuda", "A GPU") if gpu else ("cpu", "")
    return Machine("Test", 8, int(ram * GB), int(ram * GB), *kind, int(gpu * GB), int(gpu * GB))


def put(models: Path, *names: str) -> Registry:
    """Puts small files in the places of checkpoints; gives a registry in which these have their sizes."""
    entries = []
    for checkpoint in REGISTRY.checkpoints:
        if checkpoint.name in names:
            (file,) = checkpoint.files
            path = models / checkpoint.target
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file({"w": torch.zeros(len(entries) + 1)}, path)
            checkpoint = replace(checkpoint, files=(replace(file, bytes=path.stat().st_size, sha256=None),))
        entries.append(checkpoint)
    return replace(REGISTRY, checkpoints=tuple(entries))


def make(models: Path, on: Machine, registry: Registry = REGISTRY, stage: str = STAGE) -> Plan:
    return plan(stage, model_folders([models]), on, registry=registry)


def chosen(result: Plan) -> dict[str, str]:
    return {role: item.checkpoint.name for item in result.items for role in item.roles}


def place_of(result: Plan, phase: str) -> tuple[str, str]:
    (fit,) = [fit for fit in result.fits if fit.phase.name == phase]
    return fit.placement, fit.dtype


def test_an_empty_machine_is_told_what_to_fetch_and_where_it_goes(tmp_path: Path) -> None:
    result = make(tmp_path, machine())
    assert not result.ready
    assert {chosen(result)[role] for role in ("transformer", "text_encoder", "vae")} == {"FLUX.1-dev all in one (fp8)"}
    assert result.download() == (17_246_524_772, 1)
    text = plan_text(result)
    for item in result.items:
        assert f"models/{item.checkpoint.target}" in text
    assert not any(item.checkpoint.gated for item in result.items), "what is recommended should need no account"
    assert "huggingface.co/LTT/Kiss3DGen/resolve/main/rgb_normal.safetensors" in text
    assert "17.2 GB and 1 of unknown size" in text


def test_what_is_there_is_used_and_not_fetched_again(tmp_path: Path) -> None:
    registry = put(tmp_path, "FLUX.1-dev (bf16)", "CLIP-L text encoder", "T5-XXL text encoder (fp8)")
    result = make(tmp_path, machine(), registry)
    assert chosen(result) == chosen(result) | {
        "transformer": "FLUX.1-dev (bf16)",
        "text_encoder": "CLIP-L text encoder",
        "text_encoder_2": "T5-XXL text encoder (fp8)",
        "vae": "FLUX.1 autoencoder",
    }
    assert result.download() == (335_304_388, 1)
    registry = put(tmp_path, "FLUX.1-dev all in one (fp8)", "Kiss3DGen LoRA")
    complete = make(tmp_path, machine(), registry)
    assert complete.ready and complete.download() == (0, 0)
    assert "Everything that is needed is there." in plan_text(complete)


@pytest.mark.parametrize("name", ["Pixal3D for ComfyUI (int8)", "Pixal3D for several views, for ComfyUI (int8)"])
def test_what_no_node_reads_is_neither_offered_nor_counted(tmp_path: Path, name: str) -> None:
    registry = put(tmp_path, name)
    (file,) = tmp_path.rglob("*int8_convrot.safetensors")
    result = make(tmp_path, machine(), registry, "pixal3d")
    offered = [other for item in result.items for other in (item.checkpoint, *item.alternatives)]
    assert offered and all(checkpoint.used for checkpoint in offered)
    assert not any(item.presence.usable for item in result.items)
    assert chosen(result) == chosen(make(tmp_path / "elsewhere", machine(), registry, "pixal3d"))
    report = plan_text(result)
    assert f"not counted: {file}. For ComfyUI's own nodes; Bundle3D reads the bf16 file." in report
    unused = [entry["name"] for found in plan_json(result)["checkpoints"] for entry in found["unused"]]
    assert unused == [name]
    assert "int8" not in plan_text(make(tmp_path / "elsewhere", machine(), registry, "pixal3d"))


def test_pixal3d_is_recommended_as_comfyuis_files_with_all_that_goes_with_them(tmp_path: Path) -> None:
    result = make(tmp_path, machine(), stage="pixal3d")
    needed = [item.checkpoint.target for item in result.items if item.required]
    assert needed == [
        "diffusion_models/pixal3d_bf16.safetensors",
        "vae/trellis_2_shape_vae_bf16.safetensors",
        "vae/trellis_2_texture_vae_bf16.safetensors",
        "clip_vision/dino_v3_L_naf_fp32.safetensors",
    ]
    folder = REGISTRY.named("Pixal3D")
    report = plan_text(result)
    assert f"or Pixal3D: models/{folder.target}, 24.0 GB, MIT\n          {folder.page}\n" in report
    assert report.count(folder.page) == 2, "the folder of one view and that of several views, each once"
    for item in result.items:
        for other in item.alternatives:
            assert f"or {other.name}: models/{other.target}, " in report


def test_a_folder_that_is_there_stands_for_all_that_it_holds(tmp_path: Path) -> None:
    folder = REGISTRY.named("Pixal3D")
    files = tuple(replace(file, bytes=None, sha256=None) for file in folder.files)
    for file in files:
        path = tmp_path / folder.target / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".json":
            path.write_text("{}", "utf-8")
        else:
            save_file({"w": torch.zeros(1)}, path)
    entries = tuple(replace(entry, files=files) if entry is folder else entry for entry in REGISTRY.checkpoints)
    result = make(tmp_path, machine(), replace(REGISTRY, checkpoints=entries), "pixal3d")
    assert chosen(result)["volume_flows"] == chosen(result)["texture_decoder"] == "Pixal3D"


def test_the_models_folder_is_named_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    relative = make(Path("models"), machine())
    assert relative.models == tmp_path / "models" and f"models/ stands for {tmp_path / 'models'}" in plan_text(relative)
    extra = {"loras": (tmp_path / "more" / "loras",), **model_folders([tmp_path / "models"])}
    assert plan(STAGE, extra, machine()).models == tmp_path / "models"


def test_memory_is_told_before_the_files_are_there(tmp_path: Path) -> None:
    drawing, decoding = "draw structure, shape and texture", "decode the shape"
    small, large = (make(tmp_path, machine(gpu), stage="pixal3d") for gpu in (8, 16))
    assert place_of(small, drawing) == place_of(large, drawing) == ("gpu", "bfloat16")
    without = make(tmp_path, machine(0, 8), stage="pixal3d")
    assert place_of(without, drawing) == ("ram", "bfloat16") and place_of(without, decoding)[0] == "none"
    assert f"  {drawing}: 6.2 GB of RAM" in plan_text(without)
    assert "not known" in plan_text(make(tmp_path, machine(), stage="pixal3d-d"))


def test_a_broken_file_is_named_before_one_that_was_never_there(tmp_path: Path) -> None:
    registry = put(tmp_path, "FLUX.1-dev (bf16)")
    path = tmp_path / "diffusion_models" / "flux1-dev.safetensors"
    path.write_bytes(path.read_bytes()[:-2])
    result = make(tmp_path, machine(), registry)
    assert chosen(result)["transformer"] == "FLUX.1-dev (bf16)"
    text = plan_text(result)
    assert not result.ready and "[truncated]" in text and str(path) in text
    assert "FLUX.1 [dev] Non-Commercial License; accept its terms on the page first" in text


@pytest.mark.parametrize(
    ("gpu", "ram", "expected"),
    [
        (80, 64, ("gpu", "bfloat16")),
        (32, 64, ("gpu", "bfloat16")),
        (24, 64, ("gpu", "float8_e4m3fn")),
        (16.5, 64, ("gpu", "float8_e4m3fn")),
        (12, 64, ("offload", "float8_e4m3fn")),
        (12, 1, ("none", "float8_e4m3fn")),
        (0, 64, ("ram", "bfloat16")),
        (0, 24, ("ram", "float8_e4m3fn")),
        (0, 8, ("none", "float8_e4m3fn")),
    ],
)
def test_the_bundle_is_drawn_where_it_fits(tmp_path: Path, gpu: float, ram: float, expected: tuple[str, str]) -> None:
    registry = put(tmp_path, "FLUX.1-dev (bf16)")
    result = make(tmp_path, machine(gpu, ram), registry)
    assert place_of(result, "draw the bundle") == expected
    assert ("DOES NOT FIT" in plan_text(result)) == any(fit.placement == "none" for fit in result.fits)


def test_offloading_splits_the_weights_between_gpu_and_ram(tmp_path: Path) -> None:
    registry = put(tmp_path, "FLUX.1-dev (bf16)")
    (fit,) = [fit for fit in make(tmp_path, machine(12), registry).fits if fit.phase.name == "draw the bundle"]
    lora = REGISTRY.named("Kiss3DGen LoRA").memory["bfloat16"]
    assert fit.gpu + fit.ram == 11_901_408_320 + lora + fit.phase.working_bytes
    assert fit.gpu == 12 * GB - planning.RESERVE


def test_more_memory_never_makes_it_worse(tmp_path: Path) -> None:
    registry = put(tmp_path, "FLUX.1-dev (bf16)", "ControlNet Union (InstantX)")
    plans = [make(tmp_path, machine(gpu), registry) for gpu in range(4, 60, 5)]
    for name in ("draw the bundle", "read the prompt", "decode the bundle"):
        ranks = [PLACES.index(place_of(result, name)[0]) for result in plans]
        assert ranks == sorted(ranks), name
        assert ranks[-1] == PLACES.index("gpu")


def test_a_controlnet_counts_only_where_it_is_there(tmp_path: Path) -> None:
    without = make(tmp_path, machine(80), put(tmp_path, "FLUX.1-dev (bf16)"))
    with_it = make(tmp_path, machine(80), put(tmp_path, "FLUX.1-dev (bf16)", "ControlNet Union (InstantX)"))
    sums = [next(f.gpu for f in result.fits if f.phase.name == "draw the bundle") for result in (without, with_it)]
    assert sums[1] - sums[0] == 2 * 3_301_956_608


@pytest.mark.parametrize("stage", list(REGISTRY.stages))
def test_every_stage_can_be_planned_and_written_as_json(tmp_path: Path, stage: str) -> None:
    result = make(tmp_path, machine(24), stage=stage)
    data = json.loads(json.dumps(plan_json(result)))
    assert data["stage"] == stage and len(data["checkpoints"]) == len(result.items)
    assert plan_text(result).startswith(result.stage.title)
    named = {checkpoint for entry in data["checkpoints"] for checkpoint in [entry["name"]]}
    assert len(named) >= 1


def test_this_machine_has_memory_and_disk(tmp_path: Path) -> None:
    found = this_machine()
    assert 0 < found.free_ram <= found.ram and found.cores >= 1
    assert found.device == ("cuda" if torch.cuda.is_available() else found.device)
    assert free_disk(tmp_path / "not" / "yet") == pytest.approx(free_disk(tmp_path), rel=0.05)
    assert "RAM" in machine_text(found)


def test_sizes_for_people() -> None:
    assert [size_text(n) for n in (None, 5, 2_600_000, 17_246_524_772)] == [
        "size unknown", "5 bytes", "2.6 MB", "17.2 GB",
    ]  # fmt: skip
