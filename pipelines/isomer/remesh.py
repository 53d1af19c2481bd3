"""One pass of continuous remeshing: collapse, split and flip edges toward wanted lengths.

Source: specs/kiss3dgen.md section 6.7 (after Palfinger, "Continuous remeshing for inverse rendering").
"""

from __future__ import annotations

import torch

from ..kernels import resolve_backend
from . import remesh_torch


def remesh(
    state: torch.Tensor,
    faces: torch.Tensor,
    minimum: torch.Tensor,
    maximum: torch.Tensor,
    generator: torch.Generator,
    most_vertices: int = 1_000_000,
    backend: str = "auto",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Remesh once and return the new state (V', C) and faces (M', 3) int64.

    ``state`` (V, C) float32 holds the position in its first three channels; every channel of a vertex that is made or
    moved is the mean over the edge. Edges shorter than ``minimum`` (V,) collapse and those longer than ``maximum`` (V,)
    split, in world units, averaged over the ends of an edge; no edge splits once there are ``most_vertices``.
    ``generator`` (CPU) makes the random choices, so that equal seeds give equal meshes. A closed manifold stays one.

    ``backend``: "torch" follows the specification exactly; "numba" is faster and makes the same kind of changes in
    another order; "auto" takes numba where it is installed and the tensors are on the CPU.
    """
    if resolve_backend(backend, state) == "numba":
        from . import remesh_numba

        return remesh_numba.remesh(state, faces, minimum, maximum, most_vertices, generator)
    return remesh_torch.remesh(state, faces, minimum, maximum, most_vertices, generator)
