"""Which way a surface faces, without the noise of its triangles."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from ..meshes.mesh import Mesh
from ..meshes.topology import unique_edges

ROUNDS = 4
APART = 0.64  # cosine between normals of neighbours that are not averaged
# Cosines between a face and its corner's normal: below the first it is an edge and the face counts, above the second
# it is noise and the normal counts.
EDGE, NOISE = 0.76, 0.9


def facing(mesh: Mesh) -> torch.Tensor:
    """Unit normals (M, 3, 3) of the corners of each face, smooth over small bumps and flat up to sharp edges.

    The vertices of ``mesh`` are joined at seams. Normals of neighbours are averaged where they agree, in a few rounds.
    """
    normals, (one, two) = mesh.vertex_normals(), unique_edges(mesh.faces)[0].T
    for _ in range(ROUNDS):
        agree = (((normals[one] * normals[two]).sum(1, keepdim=True) - APART) / (1.0 - APART)).clamp(min=0.0)
        total = normals.index_add(0, one, agree * normals[two]).index_add(0, two, agree * normals[one])
        normals = normalize(total, dim=1)
    corners = normals[mesh.faces]
    flat = normalize(mesh.face_normals(), dim=1)[:, None]
    share = (((corners * flat).sum(-1, keepdim=True) - EDGE) / (NOISE - EDGE)).clamp(0.0, 1.0)
    return normalize(torch.lerp(flat.expand_as(corners), corners, share), dim=-1)
