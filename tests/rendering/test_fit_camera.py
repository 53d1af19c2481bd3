"""Cameras found by the silhouette of a mesh."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
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
