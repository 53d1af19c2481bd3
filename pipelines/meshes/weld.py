"""Merging of vertices that lie at the same place."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree

from ..errors import Bundle3DError
from .mesh import Mesh
from .topology import label_components, unique_keys


def merge_rows(values: torch.Tensor) -> torch.Tensor:
    """(N,) ids of the distinct rows of (N, C), numbered by first appearance; equality is exact."""
    if values.shape[0] == 0:
        return torch.zeros(0, dtype=torch.int64, device=values.device)
    ids = unique_keys(_hash_rows(values))[1]
    representative = first_of_each(ids, int(ids.max()) + 1).index_select(0, ids)
    if not torch.equal(values, values.index_select(0, representative)):
        # two different rows share a hash: compare column by column
        ids = torch.zeros_like(ids)
        for column in values.unbind(1):
            rank = _ranks(column)
            ids = unique_keys(ids * (int(rank.max()) + 1) + rank)[1]
    return number_by_appearance(ids)


def number_by_appearance(ids: torch.Tensor) -> torch.Tensor:
    """The same partition with labels 0.. in the order in which they first appear."""
    if ids.numel() == 0:
        return ids
    first = first_of_each(ids, int(ids.max()) + 1)
    leads = torch.zeros(ids.numel(), dtype=torch.int64, device=ids.device)
    leads[first] = 1
    rank = (leads.cumsum(0) - 1).index_select(0, first)
    return rank.index_select(0, ids)


def first_of_each(ids: torch.Tensor, count: int) -> torch.Tensor:
    """(count,) the smallest index that carries each label 0..count - 1."""
    indices = torch.arange(ids.numel(), device=ids.device)
    start = torch.full((count,), ids.numel(), dtype=torch.int64, device=ids.device)
    return start.scatter_reduce(0, ids, indices, reduce="amin")


def position_ids(vertices: torch.Tensor, tolerance: float = 0.0) -> torch.Tensor:
    """(N,) label 0.. of the point that every vertex (N, 3) belongs to, numbered by first appearance.

    With ``tolerance`` 0 positions must be equal. Otherwise vertices closer than an eighth of the tolerance are always
    one point, vertices further apart than two tolerances merge only through a chain of others between them.

    Raises Bundle3DError for a negative tolerance.
    """
    if not tolerance >= 0.0:
        raise Bundle3DError(f"Expected a weld tolerance of 0 or more, but got {tolerance}; use 0 for equal positions.")
    exact = merge_rows(vertices)
    if tolerance == 0.0 or exact.numel() == 0:
        return exact
    # Cells half a tolerance wide bound the number of neighbours, so that clustered input cannot exhaust the memory.
    cells = torch.floor((vertices.to(torch.float64) - vertices.amin(0)) / (0.5 * tolerance))
    cell = merge_rows(cells)
    count = int(cell.max()) + 1
    representatives = vertices.index_select(0, first_of_each(cell, count)).cpu().numpy()
    pairs = cKDTree(representatives).query_pairs(tolerance, output_type="ndarray").astype(np.int64)
    labels = label_components(torch.from_numpy(pairs).to(vertices.device), count)
    return number_by_appearance(labels.index_select(0, cell))


def welded_faces(mesh: Mesh, tolerance: float = 0.0) -> torch.Tensor:
    """(M, 3) the faces with vertices of one place renamed to one index, so that texture seams do not count as gaps."""
    ids = position_ids(mesh.vertices, tolerance)
    return ids.index_select(0, mesh.faces.reshape(-1)).reshape(-1, 3)


def weld(mesh: Mesh, tolerance: float = 0.0, keep_seams: bool = True) -> Mesh:
    """Merge vertices closer than ``tolerance`` (mesh units) and drop the faces that collapse.

    With ``keep_seams`` vertices merge only where uv and colours agree too, so textures stay right; normals and tangents
    of the first vertex win. Otherwise place alone counts: colours are averaged, and uv, normals and tangents go, for
    they have no single value at a seam. Vertices that no face uses are dropped.
    """
    ids = position_ids(mesh.vertices, tolerance)
    positions = mesh.vertices.index_select(0, first_of_each(ids, int(ids.max()) + 1)) if ids.numel() else mesh.vertices
    colors: torch.Tensor | None = mesh.colors
    if keep_seams:
        parts = [part for part in (mesh.uv, mesh.colors) if part is not None]
        if parts and ids.numel():
            attributes = merge_rows(torch.cat(parts, dim=1))
            merged = number_by_appearance(unique_keys(ids * (int(attributes.max()) + 1) + attributes)[1])
            points = ids.index_select(0, first_of_each(merged, int(merged.max()) + 1))
            ids, positions = merged, positions.index_select(0, points)
    count = positions.shape[0]
    first = first_of_each(ids, count)
    if not keep_seams and colors is not None:
        total = torch.zeros((count, colors.shape[1]), dtype=colors.dtype, device=colors.device)
        members = torch.bincount(ids, minlength=count).to(colors.dtype)
        colors = total.index_add(0, ids, colors) / members.clamp(min=1)[:, None]
    elif colors is not None:
        colors = colors.index_select(0, first)

    def pick(values: torch.Tensor | None) -> torch.Tensor | None:
        return None if values is None or not keep_seams else values.index_select(0, first)

    merged_mesh = mesh.with_(
        vertices=positions,
        faces=ids.index_select(0, mesh.faces.reshape(-1)).reshape(-1, 3),
        uv=pick(mesh.uv),
        normals=pick(mesh.normals),
        tangents=pick(mesh.tangents),
        colors=colors,
    )
    return keep_faces(merged_mesh, ~collapsed(merged_mesh.faces))


def collapsed(faces: torch.Tensor) -> torch.Tensor:
    """(M,) faces that name a vertex twice."""
    a, b, c = faces.unbind(1)
    return (a == b) | (b == c) | (c == a)


def keep_faces(mesh: Mesh, mask: torch.Tensor) -> Mesh:
    """The mesh of the faces chosen by a boolean mask (M,), without the vertices that no face uses any more."""
    faces = mesh.faces[mask]
    used = torch.zeros(mesh.vertices.shape[0], dtype=torch.bool, device=faces.device)
    used[faces.reshape(-1)] = True
    rename = used.cumsum(0) - 1

    def pick(values: torch.Tensor | None) -> torch.Tensor | None:
        return None if values is None else values[used]

    return mesh.with_(
        vertices=mesh.vertices[used],
        faces=rename.index_select(0, faces.reshape(-1)).reshape(-1, 3),
        uv=pick(mesh.uv),
        normals=pick(mesh.normals),
        tangents=pick(mesh.tangents),
        colors=pick(mesh.colors),
        face_material=None if mesh.face_material is None else mesh.face_material[mask],
    )


def _hash_rows(values: torch.Tensor) -> torch.Tensor:
    """(N,) int64 that equal rows share; adding zero makes negative zeros positive."""
    bits = (values.to(torch.float64) + 0.0).contiguous().view(torch.int64)
    total = torch.zeros_like(bits[:, 0])
    for column in bits.unbind(1):
        total = (total ^ column) * 0x1E3779B97F4A7C15
        total = total ^ (total >> 29)
    return total


def _ranks(column: torch.Tensor) -> torch.Tensor:
    return torch.unique(column, return_inverse=True)[1]
