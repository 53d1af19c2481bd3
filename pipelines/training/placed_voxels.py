"""What Pixal3D's decoders learn to give back: the dual grid of a procedural object with the material of its voxels, and
how its voxels descend from coarse ones.

Source: specs/pixal3d.md sections 1.1, 3.3 and 3.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..meshes.mesh import Mesh
from ..rendering.color import linear_to_srgb
from ..volumes.dual_grid import DualGrid
from ..volumes.sparse_voxels import voxel_keys
from ..volumes.subdivide import CHILDREN, subdivide_coords
from ..volumes.voxelise import dual_grid_of_mesh
from .field_samples import is_inside

MATERIAL = (0.0, 0.9, 1.0)  # metallic, roughness and alpha of everything in the dataset


@dataclass(frozen=True)
class MaterialGrid:
    """A dual grid, and base colour (sRGB), metallic, roughness and alpha (V, 6) of its voxels in [0, 1]."""

    grid: DualGrid
    material: torch.Tensor


@dataclass(frozen=True)
class VoxelTree:
    """``coords`` (N, 4) int32 of the coarsest voxels of a batch of objects, the ``children`` (N, 8) bool of every
    level's, coarsest first, and the ``rows`` (M,) of the finest ones in a decoder's order.
    """

    coords: torch.Tensor
    children: tuple[torch.Tensor, ...]
    rows: torch.Tensor

    def levels(self) -> list[torch.Tensor]:
        """The voxels (N, 4) of every level, coarsest first, finest last."""
        found = [self.coords]
        for children in self.children:
            found.append(subdivide_coords(found[-1], children))
        return found


def material_grid(mesh: Mesh, resolution: int) -> MaterialGrid:
    """The outer surface of ``mesh``, of which only what lies in [-0.5, 0.5]^3 counts.

    ``mesh`` has vertex colours, one for each of its closed parts; what lies within another part is left out.
    """
    assert mesh.colors is not None
    colors, owner = torch.unique(mesh.colors, dim=0, return_inverse=True)
    faces = [mesh.faces[owner[mesh.faces[:, 0]] == part] for part in range(len(colors))]
    grids = [dual_grid_of_mesh(mesh.vertices, own, resolution) for own in faces]
    kept = [_outer(mesh.vertices, number, grids, faces) for number in range(len(grids))]
    keys = torch.cat([_keys(grid)[rows] for grid, rows in zip(grids, kept)])
    merged, owner = torch.unique(keys, return_inverse=True)
    count = torch.bincount(owner)[:, None]
    offsets = torch.zeros(len(merged), 3).index_add_(
        0, owner, torch.cat([grid.offsets[rows] for grid, rows in zip(grids, kept)])
    )
    edges = torch.zeros(len(merged), 3).index_add_(
        0, owner, torch.cat([grid.edges[rows] for grid, rows in zip(grids, kept)]).float()
    )
    material = torch.zeros(len(merged), 6)
    looks = torch.cat((linear_to_srgb(colors), torch.tensor(MATERIAL).expand(len(colors), 3)), dim=1)
    material[owner] = torch.cat([looks[part].expand(int(rows.sum()), 6) for part, rows in enumerate(kept)])
    coords = torch.stack((merged // resolution**2, merged // resolution % resolution, merged % resolution), 1).int()
    grid = DualGrid(coords, offsets / count, edges > 0, torch.ones(len(merged)), resolution)
    return MaterialGrid(grid, material)


def voxel_tree(coords: torch.Tensor, resolution: int, splits: int) -> VoxelTree:
    """How the voxels ``coords`` (M, 4) of lattices of ``resolution``^3 descend from ``splits`` times halved ones."""
    scale = torch.tensor((0, 1, 1, 1), dtype=torch.int32)
    levels = [coords >> (scale * shift) for shift in range(splits, -1, -1)]
    keys = [torch.unique(voxel_keys(own, resolution >> (splits - level))) for level, own in enumerate(levels)]
    side = resolution >> splits
    current = torch.stack(
        (keys[0] // side**3, keys[0] // side**2 % side, keys[0] // side % side, keys[0] % side), 1
    ).int()
    coarsest, children = current, []
    everybody = torch.ones(1, CHILDREN, dtype=torch.bool)
    for finer in keys[1:]:
        side *= 2
        wanted = voxel_keys(subdivide_coords(current, everybody.expand(len(current), -1)), side)
        place = torch.searchsorted(finer, wanted).clamp(max=len(finer) - 1)
        children.append((finer[place] == wanted).reshape(-1, CHILDREN))
        current = subdivide_coords(current, children[-1])
    ordered, order = voxel_keys(coords, resolution).sort()
    return VoxelTree(coarsest, tuple(children), order[torch.searchsorted(ordered, voxel_keys(current, resolution))])


def batched(grids: Sequence[DualGrid]) -> torch.Tensor:
    """Voxels (M, 4) int32 of a batch of grids."""
    numbered = [torch.nn.functional.pad(grid.coords.int(), (1, 0), value=item) for item, grid in enumerate(grids)]
    return torch.cat(numbered)


def _outer(vertices: torch.Tensor, number: int, grids: list[DualGrid], faces: list[torch.Tensor]) -> torch.Tensor:
    """(V,) bool: which voxels of a part are at the surface of the whole."""
    own = grids[number]
    points = ((own.coords + own.offsets) / own.resolution - 0.5).double()
    outer = torch.ones(len(points), dtype=torch.bool)
    for other, (grid, theirs) in enumerate(zip(grids, faces)):
        if other == number:
            continue
        corners = vertices[theirs].double().flatten(0, 1)
        asked = ((points > corners.amin(0)) & (points < corners.amax(0))).all(1)
        asked &= ~torch.isin(_keys(own), _keys(grid))
        rows = asked.nonzero().squeeze(1)
        buried = is_inside(vertices.double().numpy(), theirs.numpy(), points[rows].numpy())
        outer[rows] = ~torch.from_numpy(buried)
    return outer


def _keys(grid: DualGrid) -> torch.Tensor:
    x, y, z = grid.coords.long().unbind(1)
    return (x * grid.resolution + y) * grid.resolution + z
