"""Surfaces of fields that are known in part, against those of whole lattices."""

from __future__ import annotations

import math

import pytest
import torch
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.topology import is_watertight
from bundle3d.pipelines.volumes.level_surface import level_surface
from bundle3d.pipelines.volumes.surface_nets import surface_nets

SIDE = 20
BACKENDS = ["torch", "numba"]


def two_balls() -> torch.Tensor:
    """Distances to the nearer of two balls, cut off at one voxel as a decoder's are."""
    lattice = torch.cartesian_prod(*[torch.arange(SIDE)] * 3).float()
    each = [(lattice - torch.tensor(centre)).norm(dim=1) - 4.2 for centre in ((6.0, 7.0, 8.0), (12.0, 12.0, 11.0))]
    return torch.minimum(*each).clamp(-1, 1).reshape(SIDE, SIDE, SIDE)


def sorted_vertices(mesh: Mesh) -> torch.Tensor:
    order = sorted(range(len(mesh.vertices)), key=lambda row: mesh.vertices[row].tolist())
    return mesh.vertices[order]


def volume(mesh: Mesh) -> float:
    a, b, c = mesh.vertices[mesh.faces].double().unbind(1)
    return float((a * torch.linalg.cross(b, c)).sum() / 6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("level", [0.2, -0.3])
def test_it_is_the_surface_of_the_whole_lattice(level: float, backend: str) -> None:
    field = two_balls()
    known = (field < 1).nonzero()[torch.randperm(int((field < 1).sum()), generator=torch.Generator().manual_seed(0))]
    values = field[known[:, 0], known[:, 1], known[:, 2]]
    mesh = level_surface(known.int(), values, SIDE, level, 1.0, backend)
    whole = surface_nets(level - field)
    torch.testing.assert_close(sorted_vertices(mesh), sorted_vertices(whole), atol=1e-5, rtol=0)
    assert len(mesh.faces) == len(whole.faces) and is_watertight(mesh.faces)
    assert volume(mesh) == pytest.approx(volume(whole), rel=1e-5)


def test_a_ball_has_its_volume() -> None:
    lattice = torch.cartesian_prod(*[torch.arange(SIDE)] * 3)
    distances = (lattice - torch.tensor((9.0, 10.0, 9.5))).norm(dim=1) - 6
    near = distances < 1.5
    mesh = level_surface(lattice[near], distances[near], SIDE, 0.0, 2.0)
    assert volume(mesh) == pytest.approx(4 / 3 * math.pi * 6**3, rel=0.04)  # means of crossings lie a little within


def test_what_touches_the_lattice_s_faces_is_closed_there() -> None:
    places = torch.cartesian_prod(*[torch.arange(4)] * 3)
    mesh = level_surface(places, -torch.ones(64), 4, 0.0, 1.0)
    assert is_watertight(mesh.faces) and volume(mesh) > 0
    assert float(mesh.vertices.min()) >= -1 and float(mesh.vertices.max()) <= 4


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_inside_is_an_empty_mesh(backend: str) -> None:
    mesh = level_surface(torch.tensor([[1, 2, 3]]), torch.ones(1), 4, 0.2, 1.0, backend)
    assert mesh.vertices.shape == (0, 3) and mesh.faces.shape == (0, 3)
