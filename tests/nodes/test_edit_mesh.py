"""Edit Mesh: views in, the same mesh with only what they changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from bundle3d.nodes.interop import accept
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Material, Mesh
from bundle3d.pipelines.texturing.unwrap import unwrap

from .test_meshes import box, core_mesh

Run = Callable[..., Any]
TILE = 96


def crate() -> Mesh:
    """A large red box away from the origin."""
    flat = unwrap(box(), 128)[0]
    red = torch.tensor((200, 40, 40), dtype=torch.uint8).expand(128, 128, 3).contiguous()
    moved = flat.vertices * 30.0 + torch.tensor((5.0, -7.0, 11.0))
    paint = Material(name="wood", base_color_texture=red, repeat=False)
    return flat.with_(vertices=moved, materials=(paint,), name="crate", units="inch")


@pytest.fixture
def shown(run: Run) -> tuple[Any, torch.Tensor, Any]:
    """A mesh, its bundle, and its views."""
    core = core_mesh(crate())
    bundle, views, *_ = run("Bundle3D_RenderBundle", mesh=core, tile_size=TILE).args
    return core, bundle, views


def painted_blue(bundle: torch.Tensor) -> torch.Tensor:
    """The bundle with its object in blue."""
    blue = bundle.clone()
    tiles = blue[:, :TILE]
    tiles[tiles.amin(-1) < 0.9] = torch.tensor((0.1, 0.2, 0.9))
    return blue


def split(run: Run, bundle: torch.Tensor, views: Any) -> Any:
    return run("Bundle3D_SplitBundle", bundle=bundle, like=views)[0]


def test_the_same_bundle_gives_the_very_same_mesh(run: Run, shown: tuple[Any, torch.Tensor, Any]) -> None:
    core, bundle, views = shown
    output = run("Bundle3D_EditMesh", mesh=core, before=views, after=split(run, bundle, views))
    assert accept(output[0])[0] is accept(core)[0]
    assert "no texel changed" in output[3] and "0 of" in output[3]


def test_a_new_colour_in_a_region(run: Run, shown: tuple[Any, torch.Tensor, Any]) -> None:
    core, bundle, views = shown
    (mesh,) = accept(core)
    region = run("Bundle3D_MeshRegion", mesh=core, faces="0-1", border=0.0)[0]
    after = split(run, painted_blue(bundle), views)
    output = run("Bundle3D_EditMesh", mesh=core, before=views, after=after, region=region)
    (edited,) = accept(output[0])
    for name in ("vertices", "faces", "uv", "transform", "name", "units"):
        assert getattr(edited, name) is getattr(mesh, name), name
    old, new = (item.materials[0].base_color_texture for item in (mesh, edited))
    share = float((old != new).any(-1).float().mean())
    whole = run("Bundle3D_EditMesh", mesh=core, before=views, after=after)
    all_new = accept(whole[0])[0].materials[0].base_color_texture
    assert 0.02 < share < 0.5 * float((old != all_new).any(-1).float().mean())
    assert "wood, base colour" in output[3] and "inch" in output[3]
    assert output[2].shape == (1, 128, 128, 3) and len(output[1]) == 1


def test_texture_scale_is_reported(run: Run, shown: tuple[Any, torch.Tensor, Any]) -> None:
    core, bundle, views = shown
    after = split(run, painted_blue(bundle), views)
    report = run("Bundle3D_EditMesh", mesh=core, before=views, after=after, texture_scale="2")[3]
    line = next(line for line in report.splitlines() if "texels per inch" in line)
    first, second = (float(word) for word in line.replace(",", "").split() if word[0].isdigit())
    assert second == pytest.approx(2.0 * first, rel=1e-3)


def test_light_is_taken_out(run: Run) -> None:
    core = core_mesh(crate())
    bundle, views, *_ = run("Bundle3D_RenderBundle", mesh=core, tile_size=TILE, shading="matte").args
    blue = crate().materials[0].base_color_texture
    assert blue is not None
    blue = torch.tensor((40, 60, 200), dtype=torch.uint8).expand_as(blue)
    painted = core_mesh(crate().with_(materials=(replace(crate().materials[0], base_color_texture=blue),)))
    lit = run("Bundle3D_RenderBundle", mesh=painted, tile_size=TILE, shading="matte")[0]
    inputs = {"mesh": core, "before": views, "after": split(run, lit, views)}
    found = [
        accept(run("Bundle3D_EditMesh", light=light, **inputs)[0])[0].materials[0].base_color_texture
        for light in ("matte", "none")
    ]
    errors = [float((texture[::4, ::4].float() - blue[::4, ::4].float()).abs().amax(-1).median()) for texture in found]
    assert errors[0] <= 2.0 < 8.0 < errors[1]
    same = run("Bundle3D_EditMesh", mesh=core, before=views, after=split(run, bundle, views), light="matte")
    assert accept(same[0])[0] is accept(core)[0]


def test_geometry_follows_a_reconstruction(run: Run, shown: tuple[Any, torch.Tensor, Any]) -> None:
    core, bundle, views = shown
    (mesh,) = accept(core)
    centre = (mesh.bounds[0] + mesh.bounds[1]) / 2
    larger = core_mesh(mesh.with_(vertices=(mesh.vertices - centre) * 1.05 + centre))
    after = split(run, painted_blue(bundle), views)
    inputs = {"mesh": core, "before": views, "after": after, "mode": "geometry and texture"}
    output = run("Bundle3D_EditMesh", reconstruction=larger, **inputs)
    (edited,) = accept(output[0])
    assert edited.faces is mesh.faces and not torch.equal(edited.vertices, mesh.vertices)
    assert "vertices moved, by up to" in output[3]
    with pytest.raises(Bundle3DError, match="ISOMER Reconstruct"):
        run("Bundle3D_EditMesh", **inputs)


def test_refusals(run: Run, shown: tuple[Any, torch.Tensor, Any]) -> None:
    core, bundle, views = shown
    other = run("Bundle3D_SplitBundle", bundle=bundle, rig="lrm")[0]
    with pytest.raises(Bundle3DError, match="like of Split Bundle"):
        run("Bundle3D_EditMesh", mesh=core, before=views, after=other)
    far = core_mesh(crate().with_(vertices=crate().vertices + 400.0))
    with pytest.raises(Bundle3DError, match="Render Bundle"):
        run("Bundle3D_EditMesh", mesh=far, before=views, after=views)
