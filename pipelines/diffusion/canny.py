"""Canny's edges. Source: Canny 1986, A Computational Approach to Edge Detection."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

SIGMA = 1.0  # pixels
WEAK, STRONG = 0.04, 0.1  # brightness per pixel
LUMA = (0.299, 0.587, 0.114)


def canny(image: torch.Tensor, sigma: float = SIGMA, weak: float = WEAK, strong: float = STRONG) -> torch.Tensor:
    """White edges on black, (H, W, 3), of an (H, W, 3) picture in [0, 1].

    Where brightness changes most across the edge, by at least ``strong`` per pixel, or by ``weak`` and connected to
    such a place. On the device of ``image``.
    """
    grey = image.float().cpu().numpy() @ np.array(LUMA, dtype=np.float32)
    smooth = ndimage.gaussian_filter(grey, sigma, mode="nearest")
    down, right = ndimage.sobel(smooth, 0, mode="nearest") / 8.0, ndimage.sobel(smooth, 1, mode="nearest") / 8.0
    steep = np.hypot(down, right)
    candidates = _crests(steep, down, right) & (steep >= weak)
    groups, count = ndimage.label(candidates, np.ones((3, 3)))
    kept = np.zeros(count + 1, dtype=bool)
    kept[groups[candidates & (steep >= strong)]] = True
    edges = torch.from_numpy((kept[groups] & candidates).astype(np.float32)).to(image.device)
    return edges[..., None].expand(-1, -1, 3).clone()


def _crests(steep: np.ndarray, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Where the slope is no less than at both neighbours in its direction, which is rounded to eighths of a turn."""
    eighth = np.round(np.arctan2(down, right) / (np.pi / 4.0)).astype(int) % 4
    padded = np.pad(steep, 1)
    rows, columns = np.indices(steep.shape)
    step_down, step_right = np.array((0, 1, 1, 1))[eighth], np.array((1, 1, 0, -1))[eighth]
    ahead = padded[rows + 1 + step_down, columns + 1 + step_right]
    behind = padded[rows + 1 - step_down, columns + 1 - step_right]
    # Equal neighbours: only one of both is a crest.
    crests: np.ndarray = (steep > behind) & (steep >= ahead)
    return crests
