"""Pixal3D's files in the forms that users have: what comes out computes as what went in, all else is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from bundle3d.pipelines.diffusion.holder import Resident
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.pixal3d.load import (
    Decoders,
    Flows,
    has_multiview,
    held,
    load_decoders,
    load_flow_files,
    load_flows,
    load_texture_decoder,
)
from bundle3d.pipelines.pixal3d.load_networks import build_flow, build_voxel_decoder
from bundle3d.pipelines.pixal3d.models import Pixal3DModels
from bundle3d.pipelines.pixal3d.sampler import Sampling
from bundle3d.tests.pixal3d.make_small import SHAPE, SIGHTS, random_condition, random_voxels, small_flow, small_models
from bundle3d.tests.pixal3d.write_files import (
    COMFYUI_DECODERS,
    COMFYUI_FLOWS,
    networks,
    prefixed,
    write_folder,
    write_state,
)
from safetensors.torch import load_file

STAGES = ("structure", "shape", "fine_shape", "texture")
STATED = Sampling(steps=3, guidance=2.0, rescale=0.25, interval=(0.5, 0.9), shift=4.0)


@pytest.fixture(scope="module")
def models() -> Pixal3DModels:
    return small_models()


@pytest.fixture
def folder(tmp_path: Path, models: Pixal3DModels) -> Path:
    return write_folder(tmp_path / "Pixal3D", models)


def same_weights(network: torch.nn.Module, other: torch.nn.Module) -> bool:
    state, truth = network.state_dict(), other.state_dict()
    return state.keys() == truth.keys() and all(torch.equal(state[name], truth[name]) for name in truth)


def all_same(flows: Flows, decoders: Decoders, models: Pixal3DModels) -> bool:
    found = [*(flows.flows[stage] for stage in STAGES), decoders.structure, decoders.shape, decoders.texture]
    return all(same_weights(own, truth) for own, truth in zip(found, networks(models).values()))


def comfy_flows(models: Pixal3DModels) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = {}
    for stage in STAGES:
        state |= prefixed(COMFYUI_FLOWS[stage], getattr(models, stage).flow.module.state_dict())
    return state


def test_a_published_folder_gives_what_was_written(folder: Path, models: Pixal3DModels) -> None:
    flows, decoders = load_flows(folder), load_decoders(folder)
    assert all_same(flows, decoders, models)
    assert [flows.flows[stage].config.resolution for stage in STAGES] == [4, 8, 16, 16]
    assert all(flows.settings.samplings[stage] == STATED for stage in STAGES)
    assert flows.settings.sights == SIGHTS
    loaded = held(flows, decoders, models.pictures, Resident, Resident)
    assert loaded.shape_normalisation == models.shape_normalisation and loaded.resolution == models.resolution
    voxels = random_voxels([9], 6, 8)
    condition = random_condition(voxels, SHAPE)
    times = torch.tensor([0.5])
    with loaded.shape.flow.use() as flow:
        torch.testing.assert_close(flow(voxels, times, condition), models.shape.flow.module(voxels, times, condition))


def test_flows_for_several_views_lie_beside_the_others(folder: Path, models: Pixal3DModels) -> None:
    assert not has_multiview(folder)
    others = replace(models, structure=replace(models.structure, flow=Resident(small_flow(
        models.structure.flow.module.config, seed=50))))  # fmt: skip
    write_folder(folder, others, multiview=True)
    several, single = load_flows(folder, multiview=True), load_flows(folder)
    assert has_multiview(folder) and several.multiview and not single.multiview
    assert same_weights(several.flows["structure"], others.structure.flow.module)
    assert same_weights(single.flows["structure"], models.structure.flow.module)
    (folder / "pipeline.json").unlink()
    assert same_weights(load_decoders(folder).shape, models.shape_decoder.module)


def test_comfyuis_files_hold_several_networks(tmp_path: Path, models: Pixal3DModels) -> None:
    parts = networks(models)
    flows = load_flows(write_state(tmp_path / "pixal3d.safetensors", comfy_flows(models)))
    shape = prefixed(COMFYUI_DECODERS["structure"], parts["sparse_structure_decoder"].state_dict())
    shape |= prefixed(COMFYUI_DECODERS["shape"], parts["shape_slat_decoder"].state_dict())
    texture = prefixed(COMFYUI_DECODERS["texture"], parts["tex_slat_decoder"].state_dict())
    decoders = load_decoders(
        write_state(tmp_path / "shape.safetensors", shape), write_state(tmp_path / "texture.safetensors", texture)
    )
    assert all_same(flows, decoders, models)
    assert [flows.flows[stage].config.resolution for stage in STAGES] == [16, 32, 64, 64]
    assert load_decoders(tmp_path / "shape.safetensors").texture is None


def test_only_what_is_used_has_to_be_there(folder: Path, models: Pixal3DModels) -> None:
    others = {name: tensor for name, tensor in comfy_flows(models).items() if name.startswith("model.img2shape.")}
    flows = load_flows(write_state(folder / "pixal3d.safetensors", others), stages=("fine_shape", "texture"))
    assert list(flows.flows) == ["fine_shape"]
    assert same_weights(flows.flows["fine_shape"], models.fine_shape.flow.module)  # type: ignore[union-attr]
    texture = (folder / "ckpts" / "tex_dec.safetensors").rename(folder / "texture.safetensors")
    decoders = load_decoders(folder, texture)
    assert same_weights(decoders.texture, networks(models)["tex_slat_decoder"])  # type: ignore[arg-type]
    texture.rename(folder / "ckpts" / "tex_dec.safetensors")
    for unused in ("shape_dec", "ss_dec"):
        (folder / "ckpts" / f"{unused}.safetensors").unlink()
    assert same_weights(load_texture_decoder(folder), networks(models)["tex_slat_decoder"])  # type: ignore[arg-type]


def test_a_file_without_any_flow_is_refused_whatever_is_used_of_it(tmp_path: Path) -> None:
    file = write_state(tmp_path / "other.safetensors", flow_state())
    with pytest.raises(Bundle3DError, match=r"no tensor's name starts with 'model\.structure_model\.'"):
        load_flows(file, stages=("texture",))


def test_single_files_and_some_stages_load(folder: Path, models: Pixal3DModels) -> None:
    some = load_flows(folder, stages=("structure", "shape"))
    assert set(some.flows) == {"structure", "shape"}
    loaded = held(some, load_decoders(folder), models.pictures, Resident, Resident)
    assert loaded.fine_shape is None and loaded.resolution == 32
    file = folder / "ckpts" / "slat_flow_512.safetensors"
    (flow,) = load_flow_files({"shape": file}).flows.values()
    assert flow.config.resolution == 8 and same_weights(flow, models.shape.flow.module)
    file.with_suffix(".json").unlink()
    (flow,) = load_flow_files({"shape": file}).flows.values()
    assert flow.config.resolution == 32


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float32])
def test_files_of_every_precision_compute(
    tmp_path: Path, models: Pixal3DModels, stored: torch.dtype, dtype: torch.dtype | None
) -> None:
    file = write_state(tmp_path / "flow.safetensors", models.shape.flow.module.state_dict(), stored)
    (flow,) = load_flow_files({"shape": file}, dtype).flows.values()
    holder = Resident(flow)
    assert holder.compute_dtype == (dtype or (torch.float32 if stored == torch.float16 else stored))
    voxels = random_voxels([9], 6, 8)
    condition, times = random_condition(voxels, SHAPE), torch.tensor([0.5])
    found = flow(voxels, times, condition, holder.compute_dtype)
    truth = models.shape.flow.module(voxels, times, condition)
    assert found.dtype == torch.float32 and float((found - truth).norm() / truth.norm()) < 0.05


def test_flows_compute_in_what_their_json_file_states(folder: Path) -> None:
    file = folder / "ckpts" / "slat_flow_512.json"
    for stated, expected in (("bfloat16", torch.bfloat16), ("float32", torch.float32), ("float16", torch.float32)):
        file.write_text(json.dumps({"args": {"resolution": 8, "dtype": stated}}), encoding="utf-8")
        assert Resident(load_flows(folder).flows["shape"]).compute_dtype == expected
        assert Resident(load_flows(folder, torch.float32).flows["shape"]).compute_dtype == torch.float32


def test_what_is_chosen_or_stated_reaches_the_holder(folder: Path, models: Pixal3DModels) -> None:
    file = folder / "ckpts" / "slat_flow_512.json"
    file.write_text(json.dumps({"args": {"resolution": 8, "dtype": "float32"}}), encoding="utf-8")
    flow = file.with_suffix(".safetensors")
    write_state(flow, load_file(flow), torch.bfloat16)

    def told(flows: Flows) -> list[torch.dtype | None]:
        dtypes = []

        def hold(module: torch.nn.Module, *, dtype: torch.dtype | None) -> Resident:
            dtypes.append(dtype)
            return Resident(module)

        held(flows, load_decoders(folder), models.pictures, hold, Resident)
        return dtypes

    assert told(load_flows(folder)) == [None, torch.float32, None, None]
    assert told(load_flows(folder, torch.bfloat16)) == [torch.bfloat16] * 4
    whole = load_flows(write_state(folder / "pixal3d.safetensors", comfy_flows(models)), torch.float32)
    assert told(replace(whole, settings=load_flows(folder).settings)) == [torch.float32] * 4


def test_decoders_of_half_precision_compute(tmp_path: Path, models: Pixal3DModels) -> None:
    state = {name: tensor.half() for name, tensor in models.shape_decoder.module.state_dict().items()}
    decoder = build_voxel_decoder("shape", state, tmp_path / "shape.safetensors")
    latents = random_voxels([14], 6, 4)
    found = decoder(latents, dtype=torch.float16)
    assert found.voxels.features.dtype == torch.float32
    told = models.shape_decoder.module(latents, found.children)
    assert float((found.voxels.features - told.voxels.features).norm() / told.voxels.features.norm()) < 0.05


def flow_state() -> dict[str, torch.Tensor]:
    return dict(small_flow().state_dict())


def trellis() -> dict[str, torch.Tensor]:
    renamed = {name.replace(".cross_attn_block", ""): tensor for name, tensor in flow_state().items()}
    return {name: tensor for name, tensor in renamed.items() if ".proj_linear." not in name}


def quantised() -> dict[str, torch.Tensor]:
    state = flow_state()
    layer = "blocks.0.self_attn.to_qkv"
    state[f"{layer}.weight"] = state[f"{layer}.weight"].to(torch.int8)
    return state | {f"{layer}.weight_scale": torch.ones(1), f"{layer}.comfy_quant": torch.zeros(3, dtype=torch.uint8)}


LAST = "out_layer.bias"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (trellis, "holds a flow of TRELLIS.2, which has no place for pictures .*; choose the file of Pixal3D"),
        (quantised, r"is quantised \(int8, comfy_quant\) for ComfyUI's own nodes; choose pixal3d_bf16\.safetensors"),
        (lambda: flow_state() | {"blocks.0.convrot": torch.ones(1)}, r"is quantised \(convrot\) .* pixal3d_bf16"),
        (
            lambda: {name: tensor for name, tensor in flow_state().items() if name != LAST},
            rf"missing \('{LAST}' first\)",
        ),
        (lambda: flow_state() | {"extra": torch.zeros(1)}, r"1 others \('extra' first\)"),
        (lambda: flow_state() | {LAST: torch.zeros(2)}, rf"tensor '{LAST}' .* to be 6, but it is 2"),
        (lambda: {"weight": torch.zeros(2)}, "cannot tell its dimensions .*no tensor 'input_layer.weight'"),
        (lambda: flow_state() | {"rope_phases": torch.zeros(512, 3)}, "rotary phases of 8\\^3 voxels"),
    ],
)
def test_what_is_not_the_whole_flow_is_refused(
    tmp_path: Path, state: Callable[[], dict[str, torch.Tensor]], said: str
) -> None:
    with pytest.raises(Bundle3DError, match=said) as refusal:
        load_flow_files({"shape": write_state(tmp_path / "odd.safetensors", state())})
    assert "'odd.safetensors'" in str(refusal.value) and "\n" not in str(refusal.value)


def test_comfyuis_other_files_are_refused(tmp_path: Path, models: Pixal3DModels) -> None:
    whole = comfy_flows(models)
    without = {name: tensor for name, tensor in whole.items() if not name.startswith("model.img2shape_512.")}
    swapped = prefixed("struct_dec.", models.structure_decoder.module.state_dict())
    swapped |= prefixed("shape_dec.", models.texture_decoder.module.state_dict())
    for state, load, said in (
        (without, load_flows, "no tensor's name starts with 'model.img2shape_512.'"),
        (flow_state(), load_flows, "no tensor's name starts with 'model.structure_model.'"),
        (flow_state(), load_decoders, "there is none of a structure"),
        (swapped, load_decoders, "holds that of textures; choose the other file"),
    ):
        with pytest.raises(Bundle3DError, match=said) as refusal:
            load(write_state(tmp_path / "odd.safetensors", state))
        assert "'odd.safetensors'" in str(refusal.value) and "\n" not in str(refusal.value)


def test_comfyuis_quantised_file_of_all_flows_is_refused_by_name(tmp_path: Path) -> None:
    file = write_state(tmp_path / "pixal3d_int8_convrot.safetensors", prefixed("model.img2shape.", quantised()))
    with pytest.raises(Bundle3DError, match=r"'pixal3d_int8_convrot\.safetensors' is quantised \(int8, .*_bf16"):
        load_flows(file)


def change(folder: Path, values: dict[str, object], name: str = "pipeline.json") -> None:
    file = folder / name
    content = json.loads(file.read_text("utf-8"))
    content["args"] |= values
    file.write_text(json.dumps(content), "utf-8")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"models": {}}, "does not name it"),
        ({"models": {"sparse_structure_flow_model": "../elsewhere"}}, "points to '../elsewhere'"),
        ({"models": {"sparse_structure_flow_model": "ckpts/absent"}}, "there is no such file; download it"),
        ({"models": 3}, "says otherwise"),
        ({"shape_slat_sampler": {"params": {"steps": 0}}}, "steps"),
        ({"shape_slat_normalization": {"mean": [1.0]}}, "says otherwise"),
    ],
)
def test_settings_that_make_no_sense_are_refused(folder: Path, values: dict[str, object], said: str) -> None:
    change(folder, values)
    with pytest.raises(Bundle3DError, match=said) as refusal:
        load_flows(folder)
    assert "\n" not in str(refusal.value)


def test_folders_without_settings_are_refused(folder: Path) -> None:
    with pytest.raises(Bundle3DError, match=r"'pipeline_mv.json' .* flows for several views"):
        load_flows(folder, multiview=True)
    with pytest.raises(Bundle3DError, match=r"Expected 'pipeline.json'"):
        load_flows(folder / "ckpts")
    (folder / "ckpts" / "ss_flow.json").write_text('{"args": {"resolution": "many"}}', "utf-8")
    with pytest.raises(Bundle3DError, match=r"resolution of a flow in 'ss_flow\.json'"):
        load_flows(folder)


def test_other_number_types_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Bundle3DError, match="float32 or bfloat16"):
        build_flow("shape", flow_state(), tmp_path / "flow.safetensors", torch.float16)
