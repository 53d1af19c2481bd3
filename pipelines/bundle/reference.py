"""The bundle that a drawing starts from and is held to: a reconstructed mesh seen again, under the views' own colours.

Source: specs/kiss3dgen.md sections 3.3, 5.10 and 10b (B1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import fmean

import torch

from ..errors import Bundle3DError
from ..meshes.mesh import Mesh
from ..meshes.normalise import require_normalised
from ..meshes.padding import pad_texture
from ..metrics.image import silhouette_iou
from ..metrics.outline_overlaps import outline_overlaps
from ..progress import Progress, Stage, silent
from ..rendering.fit_scale import WIDE_RANGE, fit_scale
from ..rendering.render_views import render_views
from ..views.resize import resize_squares
from ..views.rig import Rig, named_rig
from ..views.view_set import ViewSet
from .front_photo import front_photo

BUNDLE_RIG = "kiss3dgen"
COLORS = ("views", "mesh, unlit", "mesh, matte")
OUTLINES = ("mesh", "views")
NEARLY = 1.0  # degrees of azimuth
TILT = math.radians(math.degrees(90.0) % 360.0 - 90.0)  # the reference takes 90 degrees for radians (B1)
FITTED, DONE = 40, 100  # steps of the progress


@dataclass(frozen=True)
class ReferenceOptions:
    """``colors``, one of ``COLORS``, says where the upper row comes from. The mesh is rendered in tiles of ``tile``
    pixels from ``distance`` world units, the reference's 4.15 for an unscaled mesh; None takes the distance at which it
    covers the views best. ``tilted`` tilts the normals as the reference did by mistake. ``outlines``, one of
    ``OUTLINES``: with the views' own, and the photo's in front, normals are cut or continued to where these show the
    object."""

    colors: str = COLORS[0]
    tile: int = 512
    distance: float | None = None
    tilted: bool = False
    outlines: str = OUTLINES[0]


@dataclass(frozen=True)
class ReferenceBundle:
    """``views`` in a bundle's order, for ``join_bundle``; ``overlaps``, the silhouette IoU of the mesh and each of the
    views that were given; ``photo_overlap``, that of the photo's object and the mesh in the front tile, where there is
    a photo."""

    views: ViewSet
    overlaps: tuple[float, ...] = ()
    photo_overlap: float | None = None


def reference_bundle(
    mesh: Mesh,
    views: ViewSet | None,
    options: ReferenceOptions = ReferenceOptions(),
    photo: tuple[torch.Tensor, torch.Tensor] | None = None,
    progress: Progress = silent,
) -> ReferenceBundle:
    """The views of a reference bundle, and how well the mesh fits what they are made of.

    ``mesh`` is in the world of the cameras of ``views``; normals are always the mesh's. For the views'
    colours the four views of a bundle are taken, whatever their order, with their cameras. For the mesh's colours the
    cameras are a bundle's own, from where the mesh is as large as in the views, which may be any; without views, at the
    bundle's distance. A ``photo`` (H, W, 3) of the front with its mask (H, W) takes the place of the front's colours,
    as in the paper, in the size and place of the mesh there.

    Raises Bundle3DError where colours are wanted of views that are not there, for unknown colours or outlines, for the
    views' outlines without their colours, and where neither views nor a distance fit a mesh that reaches far beyond
    -1 to 1.
    """
    if options.colors not in COLORS:
        raise Bundle3DError(f"Expected colours from one of {', '.join(COLORS)}, but got {options.colors!r}.")
    if options.colors == COLORS[0] and views is None:
        raise Bundle3DError(
            "Expected views to take the colours from, but there are none; connect them, or choose the mesh's colours."
        )
    if options.outlines not in OUTLINES or (options.outlines == OUTLINES[1] and options.colors != COLORS[0]):
        raise Bundle3DError(
            f"Expected outlines from {' or '.join(OUTLINES)}, and those of the views under their colours, but got "
            f"{options.outlines!r} and the colours {options.colors!r}; choose the mesh's outlines."
        )
    seen = bundle_order(views) if options.colors == COLORS[0] and views is not None else views
    rig, fitted = _cameras(mesh, seen, options, Stage(progress, 0, FITTED, DONE))
    mode = "matte" if options.colors == COLORS[2] else "unlit"
    shown = render_views(mesh, rig, options.tile, mode, progress=Stage(progress, FITTED, DONE, DONE))
    if options.colors == COLORS[0] and seen is not None:
        shown = replace(shown, rgb=resize_squares(seen.rgb, options.tile).to(shown.rgb))
    mask = shown.mask
    if options.outlines == OUTLINES[1] and seen is not None:
        mask = resize_squares(seen.mask[..., None], options.tile)[..., 0].to(mask)
    photo_overlap = None
    if photo is not None:
        front, covered = front_photo(*photo, mask[0])
        covered = covered.to(mask)
        shown = replace(shown, rgb=torch.cat((front[None].to(shown.rgb), shown.rgb[1:])))
        photo_overlap = float(silhouette_iou(covered, shown.mask[0]))
        mask = torch.cat((covered[None], mask[1:]))
    if options.outlines == OUTLINES[1]:
        shown = _outlined(shown, mask)
    if options.tilted:
        shown = replace(shown, normal=tilted(shown.normal))
    return ReferenceBundle(shown, () if fitted is None else outline_overlaps(mesh, fitted), photo_overlap)


def reference_views(
    mesh: Mesh,
    views: ViewSet | None,
    options: ReferenceOptions = ReferenceOptions(),
    photo: tuple[torch.Tensor, torch.Tensor] | None = None,
    progress: Progress = silent,
) -> ViewSet:
    """The views of ``reference_bundle`` alone."""
    return reference_bundle(mesh, views, options, photo, progress).views


def _outlined(views: ViewSet, mask: torch.Tensor) -> ViewSet:
    """``views`` with another ``mask`` (V, H, W), to whose edge the normals go on."""
    continued = torch.stack([pad_texture(normal, own > 0.5) for normal, own in zip(views.normal, views.mask)])
    normals = torch.nn.functional.normalize(continued, dim=-1)
    return replace(views, normal=torch.where(mask[..., None] > 0.0, normals, 0.0), mask=mask)


def _cameras(
    mesh: Mesh, seen: ViewSet | None, options: ReferenceOptions, progress: Progress
) -> tuple[Rig, ViewSet | None]:
    """The cameras of the bundle, and the views with theirs where the mesh is as large as in the bundle."""
    bundle = named_rig(BUNDLE_RIG)
    if seen is None:
        if options.distance is None:
            require_normalised(mesh, "connect the views that it was made of, or set a distance")
        return bundle.at_distance(options.distance or bundle[0].distance), None
    own = options.colors == COLORS[0]  # the views' colours lie right under the views' cameras alone
    rig = seen.rig
    if options.distance is None:
        rig = rig.scaled(fit_scale(mesh, seen, *WIDE_RANGE, progress=progress))
    elif own:
        rig = rig.at_distance(options.distance)
    else:
        rig = rig.scaled(options.distance / _bundle_distance(rig))
    cameras = rig if own else bundle.at_distance(options.distance or _bundle_distance(rig))
    return cameras, replace(seen, rig=rig)


def _bundle_distance(rig: Rig) -> float:
    """The distance from which a bundle's camera sees as much of the world as those of ``rig`` do on average."""
    return named_rig(BUNDLE_RIG)[0].scale * fmean(camera.pixel_size(2) for camera in rig)


def bundle_order(views: ViewSet) -> ViewSet:
    """The four views of a bundle among ``views``, in a bundle's order: front, left, back and right.

    Raises Bundle3DError where one of them is missing.
    """
    chosen = [_nearest(views.rig, camera.azimuth) for camera in named_rig(BUNDLE_RIG)]
    coord = None if views.coord is None else views.coord[chosen]
    rig = Rig(tuple(views.rig[index] for index in chosen), views.rig.name)
    return ViewSet(views.rgb[chosen], views.normal[chosen], views.mask[chosen], rig, coord)


def _nearest(rig: Rig, azimuth: float) -> int:
    away = [abs((camera.azimuth - azimuth + 180.0) % 360.0 - 180.0) for camera in rig]
    best = min(range(len(rig)), key=away.__getitem__)
    if away[best] > NEARLY:
        raise Bundle3DError(
            f"Expected views of the front, left, back and right, but the rig '{rig.name}' has none at {azimuth:g} "
            "degrees; choose the colours of the mesh, and leave the views out."
        )
    return best


def tilted(normals: torch.Tensor) -> torch.Tensor:
    """World normals (..., 3) turned about Z, from +Y toward +X, as the reference's bundles have them.

    The reference turns them about its own +X, and shows the object's front at its azimuth of 270 degrees.
    """
    x, y, z = normals.unbind(-1)
    sine, cosine = math.sin(TILT), math.cos(TILT)
    return torch.stack((x * cosine + y * sine, y * cosine - x * sine, z), dim=-1)
