"""The published folder: written, read again, and what of it is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle3d.pipelines.diffusion.holder import Resident
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.pixal3d.direct3d_s2.config import DenseFlowConfig, SdfDecoderConfig, SparseFlowConfig
from bundle3d.pipelines.pixal3d.direct3d_s2.dense_flow import DenseFlow
from bundle3d.pipelines.pixal3d.direct3d_s2.load import held, load_scale_flow, load_stage
from bundle3d.pipelines.pixal3d.direct3d_s2.models import Pixal3DDModels
from bundle3d.pipelines.pixal3d.direct3d_s2.sampling import STEPS
from bundle3d.pipelines.pixal3d.direct3d_s2.sdf_decoder import SdfDecoder
from bundle3d.pipelines.pixal3d.direct3d_s2.sparse_flow import SparseFlow
from bundle3d.tests.pixal3d.direct3d_s2.make_small import SPARSE_V1, small_models, small_sparse_flow
from bundle3d.tests.pixal3d.direct3d_s2.write_folder import write_folder, write_sparse_flow
from safetensors.torch import load_file, save_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "Pixal3D-D", small_models(scale_flow=small_models().structure.flow))


def loaded(folder: Path) -> Pixal3DDModels:
    models = small_models()
    stages = {name: load_stage(folder, name) for name in models.stages}
    return held(stages, models.encoder, Resident, Resident, models.upsampler, load_scale_flow(folder))


def changed(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what a JSON file or the tensors of a file say."""
    if file.suffix == ".json":
        content = json.loads(file.read_text("utf-8"))
        change(content)
        file.write_text(json.dumps(content), encoding="utf-8")
    else:
        state = load_file(file)
        change(state)
        save_file(state, file)


def test_what_was_written_is_read(folder: Path) -> None:
    truth, models = small_models(), loaded(folder)
    assert list(models.stages) == ["structure", "coarse", "fine"] and models.resolution == 64
    for name, stage in models.stages.items():
        known = truth.stages[name]
        assert stage.flow.module.config == known.flow.module.config
        assert stage.decoder.module.config == known.decoder.module.config
        assert (stage.sampling.steps, stage.sampling.shift) == (STEPS[name], known.sampling.shift)
        assert stage.upsampled == known.upsampled
        for part in ("flow", "decoder"):
            state, own = (getattr(one, part).module.state_dict() for one in (stage, known))
            assert state.keys() == own.keys() and all(torch.equal(state[key], own[key]) for key in own)
    assert models.scale_flow is not None


def test_a_folder_without_a_scale_flow_has_none(tmp_path: Path) -> None:
    assert load_scale_flow(write_folder(tmp_path, small_models())) is None


def test_the_first_release_s_flows_are_told_by_their_tensors(folder: Path) -> None:
    config = replace(SPARSE_V1, resolution=4)
    write_sparse_flow(folder / "sparse512" / "dit", small_sparse_flow(config), config)
    assert load_stage(folder, "coarse").flow.config == config


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
def test_flows_compute_in_more_range_than_float16_has(folder: Path, stored: torch.dtype) -> None:
    file = folder / "sparse512" / "dit" / "model.safetensors"
    save_file({name: tensor.to(stored) for name, tensor in load_file(file).items()}, file)
    own = torch.float32 if stored == torch.float16 else stored
    for dtype, expected in ((None, own), (torch.bfloat16, torch.bfloat16)):
        flow = load_stage(folder, "coarse", dtype).flow
        assert Resident(flow).compute_dtype == expected
    with pytest.raises(Bundle3DError, match="float32 or bfloat16"):
        load_stage(folder, "coarse", torch.float16)


REFUSALS: dict[str, tuple[str, str, Callable[[dict[str, Any]], object], str]] = {
    "cross": ("coarse", "sparse512/dit/config.json", lambda c: c.update(image_attn_mode="cross"), "'proj'"),
    "patches": ("structure", "dense/dit/config.json", lambda c: c.update(patch_size=2), r"tokens stand for 2\^3"),
    "heads": ("coarse", "sparse512/dit/config.json", lambda c: c.update(num_heads=7), "does not divide into 7"),
    "scheduler": ("fine", "sparse1024/scheduler/config.json", lambda c: c.update(scheduler_class="a.Heun"), "'Heun'"),
    "dynamic": (
        "fine",
        "sparse1024/scheduler/config.json",
        lambda c: c["scheduler_config"].update(use_dynamic_shifting=True),
        "fixed shift",
    ),
    "shift": ("fine", "sparse1024/scheduler/config.json", lambda c: c["scheduler_config"].update(shift="x"), "float"),
    "grid": (
        "coarse",
        "sparse512/conditioner/config.json",
        lambda c: c["config"].update(grid_resolution=64),
        r"conditioner has 64\^3",
    ),
    "no grid": ("coarse", "sparse512/conditioner/config.json", lambda c: c.pop("config"), "grid_resolution"),
    "missing": (
        "coarse",
        "sparse512/dit/model.safetensors",
        lambda s: s.pop("dit_model.blocks.1.self_attn.gate.0.weight"),
        r"1 are missing \('blocks.1.self_attn.gate.0.weight' first\)",
    ),
    "more": (
        "structure",
        "dense/dit/model.safetensors",
        lambda s: s.update({"other.weight": torch.zeros(1)}),
        "1 others",
    ),
    "places": (
        "structure",
        "dense/dit/model.safetensors",
        lambda s: s.update({"dit_model.pos_emb": torch.zeros(9, 64)}),
        "they are 9x64",
    ),
    "decoder": ("fine", "sparse1024/vae/model.safetensors", lambda s: s.pop("decoder.out_layer.bias"), "1 are missing"),
    "empty": ("fine", "sparse1024/vae/model.safetensors", lambda s: s.pop("decoder.input_layer.weight"), "no tensor"),
}


@pytest.mark.parametrize("case", list(REFUSALS))
def test_another_folder_is_refused_in_a_sentence(folder: Path, case: str) -> None:
    stage, file, change, said = REFUSALS[case]
    changed(folder / file, change)
    with pytest.raises(Bundle3DError, match=said) as refusal:
        load_stage(folder, stage)
    assert "\n" not in str(refusal.value)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "sparse512" / "vae" / "model.safetensors").unlink()
    with pytest.raises(Bundle3DError, match=r"Expected 'sparse512/vae/model\.safetensors'"):
        load_stage(folder, "coarse")


def test_parts_of_several_folders_are_refused(folder: Path) -> None:
    changed(folder / "sparse512" / "conditioner" / "config.json", lambda c: c["config"].update(size=518))
    with pytest.raises(Bundle3DError, match="pictures of 518 pixels, but got one for 36"):
        loaded(folder)


def test_numbers_of_parameters_at_full_size() -> None:
    """By hand, of the published classes' defaults and the dimensions that Direct3D-S2 publishes for its own."""
    width, pictures, dense, sparse, decoder = 1024, 1024, DenseFlowConfig(), SparseFlowConfig(), SdfDecoderConfig()

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + outputs

    around = linear(256, width) + linear(width, width)
    cross = linear(width, width) + linear(pictures, 2 * width) + linear(width, width)
    rest = cross + linear(width, 4 * width) + linear(4 * width, width) + linear(width, 6 * width) + 2 * width
    full = linear(width, 3 * width) + 2 * width + linear(width, width)
    keys = 64
    merging = 4 * keys + 2 * (27 * keys * keys + keys)
    spatial = 2 * width * width + 2 * width * keys + 4**3 * keys + 2 * merging + 3 * width
    upsampling = sum(27 * (i * o + o * o) + 2 * o for i, o in ((512, 128), (128, 64), (64, 32)))
    windowed = linear(512, 1536) + linear(512, 512) + linear(512, 2048) + linear(2048, 512)
    expected = {
        DenseFlow: around + linear(8, width) + linear(width, 8) + 24 * (rest + full),
        SparseFlow: around + linear(16, width) + linear(width, 16) + 24 * (rest + spatial) + linear(pictures, pictures),
        SdfDecoder: linear(16, 512) + 4 * windowed + upsampling + linear(32, 1),
    }
    with torch.device("meta"):
        found = {type(one): one for one in (DenseFlow(dense), SparseFlow(sparse), SdfDecoder(decoder))}
    counts = {kind: sum(parameter.numel() for parameter in one.parameters()) for kind, one in found.items()}
    assert counts == expected
