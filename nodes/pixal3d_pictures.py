"""What the nodes of Pixal3D take as pictures: photos cut out and cropped, or views with cameras."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from comfy_api.latest import io

from ..pipelines.errors import Bundle3DError
from ..pipelines.pixal3d.models import Pixal3DModels
from ..pipelines.pixal3d.pictured_object import PicturedObject, pictured_views
from ..pipelines.pixal3d.prepare import crop_on_black
from .cutting import cut_photo
from .pixal3d_sockets import ObjectBatch, Pixal3DPictures
from .sockets import ViewBatch, Views

Value = TypeVar("Value")
ONE_VIEW = "These flows were trained for several views, but there is one picture: load those for one view."
SEVERAL_VIEWS = "These flows were trained for one view, but there are {}: switch several_views on in Load Pixal3D."
LEAST_SIDE = 32  # pixels of a square, as cropped, below which enlarging it shows a blur without shape
TOO_SMALL = f"The object is too small to show a shape, under {LEAST_SIDE} pixels: take a larger picture of it."
DEMO_DOMAIN = "Made with the demo family, which knows simple procedural shapes only; other objects need Pixal3D."


def pictures_input(optional: bool = False) -> Any:
    """The socket of every node that looks at pictures; ``pictured`` reads it."""
    return io.MultiType.Input(
        "pictures",
        types=[Pixal3DPictures, Views],
        optional=optional,
        tooltip="The pictures with their cameras, from Pixal3D Camera; or views in perspective: a bundle's four, those "
        "of Generate Views, or of Views from Images. The first view is the front.",
    )


def pictured(value: ObjectBatch[PicturedObject] | ViewBatch) -> list[PicturedObject]:
    """The objects at such a socket; raises Bundle3DError for views that Pixal3D cannot be shown."""
    if isinstance(value, ViewBatch):
        return [pictured_views(views, place) for views, place in value.framed()]
    if isinstance(value, ObjectBatch):
        return list(value)
    raise Bundle3DError(
        f"Expected pictures of Pixal3D Camera or views, but got {type(value).__name__}; connect one of them."
    )


def with_pictures(
    pictures: ObjectBatch[PicturedObject] | ViewBatch, values: ObjectBatch[Value]
) -> list[tuple[PicturedObject, Value]]:
    """What a stage made of each object, with its pictures; raises Bundle3DError for batches of different sizes."""
    items = pictured(pictures)
    if len(items) != len(values):
        raise Bundle3DError(
            f"Expected the pictures that the stage before saw, but got {len(items)} for {len(values)} objects; connect "
            "the same ones."
        )
    return list(zip(items, values))


def cut_and_crop(
    photo: torch.Tensor, mask: torch.Tensor | None, cut_by: str = "automatic"
) -> tuple[torch.Tensor, torch.Tensor, str]:
    """The object of a photo (H, W, 3 or 4) in its square on black (S, S, 3), where it is there (S, S), and how it was
    cut out."""
    matte = cut_photo(photo, mask, cut_by)
    square = crop_on_black(matte.rgb, matte.alpha)
    own = crop_on_black(torch.ones_like(matte.rgb), matte.alpha)[..., 0]  # white times alpha
    notes = [*matte.notes, f"Square of {len(square)} x {len(square)} pixels, on black"]
    if len(square) < LEAST_SIDE:
        notes.append(TOO_SMALL)
    return square, own, "\n".join(notes)


def advice(models: Pixal3DModels, item: PicturedObject) -> list[str]:
    """The lines of a report on whether models and pictures suit each other."""
    if models.demo:
        return [DEMO_DOMAIN]
    views = len(item.pictures.cameras)
    if models.multiview and views == 1:
        return [ONE_VIEW]
    return [SEVERAL_VIEWS.format(views)] if views > 1 and not models.multiview else []
