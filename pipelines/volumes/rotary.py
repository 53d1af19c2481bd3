"""Rotary position embedding of voxels: pairs of channels turned by angles that grow with the position.

Source: specs/pixal3d.md section 3.1.
"""

from __future__ import annotations

import torch

from ..errors import Bundle3DError

LONGEST_PERIOD = 10000.0


def rotary_phases(coords: torch.Tensor, head_channels: int) -> torch.Tensor:
    """(N, head_channels / 2, 2) float32 cosines and sines of the angles at ``coords`` (N, 3), in voxels.

    A third of the pairs, rounded down, turns with x, then as many with y and with z; what is left does not turn. Pair i
    of n turns by 10000^(-i / n) a voxel. As complex numbers they are the published ``rope_phases``.

    Raises Bundle3DError for positions of another shape and for an odd number of channels.
    """
    if coords.ndim != 2 or coords.shape[1] != 3:
        raise Bundle3DError(f"Expected positions of shape (N, 3), but got {tuple(coords.shape)}; drop the batch item.")
    if head_channels % 2 or head_channels < 6:
        raise Bundle3DError(
            f"Expected an even number of at least 6 channels a head, but got {head_channels}; choose other heads."
        )
    pairs = head_channels // 2
    each = pairs // 3
    powers = torch.arange(each, dtype=torch.float64, device="cpu") / each
    frequencies = (LONGEST_PERIOD**-powers).float().to(coords.device)
    angles = (coords.float()[:, :, None] * frequencies).flatten(1)
    angles = torch.nn.functional.pad(angles, (0, pairs - 3 * each))
    return torch.stack((angles.cos(), angles.sin()), dim=-1)


def rotate(x: torch.Tensor, phases: torch.Tensor) -> torch.Tensor:
    """``x`` (N, H, D) with its adjacent pairs of channels turned by ``phases`` (N, D / 2, 2), computed in float32."""
    if phases.shape != (x.shape[0], x.shape[-1] // 2, 2):
        raise Bundle3DError(
            f"Expected phases of shape ({x.shape[0]}, {x.shape[-1] // 2}, 2), but got {tuple(phases.shape)}; compute "
            "them for these voxels and channels."
        )
    kind = torch.promote_types(x.dtype, torch.float32)
    a, b = x.to(kind).unflatten(-1, (-1, 2)).unbind(-1)
    cosine, sine = phases.to(kind)[:, None].unbind(-1)
    return torch.stack((a * cosine - b * sine, a * sine + b * cosine), dim=-1).flatten(-2).to(x.dtype)
