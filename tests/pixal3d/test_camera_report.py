"""Cameras of the usual mistakes, which pass for cameras, are told from right ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from bundle3d.pipelines.pixal3d.camera_report import camera_report
from bundle3d.pipelines.pixal3d.view_folder import ViewFolder
from bundle3d.pipelines.rendering.render_views import render_views
from bundle3d.pipelines.views.rig import named_rig
from bundle3d.pipelines.volumes.projection import GridCamera, rig_cameras
from bundle3d.tests.support.view_folder import sphere

FLIP = torch.diag(torch.tensor((1.0, -1.0, -1.0, 1.0), dtype=torch.float64))
FOV = math.radians(30)


def moved(factor: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """The camera at that many times its distance."""
    sizes = torch.tensor((1.0, 1.0, 1.0, factor), dtype=torch.float64)
    return lambda matrix: torch.cat((matrix[:3] * sizes, matrix[3:]))


def told(change: Callable[[torch.Tensor], torch.Tensor], of: tuple[int, ...], mesh_scale: float = 1.0) -> list[str]:
    """The report on the rig kiss3dgen with the matrices ``of`` some views changed, and a sphere that fills the cube."""
    placed = rig_cameras(named_rig("kiss3dgen"))
    placed = tuple(
        GridCamera(change(camera.camera_to_world) if number in of else camera.camera_to_world, camera.fov)
        for number, camera in enumerate(placed)
    )
    mesh = sphere()
    mesh = mesh.with_(vertices=mesh.vertices / mesh.vertices.abs().max() * 0.95)
    masks = render_views(mesh, named_rig("kiss3dgen"), 64).mask
    files = tuple(Path(f"{number}.png") for number in range(4))
    return camera_report(ViewFolder(files, placed, placed, mesh_scale), masks)


def test_right_cameras_are_reported_and_nothing_else() -> None:
    lines = told(lambda matrix: matrix, ())
    assert lines[0] == "0.png: field of view 30.00 degrees, 2.250 sides of the object's cube away, looks at it"
    assert len(lines) == 4


@pytest.mark.parametrize(
    "change", [lambda matrix: matrix @ FLIP, torch.linalg.inv], ids=["OpenCV's axes", "world to camera"]
)
@pytest.mark.parametrize("of", [(1, 3), (0, 1, 2, 3)])
def test_cameras_that_do_not_look_at_the_object_are_named_with_the_usual_reasons(
    change: Callable[[torch.Tensor], torch.Tensor], of: tuple[int, ...]
) -> None:
    lines = told(change, of)
    astray = [line.split(":")[0] for line in lines[:4] if not line.endswith("looks at it")]
    assert astray == [f"{number}.png" for number in of] and len(lines) == 5
    assert f"cube: {', '.join(astray)}; usual reasons are OpenCV's axes" in lines[4] and "invert them" in lines[4]


def test_a_camera_that_looks_past_the_object_is_not_behind_it() -> None:
    aside = FOV / 2 + 0.1
    turn = torch.eye(4, dtype=torch.float64)
    turn[0, 0] = turn[2, 2] = math.cos(aside)
    turn[0, 2], turn[2, 0] = math.sin(aside), -math.sin(aside)
    assert told(lambda matrix: matrix @ turn, (2,))[2].endswith("looks past it")


def test_distances_that_differ_are_told_with_the_frames() -> None:
    assert len(told(moved(0.6), (1,))) == 4
    lines = told(moved(0.4), (1,))
    assert "2.5 times as far away as 1.png" in lines[4] and "OpenCV" in lines[4]


@pytest.mark.parametrize("mesh_scale", [1.0, 0.5])
def test_doubled_distances_are_told_by_the_object_that_reaches_out_of_its_cube(mesh_scale: float) -> None:
    lines = told(moved(2.0), (0, 1, 2, 3), mesh_scale)
    if mesh_scale == 0.5:  # of a cube that is twice as large
        assert len(lines) == 4 and "2.250 sides" in lines[0]
    else:
        assert len(lines) == 5 and "out of its cube in 0.png, 1.png, 2.png, 3.png: distances" in lines[4]
