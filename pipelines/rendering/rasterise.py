"""Which triangle every pixel shows: face, perspective-correct barycentrics and depth."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..errors import Bundle3DError
from ..kernels import lacks_float64, resolve_backend
from .rasterise_numba import rasterise_numba, visible_numba
from .rasterise_torch import rasterise_torch, visible_torch
from .screen import to_screen

LARGEST_SIZE = 16384


@dataclass(frozen=True)
class Fragments:
    """What the pixels of V views show.

    ``face`` (V, H, W) int32, -1 where empty; ``barycentric`` (V, H, W, 3) float32, perspective-correct, zero where
    empty; ``depth`` (V, H, W) float32 NDC z in [-1, 1], 1 where empty.
    """

    face: torch.Tensor
    barycentric: torch.Tensor
    depth: torch.Tensor

    def to(self, device: torch.device | str) -> Fragments:
        """The same on another device."""
        return Fragments(self.face.to(device), self.barycentric.to(device), self.depth.to(device))

    @property
    def mask(self) -> torch.Tensor:
        """(V, H, W) bool, true where a face is visible."""
        return self.face >= 0


def check_geometry(clip: torch.Tensor, faces: torch.Tensor, height: int, width: int) -> None:
    """Raise Bundle3DError unless clip is (V, N, 4), faces are (M, 3) indices into N, and the size can be drawn."""
    if clip.ndim != 3 or clip.shape[2] != 4 or not clip.is_floating_point():
        raise Bundle3DError(f"Expected clip coordinates (V, N, 4), but got {tuple(clip.shape)}; use Rig.clip.")
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise Bundle3DError(f"Expected faces of shape (M, 3), but got {tuple(faces.shape)}; triangulate the mesh.")
    least, most = (int(value) for value in faces.aminmax()) if faces.numel() else (0, -1)
    if least < 0 or most >= clip.shape[1]:
        raise Bundle3DError(
            f"Expected face indices in 0..{clip.shape[1] - 1}, but got {least}..{most}; "
            "use the faces that belong to these vertices."
        )
    if not (1 <= height <= LARGEST_SIZE and 1 <= width <= LARGEST_SIZE):
        raise Bundle3DError(f"Expected an image size in 1..{LARGEST_SIZE}, but got {height} x {width}; choose another.")


@torch.no_grad()
def rasterise(
    clip: torch.Tensor,
    faces: torch.Tensor,
    height: int,
    width: int,
    backend: str = "auto",
    behind: Fragments | None = None,
) -> Fragments:
    """Rasterise both sides of ``faces`` (M, 3) at clip coordinates ``clip`` (V, N, 4) (OpenGL: y up, z in -w..w).

    Vertices are snapped to 1/256 pixel; a pixel belongs to a triangle if its centre is inside, or on its top or left
    edge.
    The nearest face wins, then the one of lower index. Triangles that cross the near plane or reach behind the camera
    are clipped, whatever lies beyond the far plane or is not finite is dropped. With the fragments ``behind`` of an
    earlier call with the same geometry and size, every pixel shows what comes next after those (depth peeling), nothing
    where they are empty. Not differentiable. Source: specs/kernels.md section 2.
    """
    check_geometry(clip, faces, height, width)
    if lacks_float64(clip):
        behind = None if behind is None else behind.to("cpu")
        return rasterise(clip.cpu(), faces.cpu(), height, width, backend, behind).to(clip.device)
    front = None if behind is None else (behind.depth, behind.face)
    if resolve_backend(backend, clip) == "numba":
        clip, faces = clip.float().contiguous(), faces.int().contiguous()
        screen = to_screen(clip, faces, height, width, "numba")
        return Fragments(*rasterise_numba(clip, faces, screen, height, width, front))
    faces = faces.long()
    screen = to_screen(clip, faces, height, width, "torch")
    return Fragments(*rasterise_torch(clip, faces, screen, height, width, front))


@torch.no_grad()
def visible_faces(
    clip: torch.Tensor, faces: torch.Tensor, height: int, width: int, backend: str = "auto"
) -> torch.Tensor:
    """Only the ``face`` (V, H, W) int32 of `rasterise`, in less time and memory."""
    check_geometry(clip, faces, height, width)
    if lacks_float64(clip):
        return visible_faces(clip.cpu(), faces.cpu(), height, width, backend).to(clip.device)
    if resolve_backend(backend, clip) == "numba":
        clip, faces = clip.float().contiguous(), faces.int().contiguous()
        return visible_numba(faces, to_screen(clip, faces, height, width, "numba"), height, width)
    faces = faces.long()
    return visible_torch(faces, to_screen(clip, faces, height, width, "torch"), height, width)[0]
