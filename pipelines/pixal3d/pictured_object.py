"""An object as Pixal3D is shown it, and where what becomes of it stands.

Source: specs/pixal3d.md sections 2.2 and 2.6 (the first camera is the front), 4 (axes).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from ..errors import Bundle3DError
from ..meshes.mesh import Mesh
from ..meshes.world import in_world
from ..views.masks import unmix_white
from ..views.view_set import ViewSet
from ..volumes.projection import DEFAULT_FOV, front_camera, rig_cameras
from .alignment import InputAlignment, input_alignment, input_camera
from .conditioning import Pictures
from .finish.options import FinishOptions
from .finish.outline import Outline
from .finish.placement import placement
from .prepare import on_black
from .view_folder import ViewFolder


def _identity() -> torch.Tensor:
    return torch.eye(4, dtype=torch.float64)


@dataclass(frozen=True)
class PicturedObject:
    """An object's ``pictures`` and where it is in them, ``masks`` (V, S, S) in [0, 1].

    ``turn`` (4, 4) float64 takes the frame of the first camera, from which shapes are made, to that of the views, and
    ``place`` from there to the object's own place. Raises Bundle3DError unless the masks fit the pictures and each has
    an object.
    """

    pictures: Pictures
    masks: torch.Tensor
    turn: torch.Tensor = field(default_factory=_identity)
    place: torch.Tensor = field(default_factory=_identity)

    def __post_init__(self) -> None:
        if self.masks.shape != self.pictures.images.shape[:3]:
            raise Bundle3DError(
                f"Expected masks {tuple(self.pictures.images.shape[:3])} of the pictures, but got "
                f"{tuple(self.masks.shape)}; connect the masks of the same pictures."
            )
        empty = [number for number, mask in enumerate(self.masks, 1) if not bool((mask > 0.5).any())]
        if empty:
            raise Bundle3DError(
                f"Expected the object in every picture, but number {empty[0]} of {len(self.masks)} shows none; check "
                "its mask, which is 1 on the object, or leave the picture out."
            )

    def outline(self) -> Outline:
        """Of the first picture, from which shapes are made."""
        return Outline(self.masks[0], self.pictures.cameras[0], self.pictures.mesh_scale)


def pictured_photo(image: torch.Tensor, mask: torch.Tensor, fov: float = DEFAULT_FOV) -> PicturedObject:
    """An object of one photo (S, S, 3) as of `crop_on_black`, with its ``mask`` (S, S); ``fov`` in radians."""
    return PicturedObject(Pictures(image[None], (front_camera(fov),)), mask[None])


def pictured_views(views: ViewSet, place: torch.Tensor) -> PicturedObject:
    """An object of views with known cameras, the first of which is the front; ``place`` as of `PicturedObject`.

    Raises Bundle3DError for views that show nothing, are not square or have orthographic cameras.
    """
    views.require_object()
    colors = unmix_white(views.rgb.cpu(), views.mask.cpu())
    images = torch.stack([on_black(color, mask) for color, mask in zip(colors, views.mask.cpu())])
    turn = _identity()
    turn[:3, :3] = views.rig[0].rotation().T
    return PicturedObject(Pictures(images, rig_cameras(views.rig)), views.mask.cpu(), turn, place)


def pictured_folder(
    folder: ViewFolder, colors: Sequence[torch.Tensor], masks: Sequence[torch.Tensor]
) -> PicturedObject:
    """An object of the views of a folder, ``colors`` (S, S, 3) and ``masks`` (S, S) in [0, 1], uncropped.

    Raises Bundle3DError for views that are not square, not of one size or empty.
    """
    for file, rgb, mask in zip(folder.files, colors, masks):
        if rgb.shape[0] != rgb.shape[1] or rgb.shape != colors[0].shape:
            raise Bundle3DError(
                f"Expected square views of one size, but '{file.name}' has {rgb.shape[1]} x {rgb.shape[0]} pixels; "
                "render all of them alike."
            )
        if not bool(mask.any()):
            raise Bundle3DError(
                f"Expected the object in every view, but '{file.name}' is empty; leave it out of the folder's cameras."
            )
    images = torch.stack([on_black(rgb, mask) for rgb, mask in zip(colors, masks)])
    return PicturedObject(Pictures(images, folder.cameras, folder.mesh_scale), torch.stack(list(masks)))


def placed_asset(mesh: Mesh, item: PicturedObject, options: FinishOptions) -> Mesh:
    """The asset ``mesh``, as ``finish_asset`` makes it with ``options``, turned to the views and with its own place."""
    axes = _axes(options)

    def along(matrix: torch.Tensor) -> torch.Tensor:
        return matrix if torch.equal(matrix, _identity()) else axes @ matrix @ torch.linalg.inv(axes)

    return in_world(mesh.with_(transform=along(item.turn))).with_(transform=along(item.place))


def asset_alignment(mesh: Mesh, item: PicturedObject, options: FinishOptions) -> InputAlignment:
    """How well ``mesh``, as ``finish_asset`` makes it with ``options``, lies on the first picture."""
    camera, scale = item.pictures.cameras[0], item.pictures.mesh_scale
    seen = in_world(mesh.with_(transform=torch.linalg.inv(_axes(options))))
    away = float(camera.camera_to_world[:3, 3].norm())
    return input_alignment(
        seen, item.pictures.images[0], item.masks[0], input_camera(camera.fov, away, mesh_scale=scale)
    )


def _axes(options: FinishOptions) -> torch.Tensor:
    """(4, 4) float64 from our world to the axes and the size of ``options``."""
    matrix = _identity()
    matrix[:3, :3] = placement(options.size / 2.0, options.up, options.front)
    return matrix
