"""Geometry scores against shapes whose distance is known."""

from __future__ import annotations

import math

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.metrics.alignment import align, turn
from bundle3d.pipelines.metrics.geometry import (
    chamfer,
    compare_meshes,
    f_score,
    normal_consistency,
    sample_surface,
)

from .shapes import box, sphere


def test_spheres_of_two_radii_are_twice_their_difference_apart() -> None:
    distance = 0.12
    scores = compare_meshes(sphere(0.8), sphere(0.8 + distance, rings=80))
    # A finite sample finds its neighbour a little aside, which adds at most a few percent in quadrature.
    assert scores.chamfer == pytest.approx(2 * distance, rel=0.02)
    assert scores.chamfer >= 2 * distance * 0.999
    assert scores.chamfer_squared == pytest.approx(2 * distance**2, rel=0.04)
    assert scores.f_score == {0.05: 0.0, 0.1: 0.0, 0.2: 1.0}
    assert scores.normal_consistency == pytest.approx(1.0, abs=2e-3)


def test_chamfer_of_single_points_is_their_distance_there_and_back() -> None:
    a, b = torch.zeros(1, 3), torch.tensor(((3.0, 4.0, 0.0),))
    assert chamfer(a, b) == pytest.approx(10.0)
    assert chamfer(a, b, squared=True) == pytest.approx(50.0)


def test_f_score_is_the_harmonic_mean_of_both_shares() -> None:
    a = torch.tensor(((0.0, 0.0, 0.0), (1.0, 0.0, 0.0)))
    b = torch.tensor(((0.0, 0.01, 0.0),))
    assert f_score(a, b, 0.05) == pytest.approx(2 * 0.5 * 1.0 / 1.5)
    assert f_score(a, b + 9.0, 0.05) == 0.0


def test_normals_at_right_angles_are_inconsistent_and_flipped_ones_are_not() -> None:
    point, x, y = torch.zeros(1, 3), torch.tensor(((1.0, 0.0, 0.0),)), torch.tensor(((0.0, 1.0, 0.0),))
    assert normal_consistency(point, x, point, y) == 0.0
    assert normal_consistency(point, x, point, -x) == 1.0


def test_samples_are_spread_by_area_and_lie_on_the_surface() -> None:
    mesh = box(1.0, 0.5, 0.25)
    points, normals = sample_surface(mesh, 20000)
    extents = torch.tensor((1.0, 0.5, 0.25))
    assert torch.allclose((points / extents).abs().amax(-1), torch.ones(20000), atol=1e-5)
    areas = torch.tensor((0.5 * 0.25, 1.0 * 0.25, 1.0 * 0.5))
    share = torch.stack([(normals[:, axis].abs() > 0.5).float().mean() for axis in range(3)])
    assert torch.allclose(share, areas / areas.sum(), atol=0.015)
    assert torch.allclose(points.mean(0), torch.zeros(3), atol=0.02)


def test_the_seed_decides_the_samples() -> None:
    mesh = sphere(rings=8)
    assert torch.equal(sample_surface(mesh, 100, 3)[0], sample_surface(mesh, 100, 3)[0])
    assert not torch.equal(sample_surface(mesh, 100, 3)[0], sample_surface(mesh, 100, 4)[0])


def test_a_mesh_without_area_is_refused() -> None:
    with pytest.raises(Bundle3DError, match="no area"):
        sample_surface(Mesh(torch.zeros(3, 3), torch.tensor(((0, 1, 2),))))
    with pytest.raises(Bundle3DError, match="no area"):
        sample_surface(Mesh(torch.zeros(3, 3), torch.zeros(0, 3, dtype=torch.int64)))


def test_turning_goes_from_front_to_the_right() -> None:
    assert (turn(math.pi / 2) @ torch.tensor((0.0, 0.0, 1.0))).tolist() == pytest.approx((1.0, 0.0, 0.0), abs=1e-6)


def test_alignment_undoes_a_turn_a_scale_and_a_shift() -> None:
    target = box(1.0, 0.5, 0.25)
    moved = target.with_(vertices=0.9 * target.vertices @ turn(2.0).T + torch.tensor((0.05, 0.03, -0.04)))
    before, after = compare_meshes(moved, target), compare_meshes(align(moved, target), target)
    assert after.chamfer < 0.04 < 0.2 < before.chamfer
    assert align(moved, target, turns=1, icp=False) is moved
