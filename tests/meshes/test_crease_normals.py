from __future__ import annotations

import torch
from bundle3d.pipelines.meshes.crease_normals import with_creased_normals
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.topology import is_watertight
from bundle3d.pipelines.meshes.weld import welded_faces

from .shapes import box, torus


def test_a_box_has_flat_sides_below_a_right_angle_and_round_ones_above() -> None:
    flat = with_creased_normals(box(), 40.0)
    assert flat.vertices.shape[0] == 24 and is_watertight(welded_faces(flat))
    unit = torch.nn.functional.normalize(flat.face_normals(), dim=1)
    assert flat.normals is not None
    assert torch.allclose(flat.normals[flat.faces], unit[:, None].expand(-1, 3, -1))
    for angle in (91.0, 180.0):
        smooth = with_creased_normals(box(), angle)
        assert smooth.vertices.shape[0] == 8 and smooth.normals is not None
        assert torch.allclose(smooth.normals, smooth.vertex_normals(), atol=1e-6)


def test_a_smooth_surface_stays_whole_and_its_texture_seams_do_not_show() -> None:
    ring = torus()
    cut = torch.arange(ring.vertices.shape[0]).repeat(2)
    half = ring.faces.shape[0] // 2
    faces = torch.cat((ring.faces[:half], ring.faces[half:] + ring.vertices.shape[0]))
    seamed = Mesh(ring.vertices[cut], faces, uv=ring.vertices[cut][:, :2])
    found = with_creased_normals(seamed, 40.0)
    truth = ring.vertex_normals()
    assert found.normals is not None and found.uv is not None
    assert torch.allclose(found.normals[found.faces], truth[ring.faces], atol=1e-6)
    assert torch.equal(found.vertices[found.faces], ring.vertices[ring.faces])
    assert torch.equal(found.uv[found.faces], ring.vertices[ring.faces][..., :2])


def test_faces_without_area_and_empty_meshes() -> None:
    mesh = box()
    flat = Mesh(mesh.vertices, torch.cat((mesh.faces, torch.tensor([[0, 0, 1]]))))
    found = with_creased_normals(flat, 40.0)
    assert found.normals is not None and torch.allclose(found.normals.norm(dim=1), torch.ones(len(found.normals)))
    empty = with_creased_normals(Mesh(torch.zeros(2, 3), mesh.faces[:0]), 40.0)
    assert empty.faces.shape == (0, 3) and empty.vertices.shape == (0, 3)
