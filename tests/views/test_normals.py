"""The normal encoding against the matrices and colours of specs/kiss3dgen.md 1.3 and 1.4."""

from __future__ import annotations

import math

import pytest
import torch
from bundle3d.pipelines.views.normals import decode_normals, encode_normals, mask_from_normals
from bundle3d.pipelines.views.rig import Rig, named_rig
from hypothesis import given, settings
from hypothesis import strategies as st

C, S = math.cos(math.radians(5.0)), math.sin(math.radians(5.0))
DECODE = {
    0: [[-1, 0, 0], [0, C, S], [0, -S, C]],
    90: [[0, -S, C], [0, C, S], [1, 0, 0]],
    180: [[1, 0, 0], [0, C, S], [0, S, -C]],
    270: [[0, S, -C], [0, C, S], [-1, 0, 0]],
}


def rig_of_one(view: int) -> Rig:
    return Rig((named_rig("kiss3dgen")[view],))


@pytest.mark.parametrize(("view", "azimuth"), list(enumerate(DECODE)))
def test_decoding_matrix_matches_the_specification(view: int, azimuth: int) -> None:
    axes = torch.eye(3, dtype=torch.float64).reshape(1, 1, 3, 3)
    columns = decode_normals((axes + 1.0) / 2.0, rig_of_one(view))[0, 0].T
    assert torch.allclose(columns, torch.tensor(DECODE[azimuth], dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize("view", range(4))
def test_golden_colours_of_a_wall_and_a_top(view: int) -> None:
    camera = named_rig("kiss3dgen")[view]
    toward = camera.rotation()[2]
    wall = torch.tensor((float(toward[0]), 0.0, float(toward[2])), dtype=torch.float64) / C
    top = torch.tensor((0.0, 1.0, 0.0), dtype=torch.float64)
    colors = encode_normals(torch.stack((wall, top)).reshape(1, 1, 2, 3), rig_of_one(view)) * 255.0
    assert colors.round().int().tolist() == [[[[128, 116, 255], [128, 255, 139]]]]


@pytest.mark.parametrize("view", range(4))
def test_red_grows_to_the_image_left(view: int) -> None:
    left = -named_rig("kiss3dgen")[view].rotation()[0]
    color = encode_normals(left.reshape(1, 1, 1, 3), rig_of_one(view))
    assert color.flatten().tolist() == pytest.approx((1.0, 0.5, 0.5))


@given(st.integers(0, 2**31 - 1), st.sampled_from(["kiss3dgen", "zero123plus", "cube6"]))
@settings(max_examples=30, deadline=None)
def test_eight_bits_keep_normals_to_half_a_degree(seed: int, name: str) -> None:
    rig = named_rig(name)
    normals = torch.randn(len(rig), 4, 5, 3, generator=torch.Generator().manual_seed(seed))
    normals = torch.nn.functional.normalize(normals, dim=-1)
    colors = (encode_normals(normals, rig) * 255.0).round() / 255.0
    assert float(mask_from_normals(colors).min()) == 1.0
    cosine = (decode_normals(colors, rig) * normals).sum(-1).clamp(-1.0, 1.0)
    assert float(torch.rad2deg(torch.acos(cosine.double())).max()) < 0.5


def test_white_is_background_and_any_unit_normal_is_not() -> None:
    assert float(mask_from_normals(torch.ones(1, 2, 2, 3)).max()) == 0.0
    diagonal = torch.full((1, 1, 1, 3), (1.0 + 1.0 / math.sqrt(3.0)) / 2.0)
    assert float(mask_from_normals(diagonal)) == 1.0
