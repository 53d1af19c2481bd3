"""Connectivity of a triangle list: edges, neighbours, components, boundaries and the closed-manifold tests.

All functions see indices only. A mesh whose vertices are doubled at texture seams is open by its indices; pass
``welded_faces(mesh)`` of weld.py to ask about the surface itself.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ..kernels import resolve_backend
from .half_edges import sort_half_edges


def unique_keys(keys: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sorted distinct values of an int64 tensor (K,) and for each key the index of its value.

    NumPy sorts int64 several times faster than torch does on the CPU; other devices use torch.
    """
    if keys.device.type != "cpu":
        return torch.unique(keys, return_inverse=True)
    values, inverse = np.unique(keys.numpy(), return_inverse=True)
    return torch.from_numpy(values), torch.from_numpy(inverse.reshape(-1))


def half_edges(faces: torch.Tensor) -> torch.Tensor:
    """(M, 3, 2) directed edges of every face; edge i runs from corner i to corner i + 1."""
    return torch.stack((faces, faces.roll(-1, dims=1)), dim=-1)


def unique_edges(faces: torch.Tensor, backend: str = "auto") -> tuple[torch.Tensor, torch.Tensor]:
    """Undirected edges (E, 2), smaller index first and in ascending order, and for every face its three edges (M, 3).

    Edge i of a face joins its corners i and i + 1.
    """
    if faces.shape[0] == 0:
        return faces.new_zeros((0, 2)), faces.new_zeros((0, 3))
    count = int(faces.max()) + 1
    if resolve_backend(backend, faces) == "numba":
        found = sort_half_edges(faces.int().contiguous().numpy(), count)
        return torch.from_numpy(found.edges).long(), torch.from_numpy(found.sides).long()
    start, end = half_edges(faces).reshape(-1, 2).unbind(1)
    values, inverse = unique_keys(torch.minimum(start, end) * count + torch.maximum(start, end))
    edges = torch.stack((values // count, values % count), dim=1)
    return edges, inverse.reshape(-1, 3)


def edge_face_counts(face_edges: torch.Tensor) -> torch.Tensor:
    """(E,) number of faces at every edge, from the second result of ``unique_edges``."""
    return torch.bincount(face_edges.reshape(-1))


def edge_faces(face_edges: torch.Tensor) -> torch.Tensor:
    """(E, 2) the two faces of every edge, the smaller first; -1 where there is no second face.

    At an edge of more than two faces, which is not manifold, both entries are -1.
    """
    flat = face_edges.reshape(-1)
    counts = torch.bincount(flat)
    owner = torch.arange(flat.numel(), device=flat.device) // 3
    first = torch.full_like(counts, flat.numel()).scatter_reduce(0, flat, owner, reduce="amin")
    last = torch.full_like(counts, -1).scatter_reduce(0, flat, owner, reduce="amax")
    none = torch.full_like(first, -1)
    return torch.stack((torch.where(counts <= 2, first, none), torch.where(counts == 2, last, none)), dim=1)


def face_neighbours(faces: torch.Tensor) -> torch.Tensor:
    """(M, 3) the face across every edge of every face; -1 at boundaries and at edges that are not manifold."""
    if faces.shape[0] == 0:
        return faces.clone()
    _, face_edges = unique_edges(faces)
    pairs = edge_faces(face_edges).index_select(0, face_edges.reshape(-1))
    own = torch.arange(faces.shape[0], device=faces.device).repeat_interleave(3)
    return torch.where(pairs[:, 0] == own, pairs[:, 1], pairs[:, 0]).reshape(-1, 3)


def label_components(pairs: torch.Tensor, count: int) -> torch.Tensor:
    """(count,) labels 0.. of the connected components of a graph given as node pairs (K, 2).

    Labels are numbered by the smallest node of their component.
    """
    if count == 0:
        return torch.zeros(0, dtype=torch.int64, device=pairs.device)
    host = pairs.cpu().numpy()
    graph = coo_matrix((np.ones(len(host), dtype=np.int8), (host[:, 0], host[:, 1])), shape=(count, count))
    labels = connected_components(graph, directed=False)[1]
    return torch.from_numpy(labels.astype(np.int64)).to(pairs.device)


def components(faces: torch.Tensor, count: int) -> torch.Tensor:
    """(M,) component label of every face; faces that share a vertex belong together.

    ``count`` is the number of vertices. Labels run from 0 without gaps.
    """
    if faces.shape[0] == 0:
        return faces.new_zeros(0)
    spokes = torch.cat((faces[:, :2], faces[:, 1:]))
    labels = label_components(spokes, count).index_select(0, faces[:, 0])
    return unique_keys(labels)[1]


def boundary_edges(faces: torch.Tensor) -> torch.Tensor:
    """(B, 2) directed edges that belong to exactly one face, in that face's direction."""
    if faces.shape[0] == 0:
        return faces.new_zeros((0, 2))
    _, face_edges = unique_edges(faces)
    single = edge_face_counts(face_edges).index_select(0, face_edges.reshape(-1)) == 1
    return half_edges(faces).reshape(-1, 2)[single]


def is_watertight(faces: torch.Tensor) -> bool:
    """Whether there are faces and every edge belongs to exactly two of them."""
    if faces.shape[0] == 0:
        return False
    return bool((edge_face_counts(unique_edges(faces)[1]) == 2).all())


def is_manifold(faces: torch.Tensor) -> bool:
    """Whether no edge has more than two faces and the faces at every vertex form one fan (boundaries allowed)."""
    if faces.shape[0] == 0:
        return False
    if int(edge_face_counts(unique_edges(faces)[1]).max()) > 2:
        return False
    return int(corner_fans(faces).max()) + 1 == used_vertices(faces)


def is_consistently_oriented(faces: torch.Tensor) -> bool:
    """Whether the two faces of every manifold edge run along it in opposite directions."""
    if faces.shape[0] == 0:
        return True
    _, face_edges = unique_edges(faces)
    return not bool(same_direction(faces, face_edges).any())


def same_direction(faces: torch.Tensor, face_edges: torch.Tensor) -> torch.Tensor:
    """(E,) whether an edge has two faces and both run along it the same way, as at a flipped face."""
    forward = (faces < faces.roll(-1, dims=1)).reshape(-1).to(torch.int64) * 2 - 1
    flat = face_edges.reshape(-1)
    counts = torch.bincount(flat)
    balance = torch.zeros_like(counts).index_add(0, flat, forward)
    return (counts == 2) & (balance != 0)


def corner_fans(faces: torch.Tensor) -> torch.Tensor:
    """(M, 3) label of the fan of every corner: corners of one vertex whose faces are joined by manifold edges.

    A vertex of a manifold mesh has one fan; more fans than vertices tell of bow ties and of non-manifold edges.
    """
    count = faces.shape[0]
    if count == 0:
        return faces.clone()
    return label_components(fan_links(faces, face_neighbours(faces)), count * 3).reshape(count, 3)


def fan_links(faces: torch.Tensor, neighbours: torch.Tensor) -> torch.Tensor:
    """(K, 2) pairs of corners (3 * face + corner) of the same vertex in faces that are neighbours.

    ``neighbours`` (M, 3) names the face across every edge, -1 for none; it must be symmetric.
    """
    face, edge = torch.nonzero(neighbours >= 0, as_tuple=True)
    other = neighbours[face, edge]
    links = []
    for corner in (edge, (edge + 1) % 3):
        vertex = faces[face, corner]
        match = (faces.index_select(0, other) == vertex[:, None]).to(torch.int8).argmax(1)
        links.append(torch.stack((face * 3 + corner, other * 3 + match), dim=1))
    return torch.cat(links)


def euler_characteristic(faces: torch.Tensor) -> int:
    """V - E + F over the vertices that faces use; 2 for every closed surface without handles."""
    if faces.shape[0] == 0:
        return 0
    return used_vertices(faces) - int(unique_edges(faces)[0].shape[0]) + int(faces.shape[0])


def used_vertices(faces: torch.Tensor) -> int:
    """Number of vertices that faces name."""
    if faces.shape[0] == 0:
        return 0
    used = torch.zeros(int(faces.max()) + 1, dtype=torch.bool, device=faces.device)
    used[faces.reshape(-1)] = True
    return int(used.sum())


def boundary_loops(faces: torch.Tensor) -> int:
    """Number of connected boundary curves."""
    rim = boundary_edges(faces)
    if rim.shape[0] == 0:
        return 0
    _, nodes = unique_keys(rim.reshape(-1))
    return int(label_components(nodes.reshape(-1, 2), int(nodes.max()) + 1).max()) + 1
