"""Pixal3D Camera: how far away the object of a prepared picture was, told by the field of view."""

from __future__ import annotations

import math
from typing import Any

import torch
from comfy_api.latest import io

from ..pipelines.errors import Bundle3DError
from ..pipelines.pixal3d.pictured_object import PicturedObject, pictured_photo
from ..pipelines.pixal3d.prepare import not_black
from ..pipelines.volumes.projection import DEFAULT_FOV, camera_distance
from .batch import paired
from .pixal3d_sockets import ObjectBatch, Pixal3DPictures

LEAST_FOV, MOST_FOV = 1.0, 150.0
INTRINSICS = "intrinsics"  # in a MOGE_GEOMETRY of a perspective picture, in shares of its width


class Bundle3D_Pixal3DCamera(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_Pixal3DCamera",
            display_name="Pixal3D Camera",
            category="Bundle3D/pixal3d",
            description="Gives a prepared picture the camera it was taken with, from its field of view.",
            search_aliases=["pixal3d fov", "camera control", "focal length", "moge", "estimate camera"],
            inputs=[
                io.Image.Input(
                    "image", tooltip="Pictures of one object each in a square on black, from Pixal3D Prepare."
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where the objects are, from Pixal3D Prepare. Without it, where the picture is not black.",
                ),
                fov_input(),
                io.Custom("MOGE_GEOMETRY").Input(
                    "moge_geometry",
                    optional=True,
                    tooltip="What ComfyUI's MoGe says of the prepared pictures; used where fov is 0.",
                ),
            ],
            outputs=[
                Pixal3DPictures.Output(
                    "pictures", display_name="pictures", tooltip="The pictures with their cameras, for Pixal3D's nodes."
                ),
                io.Float.Output(
                    "fov", display_name="fov", tooltip="The field of view of the first picture, in degrees."
                ),
                io.String.Output(
                    "report", display_name="report", tooltip="Field of view and distance of every camera."
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        fov: float,
        mask: torch.Tensor | None = None,
        moge_geometry: dict[str, Any] | None = None,
    ) -> io.NodeOutput:
        masks = None if mask is None else mask.cpu().float().unbind(0)
        shown = paired(image[..., :3].cpu().float().unbind(0), masks, "images and masks")
        fovs = _seen_by_moge(moge_geometry) if moge_geometry is not None and not fov else [radians(fov)]
        items = tuple(
            pictured_photo(picture, not_black(picture) if own is None else own, angle or DEFAULT_FOV)
            for (picture, own), angle in paired(shown, fovs, "pictures and cameras")
        )
        text = "\n".join(_line(item) for item in items)
        first = math.degrees(items[0].pictures.cameras[0].fov)
        return io.NodeOutput(ObjectBatch(items), first, text, ui={"text": [text]})


def fov_input() -> Any:
    """The field of view as a widget; ``radians`` reads it."""
    return io.Float.Input(
        "fov",
        default=0.0,
        min=0.0,
        max=MOST_FOV,
        step=0.01,
        tooltip="Horizontal field of view of the square picture in degrees, as MoGe finds it or the camera tells. 0 "
        "takes 49.13, the middle of what Pixal3D was trained with; try 11.5 where a result looks distorted.",
    )


def radians(fov: float) -> float:
    """The field of view in radians; 0 degrees are the default. Raises Bundle3DError for one that no camera has."""
    if fov and not LEAST_FOV <= fov <= MOST_FOV:
        raise Bundle3DError(
            f"Expected a field of view of {LEAST_FOV:g} to {MOST_FOV:g} degrees, but got {fov:g}; connect degrees, or "
            "set 0 for the default."
        )
    return math.radians(fov) if fov else DEFAULT_FOV


def _seen_by_moge(geometry: dict[str, Any]) -> list[float]:
    """The horizontal field of view of each picture, in radians."""
    intrinsics = geometry.get(INTRINSICS) if isinstance(geometry, dict) else None
    focal = None if intrinsics is None else intrinsics[:, 0, 0].double()
    if focal is None or not bool(((focal > 0) & focal.isfinite()).all()):
        raise Bundle3DError(
            "Expected MoGe's camera of the pictures, but moge_geometry has none, as that of panoramas; connect MoGe "
            "Inference of the prepared pictures, or set fov."
        )
    angles: list[float] = (2.0 * torch.atan(0.5 / focal)).tolist()
    return angles


def _line(item: PicturedObject) -> str:
    camera = item.pictures.cameras[0]
    return (
        f"Field of view {math.degrees(camera.fov):.2f} degrees, camera {camera_distance(camera.fov):.3f} sides of the "
        "object's cube away"
    )


NODES = [Bundle3D_Pixal3DCamera]
