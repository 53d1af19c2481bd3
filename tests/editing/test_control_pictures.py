"""What ControlNets see of a rendered mesh equals the encodings of the spec. Source: specs/kiss3dgen.md 1.3, 3.6."""

from __future__ import annotations

import math

import pytest
import torch
from bundle3d.pipelines.diffusion.control_image import control_image
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.rendering.render_views import render_views
from bundle3d.pipelines.views.bundle import join_bundle
from bundle3d.pipelines.views.rig import named_rig
from bundle3d.tests.meshes.shapes import box, soup, sphere
from scipy import ndimage

TILE = 128
RIG = named_rig("kiss3dgen")


def bundle(mesh: Mesh) -> torch.Tensor:
    return join_bundle(render_views(mesh, RIG, TILE, "matte"))


def tiles(picture: torch.Tensor, row: int) -> list[torch.Tensor]:
    """The four tiles of a row."""
    return list(picture[row * TILE : (row + 1) * TILE].split(TILE, dim=1))


@pytest.fixture(scope="module")
def slab() -> torch.Tensor:
    solid = soup(box((1.2, 0.4, 1.2)))  # low enough to show its top
    return bundle(solid.with_(colors=torch.tensor((0.6, 0.05, 0.05)).expand(len(solid.vertices), 3)))


@pytest.fixture(scope="module")
def ball() -> torch.Tensor:
    return bundle(sphere(0.9, 5))


def test_normals_of_walls_and_tops_have_the_colours_of_the_templates(slab: torch.Tensor) -> None:
    seen = control_image(slab, "normal", 2 * TILE, 4 * TILE, make_map=True)
    for row in (0, 1):
        for tile in tiles(seen, row):
            assert (tile[TILE // 2, TILE // 2] * 255).round().tolist() == [128.0, 116.0, 255.0]
            assert (tile[0, 0] * 255).tolist() == [255.0] * 3
            assert bool(((tile * 255).round() == torch.tensor((128.0, 255.0, 139.0))).all(-1).any()), "the top face"


def test_normals_of_a_ball_are_those_of_the_encoding(ball: torch.Tensor) -> None:
    """Red toward the image's left, green up, blue to the camera: n = (toward the pixel's place on the ball)."""
    tile = tiles(control_image(ball, "normal", 2 * TILE, 4 * TILE, make_map=True), 0)[1]
    half = math.tan(math.radians(15.0))
    line = (torch.arange(TILE) + 0.5) / TILE * 2.0 - 1.0
    y, x = torch.meshgrid(-line * half, line * half, indexing="ij")
    ray = torch.nn.functional.normalize(torch.stack((x, y, -torch.ones_like(x)), dim=-1), dim=-1)
    eye = torch.tensor((0.0, 0.0, 4.5))
    along = -(ray * eye).sum(-1)
    inside = along**2 - (4.5**2 - 0.9**2)
    normal = (eye + (along - inside.clamp(min=0.0).sqrt())[..., None] * ray) / 0.9
    expected = (normal * torch.tensor((-1.0, 1.0, 1.0)) + 1.0) / 2.0
    sure = (inside > 0.0) & ((normal * -ray).sum(-1) > 0.35)
    assert float((tile - expected)[sure].abs().max()) < 0.01


def test_tile_and_lq_are_the_bundle_in_eight_bits(slab: torch.Tensor) -> None:
    for mode in ("tile", "lq"):
        seen = control_image(slab, mode, 2 * TILE, 4 * TILE, make_map=True)
        assert torch.equal(seen, (slab * 255).round() / 255)


def test_edges_are_white_lines_where_the_bundle_changes(slab: torch.Tensor) -> None:
    edges = control_image(slab, "canny", 2 * TILE, 4 * TILE, make_map=True)
    assert edges.unique().tolist() == [0.0, 1.0]
    for row in (0, 1):
        for picture, tile in zip(tiles(slab, row), tiles(edges, row)):
            outline = (picture.amin(-1) < 0.98).numpy()
            rim = ndimage.binary_dilation(outline, iterations=3) & ~ndimage.binary_erosion(outline, iterations=3)
            near = ndimage.binary_dilation(tile[..., 0].numpy() > 0, iterations=3)
            assert (near & rim).sum() > 0.85 * rim.sum(), "the outline is an edge"
            assert not tile[:8].any() and not tile[-8:].any(), "the background is not"


def test_blur_is_a_gaussian_of_sigma_two(slab: torch.Tensor) -> None:
    seen = control_image(slab, "blur", 2 * TILE, 4 * TILE, make_map=True)
    expected = ndimage.gaussian_filter(slab.numpy(), (2.0, 2.0, 0.0), mode="mirror", radius=(25, 25, 0))
    assert float((seen - torch.from_numpy(expected)).abs().max()) < 1e-4
