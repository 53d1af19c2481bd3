"""Pixal3D through its nodes, on small networks of random weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from bundle3d.nodes.interop import accept
from bundle3d.nodes.pixal3d_sockets import ObjectBatch
from bundle3d.nodes.sockets import ViewBatch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.pixal3d.models import Pixal3DModels
from bundle3d.tests.support.tiny_pixal3d import full_models

from .test_views import bundle

Run = Callable[..., Any]
STAGES = ("structure", "shape", "fine_shape", "texture")
SMALL = {"texture": "512", "faces": 2000}


@pytest.fixture
def models() -> Pixal3DModels:
    """Small ones that take one step a stage."""
    found = full_models()
    for stage in STAGES:
        own = getattr(found, stage)
        found = replace(found, **{stage: replace(own, sampling=replace(own.sampling, steps=1, guidance=1.0))})
    return found


@pytest.fixture
def photo() -> torch.Tensor:
    """Noise in a rectangle on white."""
    image = torch.ones(1, 60, 60, 3)
    image[0, 10:50, 15:45] = 0.5 * torch.rand(40, 30, 3, generator=torch.Generator().manual_seed(0))
    return image


@pytest.fixture
def pictures(run: Run, photo: torch.Tensor) -> Any:
    image, mask, _ = run("Bundle3D_Pixal3DPrepare", image=photo).args
    return run("Bundle3D_Pixal3DCamera", image=image, mask=mask)[0]


@pytest.fixture
def views(run: Run) -> ViewBatch:
    found: ViewBatch = run("Bundle3D_SplitBundle", bundle=bundle(4))[0]
    return found


def stages(run: Run, models: Pixal3DModels, pictures: Any, seeds: tuple[int, int, int] = (0, 0, 0)) -> Any:
    """The voxels that the stages make one after the other, and their reports."""
    shown = {"models": models, "pictures": pictures}
    structure = run("Bundle3D_Pixal3DStructure", seed=seeds[0], **shown)
    shape = run("Bundle3D_Pixal3DShape", structure=structure[0], seed=seeds[1], **shown)
    texture = run("Bundle3D_Pixal3DTexture", shape=shape[0], seed=seeds[2], **shown)
    return run("Bundle3D_Pixal3DDecode", models=models, shape=shape[0], texture=texture[0])[0]


def same(first: Any, second: Any) -> bool:
    return torch.equal(first.grid.offsets, second.grid.offsets) and torch.equal(first.material, second.material)


def test_the_report_tells_shells_from_solids(
    run: Run, models: Pixal3DModels, photo: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bundle3d.nodes import finish_asset
    from bundle3d.tests.meshes.shapes import box, merge

    voxels = run("Bundle3D_Pixal3DImageTo3D", models=models, image=photo, **SMALL)[2]
    sheets = merge(box((1.0, 1.0, 0.01)), box((1.0, 1.0, 0.01), (0.0, 0.0, 0.5)))
    for made, said, silent in ((sheets, "watertight, 2 parts\nIts walls are only 0.3 cells", ""), (box(), "", "walls")):
        monkeypatch.setattr(finish_asset, "finish_asset", lambda *_, made=made: made)
        report = run("Bundle3D_FinishAsset", voxels=voxels, **SMALL)[2]
        assert said in report and (not silent or silent not in report)
    report = run("Bundle3D_FinishAsset", voxels=voxels, **{**SMALL, "surface": "released"})[2]
    assert "walls" not in report


def test_one_node_makes_what_the_stages_make(
    run: Run, models: Pixal3DModels, photo: torch.Tensor, pictures: Any
) -> None:
    before = photo.clone()
    output = run("Bundle3D_Pixal3DImageTo3D", models=models, image=photo, **SMALL)
    mesh, files, voxels, shown, report = output.args
    assert torch.equal(photo, before) and output.ui == {"text": [report]}
    apart = stages(run, models, pictures)
    assert same(voxels.items[0], apart.items[0])
    finished = run("Bundle3D_FinishAsset", voxels=apart, pictures=shown, **SMALL)
    first, second = accept(mesh)[0], accept(finished[0])[0]
    assert torch.equal(first.vertices, second.vertices) and first.uv is not None and files[0].format == "glb"
    assert torch.equal(first.materials[0].base_color_texture, second.materials[0].base_color_texture)
    assert first.materials[0].orm_texture.shape == (512, 512, 3)
    assert "Cut out by the background's colour" in report
    assert "Resolution 64" in report and "watertight" in report and "outline overlap" in report


def test_a_stage_with_a_seed_of_its_own_is_drawn_anew(run: Run, models: Pixal3DModels, pictures: Any) -> None:
    plain, again = (stages(run, models, pictures).items[0] for _ in range(2))
    assert same(plain, again)
    textured = stages(run, models, pictures, (0, 0, 5)).items[0]
    assert torch.equal(plain.grid.offsets, textured.grid.offsets)
    assert not torch.equal(plain.material, textured.material)
    shaped = stages(run, models, pictures, (0, 5, 0)).items[0]
    assert plain.grid.offsets.shape != shaped.grid.offsets.shape or not same(plain, shaped)


def test_every_object_of_a_batch_is_drawn_alone(run: Run, models: Pixal3DModels, photo: torch.Tensor) -> None:
    other = photo.clone()
    other[:, 10:20] = 1.0
    call = {"models": models, "texture": "none", "faces": 1000, "resolution": 32}
    batch = run("Bundle3D_Pixal3DImageTo3D", image=torch.cat([photo, other]), seed=3, **call)
    second = run("Bundle3D_Pixal3DImageTo3D", image=other, seed=4, **call)
    meshes, alone = accept(batch[0]), accept(second[0])
    assert len(meshes) == len(batch[1]) == 2 and torch.equal(meshes[1].vertices, alone[0].vertices)
    assert batch[4].count("No texture") == 2 and "seed 3" in batch[4] and "seed 4" in batch[4]


def test_views_of_a_bundle_give_an_object_in_their_place(run: Run, models: Pixal3DModels, views: ViewBatch) -> None:
    place = torch.diag(torch.tensor((2.0, 2.0, 2.0, 1.0), dtype=torch.float64))
    moved = ViewBatch(views.items, (place,))
    # which is not kept within the outline of a picture, for Finish Asset is given none
    chosen = {**SMALL, "surface": "released"}
    mesh, _, voxels, _, report = run("Bundle3D_Pixal3DImageTo3D", models=models, image=moved, **chosen).args
    assert "but there are 4: switch several_views on" in report and "Not used" not in report
    assert torch.equal(accept(mesh)[0].transform, place)
    apart = stages(run, models, moved)
    assert same(apart.items[0], voxels.items[0])
    plain = accept(run("Bundle3D_FinishAsset", voxels=apart, **chosen)[0])[0]
    ignored = run("Bundle3D_Pixal3DImageTo3D", models=models, image=moved, mask=torch.ones(1, 4, 4), fov=20.0, **chosen)
    assert "Not used, as the pictures come with their cameras: mask, fov" in ignored[4]
    tilted = plain.vertices.double() @ moved.items[0].rig[0].rotation()
    torch.testing.assert_close(accept(mesh)[0].vertices.double(), tilted, atol=1e-5, rtol=0)


def test_prepare_crops_to_the_object_on_black(run: Run, photo: torch.Tensor) -> None:
    image, mask, notes = run("Bundle3D_Pixal3DPrepare", image=photo).args
    assert image.shape == (1, 42, 42, 3) and mask.shape == (1, 42, 42) and "Square of 42 x 42" in notes
    assert bool((image[mask == 0] == 0).all()) and 0.6 < float(mask.mean()) < 0.8
    smaller = photo.clone()
    smaller[:, 30:] = 1.0
    both, masks, notes = run("Bundle3D_Pixal3DPrepare", image=torch.cat([photo, smaller])).args
    assert both.shape == (2, 42, 42, 3) and masks.shape == (2, 42, 42) and "Photo 2" in notes
    own = (photo[..., 0] < 0.9).float()
    by_mask = run("Bundle3D_Pixal3DPrepare", image=photo, mask=1.0 - own, invert_mask=True)
    assert by_mask[0].shape == image.shape
    alpha = torch.cat([photo, own[..., None]], dim=-1)
    assert torch.equal(run("Bundle3D_Pixal3DPrepare", image=alpha)[1], by_mask[1])
    with pytest.raises(Bundle3DError, match="but it is empty"):
        run("Bundle3D_Pixal3DPrepare", image=photo, mask=torch.zeros(1, 60, 60))


def test_an_object_that_is_too_small_to_show_a_shape_is_told(
    run: Run, models: Pixal3DModels, photo: torch.Tensor
) -> None:
    small = photo.clone()
    small[:, 35:], small[:, :, 35:] = 1.0, 1.0  # 25 x 20 pixels remain, and a square of 26
    assert "Square of 26 x 26" in (notes := run("Bundle3D_Pixal3DPrepare", image=small)[2])
    assert "too small to show a shape" in notes
    assert "too small" not in run("Bundle3D_Pixal3DPrepare", image=photo)[2]
    report = run("Bundle3D_Pixal3DImageTo3D", models=models, image=small, **SMALL)[4]
    assert "too small to show a shape" in report


def test_the_camera_comes_from_fov_from_moge_or_is_the_default(run: Run) -> None:
    square = torch.zeros(2, 16, 16, 3)
    square[:, 2:14, 2:14] = torch.rand(2, 12, 12, 3)
    call = {"image": square}
    pictures, fov, report = run("Bundle3D_Pixal3DCamera", **call).args
    assert fov == pytest.approx(49.1343, abs=1e-4) and "1.094 sides" in report and len(pictures) == 2
    known = run("Bundle3D_Pixal3DCamera", fov=20.0, **call)
    assert known[1] == pytest.approx(20.0) and "2.836 sides" in known[2]
    intrinsics = torch.eye(3).repeat(2, 1, 1)
    intrinsics[:, 0, 0] = torch.tensor((1.0, 2.0))
    found = run("Bundle3D_Pixal3DCamera", moge_geometry={"intrinsics": intrinsics}, **call)[0]
    angles = [math.degrees(item.pictures.cameras[0].fov) for item in found]
    assert angles == pytest.approx([53.1301, 28.0725], abs=1e-3)
    for given, words in (
        ({"fov": 0.5}, "1 to 150 degrees"),
        ({"moge_geometry": {"points": square}}, "panoramas"),
        ({"mask": torch.ones(2, 8, 8)}, "masks of the same pictures"),
        ({"image": square[:, :8], "mask": torch.ones(2, 8, 16)}, "square pictures"),
        ({"image": 1.0 - square}, "border is not black"),
        ({"image": 0.0 * square}, "the object in every picture"),
        ({"mask": torch.zeros(2, 16, 16)}, "the object in every picture"),
    ):
        with pytest.raises(Bundle3DError, match=words):
            run("Bundle3D_Pixal3DCamera", **{**call, **given})


def test_the_volume_can_be_looked_at(run: Run, models: Pixal3DModels, pictures: Any, views: ViewBatch) -> None:
    layers, hull, report = run("Bundle3D_Pixal3DBackProject", pictures=views, resolution=16).args
    assert layers.shape == (16, 256, 256, 3) and hull.data.shape == (1, 16, 16, 16)
    assert report.startswith("4 view(s), 16^3 voxels") and 0.0 < float((hull.data > 0.99).float().mean()) < 1.0
    shown = {"pictures": pictures, "resolution": 8, "show": "features of texture"}
    features = run("Bundle3D_Pixal3DBackProject", models=models, **shown)[0]
    assert features.shape == (8, 256, 256, 3) and float(features.std()) > 0.05
    for given in (None, replace(models, texture=None)):
        with pytest.raises(Bundle3DError, match="flow for texture"):
            run("Bundle3D_Pixal3DBackProject", models=given, **shown)


def test_the_structure_lies_as_comfyuis_voxels_do(run: Run, models: Pixal3DModels, pictures: Any) -> None:
    structure, occupancy, report = run("Bundle3D_Pixal3DStructure", models=models, pictures=pictures).args
    coords = structure.items[0].coords[:, 1:].long()
    assert occupancy.data.shape == (1, 8, 8, 8) and f"{len(coords):,} of 8^3 voxels" in report
    assert torch.equal(torch.nonzero(occupancy.data[0]).flip(1).unique(dim=0), coords.unique(dim=0))


def test_sampling_can_be_chosen(run: Run, models: Pixal3DModels, pictures: Any) -> None:
    def coords(**chosen: Any) -> torch.Tensor:
        structure = run("Bundle3D_Pixal3DStructure", models=models, pictures=pictures, **chosen)[0]
        shape = run("Bundle3D_Pixal3DShape", models=models, pictures=pictures, structure=structure, **chosen)[0]
        found: torch.Tensor = shape.items[0].voxels.features
        return found

    assert torch.equal(coords(), coords(steps=1, guidance=1.0))
    first, second = coords(), coords(steps=2, guidance=3.0, rescale=0.2)
    assert first.shape != second.shape or not torch.equal(first, second)


def test_what_does_not_fit_together_is_refused(
    run: Run, models: Pixal3DModels, pictures: Any, photo: torch.Tensor
) -> None:
    shown = {"models": models, "pictures": pictures}
    structure = run("Bundle3D_Pixal3DStructure", **shown)[0]
    coarse = run("Bundle3D_Pixal3DShape", structure=structure, resolution=32, **shown)[0]
    two = ObjectBatch(pictures.items * 2)
    plain, unrefined = replace(models, texture=None), replace(models, fine_shape=None)
    for node, given, words in (
        ("Pixal3DTexture", {**shown, "shape": coarse}, "resolution of 32; choose 64"),
        ("Pixal3DTexture", {**shown, "models": unrefined, "shape": coarse}, "load a flow for fine shapes"),
        ("Pixal3DTexture", {**shown, "models": plain, "shape": coarse}, "choose them in Load Pixal3D"),
        ("Pixal3DShape", {**shown, "structure": structure, "resolution": 50}, "multiple of 4, but got 50"),
        ("Pixal3DShape", {**shown, "structure": structure, "pictures": two}, "but got 2 for 1 objects"),
        ("Pixal3DStructure", {**shown, "pictures": photo}, "connect one of them"),
        ("Pixal3DImageTo3D", {"models": models, "image": photo, "mask": photo[..., 0] * 0}, "but it is empty"),
        ("Pixal3DImageTo3D", {"models": models, "image": photo, "resolution": 16}, "but got 16"),
    ):
        with pytest.raises(Bundle3DError, match=words) as refusal:
            run(f"Bundle3D_{node}", **given)
        assert "\n" not in str(refusal.value)


def test_a_coarse_shape_is_decoded_without_texture(run: Run, models: Pixal3DModels, pictures: Any) -> None:
    shown = {"models": models, "pictures": pictures}
    structure = run("Bundle3D_Pixal3DStructure", **shown)[0]
    coarse = run("Bundle3D_Pixal3DShape", structure=structure, resolution=32, **shown)[0]
    voxels, report = run("Bundle3D_Pixal3DDecode", models=models, shape=coarse).args
    assert voxels.items[0].material is None and report.startswith("Resolution 32")
    assert "No texture" in run("Bundle3D_FinishAsset", voxels=voxels, **SMALL)[2]


def test_less_memory_gives_a_coarser_shape_and_says_so(
    run: Run, models: Pixal3DModels, photo: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bundle3d.nodes import finish_asset, pixal3d_image_to_3d
    from bundle3d.pipelines.pixal3d.draw import draw_voxels
    from bundle3d.pipelines.pixal3d.finish.asset import finish_asset as finish

    def draw(models: Any, pictures: Any, request: Any, progress: Any) -> Any:
        if request.resolution > 64:
            raise MemoryError
        return draw_voxels(models, pictures, request, progress)

    def make(grid: Any, material: Any, options: Any, progress: Any, outline: Any) -> Any:
        if options.texture > 512:
            raise MemoryError
        return finish(grid, material, options, progress, outline)

    monkeypatch.setattr(pixal3d_image_to_3d, "draw_voxels", draw)
    monkeypatch.setattr(finish_asset, "finish_asset", make)
    call = {"models": models, "image": photo, "resolution": 96, "faces": 1000, "texture": "1024"}
    report = run("Bundle3D_Pixal3DImageTo3D", **call)[4]
    assert "A resolution of 96 would have taken" in report and "Memory ran out with texture 1,024" in report
    with pytest.raises(Bundle3DError, match=r"even with 2048; lower texture or faces\.$"):
        run("Bundle3D_Pixal3DImageTo3D", **{**call, "texture": "4096"})


def test_demo_and_wrong_flows_are_told(run: Run, models: Pixal3DModels, photo: torch.Tensor) -> None:
    call = {"image": photo, "texture": "none", "faces": 1000, "resolution": 32}
    for changed, words in (({"demo": True}, "simple procedural shapes"), ({"multiview": True}, "for one view")):
        assert words in run("Bundle3D_Pixal3DImageTo3D", models=replace(models, **changed), **call)[4]


@pytest.mark.parametrize("count", [2, 6])
def test_cancelling_takes_effect(
    count: int, run: Run, models: Pixal3DModels, photo: torch.Tensor, cancels_at: Callable[..., None]
) -> None:
    cancels_at(count, lambda: run("Bundle3D_Pixal3DImageTo3D", models=models, image=photo, **SMALL))
