from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.multiview import draw
from bundle3d.pipelines.multiview.conditioning import ViewConditioning
from bundle3d.pipelines.multiview.draw import ViewRequest, draw_views, sample, scaled_latents, unscaled_latents
from bundle3d.pipelines.multiview.models import MultiviewModels
from bundle3d.pipelines.multiview.view_grid import named_grid
from bundle3d.pipelines.progress import Preview
from bundle3d.tests.support.tiny_zero123plus import CROP, SCHEDULER, TOKENS, WIDTH, tiny_multiview_models, tiny_sd_vae
from diffusers import EulerAncestralDiscreteScheduler

IMAGE = torch.rand(40, 48, 3, generator=torch.Generator().manual_seed(7))
REQUEST = ViewRequest(IMAGE, steps=3, seed=3)


@pytest.fixture(scope="module")
def models() -> MultiviewModels:
    return tiny_multiview_models()


def test_the_picture_has_the_tiles_that_the_model_was_made_for(models: MultiviewModels) -> None:
    four = draw_views(models, replace(REQUEST, steps=1))
    six = draw_views(models, replace(REQUEST, steps=1, grid=named_grid("zero123plus")))
    assert four.shape == (2 * CROP, 2 * CROP, 3) and six.shape == (3 * 16, 2 * 16, 3)  # 5/8 of 32, in eights
    assert draw_views(models, replace(REQUEST, steps=1, tile=16)).shape == (32, 32, 3)
    assert four.dtype == torch.float32 and 0 <= float(four.min()) < float(four.max()) <= 1


def test_the_seed_decides_and_the_global_generator_does_not(models: MultiviewModels) -> None:
    torch.manual_seed(1)
    first = draw_views(models, REQUEST)
    torch.manual_seed(2)
    assert torch.equal(draw_views(models, REQUEST), first)
    assert not torch.allclose(draw_views(models, replace(REQUEST, seed=0)), first, atol=1e-3)
    assert torch.equal(REQUEST.image, torch.rand(40, 48, 3, generator=torch.Generator().manual_seed(7)))


def test_the_photo_and_the_guidance_change_the_views(models: MultiviewModels) -> None:
    drawn = draw_views(models, REQUEST)
    for other in (replace(REQUEST, image=1 - IMAGE), replace(REQUEST, guidance=7.0), replace(REQUEST, guidance=1.0)):
        assert not torch.allclose(draw_views(models, other), drawn, atol=1e-4)


def test_guidance_goes_on_from_nothing_through_the_photo(
    models: MultiviewModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One step to noise level 0 ends at the foreseen latents, which are linear in the prediction."""
    conditioning = ViewConditioning(torch.zeros(2, TOKENS, WIDTH), torch.zeros(2, 4, 4, 4))
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    constant = torch.stack([torch.full((4, 8, 8), 0.25), torch.full((4, 8, 8), 1.0)])
    monkeypatch.setattr(draw, "_predict", lambda *inputs: constant)
    request = ViewRequest(IMAGE, steps=1, guidance=4.0)
    latents = sample(models, conditioning, noise, request, torch.Generator().manual_seed(0))
    sigma = trailing_sigmas(1)[0]
    expected = noise * sigma / (sigma**2 + 1) - (0.25 + 4 * 0.75) * sigma / (sigma**2 + 1) ** 0.5
    torch.testing.assert_close(latents, expected.float(), rtol=1e-4, atol=1e-4)


def trailing_sigmas(steps: int) -> torch.Tensor:
    """Noise levels of linear betas at the last of each of ``steps`` equal spans of 1000."""
    betas = np.linspace(0.00085, 0.012, 1000)
    kept = np.cumprod(1 - betas)
    indices = np.round(np.arange(1000, 0, -1000 / steps)).astype(int) - 1
    return torch.from_numpy(np.sqrt((1 - kept[indices]) / kept[indices]))


def test_the_schedule_is_linear_v_prediction_with_trailing_steps() -> None:
    stock = EulerAncestralDiscreteScheduler.from_config(SCHEDULER)
    stock.set_timesteps(50)
    assert stock.timesteps[:2].tolist() == [999, 979] and stock.timesteps[-1] == 19
    torch.testing.assert_close(stock.sigmas[:-1].double(), trailing_sigmas(50), rtol=1e-4, atol=1e-5)
    assert float(trailing_sigmas(50)[0]) == pytest.approx(24.9, abs=0.5)


def test_the_sampler_is_euler_with_fresh_noise(models: MultiviewModels, monkeypatch: pytest.MonkeyPatch) -> None:
    conditioning = ViewConditioning(torch.zeros(1, TOKENS, WIDTH), torch.full((1, 4, 4, 4), 2.0))
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def network(unet: object, latents: torch.Tensor, reference: torch.Tensor, *rest: object) -> torch.Tensor:
        seen.append((latents, reference))
        return 0.3 * latents

    monkeypatch.setattr(draw, "_predict", network)
    result = sample(models, conditioning, noise.float(), ViewRequest(IMAGE, steps=4), torch.Generator().manual_seed(5))

    sigmas = [*trailing_sigmas(4).tolist(), 0.0]
    generator = torch.Generator().manual_seed(5)
    state = noise * sigmas[0]
    for index, (now, after) in enumerate(itertools.pairwise(sigmas)):
        scaled = state / (now**2 + 1) ** 0.5
        fresh = torch.randn(1, 4, 4, 4, generator=generator)
        torch.testing.assert_close(seen[index][0].double(), scaled, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(seen[index][1], (2.0 + now * fresh) / (now**2 + 1) ** 0.5, rtol=1e-4, atol=1e-4)
        clean = state / (now**2 + 1) - 0.3 * scaled * now / (now**2 + 1) ** 0.5
        up = min(after, (after**2 * (now**2 - after**2) / now**2) ** 0.5)
        down = (after**2 - up**2) ** 0.5
        state = state + (state - clean) / now * (down - now)
        state = state + up * torch.randn(1, 4, 8, 8, generator=generator)
    torch.testing.assert_close(result.double(), state, rtol=1e-3, atol=1e-3)


def test_the_ranges_of_latents_and_colours(models: MultiviewModels, monkeypatch: pytest.MonkeyPatch) -> None:
    latents = torch.tensor([-1.0, 0.0, 0.22, 3.0])
    assert unscaled_latents(torch.tensor([0.75]))[0] == pytest.approx(1.22)
    torch.testing.assert_close(unscaled_latents(scaled_latents(latents)), latents)
    # The VAE's own pixels of 0.625 are white, its zeros are grey, whatever it is asked to decode.
    decoded: list[torch.Tensor] = []

    def decode(vae: object, latents: torch.Tensor) -> torch.Tensor:
        decoded.append(latents)
        return torch.tensor([0.625, 0.0, -0.3125]).reshape(1, 3, 1, 1).expand(1, 3, 64, 64)

    monkeypatch.setattr(draw, "decode_pixels", decode)
    monkeypatch.setattr(draw, "sample", lambda *arguments: torch.zeros(1, 4, 8, 8))
    assert draw_views(models, REQUEST)[5, 5].tolist() == pytest.approx([1.0, 0.5, 0.25])
    assert float(decoded[0].unique()) == pytest.approx(0.22)


def test_progress_counts_up_shows_previews_and_cancels(models: MultiviewModels) -> None:
    calls: list[tuple[int, int]] = []
    pictures: list[torch.Tensor] = []

    def watch(done: int, total: int, preview: Preview | None = None) -> None:
        calls.append((done, total))
        if preview is not None:
            pictures.append(preview())

    drawn = draw_views(models, REQUEST, watch)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert calls[0] == (0, 5) and calls[-1] == (5, 5) and len(pictures) == 4
    assert pictures[0].shape == (8, 8, 3) and torch.equal(pictures[-1], drawn)

    class CancelledError(Exception):
        pass

    def cancel(done: int, total: int, preview: Preview | None = None) -> None:
        if done == 2:
            raise CancelledError

    with pytest.raises(CancelledError):
        draw_views(models, REQUEST, cancel)


def test_refusals(models: MultiviewModels) -> None:
    for wrong, words in (
        (replace(REQUEST, tile=20), "multiple of 8 pixels, but got 20"),
        (replace(REQUEST, steps=0), "at least 1 step"),
        (replace(REQUEST, image=torch.zeros(4, 4, 4)), r"shape \(height, width, 3\)"),
        (replace(REQUEST, image=torch.full((4, 4, 3), float("nan"))), "NaN"),
    ):
        with pytest.raises(Bundle3DError, match=words):
            draw_views(models, wrong)
    with pytest.raises(Bundle3DError, match="number of ramping coefficients to be 7"):
        tiny_multiview_models(ramp=(1.0,))
    with pytest.raises(Bundle3DError, match="latent channels"):
        tiny_multiview_models(vae=tiny_sd_vae().__class__(latent_channels=8))
