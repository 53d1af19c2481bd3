"""How far two surfaces are apart, measured on points drawn from them.

Source: specs/field.md 4.4: 16384 area-weighted points, fixed seed; Chamfer distance as the sum of both mean distances,
not squared, with the squared variant beside it; F-score at 0.05, 0.1 and 0.2 in a cube [-1, 1]^3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree

from ..errors import Bundle3DError
from ..meshes.mesh import Mesh

POINTS = 16384
THRESHOLDS = (0.05, 0.1, 0.2)


@dataclass(frozen=True)
class GeometryScores:
    """``chamfer`` mean distance there plus mean distance back; ``chamfer_squared`` the same of squared distances;
    ``f_score`` by threshold; ``normal_consistency`` mean absolute cosine between the normals of nearest points."""

    chamfer: float
    chamfer_squared: float
    f_score: dict[float, float]
    normal_consistency: float


@dataclass(frozen=True)
class Matches:
    """Distances from each point to the nearest of the other set, there (P,) and back (Q,), and their indices."""

    there: np.ndarray
    back: np.ndarray
    nearest_there: np.ndarray
    nearest_back: np.ndarray


def sample_surface(mesh: Mesh, count: int = POINTS, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Points (P, 3) spread evenly by area and the unit normals (P, 3) of their faces, the same for the same seed.

    Raises Bundle3DError for a mesh without area.
    """
    cross = mesh.face_normals().double().cpu()
    area = cross.norm(dim=-1)
    total = area.cumsum(0)
    if not total.numel() or not float(total[-1]) > 0.0:
        raise Bundle3DError("Expected a mesh with a surface, but it has no area; repair it or load another one.")
    generator = torch.Generator().manual_seed(seed)
    draws = torch.rand(count, 3, generator=generator, dtype=torch.float64)
    face = torch.searchsorted(total, draws[:, 0] * total[-1], right=True).clamp(max=area.numel() - 1)
    root = draws[:, 1].sqrt()
    weights = torch.stack((1.0 - root, root * (1.0 - draws[:, 2]), root * draws[:, 2]), dim=1)
    corners = mesh.vertices.double().cpu()[mesh.faces.cpu()[face]]
    points = (corners * weights[..., None]).sum(1)
    return points.float(), torch.nn.functional.normalize(cross[face], dim=-1).float()


def match(a: torch.Tensor, b: torch.Tensor) -> Matches:
    """Nearest neighbours between point sets ``a`` (P, 3) and ``b`` (Q, 3)."""
    left, right = a.double().cpu().numpy(), b.double().cpu().numpy()
    there, nearest_there = cKDTree(right).query(left)
    back, nearest_back = cKDTree(left).query(right)
    return Matches(there, back, nearest_there, nearest_back)


def chamfer(a: torch.Tensor, b: torch.Tensor, squared: bool = False) -> float:
    """Mean distance from ``a`` (P, 3) to ``b`` (Q, 3) plus mean distance back; of squared distances if ``squared``."""
    return _chamfer(match(a, b), squared)


def f_score(a: torch.Tensor, b: torch.Tensor, threshold: float) -> float:
    """Harmonic mean of the shares of ``a`` and of ``b`` that lie within ``threshold`` of the other."""
    return _f_score(match(a, b), threshold)


def normal_consistency(a: torch.Tensor, normals_a: torch.Tensor, b: torch.Tensor, normals_b: torch.Tensor) -> float:
    """Mean absolute cosine between the normals of nearest points, both ways; blind to flipped faces."""
    return _normal_consistency(match(a, b), normals_a, normals_b)


def compare_points(
    a: torch.Tensor, normals_a: torch.Tensor, b: torch.Tensor, normals_b: torch.Tensor
) -> GeometryScores:
    """All scores of two sets of surface points with their normals."""
    matches = match(a, b)
    return GeometryScores(
        _chamfer(matches, False),
        _chamfer(matches, True),
        {threshold: _f_score(matches, threshold) for threshold in THRESHOLDS},
        _normal_consistency(matches, normals_a, normals_b),
    )


def compare_meshes(a: Mesh, b: Mesh, count: int = POINTS, seed: int = 0) -> GeometryScores:
    """All scores of two meshes as they lie in their local frames; see ``alignment`` to bring them together first."""
    return compare_points(*sample_surface(a, count, seed), *sample_surface(b, count, seed + 1))


def _chamfer(matches: Matches, squared: bool) -> float:
    power = 2 if squared else 1
    return float((matches.there**power).mean() + (matches.back**power).mean())


def _f_score(matches: Matches, threshold: float) -> float:
    precision, recall = (float((distances < threshold).mean()) for distances in (matches.there, matches.back))
    return 2.0 * precision * recall / (precision + recall) if precision + recall > 0.0 else 0.0


def _normal_consistency(matches: Matches, normals_a: torch.Tensor, normals_b: torch.Tensor) -> float:
    left, right = normals_a.double().cpu().numpy(), normals_b.double().cpu().numpy()
    there = np.abs((left * right[matches.nearest_there]).sum(-1)).mean()
    back = np.abs((right * left[matches.nearest_back]).sum(-1)).mean()
    return float((there + back) / 2.0)
