from __future__ import annotations

import json
import math

import pytest
import torch
from bundle3d.pipelines.meshes.mesh import Material, Mesh
from bundle3d.pipelines.metrics.report import mesh_report
from bundle3d.pipelines.texturing.unwrap import unwrap
from bundle3d.tests.meshes.shapes import box, cylinder, merge, moebius, soup, sphere, torus


def test_solids() -> None:
    ball, ring = mesh_report(sphere(subdivisions=4)), mesh_report(torus())
    assert ball.watertight and ball.manifold and ball.consistent and ball.manifold_edges == 1.0
    assert (ball.genus, ring.genus, mesh_report(merge(torus(), torus(3.0, 0.2))).genus) == (0, 1, 2)
    assert ball.volume == pytest.approx(4 / 3 * math.pi, rel=0.01)
    assert ball.size == pytest.approx((2, 2, 2), abs=0.01)
    assert ball.uv is None and ball.components == 1 and ball.degenerate_faces == 0


def test_defects() -> None:
    tube = mesh_report(cylinder())
    assert not tube.watertight and tube.boundary_loops == 2 and tube.genus is None and tube.volume is None
    assert tube.manifold_edges < 1
    assert not mesh_report(moebius()).consistent
    nested = mesh_report(merge(sphere(), sphere(0.5)))
    assert nested.inner_shells == 1 and nested.components == 2
    mesh = box()
    flat = mesh_report(mesh.with_(faces=torch.cat((mesh.faces, torch.tensor([[0, 1, 1]])))))
    assert flat.degenerate_faces == 1 and not flat.watertight


def test_seams_are_no_holes_and_units_follow_the_transform() -> None:
    transform = torch.diag(torch.tensor([10.0, 20.0, 30.0, 1.0], dtype=torch.float64))
    report = mesh_report(soup(box()).with_(transform=transform, units="millimeter"))
    assert report.watertight and report.boundary_loops == 0
    assert report.size == pytest.approx((10, 20, 30)) and report.units == "millimeter"
    assert report.volume == pytest.approx(6000)


def square(stretch: float = 1.0) -> Mesh:
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    uv = torch.stack((vertices[:, 0], 1 - vertices[:, 1] * stretch), 1)
    return Mesh(vertices=vertices, faces=torch.tensor([[0, 1, 2], [0, 2, 3]]), uv=uv)


def test_uv_figures_of_a_square() -> None:
    image = torch.zeros((256, 256, 3), dtype=torch.uint8)
    whole = mesh_report(square().with_(materials=(Material(base_color_texture=image),))).uv
    assert whole.used == 1.0 and whole.overlap == 0.0 and whole.outside == 0.0
    assert whole.stretch == pytest.approx(1.0) and whole.density == pytest.approx(256)
    assert whole.density_spread == pytest.approx(1.0) and whole.seam_step is None
    half = mesh_report(square(0.5)).uv
    assert half.stretch == pytest.approx(2.0) and half.density == pytest.approx(1024 * math.sqrt(0.5))
    twice = merge(square(), square().with_(vertices=square().vertices + 5))
    doubled = mesh_report(twice.with_(uv=torch.cat((square().uv, square().uv)))).uv
    assert doubled.overlap == 1.0
    assert mesh_report(square().with_(uv=square().uv * 3)).uv.outside == 1.0


def test_seam_step_is_the_contrast_of_the_sides() -> None:
    flat, _ = unwrap(sphere(), 256, 4)
    smooth = torch.full((256, 256, 3), 128, dtype=torch.uint8)
    assert mesh_report(flat.with_(materials=(Material(base_color_texture=smooth),))).uv.seam_step == pytest.approx(0.0)
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    uv = torch.tensor([[0.05, 0.1], [0.2, 0.1], [0.2, 0.8], [0.8, 0.1], [0.95, 0.1], [0.8, 0.8]])
    image = torch.zeros((64, 64, 3), dtype=torch.uint8)
    image[:, 32:] = 51
    halves = Mesh(vertices=vertices, faces=torch.arange(6).reshape(2, 3), uv=uv,
                  materials=(Material(base_color_texture=image),))  # fmt: skip
    assert mesh_report(halves).uv.seam_step == pytest.approx(0.2)


def test_unwrapped_meshes_have_even_texels() -> None:
    report = mesh_report(unwrap(torus(), 512)[0]).uv
    assert report.overlap == 0.0 and report.outside == 0.0
    assert report.stretch < 1.4 and report.density_spread < 2.0


def test_text_and_json() -> None:
    image = torch.zeros((8, 16, 3), dtype=torch.uint8)
    report = mesh_report(square().with_(materials=(Material("skin", base_color_texture=image),), name="plate"))
    text = report.to_text()
    assert text.startswith("plate\n") and "skin base_color 16 x 8" in text and "uv overlap" in text
    assert json.loads(json.dumps(report.to_dict()))["textures"][0]["width"] == 16


def test_empty_mesh() -> None:
    report = mesh_report(Mesh(vertices=torch.zeros((0, 3)), faces=torch.zeros((0, 3), dtype=torch.int64)))
    assert report.faces == 0 and not report.watertight and report.components == 0
    assert report.to_text()
