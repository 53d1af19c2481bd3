"""Dual grids of procedural objects with their materials, and how their voxels descend from coarse ones."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.rendering.color import linear_to_srgb
from bundle3d.pipelines.training.placed_voxels import MATERIAL, batched, material_grid, voxel_tree
from bundle3d.pipelines.training.shapes import Part, Subject, build, merged
from bundle3d.pipelines.training.solids import creased, revolve
from bundle3d.pipelines.volumes.dual_grid import dual_grid_mesh

RESOLUTION = 32
LOWER, UPPER = (0.6, 0.1, 0.1), (0.1, 0.2, 0.7)


def drum(low: float, high: float, radius: float, color: tuple[float, float, float]) -> Mesh:
    vertices, faces = revolve([(0.0, low), (radius, low), (radius, high), (0.0, high)], 48)
    return creased(vertices + np.array((0.003, 0.001, -0.002)), faces, color)


def test_what_lies_within_another_part_is_left_out() -> None:
    """A drum sunk into a wider one: no surface of either is inside of the other."""
    sample = material_grid(merged([drum(-0.4, 0.0, 0.35, LOWER), drum(-0.1, 0.3, 0.2, UPPER)]), RESOLUTION)
    points = (sample.grid.coords + sample.grid.offsets) / RESOLUTION - 0.5
    around = points[:, [0, 2]].norm(dim=1)
    voxel = 1.0 / RESOLUTION
    in_lower = (points[:, 1] < -voxel) & (points[:, 1] > -0.4 + voxel) & (around < 0.35 - 1.5 * voxel)
    in_upper = (points[:, 1] < 0.3 - voxel) & (points[:, 1] > -0.1 + voxel) & (around < 0.2 - 1.5 * voxel)
    assert len(points) > 1000 and not bool(in_lower.any()) and not bool(in_upper.any())


def test_every_voxel_has_the_material_of_its_part() -> None:
    sample = material_grid(merged([drum(-0.4, 0.0, 0.35, LOWER), drum(-0.1, 0.3, 0.2, UPPER)]), RESOLUTION)
    height = (sample.grid.coords[:, 1] + sample.grid.offsets[:, 1]) / RESOLUTION - 0.5
    for rows, color in ((height > 0.05, UPPER), (height < -0.05, LOWER)):
        expected = torch.cat((linear_to_srgb(torch.tensor(color)), torch.tensor(MATERIAL)))
        torch.testing.assert_close(sample.material[rows], expected.expand(int(rows.sum()), 6))


def test_a_single_solid_comes_back_with_its_volume() -> None:
    mesh = build(Subject((Part("sphere", "red"),), "small"))
    mesh = mesh.with_(vertices=mesh.vertices * 0.5)
    vertices, faces = dual_grid_mesh(material_grid(mesh, RESOLUTION).grid)
    radius = vertices[faces.unique()].norm(dim=1).numpy()
    np.testing.assert_allclose(radius, 0.275, atol=0.1 / RESOLUTION)


def test_voxels_descend_to_the_finest_ones_of_every_object() -> None:
    grids = [material_grid(drum(-0.3, 0.2, radius, UPPER), RESOLUTION).grid for radius in (0.2, 0.4)]
    coords = batched(grids)
    tree = voxel_tree(coords, RESOLUTION, 3)
    levels = tree.levels()
    assert torch.equal(levels[-1], coords[tree.rows])
    assert len(tree.rows.unique()) == len(coords)
    for coarse, fine in pairwise(levels):
        parents = torch.cat((fine[:, :1], fine[:, 1:] // 2), dim=1)
        assert torch.equal(parents.unique(dim=0), coarse.unique(dim=0)) and len(coarse.unique(dim=0)) == len(coarse)
