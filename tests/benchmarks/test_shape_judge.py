"""Shapes are recognised whatever their place, size and stretch, on meshes that are not exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bundle3d.benchmarks.shape_judge import bank, fit_shapes, recognise
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.training.shapes import BASES, CLASSES, TOPS, Part, Subject, build


def _roughened(mesh: Mesh, seed: int = 0) -> Mesh:
    """Moved, stretched by axis and with uneven vertices, the same at each place."""
    _, same = torch.unique(mesh.vertices, dim=0, return_inverse=True)
    noise = torch.randn(int(same.max()) + 1, 3, generator=torch.Generator().manual_seed(seed)) * 0.01
    stretched = mesh.vertices * torch.tensor((1.1, 0.93, 1.02)) + torch.tensor((0.2, -0.1, 0.05))
    return mesh.with_(vertices=stretched + noise[same])


def test_the_bank_holds_every_class_and_every_stack_in_a_box_of_two() -> None:
    shapes = {template.shapes for template in bank()}
    assert shapes == {(name,) for name in CLASSES} | {(top, base) for top in TOPS for base in BASES}
    for template in bank():
        extent = template.points.max(0) - template.points.min(0)
        assert extent.max() == pytest.approx(2.0, abs=0.05)
        assert set(template.part) == set(range(len(template.shapes)))
        assert np.allclose(np.linalg.norm(template.normals, axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize("shape", ["cube", "cylinder", "cone", "pyramid", "tube"])
def test_a_rough_class_is_recognised(shape: str) -> None:
    proportion = list(CLASSES[shape])[-1]
    best = recognise(_roughened(build(Subject((Part(shape, "red", proportion),)))))[0]
    assert best.template.shapes == (shape,)


@pytest.mark.parametrize("shapes", [("cone", "hourglass"), ("capsule", "cylinder")])
def test_a_rough_stack_is_recognised_and_its_parts_lie_where_they_are(shapes: tuple[str, str]) -> None:
    subject = Subject((Part(shapes[0], "red"), Part(shapes[1], "blue")))
    mesh = build(subject)
    rough = _roughened(mesh)
    assert recognise(rough)[0].template.shapes == shapes
    assert mesh.colors is not None
    base = (mesh.colors[:, 2] > mesh.colors[:, 0])[mesh.faces[:, 0]].numpy()
    found = fit_shapes(rough, shapes).part_of(rough.vertices[rough.faces].mean(1).double().numpy())
    # Where the parts touch, both are near; only what is seen matters.
    cross = mesh.face_normals()
    area = cross.norm(dim=-1).numpy() * (cross[:, 1].abs() < 0.9 * cross.norm(dim=-1)).numpy()
    assert area[(found == 1) == base].sum() > 0.95 * area.sum()
