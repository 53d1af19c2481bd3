"""From the views of an object to its mesh, in the place and size in which the views show it.

Source: specs/kiss3dgen.md sections 5.9 and 5.10.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..meshes.mesh import Mesh
from ..meshes.simplify import simplify
from ..metrics.image import silhouette_iou
from ..progress import Progress, Stage, silent
from ..rendering.fit_scale import WIDE_RANGE, fit_scale
from ..rendering.rasterise import rasterise
from ..rendering.render_mesh import render_mesh
from ..views.rig import Rig
from ..views.view_set import ViewSet
from .held_model import HeldModel, activation_bytes
from .inputs import model_input
from .mesh import extract_mesh
from .texture import texture_from_field

PREVIEW_SIZE = 256  # pixels per view
READ, EXTRACTED, FITTED, DONE = 40, 70, 80, 100  # steps of the progress


@dataclass(frozen=True)
class LrmOptions:
    """``resolution`` in cubes per side, absent: the model's own. ``fit``: take the size from the silhouettes.

    ``texture`` is the side of the UV texture in texels, 0 for vertex colours only; before, the mesh is simplified to
    ``target_faces`` (0: not at all). ``material`` bakes predicted metallic and roughness, too.
    """

    resolution: int | None = None
    fit: bool = True
    texture: int = 0
    target_faces: int = 60_000
    material: bool = False


@dataclass(frozen=True)
class LrmReconstruction:
    """``mesh`` in the world of the views' cameras; ``scale`` is what camera distances in it count of those that the
    model was told, 1 where the model is right about its views; ``overlaps`` (V,) silhouette IoU per view."""

    mesh: Mesh
    scale: float
    overlaps: tuple[float, ...]


@torch.no_grad()
def reconstruct_views(
    model: HeldModel, views: ViewSet, options: LrmOptions = LrmOptions(), progress: Progress = silent
) -> LrmReconstruction:
    """The mesh of the object in ``views``, on the CPU, with linear vertex colours or, where asked for, a texture.

    The model thinks in units in which every camera stands at ``config.camera_distance``. Its mesh is brought to the
    mean distance of the rig, then to the size at which it covers the masks best. ``progress`` shows the mesh as soon
    as it is there, and may cancel.

    Raises Bundle3DError for an empty mask, an orthographic rig, and where there is no surface.
    """
    planes = _planes(model, views, Stage(progress, 0, READ, DONE))
    reader = model.reader_on(planes.device)
    mesh = extract_mesh(reader, planes, options.resolution, Stage(progress, READ, EXTRACTED, DONE))
    told = sum(camera.distance for camera in views.rig) / (len(views.rig) * model.config.camera_distance)
    shown = _scaled(mesh.to("cpu"), told)
    progress(EXTRACTED, DONE, lambda: preview(shown, views.rig))
    scale = 1.0
    if options.fit:
        seen = views.to("cpu")
        fitting = Stage(progress, EXTRACTED, FITTED, DONE)
        # PRM is told a distance of 3.5 and reconstructs for 4.15 (specs 5.10).
        scale = fit_scale(shown, seen, *WIDE_RANGE, progress=fitting)
        shown = _scaled(shown, 1.0 / scale)
    overlaps = silhouette_iou(_silhouettes(shown, views), views.mask.cpu())
    if options.texture:
        if options.target_faces:
            mesh = simplify(mesh, options.target_faces)
        textured = Stage(progress, FITTED, DONE, DONE)
        mesh = texture_from_field(reader, planes, mesh, options.texture, options.material, textured)
        shown = _scaled(mesh.to("cpu"), told / scale)
    progress(DONE, DONE, lambda: preview(shown, views.rig))
    return LrmReconstruction(shown, scale, tuple(overlaps.tolist()))


def preview(mesh: Mesh, rig: Rig) -> torch.Tensor:
    """(H, W, 3) picture of the mesh: its base colour in every view, side by side."""
    pictures, _ = render_mesh(mesh, rig, PREVIEW_SIZE, PREVIEW_SIZE, "unlit", supersample=1)
    return torch.cat(list(pictures), dim=1)


def _planes(model: HeldModel, views: ViewSet, progress: Progress) -> torch.Tensor:
    """Feature planes (3, C, h, w) of the views, where the network computes."""
    network = model.network
    images, cameras = model_input(views, model.config)
    with network.use(activation_bytes(model.config, len(views.rig), network.compute_dtype)) as module:
        device = network.compute_device
        planes: torch.Tensor = module.planes(images.to(device), cameras.to(device), progress)
        return planes[0]


def _scaled(mesh: Mesh, factor: float) -> Mesh:
    return mesh.with_(vertices=mesh.vertices * factor)


def _silhouettes(mesh: Mesh, views: ViewSet) -> torch.Tensor:
    height, width = views.size
    return rasterise(views.rig.clip(mesh.vertices, width / height), mesh.faces, height, width).mask.float()
