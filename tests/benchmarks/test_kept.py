"""A stage is done once, and what it took is known afterwards, too."""

from __future__ import annotations

from pathlib import Path

import torch
from bundle3d.benchmarks.kept import Kept
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.training.shapes import Part, Subject, build


def _never() -> torch.Tensor:
    raise AssertionError("done again")


def test_a_picture_is_made_once_with_its_alpha(tmp_path: Path) -> None:
    picture = torch.rand(5, 7, 4)
    first = Kept(tmp_path / "one")
    made = first.picture("photo", lambda: picture)
    again = Kept(tmp_path / "one")
    torch.testing.assert_close(again.picture("photo", _never), made)
    torch.testing.assert_close(made, picture, atol=0.5 / 255 + 1e-6, rtol=0.0)
    assert again.stages == first.stages and again.stages["photo"]["seconds"] >= 0.0


def test_a_stage_without_its_file_is_done_again(tmp_path: Path) -> None:
    Kept(tmp_path).picture("photo", lambda: torch.zeros(2, 2, 3))
    (tmp_path / "photo.png").unlink()
    assert float(Kept(tmp_path).picture("photo", lambda: torch.ones(2, 2, 3)).min()) == 1.0


def test_a_mesh_comes_back_from_its_file_in_its_place(tmp_path: Path) -> None:
    def red() -> Mesh:
        return build(Subject((Part("cube", "red"),)))

    found = Kept(tmp_path).mesh("made", red)
    torch.testing.assert_close(found.vertices, red().vertices, atol=1e-6, rtol=0.0)
    assert found.colors is not None and float(found.colors[:, 0].min()) > 0.5
