"""Meshes bent to surfaces that are known."""

from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.editing.region import Region
from bundle3d.pipelines.editing.shape import ShapeOptions, edit_shape
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.texturing.unwrap import unwrap
from bundle3d.tests.meshes.shapes import sphere

from .cases import ball_region


@pytest.fixture(scope="module")
def ball() -> Mesh:
    flat = unwrap(sphere(0.8, 3), 128)[0]
    return flat.with_(normals=torch.nn.functional.normalize(flat.vertices, dim=1), name="ball", units="inch")


def test_a_sphere_grows_to_a_larger_one(ball: Mesh) -> None:
    result = edit_shape(ball, sphere(0.9, 4))
    radius = result.mesh.vertices.norm(dim=1)
    assert float((radius - 0.9).abs().max()) < 0.004
    assert result.moved == len(ball.vertices) and result.largest == pytest.approx(0.1, abs=0.004)
    assert result.mesh.normals is not None
    assert float((result.mesh.normals - ball.vertices / 0.8).norm(dim=1).max()) < 0.05
    assert result.mesh.faces is ball.faces and result.mesh.uv is ball.uv
    assert (result.mesh.name, result.mesh.units) == ("ball", "inch")


def test_vertices_outside_the_region_keep_their_bits(ball: Mesh) -> None:
    region = ball_region(ball, torch.tensor((0.0, 0.0, 0.8)), 0.5, 0.1)
    result = edit_shape(ball, sphere(0.9, 4), region)
    weight = region.vertices()
    still = weight == 0.0
    assert torch.equal(result.mesh.vertices[still], ball.vertices[still])
    assert torch.equal(result.mesh.normals[still], ball.normals[still])
    height = result.mesh.vertices.norm(dim=1) - 0.8
    assert float((height - 0.1 * weight).abs().max()) < 0.006
    assert 0 < result.moved < len(ball.vertices) and bool(still.any()) and bool((weight == 1.0).any())


def test_no_vertex_beyond_region_and_border_moves(ball: Mesh) -> None:
    generator, target = torch.Generator().manual_seed(6), sphere(0.9, 3)
    for case in range(20):
        center = ball.vertices[torch.randint(len(ball.vertices), (1,), generator=generator)[0]]
        radius = 0.2 + 0.5 * float(torch.rand(1, generator=generator))
        border = (0.03, 0.06, 0.12)[case % 3]
        result = edit_shape(ball, target, ball_region(ball, center, radius, border)).mesh
        assert result.normals is not None and ball.normals is not None
        moved = (result.vertices != ball.vertices).any(1) | (result.normals != ball.normals).any(1)
        distance = (ball.vertices - center).norm(dim=1)
        beyond = distance > radius + border * 1.6 + 1e-5
        assert not bool(moved[beyond].any()) and bool(moved.any()) and bool(beyond.any()), case


def test_a_bump_is_followed(ball: Mesh) -> None:
    fine = sphere(0.8, 5)
    bump = 0.12 * torch.exp(-((fine.vertices - torch.tensor((0.8, 0.0, 0.0))).norm(dim=1) / 0.3).square())
    target = fine.with_(vertices=fine.vertices * (1.0 + bump[:, None] / 0.8))
    moved = edit_shape(ball, target).mesh.vertices
    along = torch.nn.functional.normalize(moved, dim=1) * 0.8
    expected = 0.8 + 0.12 * torch.exp(-((along - torch.tensor((0.8, 0.0, 0.0))).norm(dim=1) / 0.3).square())
    assert float((moved.norm(dim=1) - expected).abs().max()) < 0.01
    assert torch.equal(moved[ball.vertices[:, 0] < -0.3], ball.vertices[ball.vertices[:, 0] < -0.3])


def test_its_own_surface_and_noise_of_it_leave_the_very_same_mesh(ball: Mesh) -> None:
    generator = torch.Generator().manual_seed(0)
    noisy = ball.with_(vertices=ball.vertices + 0.0005 * torch.randn(ball.vertices.shape, generator=generator))
    for target in (ball, noisy.with_(vertices=ball.vertices * 1.001)):
        assert edit_shape(ball, target).mesh is ball


def test_both_transforms_count(ball: Mesh) -> None:
    double = torch.diag(torch.tensor((2.0, 2.0, 2.0, 1.0), dtype=torch.float64))
    double[:3, 3] = 5.0
    placed = ball.with_(transform=double)
    far = sphere(0.9, 4)
    target = far.with_(vertices=far.vertices * 2.0 + 5.0)
    result = edit_shape(placed, target)
    assert float((result.mesh.vertices.norm(dim=1) - 0.9).abs().max()) < 0.004
    assert result.largest == pytest.approx(0.2, abs=0.01) and result.mesh.transform is double


def test_seams_stay_closed(ball: Mesh) -> None:
    region = ball_region(ball, torch.tensor((0.0, 0.8, 0.0)), 0.4, 0.1)
    result = edit_shape(ball, sphere(0.95, 4), region).mesh
    same = (ball.vertices[:, None] == ball.vertices[None]).all(-1)
    one, two = torch.nonzero(same, as_tuple=True)
    assert int(same.sum()) > len(ball.vertices)
    assert torch.equal(result.vertices[one], result.vertices[two])


def test_refusals(ball: Mesh) -> None:
    with pytest.raises(Bundle3DError, match="farther away"):
        edit_shape(ball, sphere(0.05, 2), options=ShapeOptions(reach=0.1))
    with pytest.raises(Bundle3DError, match="another one"):
        edit_shape(ball, sphere(0.9, 2), Region(sphere(0.8, 2)))
    with pytest.raises(Bundle3DError, match="empty"):
        edit_shape(ball, Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64)))
