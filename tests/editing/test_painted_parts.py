"""Parts painted on views and textures: what they hold, by geometry, and in random cases."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from bundle3d.pipelines.editing import survey
from bundle3d.pipelines.editing.face_part import face_part
from bundle3d.pipelines.editing.painted_views import painted_views
from bundle3d.pipelines.editing.region import Part, Region, SurfacePoints, points_on
from bundle3d.pipelines.editing.region_picture import region_picture
from bundle3d.pipelines.editing.uv_part import uv_part
from bundle3d.pipelines.editing.view_part import view_part
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.closest import SurfaceIndex
from bundle3d.pipelines.meshes.densify import densify
from bundle3d.pipelines.meshes.mesh import Material, Mesh
from bundle3d.pipelines.meshes.world import in_world
from bundle3d.pipelines.rendering.render_views import render_views
from bundle3d.pipelines.views.rig import Rig, named_rig
from bundle3d.tests.meshes.shapes import box, merge, soup, torus
from scipy.spatial import cKDTree

SIZE = 64
CUBE = named_rig("cube6")  # half a height of 1.1: front, left, back, right, top, bottom


def with_uv(mesh: Mesh, uv: torch.Tensor | None = None, repeat: bool = True) -> Mesh:
    """Triangles of their own, each with texture coordinates ``uv`` (3M, 2), or spread over several repetitions."""
    mesh = soup(mesh)
    if uv is None:
        uv = mesh.vertices[:, :2] * 1.3 + mesh.vertices[:, 2:] * 0.4
    return mesh.with_(uv=uv, materials=(Material(name="one", repeat=repeat),))


def two_materials() -> Mesh:
    mesh = merge(with_uv(box((1.2, 1.2, 1.2))), with_uv(box((0.4, 0.4, 0.4), (0.6, 0.6, 0.6))))
    uv = torch.cat((with_uv(box()).uv, with_uv(box()).uv))  # type: ignore[arg-type]
    return mesh.with_(
        uv=uv,
        materials=(Material(name="one"), Material(name="two", repeat=False)),
        face_material=torch.arange(24) // 12,
    )


MESHES: tuple[Callable[[], Mesh], ...] = (
    lambda: with_uv(box((1.4, 1.0, 1.2))),
    lambda: with_uv(torus(0.65, 0.3, 24, 16)),
    two_materials,
)


def random_points(mesh: Mesh, count: int = 3000, seed: int = 0) -> SurfacePoints:
    generator = torch.Generator().manual_seed(seed)
    face = torch.randint(len(mesh.faces), (count,), generator=generator)
    weights = -torch.rand(count, 3, generator=generator, dtype=torch.float64).log()
    return points_on(mesh, face, weights / weights.sum(1, keepdim=True))


def blobs(count: int, generator: torch.Generator) -> torch.Tensor:
    """Masks (count, SIZE, SIZE) of a disc each."""
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    place = torch.rand(count, 3, generator=generator)
    centre, radius = (0.25 + 0.5 * place[:, :2]) * SIZE, (0.1 + 0.2 * place[:, 2]) * SIZE
    distance = torch.hypot(x - centre[:, 0, None, None], y - centre[:, 1, None, None])
    return (distance < radius[:, None, None]).float()


def random_part(mesh: Mesh, kind: int, generator: torch.Generator) -> Part:
    if kind == 0:
        masks = blobs(6, generator) * (torch.rand(6, generator=generator) < 0.5)[:, None, None]
        masks[0] = blobs(1, generator)[0]
        return view_part(mesh, masks, CUBE)
    if kind == 1:
        return uv_part(mesh, blobs(1, generator)[0])
    first = int(torch.randint(len(mesh.faces) - 4, (1,), generator=generator))
    return face_part(mesh, f"{first}-{first + 3}, 0")


def edge_points(mesh: Mesh, count: int, seed: int) -> SurfacePoints:
    """Random points on the edges of the faces."""
    points = random_points(mesh, count, seed)
    weights = points.barycentric.clone()
    weights[torch.arange(count), torch.arange(count) % 3] = 0.0
    return points_on(mesh, points.face, weights / weights.sum(1, keepdim=True))


@pytest.fixture
def coarse_survey(monkeypatch: pytest.MonkeyPatch) -> None:
    """The surface is looked at in fewer pieces, which is enough for large discs."""
    monkeypatch.setattr(survey, "PIECES", 10_000)


@pytest.mark.usefixtures("coarse_survey")
@pytest.mark.parametrize("case", range(20))
def test_random_regions_change_nothing_beyond_their_border(case: int) -> None:
    generator = torch.Generator().manual_seed(case)
    mesh, border = MESHES[case % 3](), (0.03, 0.06, 0.1, 0.0)[case % 4]
    parts = [random_part(mesh, (case // 3) % 3, generator)]
    if case % 5 == 4:
        parts.append(random_part(mesh, (case // 3 + 1) % 3, generator))
    region = Region(mesh, parts, "any", case % 7 == 6, border)
    points, many = random_points(mesh, seed=case), random_points(mesh, 60_000, 100 + case)
    edges = edge_points(mesh, 20_000, 200 + case)
    inside, weight = region.inside(points), region.weight(points)
    samples = torch.cat([some.position[region.inside(some)] for some in (many, edges)]).numpy()
    distance = torch.from_numpy(cKDTree(samples).query(points.position.numpy())[0])
    spacing = 0.03  # of the samples, so that their distance is that much too large at most
    assert bool((weight[inside] == 1.0).all()) and 0 < int(inside.sum()) < len(points)
    assert not bool(weight[~inside & (distance > region.reach + spacing)].any())
    assert bool(((weight >= 0.0) & (weight <= 1.0)).all())
    assert not bool((weight[~region.faces()[points.face]] > 0.0).any())
    vertices = region.vertices()
    far = torch.from_numpy(cKDTree(samples).query(mesh.vertices.numpy())[0]) > region.reach + spacing
    assert not bool(vertices[far].any())


@pytest.mark.usefixtures("coarse_survey")
@pytest.mark.parametrize("number", range(3))
def test_painted_views_hold_for_other_triangles_of_the_same_surface(number: int) -> None:
    mesh = MESHES[number]()
    fine = densify(mesh, 0.11)
    masks = blobs(6, torch.Generator().manual_seed(number))
    coarse = Region(mesh, [view_part(mesh, masks, CUBE)], border=0.05)
    other = Region(fine, [view_part(fine, masks, CUBE)], border=0.05)
    points = random_points(fine)
    index = SurfaceIndex(mesh.vertices.numpy(), mesh.faces.numpy())
    face, weights = index.nearest(points.position.numpy(), 16).best
    twin = points_on(mesh, torch.from_numpy(face), torch.from_numpy(weights))
    same = (twin.position - points.position).norm(dim=1) < 1e-4
    difference = (coarse.weight(twin) - other.weight(points)).abs()[same]
    assert float((difference > 0.05).float().mean()) < 0.005


def painted(view: int, columns: slice = slice(None), rows: slice = slice(None)) -> torch.Tensor:
    masks = torch.zeros(6, SIZE, SIZE)
    masks[view, rows, columns] = 1.0
    return masks


def test_a_half_that_is_painted_in_front_is_in_and_nothing_else() -> None:
    mesh = box()
    points = random_points(mesh)
    inside = view_part(mesh, painted(0, slice(SIZE // 2, None)), CUBE)(points)
    x, front = points.position[:, 0], points.normal[:, 2] > 0.5
    clear = x.abs() > 1.1 / SIZE
    assert torch.equal(inside[clear], (front & (x > 0.0))[clear])


def test_what_is_hidden_in_the_painted_view_is_out() -> None:
    mesh = merge(box((1.8, 1.8, 0.2), (0.0, 0.0, -0.5)), box((0.6, 0.6, 0.2), (0.0, 0.0, 0.5)))
    points = random_points(mesh, 6000)
    inside = view_part(mesh, painted(0), CUBE)(points)
    front = points.normal[:, 2] > 0.5
    x, y = points.position[:, :2].abs().unbind(1)
    behind = front & (points.position[:, 2] < 0.0) & (torch.maximum(x, y) < 0.27)
    beside = front & (points.position[:, 2] < 0.0) & (torch.maximum(x, y) > 0.35)
    assert bool(behind.any()) and not bool(inside[behind].any())
    assert bool(inside[beside].all()) and not bool(inside[~front].any())


def test_what_a_view_shows_the_back_of_is_in() -> None:
    corners = torch.tensor([[-0.5, -0.5, 0.0], [0.5, -0.5, 0.0], [0.5, 0.5, 0.0], [-0.5, 0.5, 0.0]])
    away = Mesh(corners, torch.tensor([[0, 2, 1], [0, 3, 2]]))
    points = random_points(away, 500)
    assert bool((points.normal[:, 2] < 0.0).all())
    assert bool(view_part(away, painted(0), CUBE)(points).all())


@pytest.mark.parametrize("mirror", [1.0, -1.0])
def test_the_place_of_the_mesh_in_the_views_does_not_matter(mirror: float) -> None:
    cosine, sine = math.cos(0.5), math.sin(0.5)
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] = 0.02 * torch.tensor([[mirror * cosine, 0.0, sine], [0.0, 1.5, 0.0], [-mirror * sine, 0.0, cosine]])
    matrix[:3, 3] = torch.tensor([0.1, -0.2, 0.1])
    mesh = torus(30.0, 11.0, 24, 16)
    shown = in_world(mesh.with_(transform=matrix))
    masks = blobs(6, torch.Generator().manual_seed(3))
    local = random_points(mesh)
    turned = mirror < 0.0
    assert turned != torch.equal(shown.faces, mesh.faces)
    there = points_on(shown, local.face, local.barycentric.flip(1) if turned else local.barycentric)
    inside = view_part(mesh, masks, CUBE, matrix)(local)
    assert 0.05 < float(inside.float().mean()) < 0.95
    assert float((inside != view_part(shown, masks, CUBE)(there)).float().mean()) < 0.002


def test_every_view_takes_part_and_unpainted_ones_give_nothing() -> None:
    mesh = box()
    points = random_points(mesh)
    assert not bool(view_part(mesh, torch.zeros(6, SIZE, SIZE), CUBE)(points).any())
    assert bool(view_part(mesh, torch.ones(6, SIZE, SIZE), CUBE)(points).all())
    with pytest.raises(Bundle3DError, match=r"each of the 6 views, but got \(2, 64, 64\); .*\.$"):
        view_part(mesh, torch.zeros(2, SIZE, SIZE), CUBE)
    with pytest.raises(Bundle3DError, match="it is empty"):
        Region(mesh, [view_part(mesh, torch.zeros(6, SIZE, SIZE), CUBE)])


def quad(low: float, high: float, repeat: bool) -> Mesh:
    """A square whose texture coordinates run from ``low`` to ``high`` to the right, and v from 0 at the top."""
    corners = torch.tensor([[-1.0, 1.0, 0.0], [-1.0, -1.0, 0.0], [1.0, -1.0, 0.0], [1.0, 1.0, 0.0]])
    uv = torch.tensor([[low, 0.0], [low, 1.0], [high, 1.0], [high, 0.0]])
    return Mesh(corners, torch.tensor([[0, 1, 2], [0, 2, 3]]), uv=uv, materials=(Material(name="a", repeat=repeat),))


@pytest.mark.parametrize("repeat", [True, False])
def test_a_painted_texture_repeats_where_the_material_does(repeat: bool) -> None:
    mask = torch.zeros(32, 32)
    mask[:16, 16:] = 1.0  # above the middle, to the right
    mesh = quad(-1.0, 2.0, repeat)
    points = random_points(mesh)
    assert points.uv is not None
    u, v = points.uv.unbind(1)
    place = u - u.floor() if repeat else u.clamp(0.0, 1.0)
    clear = (v - 0.5).abs().minimum((place - 0.5).abs()) > 0.02
    if repeat:
        clear &= (place > 0.02) & (place < 0.98) & (v > 0.02) & (v < 0.98)
    expected = (place > 0.5) & (v < 0.5)
    assert torch.equal(uv_part(mesh, mask)(points)[clear], expected[clear])


def test_a_texture_is_painted_for_one_material_or_for_all() -> None:
    mesh = two_materials()
    points = random_points(mesh)
    assert mesh.face_material is not None
    second = mesh.face_material[points.face] == 1
    mask = torch.ones(8, 8)
    assert bool(uv_part(mesh, mask)(points).all())
    assert torch.equal(uv_part(mesh, mask, "two")(points), second)
    with pytest.raises(Bundle3DError, match=r"got 'three'; .* one, two\.$"):
        uv_part(mesh, mask, "three")
    with pytest.raises(Bundle3DError, match=r"^Expected one mask"):
        uv_part(mesh, mask[None])
    with pytest.raises(Bundle3DError, match="texture coordinates"):
        uv_part(box(), mask)


def test_a_mask_of_a_bundle_is_painted_where_any_of_its_rows_is() -> None:
    views = render_views(box(), named_rig("kiss3dgen"), 16, "clay")
    for rows in (2, 3):
        whole = torch.zeros(1, rows * 8, 32)
        whole[0, 2, 3], whole[0, 8 + 5, 8 + 6] = 1.0, 1.0  # colours of the first view, normals of the second
        found = painted_views(whole, views)
        assert found.shape == (4, 8, 8) and found.nonzero().tolist() == [[0, 2, 3], [1, 5, 6]]
    tiles = torch.rand(4, 20, 20)
    assert painted_views(tiles, views) is tiles
    for wrong in (torch.zeros(3, 20, 20), torch.zeros(1, 20, 20), torch.zeros(2, 16, 32), torch.zeros(1, 16, 34)):
        with pytest.raises(Bundle3DError, match=r"^Expected one mask painted on the bundle of the 4 views, .*\.$"):
            painted_views(wrong, views)


def tint(picture: torch.Tensor) -> torch.Tensor:
    """How far colours are from grey, which does not depend on the light."""
    return picture.amax(-1) - picture.amin(-1)


def test_the_picture_is_coloured_where_the_region_is() -> None:
    mesh = box((1.0, 1.0, 1.0))
    region = Region(mesh, [view_part(mesh, painted(0, slice(SIZE // 2, None)), CUBE)], border=0.0)
    front, back = tint(region_picture(region, 32, Rig((CUBE[0], CUBE[2]))))
    assert bool((front[10:22, 18:22] > 0.2).all()) and not bool((front[:, :14] > 1e-5).any())
    assert float(back.max()) < 1e-5
    matrix = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0], dtype=torch.float64))
    mirrored = tint(region_picture(region, 32, Rig((CUBE[0],)), matrix))[0]
    assert bool((mirrored[10:22, 10:14] > 0.2).all()) and not bool((mirrored[:, 18:] > 1e-5).any())
    assert region_picture(region, 24).shape == (4, 24, 24, 3)
