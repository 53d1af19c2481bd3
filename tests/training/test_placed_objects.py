"""Procedural objects before Pixal3D's cameras: where the pictures show them, the grid has them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.training.placed_objects import MARGIN, REACH, placed_object, write_placed_pictures

TILE = 96
PHOTO, SURROUNDED = 2, 3


@pytest.mark.parametrize("index", [PHOTO, SURROUNDED])
def test_every_picture_covers_what_its_camera_sees_of_the_grid(tmp_path: Path, index: int) -> None:
    written = write_placed_pictures(tmp_path, index + 1, TILE)[index]
    pictures = written.pictures()
    vertices = placed_object(index, 0).grid_mesh().vertices
    assert float(vertices.abs().max()) <= REACH / 2 + 1e-6
    assert len(pictures.cameras) == (1 if index == PHOTO else 4)
    for image, camera in zip(pictures.images, pictures.cameras):
        places = camera.project(vertices) * TILE
        shown = torch.nonzero(image.amax(-1) > 0.02).flip(1)
        assert float((places.amin(0) - shown.amin(0)).abs().max()) < 1.5
        assert float((places.amax(0) - shown.amax(0) - 1.0).abs().max()) < 1.5
        assert float(image[0].max()) == 0.0


def test_a_photo_is_filled_up_to_its_margin_around_the_middle() -> None:
    for index in (0, 2, 4):
        placed = placed_object(index, 0)
        (camera,) = placed.rig
        pixels, _ = camera.project(placed.mesh.vertices, 1, 1)
        low, high = pixels.amin(0), pixels.amax(0)
        assert torch.allclose((low + high) / 2, torch.full((2,), 0.5), atol=0.02)
        assert 0.9 / MARGIN - 0.05 < float((high - low).max()) < 1.0 / MARGIN + 0.01


def test_an_object_is_the_same_whatever_was_made_before_it() -> None:
    first = placed_object(SURROUNDED, 0).mesh.vertices
    placed_object(PHOTO, 0)
    assert torch.equal(placed_object(SURROUNDED, 0).mesh.vertices, first)
    assert not torch.equal(placed_object(SURROUNDED, 1).mesh.vertices[:3], first[:3])


def test_objects_of_another_size_are_refused(tmp_path: Path) -> None:
    write_placed_pictures(tmp_path, 1, 16)
    with pytest.raises(Bundle3DError, match="choose another folder"):
        write_placed_pictures(tmp_path, 1, 32)
