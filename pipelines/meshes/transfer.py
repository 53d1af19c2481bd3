"""Carrying of attributes from a mesh to another one of nearly the same shape."""

from __future__ import annotations

import numpy as np
import torch

from .closest import Array, Nearest, SurfaceIndex, closest_weights
from .mesh import Mesh
from .topology import components, unique_keys

CANDIDATES = 32  # enough for the faces on all sides of a seam to be among them
SEAM = 0.05  # corners of one point further apart than this in uv lie on two sides of a seam


def transfer_attributes(source: Mesh, vertices: torch.Tensor, faces: torch.Tensor) -> Mesh:
    """The mesh of ``vertices`` (N, 3) and ``faces`` (M, 3) with uv, colours and materials of the nearest ``source``.

    Each face takes the material of the point nearest to its centre. Its corners take the uv of the nearest point on the
    same side of the texture's seams, and vertices are doubled where the faces around them disagree; texels inside a
    chart move by no more than the surface did. Normals and tangents are dropped, for they belong to the old shape.
    """
    bare = source.with_(
        vertices=vertices, faces=faces, uv=None, normals=None, tangents=None, colors=None, face_material=None
    )
    if source.faces.shape[0] == 0 or faces.shape[0] == 0:
        return bare
    if source.uv is None and source.colors is None and source.face_material is None:
        return bare
    index = SurfaceIndex(source.vertices.cpu().double().numpy(), source.faces.cpu().numpy())
    points, triangles = vertices.cpu().double().numpy(), faces.cpu().numpy()
    changes: dict[str, torch.Tensor] = {}
    if source.face_material is not None or source.uv is not None:
        middle, middle_weights = index.nearest(points[triangles].mean(1)).best
        if source.face_material is not None:
            changes["face_material"] = source.face_material.index_select(0, torch.from_numpy(middle).to(faces.device))
    near = index.nearest(points, CANDIDATES if source.uv is not None else 8)
    if source.colors is not None:
        changes["colors"] = _blend(source.colors, source.faces, *near.best)
    if source.uv is None:
        return bare.with_(**changes)
    uv, old = _corner_uv(source, index, near, points, triangles, middle, middle_weights)
    if "colors" in changes:
        changes["colors"] = changes["colors"].index_select(0, old[0])
    return bare.with_(vertices=vertices.index_select(0, old[0]), faces=old[1], uv=uv.to(source.uv), **changes)


def _blend(values: torch.Tensor, faces: torch.Tensor, face: Array, weights: Array) -> torch.Tensor:
    corners = faces.index_select(0, torch.from_numpy(face).to(faces.device))
    shares = torch.from_numpy(weights).to(values)
    total = values.new_zeros((corners.shape[0], values.shape[1]))
    for i in range(3):
        total = total + shares[:, i, None] * values.index_select(0, corners[:, i])
    return total


def _corner_uv(
    source: Mesh,
    index: SurfaceIndex,
    near: Nearest,
    points: Array,
    triangles: Array,
    middle: Array,
    middle_weights: Array,
) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
    """The uv (N',) of the new vertices, with the vertex each one was (N',) and the new faces (M, 3)."""
    assert source.uv is not None
    table, corners = source.uv.cpu().double().numpy(), source.faces.cpu().numpy()
    chart = components(source.faces.cpu(), source.vertices.shape[0]).numpy()
    centre_uv = (middle_weights[..., None] * table[corners[middle]]).sum(1)
    flat, rows = triangles.reshape(-1), np.arange(triangles.size)
    face = rows // 3
    # the last candidate is the face under the middle: on the right side of every seam, if not the nearest
    own_weights = closest_weights(index.corners[middle[face]], points[flat])
    own_place = (own_weights[..., None] * index.corners[middle[face]]).sum(1)
    own_uv = (own_weights[..., None] * table[corners[middle[face]]]).sum(1)
    own_distance = np.linalg.norm(own_place - points[flat], axis=1)
    near_uv = (near.weights[..., None] * table[corners[near.face]]).sum(-2)
    candidate_uv = np.concatenate((near_uv[flat], own_uv[:, None]), axis=1)
    candidate_chart = np.concatenate((chart[near.face[flat]], chart[middle[face]][:, None]), axis=1)
    distance = np.concatenate((near.distance[flat], own_distance[:, None]), axis=1)
    reach = np.linalg.norm(points[triangles] - np.roll(points[triangles], 1, axis=1), axis=-1).max(1)
    close = distance <= distance.min(1, keepdims=True) + 0.1 * reach[face][:, None]
    # where the map of the face under the middle, continued as a plane, would put the corner
    expected = centre_uv[face] + _slope(index.corners[middle], table[corners[middle]], points[triangles]).reshape(-1, 2)
    span = np.linalg.norm(expected - centre_uv[face], axis=1).reshape(-1, 3).max(1)
    miss = np.linalg.norm(candidate_uv - expected[:, None], axis=-1)
    foreign = (candidate_chart != chart[middle[face]][:, None]) | (miss > span[face][:, None])
    foreign[:, -1] = False
    choice = (miss + 4.0 * ~close + 64.0 * foreign).argmin(1)
    uv, owner = candidate_uv[rows, choice], candidate_chart[rows, choice]
    # each side of a seam at a point takes one uv: that of the first corner there
    side = np.full(len(flat), -1, dtype=np.int64)
    key = flat * (int(chart.max()) + 1) + owner
    for number in range(4):
        open_rows = rows[side < 0]
        if len(open_rows) == 0:
            break
        _, first, inverse = np.unique(key[open_rows], return_index=True, return_inverse=True)
        leader = open_rows[first][inverse.reshape(-1)]
        joins = (np.abs(uv[open_rows] - uv[leader]).max(1) <= SEAM) | (number == 3)
        side[open_rows[joins]] = leader[joins]
    leaders, faces = unique_keys(torch.from_numpy(side))
    device = source.vertices.device
    old = torch.from_numpy(flat).index_select(0, leaders)
    return torch.from_numpy(uv).index_select(0, leaders), (old.to(device), faces.reshape(-1, 3).to(device))


def _slope(corners: Array, uv: Array, triangles: Array) -> Array:
    """(M, 3, 2) change of uv from the centre of each triangle (M, 3, 3) to its corners, by the linear map that takes
    the triangle ``corners`` (M, 3, 3) to ``uv`` (M, 3, 2)."""
    sides = corners[:, 1:] - corners[:, :1]
    # least squares drops the part of the way that leaves the plane of the face
    inverse = np.linalg.pinv(sides, rcond=1e-6)
    gradient = inverse @ (uv[:, 1:] - uv[:, :1])
    return (triangles - triangles.mean(1, keepdims=True)) @ gradient
