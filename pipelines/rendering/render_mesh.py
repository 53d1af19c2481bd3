"""Pictures of a mesh: shaded, unlit, clay, matte, normals or depth.

Source: specs/kiss3dgen.md sections 1.3 and 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from ..errors import Bundle3DError
from ..meshes.mesh import Mesh
from ..progress import Progress, silent
from ..views.camera import Camera
from ..views.normals import encode_normals
from ..views.rig import Rig
from .buffers import BufferRenderer, Buffers, Shader
from .color import linear_to_srgb
from .environment import studio
from .materials import plain
from .shading import Surface, shade

# "matte" is "shaded" with every material as a rough dielectric: what the bundle checkpoints were shown.
MODES = ("shaded", "unlit", "clay", "normal", "depth", "matte")
CLAY_COLOR = 0.55
DARKEST_DEPTH = 0.15
LARGEST_SUPERSAMPLE = 8


def render_mesh(
    mesh: Mesh,
    rig: Rig,
    height: int,
    width: int,
    mode: str = "shaded",
    supersample: int = 2,
    background: tuple[float, float, float] = (1.0, 1.0, 1.0),
    progress: Progress = silent,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures (V, H, W, 3) sRGB on ``background`` and coverage (V, H, W) of ``mesh`` in its local frame.

    ``mode``: shaded (split-sum physically based, in the studio environment), unlit (base colour), clay (grey, same
    light), matte (base colour as a rough dielectric), normal (bundle encoding), depth (near white to far dark, one
    scale for all views). Raises Bundle3DError for an unknown mode.
    """
    pictures, alphas = [], []
    # One view at a time: only what the picture needs is kept.
    for camera, view in zip(rig, iterate_buffers(mesh, rig, height, width, mode, supersample, progress)):
        alphas.append(view.alpha)
        pictures.append(shown(view, camera, mode))
    color, alpha = torch.stack(pictures), torch.stack(alphas)
    if mode == "depth":
        covered = color[..., 0][alpha > 0.0]
        near, far = covered.aminmax() if covered.numel() else (0.0, 0.0)
        color = grey(color, float(near), float(far))
    return on_background(color, alpha, background), alpha


def mesh_renderer(mesh: Mesh, mode: str, supersample: int) -> BufferRenderer:
    """What draws ``mesh`` in ``mode``. Raises Bundle3DError for what ``render_mesh`` refuses."""
    if mode not in MODES:
        raise Bundle3DError(f"Expected one of the modes {', '.join(MODES)}, but got {mode!r}; choose one of them.")
    if not 1 <= supersample <= LARGEST_SUPERSAMPLE:
        raise Bundle3DError(f"Expected supersampling of 1 to {LARGEST_SUPERSAMPLE}, but got {supersample}; try 2.")
    if not mesh.faces.shape[0]:
        raise Bundle3DError("Expected a mesh with faces, but it has none; load or reconstruct another mesh.")
    return BufferRenderer(mesh, _SHADERS[mode])


def shown(view: Buffers, camera: Camera, mode: str) -> torch.Tensor:
    """What ``mode`` shows of a view: sRGB (H, W, 3), or (H, W, 1) distances from the camera's plane for "depth"."""
    if mode == "normal":
        return encode_normals(view.normal[None], Rig((camera,)))[0]
    if mode == "depth":
        return _depth(view, camera)[..., None]
    return linear_to_srgb(view.color)


def on_background(
    color: torch.Tensor, alpha: torch.Tensor, background: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> torch.Tensor:
    """``color`` (..., 3) of what is covered by ``alpha`` (...), the rest ``background``."""
    return color * alpha[..., None] + color.new_tensor(background) * (1.0 - alpha[..., None])


def iterate_buffers(
    mesh: Mesh,
    rig: Rig,
    height: int,
    width: int,
    mode: str = "shaded",
    supersample: int = 2,
    progress: Progress = silent,
) -> Iterator[Buffers]:
    """Linear colour, world normals, positions and coverage, camera by camera of ``rig``; see ``render_mesh``."""
    renderer = mesh_renderer(mesh, mode, supersample)
    for index, camera in enumerate(rig):
        view = renderer.render(camera, height, width, supersample)
        progress(index + 1, len(rig), partial(_preview, view))
        yield view


def _preview(view: Buffers) -> torch.Tensor:
    alpha = view.alpha[..., None]
    return linear_to_srgb(view.color) * alpha + 1.0 - alpha


def _shade(surface: Surface, normals: torch.Tensor, views: torch.Tensor) -> torch.Tensor:
    return shade(surface, normals, views, studio())


def _clay(surface: Surface, normals: torch.Tensor, views: torch.Tensor) -> torch.Tensor:
    return shade(plain(surface, CLAY_COLOR), normals, views, studio())


def _matte(surface: Surface, normals: torch.Tensor, views: torch.Tensor) -> torch.Tensor:
    return shade(plain(surface), normals, views, studio())


def _base_color(surface: Surface, normals: torch.Tensor, views: torch.Tensor) -> torch.Tensor:
    return surface.base_color


_SHADERS: dict[str, Shader] = {
    "shaded": _shade,
    "unlit": _base_color,
    "clay": _clay,
    "normal": _base_color,
    "depth": _base_color,
    "matte": _matte,
}


def _depth(view: Buffers, camera: Camera) -> torch.Tensor:
    """Distance (H, W) of what is covered from the camera's plane."""
    toward = camera.rotation()[2].to(view.position)
    return ((camera.eye().to(view.position) - view.position) * toward).sum(-1)


def grey(depth: torch.Tensor, near: float, far: float) -> torch.Tensor:
    """Grey (..., 3) of ``depth`` (..., 1): white at ``near``, darkest at ``far``."""
    value = 1.0 - (1.0 - DARKEST_DEPTH) * (depth - near) / max(far - near, 1e-9)
    return value.clamp(0.0, 1.0).expand(*depth.shape[:-1], 3)
