"""Cameras found by the silhouette of a mesh."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.isomer.initial import sphere
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.rendering.fit_camera import fit_camera
from bundle3d.pipelines.rendering.rasterise import rasterise
from bundle3d.pipelines.views.camera import Camera
from bundle3d.pipelines.views.rig import Rig

from .scenes import box

START = Camera(0.0, 5.0, 4.5, fov=30.0)


def scene() -> Mesh:
    """A box with a smaller one on its right."""
    large, small = box(0.5, 0.4, 0.3), box(0.2, 0.3, 0.2)
    vertices = torch.cat((large.vertices, small.vertices + torch.tensor((0.3, 0.5, 0.1))))
    return Mesh(vertices, torch.cat((large.faces, small.faces + len(large.vertices))))


def mask_of(camera: Camera, size: int = 512) -> torch.Tensor:
    mesh = scene()
    return rasterise(Rig((camera,)).clip(mesh.vertices), mesh.faces, size, size).mask[0].float()


@pytest.mark.parametrize("azimuth", [0.0, 40.0])
@pytest.mark.parametrize(("distance", "target"), [(3.1, (0.1, 0.25, 0.0)), (6.0, (-0.2, 0.0, 0.0))])
def test_distance_and_shift_are_found(azimuth: float, distance: float, target: tuple[float, float, float]) -> None:
    start = replace(START, azimuth=azimuth)
    truth = replace(start, distance=distance, target=target)
    found, overlap = fit_camera(scene(), mask_of(truth), start)
    assert overlap > 0.995
    points = scene().vertices.double()
    apart = found.project(points, 512, 512)[0] - truth.project(points, 512, 512)[0]
    assert float(apart.norm(dim=1).max()) < 1.0
    assert (found.azimuth, found.elevation, found.fov) == (start.azimuth, start.elevation, start.fov)


@pytest.mark.parametrize("elevation", [-6.0, 21.0])
def test_the_elevation_is_found_where_it_may_change(elevation: float) -> None:
    truth = replace(START, azimuth=25.0, elevation=elevation, distance=3.8, target=(0.05, 0.1, 0.0))
    start = replace(START, azimuth=25.0)
    found, overlap = fit_camera(scene(), mask_of(truth), start, tilt=20.0)
    assert found.elevation == pytest.approx(elevation, abs=0.75) and overlap > 0.995
    near, less = fit_camera(scene(), mask_of(truth), start, tilt=5.0)
    assert abs(near.elevation - start.elevation) <= 5.0 and less < overlap
    assert fit_camera(scene(), mask_of(truth), start)[0].elevation == start.elevation


def test_what_looks_alike_from_all_heights_stays_at_the_given_one() -> None:
    ball = sphere(0.7, 4)
    camera = replace(START, distance=3.7)
    mask = rasterise(Rig((camera,)).clip(ball.vertices), ball.faces, 256, 256).mask[0].float()
    found, overlap = fit_camera(ball, mask, START, tilt=20.0)
    assert found.elevation == pytest.approx(START.elevation, abs=1.0) and overlap > 0.99


def test_it_can_be_cancelled_and_refuses_what_cannot_be_fitted() -> None:
    def cancel(done: int, total: int, preview: object = None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_camera(scene(), mask_of(START), START, progress=cancel)
    with pytest.raises(Bundle3DError, match="orthographic"):
        fit_camera(scene(), mask_of(START), Camera(0.0, half_height=1.0))
    with pytest.raises(Bundle3DError, match="mask"):
        fit_camera(scene(), torch.zeros(8, 8), START)
    with pytest.raises(Bundle3DError, match="mesh"):
        fit_camera(Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64)), mask_of(START), START)
