"""What is shown of latents while they are drawn."""

from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.pixal3d.decode import structure_logits
from bundle3d.pipelines.pixal3d.latent_pictures import front_picture, latent_picture, structure_picture
from bundle3d.pipelines.pixal3d.models import Pixal3DModels
from bundle3d.pipelines.progress import Preview
from bundle3d.tests.pixal3d.make_small import small_models
from bundle3d.tests.pixal3d.run_stages import FAST, make

RED, GREEN, BLUE = torch.eye(3)


@pytest.fixture(scope="module")
def models() -> Pixal3DModels:
    return small_models()


def test_the_front_camera_sees_the_nearest_voxels() -> None:
    # Behind each other in the middle, and one at the upper right in the farthest layer.
    coords = torch.tensor([[1, 1, 0], [1, 1, 3], [1, 1, 2], [3, 3, 0]], dtype=torch.int32)
    picture = front_picture(coords, torch.stack((RED, GREEN, RED, BLUE)), 4)
    assert picture.shape == (256, 256, 3)
    pixels = picture[32::64, 32::64]
    assert torch.equal(picture, pixels.repeat_interleave(64, 0).repeat_interleave(64, 1))
    assert torch.equal(pixels[2, 1], GREEN)
    torch.testing.assert_close(pixels[0, 3], 0.35 * BLUE)
    assert int((pixels > 0).sum()) == 2


def test_a_structure_is_there_where_logits_are_positive() -> None:
    logits = torch.full((5, 5, 5), -1.0)
    logits[4, 0, 4] = 0.1
    picture = structure_picture(logits)
    assert picture.shape == (260, 260, 3)
    assert bool((picture[208:, 208:] == 0.8).all()) and int((picture > 0).sum()) == 3 * 52**2
    assert not bool(structure_picture(-torch.ones(5, 5, 5)).any())


def test_different_latents_have_different_colors_that_do_not_flicker() -> None:
    coords = torch.tensor([[0, 0, 1], [1, 0, 1]])
    latents = torch.randn(2, 32, generator=torch.Generator().manual_seed(1))
    picture = latent_picture(coords, latents, 2)
    first, second = picture[-1, 0], picture[-1, -1]
    assert float((first - second).abs().max()) > 0.1 and not bool(picture[:128].any())
    again = latent_picture(coords, latents.flip(0), 2)
    assert torch.equal(again[-1, 0], second) and torch.equal(again[-1, -1], first)
    assert torch.equal(latent_picture(coords, torch.zeros(2, 32), 2)[-1, 0], torch.full((3,), 0.5))


def test_every_stage_shows_every_step(models: Pixal3DModels) -> None:
    pictures: list[torch.Tensor] = []

    def progress(done: int, total: int, preview: Preview | None = None) -> None:
        if preview is not None:
            pictures.append(preview())

    made = make(models, progress=progress)
    plain = make(models)
    assert torch.equal(made.texture.features, plain.texture.features)
    assert len(pictures) == 4 * FAST.steps  # structure, coarse and fine shape, texture
    for picture in pictures:
        assert picture.shape == (256, 256, 3) and 0.0 <= float(picture.min()) <= float(picture.max()) <= 1.0
    logits = structure_logits(models.structure_decoder, made.structure)  # of which the last step foresees all
    drawn = structure_picture(logits[0, 0])
    assert bool(drawn.any()) and float((drawn != pictures[FAST.steps - 1]).float().mean()) < 0.01
