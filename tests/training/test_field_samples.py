"""Signed distances and colours of known solids."""

from __future__ import annotations

import numpy as np
from bundle3d.pipelines.training.field_samples import HALF_CUBE, is_inside, sample_field
from bundle3d.pipelines.training.shapes import Part, Subject, build


def test_a_sphere_has_the_distances_of_a_sphere() -> None:
    mesh = build(Subject((Part("sphere", "red"),), "large"))
    samples = sample_field(mesh, 2000, np.random.default_rng(0))
    assert samples.points.shape == (2000, 3) and np.abs(samples.points).max() <= HALF_CUBE
    # A facet lies up to .0024 below the sphere that it stands for.
    np.testing.assert_allclose(samples.distance, np.linalg.norm(samples.points, axis=1) - 1.0, atol=0.0025)
    assert mesh.colors is not None
    np.testing.assert_allclose(samples.color, np.broadcast_to(mesh.colors[0].numpy(), (2000, 3)), atol=1e-6)


def test_most_points_are_near_the_surface_and_some_are_everywhere() -> None:
    mesh = build(Subject((Part("cube", "blue", "flat"),), "large"))
    distance = np.abs(sample_field(mesh, 3000, np.random.default_rng(1)).distance)
    assert (distance < 0.1).mean() > 0.5 and (distance > 0.4).mean() > 0.05


def test_a_stack_has_the_colour_of_the_nearer_part_and_both_insides() -> None:
    mesh = build(Subject((Part("sphere", "red"), Part("cube", "blue")), "large"))
    samples = sample_field(mesh, 3000, np.random.default_rng(2))
    near = np.abs(samples.distance) < 0.02
    reddish = samples.color[:, 0] > samples.color[:, 2]
    assert samples.points[near & reddish, 1].min() > samples.points[near & ~reddish, 1].max() - 0.1
    points, faces = mesh.vertices.double().numpy(), mesh.faces.numpy()
    low, high = points[:, 1].min(), points[:, 1].max()
    queries = np.array([(0.0, high - 0.2, 0.0), (0.0, low + 0.2, 0.0), (0.9, high - 0.2, 0.9)])
    assert is_inside(points, faces, queries).tolist() == [True, True, False]


def test_the_hole_of_a_torus_is_outside() -> None:
    mesh = build(Subject((Part("torus", "green"),), "large"))
    points, faces = mesh.vertices.double().numpy(), mesh.faces.numpy()
    queries = np.array([(0.0, 0.0, 0.0), (0.7 / 0.98, 0.0, 0.0)])
    assert is_inside(points, faces, queries).tolist() == [False, True]


def test_the_same_generator_gives_the_same_samples() -> None:
    mesh = build(Subject((Part("cone", "pink"),)))
    first, second = (sample_field(mesh, 100, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first.points, second.points)
    np.testing.assert_array_equal(first.distance, second.distance)
