"""The cells of a sampled field that its zero surface passes through."""

from __future__ import annotations

import numpy as np
import torch

from ..kernels import kernel, resolve_backend, run_jobs

# Planes per job: enough work for a thread, small temporaries for the torch twin.
SLAB = 16


def surface_cells(field: torch.Tensor, backend: str = "auto") -> tuple[torch.Tensor, torch.Tensor]:
    """Ascending cell ids and sign cases, both (C,) int64, of the cells of ``field`` (X, Y, Z) with both signs.

    A cell's id is the linear index of its smallest corner; bit i of its case is set where corner i is positive, corners
    as in ``dual_cases``.
    """
    starts = range(0, field.shape[0] - 1, SLAB)
    slabs = [(start, min(start + SLAB, field.shape[0] - 1)) for start in starts]
    if resolve_backend(backend, field) == "numba":
        samples = np.ascontiguousarray(field.detach().cpu().numpy(), dtype=np.float32)
        found = run_jobs(lambda start, stop: _slab_numba(samples, start, stop), slabs)
    else:
        found = [_slab_torch(field, *slab) for slab in slabs]
    return torch.cat([ids for ids, _ in found]), torch.cat([cases for _, cases in found])


def _slab_torch(field: torch.Tensor, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
    inside = (field[start : stop + 1] > 0).to(torch.int16)
    x, y, z = inside.shape[0] - 1, inside.shape[1] - 1, inside.shape[2] - 1
    case = torch.zeros(x, y, z, dtype=torch.int16, device=field.device)
    for corner in range(8):
        i, j, k = corner & 1, corner >> 1 & 1, corner >> 2 & 1
        case += inside[i : i + x, j : j + y, k : k + z] << corner
    at = torch.nonzero((case != 0) & (case != 255))
    ids = ((at[:, 0] + start) * field.shape[1] + at[:, 1]) * field.shape[2] + at[:, 2]
    return ids, case[at[:, 0], at[:, 1], at[:, 2]].long()


def _slab_numba(samples: np.ndarray, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
    nothing = np.empty(0, dtype=np.int64)
    count = _scan(samples, start, stop, nothing, nothing)
    ids, cases = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    _scan(samples, start, stop, ids, cases)
    return torch.from_numpy(ids), torch.from_numpy(cases)


@kernel
def _scan(samples, start, stop, ids, cases):  # type: ignore[no-untyped-def]
    """Count the mixed cells of planes start..stop, and write them where there is room."""
    _, height, depth = samples.shape
    room = ids.shape[0]
    count = 0
    for x in range(start, stop):
        for y in range(height - 1):
            low = -1
            for z in range(depth):
                high = 0
                if samples[x, y, z] > 0.0:
                    high += 1
                if samples[x + 1, y, z] > 0.0:
                    high += 2
                if samples[x, y + 1, z] > 0.0:
                    high += 4
                if samples[x + 1, y + 1, z] > 0.0:
                    high += 8
                if low >= 0:
                    case = low + 16 * high
                    if case != 0 and case != 255:
                        if count < room:
                            ids[count] = (x * height + y) * depth + z - 1
                            cases[count] = case
                        count += 1
                low = high
    return count
