"""Pixal3D-D on a card: nothing is left on the CPU, and nothing that cards lack is asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from bundle3d.pipelines.pixal3d.direct3d_s2 import sdf_decoder
from bundle3d.pipelines.pixal3d.direct3d_s2.conditioning import condition_voxels, see
from bundle3d.pipelines.pixal3d.direct3d_s2.draw import MeshRequest, draw_mesh
from bundle3d.pipelines.pixal3d.direct3d_s2.fit_scale import fit_scale
from bundle3d.tests.pixal3d.direct3d_s2.make_small import random_places, small_models
from bundle3d.tests.pixal3d.direct3d_s2.test_draw import picture
from bundle3d.tests.support.pretended_card import CARD, CPU, PretendedCard, on_card

PLACES = random_places(40, 8)


@pytest.fixture(autouse=True)
def pretending() -> Iterator[None]:
    with torch.inference_mode(), PretendedCard():
        yield


@pytest.mark.parametrize(("dtype", "whole"), [(torch.float32, 4096), (torch.bfloat16, 8)], ids=str)
def test_a_fine_mesh_is_drawn(dtype: torch.dtype, whole: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdf_decoder, "WHOLE", whole)  # voxels beyond which it is decoded piece by piece
    monkeypatch.setattr(sdf_decoder, "PIECE", 4)
    drawn = draw_mesh(on_card(small_models(), dtype), picture(), MeshRequest(seed=1))
    assert drawn.resolution == 64 and len(drawn.voxels) == 2
    assert len(drawn.mesh.faces) > 1000 and drawn.mesh.vertices.device == CPU


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_scale_is_fitted(dtype: torch.dtype) -> None:
    models = on_card(small_models(scale_flow=small_models().structure.flow), dtype)
    assert fit_scale(models, picture(0.5), 0).mesh_scale == 0.5  # noise is everywhere, so there is no room to grow into


@pytest.mark.parametrize("encoder", [CARD, CPU], ids=str)
@pytest.mark.parametrize("upsampler", [CARD, CPU, None], ids=str)
def test_a_picture_is_seen_on_the_device_of_the_encoder(encoder: torch.device, upsampler: torch.device | None) -> None:
    models = small_models()
    encoders = {CPU: models.encoder, CARD: on_card(models.encoder, torch.float32)}
    upsamplers = {None: None, CPU: models.upsampler, CARD: on_card(models.upsampler, torch.float32)}
    truth = condition_voxels(see(encoders[CPU], picture()), PLACES, 8, upsamplers[upsampler and CPU])
    found = condition_voxels(see(encoders[encoder], picture()), PLACES, 8, upsamplers[upsampler])
    assert found.tokens.device.type == found.projected.device.type == encoder.type
    torch.testing.assert_close(found.tokens.cpu(), truth.tokens)
    torch.testing.assert_close(found.projected.cpu(), truth.projected, atol=1e-5, rtol=1e-4)
