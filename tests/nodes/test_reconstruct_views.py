"""What Reconstruct Views does where memory or the model falls short, and what it says of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle3d.nodes import reconstruct_views as module
from bundle3d.nodes.interop import accept
from bundle3d.nodes.sockets import ViewBatch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.lrm.reconstruct import LrmOptions, mesh_from_planes
from bundle3d.pipelines.training.demo_lrm import save_lrm
from bundle3d.pipelines.views.view_set import ViewSet

from .test_reconstruction import TINY, Run, reconstruction_file, tiny_lrm, views

__all__ = ["reconstruction_file", "views"]


@pytest.fixture
def model(run: Run, reconstruction_file: Path) -> Any:
    return run("Bundle3D_LoadReconstructionModel", reconstruction_model="tiny.safetensors")[0]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int | None, int]]:
    """The resolutions and textures that are tried; memory lasts for less than 20 cubes and 1024 texels."""
    tried: list[tuple[int | None, int]] = []

    def short(model: Any, planes: Any, views: Any, options: LrmOptions, progress: Any) -> Any:
        tried.append((options.resolution, options.texture))
        if options.resolution >= 20 or options.texture >= 1024:
            raise MemoryError
        return mesh_from_planes(model, planes, views, options, progress)

    monkeypatch.setattr(module, "mesh_from_planes", short)
    return tried


def test_what_was_lowered_for_want_of_memory_is_said(
    run: Run, model: Any, views: ViewBatch, asked: list[tuple[int | None, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []
    through = module.view_planes
    monkeypatch.setattr(module, "view_planes", lambda *given: passes.append(1) or through(*given))
    output = run("Bundle3D_ReconstructViews", model=model, views=views, resolution=24, texture="1024", target_faces=500)
    assert asked == [(24, 1024), (12, 512)] and len(passes) == 1
    assert accept(output[0])[0].materials[0].base_color_texture.shape == (512, 512, 3)
    assert "Memory ran out with resolution 24, so this was made with 12." in output[2]
    assert "Memory ran out with texture 1,024, so this was made with 512." in output[2]
    plain = run("Bundle3D_ReconstructViews", model=model, views=views, resolution=8)[2]
    assert asked[2:] == [(8, 0)] and "Memory" not in plain


def test_less_than_the_least_is_never_tried(
    run: Run, model: Any, views: ViewBatch, asked: list[tuple[int | None, int]]
) -> None:
    with pytest.raises(Bundle3DError, match=r"even with resolution 20; lower resolution or texture\.$"):
        run("Bundle3D_ReconstructViews", model=model, views=views, resolution=40)
    with pytest.raises(Bundle3DError, match="even with resolution 8 and texture 2048;"):
        run("Bundle3D_ReconstructViews", model=model, views=views, resolution=8, texture="4096")
    assert asked == [(40, 0), (20, 0), (8, 4096), (8, 2048)]


def test_views_without_a_surface_give_their_hull_and_a_sentence(run: Run, views: ViewBatch, tiny_folder: Path) -> None:
    flat = tiny_lrm()
    flat.decoder.net_sdf[-1].weight.zero_()
    save_lrm(flat, tiny_folder / "bundle3d" / "flat.safetensors")
    model = run("Bundle3D_LoadReconstructionModel", reconstruction_model="flat.safetensors")[0]
    mesh, _, report = run("Bundle3D_ReconstructViews", model=model, views=views).args
    assert len(accept(mesh)[0].faces) > 0 and "found no surface, so this is the visual hull" in report
    assert "scaled by" not in report


def test_a_view_that_shows_nothing_is_named(run: Run, model: Any, views: ViewBatch) -> None:
    item = views.items[0]
    mask = item.mask.clone()
    mask[2] = 0.0
    hidden = replace(views, items=(ViewSet(item.rgb, item.normal, mask, item.rig),))
    report = run("Bundle3D_ReconstructViews", model=model, views=hidden)[2]
    assert "View 3: shows nothing" in report and report.count("outline overlap") == 3


def test_the_demo_model_says_what_it_knows(
    run: Run, views: ViewBatch, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny_folder / "demo" / "model.safetensors"
    monkeypatch.setattr("bundle3d.nodes.load_reconstruction_model.DEMO_RECONSTRUCTION_MODEL", path)
    save_lrm(tiny_lrm(), path)
    save_lrm(tiny_lrm(), tiny_folder / "bundle3d" / "own.safetensors")
    reports = []
    for name in ("Bundle3D demo", "own.safetensors"):
        model = run("Bundle3D_LoadReconstructionModel", reconstruction_model=name)[0]
        reports.append(run("Bundle3D_ReconstructViews", model=model, views=views)[2])
    assert "simple procedural shapes" in reports[0] and "procedural" not in reports[1]


def test_a_material_without_a_texture_is_refused(run: Run, model: Any, views: ViewBatch) -> None:
    with pytest.raises(Bundle3DError, match="choose a size for the texture"):
        run("Bundle3D_ReconstructViews", model=model, views=views, material=True)


def test_the_mesh_is_read_where_nodes_compute_with_the_memory_it_takes(
    run: Run, model: Any, views: ViewBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    freed: list[int] = []

    def device(memory: int = 0) -> torch.device:
        freed.append(memory)
        return torch.device("cpu")

    def bare(model: Any, planes: Any, views: Any, options: LrmOptions, progress: Any) -> Any:
        return mesh_from_planes(model, planes, views, LrmOptions(resolution=8), progress)

    monkeypatch.setattr(module, "compute_device", device)
    monkeypatch.setattr(module, "mesh_from_planes", bare)
    run("Bundle3D_ReconstructViews", model=model, views=views)
    run("Bundle3D_ReconstructViews", model=model, views=views, resolution=24, texture="512")
    assert freed[0] >= 16 * (TINY.grid_resolution + 1) ** 3 and freed[1] > freed[0] + 64 * 512**2
