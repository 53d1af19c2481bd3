"""From pictures to latents and back, in parts where memory is short."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import torch

from .holder import Holder
from .memory import is_out_of_memory

logger = logging.getLogger(__name__)

TILES = (None, 512, 256)  # side in pixels of what is worked on at once; None is the whole picture
LIVE_MAPS = 18  # upper estimate of feature maps of picture size and the least width that exist at once


def encode_image(vae: Holder, image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Latents (1, C, H/8, W/8) as the transformer takes them, for an (H, W, 3) picture in [0, 1].

    A sample of the encoder's distribution, shifted and scaled by the VAE's own constants. Its noise comes from
    ``generator``, a CPU generator, so that every device draws the same. Float32, on the CPU.
    """
    mean, deviation = encode_pixels(vae, image.movedim(-1, 0)[None] * 2 - 1)
    latents = mean + deviation * torch.randn(mean.shape, generator=generator)
    config = vae.module.config
    return (latents - (config.shift_factor or 0.0)) * config.scaling_factor


def encode_pixels(vae: Holder, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation (B, C, H/8, W/8) of the encoder's distribution for pixels (B, 3, H, W), around -1 to 1.

    Neither shifted nor scaled; float32, on the CPU.
    """
    pixels = pixels.to(vae.compute_device, vae.compute_dtype)
    moments = _within_memory(vae, pixels.shape[-2] * pixels.shape[-1], lambda m: m.encode(pixels).latent_dist)
    return moments.mean.float().cpu(), moments.std.float().cpu()


def decode_latents(vae: Holder, latents: torch.Tensor) -> torch.Tensor:
    """The (H, W, 3) float32 picture in [0, 1], on the CPU, that (1, C, H/8, W/8) latents stand for."""
    return (decode_pixels(vae, latents)[0].movedim(0, -1) / 2 + 0.5).clamp(0, 1)


def decode_pixels(vae: Holder, latents: torch.Tensor) -> torch.Tensor:
    """Pixels (B, 3, H, W), around -1 to 1 and not clamped, of latents (B, C, H/8, W/8); float32, on the CPU."""
    config = vae.module.config
    unscaled = latents / config.scaling_factor + (config.shift_factor or 0.0)
    unscaled = unscaled.to(vae.compute_device, vae.compute_dtype)
    pixels = latents.shape[-2] * latents.shape[-1] * spatial_factor(vae) ** 2
    decoded: torch.Tensor = _within_memory(vae, pixels, lambda module: module.decode(unscaled).sample)
    return decoded.float().cpu()


def spatial_factor(vae: Holder) -> int:
    """Pixels along the side of one latent: 8 for FLUX."""
    return int(2 ** (len(vae.module.config.block_out_channels) - 1))


def _within_memory(vae: Holder, pixels: int, compute: Callable[[Any], Any]) -> Any:
    """``compute`` on the whole picture of so many pixels, or on overlapping tiles where memory does not suffice."""
    bytes_per_pixel = LIVE_MAPS * vae.module.config.block_out_channels[0] * vae.compute_dtype.itemsize

    def attempt(tile: int | None) -> Any:
        at_once = pixels if tile is None else min(pixels, tile**2)
        with vae.use(at_once * bytes_per_pixel) as module, _tiled(module, tile):
            return compute(module)

    for tile in TILES[:-1]:
        try:
            return attempt(tile)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        logger.warning("Bundle3D: out of memory in the VAE, going on with smaller tiles")
    return attempt(TILES[-1])


@contextlib.contextmanager
def _tiled(module: Any, tile: int | None) -> Iterator[None]:
    names = ("use_tiling", "tile_sample_min_size", "tile_latent_min_size")
    before = {name: getattr(module, name) for name in names}
    if tile is not None:
        factor = 2 ** (len(module.config.block_out_channels) - 1)
        module.use_tiling, module.tile_sample_min_size, module.tile_latent_min_size = True, tile, tile // factor
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)
