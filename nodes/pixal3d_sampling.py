"""How the flows of Pixal3D are sampled, as widgets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from comfy_api.latest import io

from ..pipelines.pixal3d.models import Pixal3DModels
from ..pipelines.pixal3d.sampler import MOST_STEPS, Sampling
from ..pipelines.volumes.dual_grid import LARGEST_RESOLUTION
from ..pipelines.volumes.requantise import MOST_TOKENS
from .seeds import LARGEST_SEED, seed_input, seed_of

OWN_RESCALE = -1.0  # of the models


def sampling_inputs() -> list[Any]:
    """The widgets of ``chosen_sampling``, in its order."""
    return [
        steps_input("Steps from noise to latents; 0 takes the models' own number, 12 of the published ones."),
        guidance_input(
            "How strongly to follow the pictures; 0 takes the models' own strength, 7.5 of the published ones and 1 of "
            "their textures. 1 needs half the time."
        ),
        io.Float.Input(
            "rescale",
            default=OWN_RESCALE,
            min=OWN_RESCALE,
            max=1.0,
            step=0.05,
            tooltip="How much of what guidance adds in contrast is taken back; below 0 the models' own share.",
            advanced=True,
        ),
    ]


def steps_input(tooltip: str) -> Any:
    """Steps of a sampling, 0 for its own."""
    return io.Int.Input("steps", default=0, min=0, max=MOST_STEPS, tooltip=tooltip)


def guidance_input(tooltip: str) -> Any:
    """Guidance of a sampling, 0 for its own."""
    return io.Float.Input("guidance", default=0.0, min=0.0, max=50.0, step=0.1, tooltip=tooltip)


def chosen_sampling(own: Sampling, steps: int, guidance: float, rescale: float = OWN_RESCALE) -> Sampling:
    """The models' own sampling with what is chosen in its place."""
    return replace(
        own,
        steps=steps or own.steps,
        guidance=guidance or own.guidance,
        rescale=own.rescale if rescale < 0 else rescale,
    )


def resolution_inputs() -> list[Any]:
    """How fine a shape is drawn, and how many tokens that may take."""
    return [
        io.Int.Input(
            "resolution",
            default=0,
            min=0,
            max=LARGEST_RESOLUTION // 2,
            step=16,
            tooltip="Voxels along the object's cube; 0 takes what the models were made for: 1024 for those published. "
            "Those go up to 1536 and have a texture from 1024 on; 512 is their coarse stage alone, which is quick.",
        ),
        io.Int.Input(
            "most_tokens",
            default=MOST_TOKENS,
            min=1024,
            max=1_000_000,
            step=1024,
            tooltip="Above 1024, the resolution is lowered until a shape has fewer voxels of latents than this. Memory "
            "and time grow with them.",
            advanced=True,
        ),
    ]


def resolutions(models: Pixal3DModels, asked: int) -> list[int]:
    """``asked`` and, for where it does not fit into memory, the resolution that the models were made for."""
    return [asked, models.resolution] if asked > models.resolution else [asked]


def lowered_resolution(asked: int, used: int) -> list[str]:
    """The line of a report on a shape that had to be coarser than ``asked``."""
    if used == asked:
        return []
    return [f"A resolution of {asked} would have taken too many tokens or too much memory, so this has {used}."]


def later_seed_input() -> Any:
    """The seed of a stage after the first one; ``later_noise`` reads it."""
    return seed_input(
        "0 goes on with the noise of the stage before, as the published system does; any other number draws this stage "
        "anew. A batch takes those after it.",
        LARGEST_SEED,
    )


def later_noise(state: torch.Tensor, seed: int, index: int) -> torch.Generator:
    """The generator of a batch's member: in the ``state`` where the stage before left it, or with a seed of its own."""
    generator = torch.Generator()
    if not seed:
        return generator.set_state(state)
    return generator.manual_seed(seed_of(seed, index))


def fresh_noise(seed: int, count: int) -> list[torch.Tensor]:
    """The states of generators that start with ``seed`` and those after it, one for each of a batch's members."""
    return [torch.Generator().manual_seed(seed_of(seed, index)).get_state() for index in range(count)]
