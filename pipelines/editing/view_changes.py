"""What changed views say about points of a surface."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..errors import Bundle3DError
from ..rendering.view_projection import Projected, ProjectionOptions, ViewProjection
from ..views.rig import Rig
from .changes import ChangedViews, smoothstep
from .fine_surface import FineSurface

# Quality of the best view below which a point counts as unseen, and above which its views are trusted in full.
DOUBTFUL, SURE = 0.1, 0.3
LEAST_OVERLAP = 0.5  # of the mesh's outlines and those of the views


@dataclass(frozen=True)
class SeenChange:
    """At P points: ``change`` (P, 4), and ``sight`` (P, 1) how well they are seen at all, 0 to 1.

    The last of ``change`` is the share of the old colour that goes, the others are what is added to the rest of it.
    """

    change: torch.Tensor
    sight: torch.Tensor


class ViewChanges:
    """Changed views on a surface, made ready once to be looked up at many points.

    ``sharpness`` is the power of the cosine by which views are weighed. Raises Bundle3DError where the outlines of the
    surface are far from those of the views.
    """

    def __init__(
        self, changed: ChangedViews, rig: Rig, surface: FineSurface, sharpness: float, backend: str = "auto"
    ) -> None:
        share, gone = changed.share[..., None], changed.replaced[..., None]
        # weighed by the share, so that views which did not change do not tint what others changed
        images = (share * (changed.after - (1.0 - gone) * changed.before), share * gone)
        options = ProjectionOptions(power=sharpness, least_cosine=DOUBTFUL / 2.0)
        self.project = ViewProjection(torch.cat(images, -1), changed.mask, rig, surface.joined, options, backend)
        self._require_outlines(changed.mask)

    def __call__(self, points: torch.Tensor, normals: torch.Tensor) -> SeenChange:
        """Look up ``points`` (P, 3) with unit ``normals`` (P, 3), from behind where only that side is seen."""
        seen = self.project(points, normals)
        quality, values = seen.quality, seen.mean()
        unseen = torch.nonzero(quality < DOUBTFUL)[:, 0]
        if len(unseen):
            behind: Projected = self.project(points[unseen], -normals[unseen])
            better = behind.quality > quality[unseen]
            values = values.index_copy(0, unseen[better], behind.mean()[better])
            quality = quality.index_copy(0, unseen[better], behind.quality[better])
        return SeenChange(values, smoothstep(quality, DOUBTFUL, SURE)[:, None])

    def _require_outlines(self, mask: torch.Tensor) -> None:
        size = mask.shape[1:]
        depth = torch.isfinite(self.project.views.maps.depth).float()
        shown = torch.nn.functional.interpolate(depth[:, None], size, mode="area")[:, 0] > 0.5
        both, either = (shown & (mask > 0.5)).sum(), (shown | (mask > 0.5)).sum()
        overlap = float(both / either.clamp(min=1))
        if overlap < LEAST_OVERLAP:
            raise Bundle3DError(
                f"Expected views of this mesh, but their outlines overlap with the mesh's by {overlap:.0%}; connect "
                "the views that Render Bundle made of the same mesh, or lower what the edit may change."
            )


def changed_colors(old: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    """Colours (P, 3) of ``old`` ones (P, 3) with a ``change`` (P, 4)."""
    return old * (1.0 - change[:, 3:]) + change[:, :3]
