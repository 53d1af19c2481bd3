"""The nodes around multi-view models, on models of random weights."""

from __future__ import annotations

from collections.abc import Callable
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
    views, images, grid = run("Bundle3D_GenerateViews", models=models, image=IMAGE, steps=2).result
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


def test_cancel_stops_between_two_steps(run: Run, models: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import comfy.model_management

    class Cancelled(BaseException):
        pass

    calls = []

    def interrupt() -> None:
        calls.append(1)
        if len(calls) == 4:
            raise Cancelled

    monkeypatch.setattr(comfy.model_management, "throw_exception_if_processing_interrupted", interrupt)
    with pytest.raises(Cancelled):
        run("Bundle3D_GenerateViews", models=models, image=IMAGE)
    assert len(calls) == 4


def test_another_unet_takes_the_folders_place(run: Run, nodes: dict[str, Any], folder: Path, models: Any) -> None:
    (folder / "diffusion_models").mkdir()
    torch.save(tiny_unet(seed=99).state_dict(), folder / "diffusion_models" / "flexgen.ckpt")
    base, unet = nodes["Bundle3D_LoadMultiviewModels"].GET_SCHEMA().inputs
    assert base.options == ["Bundle3D demo", "tiny", "zero"] and unet.options == ["from base", "flexgen.ckpt"]
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


def test_images_that_fit_no_rig_are_refused(run: Run) -> None:
    for images, options, words in (
        (views_of(3), {"arrangement": "one view each"}, "4 images for each object"),
        (views_of(1)[:, :12], {}, "4 square views"),
        (views_of(4)[:, :12], {}, "4 square RGB views"),
        (views_of(4), {"masks": torch.ones(3, 16, 16)}, "Expected 4 masks"),
        (views_of(1), {"masks": torch.ones(1, 8, 8)}, "masks of 16 x 16 pixels"),
        (torch.ones(4, 16, 16, 3), {}, "view 1 shows nothing"),
    ):
        with pytest.raises(Bundle3DError, match=words):
            run("Bundle3D_ViewsFromImages", images=images, **options)
