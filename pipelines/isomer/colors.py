"""Vertex colours from views: projected where a view sees the vertex, completed elsewhere.

Source: specs/kiss3dgen.md sections 6.8 and 6.10.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy import ndimage

from ..errors import Bundle3DError
from ..meshes.harmonic_fill import harmonic_fill, joined_at_seams
from ..meshes.mesh import Mesh
from ..meshes.topology import unique_edges
from ..progress import Progress, Stage, silent
from ..rendering.color import srgb_to_linear
from ..rendering.view_projection import ProjectionOptions, ViewProjection
from ..rendering.view_projection_reference import project_views_reference
from ..views.view_set import ViewSet

REFERENCE_WEIGHTS = (1.0, 0.5, 1.0, 0.5)  # front, left, back, right
REFERENCE_THRESHOLD = 0.1
REFERENCE_EROSION = 10
REFERENCE_BLUR = 1.1
MOST_ROUNDS = 10_000


@dataclass(frozen=True)
class ColorOptions:
    """``view_weights`` per view (default: front and back count double in a bundle of four views); ``power`` of the
    cosine; ``threshold`` of quality below which a colour gives way to its surroundings; ``rim`` pixels that are
    distrusted at silhouettes. ``reference_exact`` reproduces the released system, with its flaws (section 10 B12, B15)
    and black where no view sees a connected part."""

    view_weights: Sequence[float] | None = None
    power: float = 2.0
    threshold: float = 0.05
    rim: float = 3.0
    reference_exact: bool = False


def color_vertices(
    mesh: Mesh,
    views: ViewSet,
    options: ColorOptions | None = None,
    backend: str = "auto",
    progress: Progress = silent,
) -> Mesh:
    """``mesh`` (in the world of the views' cameras) with linear ``colors`` (N, 3) from the views' sRGB images.

    Raises Bundle3DError for an empty mesh.
    """
    options = options or ColorOptions()
    if mesh.faces.shape[0] == 0:
        raise Bundle3DError("Expected a mesh with faces to colour, but it is empty; reconstruct it first.")
    weights = options.view_weights or (REFERENCE_WEIGHTS if len(views.rig) == 4 else (1.0,) * len(views.rig))
    if options.reference_exact:
        color = _reference_colors(mesh, views, weights, options, backend)
    else:
        color = _colors(mesh, views, weights, options, backend, progress)
    return mesh.with_(colors=srgb_to_linear(color.clamp(0.0, 1.0)))


def _colors(
    mesh: Mesh, views: ViewSet, weights: Sequence[float], options: ColorOptions, backend: str, progress: Progress
) -> torch.Tensor:
    projection = ProjectionOptions(view_weights=tuple(weights), power=options.power, rim=options.rim)
    project = ViewProjection(views.rgb, views.mask, views.rig, mesh, projection, backend, Stage(progress, 0, 1, 4))
    progress(1, 4)
    joined, ids = joined_at_seams(mesh)
    seen = project(joined.vertices, joined.vertex_normals())
    progress(2, 4)
    trust = seen.quality / options.threshold
    return harmonic_fill(joined.vertices, joined.faces, seen.mean(), trust, Stage(progress, 2, 4, 4))[ids]


def _reference_colors(
    mesh: Mesh, views: ViewSet, weights: Sequence[float], options: ColorOptions, backend: str
) -> torch.Tensor:
    color = (views.rgb * 255.0).floor() / 255.0
    weighted, total = project_views_reference(
        mesh, color, _reference_alpha(views.mask), views.rig, weights, options.power, views.size[0], backend
    )
    seen = total > REFERENCE_THRESHOLD
    smooth = weighted / total.clamp(min=REFERENCE_THRESHOLD)[:, None]
    return complete_by_averaging(mesh.faces, smooth, seen)


def _reference_alpha(mask: torch.Tensor) -> torch.Tensor:
    """Eroded by an even-sized window, which shifts it by half a pixel, and blurred."""
    eroded = ndimage.grey_erosion(mask.cpu().numpy(), size=(1, REFERENCE_EROSION, REFERENCE_EROSION))
    blurred = ndimage.gaussian_filter(eroded, (0.0, REFERENCE_BLUR, REFERENCE_BLUR), mode="mirror", radius=(0, 2, 2))
    return torch.from_numpy((blurred * 255.0).astype("uint8").astype("float32") / 255.0).to(mask.device)


def complete_by_averaging(faces: torch.Tensor, color: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Colours (N, C) whose unseen vertices take the mean of their coloured neighbours.

    Rings are coloured one after the other, then all unseen vertices are averaged for as many rounds again. Parts that
    touch no seen vertex stay black. Source: specs/kiss3dgen.md section 6.8.
    """
    first, second = unique_edges(faces)[0].unbind(1)
    one, two = torch.cat((first, second)), torch.cat((second, first))
    at_unseen = ~seen[one]
    one, two = one[at_unseen], two[at_unseen]
    color = torch.where(seen[:, None], color, torch.zeros_like(color))
    colored = seen.clone()
    rounds = 0
    while rounds < MOST_ROUNDS:
        before = int(colored.sum())
        color, colored = _average(color, colored, one, two)
        if int(colored.sum()) == before:
            break
        rounds += 1
    for _ in range(rounds):
        color, colored = _average(color, colored, one, two)
    return color


def _average(
    color: torch.Tensor, colored: torch.Tensor, one: torch.Tensor, two: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    known = colored[two].to(color)
    total = torch.zeros_like(color).index_add_(0, one, color[two] * known[:, None])
    count = torch.zeros_like(color[:, 0]).index_add_(0, one, known)
    reached = count > 0
    return torch.where(reached[:, None], total / count.clamp(min=1.0)[:, None], color), colored | reached
