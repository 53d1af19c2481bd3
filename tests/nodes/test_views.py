"""Split and join: views keep their identity through the nodes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from PIL import Image

BUNDLES = Path(__file__).resolve().parents[1] / "data" / "bundles"
Run = Callable[..., Any]


def bundle(number: int, tile: int = 64) -> torch.Tensor:
    """A shipped bundle as an IMAGE (1, 2T, 4T, 3)."""
    image = Image.open(BUNDLES / f"{number}.png").convert("RGB").resize((4 * tile, 2 * tile), Image.Resampling.NEAREST)
    return torch.from_numpy(np.array(image, dtype=np.float32) / 255.0)[None]


def test_split_gives_the_tiles_in_order(run: Run) -> None:
    image = bundle(4)
    views, rgb, normal, mask = run("Bundle3D_SplitBundle", bundle=image).args
    assert len(views) == 1 and len(views.items[0].rig) == 4
    assert rgb.shape == normal.shape == (4, 64, 64, 3) and mask.shape == (4, 64, 64)
    assert torch.equal(rgb[1], image[0, :64, 64:128])
    assert (normal[2] - image[0, 64:, 128:192]).abs().max() < 2.5 / 255


def test_splitting_can_be_cancelled(run: Run) -> None:
    from comfy import model_management

    model_management.interrupt_current_processing(True)
    with pytest.raises(model_management.InterruptProcessingException):
        run("Bundle3D_SplitBundle", bundle=bundle(4))


def test_join_inverts_split(run: Run) -> None:
    image = bundle(6)
    views = run("Bundle3D_SplitBundle", bundle=image).args[0]
    joined, _ = run("Bundle3D_JoinBundle", views=views).args
    assert (joined - image).abs().max() < 2.5 / 255


def test_join_takes_separate_images(run: Run) -> None:
    image = bundle(3)
    _, rgb, normal, _ = run("Bundle3D_SplitBundle", bundle=image).args
    joined, views = run("Bundle3D_JoinBundle", rgb=rgb, normal=normal).args
    assert (joined - image).abs().max() < 2.5 / 255
    assert views.items[0].rig.name == "kiss3dgen"


def test_join_reads_antialiased_images_as_split_does(run: Run) -> None:
    image = torch.nn.functional.avg_pool2d(bundle(5, 256).movedim(-1, 1), 4).movedim(1, -1)
    views, *_ = run("Bundle3D_SplitBundle", bundle=image).args
    tiles = image.reshape(2, 64, 4, 64, 3).transpose(1, 2)
    _, joined = run("Bundle3D_JoinBundle", rgb=tiles[0], normal=tiles[1]).args
    assert float(((views.items[0].mask > 0) & (views.items[0].mask < 1)).float().mean()) > 0.0
    assert torch.equal(joined.items[0].mask, views.items[0].mask)
    assert torch.equal(joined.items[0].normal, views.items[0].normal)
    _, replaced = run("Bundle3D_JoinBundle", views=views, normal=tiles[1]).args
    assert torch.equal(replaced.items[0].normal, views.items[0].normal)


def test_join_brings_the_other_images_to_the_size_of_upscaled_ones(run: Run) -> None:
    views, rgb, _, _ = run("Bundle3D_SplitBundle", bundle=bundle(3)).args
    large = rgb.repeat_interleave(2, 1).repeat_interleave(2, 2)
    joined, larger = run("Bundle3D_JoinBundle", views=views, rgb=large).args
    assert joined.shape == (1, 256, 512, 3)
    item = larger.items[0]
    assert torch.equal(item.rgb, large)
    assert (item.normal.norm(dim=-1)[item.mask > 0] - 1.0).abs().max() < 1e-5


def test_a_batch_gives_exactly_the_single_results(run: Run) -> None:
    images = torch.cat([bundle(n) for n in (0, 3, 7)])
    together = run("Bundle3D_SplitBundle", bundle=images).args
    for i in range(3):
        alone = run("Bundle3D_SplitBundle", bundle=images[i : i + 1]).args
        assert torch.equal(together[0].items[i].normal, alone[0].items[0].normal)
        for batch, single in zip(together[1:], alone[1:]):
            assert torch.equal(batch[4 * i : 4 * i + 4], single)
    joined, _ = run("Bundle3D_JoinBundle", views=together[0]).args
    assert torch.equal(
        joined[1:2], run("Bundle3D_JoinBundle", views=run("Bundle3D_SplitBundle", bundle=images[1:2])[0])[0]
    )


def test_inputs_are_not_changed(run: Run) -> None:
    image = bundle(5)
    before = image.clone()
    views, _, _, mask = run("Bundle3D_SplitBundle", bundle=image).args
    kept = views.items[0].normal.clone()
    run("Bundle3D_JoinBundle", views=views, mask=torch.zeros_like(mask))
    assert torch.equal(image, before) and torch.equal(views.items[0].normal, kept)


def test_the_cache_counts_the_tensors_of_views(run: Run) -> None:
    views = run("Bundle3D_SplitBundle", bundle=bundle(5)).args[0]
    assert sum(t.numel() for t in views._comfy_cache_tensors()) == 4 * 64 * 64 * 7


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (1, 100, 101, 3), (1, 64, 512, 3)])
def test_other_sizes_are_refused_in_one_sentence(run: Run, shape: tuple[int, ...]) -> None:
    with pytest.raises(Bundle3DError, match=r"^Expected .*; .*\.$"):
        run("Bundle3D_SplitBundle", bundle=torch.ones(shape))


def test_join_refuses_images_that_do_not_fit_the_rig(run: Run) -> None:
    with pytest.raises(Bundle3DError, match="4 images for each"):
        run("Bundle3D_JoinBundle", rgb=torch.ones(5, 8, 8, 3), normal=torch.ones(5, 8, 8, 3))
    with pytest.raises(Bundle3DError, match="NaN or infinite"):
        run("Bundle3D_JoinBundle", rgb=torch.full((4, 16, 16, 3), float("nan")), normal=torch.ones(4, 16, 16, 3))
    with pytest.raises(Bundle3DError, match="one size"):
        run("Bundle3D_JoinBundle", rgb=torch.ones(4, 8, 8, 3), normal=torch.ones(4, 9, 9, 3))
    with pytest.raises(Bundle3DError, match="connect"):
        run("Bundle3D_JoinBundle", rgb=torch.ones(4, 8, 8, 3))


def test_views_in_colour_alone_are_not_taken_for_a_bundle(run: Run) -> None:
    images = torch.ones(4, 32, 32, 3)
    images[:, 8:24, 8:24] = torch.tensor((0.8, 0.2, 0.1))
    views = run("Bundle3D_ViewsFromImages", images=images)[0]
    for node in ("Bundle3D_JoinBundle", "Bundle3D_IsomerReconstruct"):
        with pytest.raises(Bundle3DError, match="normals in every view, but view 1 has none"):
            run(node, views=views)
