"""Judging a bundle: do its views show one object, are its normals normals, is the object whole and in the middle?"""

from __future__ import annotations

import itertools

import torch
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, max_pool2d, normalize

from ..meshes.mesh import Mesh
from ..metrics.image import silhouette_iou
from ..views.bundle import BundleLayout
from ..views.hull_rays import HullRays, trace_hull
from ..views.masks import mask_box
from ..views.view_set import ViewSet
from .agreement import Surfaces
from .findings import judge
from .report import BundleReport, PairFigures, ViewFigures

SIZE = 128
FEWEST_POINTS = 30
# Rim normals that lie less than this in the image plane (24 degrees off the line of sight) do not tell its outward
# direction. Where few tell it, the object ends in edges of faces toward the camera, and those few are drawing errors.
RIM_LENGTH = 0.4
RIM_SHARE = 0.25
# Of unit normals and directions to the eye: below, a normal points away beyond doubt.
AWAY = -0.1


@torch.no_grad()
def inspect_bundle(views: ViewSet, image: torch.Tensor | None = None, mesh: Mesh | None = None) -> BundleReport:
    """Figures and findings for ``views``.

    ``image``, the bundle image (H, W, 3) they came from, adds the length of the stored normals. With ``mesh``, in world
    coordinates, colours and normals are compared on its surface. Raises Bundle3DError for an empty mask.
    """
    views.require_object()
    rays = trace_hull(views, SIZE)
    lengths = [None] * len(views.rig) if image is None else _length_errors(views, image)
    figures = tuple(_view_figures(views, rays, index, length) for index, length in enumerate(lengths))
    surfaces = Surfaces(views, rays, mesh)
    pairs = tuple(_pair_figures(surfaces, a, b) for a, b in itertools.combinations(range(len(views.rig)), 2))
    return BundleReport(views.rig.name, figures, pairs, judge(figures, pairs))


def _view_figures(views: ViewSet, rays: HullRays, index: int, length_error: float | None) -> ViewFigures:
    camera, mask = views.rig[index], views.mask[index] > 0.5
    height, width = mask.shape
    left, top, right, bottom = mask_box(mask)
    border = torch.cat((mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]))
    normal = views.normal[index]
    toward = -camera.rays(height, width)[1].to(normal)
    facing = (normal * toward).sum(-1)[mask]
    return ViewFigures(
        azimuth=camera.azimuth,
        elevation=camera.elevation,
        coverage=float(views.mask[index].mean()),
        off_centre=((left + right) / (2.0 * width) - 0.5, (top + bottom) / (2.0 * height) - 0.5),
        height=(bottom - top) / height,
        clipped=float(border.float().mean()),
        hull_iou=float(rays.iou[index]),
        rim_agreement=_rim_agreement(views, index),
        facing_away=float((facing < AWAY).float().mean()),
        length_error=length_error,
    )


def _rim_agreement(views: ViewSet, index: int) -> float | None:
    """Mean cosine of rim normals and the silhouette's outward direction, both in the image plane.

    None where fewer than ``RIM_SHARE`` of the rim's normals are turned from the line of sight.
    """
    mask = adaptive_avg_pool2d(views.mask[index][None, None].float(), SIZE)
    blurred = avg_pool2d(mask, 5, stride=1, padding=2, count_include_pad=False)[0, 0]
    right, up = blurred[1:-1, :-2] - blurred[1:-1, 2:], blurred[2:, 1:-1] - blurred[:-2, 1:-1]
    outward = normalize(torch.stack((right, up), dim=-1), dim=-1)
    normal = adaptive_avg_pool2d((views.normal[index] * views.mask[index][..., None]).permute(2, 0, 1), SIZE)
    normal = normalize(normal.permute(1, 2, 0)[1:-1, 1:-1], dim=-1)
    screen = (normal @ views.rig[index].rotation().to(normal).T)[..., :2]
    # Shrinking the mask treats the tile's border as its inside: it is no outline of the object.
    core = -max_pool2d(-mask, 5, stride=1, padding=2)[0, 0] > 0.99
    rim = ((mask[0, 0] > 0.5) & ~core)[1:-1, 1:-1]
    turned = rim & (screen.norm(dim=-1) > RIM_LENGTH)
    if int(turned.sum()) < max(FEWEST_POINTS, RIM_SHARE * int(rim.sum())):
        return None
    return float((normalize(screen[turned], dim=-1) * outward[turned]).sum(-1).mean())


def _length_errors(views: ViewSet, image: torch.Tensor) -> list[float]:
    layout = BundleLayout.of(image.shape[0], image.shape[1], len(views.rig))
    lengths = (2.0 * layout.split(image.float())[1] - 1.0).norm(dim=-1).to(views.mask.device)
    return [
        float((length - 1.0).abs()[mask >= 1.0].mean()) if bool((mask >= 1.0).any()) else 0.0
        for length, mask in zip(lengths, views.mask)
    ]


def _pair_figures(surfaces: Surfaces, a: int, b: int) -> PairFigures:
    views, pairs = surfaces.views, surfaces.rays.pairs
    both = (surfaces.compare(a, b), surfaces.compare(b, a))
    colors, angles = (torch.cat(values) for values in zip(*both))
    enough = colors.numel() >= FEWEST_POINTS
    return PairFigures(
        first=a,
        second=b,
        allowed=min(float(pairs[a, b]), float(pairs[b, a])),
        mirror_iou=_mirror_iou(views, a, b),
        color_difference=float(colors.median()) if enough else None,
        normal_angle=float(angles.median()) if enough else None,
        points=colors.numel(),
    )


def _mirror_iou(views: ViewSet, a: int, b: int) -> float | None:
    first, second = views.rig[a], views.rig[b]
    turned = abs((first.azimuth - second.azimuth) % 360.0 - 180.0)
    if turned > 1e-6 or abs(first.elevation - second.elevation) > 1e-6:
        return None
    return float(silhouette_iou(views.mask[a], views.mask[b].flip(-1)))
