"""ISOMER Reconstruct: a mesh that fits the views, batch identity, seeds and cancellation."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from bundle3d.nodes.interop import accept

from .test_meshes import box, core_mesh
from .test_views import bundle

Run = Callable[..., Any]
QUICK = {"faces": 5000, "refine_steps": 2, "integration_steps": 15}
FEW = {"faces": 5000, "refine_steps": 2, "integration_steps": 2}


def split(run: Run, *numbers: int) -> Any:
    return run("Bundle3D_SplitBundle", bundle=torch.cat([bundle(n, 96) for n in numbers]))[0]


def test_a_box_comes_out_of_its_bundle(run: Run) -> None:
    mesh, files, views, report = run("Bundle3D_IsomerReconstruct", views=split(run, 4), **QUICK).args
    (result,) = accept(mesh)
    low, high = result.bounds
    assert torch.allclose(high - low, torch.tensor((2.0, 0.8, 0.8)), atol=0.12)
    assert files[0].format == "glb" and "watertight" in report
    assert result.colors is not None and len(views) == 1


def test_the_report_tells_of_views_that_the_mesh_misses() -> None:
    from bundle3d.nodes.isomer import report_text
    from bundle3d.pipelines.isomer.reconstruct import Reconstruction
    from bundle3d.pipelines.views.rig import named_rig

    figures = {
        "faces": 4,
        "vertices": 4,
        "components": 1,
        "watertight": True,
        "manifold": True,
        "distances": [4.5, 4.0],
        "silhouette_iou": [0.9, 0.0],
        "normal_mean": [5.0, float("nan")],
        "normal_median": [4.0, float("nan")],
    }
    text = report_text(Reconstruction(accept(core_mesh(box()))[0], named_rig("kiss3dgen"), figures))
    assert "distance 4.000 to 4.500" in text and "off by 5.0 degrees" in text
    assert "View 2: outline overlap 0.0000, no normals to compare" in text and "nan" not in text


def test_faces_that_memory_did_not_suffice_for_are_reported(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from bundle3d.nodes import isomer as node

    work, asked = node.reconstruct, []

    def reconstruct(views: Any, options: Any, *rest: Any) -> Any:
        asked.append(options.faces)
        if options.faces > 5000:
            raise MemoryError
        return work(views, options, *rest)

    monkeypatch.setattr(node, "reconstruct", reconstruct)
    report = run("Bundle3D_IsomerReconstruct", views=split(run, 4), **{**FEW, "faces": 8000})[3]
    assert asked == [8000, 5000] and "Memory ran out with faces 8,000, so this was made with 5,000." in report


def test_a_batch_gives_exactly_the_single_results(run: Run) -> None:
    together = accept(run("Bundle3D_IsomerReconstruct", views=split(run, 0, 4, 3), **FEW)[0])
    for number, mesh in zip((0, 4, 3), together):
        (alone,) = accept(run("Bundle3D_IsomerReconstruct", views=split(run, number), **FEW)[0])
        assert torch.equal(mesh.vertices, alone.vertices) and torch.equal(mesh.faces, alone.faces)
        assert torch.equal(mesh.colors, alone.colors)


def test_it_starts_from_a_mesh_wherever_that_stands(run: Run) -> None:
    moved = box().with_(vertices=box().vertices * 30.0 + torch.tensor((5.0, -7.0, 11.0)))
    views = run("Bundle3D_RenderBundle", mesh=core_mesh(moved), tile_size=128)[1]
    kept = views.items[0].normal.clone()
    output = run("Bundle3D_IsomerReconstruct", views=views, initial_mesh=core_mesh(moved), fit_distance=False, **QUICK)
    low, high = output[0].vertices[0].aminmax(dim=0)
    assert torch.allclose(high - low, torch.tensor((60.0, 36.0, 24.0)), rtol=0.3)
    assert torch.allclose((high + low) / 2, torch.tensor((5.0, -7.0, 11.0)), atol=3.0)
    assert torch.equal(views.items[0].normal, kept)


def test_cancelling_takes_effect_within_half_a_second(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from bundle3d.nodes import isomer
    from comfy import model_management

    asked: list[float] = []
    reconstruct = isomer.reconstruct

    def cancelled(views: Any, options: Any, initial: Any, progress: Any) -> Any:
        def watch(done: int, total: int, preview: Any = None) -> None:
            if done > total // 2 and not asked:
                asked.append(time.monotonic())
                model_management.interrupt_current_processing(True)
                return
            progress(done, total, preview)

        return reconstruct(views, options, initial, watch)

    monkeypatch.setattr(isomer, "reconstruct", cancelled)
    with pytest.raises(model_management.InterruptProcessingException):
        run("Bundle3D_IsomerReconstruct", views=split(run, 4), faces=20000)
    assert time.monotonic() - asked[0] < 0.5
