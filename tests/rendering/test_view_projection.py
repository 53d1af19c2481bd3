from __future__ import annotations

import math

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.isomer.initial import sphere
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.rendering.rasterise import rasterise
from bundle3d.pipelines.rendering.view_confidence import depth_buffer
from bundle3d.pipelines.rendering.view_projection import ProjectionOptions, ViewProjection
from bundle3d.pipelines.rendering.view_projection_reference import project_views_reference
from bundle3d.pipelines.views.camera import Camera
from bundle3d.pipelines.views.rig import Rig, named_rig, orbit

RED, GREEN = torch.tensor((1.0, 0.0, 0.0)), torch.tensor((0.0, 1.0, 0.0))


def plate(half: float, z: float) -> Mesh:
    """A square that faces +Z, in 2 x 32 x 32 triangles."""
    axis = torch.linspace(-half, half, 33)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    vertices = torch.stack((x, y, torch.full_like(x, z)), dim=-1).reshape(-1, 3)
    at = torch.arange(33 * 33).reshape(33, 33)
    a, b, c, d = at[:-1, :-1], at[:-1, 1:], at[1:, 1:], at[1:, :-1]
    faces = torch.cat([torch.stack(t, dim=-1).reshape(-1, 3) for t in ((a, b, c), (a, c, d))])
    return Mesh(vertices, faces)


def join(*meshes: Mesh) -> Mesh:
    vertices, faces, count = [], [], 0
    for mesh in meshes:
        vertices.append(mesh.vertices)
        faces.append(mesh.faces + count)
        count += mesh.vertices.shape[0]
    return Mesh(torch.cat(vertices), torch.cat(faces))


def pictures(mesh: Mesh, rig: Rig, face_color: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    fragments = rasterise(rig.clip(mesh.vertices), mesh.faces, size, size)
    mask = fragments.mask.float()
    image = face_color[fragments.face.long().clamp(min=0)] * mask[..., None] + (1.0 - mask[..., None])
    return image, mask


@pytest.mark.parametrize("rig", [named_rig("kiss3dgen"), named_rig("cube6")], ids=["perspective", "orthographic"])
def test_weights_are_the_cosine_of_the_points_own_viewing_direction(rig: Rig) -> None:
    mesh = sphere(0.8, 5)
    image, mask = pictures(mesh, rig, torch.ones(mesh.faces.shape[0], 3) * 0.25, 256)
    normals = mesh.vertices / 0.8
    options = ProjectionOptions(power=1.0, rim=1.0, rim_confidence=0.0)
    projection = ViewProjection(image, mask, rig, mesh, options)
    projected = projection(mesh.vertices, normals)
    expected = torch.zeros(mesh.vertices.shape[0])
    for camera in rig:
        toward = camera.rotation()[2].float().expand_as(normals)
        if camera.is_perspective:
            toward = torch.nn.functional.normalize(camera.eye().float() - mesh.vertices, dim=1)
        cosine = (toward * normals).sum(1)
        expected += torch.where(cosine > 0.5, cosine, torch.zeros(()))
        expected[(cosine > 0.0) & (cosine < 0.5)] = float("nan")  # near the rim, where confidence falls
    known = ~expected.isnan()
    assert int(known.sum()) > 100
    assert torch.allclose(projected.weights[known], expected[known], atol=2e-4)
    seen = projected.weights > 1e-3
    assert torch.allclose(projected.mean()[seen], torch.full((int(seen.sum()), 3), 0.25), atol=1e-6)


def test_nothing_bleeds_from_an_occluder_onto_what_is_behind_it() -> None:
    mesh = join(plate(0.8, -0.5), plate(0.3, 0.4))
    half = mesh.faces.shape[0] // 2
    color = torch.cat((GREEN.expand(half, 3), RED.expand(half, 3)))
    rig = Rig((Camera(0.0, 0.0, 4.5, fov=30.0),))
    image, mask = pictures(mesh, rig, color, 256)
    normals = torch.tensor((0.0, 0.0, 1.0)).expand_as(mesh.vertices)
    projected = ViewProjection(image, mask, rig, mesh)(mesh.vertices, normals)
    back, front = slice(0, 33 * 33), slice(33 * 33, None)
    radius = mesh.vertices[back, :2].abs().amax(1)
    shadow = 0.3 * (4.5 + 0.5) / (4.5 - 0.4)
    assert float(projected.weights[back][radius < shadow - 0.02].max()) == 0.0
    assert float(projected.weights[back][(radius > shadow + 0.08) & (radius < 0.7)].min()) > 0.9
    trusted = projected.quality > 0.02
    mean = projected.mean()
    assert float(mean[back][trusted[back], 0].max()) < 1e-6
    inner = mesh.vertices[front, :2].abs().amax(1) < 0.29  # the outermost half pixel shows both
    assert float(mean[front][inner, 1].max()) < 1e-6
    assert bool(trusted[front][inner].all())


def test_the_background_does_not_tint_the_rim() -> None:
    mesh, rig = sphere(0.8, 4), orbit(4)
    _, mask = pictures(mesh, rig, GREEN.expand(mesh.faces.shape[0], 3), 128)
    soft = torch.nn.functional.avg_pool2d(mask[:, None], 3, 1, 1)[:, 0]
    mixed = GREEN * soft[..., None] + (1.0 - soft[..., None])
    projected = ViewProjection(mixed, soft, rig, mesh)(mesh.vertices, mesh.vertices / 0.8)
    seen = projected.weights > 0
    assert torch.allclose(projected.mean()[seen], GREEN.expand(int(seen.sum()), 3), atol=1e-5)


@pytest.mark.parametrize("rig", [named_rig("zero123plus"), named_rig("cube6")], ids=["perspective", "orthographic"])
def test_both_backends_agree(rig: Rig) -> None:
    mesh = join(sphere(0.5, 4), Mesh(sphere(0.3, 3).vertices + torch.tensor((0.5, 0.2, 0.4)), sphere(0.3, 3).faces))
    generator = torch.Generator().manual_seed(3)
    image, mask = pictures(mesh, rig, torch.rand(mesh.faces.shape[0], 3, generator=generator), 96)
    normals = mesh.vertex_normals()
    options = ProjectionOptions((0.0, 0.5) + (1.0,) * (len(rig) - 2), power=3.0)
    results = [
        ViewProjection(image, mask, rig, mesh, options, backend)(mesh.vertices, normals)
        for backend in ("numba", "torch")
    ]
    for one, two in zip(*((r.weighted, r.weights, r.quality) for r in results)):
        differs = (one - two).abs() > 1e-4
        assert float(differs.float().mean()) < 2e-3  # a rounding may decide a depth test
    assert float(results[0].quality.max()) > 0.9


def test_the_depth_buffer_is_metric() -> None:
    mesh = plate(0.8, 0.25)
    perspective = depth_buffer(Camera(0.0, 0.0, 4.5, fov=30.0), mesh, 64, 64)
    orthographic = depth_buffer(Camera(0.0, 0.0, 4.5, half_height=1.1), mesh, 64, 64)
    for depth in (perspective, orthographic):
        assert math.isinf(depth[0, 0])
        assert torch.allclose(depth[20:44, 20:44], torch.tensor(4.25), atol=1e-3)


def test_the_reference_projection_uses_the_central_ray() -> None:
    mesh, rig = sphere(0.8, 4), Rig((Camera(0.0, 0.0, 4.5, fov=30.0),))
    image, mask = pictures(mesh, rig, torch.full((mesh.faces.shape[0], 3), 0.5), 256)
    weighted, weights = project_views_reference(mesh, image, mask, rig, (0.5,), 2.0, 256)
    normals = mesh.vertex_normals()
    inner = normals[:, 2] > 0.5
    assert torch.allclose(weights[inner], 0.5 * normals[inner, 2] ** 2, atol=1e-4)
    assert torch.allclose(weighted[inner] / weights[inner, None], torch.tensor(0.5), atol=1e-5)
    assert float(weights[normals[:, 2] < -0.1].max()) == 0.0


def test_counts_that_disagree_are_refused() -> None:
    mesh, rig = sphere(0.5, 2), orbit(4)
    image, mask = pictures(mesh, rig, GREEN.expand(mesh.faces.shape[0], 3), 32)
    with pytest.raises(Bundle3DError, match="per camera"):
        ViewProjection(image[:3], mask[:3], rig, mesh)
    with pytest.raises(Bundle3DError, match="weights"):
        ViewProjection(image, mask, rig, mesh, ProjectionOptions(view_weights=(1.0, 1.0)))
