"""From the views of an object to its mesh, in the place and size in which the views show it.

Source: specs/kiss3dgen.md sections 5.9 and 5.10.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ..errors import Bundle3DError
from ..meshes.mesh import Mesh
from ..meshes.simplify import simplify
from ..metrics.outline_overlaps import outline_overlaps
from ..progress import Progress, Stage, silent
from ..rendering.fit_scale import WIDE_RANGE, fit_scale
from ..rendering.render_mesh import render_mesh
from ..views.rig import Rig
from ..views.view_set import ViewSet
from .config import LrmConfig
from .held_model import HeldModel, activation_bytes
from .inputs import model_input, shows_object, told_distance
from .mesh import NoSurfaceError, checked_resolution, extract_mesh
from .texture import require_material, texture_from_field
from .view_hull import view_hull

PREVIEW_SIZE = 256  # pixels per view
EXTRACTED, FITTED, SIMPLIFIED, DONE = 50, 65, 70, 100  # steps of the progress behind the network
NETWORK = 40  # percent of the whole


@dataclass(frozen=True)
class LrmOptions:
    """``resolution`` in cubes per side, absent: the model's own. ``fit``: take the size from the silhouettes.

    ``texture`` is the side of the UV texture in texels, 0 for vertex colours only; before, the mesh is simplified to
    ``target_faces`` (0: not at all). ``material`` bakes predicted metallic and roughness into the texture, too.
    """

    resolution: int | None = None
    fit: bool = True
    texture: int = 0
    target_faces: int = 60_000
    material: bool = False

    def check(self, config: LrmConfig) -> None:
        """Raise Bundle3DError where a model of these dimensions cannot do what is asked."""
        checked_resolution(config, self.resolution)
        if self.material:
            require_material(config)
            if not self.texture:
                raise Bundle3DError(
                    "Expected a texture to bake the material into, but none is asked for; choose a size for the "
                    "texture, or switch the material off."
                )


@dataclass(frozen=True)
class LrmReconstruction:
    """``mesh`` in the world of the views' cameras; ``scale`` is what camera distances in it count of those that the
    model was told, 1 where the model is right about its views; ``overlaps`` (V,) silhouette IoU per view, NaN where a
    view shows nothing. ``from_hull``: the model found no surface, and the mesh is the visual hull of the views."""

    mesh: Mesh
    scale: float
    overlaps: tuple[float, ...]
    from_hull: bool = False


def reconstruct_views(
    model: HeldModel, views: ViewSet, options: LrmOptions = LrmOptions(), progress: Progress = silent
) -> LrmReconstruction:
    """The mesh of the object in ``views``, on the CPU, with linear vertex colours or, where asked for, a texture.

    See ``view_planes`` and ``mesh_from_planes``, its two parts, also for what they raise.
    """
    options.check(model.config)
    planes = view_planes(model, views, Stage(progress, 0, NETWORK, 100))
    return mesh_from_planes(model, planes, views, options, Stage(progress, NETWORK, 100, 100))


@torch.no_grad()
def view_planes(model: HeldModel, views: ViewSet, progress: Progress = silent) -> torch.Tensor:
    """Feature planes (3, C, h, w) of the object in ``views``, where the network computes.

    Raises Bundle3DError where no view shows anything, and for an orthographic rig.
    """
    network = model.network
    images, cameras = model_input(views, model.config)
    with network.use(activation_bytes(model.config, len(views.rig), network.compute_dtype)) as module:
        device = network.compute_device
        planes: torch.Tensor = module.planes(images.to(device), cameras.to(device), progress)
        return planes[0]


@torch.no_grad()
def mesh_from_planes(
    model: HeldModel,
    planes: torch.Tensor,
    views: ViewSet,
    options: LrmOptions = LrmOptions(),
    progress: Progress = silent,
) -> LrmReconstruction:
    """The mesh of what ``view_planes`` made of ``views``, read where the planes are.

    The model thinks in units in which every camera stands at ``told_distance``. Its mesh is brought to the mean
    distance of the rig, then to the size at which it covers the masks best. Planes without a surface give the visual
    hull of the views instead. ``progress`` shows the mesh as soon as it is there, and may cancel.

    Raises Bundle3DError where the options do not suit the model, for planes that are not finite, and where there is
    neither a surface nor a visual hull.
    """
    options.check(model.config)
    decoders, seen = model.decoders_on(planes.device), views.to("cpu")
    try:
        mesh = extract_mesh(decoders, planes, options.resolution, Stage(progress, 0, EXTRACTED, DONE))
    except NoSurfaceError:
        hull = view_hull(seen, options.texture, options.target_faces, Stage(progress, EXTRACTED, DONE, DONE))
        progress(DONE, DONE, lambda: preview(hull, seen.rig))
        return LrmReconstruction(hull, 1.0, _overlaps(hull, seen), from_hull=True)
    told = sum(camera.distance for camera in seen.rig) / (len(seen.rig) * told_distance(model.config, seen.rig))
    shown = _scaled(mesh.to("cpu"), told)
    progress(EXTRACTED, DONE, lambda: preview(shown, seen.rig))
    scale = 1.0
    if options.fit:
        # PRM is told a distance of 3.5 and reconstructs for 4.15 (specs 5.10).
        scale = fit_scale(shown, seen, *WIDE_RANGE, progress=Stage(progress, EXTRACTED, FITTED, DONE))
        shown = _scaled(shown, 1.0 / scale)
    overlaps = _overlaps(shown, seen)
    if options.texture:
        if options.target_faces:
            mesh = simplify(mesh, options.target_faces, Stage(progress, FITTED, SIMPLIFIED, DONE))
        textured = Stage(progress, SIMPLIFIED, DONE, DONE)
        mesh = texture_from_field(decoders, planes, mesh, options.texture, options.material, textured)
        shown = _scaled(mesh.to("cpu"), told / scale)
    progress(DONE, DONE, lambda: preview(shown, seen.rig))
    return LrmReconstruction(shown, scale, overlaps)


def preview(mesh: Mesh, rig: Rig) -> torch.Tensor:
    """(H, W, 3) picture of the mesh: its base colour in every view, side by side."""
    pictures, _ = render_mesh(mesh, rig, PREVIEW_SIZE, PREVIEW_SIZE, "unlit", supersample=1)
    return torch.cat(list(pictures), dim=1)


def _scaled(mesh: Mesh, factor: float) -> Mesh:
    return mesh.with_(vertices=mesh.vertices * factor)


def _overlaps(mesh: Mesh, views: ViewSet) -> tuple[float, ...]:
    overlaps = outline_overlaps(mesh, views)
    return tuple(overlap if shows else math.nan for overlap, shows in zip(overlaps, shows_object(views)))
