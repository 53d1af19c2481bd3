"""All stages on a card: nothing of them is left on the CPU, and nothing that cards lack is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace

import pytest
import torch
from bundle3d.pipelines.pixal3d.conditioning import Pictures, SeenPictures
from bundle3d.pipelines.pixal3d.draw import VoxelRequest, draw_voxels
from bundle3d.pipelines.pixal3d.finish.asset import finish_asset
from bundle3d.pipelines.pixal3d.finish.options import FinishOptions
from bundle3d.pipelines.pixal3d.models import PictureModels
from bundle3d.pipelines.pixal3d.pictured_object import PicturedObject
from bundle3d.pipelines.pixal3d.volume_pictures import color_volume, feature_volume
from bundle3d.pipelines.progress import Preview
from bundle3d.tests.pixal3d.finish.decoded_objects import decoded
from bundle3d.tests.pixal3d.make_small import SIGHTS, disc, random_voxels, small_models
from bundle3d.tests.pixal3d.run_stages import FAST
from bundle3d.tests.support.pretended_card import CARD, CPU, PretendedCard, on_card

FAST_REQUEST = VoxelRequest(structure_sampling=FAST, shape_sampling=FAST, texture_sampling=FAST)
SIGHT = SIGHTS["shape"]


@pytest.fixture(autouse=True)
def pretending() -> Iterator[None]:
    with torch.inference_mode(), PretendedCard():
        yield


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_batch_with_one_and_four_views_is_drawn_and_shown(dtype: torch.dtype) -> None:
    shown: list[torch.Tensor] = []

    def show(done: int, total: int, preview: Preview | None = None) -> None:
        if preview is not None:
            shown.append(preview())

    pictures = [disc(), disc(4, seed=12)]
    drawn = draw_voxels(on_card(small_models(), dtype), pictures, FAST_REQUEST, show)
    assert drawn.material is not None and drawn.material.features.device.type == CARD.type
    assert drawn.material.lengths() == [len(grid.coords) for grid in drawn.shape.grids] and len(drawn.shape.grids) == 2
    assert bool(drawn.material.features.isfinite().all())
    # two steps each of structure, coarse shape, fine shape and texture
    assert len(shown) == 8 and all(picture.device == CPU and float(picture.max()) > 0 for picture in shown)


@pytest.mark.parametrize("encoder", [CARD, CPU], ids=str)
@pytest.mark.parametrize("upsampler", [CARD, CPU], ids=str)
def test_pictures_are_seen_on_the_device_of_the_encoder(encoder: torch.device, upsampler: torch.device) -> None:
    models, coords = small_models().pictures, random_voxels([40], 1, 8).coords[:, 1:]
    encoders = {CPU: models.encoder, CARD: on_card(models.encoder, torch.float32)}
    upsamplers = {CPU: models.upsampler, CARD: on_card(models.upsampler, torch.float32)}
    truth = SeenPictures(models, disc(4)).condition(SIGHT, coords, 8)
    moved = PictureModels(encoders[encoder], upsamplers[upsampler])
    found = SeenPictures(moved, disc(4)).condition(SIGHT, coords, 8)
    assert found.tokens.device.type == found.projected.device.type == encoder.type
    torch.testing.assert_close(found.tokens.cpu(), truth.tokens)
    torch.testing.assert_close(found.projected.cpu(), truth.projected, atol=1e-5, rtol=1e-4)


def test_features_are_shown() -> None:
    item, models = PicturedObject(disc(), torch.ones(1, 40, 40)), small_models()
    truth = feature_volume(models, item, SIGHT, 8)
    found = feature_volume(on_card(models, torch.float32), item, SIGHT, 8)
    assert found.device == CPU
    torch.testing.assert_close(found, truth, atol=1e-3, rtol=0)


def test_colours_of_pictures_on_the_card_are_shown() -> None:
    pictures, masks = disc(4), torch.ones(4, 40, 40)
    truth = color_volume(PicturedObject(pictures, masks), 8)
    moved = Pictures(pictures.images.to(CARD), pictures.cameras)
    for found, expected in zip(color_volume(PicturedObject(moved, masks.to(CARD)), 8), truth):
        torch.testing.assert_close(found.cpu(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("surface", ["released", "raw"])
def test_what_was_decoded_on_the_card_becomes_an_asset(surface: str) -> None:
    grid, material = decoded("ball")
    tensors = {
        field.name: value.to(CARD)
        for field in fields(grid)
        if isinstance(value := getattr(grid, field.name), torch.Tensor)
    }
    options = FinishOptions(surface=surface, faces=1000, texture=64, size=1.0)
    asset = finish_asset(replace(grid, **tensors), material.to(CARD), options)
    assert len(asset.faces) > 500 and asset.vertices.device == CPU
