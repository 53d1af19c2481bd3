"""Load View Folder: what it reads, notices and refuses."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle3d.nodes import load_view_folder as node_module
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.pixal3d.pictured_object import PicturedObject
from bundle3d.pipelines.pixal3d.view_folder import NAME
from bundle3d.pipelines.rendering.render_views import render_views
from bundle3d.pipelines.views.masks import unmix_white
from bundle3d.pipelines.views.rig import named_rig
from bundle3d.pipelines.volumes.projection import grid_points, rig_cameras
from bundle3d.tests.support.tiny_pixal3d import full_models
from bundle3d.tests.support.view_folder import picture, pictured_sphere, save_view_folder, sphere
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def item() -> PicturedObject:
    return pictured_sphere()


@pytest.fixture
def written(item: PicturedObject, folders: Path) -> Path:
    """The same as a folder in the input folder."""
    return save_view_folder(item, folders / "input" / "views" / "sphere")


def test_views_come_with_their_cameras(run: Run, item: PicturedObject, written: Path) -> None:
    pictures, image, mask, report = run("Bundle3D_LoadViewFolder", folder="views/sphere").args
    [found] = pictures.items
    assert torch.equal(found.pictures.images, item.pictures.images) and torch.equal(image, item.pictures.images)
    assert torch.equal(found.masks, item.masks) and torch.equal(mask, item.masks)
    for camera, own in zip(found.pictures.cameras, item.pictures.cameras, strict=True):
        assert camera.fov == own.fov
        torch.testing.assert_close(camera.camera_to_world, own.camera_to_world)
    fov, away = math.degrees(own.fov), float(own.camera_to_world[:3, 3].norm())
    assert report.startswith("4 view(s) of 48 x 48 pixels, scale of the object 1")
    assert f"3.png: field of view {fov:.2f} degrees, {away:.3f} sides of the object's cube away, looks at it" in report
    assert len(report.splitlines()) == 5, "nothing looks wrong"


def test_they_drive_the_stages(run: Run, item: PicturedObject, written: Path) -> None:
    call = {"models": full_models(), "texture": "none", "faces": 1000, "resolution": 32, "seed": 2}
    pictures = run("Bundle3D_LoadViewFolder", folder="views/sphere")[0]
    voxels, shown, report = run("Bundle3D_Pixal3DImageTo3D", image=pictures, **call).args[2:5]
    assert len(voxels.items[0].grid.coords) > 10 and shown.items == pictures.items
    assert "but there are 4: switch several_views on" in report


def test_views_of_several_sizes_become_as_large_as_the_smallest(run: Run, item: PicturedObject, written: Path) -> None:
    large = item.pictures.images[1].repeat_interleave(2, 0).repeat_interleave(2, 1)
    picture(large).save(written / "1.png")  # without alpha
    _, image, mask, report = run("Bundle3D_LoadViewFolder", folder="views/sphere").args
    assert image.shape == (4, 48, 48, 3) and "of 48 x 48 pixels" in report
    torch.testing.assert_close(image[1], item.pictures.images[1], atol=0.2, rtol=0)
    assert torch.equal(image[[0, 2, 3]], item.pictures.images[[0, 2, 3]])
    assert bool((mask[1] == (image[1].amax(-1) > 0)).all())


def test_views_are_no_larger_than_pixal3d_sees_them(run: Run, written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "LARGEST", 24)
    _, image, mask, report = run("Bundle3D_LoadViewFolder", folder="views/sphere").args
    assert image.shape == (4, 24, 24, 3) and mask.shape == (4, 24, 24) and "of 24 x 24 pixels" in report


def test_folders_with_cameras_are_offered(nodes: dict[str, Any], folders: Path, written: Path) -> None:
    (folders / "input" / "empty").mkdir()
    flat = folders / "input" / "a flat one"
    flat.mkdir()
    (flat / NAME).touch()
    assert nodes["Bundle3D_LoadViewFolder"].define_schema().inputs[0].options == ["a flat one", "views/sphere"]


def test_a_change_of_any_file_is_noticed(nodes: dict[str, Any], written: Path) -> None:
    node = nodes["Bundle3D_LoadViewFolder"]
    first = node.fingerprint_inputs("views/sphere")
    assert node.fingerprint_inputs("views/sphere") == first
    (written / "unused.png").touch()
    assert node.fingerprint_inputs("views/sphere") == first
    view, state = written / "2.png", (written / "2.png").stat()
    view.write_bytes(view.read_bytes())
    os.utime(view, ns=(state.st_atime_ns, state.st_mtime_ns + 10**9))
    second = node.fingerprint_inputs("views/sphere")
    assert second != first
    cameras, state = written / NAME, (written / NAME).stat()
    cameras.write_text(cameras.read_text("utf-8") + " ", "utf-8")
    os.utime(cameras, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert node.fingerprint_inputs("views/sphere") != second


def test_of_images_only_time_and_size_are_read_to_notice_it(
    nodes: dict[str, Any], written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(path: Path) -> bytes:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr(Path, "read_bytes", read)
    assert len(nodes["Bundle3D_LoadViewFolder"].fingerprint_inputs("views/sphere")) == 5


@pytest.mark.parametrize("name", ["", ".", "views", "../outside", "views/../../outside", "absent", "\0"])
def test_other_folders_are_refused(name: str, run: Run, nodes: dict[str, Any], written: Path, folders: Path) -> None:
    outside = folders / "outside"
    outside.mkdir()
    (outside / NAME).write_bytes((written / NAME).read_bytes())
    for given in (name, str(outside) if name == "absent" else name):
        said = nodes["Bundle3D_LoadViewFolder"].validate_inputs(given)
        assert said.startswith(f"Expected a folder with {NAME} in ComfyUI's input folder") and "\n" not in said
        with pytest.raises(Bundle3DError, match="Expected a folder with"):
            run("Bundle3D_LoadViewFolder", folder=given)
    assert nodes["Bundle3D_LoadViewFolder"].validate_inputs("views/sphere") is True


def test_views_that_do_not_fit_are_refused(run: Run, item: PicturedObject, written: Path) -> None:
    wide = item.pictures.images[1][:40]
    for image, words in (
        (wide, r"'1\.png' has 48 x 40 pixels"),
        (torch.zeros(48, 48, 3), r"'1\.png' is empty"),
    ):
        picture(image).save(written / "1.png")
        with pytest.raises(Bundle3DError, match=words):
            run("Bundle3D_LoadViewFolder", folder="views/sphere")


@pytest.mark.parametrize("background", [1.0, 0.4])
def test_views_on_a_plain_background_are_cut_out(
    background: float, run: Run, item: PicturedObject, written: Path
) -> None:
    views = render_views(sphere(), named_rig("kiss3dgen"), 48)
    share = views.mask[1][..., None]
    truth = unmix_white(views.rgb, views.mask)[1] * share
    picture(truth + (1 - share) * background).save(written / "1.png")
    _, image, mask, report = run("Bundle3D_LoadViewFolder", folder="views/sphere").args
    assert float((mask[1] - share[..., 0]).abs().mean()) < 0.01
    torch.testing.assert_close(image[1], truth, atol=0.15, rtol=0)  # nowhere a rim of the background's colour
    assert bool((image[1][mask[1] == 0] == 0).all()) and torch.equal(image[0], item.pictures.images[0])
    assert "1.png: Cut out by the background's colour, #" in report and "0.png: Cut" not in report


@pytest.mark.parametrize("page", ["Bundle3D_LoadViewFolder.md", "Bundle3D_LoadViewFolder/zh.md"])
def test_the_example_of_the_help_has_the_cameras_of_bundles(page: str, run: Run, folders: Path) -> None:
    text = (ROOT / "web" / "docs" / page).read_text("utf-8")
    [example] = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    folder = folders / "input" / "my object"
    folder.mkdir()
    (folder / NAME).write_text(example, "utf-8")
    with Image.open(ROOT / "workflows" / "inputs" / "bundle3d_views.png") as quarters:
        quarters.crop((0, 0, 512, 512)).save(folder / "front.png")
        quarters.crop((512, 0, 1024, 512)).save(folder / "left.png")
    pictures, _, _, report = run("Bundle3D_LoadViewFolder", folder="my object").args
    rig = named_rig("kiss3dgen")
    for camera, own in zip(pictures.items[0].pictures.cameras, rig_cameras(rig)[:2], strict=True):
        assert camera.fov == pytest.approx(own.fov, abs=1e-6)
        torch.testing.assert_close(camera.camera_to_world, own.camera_to_world, atol=1e-6, rtol=0)
    cut = "Cut out by the background's colour, #ffffff."
    away = "field of view 30.00 degrees, 2.250 sides of the object's cube away, looks at it"
    names = ("front.png", "left.png")
    assert report.splitlines()[1:] == [f"{name}: {line}" for line in (away, cut) for name in names]


def test_a_scale_of_a_half_takes_cameras_around_an_object_twice_as_large(run: Run, written: Path) -> None:
    content = json.loads((written / NAME).read_text("utf-8"))
    plain = run("Bundle3D_LoadViewFolder", folder="views/sphere")[0].items[0].pictures
    for frame in content["frames"]:
        for row in frame["transform_matrix"][:3]:
            row[3] *= 2.0
    (written / NAME).write_text(json.dumps(content | {"mesh_scale": 0.5}), "utf-8")
    pictures, _, _, report = run("Bundle3D_LoadViewFolder", folder="views/sphere").args
    scaled = pictures.items[0].pictures
    assert scaled.mesh_scale == 0.5 and "2.250 sides of the object's cube away" in report
    for camera, own in zip(scaled.cameras, plain.cameras):
        places = camera.project(grid_points(4, scaled.mesh_scale)), own.project(grid_points(4))
        torch.testing.assert_close(*places, atol=1e-5, rtol=0)


def test_views_that_cannot_be_cut_out_are_named(run: Run, written: Path) -> None:
    scene = torch.rand(48, 48, 3, generator=torch.Generator().manual_seed(0))
    for image in (scene, torch.ones(48, 48, 3)):
        picture(image).save(written / "2.png")
        with pytest.raises(Bundle3DError, match=r"plain background, but '2\.png' shows none; save it with alpha"):
            run("Bundle3D_LoadViewFolder", folder="views/sphere")


def test_cancelling_takes_effect(run: Run, written: Path, cancels_at: Callable[..., None]) -> None:
    cancels_at(3, lambda: run("Bundle3D_LoadViewFolder", folder="views/sphere"))
