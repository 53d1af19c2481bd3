"""Load Pixal3D on files of random weights, in every form that users have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.pixal3d.models import Pixal3DModels, StageModel
from bundle3d.tests.pixal3d.write_files import write_state
from bundle3d.tests.support.tiny_pixal3d import (
    RESOLUTION,
    STEPS,
    copy_flow_files,
    save_comfyui_files,
    save_picture_file,
    save_tiny_pixal3d,
)
from safetensors.torch import load_file

Run = Callable[..., Any]
STAGES = ("structure", "shape", "fine_shape", "texture")


@pytest.fixture
def folder(tiny_folder: Path) -> Path:
    save_tiny_pixal3d(tiny_folder / "bundle3d" / "Pixal3D")
    return tiny_folder


def load(run: Run, **chosen: Any) -> Pixal3DModels:
    models = run("Bundle3D_LoadPixal3D", **chosen)[0]
    assert isinstance(models, Pixal3DModels)
    return models


def weights(models: Pixal3DModels, stage: str) -> torch.Tensor:
    weight: torch.Tensor = getattr(models, stage).flow.module.input_layer.weight
    return weight


def test_the_published_folder_is_loaded_whole(run: Run, nodes: dict[str, Any], folder: Path) -> None:
    base, _, decoders, *_ = nodes["Bundle3D_LoadPixal3D"].define_schema().inputs
    assert base.options == ["Bundle3D demo", "Pixal3D", "none"] and decoders.options == ["from base"]
    models = load(run, base="Pixal3D")
    assert models.resolution == RESOLUTION and not models.multiview and not models.demo
    assert models.texture is not None and models.texture.sampling.steps == STEPS
    assert models.texture_decoder is not None and models.pictures.upsampler is not None
    assert load(run, base="Pixal3D", several_views=True).multiview


def test_parts_of_the_folder_are_no_files_of_their_own(folder: Path, nodes: dict[str, Any]) -> None:
    options = nodes["Bundle3D_LoadReconstructionModel"].define_schema().inputs[0].options
    assert options == ["Bundle3D demo"]


def test_every_component_belongs_to_the_memory_manager(run: Run, folder: Path) -> None:
    from bundle3d.nodes.memory import Holder

    models = load(run, base="Pixal3D", precision="bf16")
    parts = [getattr(models, field.name) for field in fields(models)]
    holders = [part.flow if isinstance(part, StageModel) else part for part in parts]
    held = [holder for holder in holders if hasattr(holder, "compute_dtype")]
    held += [models.pictures.encoder, models.pictures.upsampler]
    assert len(held) == 9 and all(isinstance(holder, Holder) for holder in held)
    assert torch.float16 not in {getattr(models, stage).flow.compute_dtype for stage in STAGES}


@pytest.mark.usefixtures("card")
@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16])
def test_flows_compute_in_the_chosen_precision_on_a_card_that_is_quick_with_16_bits(
    run: Run, folder: Path, stored: torch.dtype
) -> None:
    file = folder / "bundle3d" / "Pixal3D" / "ckpts" / "slat_flow_512.safetensors"
    own = write_state(folder / "diffusion_models" / "own.safetensors", load_file(file), stored)
    write_state(file, load_file(file), stored)
    for precision, expected in (("as stored", torch.bfloat16), ("bf16", torch.bfloat16), ("fp32", torch.float32)):
        models = load(run, base="Pixal3D", fine_shape_flow=own.name, precision=precision)
        assert models.fine_shape is not None
        assert {models.shape.flow.compute_dtype, models.fine_shape.flow.compute_dtype} == {expected}


def test_comfyuis_files_give_the_same_weights(run: Run, folder: Path) -> None:
    vae = folder / "vae"
    flows = folder / "diffusion_models" / "pixal3d_bf16.safetensors"
    save_comfyui_files(flows, vae / "shape.safetensors", vae / "texture.safetensors")
    save_picture_file(folder / "clip_vision" / "dino_naf.safetensors")
    chosen = {"base": flows.name, "decoders": "shape.safetensors", "image_encoder": "dino_naf.safetensors"}
    with pytest.raises(Bundle3DError, match="other parts of Pixal3D need it"):  # as published
        load(run, **chosen, texture_decoder="texture.safetensors")
    with pytest.raises(Bundle3DError, match="decoders of structure and shape, but the base has none"):
        load(run, base=flows.name, image_encoder="dino_naf.safetensors")
    with pytest.raises(Bundle3DError, match=r"Expected an image encoder.*clip_vision\.$"):
        load(run, base=flows.name, decoders="shape.safetensors")
    mixed = load(run, base="Pixal3D", decoders="shape.safetensors", texture_decoder="texture.safetensors")
    whole = load(run, base="Pixal3D")
    for part in ("structure_decoder", "shape_decoder", "texture_decoder"):
        first, second = (getattr(models, part).module.state_dict() for models in (mixed, whole))
        assert all(torch.equal(first[name], second[name]) for name in second)
    kept = load(run, base="Pixal3D", decoders="shape.safetensors")
    assert kept.texture_decoder is not None


def test_single_files_take_the_place_of_the_bases(run: Run, folder: Path) -> None:
    names = copy_flow_files(folder / "bundle3d" / "Pixal3D", folder / "diffusion_models")
    own = load(run, base="Pixal3D", fine_shape_flow=names["shape"])
    whole = load(run, base="Pixal3D")
    assert torch.equal(weights(own, "fine_shape"), weights(whole, "shape"))
    assert torch.equal(weights(own, "shape"), weights(whole, "shape"))
    assert own.shape.sampling.steps == STEPS
    with pytest.raises(Bundle3DError, match="a file for shape_flow"):
        load(
            run,
            base="none",
            structure_flow=names["structure"],
            image_encoder=_encoder(folder),
            **_decoders(folder),
        )


def test_of_the_base_only_what_is_not_chosen_has_to_be_there(run: Run, folder: Path) -> None:
    base, flows = folder / "bundle3d" / "Pixal3D", folder / "diffusion_models" / "pixal3d.safetensors"
    vae = folder / "vae"
    save_comfyui_files(flows, vae / "shape.safetensors", vae / "texture.safetensors")
    names = copy_flow_files(base, folder / "diffusion_models")
    texture = (base / "ckpts" / "tex_dec.safetensors").rename(base / "texture.safetensors")
    assert load(run, base="Pixal3D", texture_decoder="texture.safetensors").texture_decoder is not None
    texture.rename(base / "ckpts" / "tex_dec.safetensors")
    for unused in ("shape_dec", "ss_dec"):
        (base / "ckpts" / f"{unused}.safetensors").unlink()
    assert load(run, base="Pixal3D", decoders="shape.safetensors").texture_decoder is not None
    kept = ("model.img2shape.", "model.shape2txt.")
    write_state(flows, {name: tensor for name, tensor in load_file(flows).items() if name.startswith(kept)})
    own = {"structure_flow": names["structure"], "shape_flow": names["shape"], "decoders": "shape.safetensors"}
    with pytest.raises(Bundle3DError, match="normalised shape channels to be 6"):  # all is there, but of another family
        load(run, base=flows.name, image_encoder=_encoder(folder), **own)


@pytest.mark.parametrize("widget", ["base", "fine_shape_flow"])
def test_quantised_flows_are_refused_before_anything_else_is_asked_for(run: Run, folder: Path, widget: str) -> None:
    layer = "model.img2shape.blocks.0.mlp.weight"
    write_state(folder / "diffusion_models" / "int8.safetensors", {layer: torch.ones(2, 2, dtype=torch.int8)})
    with pytest.raises(Bundle3DError, match=r"'int8\.safetensors' is quantised \(int8\) .*pixal3d_bf16\.safetensors"):
        load(run, **{"base": "none", widget: "int8.safetensors"})


def test_without_a_decoder_of_textures_none_is_drawn(run: Run, folder: Path) -> None:
    import json

    settings = folder / "bundle3d" / "Pixal3D" / "pipeline.json"
    content = json.loads(settings.read_text("utf-8"))
    del content["args"]["models"]["tex_slat_decoder"]
    settings.write_text(json.dumps(content), encoding="utf-8")
    models = load(run, base="Pixal3D")
    assert models.texture is None and models.texture_decoder is None and models.fine_shape is not None


def test_naf_has_to_be_somewhere(run: Run, folder: Path) -> None:
    from bundle3d.tests.pixal3d.make_small import small_models

    pictures = small_models().pictures
    assert pictures.upsampler is not None
    write_state(folder / "clip_vision" / "dino.safetensors", dict(pictures.encoder.module.state_dict()))
    write_state(folder / "bundle3d" / "naf.safetensors", dict(pictures.upsampler.module.state_dict()))
    with pytest.raises(Bundle3DError, match=r"Expected NAF, but 'dino\.safetensors' has none"):
        load(run, base="Pixal3D", image_encoder="dino.safetensors")
    apart = load(run, base="Pixal3D", image_encoder="dino.safetensors", upsampler="naf.safetensors")
    assert apart.pictures.upsampler is not None


def test_the_demo_family_is_found_where_it_lies(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo = folder / "demo_pixal3d"
    monkeypatch.setattr("bundle3d.nodes.load_pixal3d.DEMO_PIXAL3D_FOLDER", demo)
    with pytest.raises(Bundle3DError, match="bundle3d train pixal3d-demo"):
        load(run)
    save_tiny_pixal3d(demo)
    assert load(run).demo


def test_a_change_of_files_is_noticed(nodes: dict[str, Any], folder: Path) -> None:
    node = nodes["Bundle3D_LoadPixal3D"]
    chosen = {widget.id: widget.default for widget in node.define_schema().inputs} | {"base": "Pixal3D"}
    first = node.fingerprint_inputs(**chosen)
    assert first == node.fingerprint_inputs(**chosen)
    save_picture_file(folder / "bundle3d" / "Pixal3D" / "other.safetensors")
    assert first != node.fingerprint_inputs(**chosen)


def _encoder(folder: Path) -> str:
    save_picture_file(folder / "clip_vision" / "dino_naf.safetensors")
    return "dino_naf.safetensors"


def _decoders(folder: Path) -> dict[str, str]:
    vae = folder / "vae"
    save_comfyui_files(folder / "x" / "flows.safetensors", vae / "shape.safetensors", vae / "texture.safetensors")
    return {"decoders": "shape.safetensors"}
