"""Where the voxels of a sparse flow are: the cubes whose keys become one, those that are selected, and the windows.

Source: specs/pixal3d.md section 1.4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...volumes.neighbours import neighbour_map
from ...volumes.token_groups import TokenGroups, cubes, groups_of
from .config import SparseFlowConfig


@dataclass(frozen=True)
class SparseLayout:
    """Of N voxels in M cubes of keys that become one, in B cubes that are selected, all on one device.

    ``places`` (N, 3): the voxels; ``inside`` (N, 3) int64: their places in their cube of keys, ``merged`` (N,): which
    one that is, and ``merged_neighbours`` (27, M) as of `neighbour_map`; ``selected`` (M,): in which selected cube each
    cube of keys lies, and ``selection``: the voxels of each of those; ``windows`` by the shift of a block.
    """

    places: torch.Tensor
    inside: torch.Tensor
    merged: torch.Tensor
    merged_neighbours: torch.Tensor
    selected: torch.Tensor
    selection: TokenGroups
    windows: dict[int, TokenGroups]


def sparse_layout(places: torch.Tensor, config: SparseFlowConfig) -> SparseLayout:
    """The layout of voxels at ``places`` (N, 3) int in a lattice of ``config.resolution``^3, each at most once."""
    keys, merged = cubes(places, config.compression)
    _, selected = cubes(keys, config.selection // config.compression)
    one_object = torch.nn.functional.pad(keys, (1, 0)).int()
    side = -(-config.resolution // config.compression)
    return SparseLayout(
        places=places,
        inside=(places % config.compression).long(),
        merged=merged,
        merged_neighbours=neighbour_map(one_object, side),
        selected=selected,
        selection=groups_of(selected[merged]),
        windows={
            shift: groups_of(cubes(places, config.window, shift)[1])
            for shift in {config.shift(block) for block in range(config.blocks)}
        },
    )
