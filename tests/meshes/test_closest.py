from __future__ import annotations

import numpy as np
import torch
from bundle3d.pipelines.meshes.closest import SurfaceIndex, closest_weights
from hypothesis import given, settings
from hypothesis import strategies as st

from .shapes import box, torus


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_closest_point_beats_every_sampled_point(seed: int) -> None:
    random = np.random.default_rng(seed)
    corners, point = random.normal(size=(3, 3)), random.normal(size=3) * 2
    weights = closest_weights(corners, point)
    assert weights.min() >= -1e-12 and abs(weights.sum() - 1) < 1e-9
    samples = random.dirichlet(np.ones(3), 500)
    best = np.linalg.norm(weights @ corners - point)
    assert best <= np.linalg.norm(samples @ corners - point, axis=1).min() + 1e-9


def test_distance_to_a_torus_is_analytic() -> None:
    mesh = torus(columns=200, rows=100)
    points = torch.rand((500, 3), generator=torch.Generator().manual_seed(0)).double().numpy() * 3 - 1.5
    near = SurfaceIndex(mesh.vertices.double().numpy(), mesh.faces.numpy()).nearest(points)
    ring = np.hypot(np.hypot(points[:, 0], points[:, 2]) - 1.0, points[:, 1])
    assert np.abs(near.distance.min(1) - np.abs(ring - 0.35)).max() < 2e-3


def test_large_faces_are_found_far_from_their_centre() -> None:
    mesh = box()
    points = np.array([[0.49, 0.9, 0.49], [-0.49, 0.0, 0.7], [0.4, -0.45, 0.9]])
    near = SurfaceIndex(mesh.vertices.double().numpy(), mesh.faces.numpy()).nearest(points)
    assert np.allclose(near.distance.min(1), [0.4, 0.2, 0.4])
