"""Mesh Region: masks of bundles and tiles, batches, the preview, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle3d.pipelines.editing import survey
from bundle3d.pipelines.editing.region import Region, SurfacePoints, points_on
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Material, Mesh
from bundle3d.tests.meshes.shapes import box, soup

Run = Callable[..., Any]
NODE, TILE = "Bundle3D_MeshRegion", 32


@pytest.fixture(autouse=True)
def small(nodes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Small pictures, and a surface looked at in few pieces."""
    from bundle3d.nodes import mesh_region

    monkeypatch.setattr(mesh_region, "TILE", 24)
    monkeypatch.setattr(survey, "PIECES", 5_000)


def cube(place: float = 40.0, name: str = "cube") -> Mesh:
    """A box far from the origin, in two materials, with texture coordinates that show x and y."""
    mesh = soup(box((2.0, 2.0, 2.0), (place, 0.0, 0.0)))
    return mesh.with_(
        uv=(mesh.vertices[:, :2] - torch.tensor((place, 0.0))) / 4.0 + 0.5,
        materials=(Material(name="sides"), Material(name="rest")),
        face_material=(torch.arange(12) >= 4).long(),
        name=name,
    )


def front_points(mesh: Mesh) -> tuple[SurfacePoints, torch.Tensor]:
    """Points on the front of a box, and how far right of its middle they lie."""
    weights = torch.rand(400, 3, generator=torch.Generator().manual_seed(0)) + 1e-3
    face = torch.arange(400) % 2 + 2
    points = points_on(mesh, face, weights / weights.sum(1, keepdim=True))
    low, high = mesh.bounds
    return points, points.position[:, 0] - float(low[0] + high[0]) / 2.0


def in_view(points: SurfacePoints, right: torch.Tensor) -> torch.Tensor:
    """(P,) bool: off the middle, and not so near the edges that the camera in front does not see it."""
    return (right.abs() > 0.1) & (right.abs() < 0.8) & (points.position[:, 1].abs() < 0.7)


def bundle_mask() -> torch.Tensor:
    """The right half of the first view, on its normal tile."""
    mask = torch.zeros(1, 2 * TILE, 4 * TILE)
    mask[0, TILE:, TILE // 2 : TILE] = 1.0
    return mask


def rendered(run: Run, mesh: Any) -> Any:
    return run("Bundle3D_RenderBundle", mesh=mesh, tile_size=TILE)[1]


def test_a_half_painted_on_the_bundle_or_on_its_tiles(run: Run, folders: Path) -> None:
    mesh = cube()
    views = rendered(run, mesh)
    tiles = torch.zeros(4, TILE, TILE)
    tiles[0, :, TILE // 2 :] = 1.0
    for mask in (bundle_mask(), tiles):
        output = run(NODE, mesh=mesh, views=views, painted=mask, border=0.0)
        ((region,), preview) = output[0], output[1]
        points, right = front_points(mesh)
        clear = in_view(points, right)
        assert torch.equal(region.inside(points)[clear], (right > 0.0)[clear])
        assert isinstance(region, Region) and region.mesh is mesh
        assert preview.shape == (1, 24, 96, 3) and preview.dtype == torch.float32
        first, third = preview[0, :, 12:24], preview[0, :, 48:72]
        assert float((first.amax(-1) - first.amin(-1)).max()) > 0.2
        assert float((third.amax(-1) - third.amin(-1)).max()) < 1e-3
        (file,) = output.ui["images"]
        assert (folders / "temp" / file["filename"]).is_file()
        assert output.ui["text"][0].startswith("cube: ") and "of 12 triangles" in output.ui["text"][0]


def test_without_anything_the_region_is_the_whole_mesh(run: Run) -> None:
    output = run(NODE, mesh=cube())
    assert output[0][0].is_everything and output[1].shape == (1, 24, 96, 3)
    assert output.ui["text"] == [
        "cube: 100.0% of the surface may change; with the border that concerns 12 of 12 triangles."
    ]


def test_every_mesh_of_a_batch_gets_its_own_mask(run: Run) -> None:
    meshes = [cube(40.0), cube(-8.0, "other")]
    views = rendered(run, meshes)
    masks = torch.cat((bundle_mask(), bundle_mask().flip(2).roll(-3 * TILE, 2)))  # the second: the left half
    regions = run(NODE, mesh=meshes, views=views, painted=masks, border=0.0)[0]
    for mesh, region, side in zip(meshes, regions, (1.0, -1.0)):
        points, right = front_points(mesh)
        clear = in_view(points, right)
        assert torch.equal(region.inside(points)[clear], (right * side > 0.0)[clear])
    shared = run(NODE, mesh=meshes, views=views, painted=bundle_mask(), border=0.0)[0]
    assert len(shared) == 2 and torch.equal(shared[0].faces(), shared[1].faces())


def test_a_painted_texture_and_named_faces(run: Run) -> None:
    mesh = cube()
    mask = torch.zeros(1, 16, 16)
    mask[0, :, 8:] = 1.0
    points, right = front_points(mesh)
    clear = right.abs() > 0.1
    inside = run(NODE, mesh=mesh, uv_mask=mask, border=0.0)[0][0].inside(points)
    assert torch.equal(inside[clear], (right > 0.0)[clear])
    both = run(NODE, mesh=mesh, uv_mask=mask, faces="3", combine="all", border=0.0)[0][0].inside(points)
    assert torch.equal(both[clear], ((right > 0.0) & (points.face == 3))[clear])
    rest = run(NODE, mesh=mesh, uv_mask=mask, uv_material="rest", invert=True, border=0.0)[0][0].inside(points)
    assert bool(rest.all())


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"painted": bundle_mask()}, "connect the views"),
        ({"faces": "material:glass"}, "sides, rest"),
        ({"faces": "12"}, "within 0-11"),
        ({"uv_mask": torch.zeros(1, 8, 8)}, "it is empty"),
        ({"uv_mask": torch.ones(3, 8, 8)}, "each of the 1 meshes, but got 3"),
        ({"uv_mask": torch.ones(1, 8, 8), "uv_material": "glass"}, "sides, rest"),
        ({"invert": True}, "it is empty"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(run: Run, inputs: dict[str, Any], said: str) -> None:
    with pytest.raises(Bundle3DError, match=r"^Expected .*; .*\.$") as refusal:
        run(NODE, mesh=cube(), **inputs)
    assert said in str(refusal.value)


def test_masks_that_do_not_fit_the_views_are_refused(run: Run) -> None:
    mesh = cube()
    views = rendered(run, mesh)
    for mask, said in (
        (torch.zeros(1, 2 * TILE, 4 * TILE), "it is empty"),
        (torch.ones(3, TILE, TILE), "or one for each of them, but got 3"),
        (torch.ones(1, TILE, TILE), "but got 1 of 32 x 32 pixels"),
    ):
        with pytest.raises(Bundle3DError, match=r"^Expected .*; .*\.$") as refusal:
            run(NODE, mesh=mesh, views=views, painted=mask)
        assert said in str(refusal.value)
    with pytest.raises(Bundle3DError, match="connect the views that Render Bundle made of this mesh"):
        run(NODE, mesh=cube(4000.0), views=views, painted=bundle_mask())
