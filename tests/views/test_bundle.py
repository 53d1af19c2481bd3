"""Bundle images: layout, round trips, the shipped templates, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.views.bundle import BundleLayout, find_layout, join_bundle, split_bundle
from bundle3d.pipelines.views.normals import mask_from_normals
from bundle3d.pipelines.views.rig import named_rig, orbit
from bundle3d.pipelines.views.view_set import ViewSet
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

BUNDLES = Path(__file__).parents[1] / "data" / "bundles"
LEVEL = 1.0 / 255.0


def load(number: int) -> torch.Tensor:
    with Image.open(BUNDLES / f"{number}.png") as picture:
        return torch.from_numpy(np.asarray(picture.convert("RGB")).astype(np.float32) / 255.0)


def eight_bit(image: torch.Tensor) -> torch.Tensor:
    return (image * 255.0).round() / 255.0


def random_views(columns: int, tile: int, coordinates: bool, seed: int) -> ViewSet:
    generator = torch.Generator().manual_seed(seed)
    shape = (columns, tile, tile)
    # Whole blocks are covered or not, so that no pixel is taken for a mixture of object and background.
    mask = (torch.rand(columns, tile // 4, tile // 4, generator=generator) > 0.5).float()
    mask = mask.repeat_interleave(4, 1).repeat_interleave(4, 2)
    rgb = torch.full((*shape, 3), 0.3) * mask[..., None] + 1.0 - mask[..., None]
    normal = torch.nn.functional.normalize(torch.randn(*shape, 3, generator=generator), dim=-1) * mask[..., None]
    coord = (2.0 * torch.rand(*shape, 3, generator=generator) - 1.0) * mask[..., None] if coordinates else None
    return ViewSet(rgb, normal, mask, orbit(columns, 5.0), coord)


@given(st.integers(4, 8), st.sampled_from([8, 12, 20]), st.booleans(), st.integers(0, 2**31 - 1))
@settings(max_examples=25, deadline=None)
def test_views_survive_an_eight_bit_image(columns: int, tile: int, coordinates: bool, seed: int) -> None:
    views = random_views(columns, tile, coordinates, seed)
    image = eight_bit(join_bundle(views))
    assert image.shape == (tile * (3 if coordinates else 2), columns * tile, 3)
    back = split_bundle(image, views.rig, soft=False)
    assert torch.equal(back.mask, views.mask)
    assert float((back.rgb - views.rgb).abs().max()) <= 0.5001 * LEVEL
    assert float((back.normal - views.normal).abs().max()) <= 2.0 * LEVEL
    if coordinates:
        assert back.coord is not None and views.coord is not None
        assert float((back.coord - views.coord).abs().max()) <= 1.0001 * LEVEL
    assert float((eight_bit(join_bundle(back)) - image).abs().max()) <= 1.001 * LEVEL


@pytest.mark.parametrize("number", range(9))
def test_shipped_bundles_survive_split_and_join_to_one_level(number: int) -> None:
    image = load(number)
    again = eight_bit(join_bundle(split_bundle(image)))
    off = ((again - image).abs() > 1.001 * LEVEL).any(-1)
    assert float(off.float().mean()) < 5e-5


@pytest.mark.parametrize("number", range(9))
def test_normal_masks_are_the_silhouettes_of_the_rgb_tiles(number: int) -> None:
    tiles = BundleLayout.of(1024, 2048).split(load(number))
    from_normals, from_rgb = mask_from_normals(tiles[1]) > 0, (tiles[0] < 0.999).any(-1)
    iou = (from_normals & from_rgb).sum() / (from_normals | from_rgb).sum()
    assert float(iou) > 0.999
    soft = split_bundle(load(number)).mask
    assert int((soft != from_normals.float()).sum()) < 100, "a hard-edged image keeps its mask"


def test_template_walls_have_the_colours_of_the_specification() -> None:
    colors = (BundleLayout.of(1024, 2048).split(load(1))[1] * 255.0).reshape(-1, 3).unique(dim=0)
    for expected in ((128, 116, 255), (128, 255, 139), (255, 255, 255)):
        assert float((colors - torch.tensor(expected)).abs().amax(-1).min()) < 1.01


def test_sphere_template_decodes_to_sphere_normals() -> None:
    views = split_bundle(load(5))
    radius = 0.2195 * 4.5
    for view, camera in enumerate(views.rig):
        origins, directions = camera.rays(512, 512)
        along = -(origins * directions).sum(-1)
        square = radius**2 - (origins * origins).sum(-1) + along**2
        point = origins + directions * (along - square.clamp(min=0.0).sqrt())[..., None]
        both = (square > 0.0) & (views.mask[view] > 0.5)
        assert float(both.sum() / ((square > 0.0) | (views.mask[view] > 0.5)).sum()) > 0.985
        cosine = (torch.nn.functional.normalize(point, dim=-1) * views.normal[view]).sum(-1)[both].clamp(-1.0, 1.0)
        assert float(torch.rad2deg(torch.acos(cosine)).mean()) < 2.6


def test_layout_puts_rgb_above_normals_in_the_order_of_the_rig() -> None:
    layout = BundleLayout(3, 4, 2)
    tiles = torch.arange(12.0).reshape(3, 4, 1, 1, 1).expand(3, 4, 2, 2, 1)
    image = layout.join(tiles)
    assert image[..., 0].tolist()[0] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert image[..., 0].tolist()[5] == [8, 8, 9, 9, 10, 10, 11, 11]
    assert torch.equal(layout.split(image), tiles)


@pytest.mark.parametrize(
    ("height", "width"),
    [
        (1, 1),
        (20000, 20000),
        (20000, 10000),
        (512, 512),
        (512, 2048),
        (1024, 2049),
        (1023, 2048),
        (0, 0),
        (8192, 2048),
        (4, 8),
    ],
)
def test_other_sizes_are_refused_with_both_sizes_named(height: int, width: int) -> None:
    image = torch.zeros(1).expand(height, width, 3)
    with pytest.raises(Bundle3DError, match=rf"{width}x{height}"):
        split_bundle(image)


@pytest.mark.parametrize("columns", [3, 9])
def test_rigs_with_too_few_or_many_views_are_refused(columns: int) -> None:
    with pytest.raises(Bundle3DError, match=f"{columns} cameras"):
        split_bundle(torch.zeros(32, 16 * columns, 3), orbit(columns))


def test_six_views_are_not_taken_for_four() -> None:
    image = torch.ones(3 * 16, 6 * 16, 3)
    assert split_bundle(image, named_rig("zero123plus")).coord is not None
    assert split_bundle(image).size == (24, 24)


@pytest.mark.parametrize("image", [torch.zeros(1, 16, 32, 3), torch.zeros(16, 32, 4), torch.zeros(16, 32)])
def test_other_shapes_are_refused(image: torch.Tensor) -> None:
    with pytest.raises(Bundle3DError, match="one RGB image"):
        split_bundle(image)


def test_a_layout_is_found_by_its_white_corners() -> None:
    for columns, rows in ((4, 2), (4, 3), (5, 2), (5, 3)):
        image = torch.ones(rows * 16, columns * 16, 3)
        image[4:12, 4:12] = 0.2
        assert find_layout(image) == BundleLayout(rows, columns, 16)
        assert find_layout(image * 0.2) is None
    assert find_layout(torch.ones(64, 64, 3)) is None


def test_pixels_that_are_not_numbers_are_refused() -> None:
    image = torch.ones(16, 32, 3)
    image[3, 3, 1] = float("nan")
    with pytest.raises(Bundle3DError, match="NaN"):
        split_bundle(image)


def test_inputs_are_not_changed() -> None:
    image = load(0)
    before = image.clone()
    views = split_bundle(image)
    normal = views.normal.clone()
    join_bundle(views)
    assert torch.equal(image, before)
    assert torch.equal(views.normal, normal)
