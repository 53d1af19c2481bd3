"""Dimensions from shapes, and the table of the published checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.lrm.config import METADATA_KEY, LrmConfig, config_from_shapes
from bundle3d.pipelines.lrm.model import LargeReconstructionModel
from bundle3d.tests.lrm.make_small import SMALL

FILE = Path("model.safetensors")
Table = dict[str, tuple[int, ...]]


def linear(name: str, inputs: int, outputs: int) -> Table:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm(name: str, width: int) -> Table:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def published() -> Table:
    """Names and shapes of PRM's checkpoint, as section 5.2 of the specification writes them."""
    vit = "encoder.model"
    table: Table = {
        f"{vit}.embeddings.cls_token": (1, 1, 768),
        f"{vit}.embeddings.position_embeddings": (1, 197, 768),
        f"{vit}.embeddings.patch_embeddings.projection.weight": (768, 3, 16, 16),
        f"{vit}.embeddings.patch_embeddings.projection.bias": (768,),
        **norm(f"{vit}.layernorm", 768),
        **linear("encoder.camera_embedder.0", 16, 768),
        **linear("encoder.camera_embedder.2", 768, 768),
        "transformer.pos_embed": (1, 3072, 1024),
        **norm("transformer.norm", 1024),
        "transformer.deconv.weight": (1024, 80, 2, 2),
        "transformer.deconv.bias": (80,),
    }
    for i in range(12):
        layer = f"{vit}.encoder.layer.{i}"
        for part in ("query", "key", "value"):
            table |= linear(f"{layer}.attention.attention.{part}", 768, 768)
        table |= linear(f"{layer}.attention.output.dense", 768, 768)
        table |= linear(f"{layer}.intermediate.dense", 768, 3072) | linear(f"{layer}.output.dense", 3072, 768)
        table |= norm(f"{layer}.layernorm_before", 768) | norm(f"{layer}.layernorm_after", 768)
        table |= linear(f"{layer}.adaLN_modulation.1", 768, 3072)
    for j in range(16):
        layer = f"transformer.layers.{j}"
        for number in (1, 2, 3):
            table |= norm(f"{layer}.norm{number}", 1024)
        table |= {
            f"{layer}.cross_attn.q_proj_weight": (1024, 1024),
            f"{layer}.cross_attn.k_proj_weight": (1024, 768),
            f"{layer}.cross_attn.v_proj_weight": (1024, 768),
            f"{layer}.cross_attn.out_proj.weight": (1024, 1024),
            f"{layer}.self_attn.in_proj_weight": (3072, 1024),
            f"{layer}.self_attn.out_proj.weight": (1024, 1024),
        }
        table |= linear(f"{layer}.mlp.0", 1024, 4096) | linear(f"{layer}.mlp.3", 4096, 1024)
    heads = {"sdf": (240, 1), "rgb": (240, 3), "material": (240, 2), "deformation": (240, 3), "weight": (1920, 21)}
    for head, (inputs, outputs) in heads.items():
        sizes = (inputs, 64, 64, 64, outputs)
        for number in range(4):
            table |= linear(f"synthesizer.decoder.net_{head}.{2 * number}", sizes[number], sizes[number + 1])
    return table


def shapes_of(config: LrmConfig) -> Table:
    with torch.device("meta"):
        model = LargeReconstructionModel(config)
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def numbers(table: Table, prefix: str = "") -> int:
    return sum(torch.Size(shape).numel() for name, shape in table.items() if name.startswith(prefix))


def test_the_published_model_has_the_published_tensors() -> None:
    table = shapes_of(LrmConfig())
    assert table == published()
    assert len(table) == 527
    assert numbers(table) == 378_681_518
    parts = ("encoder.", "transformer.", "synthesizer.")
    assert [numbers(table, part) for part in parts] == [114_750_720, 263_702_608, 228_190]


def test_a_model_without_material_has_eight_tensors_less() -> None:
    table = shapes_of(LrmConfig(material=False))
    assert len(table) == 519
    assert table == {name: shape for name, shape in published().items() if "net_material" not in name}


def test_the_published_dimensions_are_read_off_the_table() -> None:
    assert config_from_shapes(published(), {}, FILE) == LrmConfig(zero123plus_distance=3.2)


def test_without_material_it_is_instant_mesh() -> None:
    """Views of 320 pixels at a distance of 4, colours in sRGB."""
    table = {name: shape for name, shape in published().items() if "net_material" not in name}
    expected = LrmConfig(material=False, linear_color=False, image_size=320, camera_distance=4.0)
    assert config_from_shapes(table, {}, FILE) == expected


def test_what_a_file_states_holds_for_every_rig() -> None:
    found = config_from_shapes(published(), LrmConfig(camera_distance=4.5).metadata(), FILE)
    assert (found.camera_distance, found.zero123plus_distance) == (4.5, None)
    stated = LrmConfig(material=False, zero123plus_distance=3.0)
    assert config_from_shapes(shapes_of(stated), stated.metadata(), FILE) == stated


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        replace(SMALL, encoder_layers=5, layers=3, decoder_layers=2, decoder_width=24, material=False),
        replace(SMALL, encoder_width=64, encoder_heads=2, patch_size=8, position_grid=12, plane_size=6, upscale=1),
    ],
)
def test_any_dimensions_are_read_off_the_tensors_and_metadata(config: LrmConfig) -> None:
    assert config_from_shapes(shapes_of(config), config.metadata(), FILE) == config


def test_heads_are_64_wide_where_nothing_is_stated() -> None:
    config = replace(SMALL, encoder_width=128, width=192)
    found = config_from_shapes(shapes_of(config), {}, FILE)
    assert (found.encoder_heads, found.heads) == (2, 3)
    assert (found.image_size, found.grid_resolution, found.grid_scale, found.camera_distance) == (512, 128, 2.1, 3.5)


@pytest.mark.parametrize(
    ("change", "metadata", "said"),
    [
        ({"transformer.pos_embed": None}, {}, "there is no tensor 'transformer.pos_embed'"),
        ({"transformer.pos_embed": (1, 3000, 1024)}, {}, "1000 positions are no square"),
        ({"transformer.pos_embed": (1024,)}, {}, "index out of range"),
        ({}, {METADATA_KEY: "{"}, "Expecting"),
        ({}, {METADATA_KEY: '{"heads": 7}'}, "7 heads"),
        ({}, {METADATA_KEY: '{"image_size": 0}'}, "not positive"),
        ({}, {METADATA_KEY: '{"grid_scale": "wide"}'}, "wide"),
    ],
)
def test_what_makes_no_model_is_refused(change: dict, metadata: dict[str, str], said: str) -> None:
    table = {name: shape for name, shape in (published() | change).items() if shape is not None}
    with pytest.raises(Bundle3DError, match=rf"'model\.safetensors'.*{said}.*; choose"):
        config_from_shapes(table, metadata, FILE)
