from __future__ import annotations

from functools import partial

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.topology import components
from bundle3d.pipelines.texturing.texel_map import rasterise_uv, uv_overlap
from bundle3d.pipelines.texturing.unwrap import unwrap
from bundle3d.tests.meshes.shapes import box, cylinder, merge, moebius, soup, sphere, torus
from hypothesis import given, settings
from hypothesis import strategies as st

SHAPES = {
    "box": box(),
    "slab": box((4.0, 1.0, 0.01)),
    "sphere": sphere(),
    "torus": torus(),
    "tube": cylinder(),
    "moebius": moebius(),
    "soup": soup(sphere(subdivisions=2)),
    "two": merge(sphere(), box(center=(3, 0, 0))),
}


def spiral(turns: float = 2.5, columns: int = 200) -> Mesh:
    """A rolled-up sheet whose layers hide each other from every side."""
    angle = torch.linspace(0, turns * 6.2832, columns)
    radius = 0.3 + 0.08 * angle
    ring = torch.stack((radius * torch.cos(angle), torch.zeros(columns), radius * torch.sin(angle)), 1)
    vertices = torch.cat((ring, ring + torch.tensor([0.0, 1.0, 0.0])))
    a = torch.arange(columns - 1)
    faces = torch.cat((torch.stack((a, a + 1, a + columns), 1), torch.stack((a + 1, a + columns + 1, a + columns), 1)))
    return Mesh(vertices=vertices, faces=faces)


def ramp(turns: int, steps: int = 24) -> Mesh:
    """A spiral ramp: as many layers as turns, which all look up and are joined."""
    angle = torch.linspace(0, turns * 2 * torch.pi, turns * steps + 1)
    height = angle * 0.03
    inner, outer = (torch.stack((r * torch.cos(angle), height, r * torch.sin(angle)), 1) for r in (0.3, 1.0))
    a, b = torch.arange(turns * steps), torch.arange(turns * steps) + turns * steps + 1
    faces = torch.cat((torch.stack((a, b, a + 1), 1), torch.stack((a + 1, b, b + 1), 1)))
    return Mesh(vertices=torch.cat((inner, outer)), faces=faces)


def areas(points: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    """(M,) signed areas in the plane."""
    a, b, c = (points[faces[:, i]].double() for i in range(3))
    return 0.5 * ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("name", SHAPES)
def test_charts_cover_without_overlap(name: str, backend: str) -> None:
    mesh = SHAPES[name]
    flat, source = unwrap(mesh, 512, 4, backend)
    assert torch.equal(flat.vertices, mesh.vertices[source])
    assert torch.equal(source[flat.faces], mesh.faces)
    assert float(flat.uv.min()) >= 0 and float(flat.uv.max()) <= 1
    assert uv_overlap(flat.uv, flat.faces, 1024).share < 1e-3


@pytest.mark.parametrize("name", SHAPES)
def test_charts_face_the_viewer_and_share_one_density(name: str) -> None:
    mesh = SHAPES[name]
    flat, _ = unwrap(mesh, 512)
    # v points down, so a face that is not mirrored runs clockwise in (u, v)
    flat_area = -areas(flat.uv, flat.faces)
    solid = flat.face_normals().double().norm(dim=1) / 2
    assert bool((flat_area > 0).all())
    density = (flat_area / solid).sqrt()
    assert float(density.min() / density.max()) > 0.45


def test_padding_keeps_charts_apart() -> None:
    flat, _ = unwrap(sphere(), 256, 8)
    labels = components(flat.faces, flat.vertices.shape[0])
    texels = rasterise_uv(flat, 256, border=0)
    owner = torch.where(texels.mask, labels[texels.face.clamp(min=0).long()], -1)
    for shift in range(1, 8):
        for axis in (0, 1):
            a = owner.narrow(axis, shift, 256 - shift)
            b = owner.narrow(axis, 0, 256 - shift)
            assert not bool(((a != b) & (a >= 0) & (b >= 0)).any())


def test_layers_of_a_roll_are_separated() -> None:
    flat, _ = unwrap(spiral(), 1024)
    assert uv_overlap(flat.uv, flat.faces, 2048).share < 1e-3


def test_backends_pack_alike() -> None:
    first, second = (unwrap(torus(), 512, 4, backend)[0] for backend in ("numba", "torch"))
    assert torch.equal(first.uv, second.uv)


def test_use_of_the_texture() -> None:
    for mesh in (sphere(), torus(), box()):
        flat, _ = unwrap(mesh, 512, 2)
        assert uv_overlap(flat.uv, flat.faces, 512).covered / 512**2 > 0.45


def test_attributes_follow() -> None:
    mesh = sphere(subdivisions=1).with_(colors=torch.rand(42, 3), face_material=torch.zeros(80, dtype=torch.int64))
    flat, source = unwrap(mesh, 128)
    assert torch.equal(flat.colors, mesh.colors[source]) and torch.equal(flat.face_material, mesh.face_material)


def test_flat_faces_do_no_harm() -> None:
    mesh = box()
    faces = torch.cat((mesh.faces, torch.tensor([[0, 1, 1], [0, 0, 0]])))
    flat, _ = unwrap(mesh.with_(faces=faces), 128)
    assert flat.faces.shape == faces.shape and bool(torch.isfinite(flat.uv).all())


@pytest.mark.parametrize("turns", [7, 12, 80])
def test_many_layers_above_each_other_do_not_overlap(turns: int) -> None:
    flat, _ = unwrap(ramp(turns), 512, 1)
    assert uv_overlap(flat.uv, flat.faces, 1024).share < 1e-3


def test_progress_grows_and_can_cancel() -> None:
    calls: list[tuple[int, int]] = []

    def cancel_at(limit: int, done: int, total: int, preview: object = None) -> None:
        calls.append((done, total))
        if len(calls) == limit:
            raise InterruptedError

    unwrap(ramp(8), 512, progress=partial(cancel_at, 1000))
    assert calls == sorted(calls) and calls[0] == (0, 100) and calls[-1][0] <= 100
    for limit in range(1, len(calls) + 1, 4):  # in the cutting as well as in the packing
        calls.clear()
        with pytest.raises(InterruptedError):
            unwrap(ramp(8), 512, progress=partial(cancel_at, limit))
        assert len(calls) == limit


def test_refusals() -> None:
    with pytest.raises(Bundle3DError, match="faces"):
        unwrap(Mesh(vertices=torch.zeros(1, 3), faces=torch.zeros((0, 3), dtype=torch.int64)))
    line = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [1.0, 0.0, 0.0]])
    with pytest.raises(Bundle3DError, match="lines or points"):
        unwrap(Mesh(line, torch.tensor([[0, 1, 2]])))
    with pytest.raises(Bundle3DError, match="resolution"):
        unwrap(box(), 8)
    with pytest.raises(Bundle3DError, match="do not; choose"):
        unwrap(soup(sphere()).with_(vertices=soup(sphere()).vertices + torch.arange(3840)[:, None] // 3 * 9.0), 64, 8)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_any_triangles_unwrap_without_overlap(seed: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    vertices = torch.rand((count + 2, 3), generator=generator)
    faces = torch.stack([torch.randperm(count + 2, generator=generator)[:3] for _ in range(count)])
    flat, _ = unwrap(Mesh(vertices=vertices, faces=faces), 512, 2)
    assert uv_overlap(flat.uv, flat.faces, 512).share < 0.01
