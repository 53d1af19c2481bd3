"""Signed distances and look-alikes that the tests of volumes extract, negative inside; and what is measured on them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from bundle3d.pipelines.volumes.surface_cubes import GRID_SCALE, SurfaceCubes, lattice_points

Field = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def lattice(resolution: int, scale: float = GRID_SCALE, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """((R + 1)^3, 3) positions of all lattice vertices, in [-scale / 2, scale / 2]."""
    return lattice_points(torch.arange((resolution + 1) ** 3), resolution, scale, dtype)


def cube_ids(cubes: SurfaceCubes) -> torch.Tensor:
    """(S,) indices among the R^3 cubes, whose ``cells`` count lattice vertices."""
    size = cubes.resolution + 1
    x, y, z = cubes.cells // (size * size), cubes.cells // size % size, cubes.cells % size
    return (x * cubes.resolution + y) * cubes.resolution + z


def sphere(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    return (x * x + y * y + z * z).sqrt() - 0.6


def torus(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    return (((x * x + y * y).sqrt() - 0.6) ** 2 + z * z).sqrt() - 0.25


def gyroid(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    a, b, c = 6 * x, 6 * y, 6 * z
    return a.sin() * b.cos() + b.sin() * c.cos() + c.sin() * a.cos()


def waves(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    return (11 * x + 0.3).sin() + (11 * y + 0.7).sin() + (11 * z + 0.2).sin()


def signed_volume(vertices: torch.Tensor, faces: torch.Tensor) -> float:
    a, b, c = (vertices.detach().double()[faces[:, i]] for i in range(3))
    return float((torch.linalg.cross(a, b) * c).sum() / 6.0)


def surface_area(vertices: torch.Tensor, faces: torch.Tensor) -> float:
    a, b, c = (vertices.detach().double()[faces[:, i]] for i in range(3))
    return float(torch.linalg.cross(b - a, c - a).norm(dim=1).sum() / 2.0)


def assert_closed_manifold(vertex_count: int, faces: torch.Tensor) -> None:
    """Every directed edge once with its opposite, and one ring of faces around every vertex."""
    directed = torch.cat((faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]))
    key = directed[:, 0] * vertex_count + directed[:, 1]
    back = directed[:, 1] * vertex_count + directed[:, 0]
    assert torch.unique(key).shape == key.shape
    assert torch.equal(key.sort().values, back.sort().values)
    following: dict[tuple[int, int], int] = {}
    for a, b, c in faces.tolist():
        following.update({(a, b): c, (b, c): a, (c, a): b})
    degree = torch.bincount(faces.reshape(-1), minlength=vertex_count).tolist()
    starts = {edge[0]: edge[1] for edge in following}
    assert sorted(starts) == list(range(vertex_count))
    for vertex, start in starts.items():
        length, at = 1, following[vertex, start]
        while at != start:
            length, at = length + 1, following[vertex, at]
        assert length == degree[vertex]
