from __future__ import annotations

import math

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.isomer.hull import HALF_EXTENT, visual_hull
from bundle3d.pipelines.isomer.initial import sphere
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.rendering.rasterise import rasterise
from bundle3d.pipelines.views.rig import Rig, named_rig, orbit
from bundle3d.pipelines.views.view_set import ViewSet


def box(half: tuple[float, float, float], centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Mesh:
    corners = torch.tensor([[(i & 1) * 2 - 1, (i >> 1 & 1) * 2 - 1, (i >> 2 & 1) * 2 - 1] for i in range(8)]).float()
    quads = ((0, 4, 6, 2), (1, 3, 7, 5), (0, 1, 5, 4), (2, 6, 7, 3), (0, 2, 3, 1), (4, 5, 7, 6))
    faces = torch.tensor([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])
    return Mesh(corners * torch.tensor(half) + torch.tensor(centre), faces)


def views_of(mesh: Mesh, rig: Rig, size: int = 256) -> ViewSet:
    fragments = rasterise(rig.clip(mesh.vertices), mesh.faces, size, size)
    normals = torch.nn.functional.normalize(mesh.face_normals(), dim=1)[fragments.face.long().clamp(min=0)]
    mask = fragments.mask.float()
    return ViewSet(torch.ones(*mask.shape, 3), normals * mask[..., None], mask, rig)


def volume(mesh: Mesh) -> float:
    a, b, c = (mesh.vertices[mesh.faces[:, i]].double() for i in range(3))
    return float((torch.linalg.cross(a, b) * c).sum() / 6.0)


def is_closed(mesh: Mesh) -> bool:
    f = mesh.faces
    directed = torch.cat((f[:, [0, 1]], f[:, [1, 2]], f[:, [2, 0]]))
    key, back = (directed[:, i] * mesh.vertices.shape[0] + directed[:, 1 - i] for i in (0, 1))
    return torch.equal(key.sort().values, back.sort().values) and torch.unique(key).shape == key.shape


def overlap(mesh: Mesh, views: ViewSet) -> float:
    height, width = views.size
    covered = rasterise(views.rig.clip(mesh.vertices), mesh.faces, height, width).mask
    mask = views.mask > 0.5
    return float(((covered & mask).sum((1, 2)) / (covered | mask).sum((1, 2))).min())


def test_six_orthographic_views_of_a_box_give_the_box() -> None:
    views = views_of(box((0.8, 0.5, 0.3)), named_rig("cube6"))
    hull = visual_hull(views, 96)
    assert is_closed(hull)
    assert volume(hull) == pytest.approx(8 * 0.8 * 0.5 * 0.3, rel=0.03)
    lower, upper = hull.bounds
    assert torch.allclose(upper, torch.tensor((0.8, 0.5, 0.3)), atol=0.01)
    assert torch.allclose(lower, -torch.tensor((0.8, 0.5, 0.3)), atol=0.01)


@pytest.mark.parametrize("half", [(1.0, 0.4, 0.4), (0.4, 1.0, 0.4), (0.6, 0.6, 0.6)])
def test_boxes_end_flat_above_and_below(half: tuple[float, float, float]) -> None:
    views = views_of(box(half), named_rig("kiss3dgen"))
    hull = visual_hull(views, 96)
    lower, upper = hull.bounds
    assert is_closed(hull)
    assert abs(float(lower[1]) + half[1]) < 0.01
    assert abs(float(upper[1]) - half[1]) < 0.02
    assert overlap(hull, views) > 0.985


def test_a_sphere_lies_within_its_hull_of_many_views() -> None:
    views = views_of(sphere(0.9, 5), orbit(24))
    hull = visual_hull(views, 96)
    around = hull.vertices[hull.vertices[:, 1].abs() < 0.3].norm(dim=1)
    assert is_closed(hull)
    assert (around - 0.9).abs().max() < 0.02
    assert volume(hull) == pytest.approx(4.0 / 3.0 * math.pi * 0.9**3, rel=0.02)
    assert hull.vertices.abs().max() < HALF_EXTENT


def test_parts_thinner_than_a_cell_survive() -> None:
    rod = box((0.006, 0.9, 0.006), (0.415, 0.0, 0.215))
    views = views_of(rod, named_rig("kiss3dgen"), 512)
    hull = visual_hull(views, 64)
    lower, upper = hull.bounds
    assert is_closed(hull)
    assert float(upper[1] - lower[1]) > 1.75
    assert float((upper - lower)[[0, 2]].max()) < 0.1
    with pytest.raises(Bundle3DError, match="no common body"):
        visual_hull(views, 64, keep_thin_parts=False)


def test_the_corners_of_thick_parts_are_not_widened() -> None:
    views = views_of(box((0.7, 0.7, 0.7)), named_rig("cube6"))
    assert float(visual_hull(views, 64).bounds[1].max()) < 0.71


def test_wrong_silhouettes_are_refused() -> None:
    views = views_of(box((0.5, 0.5, 0.5)), named_rig("kiss3dgen"))
    empty = ViewSet(views.rgb, views.normal, views.mask * torch.tensor((1.0, 0.0, 1.0, 1.0))[:, None, None], views.rig)
    with pytest.raises(Bundle3DError, match="view 2"):
        visual_hull(empty)
    with pytest.raises(Bundle3DError, match="resolution"):
        visual_hull(views, 2)


def test_progress_covers_the_grid() -> None:
    seen: list[tuple[int, int]] = []
    views = views_of(box((0.5, 0.5, 0.5)), named_rig("kiss3dgen"), 64)
    visual_hull(views, 32, progress=lambda done, total, preview=None: seen.append((done, total)))
    assert seen[-1] == (33, 33) and seen == sorted(seen) and len(seen) == 8


def test_an_icosphere_is_round_closed_and_faces_outward() -> None:
    mesh = sphere(0.5, 3)
    assert mesh.faces.shape == (1280, 3) and mesh.vertices.shape == (642, 3)
    assert torch.allclose(mesh.vertices.norm(dim=1), torch.tensor(0.5), atol=1e-6)
    assert is_closed(mesh)
    assert volume(mesh) == pytest.approx(4.0 / 3.0 * math.pi * 0.125, rel=0.02)
    with pytest.raises(Bundle3DError):
        sphere(0.0)
