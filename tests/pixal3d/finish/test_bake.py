from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.meshes.triangle_tree import TriangleTree
from bundle3d.pipelines.pixal3d.finish.bake import bake_material
from bundle3d.pipelines.texturing.texel_map import rasterise_uv
from bundle3d.pipelines.texturing.unwrap import unwrap
from bundle3d.pipelines.volumes.voxel_lookup import VoxelLookup
from bundle3d.tests.pixal3d.finish.decoded_objects import material_at, solid

RESOLUTION = 24


def full_lattice() -> torch.Tensor:
    axis = torch.arange(RESOLUTION)
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3)


def test_a_linear_material_between_present_voxels_is_exact_to_a_grey_level() -> None:
    surface = solid("ring")
    mesh, _ = unwrap(surface, 256)
    coords = full_lattice()
    lookup = VoxelLookup(coords, material_at((coords + 0.5) / RESOLUTION - 0.5), RESOLUTION)
    baked = bake_material(mesh, TriangleTree(surface.vertices, surface.faces), lookup, 256)
    assert baked.base_color_texture is not None and baked.orm_texture is not None
    texels = rasterise_uv(mesh, 256)
    truth = material_at(texels.interpolate(mesh.vertices, mesh.faces)).clamp(0.0, 1.0)
    packed = truth[:, [0, 1, 2, 5]], torch.stack((torch.ones(len(truth)), truth[:, 4], truth[:, 3]), dim=1)
    for image, wanted in zip((baked.base_color_texture, baked.orm_texture), packed):
        assert (image[texels.mask].float() / 255.0 - wanted).abs().max() <= 0.51 / 255.0 + 1e-5


def test_texels_far_from_voxels_and_between_charts_take_the_colours_around_them() -> None:
    surface = solid("ball")
    mesh, _ = unwrap(surface, 256)
    coords = full_lattice()
    coords = coords[coords[:, 2] < RESOLUTION // 2]
    lookup = VoxelLookup(coords, torch.full((len(coords), 6), 0.6), RESOLUTION)
    baked = bake_material(mesh, TriangleTree(surface.vertices, surface.faces), lookup, 256)
    assert baked.base_color_texture is not None and baked.orm_texture is not None
    assert (baked.base_color_texture == 153).all() and (baked.orm_texture[..., 1:] == 153).all()


def test_chunks_change_nothing_and_stop_when_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    surface = solid("figure")
    mesh, _ = unwrap(surface, 128)
    tree = TriangleTree(surface.vertices, surface.faces)
    coords = full_lattice()
    lookup = VoxelLookup(coords, material_at((coords + 0.5) / RESOLUTION - 0.5), RESOLUTION)
    whole = bake_material(mesh, tree, lookup, 128)
    monkeypatch.setattr("bundle3d.pipelines.pixal3d.finish.bake.CHUNK", 1000)
    calls: list[int] = []
    chunked = bake_material(mesh, tree, lookup, 128, progress=lambda done, total, preview=None: calls.append(done))
    assert whole.base_color_texture is not None and chunked.base_color_texture is not None
    assert torch.equal(whole.base_color_texture, chunked.base_color_texture)
    assert len(calls) > 5

    def cancel(done: int, total: int, preview: object = None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bake_material(mesh, tree, lookup, 128, progress=cancel)
