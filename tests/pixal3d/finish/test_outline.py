"""What sticks out of an object's outline in its picture is moved back to it; nothing else moves."""

from __future__ import annotations

import pytest
import torch
import trimesh
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.metrics.image import silhouette_iou
from bundle3d.pipelines.pixal3d.alignment import input_camera
from bundle3d.pipelines.pixal3d.finish.outline import Outline
from bundle3d.pipelines.rendering.render_mesh import render_mesh
from bundle3d.pipelines.views.rig import Rig
from bundle3d.pipelines.volumes.projection import camera_distance, front_camera

FOV, SIZE = 0.6, 256


def ball(radius: float) -> Mesh:
    """In the cube [-0.5, 0.5]^3."""
    made = trimesh.creation.icosphere(subdivisions=5, radius=radius)
    return Mesh(torch.from_numpy(made.vertices.copy()).float(), torch.from_numpy(made.faces.copy()).int())


def coverage(mesh: Mesh, mesh_scale: float = 1.0) -> torch.Tensor:
    """(SIZE, SIZE) of the picture's camera."""
    camera = input_camera(FOV, mesh_scale=mesh_scale)
    doubled = mesh.with_(vertices=2.0 * mesh.vertices)
    return render_mesh(doubled, Rig((camera,)), SIZE, SIZE, "unlit")[1][0]


@pytest.mark.parametrize("mesh_scale", [1.0, 0.8])
def test_a_ball_that_is_too_large_fills_its_outline(mesh_scale: float) -> None:
    camera = front_camera(FOV, camera_distance(FOV, mesh_scale))
    mask = coverage(ball(0.3), mesh_scale)
    large = ball(0.33)
    before = float(silhouette_iou(coverage(large, mesh_scale), mask))
    moved = large.with_(vertices=Outline(mask, camera, mesh_scale).within(large.vertices))
    after = float(silhouette_iou(coverage(moved, mesh_scale), mask))
    assert before < 0.86 and after > 0.985
    assert torch.equal(moved.vertices[:, 2], large.vertices[:, 2]), "depths stay"
    still = (moved.vertices == large.vertices).all(1)
    assert 0.3 < float(still.float().mean()) < 1.0
    assert torch.equal(moved.vertices[still], large.vertices[still])


def test_what_is_within_the_outline_stays_to_the_bit() -> None:
    small = ball(0.2)
    outline = Outline(coverage(ball(0.3)), front_camera(FOV))
    assert torch.equal(outline.within(small.vertices), small.vertices)


def test_nothing_moves_further_than_it_may() -> None:
    large = ball(0.45)
    moved = Outline(coverage(ball(0.2)), front_camera(FOV), reach=0.05).within(large.vertices)
    far = (moved - large.vertices).norm(dim=1)
    assert float(far.max()) == pytest.approx(0.05, abs=1e-4)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_mask_without_an_edge_moves_nothing(value: float) -> None:
    vertices = ball(0.4).vertices
    assert torch.equal(Outline(torch.full((8, 8), value), front_camera(FOV)).within(vertices), vertices)
