"""How much an edit changed each pixel of the views of a mesh."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn.functional import interpolate, max_pool2d

from ..errors import Bundle3DError
from ..views.bundle import decode_normal_tiles
from ..views.normals import encode_normals
from ..views.view_set import ViewSet

LEAST, MOST = 2.0 / 255.0, 12.0 / 255.0  # differences of colour that count as none and as a change
SMALL, LARGE = 0.06, 0.25  # differences up to which detail beyond the pixels stays, and from which it goes
WINDOW = 5  # pixels
MOST_TURN = 5.0  # degrees between normals that count as the same
INNER = 0.99  # of a pixel is covered: at rims the colours of normals are a blend


@dataclass(frozen=True)
class ChangedViews:
    """``before`` and ``after`` (V, H, W, 3) sRGB in the size of the new views; ``share`` (V, H, W) in [0, 1] how much
    of a pixel is changed, ``replaced`` (V, H, W) how much of it shows something else; ``mask`` (V, H, W) where both
    show the object."""

    before: torch.Tensor
    after: torch.Tensor
    share: torch.Tensor
    replaced: torch.Tensor
    mask: torch.Tensor


def compare_views(before: ViewSet, after: ViewSet) -> ChangedViews:
    """What ``after`` changed of ``before``; where it is larger, against ``before`` enlarged bilinearly.

    Raises Bundle3DError where the views are not those of the same cameras.
    """
    require_same_cameras(before, after)
    size = after.size
    old, mask = resized(before.rgb, size), resized(before.mask[..., None], size)[..., 0]
    shown = (torch.maximum(mask, after.mask) > 0.0).float()
    difference = (after.rgb - old).abs().amax(-1) * shown
    largest = max_pool2d(difference[:, None], WINDOW, 1, WINDOW // 2)[:, 0]
    return ChangedViews(
        old,
        after.rgb,
        smoothstep(largest, LEAST, MOST),
        smoothstep(largest, SMALL, LARGE),
        torch.minimum(mask, after.mask),
    )


def changes(before: ViewSet, after: ViewSet) -> torch.Tensor:
    """(V, H, W) in [0, 1], in the size of ``after``: how much of each pixel was changed.

    The largest difference of a channel within 5 x 5 pixels decides: noise of 8 bits counts as none, and equal views
    give exact zeros. Raises Bundle3DError where the views are not those of the same cameras.
    """
    return compare_views(before, after).share


def show_the_same(before: ViewSet, after: ViewSet) -> bool:
    """Whether ``after`` shows the colours and normals of ``before``, up to noise of 8 bits and what another size takes.

    Raises Bundle3DError where the views are not those of the same cameras.
    """
    if bool(changes(before, after).any()):
        return False
    mask = before.mask[..., None]
    colors = encode_normals(before.normal, before.rig) * mask + 1.0 - mask
    seen, rgb = (resized(image, after.size) for image in (colors, before.rgb))
    normal, covered = decode_normal_tiles(seen, rgb, before.rig)
    turned = (normal * after.normal).sum(-1) < math.cos(math.radians(MOST_TURN))
    return not bool((turned & (torch.minimum(covered, after.mask) > INNER)).any())


def require_same_cameras(before: ViewSet, after: ViewSet) -> None:
    """Raise Bundle3DError where the views are not those of the same cameras."""
    if before.rig.cameras != after.rig.cameras:
        raise Bundle3DError(
            f"Expected new views by the cameras of the old ones, but got {len(after.rig)} of the rig {after.rig.name} "
            f"for {len(before.rig)} of the rig {before.rig.name}; connect the old views to like of Split Bundle."
        )


def resized(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Images (V, H, W, C) at another size (H, W), bilinear; those of that size as they are."""
    if images.shape[1:3] == size:
        return images
    planes = images.permute(0, 3, 1, 2)
    return interpolate(planes, size, mode="bilinear", align_corners=False, antialias=True).permute(0, 2, 3, 1)


def smoothstep(values: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """0 up to ``low``, 1 from ``high`` on, smooth between them."""
    share = ((values - low) / (high - low)).clamp(0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)
