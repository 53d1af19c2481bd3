from __future__ import annotations

from typing import Any

import pytest
import torch
from bundle3d.pipelines.diffusion import autoencoder
from bundle3d.pipelines.diffusion.autoencoder import decode_latents, encode_image
from bundle3d.pipelines.diffusion.holder import Resident
from bundle3d.tests.support.tiny_flux import LATENT_CHANNELS, tiny_vae
from diffusers import AutoencoderKL

IMAGE = torch.rand(64, 96, 3, generator=torch.Generator().manual_seed(0))
LATENTS = torch.randn(1, LATENT_CHANNELS, 24, 20, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autoencoder, "TILES", (None, 128, 64))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def test_latents_are_shifted_and_scaled_samples() -> None:
    vae = tiny_vae()
    latents = encode_image(Resident(vae), IMAGE, generator())
    sample = vae.encode(IMAGE.movedim(-1, 0)[None] * 2 - 1).latent_dist.sample(generator())
    torch.testing.assert_close(latents, (sample - 0.1159) * 0.3611)
    assert latents.shape == (1, LATENT_CHANNELS, 8, 12)
    assert not torch.equal(latents, encode_image(Resident(vae), IMAGE, generator(1)))


@torch.no_grad()
def test_decoding_undoes_shift_and_scale() -> None:
    vae = tiny_vae()
    image = decode_latents(Resident(vae), LATENTS)
    expected = vae.decode(LATENTS / 0.3611 + 0.1159).sample[0].movedim(0, -1) / 2 + 0.5
    torch.testing.assert_close(image, expected.clamp(0, 1))
    assert image.shape == (192, 160, 3)


@torch.no_grad()
def test_a_vae_without_shift_is_used_without_one() -> None:
    vae = tiny_vae(shift_factor=None)
    latents = encode_image(Resident(vae), IMAGE, generator())
    sample = vae.encode(IMAGE.movedim(-1, 0)[None] * 2 - 1).latent_dist.sample(generator())
    torch.testing.assert_close(latents, sample * 0.3611)


def within(vae: AutoencoderKL, pixels: int, error: Exception) -> list[int]:
    """Makes the decoder and the encoder fail on more than ``pixels``; returns the sizes that they are tried with."""
    sizes: list[int] = []

    def limited(part: torch.nn.Module, side: int) -> None:
        run = part.forward

        def forward(x: torch.Tensor, *rest: Any) -> torch.Tensor:
            sizes.append(x.shape[-1] * x.shape[-2] * side**2)
            if sizes[-1] > pixels:
                raise error
            return run(x, *rest)

        part.forward = forward

    limited(vae.decoder, 8)
    limited(vae.encoder, 1)
    return sizes


OUT_OF_MEMORY = [
    torch.cuda.OutOfMemoryError("CUDA out of memory."),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("MPS backend out of memory"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["CUDA", "Python", "CPU", "MPS"])
@torch.no_grad()
def test_out_of_memory_is_answered_by_tiles(error: Exception) -> None:
    vae = tiny_vae()
    whole = decode_latents(Resident(vae), LATENTS)
    sizes = within(vae, 128 * 128, error)
    tiled = decode_latents(Resident(vae), LATENTS)
    assert sizes[0] == 192 * 160
    assert max(sizes[1:]) == 128 * 128
    assert tiled.shape == whole.shape
    assert float((tiled - whole).abs().mean()) < 0.02
    assert not vae.use_tiling


@torch.no_grad()
def test_tiles_shrink_until_they_fit() -> None:
    vae = tiny_vae()
    sizes = within(vae, 64 * 64, MemoryError())
    assert decode_latents(Resident(vae), LATENTS).shape == (192, 160, 3)
    assert sizes[:2] == [192 * 160, 128 * 128]
    assert max(sizes[2:]) == 64 * 64


@torch.no_grad()
def test_encoding_is_tiled_too() -> None:
    vae = tiny_vae()
    image = torch.rand(160, 192, 3, generator=generator())
    whole = encode_image(Resident(vae), image, generator())
    sizes = within(vae, 128 * 128, MemoryError())
    tiled = encode_image(Resident(vae), image, generator())
    assert max(sizes[1:]) == 128 * 128
    assert float((tiled - whole).abs().mean()) < 0.1 * float(whole.std())


@torch.no_grad()
def test_what_does_not_fit_at_all_is_told() -> None:
    vae = tiny_vae()
    within(vae, 100, MemoryError("nothing fits"))
    with pytest.raises(MemoryError, match="nothing fits"):
        decode_latents(Resident(vae), LATENTS)
    assert not vae.use_tiling


@torch.no_grad()
def test_other_failures_are_not_retried() -> None:
    vae = tiny_vae()
    sizes = within(vae, 100, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        decode_latents(Resident(vae), LATENTS)
    assert len(sizes) == 1
