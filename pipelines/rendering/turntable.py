"""A mesh turning once in front of the camera."""

from __future__ import annotations

import math

import torch

from ..errors import Bundle3DError
from ..kernels import run_large_jobs
from ..meshes.mesh import Mesh
from ..progress import Progress, silent
from ..views.camera import Camera
from ..views.rig import Rig
from .buffers import Check
from .render_mesh import grey, mesh_renderer, on_background, shown

FOV = 30.0
MARGIN = 1.05
SHARE_OF_DISTANCE = math.sin(math.radians(FOV / 2.0)) / MARGIN  # that the radius of the bounding sphere is


def turntable(
    mesh: Mesh,
    frames: int = 36,
    size: int = 512,
    mode: str = "shaded",
    elevation: float = 15.0,
    progress: Progress = silent,
    supersample: int = 2,
    orbit: Rig | None = None,
) -> torch.Tensor:
    """Frames (F, size, size, 3) sRGB on white of one turn, starting in front; the whole mesh stays in the picture.

    With an ``orbit`` of ``framing_orbit`` it is seen by those cameras instead, one frame each.

    ``elevation`` of the camera is in degrees; modes as in ``render_mesh``, depth from the nearest to the farthest point
    of the mesh's bounding sphere. On the CPU frames are drawn side by side. Reports every frame with itself as the
    preview, and several times a second that work goes on, without one.
    """
    if orbit is None:
        if frames < 1:
            raise Bundle3DError(f"A turntable needs at least one frame, but got {frames}; try 36.")
        orbit = framing_orbit(mesh, frames, elevation)
    frames, renderer = len(orbit), mesh_renderer(mesh, mode, supersample)
    radius = orbit[0].distance * SHARE_OF_DISTANCE
    pictures, done = mesh.vertices.new_empty(frames, size, size, 3), 0

    def draw(camera: Camera, check: Check) -> torch.Tensor:
        view = renderer.render(camera, size, size, supersample, check)
        color = shown(view, camera, mode)
        if mode == "depth":
            color = grey(color, camera.distance - radius, camera.distance + radius)
        return on_background(color, view.alpha)

    def take(picture: torch.Tensor) -> None:
        nonlocal done
        pictures[done] = picture
        done += 1
        progress(done, frames, lambda: picture)

    def watch() -> None:
        progress(done, frames)

    if mesh.vertices.device.type == "cpu":
        run_large_jobs(draw, orbit.cameras, take, watch)
    else:
        for camera in orbit:
            take(draw(camera, watch))
    return pictures


def framing_orbit(mesh: Mesh, count: int, elevation: float = 15.0) -> Rig:
    """``count`` cameras around ``mesh``, so far away that its bounding sphere fits into every view."""
    low, high = mesh.bounds
    centre = (low + high) / 2.0
    radius = max(float((mesh.vertices - centre).norm(dim=-1).max()), 1e-6)
    distance = radius / SHARE_OF_DISTANCE
    x, y, z = (float(value) for value in centre)
    cameras = tuple(
        Camera(360.0 * i / count, elevation, distance, FOV, target=(x, y, z), near=distance / 50.0, far=distance * 10.0)
        for i in range(count)
    )
    return Rig(cameras, f"turntable({count})")
