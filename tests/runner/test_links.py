"""Links show a folder and never lead to the loss of what they show."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.runner import links
from bundle3d.pipelines.runner.links import is_link, link_folder, remove_link, remove_tree


def shown(tmp_path: Path) -> tuple[Path, Path]:
    target = tmp_path / "target"
    target.mkdir()
    (target / "file.txt").write_text("kept")
    return target, tmp_path / "home" / "inner" / "link"


def test_a_link_shows_the_folder(tmp_path: Path) -> None:
    target, link = shown(tmp_path)
    link_folder(target, link)
    link_folder(target, link)
    assert is_link(link) and not is_link(target) and not is_link(tmp_path / "nothing")
    assert (link / "file.txt").read_text() == "kept"


def test_a_link_moves_to_another_folder(tmp_path: Path) -> None:
    target, link = shown(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    link_folder(target, link)
    link_folder(other, link)
    assert link.resolve() == other.resolve() and (target / "file.txt").exists()


def test_removing_a_tree_leaves_linked_folders(tmp_path: Path) -> None:
    target, link = shown(tmp_path)
    link_folder(target, link)
    remove_tree(tmp_path / "home")
    assert not (tmp_path / "home").exists() and (target / "file.txt").exists()


def test_removing_a_link_leaves_the_folder(tmp_path: Path) -> None:
    target, link = shown(tmp_path)
    link_folder(target, link)
    remove_link(link)
    assert not link.exists() and (target / "file.txt").exists()


def test_a_link_that_another_process_has_just_made_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, link = shown(tmp_path)
    make = links._make_link

    def make_twice(target: Path, link: Path) -> None:
        make(target, link)
        make(target, link)

    monkeypatch.setattr(links, "_make_link", make_twice)
    link_folder(target, link)
    assert link.resolve() == target.resolve()


def test_many_make_the_same_link_at_once(tmp_path: Path) -> None:
    target, link = shown(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: link_folder(target, link), range(64)))
    assert link.resolve() == target.resolve()


def test_a_folder_in_the_way_is_refused_and_kept(tmp_path: Path) -> None:
    target, link = shown(tmp_path)
    link.mkdir(parents=True)
    with pytest.raises(Bundle3DError, match="Expected to link"):
        link_folder(target, link)
    assert link.is_dir() and not is_link(link)
