"""Voxels that lie in one cube of a lattice as groups of tokens, and attention within each group.

Source: specs/pixal3d.md section 1.4 (windows of 8^3 voxels, shifted in every other block).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.nn import functional

from .block_attention import SCORES


@dataclass(frozen=True)
class TokenGroups:
    """``order`` (N,) int64: tokens, group by group; ``lengths`` (G,) int64: how many each group has, at least one."""

    order: torch.Tensor
    lengths: torch.Tensor

    @property
    def starts(self) -> torch.Tensor:
        """(G,) int64: where in ``order`` each group begins."""
        return self.lengths.cumsum(0) - self.lengths


def cubes(coords: torch.Tensor, side: int, shift: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """The cubes of ``side``^3 voxels that hold any of ``coords`` (N, 3), and which of them each does (N,) int64.

    Cubes (G, 3) int64 come in ascending order of x, then y, then z; they begin ``shift`` voxels before the lattice.
    """
    found, cube = torch.unique(((coords + shift) // side).long(), dim=0, return_inverse=True)
    return found, cube


def groups_of(cube: torch.Tensor) -> TokenGroups:
    """The tokens of each cube, of the number (N,) of each token's cube as of `cubes`."""
    return TokenGroups(torch.argsort(cube, stable=True), torch.bincount(cube))


def group_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, groups: TokenGroups, scores: int = SCORES
) -> torch.Tensor:
    """(N, H, D) attention of ``query`` (N, H, D) to ``key`` and ``value`` (N, K, D) of the same group alone.

    H is a multiple of K: as many neighbouring heads of queries share one of keys. Groups of about the same size are
    padded to one size and computed together, with at most about ``scores`` attention scores at once.
    """
    shared = query.shape[1] // key.shape[1]
    out = torch.empty_like(query)
    for rows, present in _padded(groups, scores // query.shape[1]):
        q = query[rows].transpose(1, 2)
        k, v = (part[rows].transpose(1, 2).repeat_interleave(shared, dim=1) for part in (key, value))
        attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=present[:, None, None])
        out[rows[present]] = attended.transpose(1, 2)[present]
    return out


def _padded(groups: TokenGroups, scores: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Tokens (g, L) of some groups at a time, and which of them there are (g, L) bool: the others repeat a token."""
    sizes = 2 ** torch.log2(groups.lengths.double()).ceil().long()
    for size in torch.unique(sizes).tolist():
        places = torch.arange(size, device=groups.order.device)
        for some in (sizes == size).nonzero().squeeze(1).split(max(1, scores // size**2)):
            lengths = groups.lengths[some, None]
            rows = groups.order[groups.starts[some, None] + torch.minimum(places, lengths - 1)]
            yield rows, places < lengths
