"""The nodes around multi-view models, on models of random weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.multiview.view_grid import named_grid
from bundle3d.pipelines.views.rig import named_rig
from bundle3d.tests.support.tiny_zero123plus import CROP, save_tiny_folder, tiny_unet

Run = Callable[..., Any]
IMAGE = torch.rand(1, 40, 40, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def folder(tiny_folder: Path) -> Path:
    save_tiny_folder(tiny_folder / "diffusers" / "zero")
    return tiny_folder


@pytest.fixture
def models(run: Run, folder: Path) -> Any:
    return run("Bundle3D_LoadMultiviewModels", base="zero")[0]


def views_of(count: int, size: int = 16) -> torch.Tensor:
    """Squares on white, each of a brightness of its own."""
    images = torch.ones(count, size, size, 3)
    for index, image in enumerate(images):
        image[4:12, 4:12] = 0.1 + 0.1 * index
    return images


def test_a_photo_becomes_views_with_cameras(run: Run, models: Any) -> None:
    before = IMAGE.clone()
    views, images, grid, report = run("Bundle3D_GenerateViews", models=models, image=IMAGE, steps=2).result
    assert report.startswith(f"4 views of {CROP} x {CROP} pixels, seed 0") and "demo" not in report
    assert len(views) == 1 and views.items[0].rig == named_rig("lrm")
    assert images.shape == (4, CROP, CROP, 3) and grid.shape == (1, 2 * CROP, 2 * CROP, 3)
    assert torch.equal(images, views.items[0].rgb) and torch.equal(IMAGE, before)
    six = run("Bundle3D_GenerateViews", models=models, image=IMAGE, steps=1, layout="zero123plus", tile=24)
    assert six[1].shape == (6, 24, 24, 3) and six[0].items[0].rig == named_rig("zero123plus")


def test_a_batch_counts_seeds_up(run: Run, models: Any) -> None:
    call = {"models": models, "steps": 2}
    batch = run("Bundle3D_GenerateViews", image=torch.cat([IMAGE, IMAGE]), seed=4, **call)[2]
    second = run("Bundle3D_GenerateViews", image=IMAGE, seed=5, **call)[2]
    assert torch.equal(batch[1:], second) and not torch.equal(batch[:1], second)


def test_a_view_that_is_almost_white_is_told_and_carried(
    run: Run, models: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = views_of(4)
    images[2] = 0.98
    drawn = named_grid("flexgen").join(images)
    monkeypatch.setattr("bundle3d.nodes.generate_views.draw_views", lambda *arguments: drawn)
    output = run("Bundle3D_GenerateViews", models=replace(models, demo=True), image=torch.cat([IMAGE] * 2), seed=7)
    views, _, grid, report = output.result
    assert not views.items[1].mask[2].any() and bool(views.items[1].mask[3].any()) and torch.equal(grid[0], drawn)
    assert output.ui == {"text": [report]} and report.count("View 3 shows nothing but the background") == 2
    assert "seed 7" in report and "seed 8" in report
    assert "demo model, only simple procedural shapes are in its domain" in report


def test_a_picture_that_is_not_square_is_told(run: Run, models: Any) -> None:
    call = {"models": models, "steps": 1}
    assert "not square" in run("Bundle3D_GenerateViews", image=IMAGE[:, 4:-4], **call)[3]
    assert "not square" not in run("Bundle3D_GenerateViews", image=IMAGE, **call)[3]


def test_alpha_puts_the_object_on_white(run: Run, models: Any) -> None:
    alpha = torch.zeros(1, 40, 40, 1)
    alpha[:, 10:30, 10:30] = 1.0
    call = {"models": models, "steps": 2}
    cut = run("Bundle3D_GenerateViews", image=torch.cat([IMAGE, alpha], dim=-1), **call)[2]
    white = run("Bundle3D_GenerateViews", image=IMAGE * alpha + 1 - alpha, **call)[2]
    assert torch.equal(cut, white)


def test_components_belong_to_the_memory_manager(run: Run, models: Any) -> None:
    import comfy.model_management as model_management

    run("Bundle3D_GenerateViews", models=models, image=IMAGE, steps=1)
    loaded = [entry.model for entry in model_management.current_loaded_models]
    for holder in (models.unet, models.vae, models.text_encoder, models.vision_encoder):
        assert any(model is holder.patcher for model in loaded)
    model_management.unload_all_models()
    assert run("Bundle3D_GenerateViews", models=models, image=IMAGE, steps=1)[2].isfinite().all()


@pytest.mark.parametrize("count", [2, 8])
def test_cancel_stops_between_two_networks_or_steps(
    count: int, run: Run, models: Any, cancels_at: Callable[..., None]
) -> None:
    cancels_at(count, lambda: run("Bundle3D_GenerateViews", models=models, image=IMAGE))


def test_another_unet_takes_the_folders_place(run: Run, nodes: dict[str, Any], folder: Path, models: Any) -> None:
    (folder / "diffusion_models").mkdir()
    torch.save(tiny_unet(seed=99).state_dict(), folder / "diffusion_models" / "flexgen.ckpt")
    base, unet = nodes["Bundle3D_LoadMultiviewModels"].GET_SCHEMA().inputs
    assert base.options == ["Bundle3D demo", "zero"] and unet.options == ["from base", "flexgen.ckpt"]
    other = run("Bundle3D_LoadMultiviewModels", base="zero", unet="flexgen.ckpt")[0]
    call = {"image": IMAGE, "steps": 2}
    first, second = (run("Bundle3D_GenerateViews", models=each, **call)[2] for each in (models, other))
    assert not torch.allclose(first, second, atol=1e-3)


def test_what_does_not_fit_is_named(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Bundle3DError, match="holds FluxPipeline"):
        run("Bundle3D_LoadMultiviewModels", base="tiny")
    monkeypatch.setattr("bundle3d.nodes.load_multiview_models.MULTIVIEW_DEMO_FOLDER", folder / "nothing")
    with pytest.raises(Bundle3DError, match="bundle3d train multiview-demo"):
        run("Bundle3D_LoadMultiviewModels")


def test_single_views_are_grouped_by_the_cameras(run: Run) -> None:
    images = views_of(8)
    views, rgb, mask = run("Bundle3D_ViewsFromImages", images=images, rig="lrm").result
    assert len(views) == 2 and views.items[0].rig == named_rig("lrm")
    torch.testing.assert_close(rgb, images)
    assert mask.shape == (8, 16, 16) and torch.equal(mask, (images[..., 0] < 0.95).float())


def test_grids_are_cut_in_their_order(run: Run) -> None:
    images = views_of(4)
    plain = torch.cat([torch.cat([images[0], images[1]], 1), torch.cat([images[2], images[3]], 1)])[None]
    torch.testing.assert_close(run("Bundle3D_ViewsFromImages", images=plain, rig="lrm")[1], images)
    flexgen = named_grid("flexgen").join(images)[None]
    cut = run("Bundle3D_ViewsFromImages", images=flexgen, arrangement="flexgen")
    torch.testing.assert_close(cut[1], images)
    assert cut[0].items[0].rig == named_rig("lrm")
    for count in (1, 4, 8):
        grids = run("Bundle3D_ViewsFromImages", images=plain.expand(count, -1, -1, -1), rig="lrm")
        torch.testing.assert_close(grids[1], images.repeat(count, 1, 1, 1))
    six = named_grid("zero123plus").join(views_of(6))[None]
    assert run("Bundle3D_ViewsFromImages", images=six, arrangement="zero123plus")[0].items[0].rig.name == "zero123plus"
    four = run("Bundle3D_ViewsFromImages", images=plain.expand(4, -1, -1, -1), arrangement="grids, row by row")
    assert len(four[0]) == 4


def test_masks_come_in_place_of_the_border_colour(run: Run) -> None:
    images, masks = views_of(4), torch.zeros(4, 16, 16)
    masks[:, 6:10, 6:10] = 1.0
    assert torch.equal(run("Bundle3D_ViewsFromImages", images=images, masks=masks)[2], masks)
    grid, grid_mask = (
        named_grid("flexgen").join(images)[None],
        named_grid("flexgen").join(masks[..., None])[None, ..., 0],
    )
    cut = run("Bundle3D_ViewsFromImages", images=grid, masks=grid_mask, arrangement="flexgen")
    assert torch.equal(cut[2], masks)


@pytest.mark.parametrize("arrangement", ["one view each", "flexgen"])
def test_alpha_is_the_mask_unless_it_says_nothing(run: Run, arrangement: str) -> None:
    images, alpha = torch.full((4, 16, 16, 3), 0.3), torch.zeros(4, 16, 16, 1)
    alpha[:, 4:12, 4:12] = 1.0
    alpha[:, 4, 4:12] = 0.5
    join = named_grid("flexgen").join
    transparent, opaque = torch.cat([images, alpha], -1), torch.cat([views_of(4), torch.ones_like(alpha)], -1)
    if arrangement == "flexgen":
        transparent, opaque = join(transparent)[None], join(opaque)[None]
    call = {"arrangement": arrangement, "rig": "lrm"}
    _, rgb, mask = run("Bundle3D_ViewsFromImages", images=transparent, **call).result
    assert torch.equal(mask, alpha[..., 0])
    torch.testing.assert_close(rgb, images * alpha + 1.0 - alpha)
    plain = run("Bundle3D_ViewsFromImages", images=opaque[..., :3], **call)
    assert torch.equal(run("Bundle3D_ViewsFromImages", images=opaque, **call)[2], plain[2])


def test_an_orbit_starts_and_turns_as_it_is_told(run: Run) -> None:
    call = {"images": views_of(4), "rig": "orbit", "orbit_views": 4}
    rigs = [
        run("Bundle3D_ViewsFromImages", **call, **turn)[0].items[0].rig
        for turn in ({}, {"orbit_first": 90.0}, {"orbit_clockwise": True})
    ]
    found = [[camera.azimuth for camera in rig] for rig in rigs]
    assert found == [[0, 90, 180, 270], [90, 180, 270, 0], [0, 270, 180, 90]]


def test_orthographic_views_have_their_rig(run: Run) -> None:
    six = run("Bundle3D_ViewsFromImages", images=views_of(6), rig="wonder3d")[0].items[0].rig
    assert six == named_rig("wonder3d") and not six[0].is_perspective


def test_images_that_fit_no_rig_are_refused(run: Run) -> None:
    for images, options, words in (
        (views_of(3), {"arrangement": "one view each"}, "4 images for each object"),
        (views_of(4)[:0], {}, "the batch is empty"),
        (views_of(1)[:, :12], {}, "4 square views"),
        (views_of(4)[:, :12], {}, "4 square RGB views"),
        (views_of(4), {"masks": torch.ones(3, 16, 16)}, "Expected 4 masks"),
        (views_of(1), {"masks": torch.ones(1, 8, 8)}, "masks of 16 x 16 pixels"),
        (torch.cat([torch.ones(1, 16, 16, 3), views_of(3)]), {}, "view 1 shows nothing"),
        (torch.ones(4, 16, 16, 3), {"arrangement": "one view each"}, "views 1, 2, 3 and 4 show nothing"),
    ):
        with pytest.raises(Bundle3DError, match=words):
            run("Bundle3D_ViewsFromImages", images=images, **options)
