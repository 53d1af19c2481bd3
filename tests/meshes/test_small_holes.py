from __future__ import annotations

import torch
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.small_holes import fill_small_holes
from bundle3d.pipelines.meshes.topology import boundary_loops, is_consistently_oriented, is_manifold, is_watertight

from .shapes import box, cylinder, torus


def test_a_small_loop_gets_a_fan_around_the_mean_of_its_edges() -> None:
    mesh = box()
    open_faces = mesh.faces[2:]  # without one side of unit length
    vertices, faces = fill_small_holes(mesh.vertices, open_faces, 4.1)
    assert is_watertight(faces) and is_manifold(faces) and is_consistently_oriented(faces)
    assert torch.allclose(vertices[8], mesh.vertices[mesh.faces[:2].unique()].mean(0))
    assert len(faces) == len(open_faces) + 4


def test_loops_as_long_as_the_limit_stay_open() -> None:
    mesh = box()
    vertices, faces = fill_small_holes(mesh.vertices, mesh.faces[2:], 4.0)
    assert torch.equal(faces, mesh.faces[2:]) and torch.equal(vertices, mesh.vertices)


def test_only_the_small_ones_of_many_loops_are_filled() -> None:
    mesh = torus(columns=60, rows=30)
    keep = torch.ones(len(mesh.faces), dtype=torch.bool)
    keep[[0, 700, 1500]] = False
    keep[2000:2040] = False
    before = mesh.faces[keep]
    vertices, faces = fill_small_holes(mesh.vertices, before, 0.5)
    assert boundary_loops(before) == 4 and boundary_loops(faces) == 1
    assert len(vertices) == len(mesh.vertices) + 3 and len(faces) == len(before) + 9
    assert is_consistently_oriented(faces)


def test_loops_that_touch_and_edges_of_many_faces_are_left_alone() -> None:
    mesh = torus(columns=60, rows=30)
    keep = torch.ones(len(mesh.faces), dtype=torch.bool)
    shared = (mesh.faces[0][:, None] == mesh.faces[:, None]).any(-1).sum(1)
    keep[[0, int(torch.nonzero(shared == 1)[0])]] = False  # two holes that share a corner only
    vertices, faces = fill_small_holes(mesh.vertices, mesh.faces[keep], 10.0)
    assert len(faces) == int(keep.sum())
    fin = torch.cat((box().faces, torch.tensor([[0, 1, 8]])))  # its rim does not come back to where it began
    vertices = torch.cat((box().vertices, torch.zeros(1, 3)))
    assert len(fill_small_holes(vertices, fin, 10.0)[1]) == len(fin)


def test_nothing_to_fill() -> None:
    tube = cylinder()
    for mesh, perimeter in ((torus(), 1.0), (tube, 0.0), (Mesh(torch.zeros(0, 3), tube.faces[:0]), 1.0)):
        vertices, faces = fill_small_holes(mesh.vertices, mesh.faces, perimeter)
        assert torch.equal(vertices, mesh.vertices) and torch.equal(faces, mesh.faces)
