"""The frame per vertex that tangent-space normal maps are read in, in the manner of MikkTSpace."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from .mesh import Mesh, uv_of
from .topology import unique_keys


def vertex_tangents(mesh: Mesh) -> torch.Tensor:
    """(N, 4) unit tangents along growing u, orthogonal to the vertex normals, and the handedness 1 or -1.

    The bitangent ``w * cross(normal, tangent)`` points against growing v, as glTF has it (green is up). Each corner
    adds its face's direction, laid into the plane of the vertex normal, by the angle of the corner. Where mirrored and
    unmirrored faces share a vertex the larger angle decides; ``with_tangents`` doubles such vertices instead. A vertex
    without any direction in uv gets one across its normal. Raises Bundle3DError without uv.
    """
    normals = mesh.normals if mesh.normals is not None else mesh.vertex_normals()
    direction, angle, mirrored = _corner_directions(mesh, normals)
    flat = mesh.faces.reshape(-1)
    total = mesh.vertices.new_zeros(mesh.vertices.shape).index_add(0, flat, direction * angle[:, None])
    sign = torch.where(mirrored, -1.0, 1.0).to(angle)
    balance = torch.zeros_like(total[:, 0]).index_add(0, flat, sign * angle)
    length = total.norm(dim=1, keepdim=True)
    tangent = torch.where(length > 1e-6, total / length.clamp(min=1e-20), _across(normals))
    handedness = torch.where(balance < 0, -1.0, 1.0).to(tangent)
    return torch.cat((tangent, handedness[:, None]), dim=1)


def with_tangents(mesh: Mesh) -> Mesh:
    """The mesh with ``tangents`` and the ``normals`` they belong to.

    Vertices at which mirrored and unmirrored faces meet are doubled, faces keep their order. Raises Bundle3DError
    without uv.
    """
    normals = mesh.normals if mesh.normals is not None else mesh.vertex_normals()
    _, _, mirrored = _corner_directions(mesh, normals)
    values, inverse = unique_keys(mesh.faces.reshape(-1) * 2 + mirrored.long())
    source = values // 2
    split = mesh.with_(
        vertices=mesh.vertices.index_select(0, source),
        faces=inverse.reshape(-1, 3),
        uv=uv_of(mesh).index_select(0, source),
        normals=normals.index_select(0, source),
        tangents=None,
        colors=None if mesh.colors is None else mesh.colors.index_select(0, source),
    )
    return split.with_(tangents=vertex_tangents(split))


def tangent_frame(normal: torch.Tensor, tangent: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Unit tangent, bitangent and normal (P, 3) at points with interpolated ``normal`` (P, 3) and ``tangent`` (P, 4).

    The tangent is made orthogonal to the normal; where it has no direction of its own, it and the bitangent are zero.
    """
    normal = normalize(normal, dim=-1)
    along = tangent[..., :3] - normal * (tangent[..., :3] * normal).sum(-1, keepdim=True)
    along = normalize(along, dim=-1)
    return along, torch.linalg.cross(normal, along) * torch.where(tangent[..., 3:] < 0.0, -1.0, 1.0), normal


def _corner_directions(mesh: Mesh, normals: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Per corner (3 M): unit direction of u in the plane of the normal or zero, angle, whether it is mirrored."""
    uv = uv_of(mesh).index_select(0, mesh.faces.reshape(-1)).reshape(-1, 3, 2)
    corners = mesh.vertices.index_select(0, mesh.faces.reshape(-1)).reshape(-1, 3, 3)
    edge_1, edge_2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    step_1, step_2 = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
    area = step_1[:, 0] * step_2[:, 1] - step_1[:, 1] * step_2[:, 0]
    along_u = (edge_1 * step_2[:, 1:] - edge_2 * step_1[:, 1:]) * torch.sign(area)[:, None]
    along_u = along_u.repeat_interleave(3, 0)
    normal = normals.index_select(0, mesh.faces.reshape(-1))
    flat = along_u - normal * (along_u * normal).sum(1, keepdim=True)
    length = flat.norm(dim=1, keepdim=True)
    direction = torch.where(length > 1e-20, flat / length.clamp(min=1e-30), torch.zeros_like(flat))
    after, before = corners.roll(-1, dims=1) - corners, corners.roll(1, dims=1) - corners
    sine = torch.linalg.cross(after, before).norm(dim=-1)
    angle = torch.atan2(sine, (after * before).sum(-1)).reshape(-1)
    # v grows downward, so a face seen from its front runs clockwise in (u, v) unless it is mirrored
    return direction, angle, (area > 0).repeat_interleave(3)


def _across(normals: torch.Tensor) -> torch.Tensor:
    axis = torch.eye(3, dtype=normals.dtype, device=normals.device).index_select(0, normals.abs().argmin(1))
    return normalize(torch.linalg.cross(axis, normals), dim=1)
