from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes import weld as weld_module
from bundle3d.pipelines.meshes.topology import is_watertight
from bundle3d.pipelines.meshes.weld import keep_faces, merge_rows, position_ids, weld, welded_faces
from hypothesis import given, settings
from hypothesis import strategies as st

from .shapes import box, soup, sphere


def test_welding_a_soup_closes_it() -> None:
    welded = weld(soup(sphere()))
    assert welded.vertices.shape == sphere().vertices.shape
    assert is_watertight(welded.faces)
    assert not is_watertight(soup(sphere()).faces)
    assert is_watertight(welded_faces(soup(sphere())))


def test_seams_stay_unless_dropped() -> None:
    mesh = soup(box())
    uv = torch.rand((mesh.vertices.shape[0], 2), generator=torch.Generator().manual_seed(0))
    colors = torch.rand((mesh.vertices.shape[0], 3), generator=torch.Generator().manual_seed(1))
    mesh = mesh.with_(uv=uv, colors=colors)
    assert weld(mesh).vertices.shape[0] == 36
    closed = weld(mesh, keep_seams=False)
    assert closed.vertices.shape[0] == 8 and closed.uv is None and is_watertight(closed.faces)
    ids = position_ids(mesh.vertices)
    for i in range(8):
        assert torch.allclose(closed.colors[i], colors[ids == i].mean(0), atol=1e-6)


def test_tolerance_merges_noise_but_not_neighbours() -> None:
    mesh = soup(sphere())
    noise = torch.randn(mesh.vertices.shape, generator=torch.Generator().manual_seed(0)).clamp(-3, 3) * 1e-6
    noisy = mesh.with_(vertices=mesh.vertices + noise)
    welded = weld(noisy, tolerance=1e-4)
    assert welded.vertices.shape[0] == sphere().vertices.shape[0] and is_watertight(welded.faces)
    assert not is_watertight(welded_faces(noisy))


def test_collapsed_faces_go() -> None:
    mesh = box((1.0, 1.0, 1e-7))
    welded = weld(mesh, tolerance=1e-5)
    assert welded.vertices.shape[0] == 4
    assert welded.faces.shape[0] == 4


def test_rows_of_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weld_module, "_hash_rows", lambda values: torch.zeros(values.shape[0], dtype=torch.int64))
    assert merge_rows(torch.tensor([[2.0, 1.0], [1.0, 2.0], [2.0, 1.0], [1.0, 3.0]])).tolist() == [0, 1, 0, 2]


def test_negative_tolerance_is_refused() -> None:
    with pytest.raises(Bundle3DError, match="tolerance"):
        position_ids(box().vertices, -1.0)


def test_negative_zero_equals_zero() -> None:
    assert position_ids(torch.tensor([[0.0, -0.0, 1.0], [-0.0, 0.0, 1.0]])).tolist() == [0, 0]


def test_keep_faces_drops_unused_vertices_and_carries_materials() -> None:
    mesh = box().with_(face_material=torch.arange(12))
    part = keep_faces(mesh, torch.arange(12) < 2)
    assert part.vertices.shape[0] == 4 and part.face_material.tolist() == [0, 1]
    assert torch.equal(part.vertices[part.faces], mesh.vertices[mesh.faces[:2]])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60))
def test_ids_are_the_partition_by_equality(rows: list[tuple[int, int, int]]) -> None:
    seen: dict[tuple[int, int, int], int] = {}
    expected = [seen.setdefault(row, len(seen)) for row in rows]
    assert merge_rows(torch.tensor(rows, dtype=torch.float32)).tolist() == expected


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-4, 0.5))
def test_tolerance_bounds(seed: int, tolerance: float) -> None:
    points = torch.rand((60, 3), generator=torch.Generator().manual_seed(seed))
    ids = position_ids(points, tolerance)
    near = torch.cdist(points.double(), points.double()) < tolerance / 8
    assert bool((ids[:, None] == ids)[near].all())
    lone = (torch.cdist(points.double(), points.double()) + torch.eye(60) * 9 > tolerance * 1.9).all(1)
    assert bool((torch.bincount(ids)[ids][lone] == 1).all())
