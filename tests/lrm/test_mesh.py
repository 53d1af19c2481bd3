"""Meshes of fields that are known."""

from __future__ import annotations

import math

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.lrm.mesh import extract_mesh
from bundle3d.pipelines.lrm.model import LargeReconstructionModel
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.topology import (
    euler_characteristic,
    is_consistently_oriented,
    is_manifold,
    is_watertight,
)
from bundle3d.pipelines.rendering.color import srgb_to_linear
from bundle3d.tests.lrm.make_field import known_field, zero
from bundle3d.tests.lrm.make_small import small_model

Field = tuple[LargeReconstructionModel, torch.Tensor]


def sphere(radius: float = 0.6, **options: object) -> Field:
    return known_field(lambda x, y: x * x + y * y - radius**2, zero, lambda z, y: z * z, **options)


def torus() -> Field:
    """Around the upright axis."""
    return known_field(lambda x, y: ((x * x + y * y).sqrt() - 0.6) ** 2 - 0.04, lambda x, z: z * z, zero)


def volume(mesh: Mesh) -> float:
    a, b, c = (mesh.vertices.double()[mesh.faces[:, i]] for i in range(3))
    return float((a * torch.linalg.cross(b, c)).sum() / 6)


def closed(mesh: Mesh) -> bool:
    return is_watertight(mesh.faces) and is_manifold(mesh.faces) and is_consistently_oriented(mesh.faces)


def test_a_sphere_comes_out_as_a_sphere() -> None:
    mesh = extract_mesh(*sphere())
    assert closed(mesh) and euler_characteristic(mesh.faces) == 2
    assert volume(mesh) == pytest.approx(4 / 3 * math.pi * 0.6**3, rel=0.01)
    assert float((mesh.vertices.norm(dim=1) - 0.6).abs().max()) < 0.01


def test_a_torus_has_its_hole_and_lies_flat() -> None:
    mesh = extract_mesh(*torus(), resolution=96)
    assert closed(mesh) and euler_characteristic(mesh.faces) == 0
    assert volume(mesh) == pytest.approx(2 * math.pi**2 * 0.6 * 0.04, rel=0.01)
    size = mesh.vertices.amax(0) - mesh.vertices.amin(0)
    torch.testing.assert_close(size, torch.tensor((1.6, 0.4, 1.6)), atol=0.02, rtol=0)


def test_the_mesh_stands_in_our_frame() -> None:
    """The model's front, left and up are ours."""
    model, planes = known_field(
        lambda x, y: (x / 0.3) ** 2 + (y / 0.5) ** 2 - 1, lambda x, z: ((z - 0.2) / 0.7) ** 2, zero
    )
    low, high = extract_mesh(model, planes).bounds
    torch.testing.assert_close(high, torch.tensor((0.5, 0.9, 0.3)), atol=0.01, rtol=0)
    torch.testing.assert_close(low, torch.tensor((-0.5, -0.5, -0.3)), atol=0.01, rtol=0)


@pytest.mark.parametrize("material", [True, False])
def test_colors_are_linear_and_at_their_place(material: bool) -> None:
    mesh = extract_mesh(*sphere(material=material, resolution=24))
    expected = torch.sigmoid(4 * mesh.vertices[:, [2, 0, 1]])
    if not material:
        expected = srgb_to_linear(expected)
    assert mesh.colors is not None
    torch.testing.assert_close(mesh.colors, expected, atol=0.005, rtol=0)


def test_the_resolution_decides_the_number_of_faces() -> None:
    counts = [len(extract_mesh(*sphere(), resolution=resolution).faces) for resolution in (16, 32)]
    assert counts[1] / counts[0] == pytest.approx(4, rel=0.15)


def test_what_leaves_the_grid_is_open_and_has_no_loose_vertices() -> None:
    mesh = extract_mesh(*known_field(lambda x, y: x * x + y * y - 0.25, zero, zero, resolution=16, scale=1.6))
    assert not is_watertight(mesh.faces)
    assert len(torch.unique(mesh.faces)) == len(mesh.vertices)


def test_random_weights_of_every_decoder_give_a_sound_mesh() -> None:
    """Offsets and weights move vertices within their cubes and leave the surface closed."""
    model, planes = sphere()
    noise = torch.Generator().manual_seed(0)
    for net in (model.decoder.net_deformation, model.decoder.net_weight):
        for weight in net.parameters():
            weight.copy_(torch.randn(weight.shape, generator=noise) * 0.1)
    moved, plain = extract_mesh(model, planes), extract_mesh(*sphere())
    assert closed(moved) and torch.equal(moved.faces.unique(), plain.faces.unique())
    distance = (moved.vertices - plain.vertices).abs().max()
    assert 1e-3 < float(distance) < 2.1 / 48
    assert volume(moved) == pytest.approx(volume(plain), rel=0.02)


def test_progress_runs_to_the_end_and_may_cancel() -> None:
    reports = []
    extract_mesh(*sphere(resolution=16), progress=lambda done, total, preview=None: reports.append((done, total)))
    assert reports == sorted(reports) and reports[-1] == (100, 100)

    def cancel(done: int, total: int, preview: object = None) -> None:
        if done > 30:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        extract_mesh(*sphere(resolution=16), progress=cancel)


def test_a_field_without_surface_and_odd_resolutions_are_refused() -> None:
    with pytest.raises(Bundle3DError, match="it has none; check"):
        extract_mesh(*known_field(lambda x, y: x * 0 + 1, zero, zero, resolution=16))
    with pytest.raises(Bundle3DError, match=r"8 to 512 .* got 4; 16 is the model's own"):
        extract_mesh(small_model(), torch.zeros(3, 8, 8, 8), resolution=4)
    with pytest.raises(Bundle3DError, match="finite"):
        extract_mesh(small_model(), torch.full((3, 8, 8, 8), torch.nan))
