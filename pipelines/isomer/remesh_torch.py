"""The remeshing pass in torch operations: the exact reference, on any device.

Independent changes are picked by ranks: an edge is changed where its rank is the highest of its neighbourhood.
Source: specs/kiss3dgen.md section 6.7.
"""

from __future__ import annotations

import torch

from ..meshes.topology import unique_edges

COLLAPSE_ROUNDS = 3  # rounds of rank propagation: how far apart two collapses of one pass lie
NOMINATION = (0.8, 0.9)  # a collapsible face names its shortest edge below the first, its middle one below the second


def edge_lengths(positions: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
    """Lengths (E,) of ``edges`` (E, 2)."""
    return (positions.index_select(0, edges[:, 0]) - positions.index_select(0, edges[:, 1])).norm(dim=-1)


def _rank(values: torch.Tensor, generator: torch.Generator | None, descending: bool = False) -> torch.Tensor:
    """Position of every value in sorted order; equal values keep their order, or are shuffled with a generator."""
    if generator is None:
        order = values.sort(stable=True, descending=descending).indices
    else:
        shuffled = torch.randperm(len(values), generator=generator).to(values.device)
        order = shuffled[values[shuffled].sort(stable=True, descending=descending).indices]
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(order), device=order.device)
    return ranks


def _highest(ranks: torch.Tensor, corners: torch.Tensor, count: int) -> torch.Tensor:
    """For every row of ``corners`` (K, C), the highest of the ``ranks`` (K,) that touch any of its vertices."""
    best = torch.full((count,), -1, dtype=ranks.dtype, device=ranks.device)
    best.scatter_reduce_(0, corners.reshape(-1), ranks.repeat_interleave(corners.shape[1]), "amax")
    return best[corners].amax(1)


def _contains(sorted_keys: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Whether each of ``keys`` is among ``sorted_keys``."""
    place = torch.searchsorted(sorted_keys, keys).clamp(max=len(sorted_keys) - 1)
    return sorted_keys[place] == keys


def _edge_keys(a: torch.Tensor, b: torch.Tensor, count: int) -> torch.Tensor:
    return torch.minimum(a, b) * count + torch.maximum(a, b)


def shared_neighbours(edges: torch.Tensor, chosen: torch.Tensor, count: int) -> torch.Tensor:
    """How many vertices are joined to both ends of each of the edges with index ``chosen`` (K,)."""
    first, second = edges[chosen].T.contiguous()
    keys = edges[:, 0] * count + edges[:, 1]
    both = torch.cat((edges, edges.flip(1)))
    source, order = both[:, 0].contiguous().sort()
    target = both[order, 1]
    start = torch.searchsorted(source, first)
    degree = torch.searchsorted(source, first, right=True) - start
    owner = torch.arange(len(first), device=edges.device).repeat_interleave(degree)
    offset = torch.arange(len(owner), device=edges.device) - (degree.cumsum(0) - degree)[owner]
    neighbour = target[start[owner] + offset]
    found = _contains(keys, _edge_keys(neighbour, second[owner], count)) & (neighbour != second[owner])
    return torch.zeros_like(first).index_add_(0, owner, found.to(first.dtype))


def _nominated(
    positions: torch.Tensor,
    faces: torch.Tensor,
    sides: torch.Tensor,
    lengths: torch.Tensor,
    minimum: torch.Tensor,
    generator: torch.Generator,
) -> torch.Tensor:
    """Indices of the edges that collapsible faces name: faces that are folded over or too small."""
    a, b, c = positions[faces].unbind(1)
    normals = torch.linalg.cross(b - a, c - a)
    sums = torch.zeros_like(positions)
    for corner in range(3):
        sums.index_add_(0, faces[:, corner], normals)
    vertex_normals = torch.nn.functional.normalize(sums, dim=-1, eps=1e-12)
    folded = (normals * vertex_normals[faces].sum(1)).sum(-1) < 0
    small = normals.norm(dim=-1) / 2 < 0.5 * minimum[faces].mean(1) ** 2
    chosen = (folded | small).nonzero()[:, 0]
    draw = torch.rand(len(faces), generator=generator).to(positions.device)[chosen]
    by_length = lengths[sides[chosen]].argsort(dim=1)
    place = (draw >= NOMINATION[0]).long() + (draw >= NOMINATION[1]).long()
    return sides[chosen].gather(1, by_length.gather(1, place[:, None]))[:, 0]


def collapse_priority(
    positions: torch.Tensor,
    faces: torch.Tensor,
    edges: torch.Tensor,
    sides: torch.Tensor,
    minimum: torch.Tensor,
    generator: torch.Generator,
) -> torch.Tensor:
    """How much each edge (E,) asks to collapse: nominated by a face (1) plus its shortfall from ``minimum`` (V,)."""
    lengths = edge_lengths(positions, edges)
    priority = (1 - lengths / minimum[edges].mean(1)).clamp(min=0)
    nominated = torch.zeros_like(priority)
    nominated[_nominated(positions, faces, sides, lengths, minimum, generator)] = 1
    return priority + nominated


def collapse_edges(
    state: torch.Tensor,
    faces: torch.Tensor,
    edges: torch.Tensor,
    priority: torch.Tensor,
    generator: torch.Generator | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Collapse an independent set of the edges with positive ``priority`` (E,), highest first.

    The low end of an edge moves to the mean of both ends and survives. Vertices that fall out stay in ``state``. Equal
    priorities are ordered by ``generator``, without one by edge.
    """
    count = len(state)
    ranks = _rank(priority, generator)
    spread = ranks
    for _ in range(COLLAPSE_ROUNDS):
        spread = _highest(spread, edges, count)
    chosen = ((spread == ranks) & (priority > 0)).nonzero()[:, 0]
    chosen = chosen[shared_neighbours(edges, chosen, count) <= 2]
    survivor, removed = edges[chosen].unbind(1)
    state = state.clone()
    state[survivor] = (state[survivor] + state[removed]) / 2
    target = torch.arange(count, device=faces.device)
    target[removed] = survivor
    faces = target[faces]
    repeated = (faces == faces.roll(-1, dims=1)).any(1)
    return state, faces[~repeated]


def cut_faces(faces: torch.Tensor, sides: torch.Tensor, middle: torch.Tensor) -> torch.Tensor:
    """The ``faces`` (M, 3) with sides (M, 3) cut at the vertex ``middle`` (E,) of their edge, where it is not -1."""
    middles = middle[sides]
    inner = torch.where(middles >= 0, middles, faces)
    pieces = [inner]
    for side in range(3):
        cut = middles[:, side] >= 0
        pieces.append(torch.stack((faces[cut, side], middles[cut, side], inner[cut, (side + 2) % 3]), dim=1))
    return torch.cat(pieces)


def split_edges(
    state: torch.Tensor, faces: torch.Tensor, edges: torch.Tensor, sides: torch.Tensor, chosen: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Put a vertex in the middle of every ``chosen`` (E,) bool edge and cut its faces there."""
    middle = torch.where(chosen, chosen.cumsum(0) - 1 + len(state), -1)
    return torch.cat((state, state[edges[chosen]].mean(1))), cut_faces(faces, sides, middle)


def pack(state: torch.Tensor, faces: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Drop the vertices that no face uses."""
    used = torch.zeros(len(state), dtype=torch.bool, device=state.device)
    used[faces.reshape(-1)] = True
    index = used.cumsum(0) - 1
    return state[used], index[faces]


def flip_edges(positions: torch.Tensor, faces: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
    """Flip an independent set of the edges whose flip evens out the valences, best first; returns faces (M, 3).

    Equal gains are ordered by ``generator``, without one by edge.
    """
    count = len(positions)
    edges, sides = unique_edges(faces)
    forward = faces < faces.roll(-1, dims=1)  # the side runs from the low end of its edge to the high one
    face_of = torch.full((len(edges), 2), -1, dtype=faces.dtype, device=faces.device)
    opposite = torch.full_like(face_of, -1)
    numbers = torch.arange(len(faces), device=faces.device)
    for side in range(3):
        column = (~forward[:, side]).long()
        face_of[sides[:, side], column] = numbers
        opposite[sides[:, side], column] = faces[:, (side + 2) % 3]
    degree = torch.bincount(edges.reshape(-1), minlength=count)
    quads = torch.cat((edges, opposite), dim=1)  # low end, high end, left, right
    gain = 2 + degree[opposite].sum(1) - degree[edges].sum(1)
    chosen = ((gain < 0) & (face_of >= 0).all(1)).nonzero()[:, 0]
    quads, face_of, gain = quads[chosen], face_of[chosen], gain[chosen]
    ranks = _rank(gain, generator, descending=True)
    low, high, left, right = quads.unbind(1)
    keys = edges[:, 0] * count + edges[:, 1]
    accepted = (_highest(ranks, quads, count) == ranks) & ~_contains(keys, _edge_keys(left, right, count))
    origin = positions[low]
    to_high, to_left, to_right = (positions[corner] - origin for corner in (high, left, right))
    cross = torch.linalg.cross
    old = cross(to_high, to_left) + cross(to_right, to_high)
    accepted &= (cross(to_right, to_left) * old).sum(-1) > 0
    accepted &= (cross(to_left - to_high, to_right - to_high) * old).sum(-1) > 0
    faces = faces.clone()
    faces[face_of[accepted, 0]] = torch.stack((low, right, left), dim=1)[accepted]
    faces[face_of[accepted, 1]] = torch.stack((high, left, right), dim=1)[accepted]
    return faces


def remesh(
    state: torch.Tensor,
    faces: torch.Tensor,
    minimum: torch.Tensor,
    maximum: torch.Tensor,
    most_vertices: int,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Collapse, split and flip once. See ``isomer.remesh.remesh``; ``generator`` is a CPU generator."""
    limits = torch.stack((minimum, maximum), dim=1)
    channels = state.shape[1]
    state = torch.cat((state, limits), dim=1)
    edges, sides = unique_edges(faces)
    priority = collapse_priority(state[:, :3], faces, edges, sides, minimum, generator)
    state, faces = pack(*collapse_edges(state, faces, edges, priority, generator))
    if len(state) < most_vertices:
        edges, sides = unique_edges(faces)
        long = edge_lengths(state[:, :3], edges) > state[:, -1][edges].mean(1)
        state, faces = split_edges(state, faces, edges, sides, long)
    state = state[:, :channels].contiguous()
    return state, flip_edges(state[:, :3], faces, generator)
