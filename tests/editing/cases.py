"""Textured meshes and changed views for the tests of edits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from bundle3d.pipelines.editing.region import Region, SurfacePoints
from bundle3d.pipelines.meshes.mesh import Material, Mesh
from bundle3d.pipelines.rendering.render_views import render_views
from bundle3d.pipelines.texturing.texel_map import rasterise_uv
from bundle3d.pipelines.texturing.unwrap import unwrap
from bundle3d.pipelines.views.rig import named_rig
from bundle3d.pipelines.views.view_set import ViewSet
from bundle3d.tests.meshes.shapes import torus

SIZE = 128  # pixels of a view and texels of a texture
RED, BLUE = torch.tensor((0.8, 0.2, 0.15)), torch.tensor((0.1, 0.25, 0.85))


def pattern(points: torch.Tensor) -> torch.Tensor:
    """A smooth red for every place."""
    return RED + 0.08 * torch.sin(points * 9.0 + torch.tensor((0.0, 1.0, 2.0)))


def textured(mesh: Mesh, size: int = SIZE, colors: Callable[[torch.Tensor], torch.Tensor] = pattern) -> Mesh:
    """``mesh`` unwrapped, with a texture that shows ``colors`` of its points and a roughness of its own."""
    flat = unwrap(mesh, size)[0]
    texels = rasterise_uv(flat, size)
    image = torch.zeros(size, size, 3, dtype=torch.uint8)
    image[texels.mask] = (colors(texels.interpolate(flat.vertices, flat.faces)) * 255).round().to(torch.uint8)
    rough = torch.full((8, 8, 3), 77, dtype=torch.uint8)
    material = Material(name="paint", base_color_texture=image, orm_texture=rough, repeat=False)
    return flat.with_(materials=(material,), name="ring", units="centimeter")


def ring() -> Mesh:
    """A red torus within -1 to 1."""
    return textured(torus(0.65, 0.3, 36, 18))


def views_of(mesh: Mesh, size: int = SIZE, rig: str = "cube6") -> ViewSet:
    """The colours and normals of ``mesh`` as Render Bundle shows them."""
    return render_views(mesh, named_rig(rig), size, "unlit")


def recolored(views: ViewSet, color: torch.Tensor = BLUE) -> ViewSet:
    """The same views of an object of another colour."""
    mask = views.mask[..., None]
    return replace(views, rgb=color * mask + (1.0 - mask).expand_as(views.rgb))


def ball(center: torch.Tensor, radius: float) -> Callable[[SurfacePoints], torch.Tensor]:
    """The part of a surface within a ball."""
    return lambda points: (points.position - center).norm(dim=1) < radius


def ball_region(mesh: Mesh, center: torch.Tensor, radius: float, border: float = 0.02) -> Region:
    """The region within a ball."""
    return Region(mesh, [ball(center, radius)], border=border)


def texture_of(mesh: Mesh, number: int = 0) -> torch.Tensor:
    """The base colour texture of a material."""
    texture = mesh.materials[number].base_color_texture
    assert texture is not None
    return texture


def texel_points(mesh: Mesh, height: int = SIZE, width: int = SIZE) -> tuple[torch.Tensor, torch.Tensor]:
    """Which texels (H, W) show the surface with their centre, and where these (K, 3) lie."""
    texels = rasterise_uv(mesh, (height, width), border=0)
    return texels.mask, texels.interpolate(mesh.vertices, mesh.faces)
