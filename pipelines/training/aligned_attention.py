"""A reconstruction model whose heads look where geometry says from the start.

Finding out which patches of which view show a token's part of space is by far the longest part of a small training.
Here every head of the planes' attention to the views begins with one view, and with the rows and columns of its patches
that show a token's place. Training goes on from there. Frame and planes: specs/kiss3dgen.md sections 5.4 and 5.6.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from ..lrm.model import LargeReconstructionModel
from ..lrm.triplane import PLANE_AXES
from ..views.rig import Rig

UP = 2  # the vertical axis of the model's frame
CODE = 3.0  # of positions and views within tokens, well above what else is in them
CONTENT = 1.3  # deviation of what patches write into their tokens
SHARP = 4.5  # gain of the first camera layer: SiLU then all but cuts off what is negative
VIEW_LOGIT, LEAST_LOGIT = 5.0, -6.0  # a head's own view over the others; patches that are far away
SPREAD = 0.7  # patches; width of what a token sees of a view


@torch.no_grad()
def align_attention(model: LargeReconstructionModel, rig: Rig) -> None:
    """Writes positions, views and the heads' first looks into ``model``, in place.

    ``rig`` has level cameras a quarter turn apart, the first in front, at the distance that the model is told.
    """
    side, views = model.config.position_grid, len(rig)
    _mark_patches(model, side, views)
    _mark_views(model, rig, first=2 * side)
    _mark_places(model)
    looks = [_look(model, rig, view) for view in range(views)]
    heads, width = model.config.heads, model.config.width // model.config.heads
    code = 2 * side + views
    layers: Any = model.transformer.layers
    for number, layer in enumerate(layers):
        query, key = layer.cross_attn.q_proj_weight, layer.cross_attn.k_proj_weight
        for head in range(heads):
            rows = slice(head * width, head * width + code)
            query[rows] = looks[(number * heads + head) % views] * math.sqrt(width)
            key[rows] = torch.eye(code, key.shape[1])


def _mark_patches(model: LargeReconstructionModel, side: int, views: int) -> None:
    """One-hot rows and columns of the patches in the first numbers of their tokens, which hold nothing else."""
    embeddings = model.encoder.model.embeddings
    code = 2 * side + views
    for parameter in embeddings.patch_embeddings.projection.parameters():
        parameter[:code] = 0.0
    positions = embeddings.position_embeddings[0]
    positions[:, :code] = 0.0
    grid = positions[1:, : 2 * side].unflatten(0, (side, side))
    steps = torch.arange(side)
    grid[steps, :, steps] = CODE
    grid[:, steps, side + steps] = CODE


def _mark_views(model: LargeReconstructionModel, rig: Rig, first: int) -> None:
    """One-hot views, through the camera's shift of the first layer, in the numbers from ``first`` on."""
    embedder: Any = model.encoder.camera_embedder
    layer: Any = model.encoder.model.encoder.layer[0]
    read, hand_on, shift, count = embedder[0], embedder[2], layer.adaLN_modulation[1], len(rig)
    backward = torch.tensor((2, 6))  # of the camera's matrix [R|t], row after row: where it stands, seen from above
    for index, camera in enumerate(rig):
        angle = math.radians(camera.azimuth)
        read.weight[index] = 0.0
        read.weight[index, backward] = SHARP * torch.tensor((math.cos(angle), math.sin(angle)))
        read.bias[index] = 0.0
        hand_on.weight[index] = 0.0
        hand_on.weight[index, index] = 1.0
        hand_on.bias[index] = 0.0
        shift.weight[first + index, index] = CODE / SHARP
    project, output = layer.attention.attention.value, layer.attention.output.dense
    codes = slice(first, first + count)
    for linear in (project, output):
        linear.weight[codes] = 0.0
        linear.weight[codes, codes] = torch.eye(count)
        linear.bias[codes] = 0.0


def _mark_places(model: LargeReconstructionModel) -> None:
    """One-hot columns and rows, of each plane its own, in the first numbers of the planes' tokens."""
    side = model.config.plane_size
    places = model.transformer.pos_embed[0].unflatten(0, (3, side, side))
    places[..., : 6 * side] = 0.0
    steps = torch.arange(side)
    for plane in range(3):
        places[plane, :, steps, 2 * plane * side + steps] = CODE
        places[plane, steps, :, (2 * plane + 1) * side + steps] = CODE


def _look(model: LargeReconstructionModel, rig: Rig, view: int) -> torch.Tensor:
    """(code, width) from a place to the attention logits of rows, columns and views, for a head that sees ``view``."""
    config = model.config
    patches, places = config.position_grid, config.plane_size
    camera = rig[view]
    angle = math.radians(camera.azimuth)
    across = {0: -math.sin(angle), 1: math.cos(angle)}  # of the picture, in the model's horizontal axes
    reach = camera.distance / camera.scale  # half of what the picture shows at the object
    look = torch.zeros(2 * patches + len(rig), config.width)
    centres = (torch.arange(places) + 0.5) / places * 2.0 - 1.0
    for plane, axes in enumerate(PLANE_AXES):
        for along, axis in enumerate(axes):
            columns = slice((2 * plane + along) * places, (2 * plane + along + 1) * places)
            if axis == UP:
                look[:patches, columns] = _logits(-centres / reach, patches)
            elif abs(across[axis]) > 0.5:
                look[patches : 2 * patches, columns] = _logits(across[axis] * centres / reach, patches)
            look[2 * patches + view, columns] = VIEW_LOGIT / 2.0
    return look / _norms(model)


def _logits(seen: torch.Tensor, patches: int) -> torch.Tensor:
    """(patches, P) how much each patch counts for what is ``seen`` at (P,) in -1..1 of the picture, mean zero."""
    at = (seen + 1.0) / 2.0 * patches - 0.5
    logits = (-((torch.arange(patches)[:, None] - at) ** 2) / (2.0 * SPREAD**2)).clamp(min=LEAST_LOGIT)
    return logits - logits.mean(dim=0)


def _norms(model: LargeReconstructionModel) -> float:
    """What the codes of a place and of a patch are multiplied by, together, where they meet: both are normalised."""
    tokens = model.transformer.pos_embed[0]
    place = CODE / float(tokens.std(dim=1).mean())
    width = model.config.encoder_width
    patch = CODE / math.sqrt(CONTENT**2 + 3.0 * CODE**2 / width)
    return place * patch
