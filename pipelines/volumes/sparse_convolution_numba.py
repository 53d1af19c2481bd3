"""Submanifold convolution on the CPU: compiled gathering and adding around the matrix products, block by block.

A block's gathered features, products and sums stay in a core's cache, and only pairs of voxels that exist are
multiplied.
"""

from __future__ import annotations

import numpy as np
import torch

from ..kernels import kernel, one_torch_thread, run_jobs
from .neighbours import CENTRE, NEIGHBOURS

BLOCK_BYTES = 1 << 19  # features of a block
LEAST_ROWS = 1024  # below, the products lose more time than the cache saves

Array = np.ndarray


def convolve_numba(
    features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, neighbours: torch.Tensor
) -> torch.Tensor:
    """The sums (N, Co) of `submanifold_convolution`, for float32 on the CPU."""
    count, channels = features.shape
    width = weight.shape[0]
    source, near = features.detach().contiguous(), neighbours.contiguous().numpy()
    source_rows = source.numpy()
    matrices = weight.reshape(width, NEIGHBOURS, channels).permute(1, 2, 0).contiguous()
    sums = torch.empty(count, width, device="cpu")
    rows = max(LEAST_ROWS, BLOCK_BYTES // (4 * max(channels, width)))

    def work(start: int, stop: int) -> None:
        with one_torch_thread(), torch.no_grad():
            block = sums[start:stop]
            torch.mm(source[start:stop], matrices[CENTRE], out=block)
            if bias is not None:
                block += bias
            gathered, product = torch.empty(stop - start, channels), torch.empty(stop - start, width)
            targets = np.empty(stop - start, np.int32)
            # converted once, for a block takes but a few milliseconds
            rows_in, rows_out, rows_sum = gathered.numpy(), product.numpy(), block.numpy()
            for k in range(NEIGHBOURS):
                if k == CENTRE:
                    continue
                pairs = _gather(near[k, start:stop], source_rows, targets, rows_in)
                if pairs:
                    torch.mm(gathered[:pairs], matrices[k], out=product[:pairs])
                    _add(rows_out, targets, pairs, rows_sum)

    run_jobs(work, [(start, min(start + rows, count)) for start in range(0, count, rows)])
    return sums


@kernel
def _gather(near: Array, source: Array, targets: Array, gathered: Array) -> int:
    """Copy the ``source`` rows of the present neighbours, note whose they are, and return how many there are."""
    pairs = 0
    for row in range(near.shape[0]):
        neighbour = near[row]
        if neighbour >= 0:
            targets[pairs] = row
            for channel in range(source.shape[1]):
                gathered[pairs, channel] = source[neighbour, channel]
            pairs += 1
    return pairs


@kernel
def _add(product: Array, targets: Array, pairs: int, sums: Array) -> None:
    for pair in range(pairs):
        row = targets[pair]
        for channel in range(sums.shape[1]):
            sums[row, channel] += product[pair, channel]
