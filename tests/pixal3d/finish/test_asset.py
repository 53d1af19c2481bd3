from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Mesh, uv_of
from bundle3d.pipelines.meshes.topology import is_watertight
from bundle3d.pipelines.meshes.weld import first_of_each, position_ids
from bundle3d.pipelines.meshes.write import write_mesh
from bundle3d.pipelines.metrics.report import mesh_report
from bundle3d.pipelines.pixal3d.finish.asset import _without_crumbs, decoded_surface, finish_asset
from bundle3d.pipelines.pixal3d.finish.options import FinishOptions
from bundle3d.pipelines.pixal3d.finish.outline import Outline
from bundle3d.pipelines.pixal3d.finish.placement import placement
from bundle3d.pipelines.texturing.texel_map import rasterise_uv
from bundle3d.pipelines.volumes.dual_grid import DualGrid
from bundle3d.pipelines.volumes.projection import front_camera
from bundle3d.tests.meshes.shapes import box, merge
from bundle3d.tests.pixal3d.finish.decoded_objects import decoded, material_at, solid
from bundle3d.tests.support.gltf import GltfValidate
from bundle3d.tests.volumes.fields import signed_volume

SMALL = FinishOptions(faces=4000, texture=256, size=1.0)


def texel_errors(asset: Mesh) -> tuple[torch.Tensor, torch.Tensor]:
    """What is baked less what the ball has beneath, (K, 6), in the order of ``material_at``, and the charts' texels."""
    color, orm = asset.materials[0].base_color_texture, asset.materials[0].orm_texture
    assert color is not None and orm is not None
    texels = rasterise_uv(asset, color.shape[0], border=0)
    beneath = torch.nn.functional.normalize(texels.interpolate(asset.vertices, asset.faces), dim=1) * 0.4
    truth = material_at(beneath).clamp(0.0, 1.0)
    baked = torch.cat((color[..., :3], orm[..., 2:3], orm[..., 1:2], color[..., 3:]), dim=-1)
    return baked[texels.mask].float() / 255.0 - truth, texels.mask


@pytest.mark.parametrize(("kind", "genus"), [("ball", 0), ("ring", 1), ("figure", 0)])
def test_a_watertight_asset_is_one_closed_shell_with_volume_and_genus(kind: str, genus: int) -> None:
    asset = finish_asset(*decoded(kind), FinishOptions(faces=4000, texture=256, size=1.0, project_back=1.0))
    report = mesh_report(asset)
    assert report.watertight and report.manifold and report.consistent
    assert (report.components, report.inner_shells, report.genus) == (1, 0, genus)
    truth = solid(kind)
    assert report.volume == pytest.approx(signed_volume(truth.vertices, truth.faces), rel=0.01)
    assert 3000 < report.faces <= 4000
    assert report.uv is not None and report.uv.overlap < 1e-4 and report.uv.outside == 0.0


def test_no_face_is_turned_over_by_simplifying() -> None:
    asset = finish_asset(*decoded("ball"), SMALL)
    centre = asset.vertices[asset.faces].mean(1)
    assert (torch.nn.functional.cosine_similarity(asset.face_normals(), centre, dim=1) > 0.9).all()


@pytest.mark.parametrize("surface", ["watertight", "released", "raw"])
def test_a_linear_material_is_baked_where_the_surface_has_it(surface: str) -> None:
    asset = finish_asset(*decoded("ball"), FinishOptions(surface=surface, faces=0, texture=512, size=1.0))
    errors, mask = texel_errors(asset)
    # voxels stand in for absent neighbours, here and there to either side
    assert mask.float().mean() > 0.3
    assert errors.mean(0).abs().max() < 1 / 255
    assert errors.abs().mean(0).max() < 2 / 255
    assert errors.abs().max() < 1.8 / 48


def test_a_constant_material_is_constant_to_the_last_texel() -> None:
    grid, material = decoded("figure")
    constant = torch.tensor([0.2, 0.4, 0.6, 1.0, 0.0, 0.8]).expand_as(material)
    baked = finish_asset(grid, constant, SMALL).materials[0]
    assert baked.base_color_texture is not None and baked.orm_texture is not None
    assert torch.equal(
        baked.base_color_texture.reshape(-1, 4).unique(dim=0), torch.tensor([[51, 102, 153, 204]]).byte()
    )
    assert torch.equal(baked.orm_texture.reshape(-1, 3).unique(dim=0), torch.tensor([[255, 0, 255]]).byte())
    assert (baked.metallic_factor, baked.roughness_factor, baked.alpha_mode) == (1.0, 1.0, "OPAQUE")
    assert not baked.has_occlusion and not baked.double_sided


def test_the_released_surface_is_double_and_lies_a_voxel_off() -> None:
    grid, material = decoded("ball")
    report = mesh_report(finish_asset(grid, material, FinishOptions(surface="released", faces=0, texture=0, size=1.0)))
    assert report.watertight and report.components == 2 and report.inner_shells == 1
    assert report.size[0] == pytest.approx(0.8 + 2 / 48, abs=0.1 / 48)


def test_a_raw_surface_keeps_the_decoded_faces_and_is_seen_from_both_sides() -> None:
    grid, material = decoded("ball")
    asset = finish_asset(grid, material, FinishOptions(surface="raw", faces=0, texture=64))
    assert asset.faces.shape == decoded_surface(grid).faces.shape
    assert asset.materials[0].double_sided


def test_normals_are_smooth_across_seams_and_point_outward() -> None:
    asset = finish_asset(*decoded("ball"), FinishOptions(faces=4000, texture=256, front="-X", up="+Z"))
    assert asset.normals is not None
    assert (torch.nn.functional.cosine_similarity(asset.normals, asset.vertices, dim=1) > 0.99).all()
    ids = position_ids(asset.vertices)
    first = first_of_each(ids, int(ids.max()) + 1)
    assert len(first) < len(ids) and torch.equal(asset.normals, asset.normals[first[ids]])


def test_a_sieve_of_small_holes_becomes_watertight() -> None:
    grid, material = decoded("ball")
    edges = grid.edges.clone()
    edges[::7] = False
    leaky = DualGrid(grid.coords, grid.offsets, edges, grid.split_weights, grid.resolution)
    assert not mesh_report(decoded_surface(leaky)).watertight
    report = mesh_report(finish_asset(leaky, material, SMALL))
    assert report.watertight and report.components == 1 and report.inner_shells == 0
    truth = solid("ball")
    assert report.volume == pytest.approx(signed_volume(truth.vertices, truth.faces), rel=0.03)


def test_parts_that_lie_face_to_face_stay_closed_where_crumbs_go() -> None:
    one = box((0.4, 0.4, 0.4), (-0.2, 0.0, 0.0))
    other = box((0.4, 0.4, 0.4), (0.2, 0.0, 0.0))
    kept = _without_crumbs(merge(one, other, box((0.01, 0.01, 0.01), (0.0, 0.4, 0.0))), 0.05)
    assert is_watertight(kept.faces) and float(kept.vertices.abs().max()) < 0.41


def test_specks_are_left_out_of_a_watertight_asset() -> None:
    grid, material = decoded("ball")
    speckled = DualGrid(
        torch.cat((grid.coords, torch.tensor([[45, 45, 45], [45, 45, 46], [45, 46, 46], [45, 46, 45]]).int())),
        torch.cat((grid.offsets, torch.full((4, 3), 0.5) * 0.2)),
        torch.cat((grid.edges, torch.tensor([[True, False, False]] + [[False] * 3] * 3))),
        torch.cat((grid.split_weights, torch.ones(4))),
        grid.resolution,
    )
    kept = torch.cat((material, material[:4]))
    assert mesh_report(decoded_surface(speckled)).components == 2
    for faces in (0, 4000):
        report = mesh_report(finish_asset(speckled, kept, FinishOptions(faces=faces, texture=0)))
        assert report.watertight and report.manifold and report.components == 1


@pytest.mark.parametrize("alpha_mode", ["OPAQUE", "MASK"])
def test_the_file_passes_the_validator(alpha_mode: str, tmp_path: Path, gltf_validate: GltfValidate) -> None:
    options = FinishOptions(faces=3000, texture=128, alpha_mode=alpha_mode)
    path = tmp_path / "asset.glb"
    write_mesh(finish_asset(*decoded("figure", 32), options), path)
    report = gltf_validate(path)
    assert report["issues"]["numErrors"] == 0 and report["issues"]["numWarnings"] == 0
    assert report["info"]["materialCount"] == 1 and report["info"]["hasTextures"]


def test_axes_are_turned_not_mirrored_and_the_published_ones_are_there() -> None:
    for up in ("+Y", "+Z"):
        for front in ("+Z", "-Z", "+X", "-X"):
            matrix = placement(1.0, up, front)
            assert torch.linalg.det(matrix) == pytest.approx(1.0)
            axis = torch.zeros(3, dtype=torch.float64)
            axis["XYZ".index(front[1])] = 1.0 if front[0] == "+" else -1.0
            toward = matrix @ torch.tensor((0.0, 0.0, 1.0), dtype=torch.float64)
            upward = matrix @ torch.tensor((0.0, 1.0, 0.0), dtype=torch.float64)
            if up == "+Y":
                assert torch.equal(toward, axis) and upward.tolist() == [0, 1, 0]
            else:
                assert upward.tolist() == [0, 0, 1] and toward[1] == -axis[2] and toward[0] == axis[0]
    assert placement(1.0, front="-Z").tolist() == [[-1, 0, 0], [0, 1, 0], [0, 0, -1]]
    assert placement(2.0).tolist() == [[2, 0, 0], [0, 2, 0], [0, 0, 2]]


def test_the_place_of_a_point_follows_the_axes() -> None:
    grid, material = decoded("figure")
    default = finish_asset(grid, material, FinishOptions(faces=0, texture=0))
    turned = finish_asset(grid, material, FinishOptions(faces=0, texture=0, size=1.0, front="-Z"))
    assert torch.allclose(
        turned.vertices[turned.faces] * torch.tensor([-2.0, 2.0, -2.0]), default.vertices[default.faces], atol=1e-6
    )
    nose = default.vertices[default.vertices[:, 2].argmax()] / 2
    assert torch.allclose(nose, torch.tensor([0.1, 0.15, 0.42]), atol=0.03)


def test_without_material_or_texture_there_is_geometry_alone() -> None:
    grid, material = decoded("ball", 24)
    for asset in (finish_asset(grid), finish_asset(grid, material, FinishOptions(texture=0))):
        assert asset.uv is None and asset.materials == () and asset.normals is not None
    assert uv_of(finish_asset(grid, material, FinishOptions(texture=64))).shape[1] == 2


def test_progress_grows_to_the_end_and_cancels_at_every_stage() -> None:
    grid, material = decoded("ball", 32)
    options = FinishOptions(faces=1000, texture=128)
    reported: list[int] = []

    def watch(done: int, total: int, preview: object = None) -> None:
        assert total == 100
        reported.append(done)

    finish_asset(grid, material, options, watch)
    assert reported == sorted(reported) and reported[-1] == 100 and len(set(reported)) > 8
    for stop in (10, 50, 70, 90):

        def cancel(done: int, total: int, preview: object = None, stop: int = stop) -> None:
            if done >= stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            finish_asset(grid, material, options, cancel)


def test_inputs_are_not_changed() -> None:
    grid, material = decoded("ball", 24)
    before = [tensor.clone() for tensor in (grid.coords, grid.offsets, grid.edges, grid.split_weights, material)]
    finish_asset(grid, material, FinishOptions(faces=500, texture=64))
    after = (grid.coords, grid.offsets, grid.edges, grid.split_weights, material)
    assert all(torch.equal(one, two) for one, two in zip(before, after))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"surface": "closed"}, "watertight"),
        ({"remesh": 3}, "remesh"),
        ({"seal": -1.0}, "seal"),
        ({"project_back": 2.0}, "project_back"),
        ({"largest_hole": 2.0}, "largest_hole"),
        ({"faces": 3}, "faces"),
        ({"texture": 5}, "texture"),
        ({"alpha_mode": "GLASS"}, "OPAQUE"),
        ({"crease": 0.0}, "crease"),
        ({"size": 0.0}, "size"),
        ({"up": "-Y"}, r"\+Y"),
        ({"front": "+Y"}, r"\+Z"),
    ],
)
def test_options_out_of_range_are_refused_in_one_sentence(change: dict[str, object], word: str) -> None:
    with pytest.raises(Bundle3DError, match=word):
        FinishOptions(**change)  # type: ignore[arg-type]


def test_voxels_without_surface_and_material_of_other_voxels_are_refused() -> None:
    grid, material = decoded("ball", 24)
    nothing = DualGrid(grid.coords, grid.offsets, torch.zeros_like(grid.edges), grid.split_weights, grid.resolution)
    with pytest.raises(Bundle3DError, match="surface"):
        finish_asset(nothing, material)
    with pytest.raises(Bundle3DError, match="same voxels"):
        finish_asset(grid, material[1:])
    with pytest.raises(Bundle3DError, match="material"):
        finish_asset(grid, material[:, :3])


def disc(radius: float) -> Outline:
    """The outline of a ball of that radius, seen nearly without perspective."""
    side = torch.linspace(-0.5, 0.5, 128)
    return Outline((side[:, None] ** 2 + side**2 < radius**2).float(), front_camera(0.2))


def test_a_watertight_asset_keeps_to_its_outline_and_others_do_not() -> None:
    outline = disc(0.38)
    grid, _ = decoded("ball")
    options = FinishOptions(faces=0, texture=0, size=1.0)
    free, kept = (finish_asset(grid, None, options, outline=one) for one in (None, outline))
    radius = [float(mesh.vertices[:, :2].norm(dim=1).max()) for mesh in (free, kept)]
    assert radius[0] > 0.395 and radius[1] < 0.39
    released = [finish_asset(grid, None, replace(options, surface="released"), outline=one) for one in (None, outline)]
    assert torch.equal(released[0].vertices, released[1].vertices)


def test_what_is_moved_into_the_outline_keeps_its_material() -> None:
    asset = finish_asset(*decoded("ball"), FinishOptions(faces=0, texture=512, size=1.0), outline=disc(0.34))
    errors, mask = texel_errors(asset)
    assert float(asset.vertices[:, :2].norm(dim=1).max()) < 0.36 and mask.float().mean() > 0.3
    assert errors.abs().mean(0).max() < 3 / 255 and errors.abs().max() < 1.8 / 48
