"""Textures of fields that are known."""

from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.lrm.mesh import extract_mesh
from bundle3d.pipelines.lrm.texture import texture_from_field
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.rendering.color import linear_to_srgb
from bundle3d.pipelines.texturing.texel_map import rasterise_uv
from bundle3d.tests.lrm.test_mesh import sphere

SIZE = 128


def colors_at(mesh: Mesh) -> tuple[torch.Tensor, torch.Tensor]:
    """The base colour of covered texels in [0, 1], and what the field says of their points."""
    texels = rasterise_uv(mesh, SIZE)
    image = mesh.materials[0].base_color_texture
    assert image is not None and image.shape == (SIZE, SIZE, 3) and image.dtype == torch.uint8
    return image[texels.mask] / 255.0, torch.sigmoid(4 * texels.interpolate(mesh.vertices, mesh.faces)[:, [2, 0, 1]])


@pytest.mark.parametrize("material", [True, False])
def test_texels_show_the_field_in_srgb(material: bool) -> None:
    model, planes = sphere(material=material, resolution=16)
    mesh = texture_from_field(model, planes, extract_mesh(model, planes), SIZE)
    found, expected = colors_at(mesh)
    if material:
        expected = linear_to_srgb(expected)
    torch.testing.assert_close(found, expected, atol=0.01, rtol=0)
    assert mesh.colors is None and mesh.face_material is None
    assert mesh.materials[0].orm_texture is None and mesh.materials[0].metallic_factor == 0.0


def test_uv_that_is_there_stays() -> None:
    model, planes = sphere(resolution=16)
    once = texture_from_field(model, planes, extract_mesh(model, planes), SIZE)
    again = texture_from_field(model, planes, once, SIZE)
    assert once.uv is not None and again.uv is not None
    assert torch.equal(once.uv, again.uv) and torch.equal(once.faces, again.faces)


def test_normals_are_smooth_across_seams() -> None:
    model, planes = sphere(resolution=32)
    mesh = texture_from_field(model, planes, extract_mesh(model, planes), SIZE)
    assert mesh.normals is not None
    assert float((mesh.normals * mesh.vertices / 0.6).sum(1).min()) > 0.97


def test_the_predicted_material_is_baked_where_wanted() -> None:
    model, planes = sphere(resolution=16)
    model.decoder.net_material[-1].bias.copy_(torch.tensor((-2.0, 1.0)))
    textured = texture_from_field(model, planes, extract_mesh(model, planes), SIZE, material=True)
    baked = textured.materials[0]
    assert baked.orm_texture is not None and (baked.metallic_factor, baked.roughness_factor) == (1.0, 1.0)
    found = baked.orm_texture[rasterise_uv(textured, SIZE).mask].unique(dim=0)
    assert found.tolist() == [[255, round(255 * (0.731059 * 0.9984 + 0.0016)), round(255 * 0.119203)]]


def test_a_material_that_the_model_does_not_know_is_refused() -> None:
    model, planes = sphere(material=False, resolution=16)
    with pytest.raises(Bundle3DError, match="switch the material off"):
        texture_from_field(model, planes, extract_mesh(model, planes), SIZE, material=True)


def test_it_may_be_cancelled_between_chunks() -> None:
    model, planes = sphere(resolution=16)
    reports: list[int] = []

    def cancel(done: int, total: int, preview: object = None) -> None:
        reports.append(done)
        if done > 40:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        texture_from_field(model, planes, extract_mesh(model, planes), SIZE, progress=cancel)
    assert reports == sorted(reports)
