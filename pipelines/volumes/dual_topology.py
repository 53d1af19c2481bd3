"""How dual vertices are joined: from the surface cells of a grid and their cases to vertex numbers and quads.

Cells are named by the linear index of their smallest corner. Since the last layer of samples starts no cell, a step out
of the grid never meets another cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from .dual_cases import NO_FACE, NO_GROUP, dual_cases

NO_VERTEX = -1


@dataclass(frozen=True)
class DualTopology:
    """``cells`` (C,) ascending; ``strides``: what a step along each axis adds to a cell's name; ``vertex`` (C, 12): the
    dual vertex at an edge of a cell, edges as in ``dual_cases``, -1 where it is not crossed; ``owner`` (V,): the
    position in ``cells`` of each dual vertex. All int64, on one device."""

    cells: torch.Tensor
    strides: Sequence[int]
    vertex: torch.Tensor
    owner: torch.Tensor

    def quads(self) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
        """Per axis: the axis, ``own`` (Q,) and ``quad`` (Q, 4), for every crossed edge that has four cells.

        The edge starts in the smallest corner of cell ``own``. Its dual vertices run counter-clockwise, seen from the
        far end of the edge, and begin in the cell with the largest name; the one with the smallest stands opposite.
        """
        for axis in range(3):
            b, c = (axis + 1) % 3, (axis + 2) % 3
            own = torch.nonzero(self.vertex[:, 4 * axis] != NO_VERTEX).squeeze(1)
            complete = torch.ones_like(own, dtype=torch.bool)
            corners = [self.vertex[own, 4 * axis]]
            for i, j in ((1, 0), (1, 1), (0, 1)):
                cell, found = _find(self.cells, self.cells[own] - i * self.strides[b] - j * self.strides[c])
                corner = self.vertex[cell, 4 * axis + i + 2 * j]
                complete &= found & (corner != NO_VERTEX)
                corners.append(corner)
            yield axis, own[complete], torch.stack(corners, dim=1)[complete]


def dual_topology(cells: torch.Tensor, cases: torch.Tensor, strides: Sequence[int]) -> DualTopology:
    """Number the dual vertices of ``cells`` (C,) with sign ``cases`` (C,), cell by cell, after ambiguities are settled.

    Source: specs/kiss3dgen.md section 5.8.
    """
    cases = _settle_ambiguous_faces(cells, cases, strides)
    tables = dual_cases()
    group = tables.group.to(cells.device).index_select(0, cases)
    count = tables.count.to(cells.device).index_select(0, cases)
    first = torch.cumsum(count, 0) - count
    vertex = torch.where(group == NO_GROUP, NO_VERTEX, group + first[:, None])
    owner = torch.repeat_interleave(torch.arange(cells.shape[0], device=cells.device), count)
    return DualTopology(cells, strides, vertex, owner)


def _settle_ambiguous_faces(cells: torch.Tensor, cases: torch.Tensor, strides: Sequence[int]) -> torch.Tensor:
    """Join the inside corners across a face, by complementing the case, where both of its cells would be pinched."""
    problem_face = dual_cases().problem_face.to(cells).index_select(0, cases)
    at = torch.nonzero(problem_face != NO_FACE).squeeze(1)
    face = problem_face[at]
    outward = torch.tensor([sign * stride for stride in strides for sign in (-1, 1)]).to(cells)
    neighbour, found = _find(cells, cells[at] + outward[face])
    pinched = found & (problem_face[neighbour] == (face ^ 1))
    settled = cases.clone()
    settled[at[pinched]] = 255 - cases[at[pinched]]
    return settled


def _find(cells: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions of ``wanted`` in the sorted ``cells`` and whether they are there."""
    position = torch.searchsorted(cells, wanted).clamp(max=max(cells.shape[0] - 1, 0))
    return position, cells[position] == wanted
