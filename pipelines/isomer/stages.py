"""What both optimisation stages descend on, and the loop that does it.

``ImageLoss`` is the default. ``ReferenceStageOne`` and ``ReferenceStageTwo`` are those of the released system, flaws
included. Source: specs/kiss3dgen.md sections 6.3 to 6.5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

from ..meshes.mesh import Mesh, vertex_normals
from ..progress import Preview, Progress
from ..rendering.render import render_attributes
from ..rendering.view_projection_reference import project_views_reference
from ..views.view_set import ViewSet
from .optimizer import MeshOptimizer, OptimizerSettings
from .silhouette import silhouette_field

REFERENCE_VIEW_WEIGHTS = (1.0, 0.9, 1.0, 0.9)
PROJECTION_SIZE, PROJECTION_THRESHOLD = 1024, 0.1
TARGET_UPDATES = 5, 20  # targets are projected anew in so many first steps and then every so many
SOFT_SHARE = 0.1  # of the rim's pixels, above which a mask counts as antialiased
SEE_THROUGH = 0.05  # alpha up to which the reference takes a target pixel for background
INFLATION, OUT_OF_BOX, BOX = 0.1, 10.0, 0.99


class Loss(Protocol):
    """What is minimised: a scalar of vertices (N, 3), faces (M, 3) and the number of the step from 0."""

    def __call__(self, vertices: torch.Tensor, faces: torch.Tensor, step: int) -> torch.Tensor: ...


class ImageLoss:
    """Squared differences of rendered and given normals and coverage, summed over all pixels, per covered pixel.

    Normals are compared where they are seen, pixel by pixel, and both are weighted by coverage, so that soft rims count
    by their share. Pixels that the object should cover and does not are penalised like those that it should not.
    """

    def __init__(self, views: ViewSet, backend: str = "auto") -> None:
        self.rig, self.backend = views.rig, backend
        self.height, self.width = views.size
        self.target = image_targets(views)
        # A difference of colours is half that of the normals that they encode.
        covered = self.target[..., 3].sum().clamp(min=1)
        self.weight = torch.tensor((0.5, 0.5, 0.5, 1.0)).to(self.target) / covered.sqrt()

    def __call__(self, vertices: torch.Tensor, faces: torch.Tensor, step: int) -> torch.Tensor:
        clip = self.rig.clip(vertices, self.width / self.height)
        normals = vertex_normals(vertices, faces)
        image = render_attributes(normals, clip, faces, self.height, self.width, self.backend)
        return ((image - self.target) * self.weight).square().sum()


def image_targets(views: ViewSet) -> torch.Tensor:
    """Images (V, H, W, 4) of normals times coverage, and coverage.

    Masks without soft rims get them from the contour that is fitted through their staircase, lest the surface follow
    the stairs; normals are carried on to the pixels that this adds.
    """
    distance = silhouette_field(views.mask, views.rig).distance
    rim = (distance.abs() < 1).sum(dim=(1, 2))
    soft = ((views.mask > 0.02) & (views.mask < 0.98)).sum(dim=(1, 2)) > SOFT_SHARE * rim
    mask = torch.where(soft[:, None, None], views.mask, (distance + 0.5).clamp(0, 1))[..., None]
    weighted = (views.normal * views.mask[..., None]).permute(0, 3, 1, 2)
    around = torch.nn.functional.avg_pool2d(weighted, 3, stride=1, padding=1).permute(0, 2, 3, 1)
    normal = torch.where(views.mask[..., None] > 0, views.normal, torch.nn.functional.normalize(around, dim=-1))
    return torch.cat((normal * mask, mask), dim=-1)


def reference_targets(views: ViewSet) -> torch.Tensor:
    """The images (V, H, W, 4) that the released system compares to: normal colours of 8 bit on black, and alpha."""
    mask = views.mask[..., None]
    white = (views.normal + 1) / 2 * mask + 1 - mask
    white, alpha = (white * 255).round() / 255, (mask * 255).floor() / 255
    background = white[:, :1, :1]
    color = ((white - background * (1 - alpha)) / alpha.clamp(min=1e-6)).clamp(0, 1)
    solid = alpha > SEE_THROUGH
    return torch.cat((torch.where(solid, color * alpha, 0.0), alpha), dim=-1)


def _out_of_box(vertices: torch.Tensor) -> torch.Tensor:
    return OUT_OF_BOX * (vertices.abs() > BOX).to(vertices).mean()


def _mean_where(values: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    return values[where].mean() if bool(where.any()) else values.sum() * 0


class ReferenceStageOne:
    """The coarse stage of the released system: what is not covered is reached only by inflation (section 6.4)."""

    def __init__(self, views: ViewSet, backend: str = "auto") -> None:
        self.rig, self.backend = views.rig, backend
        self.height, self.width = views.size
        self.target = reference_targets(views)

    def __call__(self, vertices: torch.Tensor, faces: torch.Tensor, step: int) -> torch.Tensor:
        normals = vertex_normals(vertices, faces)
        clip = self.rig.clip(vertices, self.width / self.height)
        image = render_attributes((normals + 1) / 2, clip, faces, self.height, self.width, self.backend)
        squared = (image - self.target).square()
        inflation = 0.5 * ((vertices + normals).detach() - vertices).square().mean()
        seen = _mean_where(squared, image[..., 3].detach() > 0.5)
        outside = _mean_where(squared[..., 3], self.target[..., 3] < 0.5)
        return seen + outside + INFLATION * inflation + _out_of_box(vertices)


class ReferenceStageTwo:
    """The fine stage of the released system: targets are normals projected onto the current vertices (section 6.5)."""

    def __init__(self, views: ViewSet, backend: str = "auto") -> None:
        self.rig, self.backend = views.rig, backend
        self.height, self.width = views.size
        self.alpha = (views.mask * 255).floor() / 255
        mask = views.mask[..., None]
        self.colors = (((views.normal + 1) / 2 * mask + 1 - mask) * 255).round() / 255
        self.weights = REFERENCE_VIEW_WEIGHTS if len(views.rig) == 4 else (1.0,) * len(views.rig)
        self.target = torch.zeros_like(self.colors)

    def __call__(self, vertices: torch.Tensor, faces: torch.Tensor, step: int) -> torch.Tensor:
        first, every = TARGET_UPDATES
        if step < first or step % every == 0:
            self.target = self._project(vertices.detach(), faces)
        image = self._render(vertices, faces, (vertex_normals(vertices, faces) + 1) / 2)
        seen = _mean_where((image[..., :3] - self.target).square(), image[..., 3].detach() > 0.5)
        outside = _mean_where((image[..., 3] - self.alpha).square(), self.alpha < 0.5)
        return seen + outside + _out_of_box(vertices)

    def _render(self, vertices: torch.Tensor, faces: torch.Tensor, colors: torch.Tensor) -> torch.Tensor:
        clip = self.rig.clip(vertices, self.width / self.height)
        return render_attributes(colors, clip, faces, self.height, self.width, self.backend)

    def _project(self, vertices: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
        """Images (V, H, W, 3) of the normals that the views give to the vertices."""
        weighted, total = project_views_reference(
            Mesh(vertices, faces), self.colors, self.alpha, self.rig, self.weights, 1.0, PROJECTION_SIZE, self.backend
        )
        seen = (total > PROJECTION_THRESHOLD)[:, None]
        given = 2 * weighted / total.clamp(min=PROJECTION_THRESHOLD)[:, None] - 1
        normals = torch.nn.functional.normalize(torch.where(seen, given, vertex_normals(vertices, faces)), dim=-1)
        with torch.no_grad():
            return self._render(vertices, faces, (normals + 1) / 2)[..., :3]


def descend(
    mesh: Mesh,
    loss: Loss,
    settings: OptimizerSettings,
    steps: int,
    seed: int,
    progress: Progress,
    preview: Callable[[Mesh], torch.Tensor],
    backend: str = "auto",
) -> Mesh:
    """``mesh`` after so many steps of descent, remeshed after each; ``preview`` paints the surface when asked."""
    optimizer = MeshOptimizer(mesh.vertices, mesh.faces, settings, seed, backend)
    for step in range(steps):
        vertices = optimizer.vertices.requires_grad_()
        value = loss(vertices, optimizer.faces, step)
        # A step of a large surface takes long; a cancel must not wait for its end.
        progress(step, steps)
        (gradient,) = torch.autograd.grad(value, vertices)
        progress(step, steps)
        optimizer.step(gradient)
        optimizer.remesh()
        progress(step + 1, steps, _later(preview, Mesh(optimizer.vertices, optimizer.faces)))
    return Mesh(optimizer.vertices, optimizer.faces)


def _later(preview: Callable[[Mesh], torch.Tensor], mesh: Mesh) -> Preview:
    return lambda: preview(mesh)
