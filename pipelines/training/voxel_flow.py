"""Training Pixal3D's flows on latents at voxels, given what pictures show there.

Source: specs/pixal3d.md sections 2.6, 2.7 and 3.8.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from ..pixal3d.conditioning import Pictures, SeenPictures
from ..pixal3d.flow_transformer import Condition, FlowTransformer
from ..pixal3d.models import PictureModels, Sight
from ..progress import Progress, silent
from ..volumes.sparse_voxels import SparseVoxels
from .loop import LoopOptions, train_to_average
from .plain_attention import PlainAttention
from .whole_file import whole_file

UNGUIDED_SHARE = 0.1  # of the examples that learn to draw from pictures of nothing
VIEW_COUNTS = (1, 2, 4)
Times = Callable[[int, torch.Generator], torch.Tensor]


@dataclass(frozen=True)
class FlowExample:
    """An object: the file ``seen`` with the voxels of its lattice and what each picture shows there, the ``latents``
    (N, C) that its flow draws, and ``beside`` (N, C') those that the flow is shown.
    """

    seen: Path
    latents: torch.Tensor
    beside: torch.Tensor | None = None


def write_seen(
    path: Path, models: PictureModels, pictures: Pictures, sight: Sight, coords: torch.Tensor, resolution: int
) -> None:
    """Writes what each of ``pictures`` shows the voxels ``coords`` (N, 3) of a lattice, unless it is there."""
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    each = [
        SeenPictures(models, Pictures(image[None], (camera,), pictures.mesh_scale)).condition(sight, coords, resolution)
        for image, camera in zip(pictures.images, pictures.cameras)
    ]
    content = {
        "coords": coords.to(torch.uint8).contiguous(),
        "tokens": torch.cat([one.tokens for one in each]).half(),
        "projected": torch.stack([one.projected for one in each]).half(),
    }
    with whole_file(path) as unfinished:
        save_file(content, unfinished)


def train_flow(
    flow: FlowTransformer,
    examples: Sequence[FlowExample],
    batch: int,
    times: Times,
    folder: Path,
    options: LoopOptions,
    seed: int = 0,
    progress: Progress = silent,
) -> None:
    """Trains ``flow`` in place by flow matching on ``batch`` of ``examples`` a step; ends with the running average.

    ``times(count, generator)`` draws as many times from 0 for the object to 1 for noise. Objects with four pictures are
    shown with one, two or all of them.
    """

    def loss(step: int, generator: torch.Generator) -> torch.Tensor:
        picked = torch.randint(len(examples), (batch,), generator=generator).tolist()
        voxels, latents, condition = _read([examples[index] for index in picked], flow.config.resolution, generator)
        at = times(batch, generator)
        each = at[voxels.coords[:, 0].long(), None]
        noise = torch.randn(latents.shape, generator=generator)
        state = (1.0 - each) * latents + each * noise
        features = torch.cat((state, voxels.features), dim=1)
        with torch.autocast("cpu", torch.bfloat16), PlainAttention():
            drawn = flow(voxels.with_features(features), at, condition)
        return (drawn.float() - (noise - latents)).square().mean()

    train_to_average(flow, loss, folder, options, seed, progress, is_hidden=is_hidden)


def uniform_times(count: int, generator: torch.Generator) -> torch.Tensor:
    """Of shapes and textures."""
    return torch.rand(count, generator=generator)


def early_times(count: int, generator: torch.Generator) -> torch.Tensor:
    """Of structures: logit-normal, more of them near noise, where it is decided what there is."""
    return (2.0 + 1.5 * torch.randn(count, generator=generator)).sigmoid()


def is_hidden(name: str) -> bool:
    """Whether the weight of that name is a matrix that voxels pass through."""
    return name.startswith("blocks.") and name.endswith(".weight")


def _read(
    examples: Sequence[FlowExample], resolution: int, generator: torch.Generator
) -> tuple[SparseVoxels, torch.Tensor, Condition]:
    """The voxels with what is beside the latents, the latents, and what some of the pictures show; at times nothing."""
    coords, latents, beside, tokens, projected = [], [], [], [], []
    for item, example in enumerate(examples):
        seen = load_file(example.seen)
        views = _some_views(len(seen["tokens"]), generator)
        shown = float(torch.rand(1, generator=generator)) >= UNGUIDED_SHARE
        tokens.append(seen["tokens"][views].float().mean(0) * shown)
        projected.append(seen["projected"][views].float().mean(0) * shown)
        coords.append(torch.nn.functional.pad(seen["coords"].int(), (1, 0), value=item))
        latents.append(example.latents.float())
        beside.append(latents[-1][:, :0] if example.beside is None else example.beside.float())
    voxels = SparseVoxels(torch.cat(coords), torch.cat(beside), resolution)
    return voxels, torch.cat(latents), Condition(torch.stack(tokens), torch.cat(projected))


def _some_views(count: int, generator: torch.Generator) -> list[int]:
    """The first of ``count`` views and, as often as not, others."""
    possible = [wanted for wanted in VIEW_COUNTS if wanted <= count]
    wanted = possible[int(torch.randint(len(possible), (1,), generator=generator))]
    others = torch.randperm(count - 1, generator=generator)[: wanted - 1] + 1
    return [0, *others.tolist()]
