"""Inspect, bake and report: what the nodes say about bundles and meshes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundle3d.nodes.frames import in_frame
from bundle3d.nodes.sockets import ViewBatch
from bundle3d.nodes.viewer_data import RANGE
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.views.view_set import ViewSet
from PIL import Image

from .test_meshes import box, core_mesh
from .test_views import bundle

Run = Callable[..., Any]


def test_inspect_finds_nothing_wrong_with_an_exact_bundle(run: Run) -> None:
    views = run("Bundle3D_SplitBundle", bundle=bundle(4, 128))[0]
    report, sheet, figures = run("Bundle3D_InspectBundle", views=views).args
    assert report.startswith("good:")
    assert sheet.ndim == 4 and sheet.shape[0] == 1 and sheet.shape[-1] == 3
    assert json.loads(figures)[0]["verdict"] == "good"


def test_inspect_sees_swapped_columns(run: Run) -> None:
    image = bundle(1, 128)
    swapped = torch.cat([image[:, :, 128:256], image[:, :, :128], image[:, :, 256:]], dim=2)
    views = run("Bundle3D_SplitBundle", bundle=swapped)[0]
    assert "problem" in run("Bundle3D_InspectBundle", views=views)[0]


def test_the_viewer_gets_cameras_normals_and_positions(run: Run, folders: Path) -> None:
    rendered = run("Bundle3D_RenderBundle", mesh=core_mesh(box()), tile_size=128)[1]
    output = run("Bundle3D_InspectBundle", views=rendered, mesh=core_mesh(box()))
    (data,) = output.ui["bundle3d_views"]
    assert json.loads(json.dumps(data)) == {
        **data,
        "cameras": [{**c, "target": list(c["target"])} for c in data["cameras"]],
    }
    assert [camera["azimuth"] for camera in data["cameras"]] == [0.0, 90.0, 180.0, 270.0]
    atlas = np.asarray(Image.open(folders / "temp" / data["atlas"]["filename"])).astype(np.int64)
    assert atlas.shape == (4 * 128, 4 * 128, 3)
    words = 256 * atlas[256:384, :128] + atlas[384:, :128]
    positions = words / 65535 * 2 * RANGE - RANGE
    front = positions[64, 64]
    assert front == pytest.approx((0.0, 0.4 * math.tan(math.radians(5.0)), 0.4), abs=0.01)
    assert (words[0, 0] == 0).all()


def test_bake_gives_textures_and_one_material(run: Run) -> None:
    _, views, *_ = run("Bundle3D_RenderBundle", mesh=core_mesh(box()), tile_size=128).args
    red = views.items[0].rgb * torch.tensor((1.0, 0.2, 0.2))
    painted = run("Bundle3D_JoinBundle", views=views, rgb=torch.cat([red, views.items[0].rgb[1:]])[:4])[1]
    mesh, files, color, normal = run(
        "Bundle3D_BakeTexture", mesh=core_mesh(box()), views=painted, resolution="512", target_faces=0
    ).args
    assert color.shape == normal.shape == (1, 512, 512, 3)
    assert mesh.uvs is not None and mesh.texture.shape == (1, 512, 512, 3)
    assert files[0].get_bytes()[:4] == b"glTF"
    flat = run(
        "Bundle3D_BakeTexture", mesh=core_mesh(box()), views=painted, resolution="512", target_faces=0, normal_map=False
    )[3]
    assert flat.shape == (1, 1, 1, 3)


def test_textures_of_several_sizes_become_one_batch(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from bundle3d.nodes import bake_texture

    bake, tried = bake_texture.bake_views, []

    def short_of_memory(mesh: Mesh, views: ViewSet, resolution: int, *rest: Any) -> Mesh:
        tried.append(resolution)
        if len(tried) == 2:
            raise MemoryError
        return bake(mesh, views, resolution, *rest)

    monkeypatch.setattr(bake_texture, "bake_views", short_of_memory)
    _, views, *_ = run("Bundle3D_RenderBundle", mesh=core_mesh(box()), tile_size=128).args
    twice = ViewBatch(views.items * 2, views.transforms * 2)
    output = run("Bundle3D_BakeTexture", mesh=core_mesh(box()), views=twice, resolution="512", target_faces=0).args
    assert tried == [512, 512, 256]
    assert output[2].shape == output[3].shape == (2, 512, 512, 3)


def test_bake_finds_a_mesh_that_stands_elsewhere(run: Run) -> None:
    moved = box().with_(vertices=box().vertices * 30.0 + torch.tensor((5.0, -7.0, 11.0)))
    views = run("Bundle3D_RenderBundle", mesh=core_mesh(moved), tile_size=128)[1]
    here = run("Bundle3D_BakeTexture", mesh=core_mesh(moved), views=views, resolution="512", target_faces=0)
    plain = run("Bundle3D_RenderBundle", mesh=core_mesh(box()), tile_size=128)[1]
    there = run("Bundle3D_BakeTexture", mesh=core_mesh(box()), views=plain, resolution="512", target_faces=0)
    assert (here[2] - there[2]).abs().mean() < 0.01
    assert torch.allclose(here[0].vertices.amax(1), moved.vertices.amax(0)[None], atol=1e-4)


def test_a_mesh_comes_into_a_frame_and_stays_where_it_is() -> None:
    transform = torch.tensor(
        [[0.0, 0.0, 2.0, 5.0], [0.0, 2.0, 0.0, 6.0], [-2.0, 0.0, 0.0, 7.0], [0.0, 0.0, 0.0, 1.0]], dtype=torch.float64
    )
    moved = in_frame(box(), transform)
    world = moved.vertices.double() @ transform[:3, :3].T + transform[:3, 3]
    assert torch.allclose(world.float(), box().vertices, atol=1e-5)
    assert in_frame(moved, transform) is moved


def test_report_counts_and_judges(run: Run) -> None:
    report, figures, sound = run("Bundle3D_MeshReport", mesh=core_mesh(box()), seed=0).args
    assert sound is True and "watertight" in report
    row = json.loads(figures)[0]
    assert row["faces"] == 12 and row["watertight"] and row["volume"] == pytest.approx(8 * 0.6 * 0.4)
    opened = box().with_(faces=box().faces[1:])
    assert run("Bundle3D_MeshReport", mesh=core_mesh(opened))[2] is False


def test_report_measures_the_distance_to_a_reference(run: Run) -> None:
    same = json.loads(run("Bundle3D_MeshReport", mesh=core_mesh(box()), reference=core_mesh(box()))[1])[0]["reference"]
    assert same["f_score"]["0.1"] > 0.999 and same["chamfer"] < 0.05
    away = box().with_(vertices=box().vertices * 3.0 + 4.0)
    far = json.loads(run("Bundle3D_MeshReport", mesh=core_mesh(away), reference=core_mesh(box()))[1])[0]["reference"]
    fitted = run("Bundle3D_MeshReport", mesh=core_mesh(away), reference=core_mesh(box()), fit_boxes=True)
    assert far["f_score"]["0.1"] < 0.1
    assert json.loads(fitted[1])[0]["reference"]["f_score"]["0.1"] > 0.999


def test_unequal_batches_are_refused(run: Run) -> None:
    two, three = core_mesh(box(), box()), core_mesh(box(), box(), box())
    with pytest.raises(Bundle3DError, match="batches of the same size"):
        run("Bundle3D_MeshReport", mesh=two, reference=three)
