"""One step of flow matching on encoded bundles. Source: specs/kiss3dgen.md 2.2, 2.4."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from ..diffusion.latents import image_ids, text_ids
from ..diffusion.schedule import shifted
from .encoded import EncodedDataset


@dataclass(frozen=True)
class FlowStep:
    """What the transformer is given and what it shall answer.

    ``picked`` are the bundles; ``inputs`` the transformer's arguments; ``target`` (B, tokens, channels) the velocity
    from picture to noise, float32.
    """

    picked: list[int]
    inputs: dict[str, Any]
    target: torch.Tensor

    def loss(self, velocity: torch.Tensor) -> torch.Tensor:
        """Mean square error of the (B, tokens, channels) ``velocity``."""
        return (velocity.float() - self.target).square().mean()


def add_noise(
    clean: torch.Tensor, shift: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latents (B, tokens, channels) with noise, its levels (B,), and the velocity from picture to noise.

    The levels are logit-normal, then shifted by ``shift`` toward noise.
    """
    noise = torch.randn(clean.shape, generator=generator)
    sigma = shifted(torch.randn(len(clean), generator=generator).sigmoid(), shift)
    level = sigma[:, None, None]
    return (1 - level) * clean + level * noise, sigma, noise - clean


def flow_step(
    data: EncodedDataset,
    transformer: Any,
    batch: int,
    shift: float,
    guidance: float,
    device: torch.device,
    dtype: torch.dtype,
    generator: torch.Generator,
) -> FlowStep:
    """A random batch at random noise levels (``add_noise``).

    Everything is drawn from ``generator`` on the CPU, so that every device is given the same.
    """
    picked = torch.randint(len(data.bundles), (batch,), generator=generator).tolist()
    clean = data.latents(picked)
    noised, sigma, target = add_noise(clean, shift, generator)
    text, pooled = data.texts(picked)
    inputs: dict[str, Any] = {
        "hidden_states": noised.to(device, dtype),
        "encoder_hidden_states": text.to(device, dtype),
        "pooled_projections": pooled.to(device, dtype),
        "timestep": sigma.to(device, dtype),
        "img_ids": image_ids(data.rows, data.columns, device),
        "txt_ids": text_ids(text.shape[1], device),
    }
    if transformer.config.guidance_embeds:
        inputs["guidance"] = torch.full((batch,), guidance, device=device)
    return FlowStep(picked, inputs, target.to(device))
