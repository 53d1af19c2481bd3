"""Vertex normals that are smooth over a surface but not over its sharp edges."""

from __future__ import annotations

import math

import torch

from .harmonic_fill import joined_at_seams
from .mesh import Mesh
from .topology import face_neighbours, fan_links, label_components, unique_keys


def with_creased_normals(mesh: Mesh, angle: float) -> Mesh:
    """``mesh`` with normals that average, by area, over the faces around a place that are joined by edges bent by at
    most ``angle`` degrees; vertices are doubled where several such groups meet. Texture seams are no edges; at 180
    every place has one normal. Faces keep their order, tangents are dropped.
    """
    joined, _ = joined_at_seams(mesh)
    cross = joined.face_normals()
    unit = torch.nn.functional.normalize(cross, dim=1)
    neighbours = face_neighbours(joined.faces)
    other = neighbours.clamp(min=0).reshape(-1)
    own = torch.arange(other.shape[0], device=other.device) // 3
    cosine = (unit.index_select(0, own) * unit.index_select(0, other)).sum(1)
    solid = unit.square().sum(1) > 0.5  # a face without area bends nothing
    sharp = (cosine < math.cos(math.radians(angle))) & solid[own] & solid[other] if angle < 180.0 else cosine > 2.0
    neighbours = torch.where(sharp.reshape(-1, 3), -1, neighbours)
    group = label_components(fan_links(joined.faces, neighbours), own.shape[0])
    count = int(group.max()) + 1 if group.numel() else 0
    total = cross.new_zeros(count, 3).index_add(0, group, cross.index_select(0, own))
    keys, faces = unique_keys(mesh.faces.reshape(-1) * count + group)
    vertex, side = keys // max(count, 1), keys % max(count, 1)
    up = torch.tensor((0.0, 0.0, 1.0)).to(total)
    normals = torch.where(total.norm(dim=1, keepdim=True) > 0, torch.nn.functional.normalize(total, dim=1, eps=0.0), up)

    def pick(values: torch.Tensor | None) -> torch.Tensor | None:
        return None if values is None else values.index_select(0, vertex)

    return mesh.with_(
        vertices=mesh.vertices.index_select(0, vertex),
        faces=faces.reshape(-1, 3),
        uv=pick(mesh.uv),
        colors=pick(mesh.colors),
        normals=normals.index_select(0, side),
        tangents=None,
    )
