"""The surface of a reconstructed object as a mesh with vertex colours.

Source: specs/kiss3dgen.md sections 5.7 to 5.9.
"""

from __future__ import annotations

import torch

from ..errors import Bundle3DError
from ..meshes.mesh import Mesh
from ..progress import Progress, Stage, silent
from ..rendering.color import srgb_to_linear
from ..volumes.flexicubes import cube_weights, dual_mesh, vertex_offsets
from ..volumes.surface_cubes import lattice_points, surface_cubes
from .cameras import to_world
from .config import LrmConfig
from .field import TriplaneField
from .model import LargeReconstructionModel

SAMPLED, MOVED, WEIGHTED, COLORED = 60, 70, 90, 100  # steps of the progress
RESOLUTIONS = range(8, 513)


class NoSurfaceError(Bundle3DError):
    """The field of an object is inside, or outside, everywhere."""


@torch.no_grad()
def extract_mesh(
    model: LargeReconstructionModel,
    planes: torch.Tensor,
    resolution: int | None = None,
    progress: Progress = silent,
) -> Mesh:
    """The mesh of one object's ``planes`` (3, C, h, w), in our frame (+Y up, front +Z), with linear vertex colours.

    FlexiCubes at ``resolution`` cubes per side (absent: the model's own); its weights and offsets are evaluated at
    surface cubes only. Lengths are the model's: a camera at ``config.camera_distance`` sees the object as the views
    showed it. The mesh is closed unless the object leaves the grid. ``progress`` may cancel between chunks.

    Raises NoSurfaceError where the field has none, and Bundle3DError where it is not finite or the resolution is out of
    range.
    """
    config = model.config
    resolution = checked_resolution(config, resolution)
    field = TriplaneField(model.decoder, planes)
    axis = (torch.arange(resolution + 1, device=planes.device) / resolution - 0.5) * config.grid_scale
    sdf = field.sdf_grid(axis, Stage(progress, 0, SAMPLED, COLORED))
    cubes = surface_cubes(sdf)
    points = lattice_points(cubes.vertices, resolution, config.grid_scale)
    offsets = vertex_offsets(field.deformation(points, Stage(progress, SAMPLED, MOVED, COLORED)), resolution)
    weights = field.cube_weights(points, cubes.rows, Stage(progress, MOVED, WEIGHTED, COLORED))
    vertices, faces = _used(*dual_mesh(cubes, cube_weights(weights), offsets, config.grid_scale))
    if len(faces) == 0:
        raise NoSurfaceError(
            "Expected a surface in the reconstructed field, but it has none; check that the views show one object on "
            "white and come with their own rig, and that the checkpoint is a trained one."
        )
    colors = field.color(vertices, Stage(progress, WEIGHTED, COLORED, COLORED))
    if not config.linear_color:
        colors = srgb_to_linear(colors)
    return Mesh(to_world(vertices), faces, colors=colors)


def checked_resolution(config: LrmConfig, resolution: int | None) -> int:
    """``resolution``, absent: the model's own. Raises Bundle3DError where it is out of range."""
    resolution = config.grid_resolution if resolution is None else resolution
    if resolution not in RESOLUTIONS:
        raise Bundle3DError(
            f"Expected a resolution of {RESOLUTIONS[0]} to {RESOLUTIONS[-1]} cubes per side, but got {resolution}; "
            f"{config.grid_resolution} is the model's own."
        )
    return resolution


def _used(vertices: torch.Tensor, faces: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Without the vertices that no face has, which lie where the surface leaves the grid."""
    used, renumbered = torch.unique(faces, return_inverse=True)
    return vertices[used], renumbered
