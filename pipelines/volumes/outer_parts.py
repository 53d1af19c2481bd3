"""Which parts of a closed manifold mesh can be seen from outside."""

from __future__ import annotations

import numpy as np
import torch

from ..meshes.inner_shells import inner_parts
from ..meshes.mesh import Mesh
from ..meshes.topology import components

AT_ONCE = 128  # parts that are tested together for lying within a hollow; bounds the memory


def outer_parts(mesh: Mesh) -> Mesh:
    """The bare mesh without the walls of hollows and without the parts within them.

    ``mesh`` must be closed, manifold, facing outward, and free of parts that cut each other.
    """
    labels, volumes = _parts(mesh)
    if not bool((volumes < 0).any()):
        return mesh
    keep = volumes > 0
    keep[_within_hollows(mesh, labels, volumes)] = False
    return _select(mesh, keep.index_select(0, labels))


def hollow_parts(mesh: Mesh) -> Mesh:
    """The walls of the hollows of a mesh as for ``outer_parts``; they face into the hollows."""
    labels, volumes = _parts(mesh)
    return _select(mesh, (volumes < 0).index_select(0, labels))


def _parts(mesh: Mesh) -> tuple[torch.Tensor, torch.Tensor]:
    """(M,) part of each face, and the signed volumes (C,): negative for the walls of hollows."""
    labels = components(mesh.faces, mesh.vertices.shape[0])
    a, b, c = (mesh.vertices.index_select(0, mesh.faces[:, i]).double() for i in range(3))
    six = (torch.linalg.cross(a, b) * c).sum(1)
    count = int(labels.max()) + 1 if labels.numel() else 0
    return labels, six.new_zeros(count).index_add(0, labels, six)


def _within_hollows(mesh: Mesh, labels: torch.Tensor, volumes: torch.Tensor) -> torch.Tensor:
    """(C,) bool, parts that lie within the walls of a hollow."""
    corners = mesh.vertices[mesh.faces]
    count = volumes.shape[0]
    index = labels[:, None].expand(-1, 3)
    low = corners.new_full((count, 3), torch.inf).scatter_reduce(0, index, corners.amin(1), "amin")
    high = corners.new_full((count, 3), -torch.inf).scatter_reduce(0, index, corners.amax(1), "amax")
    within = torch.zeros(count, dtype=torch.bool, device=labels.device)
    points, faces, part = mesh.vertices.double().cpu().numpy(), mesh.faces.cpu().numpy(), labels.cpu().numpy()
    for hollow in torch.nonzero(volumes < 0)[:, 0].tolist():
        boxed = (low >= low[hollow]).all(1) & (high <= high[hollow]).all(1) & (volumes > 0) & ~within
        for some in torch.split(torch.nonzero(boxed)[:, 0], AT_ONCE):
            tested = np.concatenate(([hollow], some.cpu().numpy()))
            own = np.isin(part, tested)
            place = np.searchsorted(np.sort(tested), part[own])
            inner = inner_parts(points, faces[own], place)
            within[np.sort(tested)[inner]] = True
    return within


def _select(mesh: Mesh, chosen: torch.Tensor) -> Mesh:
    used, faces = torch.unique(mesh.faces[chosen], return_inverse=True)
    return Mesh(mesh.vertices.index_select(0, used), faces)
