"""The 256 sign patterns of a cell: which crossed edges share a dual vertex, and which patterns need a second look.

Corner i of a cell sits at (i & 1, i >> 1 & 1, i >> 2 & 1) along x, y, z; bit i of a case is set where it is inside.
Edge 4a + i + 2j runs along axis a, at offset i along axis a + 1 and j along axis a + 2 (modulo 3).
Source: specs/kiss3dgen.md section 5.8 (the table is generated from its two rules).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

NO_FACE = -1
NO_GROUP = -1


def edge_corners(edge: int) -> tuple[int, int]:
    """The two corners of an edge, the one nearer to the origin first."""
    axis, i, j = edge // 4, edge & 1, edge >> 1 & 1
    base = i << (axis + 1) % 3 | j << (axis + 2) % 3
    return base, base | 1 << axis


EDGE_CORNERS = tuple(edge_corners(edge) for edge in range(12))


@dataclass(frozen=True)
class DualCases:
    """``group`` (256, 12) int64: the dual vertex of an edge, -1 where it is not crossed; ``count`` (256,) int64: dual
    vertices of the case; ``problem_face`` (256,) int64: the face 2 * axis + side whose ambiguity can make the surface
    non-manifold when the neighbour across it has the same problem, else -1."""

    group: torch.Tensor
    count: torch.Tensor
    problem_face: torch.Tensor


def _face_corners(face: int) -> tuple[int, ...]:
    axis, side = face // 2, face & 1
    return tuple(corner for corner in range(8) if (corner >> axis & 1) == side)


def _is_ambiguous(case: int, face: int) -> bool:
    inside = [corner for corner in _face_corners(face) if case >> corner & 1]
    return len(inside) == 2 and (inside[0] ^ inside[1]).bit_count() == 2


def _groups(case: int) -> list[int]:
    """Connected groups of crossed edges; an ambiguous face cuts its inside corners off separately."""
    crossed = [edge for edge, (a, b) in enumerate(EDGE_CORNERS) if (case >> a ^ case >> b) & 1]
    parent = {edge: edge for edge in crossed}

    def root(edge: int) -> int:
        while parent[edge] != edge:
            edge = parent[edge]
        return edge

    for face in range(6):
        corners = _face_corners(face)
        around = [edge for edge in crossed if EDGE_CORNERS[edge][0] in corners and EDGE_CORNERS[edge][1] in corners]
        if len(around) == 2:
            parent[root(around[0])] = root(around[1])
        elif len(around) == 4:
            for corner in corners:
                if case >> corner & 1:
                    first, second = (edge for edge in around if corner in EDGE_CORNERS[edge])
                    parent[root(first)] = root(second)
    roots = sorted({root(edge) for edge in crossed})
    return [roots.index(root(edge)) if edge in parent else NO_GROUP for edge in range(12)]


@lru_cache(maxsize=1)
def dual_cases() -> DualCases:
    """The tables, generated once."""
    group = [_groups(case) for case in range(256)]
    count = [max(row) + 1 for row in group]
    problem = []
    for case in range(256):
        ambiguous = [face for face in range(6) if _is_ambiguous(case, face)]
        problem.append(ambiguous[0] if len(ambiguous) == 1 and count[case] == 1 else NO_FACE)
    return DualCases(torch.tensor(group), torch.tensor(count), torch.tensor(problem))
