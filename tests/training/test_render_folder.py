"""A folder of meshes becomes a dataset, whatever is in it, and a broken-off call is finished by the next."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.training.control_pictures import control_picture
from bundle3d.pipelines.training.dataset import read_dataset
from bundle3d.pipelines.training.mesh_captions import read_captions_file, words_of
from bundle3d.pipelines.training.render_folder import RenderSettings, image_name, render_folder
from bundle3d.pipelines.views.bundle import split_bundle
from bundle3d.tests.training.tiny_meshes import write_meshes

TILE = 32
SETTINGS = RenderSettings(TILE)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[str]]:
    """The folder of meshes, the dataset, and what was said."""
    folder = tmp_path_factory.mktemp("render")
    said: list[str] = []
    meshes = write_meshes(folder / "meshes")
    result = render_folder(meshes, folder / "dataset", SETTINGS, say=said.append)
    assert (result.rendered, result.kept, list(result.refused)) == (2, 0, ["broken.glb"])
    return meshes, folder / "dataset", said


def test_bundles_and_captions(rendered: tuple[Path, Path, list[str]]) -> None:
    bundles = {bundle.caption: bundle.image() for bundle in read_dataset(rendered[1])}
    assert set(bundles) == {"a red box", "a blue ball"}
    for caption, channel in (("a red box", 0), ("a blue ball", 2)):
        views = split_bundle(bundles[caption])
        assert views.mask.shape == (4, TILE, TILE)
        for rgb, mask in zip(views.rgb, views.mask):
            inside = rgb[mask > 0.9].mean(0)
            assert int(inside.argmax()) == channel and inside[channel] > 2.0 * inside.sum() / 3.5
    # A ball of radius 1 at distance 4.5, field of view 30 degrees: tan(asin(1 / 4.5)) / tan(15 degrees) of the tile.
    assert (split_bundle(bundles["a blue ball"]).mask > 0.5).any(2).sum(1) / TILE == pytest.approx(0.851, abs=2 / TILE)


def test_broken_mesh_is_one_line(rendered: tuple[Path, Path, list[str]]) -> None:
    (line,) = rendered[2]
    assert line.startswith("broken.glb is left out: ") and "\n" not in line


def test_depths_are_near_and_far(rendered: tuple[Path, Path, list[str]]) -> None:
    ball = next(bundle for bundle in read_dataset(rendered[1]) if "ball" in bundle.caption)
    depths = control_picture(ball, "depth", 1.0)
    assert depths.shape == (2 * TILE, 4 * TILE, 3)
    assert torch.equal(depths[:TILE], depths[TILE:])
    tile = depths[:TILE, :TILE, 0]
    middle = tile[TILE // 2, TILE // 2]
    rim = tile[TILE // 2][tile[TILE // 2] > 0.2].min()
    assert tile[0, 0] == 0.0
    # by the formula: 1 and 0 of [-1.73, 1.73], between 0.15 and 1
    assert float(middle) == pytest.approx(0.15 + 0.85 * (1.0 / 3.0**0.5 + 1.0) / 2.0, abs=0.02)
    assert rim < middle - 0.1


def test_second_call_renders_nothing_but_takes_new_captions(rendered: tuple[Path, Path, list[str]]) -> None:
    meshes, dataset, _ = rendered
    times = {path: path.stat().st_mtime_ns for path in dataset.glob("*.png")}
    (meshes / "red_box.txt").write_text("a shiny\nred box\n", encoding="utf-8")
    listed = meshes.parent / "captions.txt"
    listed.write_text("# ours\nblue_ball; ein blauer Ball, größer\n", encoding="utf-8")
    result = render_folder(meshes, dataset, SETTINGS, listed)
    (meshes / "red_box.txt").unlink()
    assert (result.rendered, result.kept) == (0, 2)
    assert {path: path.stat().st_mtime_ns for path in dataset.glob("*.png")} == times
    assert {bundle.caption for bundle in read_dataset(dataset)} == {"a shiny red box", "ein blauer Ball, größer"}


def test_newer_mesh_and_missing_bundle_are_rendered_again(rendered: tuple[Path, Path, list[str]]) -> None:
    meshes, dataset, _ = rendered
    box = dataset / image_name("red_box.glb")
    before = box.read_bytes()
    (dataset / image_name("below/blue_ball.obj")).unlink()
    os.utime(meshes / "red_box.glb", (box.stat().st_mtime + 10, box.stat().st_mtime + 10))
    result = render_folder(meshes, dataset, SETTINGS)
    os.utime(meshes / "red_box.glb", (0, 0))
    assert result.rendered == 2
    assert box.read_bytes() == before


def test_refusals(rendered: tuple[Path, Path, list[str]], tmp_path: Path) -> None:
    meshes, dataset, _ = rendered
    with pytest.raises(Bundle3DError, match="'tile': 32"):
        render_folder(meshes, dataset, RenderSettings(64))
    with pytest.raises(Bundle3DError, match=r"0\.1 to 2"):
        RenderSettings(TILE, size=3.0)
    with pytest.raises(Bundle3DError, match="there is none at"):
        render_folder(tmp_path / "none", tmp_path / "out", SETTINGS)
    (tmp_path / "broken.glb").write_bytes(b"glTF")
    with pytest.raises(Bundle3DError, match="none of 1 can"):
        render_folder(tmp_path, tmp_path / "out", SETTINGS)


def test_captions_files(tmp_path: Path) -> None:
    table = tmp_path / "captions.json"
    table.write_text(json.dumps({"a.glb": "a cup"}), encoding="utf-8")
    assert read_captions_file(table) == {"a.glb": "a cup"}
    table.write_text('{"a.glb": 3}', encoding="utf-8")
    with pytest.raises(Bundle3DError, match=r"captions\.json"):
        read_captions_file(table)
    lines = tmp_path / "captions.txt"
    lines.write_text("a.glb; a cup; with a handle\n\nb.glb\n", encoding="utf-8")
    with pytest.raises(Bundle3DError, match="line 3"):
        read_captions_file(lines)


@pytest.mark.parametrize(
    ("stem", "caption"),
    [
        ("RedChair_02", "a red chair"),
        ("old-oak.table v3", "an old oak table"),
        ("The_Statue", "the statue"),
        ("0017", "a 3D object"),
        ("Käse", "a käse"),
    ],
)
def test_words_of_names(stem: str, caption: str) -> None:
    assert words_of(stem) == caption


def test_names_stay_apart() -> None:
    assert len({image_name(place) for place in ("a/b.glb", "a%2Fb.glb", "a_b.glb", "a/b.obj")}) == 4
