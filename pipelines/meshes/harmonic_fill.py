"""Smooth completion of vertex values that are known in some places only.

Source: specs/kernels.md section 5 (harmonic fill by sparse conjugate gradients).
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator

import numpy as np
import torch
from scipy.sparse import coo_matrix, csr_matrix, diags
from scipy.sparse.linalg import LinearOperator, cg
from scipy.spatial import cKDTree

from ..progress import Progress, silent
from .mesh import Mesh
from .topology import label_components, unique_edges
from .weld import first_of_each, position_ids

logger = logging.getLogger(__name__)

# How strongly a barely trusted value pulls, against an edge of the mesh.
TRUST_STRENGTH = 1.0
# An edge that ties a vertex of an unseen part to the nearest seen vertex, against an edge of the mesh.
TIE_STRENGTH = 0.2
TOLERANCE, MOST_ITERATIONS = 1e-3, 1000


def harmonic_fill(
    vertices: torch.Tensor,
    faces: torch.Tensor,
    values: torch.Tensor,
    trust: torch.Tensor,
    progress: Progress = silent,
) -> torch.Tensor:
    """Values (N, C) that keep ``values`` where ``trust`` (N,) is 1 and vary as little as possible elsewhere.

    Between 0 and 1 trust pulls softly towards the given value. A connected part without any trusted vertex takes the
    values of the nearest trusted vertices in space. ``faces`` (M, 3) must join seams (``joined_at_seams``). Without any
    trust the values come back unchanged. ``progress`` is called in every step of the solver, which may end early.
    """
    sure = (trust >= 1.0).cpu().numpy()
    soft = trust.clamp(0.0, 1.0).double().cpu().numpy()
    if sure.all() or not (soft > 0.0).any():
        return values.clone()
    given = values.detach().double().cpu().numpy()
    edges = unique_edges(faces)[0].cpu().numpy()
    weights = np.ones(len(edges))
    place = vertices.detach().double().cpu().numpy()
    ties = _ties(place, edges, soft)
    edges = np.concatenate((edges, ties))
    weights = np.concatenate((weights, np.full(len(ties), TIE_STRENGTH)))
    free = np.flatnonzero(~sure)
    known = np.flatnonzero(soft > 0.0)
    start = given[known[cKDTree(place[known]).query(place[free])[1]]]
    system, pull = _free_system(edges, weights, free, sure, given, soft)
    filled = given.copy()
    filled[free] = _solve(system, pull, start, progress)
    return torch.from_numpy(filled).to(values)


def joined_at_seams(mesh: Mesh) -> tuple[Mesh, torch.Tensor]:
    """The bare surface with one vertex per place, and for each vertex (N,) of ``mesh`` its vertex there."""
    ids = position_ids(mesh.vertices)
    vertices = mesh.vertices.index_select(0, first_of_each(ids, int(ids.max()) + 1))
    return Mesh(vertices, ids[mesh.faces]), ids


def _ties(place: np.ndarray, edges: np.ndarray, soft: np.ndarray) -> np.ndarray:
    """(T, 2) pairs of each vertex of a wholly unseen part and the trusted vertex nearest to it."""
    label = label_components(torch.from_numpy(edges), len(place)).numpy()
    seen_parts = np.zeros(label.max() + 1, dtype=bool)
    seen_parts[label[soft > 0.0]] = True
    lost = np.flatnonzero(~seen_parts[label])
    known = np.flatnonzero(soft >= min(1.0, float(soft.max())))
    nearest = known[cKDTree(place[known]).query(place[lost])[1]] if len(lost) else lost
    return np.stack((lost, nearest), axis=1).astype(np.int64)


def _free_system(
    edges: np.ndarray, weights: np.ndarray, free: np.ndarray, sure: np.ndarray, given: np.ndarray, soft: np.ndarray
) -> tuple[csr_matrix, np.ndarray]:
    """The Laplacian of the free vertices with their soft data, and its right-hand side (F, C)."""
    position = np.full(len(sure), -1)
    position[free] = np.arange(len(free))
    one, two = np.concatenate((edges, edges[:, ::-1])).T
    both = np.concatenate((weights, weights))
    to_free = ~sure[one]
    one, two, both = one[to_free], two[to_free], both[to_free]
    data = TRUST_STRENGTH * soft[free]
    diagonal = np.bincount(position[one], weights=both, minlength=len(free)) + data + 1e-9
    pull = (data + 1e-9)[:, None] * given[free]
    fixed = sure[two]
    for channel in range(given.shape[1]):
        values = both[fixed] * given[two[fixed], channel]
        pull[:, channel] += np.bincount(position[one[fixed]], weights=values, minlength=len(free))
    inner = ~fixed
    shape = (len(free), len(free))
    links = coo_matrix((both[inner], (position[one[inner]], position[two[inner]])), shape=shape)
    return (diags(diagonal) - links).tocsr(), pull


def _solve(system: csr_matrix, pull: np.ndarray, start: np.ndarray, progress: Progress) -> np.ndarray:
    inverse = 1.0 / system.diagonal()
    scale = LinearOperator(system.shape, matvec=lambda residual: inverse * residual)
    filled, unsolved = np.empty_like(pull), 0
    for channel in range(pull.shape[1]):
        steps = itertools.count(channel * MOST_ITERATIONS + 1)

        def report(current: np.ndarray, steps: Iterator[int] = steps) -> None:
            progress(next(steps), pull.shape[1] * MOST_ITERATIONS)

        right, guess = pull[:, channel], start[:, channel]
        filled[:, channel], failure = cg(
            system, right, x0=guess, rtol=TOLERANCE, maxiter=MOST_ITERATIONS, M=scale, callback=report
        )
        unsolved += failure != 0
    if unsolved:
        logger.warning("Bundle3D: %d of %d channels of unseen places may not be smooth", unsolved, pull.shape[1])
    return filled
