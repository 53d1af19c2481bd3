from __future__ import annotations

import torch
from bundle3d.pipelines.diffusion.latents import image_ids, pack, text_ids, unpack
from diffusers import FluxPipeline

LATENTS = torch.arange(2 * 16 * 6 * 10).float().reshape(2, 16, 6, 10)


def test_a_token_is_a_square_of_two_by_two() -> None:
    tokens = pack(LATENTS)
    assert tokens.shape == (2, 15, 64)
    row, column = 1, 3
    square = LATENTS[:, :, 2:4, 6:8]
    torch.testing.assert_close(tokens[:, row * 5 + column], square.reshape(2, 64))


def test_layout_is_that_of_diffusers() -> None:
    torch.testing.assert_close(pack(LATENTS), FluxPipeline._pack_latents(LATENTS, 2, 16, 6, 10))
    stock = FluxPipeline._prepare_latent_image_ids(1, 3, 5, torch.device("cpu"), torch.float32)
    torch.testing.assert_close(image_ids(3, 5), stock)


def test_unpack_undoes_pack() -> None:
    torch.testing.assert_close(unpack(pack(LATENTS), 3, 5), LATENTS)


def test_a_bundle_of_full_size_has_8192_tokens() -> None:
    assert pack(torch.empty(1, 16, 128, 256, device="meta")).shape == (1, 8192, 64)
    ids = image_ids(64, 128)
    assert ids.shape == (8192, 3)
    assert ids[-1].tolist() == [0, 63, 127]
    assert not text_ids(512).any()
