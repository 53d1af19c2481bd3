"""Bringing a mesh onto another before they are compared: rotation about the up axis, similarity ICP.

Source: specs/field.md 4.4, step 4. Results that are aligned to the input view must be compared without it.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.spatial import cKDTree

from ..meshes.mesh import Mesh
from .geometry import chamfer, sample_surface

ICP_POINTS = 10000
ICP_STEPS = 30
SEARCH_POINTS = 2048


def align(mesh: Mesh, target: Mesh, turns: int = 24, icp: bool = True, seed: int = 0) -> Mesh:
    """``mesh`` turned about the up axis by the best of ``turns`` equal angles, then fitted to ``target`` by ICP."""
    if turns > 1:
        points, _ = sample_surface(mesh, SEARCH_POINTS, seed)
        goal, _ = sample_surface(target, SEARCH_POINTS, seed)
        angles = [2.0 * math.pi * i / turns for i in range(turns)]
        best = min(angles, key=lambda angle: chamfer(points @ turn(angle).T, goal))
        mesh = _moved(mesh, turn(best), 1.0, torch.zeros(3))
    return _moved(mesh, *fit_similarity(mesh, target, seed)) if icp else mesh


def turn(angle: float) -> torch.Tensor:
    """(3, 3) rotation by ``angle`` radians about +Y, from +Z toward +X."""
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor(((c, 0.0, s), (0.0, 1.0, 0.0), (-s, 0.0, c)))


def fit_similarity(
    mesh: Mesh, target: Mesh, seed: int = 0, steps: int = ICP_STEPS
) -> tuple[torch.Tensor, float, torch.Tensor]:
    """Rotation (3, 3), scale and shift (3,) that bring ``mesh`` near ``target``: iterated closest points."""
    points = sample_surface(mesh, ICP_POINTS, seed)[0].double().numpy()
    goal = sample_surface(target, ICP_POINTS, seed + 1)[0].double().numpy()
    tree = cKDTree(goal)
    rotation, scale, shift = np.eye(3), 1.0, np.zeros(3)
    for _ in range(steps):
        moved = scale * points @ rotation.T + shift
        # Both directions: closest points of the mesh alone would let it shrink into one spot of the target.
        _, there = tree.query(moved)
        _, back = cKDTree(moved).query(goal)
        rotation, scale, shift = _similarity(
            np.concatenate((points, points[back])), np.concatenate((goal[there], goal))
        )
    return torch.from_numpy(rotation).float(), float(scale), torch.from_numpy(shift).float()


def _similarity(source: np.ndarray, goal: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """Least-squares rotation, scale and shift of matched points (Umeyama 1991)."""
    source_mean, goal_mean = source.mean(0), goal.mean(0)
    centred, aim = source - source_mean, goal - goal_mean
    u, values, vt = np.linalg.svd(aim.T @ centred)
    signs = np.array((1.0, 1.0, np.sign(np.linalg.det(u @ vt))))
    rotation = (u * signs) @ vt
    scale = float((values * signs).sum() / max((centred * centred).sum(), 1e-30))
    return rotation, scale, goal_mean - scale * rotation @ source_mean


def _moved(mesh: Mesh, rotation: torch.Tensor, scale: float, shift: torch.Tensor) -> Mesh:
    normals = None if mesh.normals is None else mesh.normals @ rotation.T
    tangents = None
    if mesh.tangents is not None:
        tangents = torch.cat((mesh.tangents[:, :3] @ rotation.T, mesh.tangents[:, 3:]), dim=1)
    return mesh.with_(vertices=scale * mesh.vertices @ rotation.T + shift, normals=normals, tangents=tangents)
