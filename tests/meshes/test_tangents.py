from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.tangents import tangent_frame, vertex_tangents, with_tangents
from bundle3d.pipelines.texturing.unwrap import unwrap

from .shapes import box, sphere, torus


def quad(mirror: bool = False) -> Mesh:
    """A unit square facing +Z, u to the right and v downward, or u to the left."""
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    u = 1 - vertices[:, 0] if mirror else vertices[:, 0]
    uv = torch.stack((u, 1 - vertices[:, 1]), 1)
    return Mesh(vertices=vertices, faces=torch.tensor([[0, 1, 2], [0, 2, 3]]), uv=uv)


@pytest.mark.parametrize("mirror", [False, True])
def test_plane(mirror: bool) -> None:
    sign = -1.0 if mirror else 1.0
    expected = torch.tensor([sign, 0.0, 0.0, sign]).expand(4, 4)
    tangents = vertex_tangents(quad(mirror))
    assert torch.allclose(tangents, expected)
    bitangent = tangents[:, 3:] * torch.linalg.cross(quad().vertex_normals(), tangents[:, :3])
    assert torch.allclose(bitangent, torch.tensor([0.0, 1.0, 0.0]).expand(4, 3))


def test_torus_follows_its_parameter() -> None:
    mesh = torus()
    u = torch.arange(48).repeat(24) / 48
    v = torch.arange(24).repeat_interleave(48) / 24
    textured = mesh.with_(uv=torch.stack((u, 1 - v), 1))
    tangents = vertex_tangents(textured)
    inner = (u > 0.05) & (u < 0.9) & (v > 0.06) & (v < 0.9)
    angle = u * 2 * torch.pi
    expected = torch.stack((torch.cos(angle), torch.zeros_like(angle), -torch.sin(angle)), 1)
    assert torch.allclose(tangents[inner, :3], expected[inner], atol=5e-3)
    assert bool((tangents[inner, 3] == 1).all())


def test_frames_are_orthonormal_after_unwrapping() -> None:
    for shape in (box(), sphere()):
        mesh = with_tangents(unwrap(shape, 128)[0])
        tangents, normals = mesh.tangents, mesh.normals
        assert torch.allclose(tangents[:, :3].norm(dim=1), torch.ones(len(tangents)), atol=1e-5)
        assert float((tangents[:, :3] * normals).sum(1).abs().max()) < 1e-5
        assert bool((tangents[:, 3] == 1).all())


def test_mirrored_halves_get_their_own_vertices() -> None:
    vertices = torch.tensor([[-1.0, 0, 0], [0, 0, 0], [1, 0, 0], [-1, 1, 0], [0, 1, 0], [1, 1, 0]])
    faces = torch.tensor([[0, 1, 4], [0, 4, 3], [1, 2, 5], [1, 5, 4]])
    mesh = Mesh(vertices=vertices, faces=faces, uv=torch.stack((vertices[:, 0].abs(), 1 - vertices[:, 1]), 1))
    split = with_tangents(mesh)
    assert split.vertices.shape[0] == 8
    assert torch.equal(split.vertices[split.faces], mesh.vertices[mesh.faces])
    assert torch.equal(split.tangents[split.faces[:2]][..., 3], -torch.ones(2, 3))
    assert torch.equal(split.tangents[split.faces[2:]][..., 3], torch.ones(2, 3))


def test_without_directions_any_frame_will_do() -> None:
    tangents = vertex_tangents(box().with_(uv=torch.zeros(8, 2)))
    assert torch.allclose(tangents[:, :3].norm(dim=1), torch.ones(8), atol=1e-5)


def test_a_frame_between_vertices_is_orthonormal_and_keeps_its_handedness() -> None:
    generator = torch.Generator().manual_seed(0)
    normal, tangent = torch.randn(50, 3, generator=generator), torch.randn(50, 4, generator=generator)
    tangent[0] = 0.0
    frame = torch.stack(tangent_frame(normal, tangent), dim=1)
    assert torch.allclose(frame[1:] @ frame[1:].mT, torch.eye(3), atol=1e-5)
    assert torch.equal(torch.linalg.det(frame[1:]) > 0, tangent[1:, 3] >= 0)
    assert bool(((frame[1:, 0] * tangent[1:, :3]).sum(1) > 0).all())
    assert bool((frame[0, :2] == 0).all())


def test_mesh_without_uv_is_refused() -> None:
    with pytest.raises(Bundle3DError, match="unwrap"):
        vertex_tangents(box())
