from __future__ import annotations

import math

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.kernels import HAVE_NUMBA
from bundle3d.pipelines.rendering.rasterise import rasterise, visible_faces
from bundle3d.pipelines.views.camera import Camera
from bundle3d.pipelines.views.rig import Rig

from .cases import both_projections, each_backend
from .shapes import ORTHOGRAPHIC, PERSPECTIVE, bumpy, flat, soup, sphere


@each_backend
def test_pixels_on_edges_belong_to_top_and_left(backend: str) -> None:
    # corners on pixel centres: top row and left column are inside, bottom row and right column are not
    clip = flat([(2.5, 1.5, 0), (6.5, 1.5, 0), (6.5, 5.5, 0), (2.5, 5.5, 0)], 8)
    mask = rasterise(clip, torch.tensor([[0, 1, 2], [0, 2, 3]]), 8, 8, backend).mask[0]
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[1:5, 2:6] = True
    assert torch.equal(mask, expected)


@each_backend
def test_a_fan_covers_every_pixel_exactly_once(backend: str) -> None:
    angles = torch.arange(23) * (2 * math.pi / 23)
    rim = [(16.5 + 60 * math.cos(a), 12.5 + 60 * math.sin(a), 0.0) for a in angles.tolist()]
    clip = flat([(16.5, 12.5, 0.0), *rim], 32)
    faces = torch.tensor([(0, 1 + i, 1 + (i + 1) % 23) for i in range(23)])
    covered = sum(rasterise(clip, face[None], 32, 32, backend).mask.int() for face in faces)
    assert torch.equal(covered, torch.ones(1, 32, 32, dtype=torch.int32))


@each_backend
def test_winding_does_not_matter(backend: str) -> None:
    clip, faces = soup(40)
    one, other = rasterise(clip, faces, 64, 64, backend), rasterise(clip, faces.flip(1), 64, 64, backend)
    assert torch.equal(one.face, other.face)


@each_backend
def test_nearest_face_wins_then_the_lower_index(backend: str) -> None:
    corners = [(-9.0, -9.0), (30.0, -9.0), (-9.0, 30.0)]
    depths = (0.5, -0.25, -0.25, 0.0)
    clip = flat([(x, y, z) for z in depths for x, y in corners], 8)
    fragments = rasterise(clip, torch.arange(12).reshape(4, 3), 8, 8, backend)
    assert bool((fragments.face == 1).all())
    assert torch.allclose(fragments.depth, torch.tensor(-0.25))


@each_backend
def test_depth_outside_the_range_is_not_drawn(backend: str) -> None:
    # depth grows along x by 0.9 per pixel and passes through zero at x = 4, so that both limits cut the image
    clip = flat([(-96, 4, -90), (104, 4, 90), (4, -1000, 0), (4, 1000, 0)], 8)
    fragments = rasterise(clip, torch.tensor([[0, 1, 2], [0, 1, 3]]), 8, 8, backend)
    expected = (torch.arange(8) + 0.5 - 4) * 0.9
    visible = expected.abs() < 1
    assert torch.equal(fragments.mask[0], visible.expand(8, 8))
    assert torch.allclose(fragments.depth[0][:, visible], expected[visible].expand(8, -1), atol=0.02)


@each_backend
@both_projections
def test_barycentrics_are_perspective_correct(rig: Rig, backend: str) -> None:
    vertices, faces = bumpy(12)
    clip = rig.clip(vertices.float(), 128 / 96)
    fragments = rasterise(clip, faces, 96, 128, backend)
    assert 0.1 < fragments.mask.float().mean() < 0.6
    for view, camera in enumerate(rig):
        row, column = fragments.mask[view].nonzero(as_tuple=True)
        corners = vertices[faces[fragments.face[view, row, column].long()]]
        weights = fragments.barycentric[view, row, column].double()
        assert torch.allclose(weights.sum(-1), torch.ones(len(row), dtype=torch.float64), atol=1e-6)
        pixels, depth = camera.project((corners * weights[..., None]).sum(1), 96, 128)
        away = (pixels - torch.stack((column, row), dim=-1) - 0.5).norm(dim=-1)
        assert away.median() < 1e-4 and away.max() < 0.05
        w = depth if camera.is_perspective else torch.ones_like(depth)
        matrix = camera.projection()
        ndc = (-depth * matrix[2, 2] + matrix[2, 3]) / w
        error = (fragments.depth[view, row, column].double() - ndc).abs()
        assert error.median() < 1e-6 and error.max() < 2e-3


@each_backend
def test_an_aspect_ratio_keeps_shapes(backend: str) -> None:
    vertices, faces = sphere(24)
    rig = Rig((Camera(0, half_height=1.0),))
    mask = rasterise(rig.clip(vertices.float(), 2.0), faces, 100, 200, backend).mask[0]
    rows, columns = mask.any(1).sum(), mask.any(0).sum()
    assert rows == columns == 80


@each_backend
def test_a_floor_that_runs_behind_the_camera(backend: str) -> None:
    camera = Camera(25.0, 8.0, 2.0, fov=60.0, near=0.2, far=50.0)
    floor = torch.tensor([[-40.0, -0.5, -40], [40, -0.5, -40], [40, -0.5, 40], [-40, -0.5, 40]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    fragments = rasterise(Rig((camera,)).clip(floor), faces, 120, 120, backend)
    origins, directions = camera.rays(120, 120)
    reach = (-0.5 - origins[..., 1]) / directions[..., 1]
    hit = origins + directions * reach[..., None]
    depth = (camera.eye() - hit) @ camera.rotation()[2]
    inside = (reach > 0) & (hit[..., 0].abs() < 40) & (hit[..., 2].abs() < 40) & (depth > 0.2) & (depth < 50)
    assert 0.3 < inside.double().mean() < 0.9
    assert (fragments.mask[0] != inside).sum() <= 3
    both = fragments.mask[0] & inside
    corners = floor[faces[fragments.face[0][both].long()]].double()
    found = (corners * fragments.barycentric[0][both].double()[..., None]).sum(1)
    assert ((found - hit[both]).norm(dim=-1) / depth[both]).max() < 2e-3


@each_backend
def test_nothing_behind_the_camera_or_not_finite_is_drawn(backend: str) -> None:
    rig = Rig((Camera(0, distance=2.0, fov=40.0),))
    behind = torch.tensor([[-1.0, -1, 4], [1, -1, 4], [0, 1, 4]])
    broken = torch.tensor([[-1.0, float("nan"), 0], [1, -1, 0], [0, 1, 0]])
    endless = torch.tensor([[-1.0, float("inf"), 0], [1, -1, 0], [0, 1, 0]])
    for points in (behind, broken, endless):
        assert not rasterise(rig.clip(points), torch.tensor([[0, 1, 2]]), 32, 32, backend).mask.any()


@each_backend
def test_a_triangle_far_larger_than_the_image(backend: str) -> None:
    clip = torch.tensor([[[-3e7, -1e7, 0, 1], [3e7, -1e7, 0, 1], [0, 4e7, 0, 1]]])
    assert rasterise(clip, torch.tensor([[0, 1, 2]]), 40, 56, backend).mask.all()


@each_backend
def test_no_faces_make_an_empty_image(backend: str) -> None:
    fragments = rasterise(torch.zeros(2, 0, 4), torch.zeros(0, 3, dtype=torch.int64), 5, 6, backend)
    assert fragments.face.shape == (2, 5, 6) and not fragments.mask.any()
    assert bool((fragments.depth == 1).all()) and not fragments.barycentric.any()


@pytest.mark.skipif(not HAVE_NUMBA, reason="numba is not installed")
@pytest.mark.parametrize("case", ("orthographic", "perspective", "soup", "inside"))
def test_backends_agree(case: str) -> None:
    vertices, faces = bumpy(40)
    if case == "soup":
        clip, faces = soup(3000)
    elif case == "inside":
        clip = Rig((Camera(20, 10, 0.4, fov=90.0, near=0.05), Camera(200, 0, 0.75, fov=60.0))).clip(vertices.float())
    else:
        clip = (ORTHOGRAPHIC if case == "orthographic" else PERSPECTIVE).clip(vertices.float())
    one, other = (rasterise(clip, faces, 150, 130, backend) for backend in ("numba", "torch"))
    same = one.face == other.face
    assert same.double().mean() >= 0.9999
    assert torch.allclose(one.depth, other.depth, atol=1e-6)
    assert torch.allclose(one.barycentric[same], other.barycentric[same], atol=1e-5)


@each_backend
@pytest.mark.parametrize("case", ("perspective", "soup"))
def test_visible_faces_are_those_of_the_fragments(case: str, backend: str) -> None:
    clip, faces = soup(3000)
    if case == "perspective":
        vertices, faces = bumpy(20)
        clip = PERSPECTIVE.clip(vertices.float())
    face = visible_faces(clip, faces, 60, 50, backend)
    assert face.dtype == torch.int32 and torch.equal(face, rasterise(clip, faces, 60, 50, backend).face)


@each_backend
def test_layers_come_in_the_order_of_depth_then_index(backend: str) -> None:
    corners = [(-9.0, -9.0), (30.0, -9.0), (-9.0, 30.0)]
    clip = flat([(x, y, z) for z in (0.5, -0.25, -0.25, 0.0) for x, y in corners], 8)
    layers, behind = [], None
    for _ in range(5):
        behind = rasterise(clip, torch.arange(12).reshape(4, 3), 8, 8, backend, behind)
        layers.append(behind.face.unique().tolist())
    assert layers == [[1], [2], [3], [0], [-1]]


@pytest.mark.skipif(not HAVE_NUMBA, reason="numba is not installed")
def test_backends_peel_the_same_layers() -> None:
    clip, faces = soup(200)
    ones = others = None
    for _ in range(4):
        ones, others = (
            rasterise(clip, faces, 64, 64, backend, behind) for backend, behind in (("numba", ones), ("torch", others))
        )
        assert (ones.face == others.face).double().mean() >= 0.999
        assert (ones.depth - others.depth).abs().double().median() < 1e-6
    assert 0.0 < float(ones.mask.double().mean()) < 1.0


@each_backend
def test_inputs_stay_as_they_are_and_results_repeat(backend: str) -> None:
    clip, faces = soup(200)
    before = clip.clone(), faces.clone()
    first, second = rasterise(clip, faces, 64, 64, backend), rasterise(clip, faces, 64, 64, backend)
    assert torch.equal(clip, before[0]) and torch.equal(faces, before[1])
    assert torch.equal(first.face, second.face) and torch.equal(first.barycentric, second.barycentric)


@pytest.mark.parametrize(
    ("clip", "faces", "size"),
    [
        (torch.zeros(3, 4), torch.tensor([[0, 1, 2]]), (8, 8)),
        (torch.zeros(1, 3, 3), torch.tensor([[0, 1, 2]]), (8, 8)),
        (torch.zeros(1, 3, 4), torch.tensor([[0, 1, 3]]), (8, 8)),
        (torch.zeros(1, 3, 4), torch.tensor([[0, 1, -1]]), (8, 8)),
        (torch.zeros(1, 3, 4), torch.tensor([[0, 1]]), (8, 8)),
        (torch.zeros(1, 3, 4), torch.tensor([[0, 1, 2]]), (0, 8)),
        (torch.zeros(1, 3, 4), torch.tensor([[0, 1, 2]]), (8, 20000)),
    ],
)
def test_refusals(clip: torch.Tensor, faces: torch.Tensor, size: tuple[int, int]) -> None:
    with pytest.raises(Bundle3DError, match="Expected"):
        rasterise(clip, faces, *size)
