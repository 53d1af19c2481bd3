"""From low to high quality: larger views by core's own nodes give finer textures, whose seams stay as they were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle3d.nodes.interop import accept
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.weld import welded_faces
from bundle3d.pipelines.metrics.uv_report import seam_step
from bundle3d.tests.editing.cases import ring, textured
from bundle3d.tests.meshes.shapes import torus
from bundle3d.tests.support.tiny_upscaler import tiny_upscaler

from .test_meshes import core_mesh

Run = Callable[..., Any]
TILE = 128


def fine_pattern(points: torch.Tensor) -> torch.Tensor:
    """Green stripes that a texture of 128 texels hardly holds."""
    stripes = 0.5 + 0.5 * torch.sin(points[:, :1] * 40.0)
    return torch.cat((0.1 * stripes, 0.4 + 0.4 * stripes, 0.2 * stripes), dim=1)


@pytest.fixture
def upscaler(tiny_folder: Path) -> Callable[[torch.Tensor], torch.Tensor]:
    """Core's Load Upscale Model and Upscale Image (using Model), with a network of twice the size."""
    from comfy_extras.nodes_upscale_model import ImageUpscaleWithModel, UpscaleModelLoader

    (tiny_folder / "upscale_models").mkdir()
    tiny_upscaler(tiny_folder / "upscale_models" / "tiny.safetensors")
    model = UpscaleModelLoader.execute("tiny.safetensors").args[0]
    return lambda image: ImageUpscaleWithModel.execute(model, image).args[0]


def resized(image: torch.Tensor) -> torch.Tensor:
    """What core's Upscale Image does."""
    import comfy.utils

    size = image.shape[2] * 2, image.shape[1] * 2
    return comfy.utils.common_upscale(image.movedim(-1, 1), *size, "lanczos", "disabled").movedim(1, -1)


def edited(run: Run, mesh: Mesh, drawn: torch.Tensor, scale: str) -> tuple[Mesh, str]:
    """``mesh`` as the bundle ``drawn`` shows it, and the report."""
    core = core_mesh(mesh)
    views = run("Bundle3D_RenderBundle", mesh=core, tile_size=TILE, rig="cube6")[1]
    after = run("Bundle3D_SplitBundle", bundle=drawn, like=views)[0]
    output = run("Bundle3D_EditMesh", mesh=core, before=views, after=after, texture_scale=scale)
    return accept(output[0])[0], output[3]


@pytest.mark.parametrize("by_model", [True, False])
def test_larger_tiles_by_core_nodes_just_work(run: Run, upscaler: Callable[..., torch.Tensor], by_model: bool) -> None:
    green = textured(torus(0.65, 0.3, 36, 18), colors=fine_pattern)
    drawn = run("Bundle3D_RenderBundle", mesh=core_mesh(green), tile_size=TILE, rig="cube6")[0]
    larger = upscaler(drawn) if by_model else resized(drawn)
    assert larger.shape == (1, 4 * TILE, 12 * TILE, 3)
    mesh = ring()
    result, report = edited(run, mesh, larger, "2")
    texture = result.materials[0].base_color_texture
    assert texture is not None and texture.shape == (256, 256, 3)
    share = float(((texture[..., 1] > texture[..., 0]) & (texture[..., 1] > 60)).float().mean())
    drawn_share = float((green.materials[0].base_color_texture[..., 1] > 0).float().mean())  # type: ignore[index]
    assert share > 0.95 * drawn_share, "all that is shown is green"
    assert result.vertices is mesh.vertices and result.uv is mesh.uv
    line = next(line for line in report.splitlines() if "texels per" in line)
    first, second = (float(word) for word in line.split() if word[0].isdigit())
    assert second == pytest.approx(2.0 * first, rel=1e-3)


@pytest.mark.parametrize("scale", ["1", "4"])
def test_seams_step_no_more_than_before(run: Run, scale: str) -> None:
    """At most half as much again as those of a texture that was made for the mesh."""
    mesh = ring()
    shades = textured(torus(0.65, 0.3, 36, 18), 512, lambda p: 0.5 + 0.3 * torch.sin(p * 5.0 + 1.0))
    drawn = run("Bundle3D_RenderBundle", mesh=core_mesh(shades), tile_size=2 * TILE, rig="cube6")[0]
    result, report = edited(run, mesh, drawn, scale)
    before, after = (seam_step(item, welded_faces(item)) for item in (mesh, result))
    assert before is not None and after is not None and after <= 1.5 * before
    assert f"colour step at seams: {before:.4f} before, {after:.4f} after" in report
