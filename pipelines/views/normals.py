"""World normals as the colours of a bundle image, and back.

The encoding is the normal in camera space with x mirrored: red grows to the image left, green up, blue to the viewer.
Source: specs/kiss3dgen.md sections 1.3 and 1.4.
"""

from __future__ import annotations

import torch

from .rig import Rig

# White decodes to a vector of length sqrt(3) and a true normal to one of length 1 (specs/kiss3dgen.md 1.4).
BACKGROUND_LENGTH = 1.35


def _mirrored_rotations(rig: Rig, like: torch.Tensor) -> torch.Tensor:
    mirror = torch.tensor((-1.0, 1.0, 1.0), dtype=torch.float64)
    return torch.stack([mirror[:, None] * camera.rotation() for camera in rig]).to(like)


def encode_normals(normals: torch.Tensor, rig: Rig) -> torch.Tensor:
    """Colours (V, H, W, 3) in [0, 1] of unit world ``normals`` (V, H, W, 3)."""
    encoded = torch.einsum("vij,vhwj->vhwi", _mirrored_rotations(rig, normals), normals)
    return (encoded + 1.0) / 2.0


def decode_normals(colors: torch.Tensor, rig: Rig) -> torch.Tensor:
    """Unit world normals (V, H, W, 3) of ``colors`` (V, H, W, 3) in [0, 1]; meaningless on the background."""
    signed = 2.0 * colors - 1.0
    world = torch.einsum("vij,vhwi->vhwj", _mirrored_rotations(rig, colors), signed)
    return torch.nn.functional.normalize(world, dim=-1)


def mask_from_normals(colors: torch.Tensor) -> torch.Tensor:
    """Foreground (..., H, W) as 0 or 1, from normal ``colors`` (..., H, W, 3) on a white background."""
    return ((2.0 * colors - 1.0).norm(dim=-1) < BACKGROUND_LENGTH).to(colors.dtype)
