"""Colours of surface points from the views that see them.

Every point is tested on its own: its own viewing direction and its own depth against a depth buffer, so that nothing
bleeds over occlusions. Source: specs/kiss3dgen.md sections 6.8 and 10 (B12); specs/kernels.md section 5 (visibility).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..errors import Bundle3DError
from ..kernels import resolve_backend
from ..meshes.mesh import Mesh
from ..progress import Progress, silent
from ..views.rig import Rig
from .packed_views import PackedViews, pack_camera
from .view_confidence import view_maps
from .view_projection_numba import project_numba
from .view_projection_torch import project_torch


@dataclass(frozen=True)
class ProjectionOptions:
    """How views are weighed against each other.

    A view that sees a point at an angle of cosine c counts ``view_weights[v] * c ** power * confidence``, where c
    exceeds ``least_cosine``. The confidence falls from 1 to ``rim_confidence`` within ``rim`` pixels of silhouettes and
    occlusions, and by another ``tint_confidence`` on the far side of an occlusion, where the occluder may tint the
    pixels. A point is hidden when it lies more than ``bias`` world units behind the surface the view shows.
    """

    view_weights: Sequence[float] | None = None
    power: float = 2.0
    least_cosine: float = 0.05
    rim: float = 3.0
    rim_confidence: float = 0.1
    tint_confidence: float = 1e-2
    bias: float = 3e-3


@dataclass(frozen=True)
class Projected:
    """``weighted`` (P, C) sum of weights times colours; ``weights`` (P,) their sum; ``quality`` (P,) in [0, 1] the
    largest cosine times confidence of any view, zero where no view sees the point."""

    weighted: torch.Tensor
    weights: torch.Tensor
    quality: torch.Tensor

    def mean(self) -> torch.Tensor:
        """(P, C) weighted mean colours, zero where no view sees the point."""
        return self.weighted / self.weights.clamp(min=1e-30)[:, None]


class ViewProjection:
    """Images on a mesh, made ready once to be looked up at many points.

    ``images`` (V, H, W, C) of any channels and ``mask`` (V, H, W) in [0, 1] belong to the cameras of ``rig``; ``mesh``
    is what hides points from the views. Raises Bundle3DError where counts disagree.
    """

    def __init__(
        self,
        images: torch.Tensor,
        mask: torch.Tensor,
        rig: Rig,
        mesh: Mesh,
        options: ProjectionOptions | None = None,
        backend: str = "auto",
        progress: Progress = silent,
    ) -> None:
        options = options or ProjectionOptions()
        if not images.shape[0] == mask.shape[0] == len(rig) or images.shape[1:3] != mask.shape[1:3]:
            raise Bundle3DError(
                f"Expected one image and one mask of the same size per camera ({len(rig)}), but got images "
                f"{tuple(images.shape)} and masks {tuple(mask.shape)}."
            )
        weights = [1.0] * len(rig) if options.view_weights is None else list(options.view_weights)
        if len(weights) != len(rig):
            raise Bundle3DError(f"Expected {len(rig)} view weights, one per camera, but got {len(weights)}.")
        self.views = PackedViews(
            cameras=torch.stack([pack_camera(camera) for camera in rig]),
            maps=view_maps(images, mask, rig, mesh, options.rim, options.rim_confidence, backend, progress),
            weights=torch.tensor(weights, dtype=torch.float64),
            power=float(options.power),
            least_cosine=float(options.least_cosine),
            bias=float(options.bias),
            tint_confidence=float(options.tint_confidence),
        )
        self.backend = backend

    def __call__(self, points: torch.Tensor, normals: torch.Tensor) -> Projected:
        """Look up world ``points`` (P, 3) with unit ``normals`` (P, 3)."""
        project = project_numba if resolve_backend(self.backend, points) == "numba" else project_torch
        return Projected(*project(points.contiguous(), normals.contiguous(), self.views))
