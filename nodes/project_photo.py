"""Project Photo: a photo's pixels on the texture of a mesh, where the photo shows it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from comfy_api.latest import io

from ..pipelines.errors import Bundle3DError
from ..pipelines.kernels import one_torch_thread
from ..pipelines.meshes.mesh import Mesh
from ..pipelines.progress import Progress, Stage
from ..pipelines.rendering.fit_camera import fit_camera as find_camera
from ..pipelines.texturing.project_photo import PhotoOptions, project_photo
from ..pipelines.views.camera import Camera
from ..pipelines.views.view_set import ViewSet
from . import interop
from .bake_texture import RESOLUTIONS
from .batch import halved, lowered, map_batch, paired
from .compute import as_output, compute_device
from .frames import placed
from .sockets import ViewBatch, Views, mesh_input, mesh_outputs

FITTED, DONE = 30, 100  # steps of the progress
TILT = 20.0  # degrees that the elevation may differ from the given one
LEAST_SIZE = 256  # texels that the texture's side is not halved below
GOOD = 0.9  # overlap of the outlines from which the pixels lie about where they belong
BUNDLE_CAMERA = Camera(0.0, fov=30.0)
POOR = "; that is little: the mesh has another shape than the photo, or azimuth or elevation are not the photo's"


@dataclass(frozen=True)
class _Job:
    mesh: Mesh
    photo: torch.Tensor
    mask: torch.Tensor
    camera: Camera


@dataclass(frozen=True)
class _Direction:
    """Where the photo was taken from, in degrees; a field of view of 0 is that of the views."""

    azimuth: float
    elevation: float
    fov: float


class Bundle3D_ProjectPhoto(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_ProjectPhoto",
            display_name="Project Photo",
            category="Bundle3D/texture",
            description="Paints a photo on the part of a mesh that it shows, so that seen from there the mesh looks "
            "like the photo, and brings the colours around into line with it.",
            search_aliases=["project texture", "photo texture", "seam levelling", "camera projection", "image to 3d"],
            inputs=[
                mesh_input("mesh", "The mesh, with a texture or coloured vertices, as Bake Texture gives it."),
                io.Image.Input("image", tooltip="The photo, from Prepare Photo."),
                io.Mask.Input("mask", tooltip="1 where the photo shows the object, from Prepare Photo."),
                Views.Input(
                    "views",
                    optional=True,
                    tooltip="The views that the mesh was made of: their place and scale, and the distance and field of "
                    "view of their first camera. Without them the cameras of bundles.",
                ),
                io.Float.Input(
                    "azimuth",
                    default=0.0,
                    min=-180.0,
                    max=180.0,
                    step=1.0,
                    tooltip="Where the photo was taken from, in degrees: 0 is the front, 90 the object's left side.",
                ),
                io.Float.Input(
                    "elevation",
                    default=5.0,
                    min=-80.0,
                    max=80.0,
                    step=0.5,
                    tooltip="How far the photo looks down on the object, in degrees. 5 for bundles and FlexGen, 0 for "
                    "a photo at eye level.",
                ),
                io.Boolean.Input(
                    "fit_camera",
                    default=True,
                    tooltip="Find the distance and the shift at which the outline of the mesh is that of the photo's "
                    "mask. Off: the photo is framed as the views are.",
                ),
                io.Combo.Input(
                    "resolution",
                    options=list(RESOLUTIONS),
                    default="2048",
                    tooltip="Side of the texture, in pixels; a finer texture that the mesh has keeps its size.",
                ),
                io.Float.Input(
                    "reach",
                    default=PhotoOptions.reach,
                    min=0.05,
                    max=4.0,
                    step=0.05,
                    tooltip="How far from the photo's border other colours are brought into line with it. The object "
                    "spans about 2.",
                    advanced=True,
                ),
                io.Float.Input(
                    "grazing",
                    default=PhotoOptions.sure,
                    min=0.11,
                    max=0.9,
                    step=0.01,
                    tooltip="How squarely the photo must see a surface to be taken there in full, as a cosine: lower "
                    "takes more of it toward the outline.",
                    advanced=True,
                ),
                io.Boolean.Input(
                    "fit_elevation",
                    default=True,
                    optional=True,
                    tooltip=f"With fit_camera: let the elevation differ by up to {TILT:.0f} degrees from the one above "
                    "where the outlines then agree better.",
                ),
                io.Float.Input(
                    "fov",
                    default=0.0,
                    min=0.0,
                    max=120.0,
                    step=0.5,
                    optional=True,
                    tooltip="Vertical field of view of the picture, in degrees; cropping makes it smaller. More for "
                    "photos taken from near. 0: that of the views, without views 30; 30 also where orthographic views "
                    "are fitted.",
                    advanced=True,
                ),
            ],
            outputs=[
                *mesh_outputs(),
                io.Image.Output("base_color", display_name="base_color", tooltip="The base colour textures."),
                io.String.Output("report", display_name="report", tooltip="How well the photo fits the mesh."),
            ],
        )

    @classmethod
    @one_torch_thread()
    def execute(
        cls,
        mesh: Any,
        image: torch.Tensor,
        mask: torch.Tensor,
        azimuth: float,
        elevation: float,
        fit_camera: bool,
        resolution: str,
        reach: float,
        grazing: float,
        views: ViewBatch | None = None,
        fit_elevation: bool = True,
        fov: float = 0.0,
    ) -> io.NodeOutput:
        if len(mask) != len(image) or mask.shape[1:] != image.shape[1:3]:
            raise Bundle3DError(
                f"Expected one mask of the same size per photo, but got {tuple(mask.shape)} for photos of "
                f"{tuple(image.shape[:3])}; connect both outputs of Prepare Photo."
            )
        device = compute_device()
        options = PhotoOptions(sure=grazing, reach=reach)
        pictures = list(zip(image[..., :3].cpu().float().unbind(0), mask.cpu().float().unbind(0)))
        frames = None if views is None else views.framed()
        jobs = []
        for (item, frame), picture in paired(
            paired(interop.accept(mesh), frames, "meshes and views"), pictures, "meshes and photos"
        ):
            assert picture is not None
            jobs.append(_job(item, frame, picture, _Direction(azimuth, elevation, fov)))

        def paint(job: _Job, size: int, progress: Progress) -> tuple[Mesh, str]:
            surface, text = job.mesh.to(device), "the camera is that of the views"
            camera = job.camera
            if fit_camera:
                if not camera.is_perspective:  # as no photo is
                    camera = replace(camera, fov=BUNDLE_CAMERA.fov, half_height=None)
                fitting = Stage(progress, 0, FITTED, DONE)
                tilt = TILT if fit_elevation else 0.0
                camera, overlap = find_camera(surface, job.mask.to(device), camera, progress=fitting, tilt=tilt)
                text = (
                    f"camera at distance {camera.distance:.3f}, elevation {camera.elevation:.1f} degrees, outline "
                    f"overlap {overlap:.4f}"
                )
                text += POOR if overlap < GOOD else ""
            stage = Stage(progress, FITTED, DONE, DONE)
            painted = project_photo(surface, job.photo, job.mask, camera, size, options, stage)
            return painted.to("cpu"), "\n".join([text, *lowered("resolution", int(resolution), size)])

        results = map_batch(jobs, paint, halved(int(resolution), LEAST_SIZE), "lower resolution")
        text = "\n".join(f"Photo {number}: {note}" for number, (_, note) in enumerate(results, 1))
        painted = [item for item, _ in results]
        textures = [item.materials[0].base_color_texture for item in painted]
        return io.NodeOutput(
            *interop.emit(painted), as_output(interop.image_batch(textures)), text, ui={"text": [text]}
        )


def _job(
    mesh: Mesh,
    frame: tuple[ViewSet, torch.Tensor] | None,
    picture: tuple[torch.Tensor, torch.Tensor],
    direction: _Direction,
) -> _Job:
    """The mesh in the frame of its views, and the camera that is asked for there."""
    views, transform = frame or (None, None)
    camera = BUNDLE_CAMERA if views is None else views.rig[0]
    camera = replace(camera, azimuth=direction.azimuth, elevation=direction.elevation)
    if direction.fov:
        camera = replace(camera, fov=direction.fov, half_height=None)
    return _Job(placed(mesh, transform), *picture, camera)


NODES = [Bundle3D_ProjectPhoto]
