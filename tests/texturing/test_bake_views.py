from __future__ import annotations

import math

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.isomer.initial import sphere
from bundle3d.pipelines.meshes.densify import densify
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.topology import is_watertight
from bundle3d.pipelines.meshes.weld import welded_faces
from bundle3d.pipelines.rendering.rasterise import rasterise
from bundle3d.pipelines.rendering.render_mesh import render_mesh
from bundle3d.pipelines.texturing.bake_views import BakeOptions, bake_views
from bundle3d.pipelines.texturing.texel_map import rasterise_uv
from bundle3d.pipelines.texturing.unwrap import unwrap
from bundle3d.pipelines.views.normals import decode_normals
from bundle3d.pipelines.views.rig import Rig, named_rig
from bundle3d.pipelines.views.view_set import ViewSet

RESOLUTION = 256


def pattern(points: torch.Tensor) -> torch.Tensor:
    """A smooth colour for every place."""
    return 0.5 + 0.4 * torch.sin(points * 9.0 + torch.tensor((0.0, 1.0, 2.0)))


def bumpy(points: torch.Tensor) -> torch.Tensor:
    """World normals of a sphere with a ripple that its geometry does not have."""
    return torch.nn.functional.normalize(points + 0.05 * torch.cos(points.flip(-1) * 25.0), dim=-1)


def views_of(mesh: Mesh, rig: Rig, size: int = 256) -> ViewSet:
    fragments = rasterise(rig.clip(mesh.vertices), mesh.faces, size, size)
    corners = mesh.vertices[mesh.faces[fragments.face.long().clamp(min=0)]]
    points = (corners * fragments.barycentric[..., None]).sum(-2)
    mask = fragments.mask.float()
    rgb = pattern(points) * mask[..., None] + (1.0 - mask[..., None])
    return ViewSet(rgb, bumpy(points) * mask[..., None], mask, rig)


@pytest.fixture(scope="module")
def ball() -> Mesh:
    return unwrap(sphere(0.8, 4), RESOLUTION)[0]


@pytest.fixture(scope="module")
def baked(ball: Mesh) -> Mesh:
    return bake_views(ball, views_of(ball, named_rig("kiss3dgen")), RESOLUTION)


def texels(mesh: Mesh) -> tuple[torch.Tensor, torch.Tensor]:
    """Whether texels (R, R) are covered, and the world points (K, 3) of those that are."""
    found = rasterise_uv(mesh, RESOLUTION)
    return found.mask, found.interpolate(mesh.vertices, mesh.faces)


def test_seen_texels_have_the_colour_of_their_place(baked: Mesh) -> None:
    mask, points = texels(baked)
    color = baked.materials[0].base_color_texture[mask].float() / 255.0
    seen = points[:, 1].abs() < 0.55
    error = (color - pattern(points)).abs()[seen]
    assert float(error.mean()) < 0.01
    assert float(error.amax(1).quantile(0.99)) < 0.06


def test_unseen_texels_are_completed_from_around_them(baked: Mesh) -> None:
    mask, points = texels(baked)
    color = baked.materials[0].base_color_texture[mask].float() / 255.0
    bottom = points[:, 1] < -0.78
    ring = pattern(points)[(points[:, 1] < -0.6) & (points[:, 1] > -0.77)]
    assert int(bottom.sum()) > 20
    assert bool((color[bottom] > ring.amin(0) - 0.02).all()) and bool((color[bottom] < ring.amax(0) + 0.02).all())


def test_the_normal_map_restores_the_normals_of_the_views(ball: Mesh, baked: Mesh) -> None:
    rig = named_rig("kiss3dgen")
    views = views_of(ball, rig)
    for mesh, limit in ((baked, 2.0), (baked.with_(materials=(), tangents=None), None)):
        rgb, alpha = render_mesh(mesh, rig, 256, 256, "normal", supersample=1)
        normals = decode_normals(rgb, rig)
        inner = torch.nn.functional.avg_pool2d(views.mask[:, None], 41, 1, 20)[:, 0] > 0.999
        cosine = (normals * views.normal).sum(-1).clamp(-1.0, 1.0)[inner & (alpha > 0.99)]
        angle = math.degrees(float(cosine.acos().mean()))
        assert angle < limit if limit else angle > 3.0


def test_texture_space_is_filled_and_the_mesh_keeps_its_shape(ball: Mesh, baked: Mesh) -> None:
    material = baked.materials[0]
    assert material.base_color_texture.shape == material.normal_texture.shape == (RESOLUTION, RESOLUTION, 3)
    assert material.base_color_texture.dtype == torch.uint8
    assert float(material.base_color_texture.float().mean(-1).min()) > 20  # no black gutters
    assert torch.equal(baked.vertices[baked.faces], ball.vertices[ball.faces])
    assert torch.allclose(baked.normals.norm(dim=1), torch.ones(()), atol=1e-5)
    assert baked.tangents.shape == (baked.vertices.shape[0], 4)
    assert ball.materials == () and ball.normals is None


def test_constant_views_give_a_constant_texture(ball: Mesh) -> None:
    views = views_of(ball, named_rig("kiss3dgen"), 128)
    grey = ViewSet(
        torch.where(views.mask[..., None] > 0, 0.25, 1.0).expand_as(views.rgb), views.normal, views.mask, views.rig
    )
    result = bake_views(ball, grey, 128, BakeOptions(normal_map=False))
    assert result.materials[0].normal_texture is None and result.tangents is None
    assert torch.all(result.materials[0].base_color_texture == 64)


def test_coarse_faces_are_completed_within(ball: Mesh) -> None:
    corners = torch.tensor([[(i & 1) - 0.5, (i >> 1 & 1) - 0.5, (i >> 2 & 1) - 0.5] for i in range(8)])
    quads = ((0, 4, 6, 2), (1, 3, 7, 5), (0, 1, 5, 4), (2, 6, 7, 3), (0, 2, 3, 1), (4, 5, 7, 6))
    box = Mesh(corners, torch.tensor([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]))
    flat = unwrap(box, RESOLUTION)[0]
    views = views_of(flat, named_rig("kiss3dgen"))
    mask, points = texels(flat)
    color = bake_views(flat, views, RESOLUTION).materials[0].base_color_texture[mask].float() / 255.0
    front = (points[:, 2] > 0.499) & (points[:, :2].abs().amax(1) < 0.48)
    assert float((color - pattern(points))[front].abs().mean()) < 0.012
    bottom = points[:, 1] < -0.499
    assert float(color[bottom].min()) > 0.05 and float(color[bottom].max()) < 0.95


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a second device")
def test_textures_lie_on_the_cpu_wherever_the_mesh_is(ball: Mesh) -> None:
    views = views_of(ball, named_rig("kiss3dgen"), 128)
    result = bake_views(ball.to("cuda"), views.to("cuda"), 128)
    assert result.vertices.is_cuda
    assert {texture.device.type for texture in result.materials[0].textures.values()} == {"cpu"}


def test_both_backends_bake_alike(ball: Mesh) -> None:
    views = views_of(ball, named_rig("kiss3dgen"), 128)
    one, two = (
        bake_views(ball, views, 128, backend=backend).materials[0].base_color_texture.float()
        for backend in ("numba", "torch")
    )
    assert float(((one - two).abs() > 2).float().mean()) < 0.005


def test_long_edges_are_split_alike_at_seams(ball: Mesh) -> None:
    fine = densify(ball.with_(face_material=torch.arange(ball.faces.shape[0]) % 3), 0.03)
    ends = fine.vertices[fine.faces]
    assert float((ends - ends.roll(1, 1)).norm(dim=-1).max()) <= 0.03
    assert is_watertight(welded_faces(fine))
    assert float(fine.face_normals().norm(dim=1).sum()) == pytest.approx(
        float(ball.face_normals().norm(dim=1).sum()), rel=1e-4
    )
    assert fine.face_material.shape == (fine.faces.shape[0],)
    assert densify(ball, 10.0) is ball


def test_meshes_without_uv_or_faces_are_refused(ball: Mesh) -> None:
    views = views_of(ball, named_rig("kiss3dgen"), 32)
    with pytest.raises(Bundle3DError, match="unwrap"):
        bake_views(sphere(0.8, 2), views, 64)
    with pytest.raises(Bundle3DError, match="empty"):
        bake_views(Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64)), views, 64)
