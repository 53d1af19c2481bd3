"""Turning of faces so that neighbours agree and the surface faces outward."""

from __future__ import annotations

import numpy as np
import torch

from .rays import line_crossings, ray_directions
from .topology import edge_faces, label_components, same_direction, unique_edges

Array = np.ndarray

SAMPLES = 48
DIRECTIONS = 5


def consistent_flips(faces: torch.Tensor) -> tuple[Array, Array, Array]:
    """Which faces (M, 3) to turn so that all neighbours across manifold edges agree.

    Returns the flips (M,) bool, the label (M,) of the edge-connected part of every face, and per part whether it can be
    oriented at all; a one-sided part (a Moebius band) is left as it is.
    """
    count = faces.shape[0]
    if count == 0:
        return np.zeros(0, dtype=bool), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool)
    _, face_edges = unique_edges(faces)
    pairs = edge_faces(face_edges)
    joined = pairs[:, 1] >= 0
    opposed = same_direction(faces, face_edges)[joined]
    first, second = pairs[joined].unbind(1)
    # Two copies of each face, as given and turned over; edges join the copies that agree.
    cross = opposed * count
    given, turned = torch.stack((first, second + cross), 1), torch.stack((first + count, second + count - cross), 1)
    agree = torch.cat((given, turned))
    sheets = label_components(agree, 2 * count).numpy()
    parts = label_components(torch.stack((first, second), dim=1), count).numpy()
    two_sided = sheets[:count] != sheets[count:]
    kept = np.full(int(parts.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(kept, parts, np.minimum(sheets[:count], sheets[count:]))
    flips = two_sided & (sheets[:count] != kept[parts])
    orientable = np.ones(len(kept), dtype=bool)
    orientable[parts[~two_sided]] = False
    return flips, parts, orientable


def inward_parts(points: Array, faces: Array, parts: Array) -> Array:
    """Per part (label of ``parts`` (M,)) whether its faces look inward; neighbours must agree already.

    Closed parts are decided by their signed volume, open ones by a vote of rays: a ray that leaves the front of a face
    and meets the part an even number of times says outward. Where the rays are undecided, the volume of the cone over
    the part's centre decides.
    """
    count = int(parts.max()) + 1 if len(parts) else 0
    corners = points[faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    weight = np.maximum(np.bincount(parts, areas, count), 1e-300)
    centre = np.stack([np.bincount(parts, areas * corners.mean(1)[:, i], count) / weight for i in range(3)], axis=1)
    local = corners - centre[parts][:, None]
    volumes = np.bincount(parts, (local[:, 0] * np.cross(local[:, 1], local[:, 2])).sum(1), count)
    open_part = np.zeros(count, dtype=bool)
    open_part[parts[_rim_faces(faces)]] = True
    inward = volumes < 0
    for part in np.nonzero(open_part)[0]:
        vote = _ray_vote(points, faces[parts == part])
        if vote != 0:
            inward[part] = vote < 0
    return inward


def _rim_faces(faces: Array) -> Array:
    """(M,) bool, faces with an edge that is not shared by exactly two."""
    _, face_edges = unique_edges(torch.from_numpy(faces))
    return (torch.bincount(face_edges.reshape(-1))[face_edges] != 2).any(1).numpy()


def _ray_vote(points: Array, faces: Array) -> int:
    """Positive if the faces of one open part look outward, negative if inward, 0 if the rays cannot tell."""
    corners = points[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.cumsum(np.linalg.norm(normals, axis=1))
    if total[-1] <= 0:
        return 0
    picks = np.searchsorted(total, (np.arange(SAMPLES) + 0.5) / SAMPLES * total[-1])
    picks = np.unique(np.minimum(picks, len(faces) - 1))
    origins = corners[picks].mean(1)
    votes = 0
    for direction in ray_directions(DIRECTIONS):
        line, face, distance = line_crossings(points, faces, origins, direction)
        other = face != picks[line]
        ahead = np.bincount(line[other & (distance > 0)], minlength=len(picks)) % 2
        behind = np.bincount(line[other & (distance < 0)], minlength=len(picks)) % 2
        front = np.where(normals[picks] @ direction > 0, ahead, behind)
        back = np.where(normals[picks] @ direction > 0, behind, ahead)
        # seen from outward faces the surface closes behind: an odd count there, an even one in front
        votes += int((back > front).sum()) - int((front > back).sum())
    return votes
