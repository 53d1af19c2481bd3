"""Voxels that lie in one cube of a lattice as groups of tokens, and attention within each group.

Source: specs/pixal3d.md section 1.4 (windows of 8^3 voxels, shifted in every other block).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch.nn import functional

from .block_attention import SCORES


@dataclass(frozen=True)
class TokenGroups:
    """``order`` (N,) int64: tokens, group by group; ``lengths`` (G,) int64: how many each group has, at least one."""

    order: torch.Tensor
    lengths: torch.Tensor

    @functools.cached_property
    def starts(self) -> torch.Tensor:
        """(G,) int64: where in ``order`` each group begins."""
        return self.lengths.cumsum(0) - self.lengths

    @functools.cached_property
    def longest(self) -> int:
        """The length of the largest group."""
        return int(self.lengths.max())

    @functools.cached_property
    def padded(self) -> tuple[tuple[torch.Tensor, torch.Tensor], ...]:
        """For each power of two L that is least for some groups: their tokens (g, L) int64, and which of these there
        are (g, L) bool; the others repeat a token.

        Kept, because whoever asks a device for sizes waits until it has computed all that it was given.
        """
        of_size: dict[int, list[int]] = {}
        for group, length in enumerate(self.lengths.tolist()):
            of_size.setdefault(1 << (length - 1).bit_length(), []).append(group)
        padded = []
        for size, groups in sorted(of_size.items()):
            some = torch.tensor(groups, device=self.order.device)
            places, lengths = torch.arange(size, device=self.order.device), self.lengths[some, None]
            rows = self.order[self.starts[some, None] + torch.minimum(places, lengths - 1)]
            padded.append((rows, places < lengths))
        return tuple(padded)


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
    shared, count = query.shape[1] // key.shape[1], len(query)
    out = query.new_empty(count + 1, *query.shape[1:])  # the last one takes what is computed for repeated tokens
    for tokens, there in groups.padded:
        at_once = max(1, scores // (query.shape[1] * tokens.shape[1] ** 2))
        for rows, present in zip(tokens.split(at_once), there.split(at_once)):
            q = query[rows].transpose(1, 2)
            k, v = (part[rows].transpose(1, 2).repeat_interleave(shared, dim=1) for part in (key, value))
            attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=present[:, None, None])
            out[rows.where(present, count)] = attended.transpose(1, 2)
    return out[:count]
