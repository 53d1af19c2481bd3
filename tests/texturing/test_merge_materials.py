from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.meshes.mesh import Material, Mesh
from bundle3d.pipelines.rendering.texture import sample_texture
from bundle3d.pipelines.texturing.material_images import needed_slots, slot_image
from bundle3d.pipelines.texturing.merge_materials import merge_materials
from bundle3d.pipelines.texturing.rebake import rebake
from bundle3d.pipelines.texturing.unwrap import unwrap
from bundle3d.tests.meshes.shapes import box, sphere


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> torch.Tensor:
    """A random texture that is smooth over a few texels."""
    coarse = torch.rand((1, channels, height // 4, width // 4), generator=torch.Generator().manual_seed(seed))
    fine = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    return (fine[0].permute(1, 2, 0) * 255).to(torch.uint8)


def two_squares(repeats: float = 1.0) -> Mesh:
    """Two unit squares, the second with uv of several tiles."""
    square = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    uv = torch.stack((square[:, 0], 1 - square[:, 1]), 1)
    return Mesh(
        vertices=torch.cat((square, square + torch.tensor([2.0, 0, 0]))),
        faces=torch.tensor([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]]),
        uv=torch.cat((uv, uv * repeats - 5)),
        face_material=torch.tensor([0, 0, 1, 1]),
        materials=(
            Material("a", base_color_texture=noise(64, 32)),
            Material("b", base_color_texture=noise(32, 32, 4, 1)),
        ),
    )


def colors_at(mesh: Mesh, count: int = 200) -> torch.Tensor:
    """(M, count, 3) base colours (sRGB) at fixed points of every face."""
    weights = torch.distributions.Dirichlet(torch.ones(3))
    torch.manual_seed(0)
    share = weights.sample((count,))
    result = []
    for index, face in enumerate(mesh.faces):
        material = mesh.materials[0 if mesh.face_material is None else int(mesh.face_material[index])]
        image = slot_image(material, "base_color_texture").float() / 255
        uv = share @ mesh.uv[face]
        result.append(sample_texture(image, uv, material.repeat)[:, :3])
    return torch.stack(result)


@pytest.mark.parametrize("repeats", [1.0, 3.5])
def test_atlas_shows_the_same_texels(repeats: float) -> None:
    mesh = two_squares(repeats)
    merged = merge_materials(mesh)
    assert len(merged.materials) == 1 and merged.face_material is None
    assert float(merged.uv.min()) >= 0 and float(merged.uv.max()) <= 1
    assert torch.equal(merged.vertices[merged.faces], mesh.vertices[mesh.faces])
    assert float((colors_at(merged) - colors_at(mesh)).abs().max()) < 2e-3


def test_too_many_repeats_are_baked_anew() -> None:
    mesh = two_squares(400.0)
    merged = merge_materials(mesh, 256)
    assert merged.materials[0].base_color_texture.shape == (256, 256, 3)
    first = (colors_at(merged) - colors_at(mesh))[:2].abs()
    assert float(first.mean()) < 0.03


def test_factors_go_into_the_texture() -> None:
    mesh = two_squares()
    materials = (
        Material("a", base_color_factor=(1.0, 0.0, 0.0, 1.0), metallic_factor=1.0, roughness_factor=0.2),
        Material("b", base_color_factor=(0.0, 0.5, 0.0, 1.0), metallic_factor=0.0, roughness_factor=0.8),
    )
    merged = merge_materials(mesh.with_(uv=None, materials=materials))
    material = merged.materials[0]
    assert material.base_color_factor == (1.0, 1.0, 1.0, 1.0) and material.roughness_factor == 1.0
    colors = colors_at(merged)
    assert torch.allclose(colors[0], torch.tensor([1.0, 0.0, 0.0]).expand(200, 3), atol=3e-3)
    assert torch.allclose(colors[3], torch.tensor([0.0, 0.735, 0.0]).expand(200, 3), atol=3e-3)
    orm = sample_texture(material.orm_texture.float() / 255, merged.uv[merged.faces[:, 0]], False)
    assert torch.allclose(orm[0], torch.tensor([1.0, 0.2, 1.0]), atol=3e-3)
    assert torch.allclose(orm[3], torch.tensor([1.0, 0.8, 0.0]), atol=3e-3)


def test_equal_materials_need_no_texture() -> None:
    mesh = two_squares().with_(materials=(Material("a"), Material("b")))
    assert needed_slots(mesh.materials) == ()
    merged = merge_materials(mesh)
    assert len(merged.materials) == 1 and not merged.materials[0].textures and torch.equal(merged.uv, mesh.uv)


def test_one_used_material_stays_as_it_is() -> None:
    mesh = two_squares().with_(face_material=torch.ones(4, dtype=torch.int64))
    merged = merge_materials(mesh)
    assert merged.materials == (mesh.materials[1],) and torch.equal(merged.uv, mesh.uv)


def test_shared_vertices_are_doubled_and_attributes_follow() -> None:
    mesh = box().with_(
        uv=torch.rand((8, 2), generator=torch.Generator().manual_seed(0)),
        colors=torch.rand((8, 3)),
        face_material=torch.arange(12) % 2,
        materials=two_squares().materials,
    )
    merged = merge_materials(mesh)
    assert torch.equal(merged.vertices[merged.faces], mesh.vertices[mesh.faces])
    assert torch.equal(merged.colors[merged.faces], mesh.colors[mesh.faces])
    assert float((colors_at(merged, 50) - colors_at(mesh, 50)).abs().max()) < 2e-3


def test_alpha_of_the_mixture() -> None:
    first = two_squares().materials[0]
    mesh = two_squares().with_(materials=(first, Material("b", base_color_factor=(1, 1, 1, 0.5), alpha_mode="BLEND")))
    material = merge_materials(mesh).materials[0]
    assert material.alpha_mode == "BLEND" and material.base_color_texture.shape[-1] == 4
    assert set(material.base_color_texture[..., 3].unique().tolist()) >= {128, 255}


def test_rebaked_normals_keep_their_direction_in_space() -> None:
    """A constant tilt in the old frames must become the same tilt in space in the new frames."""
    mesh, _ = unwrap(sphere(subdivisions=3), 256)
    tilt = torch.nn.functional.normalize(torch.tensor([0.3, 0.0, 1.0]), dim=0)
    image = ((tilt * 0.5 + 0.5) * 255).round().to(torch.uint8).expand(64, 64, 3).contiguous()
    mesh = mesh.with_(
        materials=(Material(normal_texture=image),), normals=torch.nn.functional.normalize(mesh.vertices, dim=1)
    )
    baked = rebake(
        mesh.with_(face_material=torch.zeros(mesh.faces.shape[0], dtype=torch.int64)), ("normal_texture",), 256
    )
    value = (
        sample_texture(baked.materials[0].normal_texture.float() / 255, baked.uv[baked.faces].mean(1), False) * 2 - 1
    )
    slope = torch.linalg.vector_norm(value[:, :2], dim=1) / value[:, 2]
    assert float((slope - 0.3).abs().median()) < 0.02 and float((slope - 0.3).abs().quantile(0.95)) < 0.06
