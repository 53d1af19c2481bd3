"""The split-sum table against specs/kiss3dgen.md section 4, shading in even light, and the shading normal."""

from __future__ import annotations

import math

import pytest
import torch
from bundle3d.pipelines.rendering.environment import Environment
from bundle3d.pipelines.rendering.shading import Surface, sample_lut, shade, shading_normals, split_sum_lut
from torch.nn.functional import normalize

CHECKS = {
    (128, 128): (0.83426, 0.02193),
    (230, 128): (0.52995, 0.00446),
    (60, 40): (0.60369, 0.33397),
    (20, 128): (0.96916, 0.03081),
}
WHITE = Environment(torch.ones(3), torch.zeros(0, 3), torch.zeros(0), torch.zeros(0, 3))


def surface(color: float, metallic: float = 0.0, roughness: float = 0.9, occlusion: float = 1.0) -> Surface:
    def one(value: float) -> torch.Tensor:
        return torch.full((1,), value)

    return Surface(
        torch.full((1, 3), color),
        one(metallic),
        one(roughness),
        one(occlusion),
        torch.zeros(1, 3),
        torch.zeros(1, dtype=torch.bool),
    )


def tilted(degrees: float) -> torch.Tensor:
    angle = math.radians(degrees)
    return torch.tensor(((math.sin(angle), 0.0, math.cos(angle)),))


@pytest.mark.parametrize("place", CHECKS)
def test_table_matches_the_specification(place: tuple[int, int]) -> None:
    assert split_sum_lut()[place].tolist() == pytest.approx(CHECKS[place], abs=5e-4)


def test_table_conserves_energy_and_is_read_at_pixel_centres() -> None:
    table = split_sum_lut()
    assert float(table.min()) >= 0.0
    assert float(table.sum(-1).max()) < 1.001
    scale, bias = sample_lut(torch.tensor((60.5 / 256,)), torch.tensor((40.5 / 256,)))
    assert (float(scale), float(bias)) == pytest.approx(table[60, 40].tolist(), abs=1e-6)
    outside = sample_lut(torch.tensor((2.0, -1.0)), torch.tensor((2.0, -1.0)))
    assert [float(outside[0][0]), float(outside[0][1])] == pytest.approx(
        [float(table[255, 255, 0]), float(table[0, 0, 0])]
    )


def test_even_light_gives_albedo_plus_the_table() -> None:
    a, b = sample_lut(torch.tensor((0.9,)), torch.tensor((1.0,)))
    color = shade(surface(0.5), tilted(0.0), tilted(0.0), WHITE)
    assert color[0].tolist() == pytest.approx([0.5 + 0.04 * float(a) + float(b)] * 3, abs=1e-6)
    metal = shade(surface(0.5, metallic=1.0), tilted(0.0), tilted(0.0), WHITE)
    assert metal[0].tolist() == pytest.approx([0.5 * float(a) + float(b)] * 3, abs=1e-6)
    assert torch.allclose(shade(surface(0.5, occlusion=0.5), tilted(0.0), tilted(0.0), WHITE), color / 2.0)


def test_a_mirror_reflects_about_its_normal() -> None:
    lamp = Environment(torch.zeros(3), tilted(60.0), torch.tensor((400.0,)), torch.ones(1, 3))
    mirror = surface(1.0, metallic=1.0, roughness=0.04)
    hit, missed = (float(shade(mirror, tilted(30.0), tilted(angle), lamp).mean()) for angle in (0.0, 20.0))
    assert hit > 0.8
    assert missed < 0.05


def test_emission_adds_and_unlit_ignores_light() -> None:
    plain = surface(0.5)
    glowing = Surface(**{**plain.__dict__, "emissive": torch.full((1, 3), 0.25)})
    base = shade(plain, tilted(0.0), tilted(0.0), WHITE)
    assert torch.allclose(shade(glowing, tilted(0.0), tilted(0.0), WHITE), base + 0.25)
    unlit = Surface(**{**glowing.__dict__, "unlit": torch.ones(1, dtype=torch.bool)})
    assert shade(unlit, tilted(0.0), tilted(0.0), WHITE)[0].tolist() == [0.5] * 3


def test_normals_turn_to_whoever_looks() -> None:
    front = shading_normals(tilted(20.0), tilted(10.0), tilted(0.0))
    behind = shading_normals(-tilted(20.0), -tilted(10.0), tilted(0.0))
    assert torch.allclose(front, tilted(20.0), atol=1e-6)
    assert torch.allclose(behind, front, atol=1e-6)


def test_normals_that_turn_away_bend_to_the_face() -> None:
    view = tilted(0.0)
    assert torch.allclose(shading_normals(tilted(100.0), tilted(60.0), view), tilted(60.0), atol=1e-6)
    cosine = 0.05
    vertex = tilted(math.degrees(math.acos(cosine)))
    expected = normalize(torch.lerp(tilted(60.0), vertex, 0.5), dim=-1)
    assert torch.allclose(shading_normals(vertex, tilted(60.0), view), expected, atol=1e-4)


def test_a_missing_vertex_normal_becomes_that_of_the_face() -> None:
    assert torch.allclose(shading_normals(torch.zeros(1, 3), 5.0 * tilted(30.0), tilted(0.0)), tilted(30.0), atol=1e-6)
