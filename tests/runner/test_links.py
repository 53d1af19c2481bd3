"""Links show a folder and never lead to the loss of what they show."""

from __future__ import annotations

from pathlib import Path

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
