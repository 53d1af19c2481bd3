from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.isomer.initial import sphere
from bundle3d.pipelines.isomer.integrate import NormalIntegrator
from bundle3d.pipelines.isomer.reconstruct import measure
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.topology import is_watertight
from bundle3d.pipelines.rendering.render_views import render_views
from bundle3d.pipelines.views.rig import Rig, named_rig
from bundle3d.pipelines.views.view_set import ViewSet


def views_of(mesh: Mesh, rig: Rig, size: int = 128) -> ViewSet:
    return render_views(mesh, rig, size, "clay")


@pytest.mark.parametrize("name", ["kiss3dgen", "cube6"])
def test_a_smaller_sphere_is_bent_to_the_sphere_in_the_views(name: str):
    views = views_of(sphere(0.7, 4), named_rig(name))
    start = sphere(0.6, 3)
    vertices, faces = start.vertices * torch.tensor((1.1, 0.9, 1.0)), start.faces
    integrator = NormalIntegrator(views, 0.08, 128)
    for _ in range(12):
        vertices, faces = integrator.step(vertices, faces)
    assert is_watertight(faces)
    radius = vertices.norm(dim=1)
    assert float(radius.mean()) == pytest.approx(0.7, abs=0.004)
    assert float(radius.std()) < 0.003
    assert max(measure(Mesh(vertices, faces), views)["normal_mean"]) < 3.0


def test_a_surface_that_fits_stays():
    shape = sphere(0.7, 4)
    views = views_of(shape, named_rig("kiss3dgen"), 256)
    moved = NormalIntegrator(views, 0.05, 256).move(shape.vertices, shape.faces)
    assert float((moved - shape.vertices).norm(dim=1).mean()) < 1e-3


def test_equal_seeds_give_equal_surfaces_and_inputs_stay():
    shape = sphere(0.6, 3)
    before = shape.vertices.clone()
    views = views_of(sphere(0.7, 4), named_rig("kiss3dgen"))
    results = [NormalIntegrator(views, 0.08, 128, seed=3).step(shape.vertices, shape.faces) for _ in range(2)]
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    assert torch.equal(shape.vertices, before)
