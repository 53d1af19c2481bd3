"""A sphere to start from where nothing is known of the shape."""

from __future__ import annotations

import math

import torch

from ..errors import Bundle3DError
from ..meshes.mesh import Mesh


def sphere(radius: float = 0.8, subdivisions: int = 4) -> Mesh:
    """An icosphere around the origin: 20 * 4^subdivisions faces, all facing outward.

    Raises Bundle3DError for a non-positive radius or for subdivisions outside 0..8.
    """
    if not radius > 0.0 or not 0 <= subdivisions <= 8:
        raise Bundle3DError(
            f"A sphere needs a positive radius and 0 to 8 subdivisions, but got {radius} and {subdivisions}; "
            "try 0.8 and 4."
        )
    vertices, faces = _icosahedron()
    for _ in range(subdivisions):
        vertices, faces = _subdivide(vertices, faces)
    return Mesh((vertices * radius).float(), faces)


def _icosahedron() -> tuple[torch.Tensor, torch.Tensor]:
    golden = (1.0 + math.sqrt(5.0)) / 2.0
    corners = [(0.0, i, j * golden) for i in (-1.0, 1.0) for j in (-1.0, 1.0)]
    corners += [(j * golden, 0.0, i) for i in (-1.0, 1.0) for j in (-1.0, 1.0)]
    corners += [(i, j * golden, 0.0) for i in (-1.0, 1.0) for j in (-1.0, 1.0)]
    vertices = torch.nn.functional.normalize(torch.tensor(corners, dtype=torch.float64), dim=1)
    distance = torch.cdist(vertices, vertices)
    near = (distance > 0.1) & (distance < 1.1)
    triples = torch.combinations(torch.arange(12), 3)
    a, b, c = triples.T
    faces = triples[near[a, b] & near[b, c] & near[a, c]]
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    outward = (torch.linalg.cross(b - a, c - a) * a).sum(dim=1) > 0.0
    return vertices, torch.where(outward[:, None], faces, faces.flip(1))


def _subdivide(vertices: torch.Tensor, faces: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Split every face in four, with the new vertices on the unit sphere."""
    count = vertices.shape[0]
    sides = torch.cat((faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]])).sort(dim=1).values
    edges, side_edge = torch.unique(sides, dim=0, return_inverse=True)
    middle = torch.nn.functional.normalize(vertices[edges[:, 0]] + vertices[edges[:, 1]], dim=1)
    ab, bc, ca = (side_edge + count).reshape(3, -1)
    a, b, c = faces.T
    parts = ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))
    return torch.cat((vertices, middle)), torch.cat([torch.stack(part, dim=1) for part in parts])
