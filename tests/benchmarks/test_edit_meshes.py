"""What the benchmark of edits judges by."""

from __future__ import annotations

import pytest
import torch
from bundle3d.benchmarks.color_judge import nearest_color
from bundle3d.benchmarks.edit_meshes import CASES, mean_color, solid, summary
from bundle3d.benchmarks.edit_scaling import torus
from bundle3d.pipelines.meshes.topology import is_watertight
from bundle3d.pipelines.meshes.weld import welded_faces
from bundle3d.pipelines.training.shapes import COLORS


@pytest.mark.parametrize("color", COLORS)
def test_solids_are_seen_in_their_own_colour(color: str) -> None:
    assert nearest_color(mean_color(solid("torus", color))) == color


def test_cases_ask_for_another_colour_of_ten_shapes() -> None:
    assert len({shape for shape, _, _ in CASES}) == len(CASES) == 10
    assert all(color != wanted for _, color, wanted in CASES)


def test_the_summary_takes_the_worst() -> None:
    row = {"prompt": "a", "color": "red", "color_right": True, "f_score": 1.0, "overlap": 1.0, "seams": 0.5}
    rows = [
        {**row, "draw_seconds": 1.0},
        {**row, "color_right": False, "f_score": 0.9, "seams": 2.0, "draw_seconds": 3},
    ]
    found = summary(rows)
    assert (found["color_right"], found["f_score_least"], found["seams_most"]) == (0.5, 0.9, 2.0)
    assert found["colors_wrong"] == ["a: red"]


@pytest.mark.parametrize("faces", [1_000, 100_000])
def test_the_torus_has_about_as_many_faces_as_asked_for_and_no_hole(faces: int) -> None:
    mesh = torus(faces, 64)
    assert len(mesh.faces) == pytest.approx(faces, rel=0.05)
    assert is_watertight(welded_faces(mesh)) and mesh.uv is not None
    assert float(mesh.vertices.abs().max()) < 1.0 and bool(torch.isfinite(mesh.uv).all())
