"""Compare Meshes: before and after in pictures, words and figures."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Mesh

from .test_meshes import box, core_mesh

Run = Callable[..., Any]


def moved(mesh: Mesh) -> Mesh:
    """The top of a box a hundred times as large, raised by 10."""
    vertices = mesh.vertices * 100.0
    return mesh.with_(vertices=vertices + (vertices > 0.0) * torch.tensor((0.0, 10.0, 0.0)))


def test_before_and_after(run: Run) -> None:
    before = box().with_(vertices=box().vertices * 100.0, units="millimeter")
    after = moved(box()).with_(units="millimeter")
    output = run("Bundle3D_CompareMeshes", before=core_mesh(before), after=core_mesh(after), frames=3, size=64)
    frames, heat, report, figures, identical = output.args
    assert frames.shape == heat.shape == (3, 88, 128, 3) and not identical
    assert "4 of 8 vertices moved" in report and "10 millimeter apart at most" in report
    (values,) = json.loads(figures)
    assert values["moved"] == 4 and values["largest_distance"] == pytest.approx(10.0)
    assert "triangles" in values["same"] and values["changed"] == ["vertices"]
    assert output.ui["text"] == [report]


def test_one_mesh_goes_with_a_batch(run: Run) -> None:
    whole = [box(), moved(box())]
    output = run("Bundle3D_CompareMeshes", before=core_mesh(box()), after=core_mesh(*whole), frames=2, size=64)
    assert len(output[0]) == 4 and [row["moved"] for row in json.loads(output[3])] == [0, 8]
    assert "nothing changed, to the bit" in output[2] and "the pictures (unlit) are the same" in output[2]
    same = run("Bundle3D_CompareMeshes", before=core_mesh(box()), after=core_mesh(box()), frames=1, size=64)
    assert same[4] is True


def test_other_counts_are_refused(run: Run) -> None:
    two, three = core_mesh(*[box()] * 2), core_mesh(*[box()] * 3)
    with pytest.raises(Bundle3DError, match="meshes before and after"):
        run("Bundle3D_CompareMeshes", before=two, after=three, frames=1, size=64)
