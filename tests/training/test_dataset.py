"""Datasets are written once, alike every time, and damaged ones are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.training.dataset import CAPTIONS, procedural_object, read_dataset, save_image, write_dataset


def test_a_dataset_is_the_same_each_time_and_goes_on_where_it_broke_off(tmp_path: Path) -> None:
    write_dataset(tmp_path / "first", 3, 32, seed=1)
    write_dataset(tmp_path / "second", 2, 32, seed=1)
    kept = (tmp_path / "second" / "00000.png").stat().st_mtime_ns
    write_dataset(tmp_path / "second", 3, 32, seed=1)
    assert (tmp_path / "second" / "00000.png").stat().st_mtime_ns == kept
    first, second = read_dataset(tmp_path / "first"), read_dataset(tmp_path / "second")
    assert [bundle.caption for bundle in first] == [bundle.caption for bundle in second]
    for one, other in zip(first, second):
        assert torch.equal(one.image(), other.image())
    assert first[0].image().shape == (64, 128, 3)
    assert float(first[0].image().min()) < 0.9
    assert torch.equal(first[0].views()[1], first[0].image()[:32, 32:64])


def test_a_shorter_call_keeps_what_a_longer_one_made_and_another_size_is_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path, 3, 32, seed=1)
    before = (tmp_path / CAPTIONS).read_text(encoding="utf-8")
    write_dataset(tmp_path, 1, 32, seed=1)
    assert (tmp_path / CAPTIONS).read_text(encoding="utf-8") == before
    with pytest.raises(Bundle3DError, match="choose another folder"):
        write_dataset(tmp_path, 3, 64, seed=1)


def test_the_mesh_of_an_object_is_the_same_at_every_call() -> None:
    described = procedural_object(5)
    first, second = described.mesh(), described.mesh()
    assert torch.equal(first.vertices, second.vertices)
    assert first.colors is not None and second.colors is not None and torch.equal(first.colors, second.colors)


@pytest.mark.parametrize(
    "line",
    ["no json", "[]", '{"image": "00000.png"}', '{"image": "missing.png", "caption": "x"}',
     '{"image": "../00000.png", "caption": "x"}'],
)  # fmt: skip
def test_damaged_lists_are_refused(tmp_path: Path, line: str) -> None:
    save_image(torch.rand(8, 8, 3), tmp_path / "00000.png")
    good = json.dumps({"image": "00000.png", "caption": "a red cube"})
    (tmp_path / CAPTIONS).write_text(f"{good}\n{line}\n", encoding="utf-8")
    with pytest.raises(Bundle3DError, match="Line 2"):
        read_dataset(tmp_path)


def test_missing_empty_and_unreadable_datasets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Bundle3DError, match="make the dataset first"):
        read_dataset(tmp_path)
    (tmp_path / CAPTIONS).write_text("", encoding="utf-8")
    with pytest.raises(Bundle3DError, match="is empty"):
        read_dataset(tmp_path)
    (tmp_path / "a.png").write_bytes(b"not a picture")
    (tmp_path / CAPTIONS).write_text('{"image": "a.png", "caption": "x"}\n', encoding="utf-8")
    with pytest.raises(Bundle3DError, match="cannot be read"):
        read_dataset(tmp_path)[0].image()
