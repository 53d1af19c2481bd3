"""How large an object is in the volume: as large as fits, with a few voxels to spare.

Source: specs/pixal3d.md section 1.4 (two steps). The camera stays where it is: the volume shrinks or grows around the
middle, until what the flow of structures finds just fills it.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from ...progress import Progress, Stage, silent
from ..conditioning import Pictures
from ..sampler import Sampling
from .conditioning import see
from .draw import OCCUPIED, sample_structure
from .models import Pixal3DDModels

# Of 64 voxels along the volume, those between an object and its faces: wanted, and between what they may be.
LATTICE, SPARE, LEAST_SPARE, MOST_SPARE = 64, 3, 2, 4
TRIES = 2


def fit_scale(
    models: Pixal3DDModels,
    pictures: Pictures,
    seed: int,
    sampling: Sampling | None = None,
    occupied: float = OCCUPIED,
    progress: Progress = silent,
) -> Pictures:
    """``pictures`` with the mesh scale with which their object fills the volume.

    Those of `pictured_on_white` may have any to begin with, as their camera stands where it shows the same; the
    published script begins with 0.5.
    Structures are drawn with one seed, by the scale flow where there is one. A try that leaves too little room is taken
    back. Raises Bundle3DError where no object is found.
    """
    seen = see(models.encoder, pictures)
    sampling = sampling or models.structure.sampling
    size = models.coarse.resolution

    def structure(scale: float, number: int) -> torch.Tensor:
        shown = replace(seen, pictures=replace(pictures, mesh_scale=scale))
        part = Stage(progress, number, number + 1, TRIES + 1)
        generator = torch.Generator().manual_seed(seed)
        return sample_structure(models, shown, generator, sampling, occupied, part, models.scale_flow)

    best = pictures.mesh_scale
    places = structure(best, 0)
    for number in range(1, TRIES + 1):
        scale = best * filling(places, size)
        places = structure(scale, number)
        spare = min(int(places.min()), size - 1 - int(places.max())) * LATTICE / size
        if spare < LEAST_SPARE:
            break
        best = scale
        if spare <= MOST_SPARE:
            break
    progress(TRIES + 1, TRIES + 1)
    return replace(pictures, mesh_scale=best)


def filling(places: torch.Tensor, size: int) -> float:
    """By how much to enlarge an object at voxels ``places`` (N, 3) of ``size``^3 so that SPARE are left around it."""
    middle = (size - 1) / 2
    return (middle - SPARE * size / LATTICE) / float((places - middle).abs().max())
