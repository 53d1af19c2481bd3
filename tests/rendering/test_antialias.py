from __future__ import annotations

import math

import pytest
import torch
from bundle3d.pipelines.kernels import HAVE_NUMBA
from bundle3d.pipelines.rendering.antialias import antialias, crossing_weights
from bundle3d.pipelines.rendering.rasterise import Fragments, rasterise
from bundle3d.pipelines.rendering.silhouette import find_crossings
from bundle3d.pipelines.views.rig import Rig

from .cases import BACKENDS, both_projections, each_backend
from .shapes import ORTHOGRAPHIC, PERSPECTIVE, bumpy, flat, sphere


def coverage(clip: torch.Tensor, faces: torch.Tensor, size: int, backend: str) -> torch.Tensor:
    fragments = rasterise(clip, faces, size, size, backend)
    return antialias(fragments.mask[..., None].to(clip), clip, faces, fragments, backend)[..., 0]


@each_backend
@pytest.mark.parametrize("angle", (0, 10, 40, 45, 50, 80, 90, 200, 285))
def test_a_half_plane_covers_its_exact_area(backend: str, angle: int) -> None:
    # in the rows (or columns) that the edge crosses, the blended coverage is exactly the covered length
    a = math.radians(angle)
    dx, dy = math.cos(a), math.sin(a)
    points = [(8.3 + s * dx + t * dy, 7.8 + s * dy - t * dx, 0.0) for s, t in ((-40, 0), (40, 0), (40, 40), (-40, 40))]
    clip = flat(points, 16)
    image = coverage(clip, torch.tensor([[0, 1, 2], [0, 2, 3]]), 16, backend)[0]
    if abs(dx) > abs(dy):
        image, dx, dy, place = image.T, dy, dx, (7.8, 8.3)
    else:
        place = (8.3, 7.8)
    line = torch.arange(16) + 0.5
    crossing = place[0] + (line - place[1]) * dx / dy
    length = image.sum(1)
    inside = (crossing > 1) & (crossing < 15)
    expected = torch.where(image[:, 0] > image[:, -1], crossing, 16 - crossing)
    assert inside.sum() > 5
    assert torch.allclose(length[inside], expected[inside], atol=1e-4)


@each_backend
@both_projections
def test_area_changes_with_scale_as_the_true_area_does(rig: Rig, backend: str) -> None:
    # triangles of pixel size: a rule that looks at the edges of visible triangles only finds less than half of this
    vertices, faces = sphere(60)
    size = 96
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    image = coverage(rig.clip(vertices * scale).float(), faces, size, backend)
    (found,) = torch.autograd.grad(image.sum(), scale)
    area, slope = 0.0, 0.0
    for camera in rig:
        if camera.is_perspective:
            # the outline of a sphere centred on the axis is a circle of this radius (in half images)
            ratio = 0.8 / camera.distance
            radius = camera.scale * ratio / math.sqrt(1 - ratio**2)
            growth = radius / (1 - ratio**2)
        else:
            radius = growth = camera.scale * 0.8
        area += math.pi * (radius * size / 2) ** 2
        slope += 2 * math.pi * radius * growth * (size / 2) ** 2
    assert float(image.detach().sum()) == pytest.approx(area, rel=5e-3)
    assert float(found) == pytest.approx(slope, rel=5e-2)


@each_backend
def test_supersampled_truth_on_a_surface_that_hides_itself(backend: str) -> None:
    vertices, faces = bumpy(40)
    size, fine, step = 64, 8, 1e-2

    def area(scale: float) -> float:
        clip = PERSPECTIVE.clip(vertices * scale).float()
        return float(rasterise(clip, faces, size * fine, size * fine).mask.sum()) / fine**2

    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    image = coverage(PERSPECTIVE.clip(vertices * scale).float(), faces, size, backend)
    (found,) = torch.autograd.grad(image.sum(), scale)
    assert float(image.detach().sum()) == pytest.approx(area(1.0), rel=1e-2)
    assert float(found) == pytest.approx((area(1 + step) - area(1 - step)) / (2 * step), rel=5e-2)


@both_projections
def test_gradients_of_the_blend_against_finite_differences(rig: Rig) -> None:
    vertices, faces = bumpy(20)
    random = torch.Generator().manual_seed(0)
    clip = rig.clip(vertices).requires_grad_()
    fragments = rasterise(clip, faces, 48, 48)
    image = torch.rand(2, 48, 48, 3, dtype=torch.float64, generator=random)
    weights = torch.randn(image.shape, dtype=torch.float64, generator=random)

    def loss(clip: torch.Tensor) -> torch.Tensor:
        return (antialias(image, clip, faces, fragments) * weights).sum()

    (gradient,) = torch.autograd.grad(loss(clip), clip)
    for _ in range(5):
        step = 1e-7 * torch.randn(clip.shape, dtype=torch.float64, generator=random)
        with torch.no_grad():
            expected = float(loss(clip + step) - loss(clip - step)) / 2
        assert float((gradient * step).sum()) == pytest.approx(expected, rel=1e-3)


@each_backend
def test_only_the_outline_is_touched(backend: str) -> None:
    vertices, faces = sphere(40)
    clip = ORTHOGRAPHIC.clip(vertices.float())
    fragments = rasterise(clip, faces, 64, 64, backend)
    image = torch.rand(2, 64, 64, 1, generator=torch.Generator().manual_seed(0))
    changed = (antialias(image, clip, faces, fragments, backend) != image)[..., 0]
    mask = fragments.mask[:, None].float()
    grown = torch.nn.functional.max_pool2d(mask, 3, 1, 1)
    shrunk = -torch.nn.functional.max_pool2d(-mask, 3, 1, 1)
    assert changed.any()
    assert not (changed & (grown == shrunk)[:, 0]).any()


@each_backend
def test_hidden_outlines_do_not_show_and_near_ones_do(backend: str) -> None:
    def square(low: float, high: float, depth: float) -> list[tuple[float, float, float]]:
        return [(low, low, depth), (high, low, depth), (high, high, depth), (low, high, depth)]

    faces = torch.tensor([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    for inner_depth, visible in ((0.5, False), (-0.5, True)):
        clip = flat(square(1.2, 14.8, 0.0) + square(5.3, 10.9, inner_depth), 16)
        fragments = rasterise(clip, faces, 16, 16, backend)
        image = (fragments.face >= 2)[..., None].float()
        blended = antialias(image, clip, faces, fragments, backend)[0, :, :, 0]
        assert bool(image.any()) is visible
        assert float(blended.sum()) == pytest.approx(5.6**2 if visible else 0.0, abs=0.3)


@each_backend
def test_an_image_without_a_mesh_stays(backend: str) -> None:
    faces = torch.zeros(0, 3, dtype=torch.int64)
    clip = torch.zeros(1, 0, 4)
    fragments = rasterise(clip, faces, 4, 4, backend)
    image = torch.rand(1, 4, 4, 2)
    assert torch.equal(antialias(image, clip, faces, fragments, backend), image)


@pytest.mark.skipif(not HAVE_NUMBA, reason="numba is not installed")
@both_projections
def test_backends_find_the_same_crossings(rig: Rig) -> None:
    vertices, faces = bumpy(60)
    clip = rig.clip(vertices.float())
    fragments = rasterise(clip, faces, 90, 70)
    one, other = (find_crossings(clip, faces, fragments.face, fragments.depth, b) for b in ("numba", "torch"))
    assert len(one.inner) > 200
    for name in ("inner", "outer", "ends", "vertical"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    weights = crossing_weights(clip, one, 90, 70)
    assert weights.min() >= -0.5 and weights.max() <= 0.5


def test_edges_that_reach_behind_the_camera_are_left_alone() -> None:
    clip = torch.tensor([[[-1.0, -1, 0, 1], [1, -1, 0, 1], [0, 3, -2, -1]]])
    faces = torch.tensor([[0, 1, 2]])
    for backend in BACKENDS:
        fragments: Fragments = rasterise(clip, faces, 16, 16, backend)
        image = fragments.mask[..., None].float()
        assert bool(torch.isfinite(antialias(image, clip, faces, fragments, backend)).all())
