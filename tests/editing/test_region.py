"""Regions: weights against the exact distance, whatever the triangles are."""

from __future__ import annotations

import math

import pytest
import torch
from bundle3d.pipelines.editing import survey
from bundle3d.pipelines.editing.region import Part, Region, SurfacePoints, points_on
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.closest import SurfaceIndex
from bundle3d.pipelines.meshes.densify import densify
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.tests.meshes.shapes import box, merge, soup, torus

RADIUS, BORDER = 0.25, 0.1


@pytest.fixture(autouse=True)
def coarse_survey(monkeypatch: pytest.MonkeyPatch) -> None:
    """The surface is looked at in fewer pieces, which is enough for large balls."""
    monkeypatch.setattr(survey, "PIECES", 20_000)


def random_points(mesh: Mesh, count: int = 4000, seed: int = 0) -> SurfacePoints:
    generator = torch.Generator().manual_seed(seed)
    face = torch.randint(len(mesh.faces), (count,), generator=generator)
    weights = -torch.rand(count, 3, generator=generator, dtype=torch.float64).log()
    return points_on(mesh, face, weights / weights.sum(1, keepdim=True))


def ball(x: float, y: float, z: float, radius: float = RADIUS) -> Part:
    centre = torch.tensor((x, y, z))
    return lambda points: (points.position - centre).norm(dim=1) <= radius


def fading(distance: torch.Tensor, reach: float = BORDER) -> torch.Tensor:
    share = (1.0 - distance / reach).clamp(0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)


def test_points_lie_where_their_barycentrics_say() -> None:
    mesh = box().with_(uv=torch.rand(8, 2, generator=torch.Generator().manual_seed(0)))
    points = points_on(mesh, torch.tensor([3, 0]), torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]))
    corners = mesh.faces[0]
    assert torch.equal(points.position[0], mesh.vertices[mesh.faces[3, 0]])
    assert torch.allclose(points.position[1], mesh.vertices[corners[1:]].mean(0))
    assert mesh.uv is not None and points.uv is not None
    assert torch.allclose(points.uv[1], mesh.uv[corners[1:]].mean(0))
    assert torch.allclose(points.normal, torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]))
    assert len(points[1:]) == 1 and torch.equal(points[torch.tensor([1])].face, points.face[1:])


def test_the_normal_of_a_tiny_face_is_a_unit_vector_and_that_of_an_empty_one_zero() -> None:
    tiny = torch.tensor([[0.0, 0.0, 0.0], [1e-18, 0.0, 0.0], [0.0, 1e-18, 0.0], [2e-18, 0.0, 0.0]])
    points = points_on(Mesh(tiny, torch.tensor([[0, 1, 2], [0, 1, 3]])), torch.tensor([0, 1]), torch.eye(3)[:2])
    assert torch.allclose(points.normal, torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]))


def test_without_parts_everything_may_change() -> None:
    mesh = torus(columns=12, rows=8)
    region = Region(mesh)
    assert region.is_everything and region.share == 1.0
    assert bool(region.faces().all()) and torch.equal(region.vertices(), torch.ones(len(mesh.vertices)))
    assert torch.equal(region.weight(random_points(mesh)), torch.ones(4000))


def test_the_weight_is_that_of_the_exact_distance() -> None:
    mesh = box()
    region, points = Region(mesh, [ball(0.1, -0.1, 0.5)], border=BORDER), random_points(mesh)
    front = points.position[:, 2] > 0.499
    distance = ((points.position - torch.tensor((0.1, -0.1, 0.5))).norm(dim=1) - RADIUS).clamp(min=0.0)
    weight = region.weight(points)
    assert float((weight - fading(distance))[front].abs().max()) < 0.01
    assert torch.equal(weight[distance <= 0.0], torch.ones(int((distance <= 0.0).sum())))
    assert not bool(weight[distance > BORDER].any())
    assert region.share == pytest.approx(math.pi * RADIUS**2 / 6.0, rel=0.02)


@pytest.mark.parametrize("mesh", [box(), torus(columns=16, rows=12)], ids=["box", "torus"])
def test_other_triangles_of_the_same_surface_have_the_same_weights(mesh: Mesh) -> None:
    spot = ball(0.9, 0.3, 0.3, 0.5)
    coarse, fine = Region(mesh, [spot], border=0.05), Region(densify(mesh, 0.15), [spot], border=0.05)
    points = random_points(fine.mesh)
    weight = coarse_weights(coarse, points.position)
    assert 0.02 < float((weight > 0.0).float().mean()) < 0.9
    assert float((fine.weight(points) - weight).abs().max()) < 0.02
    assert fine.share == pytest.approx(coarse.share, rel=0.02)


def coarse_weights(region: Region, places: torch.Tensor) -> torch.Tensor:
    """The weights of ``region`` at the places of its mesh that are nearest to ``places`` (P, 3)."""
    mesh = region.mesh
    face, weights = SurfaceIndex(mesh.vertices.numpy(), mesh.faces.numpy()).nearest(places.numpy(), 16).best
    return region.weight(points_on(mesh, torch.from_numpy(face), torch.from_numpy(weights)))


def test_the_border_crosses_seams_and_edges_but_not_thin_walls() -> None:
    plate = soup(box((1.0, 1.0, 0.02)))
    spot = ball(0.5, 0.0, 0.01)
    region = Region(plate, [lambda points: spot(points) & (points.normal[:, 2] > -0.5)], border=BORDER)
    points = random_points(plate)
    weight, normal = region.weight(points), points.normal
    front, back, right = normal[:, 2] > 0.5, normal[:, 2] < -0.5, normal[:, 0] > 0.5
    distance = ((points.position - torch.tensor((0.5, 0.0, 0.01))).norm(dim=1) - RADIUS).clamp(min=0.0)
    assert float((weight - fading(distance))[front].abs().max()) < 0.01
    assert float((weight - fading(distance))[right].abs().max()) < 0.01
    assert bool((weight[back & (distance == 0.0) & (points.position[:, 0] > 0.49)] > 0.5).all())
    assert not bool(weight[back & (points.position[:, 0] < 0.5 - BORDER)].any())


def test_a_border_of_nothing_is_a_hard_edge() -> None:
    mesh = box()
    region, points = Region(mesh, [ball(0.0, 0.0, 0.5)], border=0.0), random_points(mesh)
    assert torch.equal(region.weight(points), region.inside(points).float())
    assert region.faces().tolist() == [face in (2, 3) for face in range(12)]


def test_inverted_and_combined_parts() -> None:
    mesh = box()
    left, right = ball(-0.1, 0.0, 0.5), ball(0.1, 0.0, 0.5)
    points = random_points(mesh)
    one, two = left(points), right(points)
    assert bool((one & two).any()) and bool((one & ~two).any())
    for combine, expected in (("any", one | two), ("all", one & two)):
        assert torch.equal(Region(mesh, [left, right], combine, border=0.0).inside(points), expected)
        inverted = Region(mesh, [left, right], combine, True, BORDER)
        assert torch.equal(inverted.inside(points), ~expected)
        assert bool(inverted.faces().all()) and bool((inverted.weight(points)[~expected] == 1.0).all())
        share = Region(mesh, [left, right], combine, border=BORDER).share
        assert inverted.share == pytest.approx(1.0 - share, rel=1e-6)


def test_faces_misses_no_place_within_the_border() -> None:
    mesh = densify(merge(box(), box((0.3, 0.3, 0.3), (0.7, 0.0, 0.0))), 0.1)
    region = Region(mesh, [ball(0.5, 0.2, 0.2)], border=0.05)
    reach, points = region.reach, random_points(mesh, 20000)
    distance = ((points.position - torch.tensor((0.5, 0.2, 0.2))).norm(dim=1) - RADIUS).clamp(min=0.0)
    told = region.faces()
    assert 0 < int(told.sum()) < len(mesh.faces) // 2
    assert not bool((region.weight(points)[~told[points.face]] > 0.0).any())
    facing = torch.zeros(len(points), dtype=torch.bool)
    facing[(points.normal @ torch.tensor((1.0, 1.0, 1.0))) > 0.0] = True
    on_sphere_side = facing & (distance < 0.5 * reach) & (points.position[:, 0] > 0.499)
    assert bool(told[points.face[on_sphere_side]].all())


def test_vertices_at_one_place_weigh_the_same_and_unused_ones_nothing() -> None:
    mesh = soup(densify(box(), 0.2))
    mesh = mesh.with_(vertices=torch.cat((mesh.vertices, torch.tensor([[0.0, 0.0, 0.5]]))))
    weight = Region(mesh, [ball(0.5, 0.5, 0.5)], border=BORDER).vertices()
    assert weight.shape == (len(mesh.vertices),) and float(weight[-1]) == 0.0
    order = torch.unique(mesh.vertices[:-1], dim=0, return_inverse=True)[1]
    for place in range(int(order.max()) + 1):
        assert len(weight[:-1][order == place].unique()) == 1
    distance = ((mesh.vertices[:-1] - 0.5).norm(dim=1) - RADIUS).clamp(min=0.0)
    assert float((weight[:-1] - fading(distance)).abs().max()) < 0.01


def test_with_a_hard_edge_vertices_of_faces_outside_stay() -> None:
    mesh = densify(box(), 0.2)
    chosen = torch.zeros(len(mesh.faces), dtype=torch.bool)
    chosen[::7] = True
    weight = Region(mesh, [lambda points: chosen[points.face]], border=0.0).vertices()
    assert not bool(weight[mesh.faces[~chosen]].any())


def test_it_is_the_same_wherever_the_mesh_lies() -> None:
    mesh = torus(columns=16, rows=12)
    moved = mesh.with_(vertices=mesh.vertices * 100.0 + 500.0)
    spot = ball(0.9, 0.3, 0.3, 0.5)
    there = Region(
        moved,
        [lambda p: ((p.position - 500.0) / 100.0 - torch.tensor((0.9, 0.3, 0.3))).norm(dim=1) <= 0.5],
        border=0.05,
    )
    points, other = random_points(mesh), random_points(moved)
    assert float((Region(mesh, [spot], border=0.05).weight(points) - there.weight(other)).abs().max()) < 0.02


def test_thin_and_empty_triangles_are_looked_at_in_bounded_time() -> None:
    count = 100
    height = torch.linspace(0.0, 1e-4, count + 1)
    rail = torch.stack((torch.zeros(count + 1), height, torch.zeros(count + 1)), dim=1)
    fan = Mesh(
        torch.cat((rail, torch.tensor([[1.0, 0.0, 0.0]]))),
        torch.stack((torch.arange(count), torch.arange(1, count + 1), torch.full((count,), count + 1)), dim=1),
    )
    line = Mesh(torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.5, 0.0, 0.0]]), torch.tensor([[0, 1, 2]]))
    for mesh in (fan, line):
        region = Region(mesh, [lambda points: points.position[:, 0] < 0.3], border=0.02)
        points = points_on(mesh, torch.zeros(2, dtype=torch.int64), torch.tensor([[1.0, 0.0, 0.0], [0.01, 0.01, 0.98]]))
        assert float(region.weight(points)[0]) == 1.0


def test_an_empty_region_and_odd_settings_are_refused_in_a_sentence() -> None:
    mesh, sentence = box(), r"^Expected .*\.$"
    with pytest.raises(Bundle3DError, match=r"it is empty; paint or name a place on the mesh\.$"):
        Region(mesh, [ball(9.0, 9.0, 9.0)])
    with pytest.raises(Bundle3DError, match="it is empty"):
        Region(mesh, invert=True)
    with pytest.raises(Bundle3DError, match=sentence):
        Region(mesh, combine="some")
    for border in (-0.1, math.nan, 2.0):
        with pytest.raises(Bundle3DError, match=sentence):
            Region(mesh, border=border)
    with pytest.raises(Bundle3DError, match=sentence):
        Region(Mesh(torch.zeros(3, 3), torch.zeros(0, 3, dtype=torch.int64)))


def test_it_belongs_to_its_mesh() -> None:
    mesh = box()
    region = Region(mesh)
    region.require(mesh.with_(name="other"))
    with pytest.raises(Bundle3DError, match=r"with 24 triangles, but it was made for another one with 12"):
        region.require(merge(mesh, mesh))
