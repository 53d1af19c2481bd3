"""The procedural objects are closed, of the size and colour they are called, and the same every time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.srgb import srgb_from_linear
from bundle3d.pipelines.meshes.topology import is_watertight
from bundle3d.pipelines.meshes.weld import weld
from bundle3d.pipelines.training.shapes import CLASSES, COLORS, SIZES, Part, Subject, build
from bundle3d.pipelines.training.solids import extrude, revolve

EVERY = [(shape, proportion) for shape in CLASSES for proportion in CLASSES[shape]]


def volume(mesh: Mesh) -> float:
    return float((mesh.vertices[mesh.faces[:, 0]] * mesh.face_normals()).sum()) / 6.0


@pytest.mark.parametrize(("shape", "proportion"), EVERY)
def test_every_shape_is_closed_and_faces_outward(shape: str, proportion: str) -> None:
    mesh = build(Subject((Part(shape, "red", proportion),)))
    assert is_watertight(weld(mesh.with_(normals=None, colors=None)).faces)
    assert volume(mesh) > 0.01
    low, high = mesh.bounds
    assert float((high - low).max()) == pytest.approx(SIZES[""], abs=1e-5)
    assert torch.allclose(low + high, torch.zeros(3), atol=1e-5)
    facing = (mesh.normals[mesh.faces[:, 0]] * torch.nn.functional.normalize(mesh.face_normals(), dim=1)).sum(1)
    assert float(facing.min()) > 0.7


@pytest.mark.parametrize("size", list(SIZES))
def test_sizes_are_the_longest_side(size: str) -> None:
    low, high = build(Subject((Part("star", "blue"),), size)).bounds
    assert float((high - low).max()) == pytest.approx(SIZES[size], abs=1e-5)


def test_known_volumes() -> None:
    side = SIZES[""]
    assert volume(build(Subject((Part("cube", "red"),)))) == pytest.approx(side**3, rel=1e-4)
    assert volume(build(Subject((Part("sphere", "red"),)))) == pytest.approx(math.pi / 6 * side**3, rel=1e-2)


@pytest.mark.parametrize("name", list(COLORS))
def test_colours_are_those_of_the_name(name: str) -> None:
    mesh = build(Subject((Part("dome", name),)))
    assert mesh.colors is not None
    assert srgb_from_linear(mesh.colors[0].numpy()) == pytest.approx(np.array(COLORS[name]), abs=1e-5)


def test_a_stack_has_its_top_above_its_base() -> None:
    mesh = build(Subject((Part("sphere", "red"), Part("cube", "blue"))))
    assert mesh.colors is not None
    red = mesh.colors[:, 0] > mesh.colors[:, 2]
    assert float(mesh.vertices[red, 1].min()) > float(mesh.vertices[~red, 1].max()) - 0.1
    assert float(mesh.vertices[red, 1].min()) < float(mesh.vertices[~red, 1].max())


def test_variation_is_small_and_belongs_to_the_seed() -> None:
    subject = Subject((Part("cone", "green"),))
    exact = build(subject)
    first, again, other = (build(subject, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.vertices, again.vertices)
    assert not torch.equal(first.vertices, other.vertices)
    assert float((first.vertices - exact.vertices).abs().max()) < 0.1


def test_unknown_parts_are_refused() -> None:
    with pytest.raises(Bundle3DError, match="known shape"):
        Part("teapot", "red")
    with pytest.raises(Bundle3DError, match="known shape"):
        Part("sphere", "red", "tall")


def test_solids_have_sharp_corners_where_the_profile_has() -> None:
    vertices, faces = revolve([(0.0, -1.0), (1.0, -1.0), (1.0, 1.0), (0.0, 1.0)], 4)
    assert (len(vertices), len(faces)) == (10, 16)
    _, sides = extrude([(1.0, -1.0), (1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0)], 2.0)
    assert len(sides) == 16
