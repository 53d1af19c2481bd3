"""The scale of cameras at which a mesh fits its views."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.rendering.fit_scale import fit_scale
from bundle3d.pipelines.rendering.rasterise import rasterise
from bundle3d.pipelines.views.camera import Camera
from bundle3d.pipelines.views.rig import Rig, named_rig
from bundle3d.pipelines.views.view_set import ViewSet

from .scenes import box


def views_of(mesh: Mesh, rig: Rig, size: int = 256) -> ViewSet:
    mask = rasterise(rig.clip(mesh.vertices), mesh.faces, size, size).mask.float()
    return ViewSet(torch.ones(*mask.shape, 3), torch.zeros(*mask.shape, 3), mask, rig)


@pytest.mark.parametrize(("name", "scale"), [("kiss3dgen", 0.822), ("kiss3dgen", 1.0), ("lrm", 0.92), ("lrm", 1.05)])
def test_the_scale_of_the_camera_distances_is_found(name: str, scale: float) -> None:
    mesh, rig = box(0.6, 0.6, 0.4), named_rig(name)
    views = replace(views_of(mesh, rig.scaled(scale)), rig=rig)
    assert fit_scale(mesh, views) == pytest.approx(scale, abs=0.0025)


def test_cameras_at_different_distances_scale_together() -> None:
    mesh = box(0.6, 0.6, 0.4)
    rig = Rig(tuple(Camera(90.0 * i, 5.0, distance, fov=30.0) for i, distance in enumerate((4.5, 3.5, 5.5))))
    views = replace(views_of(mesh, rig.scaled(0.9)), rig=rig)
    assert fit_scale(mesh, views) == pytest.approx(0.9, abs=0.0025)


def test_a_distance_is_not_searched_where_it_changes_nothing() -> None:
    mesh = box(0.7, 0.9, 0.5)
    assert fit_scale(mesh, views_of(mesh, named_rig("cube6"))) == 1.0
    with pytest.raises(Bundle3DError):
        fit_scale(mesh, views_of(mesh, named_rig("kiss3dgen")), 1.0, 1.0)
