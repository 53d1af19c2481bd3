from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.isomer.initial import sphere
from bundle3d.pipelines.isomer.optimizer import OptimizerSettings
from bundle3d.pipelines.isomer.stages import (
    ImageLoss,
    ReferenceStageOne,
    ReferenceStageTwo,
    descend,
    image_targets,
    reference_targets,
)
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.progress import silent
from bundle3d.pipelines.rendering.render_views import render_views
from bundle3d.pipelines.views.rig import named_rig
from bundle3d.pipelines.views.view_set import ViewSet

RIG = named_rig("kiss3dgen")
LOSSES = [ImageLoss, ReferenceStageOne, ReferenceStageTwo]


@pytest.fixture(scope="module")
def views() -> ViewSet:
    return render_views(sphere(0.7, 4), RIG, 96, "clay")


def slope(loss, views: ViewSet, radius: float) -> float:
    """d loss / d radius of a sphere."""
    shape = sphere(radius, 4)
    vertices = shape.vertices.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(views)(vertices, shape.faces, 0), vertices)
    return float((gradient * shape.vertices / radius).sum())


def test_the_image_loss_pulls_silhouettes_both_ways(views: ViewSet):
    assert slope(ImageLoss, views, 0.6) < 0.0
    assert slope(ImageLoss, views, 0.8) > 0.0
    assert float(ImageLoss(views)(sphere(0.7, 4).vertices, sphere(0.7, 4).faces, 0)) < 0.01


def test_the_reference_shrinks_but_only_inflation_grows(views: ViewSet):
    assert slope(ReferenceStageOne, views, 0.8) > 0.0
    assert slope(ReferenceStageTwo, views, 0.8) > 0.0
    # 0.1 * 0.5 * mean(((v + n) - v)^2) has the slope -0.1 * mean(n . n) over the three coordinates of a vertex.
    assert slope(ReferenceStageOne, views, 0.6) < -0.03


def test_coordinates_outside_the_box_cost_ten_times_their_share(views: ViewSet):
    shape = sphere(0.7, 2)
    loose = torch.cat((shape.vertices, torch.full((2, 3), 0.5)))  # two vertices that no face uses
    inside = float(ReferenceStageTwo(views)(loose, shape.faces, 0))
    loose[-1] = torch.tensor((1.2, -1.2, 0.0))
    outside = float(ReferenceStageTwo(views)(loose, shape.faces, 0))
    assert outside - inside == pytest.approx(10 * 2 / loose.numel(), rel=1e-3)


def test_reference_targets_are_black_and_clear_outside(views: ViewSet):
    target = reference_targets(views)
    outside = views.mask == 0
    assert float(target[outside].abs().max()) == 0.0
    centre = target[0, 48, 48]
    assert centre.tolist() == pytest.approx([*((views.normal[0, 48, 48] + 1) / 2).tolist(), 1.0], abs=1 / 255)


def test_hard_masks_become_soft_at_the_rim_only(views: ViewSet):
    hard = ViewSet(views.rgb, views.normal, (views.mask > 0.5).float(), RIG)
    soft = image_targets(hard)[..., 3]
    assert float((soft - views.mask).abs().mean()) < float((hard.mask - views.mask).abs().mean())
    assert float((soft - hard.mask).abs().max()) <= 0.75
    torch.testing.assert_close(image_targets(views)[..., 3], views.mask)


@pytest.mark.parametrize("loss", LOSSES)
def test_descent_reports_every_step_and_shows_the_surface_when_asked(views: ViewSet, loss):
    seen: list[tuple[int, int]] = []
    painted: list[Mesh] = []

    within = [0, 0, 0]  # reports inside each step, for a cancel to be heard

    def progress(done: int, total: int, preview=None) -> None:
        if preview is None:
            within[done] += 1
            return
        seen.append((done, total))
        if done == 2:
            preview()

    def paint(mesh: Mesh) -> torch.Tensor:
        painted.append(mesh)
        return torch.zeros(1, 1, 3)

    settings = OptimizerSettings(shortest=0.06, longest=0.1)
    result = descend(sphere(0.75, 3), loss(views), settings, 3, 0, progress, paint)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert within == [2, 2, 2]
    assert len(painted) == 1
    assert len(result.faces) > 0


def test_cancelling_goes_through(views: ViewSet):
    class CancelledError(Exception):
        pass

    def progress(done: int, total: int, preview=None) -> None:
        raise CancelledError

    with pytest.raises(CancelledError):
        descend(sphere(0.75, 3), ImageLoss(views), OptimizerSettings(), 3, 0, progress, lambda mesh: mesh.vertices)


def test_descent_finds_the_sphere(views: ViewSet):
    settings = OptimizerSettings(shortest=0.05, longest=0.1, decay=0.97)
    result = descend(sphere(0.75, 3), ImageLoss(views), settings, 60, 0, silent, lambda mesh: mesh.vertices)
    assert float(result.vertices.norm(dim=1).mean()) == pytest.approx(0.7, abs=0.012)
