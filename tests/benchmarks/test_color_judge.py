"""The colour under the light is found again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bundle3d.benchmarks.color_judge import mean_albedo, nearest_color
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.srgb import linear_from_srgb
from bundle3d.pipelines.rendering.environment import studio
from bundle3d.pipelines.training.shapes import COLORS, Part, Subject, build


def _lit(mesh: Mesh) -> Mesh:
    assert mesh.normals is not None and mesh.colors is not None
    return mesh.with_(colors=mesh.colors * studio().diffuse(mesh.normals))


@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("shape", ["sphere", "pyramid", "star"])
def test_each_colour_is_found_under_the_studio_light(shape: str, color: str) -> None:
    mesh = _lit(build(Subject((Part(shape, color),))))
    albedo = mean_albedo(mesh, torch.ones(len(mesh.faces), dtype=torch.bool))
    assert nearest_color(albedo) == color
    # The light's sheen, which is taken off, was not put on here.
    assert np.abs(albedo - np.asarray(linear_from_srgb(np.array(COLORS[color])))).max() < 0.06


def test_only_the_faces_asked_for_count() -> None:
    mesh = _lit(build(Subject((Part("cone", "red"), Part("cube", "blue")))))
    assert mesh.colors is not None
    base = (mesh.colors[:, 2] > mesh.colors[:, 0])[mesh.faces[:, 0]]
    assert nearest_color(mean_albedo(mesh, base)) == "blue"
    assert nearest_color(mean_albedo(mesh, ~base)) == "red"


def test_no_faces_have_no_colour() -> None:
    mesh = build(Subject((Part("cone", "red"),)))
    assert nearest_color(mean_albedo(mesh, torch.zeros(len(mesh.faces), dtype=torch.bool))) == "none"
