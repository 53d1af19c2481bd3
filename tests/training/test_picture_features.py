"""What pictures are said to show is what is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.training.picture_features import (
    COVERED,
    EXTENT,
    NORMAL,
    STRIDES,
    TOLD,
    WINDOW,
    PictureReader,
    in_windows,
    reading_loss,
    surface,
    write_surfaces,
)
from bundle3d.pipelines.training.placed_objects import placed_object
from bundle3d.pipelines.views.camera import Camera
from bundle3d.tests.pixal3d.make_small import ENCODER, UPSAMPLER

SIZE, RADIUS = 64, 0.6


@pytest.mark.parametrize("camera", [Camera(30.0, 20.0, 4.5, fov=30.0), Camera(200.0, -10.0, 4.0, half_height=1.0)])
def test_a_sphere_begins_and_ends_where_it_does(camera: Camera) -> None:
    seen = surface(sphere(), camera, SIZE).float()
    origins, directions = camera.rays(SIZE, SIZE)
    along = -(origins * directions).sum(-1)
    off = (origins.square().sum(-1) - along.square()).float()
    inside = off < RADIUS**2 - 0.05
    half = (RADIUS**2 - off).clamp(min=0).sqrt().double()
    toward = camera.rotation()[2]
    expected = [(origins + directions * (along + sign * half)[..., None]) for sign in (-1.0, 1.0)]
    assert bool((seen[0] > 0)[inside].all()) and not bool((seen[0] > 0)[off > RADIUS**2].any())
    for channel, points in zip((4, 5), expected):
        found = seen[channel] / 127.0
        torch.testing.assert_close(found[inside], (points @ toward).float()[inside], atol=0.03, rtol=0)
    normals = (expected[0] / RADIUS @ camera.rotation().T).float()
    found = (seen[1:4] / 127.0).permute(1, 2, 0)
    assert float((found - normals)[inside].norm(dim=-1).mean()) < 0.1


def test_a_file_holds_all_views_and_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "one.npy"
    write_surfaces(path, lambda: placed_object(1, 0), SIZE)
    kept = np.load(path)
    assert kept.shape == (4, 6, SIZE, SIZE) and kept.dtype == np.int8
    assert all(0.02 < share < 0.9 for share in kept[:, 0].mean((1, 2)))
    assert (kept[:, 4] >= kept[:, 5])[kept[:, 0] > 0].all()
    write_surfaces(path, lambda: pytest.fail("made again"), SIZE)


def test_a_reader_tells_of_places_and_of_pixels() -> None:
    torch.manual_seed(0)
    reader = PictureReader(ENCODER, UPSAMPLER).eval()
    told, fine = reader(torch.rand(3, 3, 32, 32), torch.rand(3, 5, 2), torch.randint(32 * 32, (2, 7)))
    assert told.shape == (3, len(TOLD), 5, len(STRIDES) * WINDOW**2) and fine.shape == (2, len(TOLD), 7)


def test_a_window_is_what_is_around_its_place() -> None:
    size, place = 32, (20, 12)  # the corner where four pixels meet, across and down
    picture = torch.arange(float(size * size)).reshape(1, 1, size, size)
    at = 2.0 * torch.tensor(place) / size - 1.0
    near, wide = in_windows(picture, at[None, None])[0, 0, 0].split(WINDOW**2)
    half = WINDOW // 2
    expected = picture[0, 0, place[1] - half : place[1] + half, place[0] - half : place[0] + half]
    assert torch.equal(near, expected.flatten())
    # every other pixel of a window around a corner: half a pixel off in both directions
    assert abs(float(wide.mean() - near.mean())) <= (size + 1) / 2.0 and float(wide.std()) > 1.9 * float(near.std())
    assert not in_windows(picture, torch.full((1, 1, 2), 3.0)).any()


def test_only_coverage_counts_where_there_is_no_object() -> None:
    true = torch.zeros(1, len(TOLD), 2, 2)
    told = true.clone()
    told[:, COVERED] = -30.0
    assert float(reading_loss(told, true)) < 1e-6
    told[:, 1:] = 5.0
    assert float(reading_loss(told, true)) < 1e-6
    true[:, COVERED, 0, 0] = 1.0
    told[:, COVERED, 0, 0] = 30.0
    for part in (NORMAL, EXTENT):
        wrong = torch.where(torch.arange(len(TOLD))[:, None, None] == 0, told, true)
        wrong[:, part] += 1.0
        assert float(reading_loss(wrong, true)) > 0.1


def sphere() -> Mesh:
    made = trimesh.creation.icosphere(subdivisions=4, radius=RADIUS)
    return Mesh(torch.from_numpy(made.vertices.copy()).float(), torch.from_numpy(made.faces.copy()).int())
