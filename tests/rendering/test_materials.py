"""Textures and factors as glTF means them."""

from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.meshes.mesh import Material
from bundle3d.pipelines.rendering import buffers as buffers_module
from bundle3d.pipelines.rendering import mipmaps
from bundle3d.pipelines.rendering.color import srgb_to_linear
from bundle3d.pipelines.rendering.materials import MaterialSampler, Points
from bundle3d.pipelines.rendering.mipmaps import Texture
from bundle3d.pipelines.rendering.render_mesh import iterate_buffers, render_mesh

from .scenes import FRONT, stack, wall

CPU = torch.device("cpu")


def image(height: int, width: int, channels: int = 3, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (height, width, channels), generator=generator).byte()


def solid(*color: int) -> torch.Tensor:
    return torch.tensor(color, dtype=torch.uint8).expand(4, 4, len(color))


def test_texel_centres_give_texels_in_linear_light() -> None:
    texture = image(3, 5)
    uv = torch.tensor(((0.5 / 5, 0.5 / 3), (4.5 / 5, 2.5 / 3)))
    found = Texture(texture, True, True, CPU).sample(uv, torch.zeros(2))
    expected = srgb_to_linear(torch.stack((texture[0, 0], texture[2, 4])).float() / 255.0)
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("repeat", [True, False])
def test_edges_wrap_or_clamp(repeat: bool) -> None:
    texture = image(2, 4)
    linear = texture.float() / 255.0
    sampler = Texture(texture, False, repeat, CPU)
    found = sampler.sample(torch.tensor(((1.0, 0.25), (2.125, 0.25))), torch.zeros(2))
    assert torch.allclose(found[0], (linear[0, 3] + linear[0, 0]) / 2.0 if repeat else linear[0, 3], atol=1e-5)
    assert torch.allclose(found[1], linear[0, 0] if repeat else linear[0, 3], atol=1e-5)


def test_far_away_a_texture_is_its_mean() -> None:
    texture = image(64, 64)
    found = Texture(texture, False, True, CPU).sample(torch.rand(9, 2), torch.full((9,), 8.0))
    assert torch.allclose(found, (texture.float() / 255.0).mean(dim=(0, 1)).expand(9, 3), atol=1e-4)


@pytest.mark.parametrize("size", [(64, 32), (33, 17), (2, 5), (1, 6)])
def test_textures_are_decoded_in_strips(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    uv, step = torch.rand(50, 2, generator=torch.Generator().manual_seed(0)), torch.full((50,), 0.1)
    whole = Texture(image(*size), True, True, CPU, "torch").sample(uv, step)
    monkeypatch.setattr(mipmaps, "TEXELS_PER_STRIP", 3 * size[1])
    decoded = []
    original = Texture._decoded
    monkeypatch.setattr(Texture, "_decoded", lambda self, texels: decoded.append(len(texels)) or original(self, texels))
    strips = Texture(image(*size), True, True, CPU, "torch")
    strips.pyramid()
    assert max(decoded) <= 7
    assert torch.allclose(strips.sample(uv, step), whole, atol=1e-6)


@pytest.mark.parametrize("repeat", [True, False])
@pytest.mark.parametrize("size", [(64, 32), (33, 17), (2, 5), (1, 1)])
def test_the_compiled_lookup_agrees(size: tuple[int, int], repeat: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    uv = torch.rand(400, 2, generator=generator) * 4.0 - 1.5
    step = 2.0 ** (torch.rand(400, generator=generator) * 12.0 - 10.0)
    plain, compiled = (
        Texture(image(*size, 4), True, repeat, CPU, backend).sample(uv, step) for backend in ("torch", "numba")
    )
    assert torch.allclose(plain, compiled, atol=1e-4)


def test_places_that_are_not_finite_give_some_colour() -> None:
    uv = torch.tensor(((float("nan"), 0.5), (float("inf"), 0.5)))
    assert bool(torch.isfinite(Texture(image(4, 4), True, True, CPU, "numba").sample(uv, torch.zeros(2))).all())


def test_alpha_is_not_taken_for_light() -> None:
    found = Texture(solid(128, 128, 128, 128), True, True, CPU).sample(torch.rand(3, 2), torch.zeros(3))
    assert found[0].tolist() == pytest.approx([0.2158605] * 3 + [128 / 255], abs=1e-5)


def test_factors_multiply_textures_and_vertex_colours() -> None:
    material = Material(
        base_color_factor=(0.5, 1.0, 1.0, 1.0),
        metallic_factor=0.5,
        roughness_factor=0.25,
        emissive_factor=(0.0, 0.0, 2.0),
        base_color_texture=solid(255, 255, 255),
        orm_texture=solid(51, 204, 102),
        emissive_texture=solid(0, 0, 255),
        has_occlusion=True,
        occlusion_strength=0.5,
    )
    mesh = wall(material=material).with_(colors=torch.tensor((1.0, 0.5, 1.0)).expand(4, 3))
    points = Points(torch.zeros(2, dtype=torch.int64), torch.full((2, 3), 1 / 3), torch.zeros(2))
    surface, opacity, bump = MaterialSampler(mesh).sample(points)
    assert surface.base_color[0].tolist() == pytest.approx((0.5, 0.5, 1.0))
    assert float(surface.metallic[0]) == pytest.approx(0.5 * 0.4)
    assert float(surface.roughness[0]) == pytest.approx(0.25 * 0.8)
    assert float(surface.occlusion[0]) == pytest.approx(0.6)
    assert surface.emissive[0].tolist() == pytest.approx((0.0, 0.0, 2.0))
    assert opacity.tolist() == [1.0, 1.0]
    assert bump[0].tolist() == [0.0, 0.0, 1.0]


def test_red_of_the_orm_texture_may_mean_nothing() -> None:
    mesh = wall(material=Material(orm_texture=solid(0, 255, 255), metallic_factor=1.0))
    points = Points(torch.zeros(1, dtype=torch.int64), torch.full((1, 3), 1 / 3), torch.zeros(1))
    assert float(MaterialSampler(mesh).sample(points)[0].occlusion) == 1.0


def test_the_first_row_of_a_texture_is_on_top_of_its_v() -> None:
    texture = torch.zeros(2, 2, 3, dtype=torch.uint8)
    texture[0, 0], texture[0, 1] = torch.tensor((255, 0, 0)), torch.tensor((0, 255, 0))
    texture[1, 0] = torch.tensor((0, 0, 255))
    mesh = wall(material=Material(base_color_texture=texture, repeat=False))
    rgb, _ = render_mesh(mesh, FRONT, 16, 16, "unlit")
    corners = rgb[0, [1, 1, 14, 14], [1, 14, 1, 14]]
    assert corners.round().tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]


def test_each_face_has_its_own_material() -> None:
    mesh = wall(material=Material(base_color_factor=(1.0, 0.0, 0.0, 1.0)))
    mesh = mesh.with_(
        materials=(*mesh.materials, Material(base_color_factor=(0.0, 0.0, 1.0, 1.0))),
        face_material=torch.tensor((0, 1)),
    )
    rgb, _ = render_mesh(mesh, FRONT, 16, 16, "unlit")
    assert rgb[0, 14, 1].tolist() == pytest.approx((1.0, 0.0, 0.0))
    assert rgb[0, 1, 14].tolist() == pytest.approx((0.0, 0.0, 1.0))


def test_half_transparent_blends_with_what_is_behind() -> None:
    glass = Material(base_color_factor=(1.0, 0.0, 0.0, 0.5), alpha_mode="BLEND")
    behind = Material(base_color_factor=(0.0, 0.0, 1.0, 1.0))
    buffers = next(iterate_buffers(stack(wall(0.5, material=glass), wall(0.0, material=behind)), FRONT, 8, 8, "unlit"))
    assert buffers.color[4, 4].tolist() == pytest.approx((0.5, 0.0, 0.5))
    assert float(buffers.alpha.min()) == pytest.approx(1.0)
    alone = next(iterate_buffers(stack(wall(0.5, material=glass)), FRONT, 8, 8, "unlit"))
    assert alone.color[4, 4].tolist() == pytest.approx((1.0, 0.0, 0.0))
    assert float(alone.alpha.max()) == pytest.approx(0.5)


def test_several_panes_add_up() -> None:
    glass = Material(base_color_factor=(1.0, 1.0, 1.0, 0.5), alpha_mode="BLEND")
    panes = stack(*(wall(depth / 4.0, material=glass) for depth in range(4)))
    alpha = next(iterate_buffers(panes, FRONT, 4, 4, "unlit")).alpha
    assert float(alpha[2, 2]) == pytest.approx(1.0 - 0.5**4, abs=1e-5)


def test_what_shows_beside_a_pane_also_shows_through_it(monkeypatch: pytest.MonkeyPatch) -> None:
    glass = Material(base_color_factor=(1.0, 1.0, 1.0, 0.5), alpha_mode="BLEND")
    panes = stack(wall(0.5, 0.5, glass), wall(0.25, material=glass), wall(0.0, 0.25, glass))
    alpha = next(iterate_buffers(panes, FRONT, 16, 16, "unlit")).alpha
    assert alpha[8, [0, 5, 8]].tolist() == pytest.approx((0.5, 0.75, 0.875), abs=1e-5)
    monkeypatch.setattr(buffers_module, "SAMPLES_PER_BAND", 16 * 4 * 3)
    assert torch.allclose(next(iterate_buffers(panes, FRONT, 16, 16, "unlit")).alpha, alpha)


def test_cut_outs_show_what_is_behind() -> None:
    holes = torch.full((2, 2, 4), 255, dtype=torch.uint8)
    holes[0, 0, 3] = 0
    leaf = Material(base_color_texture=holes, base_color_factor=(0.0, 1.0, 0.0, 1.0), alpha_mode="MASK", repeat=False)
    behind = Material(base_color_factor=(0.0, 0.0, 1.0, 1.0))
    rgb, alpha = render_mesh(stack(wall(0.5, material=leaf), wall(0.0, material=behind)), FRONT, 16, 16, "unlit")
    assert rgb[0, 2, 2].tolist() == pytest.approx((0.0, 0.0, 1.0))
    assert rgb[0, 13, 13].tolist() == pytest.approx((0.0, 1.0, 0.0))
    assert float(alpha.min()) == 1.0


def test_opaque_materials_ignore_alpha() -> None:
    material = Material(base_color_texture=solid(255, 255, 255, 0))
    assert float(render_mesh(wall(material=material), FRONT, 4, 4, "unlit")[1].min()) == 1.0


@pytest.mark.parametrize("away", [False, True])
def test_normal_maps_tilt_toward_growing_u_and_up(away: bool) -> None:
    tilt = Material(normal_texture=solid(204, 204, 204))
    normal = next(iterate_buffers(wall(material=tilt, away=away), FRONT, 4, 4, "normal")).normal[2, 2]
    if away:
        # From behind, the same bumps lean the same way along the surface and the normal faces the viewer.
        normal = normal * torch.tensor((-1.0, -1.0, 1.0))
    assert normal.tolist() == pytest.approx([3**-0.5] * 3, abs=5e-3)
