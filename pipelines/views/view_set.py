"""What is known of one object from the cameras of a rig."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..errors import Bundle3DError
from .rig import Rig


@dataclass(frozen=True)
class ViewSet:
    """Aligned images of one object, all float32 in the order of ``rig``.

    ``rgb`` (V, H, W, 3) sRGB on white; ``normal`` (V, H, W, 3) unit world vectors, zero outside the mask and where they
    are unknown; ``mask`` (V, H, W) in [0, 1]; ``coord`` (V, H, W, 3) world positions, where known.

    Raises Bundle3DError where shapes disagree.
    """

    rgb: torch.Tensor
    normal: torch.Tensor
    mask: torch.Tensor
    rig: Rig
    coord: torch.Tensor | None = None

    def __post_init__(self) -> None:
        views, height, width = self.mask.shape
        for name, image in (("rgb", self.rgb), ("normal", self.normal), ("coord", self.coord)):
            if image is not None and image.shape != (views, height, width, 3):
                raise Bundle3DError(
                    f"Expected {name} of shape {(views, height, width, 3)} beside a mask of {(views, height, width)}, "
                    f"but got {tuple(image.shape)}; give every view the same size."
                )
        if views != len(self.rig):
            raise Bundle3DError(f"Expected one view per camera of the rig ({len(self.rig)}), but got {views} views.")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a view in pixels."""
        return self.mask.shape[1], self.mask.shape[2]

    def require_object(self) -> None:
        """Raise Bundle3DError where a view shows nothing."""
        for view, mask in enumerate(self.mask):
            if not bool((mask > 0.5).any()):
                raise Bundle3DError(
                    f"Expected an object in every view, but the mask of view {view + 1} is empty; check the bundle "
                    "image."
                )

    def require_normals(self) -> None:
        """Raise Bundle3DError where a view shows something whose normals are unknown."""
        for view, (normal, mask) in enumerate(zip(self.normal, self.mask)):
            shown = mask > 0.5
            if bool(shown.any()) and not bool(normal[shown].any()):
                raise Bundle3DError(
                    f"Expected normals in every view, but view {view + 1} has none, as pictures in colour do not; take "
                    "the views of a bundle image, or give Join Bundle pictures of the normals."
                )

    def to(self, device: torch.device | str) -> ViewSet:
        """The same views on another device."""
        coord = None if self.coord is None else self.coord.to(device)
        return ViewSet(self.rgb.to(device), self.normal.to(device), self.mask.to(device), self.rig, coord)
