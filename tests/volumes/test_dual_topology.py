from __future__ import annotations

import torch
from bundle3d.pipelines.volumes.dual_cases import EDGE_CORNERS, dual_cases
from bundle3d.pipelines.volumes.dual_topology import dual_topology
from bundle3d.pipelines.volumes.surface_cells import surface_cells


def pair(axis: int) -> tuple[torch.Tensor, torch.Tensor, tuple[int, int, int]]:
    """Cells, cases and strides of two cells along ``axis``, outside only in two opposite corners of their common face.

    As in every field, positive is inside.
    """
    shape = [2, 2, 2]
    shape[axis] = 3
    field = torch.ones(shape)
    for i, j in ((0, 1), (1, 0)):
        at = [i, j]
        at.insert(axis, 1)
        field[tuple(at)] = -1.0
    cells, cases = surface_cells(field, backend="torch")
    return cells, cases, (shape[1] * shape[2], shape[2], 1)


def test_groups_join_the_crossings_of_one_sheet() -> None:
    """One inside corner; two across a face; an edge; four that touch nowhere; two across the cell."""
    count = dual_cases().count.tolist()
    assert [count[0b1], count[0b1001], count[0b11], count[0b10010110], count[0b10000001]] == [1, 2, 1, 4, 2]
    assert count[0] == count[255] == 0
    assert max(count) == 4


def test_a_face_is_joined_only_where_both_its_cells_would_be_pinched() -> None:
    tables = dual_cases()
    for axis in range(3):
        cells, cases, strides = pair(axis)
        assert tables.problem_face[cases].tolist() == [2 * axis + 1, 2 * axis]
        # Each cell of six inside corners would be one pinched sheet; complemented, it is two.
        assert dual_topology(cells, cases, strides).owner.tolist() == [0, 0, 1, 1]
        alone = dual_topology(cells[:1], cases[:1], strides)
        assert alone.owner.tolist() == [0]


def test_every_crossed_edge_of_a_cell_has_a_vertex_of_that_cell() -> None:
    field = torch.randn(8, 9, 10, generator=torch.Generator().manual_seed(4))
    cells, cases = surface_cells(field)
    topology = dual_topology(cells, cases, (90, 10, 1))
    for edge, (a, b) in enumerate(EDGE_CORNERS):
        crossed = ((cases >> a ^ cases >> b) & 1) == 1
        assert torch.equal(topology.vertex[:, edge] >= 0, crossed)
        assert torch.equal(topology.owner[topology.vertex[crossed, edge]], torch.nonzero(crossed).squeeze(1))
    assert torch.equal(torch.unique(topology.vertex[topology.vertex >= 0]), torch.arange(topology.owner.shape[0]))


def test_quads_run_around_their_edge_from_the_last_cell_to_the_first() -> None:
    field = torch.randn(6, 6, 6, generator=torch.Generator().manual_seed(5))
    topology = dual_topology(*surface_cells(field), (36, 6, 1))
    for axis, own, quad in topology.quads():
        names = topology.cells[topology.owner[quad]]
        assert torch.equal(names[:, 0], topology.cells[own])
        assert torch.equal(names.argmax(1), torch.zeros_like(own))
        assert torch.equal(names.argmin(1), torch.full_like(own, 2))
        b, c = topology.strides[(axis + 1) % 3], topology.strides[(axis + 2) % 3]
        assert torch.equal(names[:, 0] - names[:, 1], torch.full_like(own, b))
        assert torch.equal(names[:, 0] - names[:, 3], torch.full_like(own, c))
