"""Uniform Laplacian smoothing and Loop subdivision of long edges.

Source: specs/kiss3dgen.md section 6.9.
"""

from __future__ import annotations

import math

import torch

from ..kernels import resolve_backend
from ..meshes.mesh import Mesh
from ..meshes.topology import boundary_edges, unique_edges
from .remesh_torch import cut_faces, edge_lengths


def neighbour_sums(
    vertices: torch.Tensor, faces: torch.Tensor, backend: str = "auto"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum (N, C) over the vertices that an edge joins to each of ``vertices`` (N, C), and their number (N,)."""
    if resolve_backend(backend, vertices) == "numba":
        from . import remesh_numba

        return remesh_numba.neighbour_sums(vertices, faces)
    first, second = unique_edges(faces)[0].unbind(1)
    sums = torch.zeros_like(vertices).index_add_(0, first, vertices.index_select(0, second))
    sums.index_add_(0, second, vertices.index_select(0, first))
    degree = torch.bincount(torch.cat((first, second)), minlength=len(vertices))
    return sums, degree


def _border_sums(vertices: torch.Tensor, faces: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum (N, 3) of the neighbours along the border, and which vertices (N,) lie on it."""
    first, second = boundary_edges(faces).unbind(1)
    sums = torch.zeros_like(vertices).index_add_(0, first, vertices[second]).index_add_(0, second, vertices[first])
    border = torch.zeros(len(vertices), dtype=torch.bool, device=vertices.device)
    border[first] = True
    return sums, border


def laplacian_smooth(mesh: Mesh, iterations: int = 1, backend: str = "auto") -> Mesh:
    """``mesh`` with every vertex moved toward its neighbours, to (v + 2 sum) / (1 + 2 degree); a border along itself.

    Stored normals and tangents are dropped, for they no longer fit.
    """
    vertices = mesh.vertices
    for _ in range(iterations):
        sums, degree = neighbour_sums(vertices, mesh.faces, backend)
        smoothed = (vertices + 2 * sums) / (1 + 2 * degree)[:, None]
        along, border = _border_sums(vertices, mesh.faces)
        vertices = torch.where(border[:, None], (2 * vertices + along) / 4, smoothed)
    return mesh.with_(vertices=vertices, normals=None, tangents=None)


def loop_subdivide(mesh: Mesh, threshold: float, iterations: int = 2) -> Mesh:
    """``mesh`` with the edges longer than ``threshold`` (world units) split by Loop's rules, ``iterations`` times.

    New vertices take 3/8 of each end of their edge and 1/8 of each opposite corner; an old vertex moves by Loop's
    weights where an edge of it is split. Only the geometry is kept, and the mesh as it is where no edge is that long.
    """
    vertices, faces = mesh.vertices, mesh.faces
    for _ in range(iterations):
        edges, sides = unique_edges(faces)
        long = edge_lengths(vertices, edges) > threshold
        if not bool(long.any()):
            break
        odd = _odd_points(vertices, faces, edges, sides)[long]
        even = _even_points(vertices, faces)
        touched = torch.zeros(len(vertices), dtype=torch.bool, device=vertices.device)
        touched[edges[long].reshape(-1)] = True
        count = len(vertices)
        vertices = torch.cat((torch.where(touched[:, None], even, vertices), odd))
        faces = _split_faces(vertices, faces, sides, torch.where(long, long.cumsum(0) - 1 + count, -1))
    return mesh if vertices is mesh.vertices else Mesh(vertices, faces, transform=mesh.transform, units=mesh.units)


def _split_faces(
    vertices: torch.Tensor, faces: torch.Tensor, sides: torch.Tensor, middle: torch.Tensor
) -> torch.Tensor:
    """The ``faces`` (M, 3) cut at the ``middle`` vertex (E,) of their sides; quads are cut at their short diagonal."""
    cut = middle[sides] >= 0
    two = cut.sum(1) == 2
    others = cut_faces(faces[~two], sides[~two], middle)
    turns = ((~cut[two]).to(torch.int8).argmax(1)[:, None] + torch.arange(3, device=faces.device)) % 3
    a, b, c = faces[two].gather(1, turns).unbind(1)
    _, p, q = middle[sides[two]].gather(1, turns).unbind(1)
    across = ((vertices[a] - vertices[p]).norm(dim=1) < (vertices[b] - vertices[q]).norm(dim=1))[:, None]
    first = torch.where(across, torch.stack((a, b, p), dim=1), torch.stack((a, b, q), dim=1))
    second = torch.where(across, torch.stack((a, p, q), dim=1), torch.stack((b, p, q), dim=1))
    return torch.cat((others, torch.stack((p, c, q), dim=1), first, second))


def _odd_points(vertices: torch.Tensor, faces: torch.Tensor, edges: torch.Tensor, sides: torch.Tensor) -> torch.Tensor:
    """Loop's point (E, 3) for every edge; its middle at a border."""
    ends = vertices.index_select(0, edges.reshape(-1)).reshape(-1, 2, 3).sum(1)
    flat = sides.reshape(-1)
    opposite = torch.zeros_like(ends).index_add_(0, flat, vertices.index_select(0, faces.roll(1, dims=1).reshape(-1)))
    inner = (torch.bincount(flat, minlength=len(edges)) == 2)[:, None]
    return torch.where(inner, 0.375 * ends + 0.125 * opposite, 0.5 * ends)


def _even_points(vertices: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    """Where Loop's rule puts the old vertices (N, 3)."""
    sums, degree = neighbour_sums(vertices, faces)
    count = degree.to(vertices.dtype).clamp(min=1)
    weight = ((0.625 - (0.375 + 0.25 * torch.cos(2 * math.pi / count)) ** 2) / count)[:, None]
    inner = (1 - count[:, None] * weight) * vertices + weight * sums
    along, border = _border_sums(vertices, faces)
    return torch.where(border[:, None], 0.75 * vertices + 0.125 * along, inner)
