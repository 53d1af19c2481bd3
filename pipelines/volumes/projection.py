"""Where the points of a voxel grid appear in the images that condition it.

Grid: R^3 corner-aligned points in [-1/2, 1/2]^3 divided by the mesh scale, x right, y up and z toward the camera of the
front view. World of camera matrices: Blender's, z up, the front view's camera at (0, -distance, 0).
Source: specs/pixal3d.md sections 2.2, 2.3 and 2.6.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..errors import Bundle3DError
from ..views.rig import Rig

DEFAULT_FOV = 0.8575560450553894
LEAST_DEPTH = 1e-8  # what lies behind a camera is taken to the border of its image
WORLD_FROM_GRID = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0))


@dataclass(frozen=True)
class GridCamera:
    """A square perspective view of the grid: ``camera_to_world`` (4, 4) float64 and ``fov`` in radians.

    The camera's axes are right, up and toward the viewer. Raises Bundle3DError for a field of view outside (0, pi) and
    for a matrix that is not a rotation and a shift.
    """

    camera_to_world: torch.Tensor
    fov: float

    def __post_init__(self) -> None:
        _check_fov(self.fov)
        matrix = self.camera_to_world
        rotation = matrix[:3, :3].double() if matrix.shape == (4, 4) else torch.zeros(3, 3, dtype=torch.float64)
        rigid = torch.allclose(rotation @ rotation.T, torch.eye(3).to(rotation), atol=1e-4)
        if not rigid or not bool(matrix.isfinite().all()):
            raise Bundle3DError(
                f"Expected a rotation and a shift as a matrix (4, 4), but got {matrix.tolist()}; remove its scale."
            )

    def project(self, points: torch.Tensor) -> torch.Tensor:
        """(N, 2) places of grid ``points`` (N, 3) in the image, from (0, 0) in its upper left corner to (1, 1)."""
        grid_to_camera = torch.linalg.inv(self.camera_to_world.double())
        rotation = (grid_to_camera[:3, :3] @ torch.tensor(WORLD_FROM_GRID, dtype=torch.float64)).to(points)
        x, y, z = (points @ rotation.T + grid_to_camera[:3, 3].to(points)).unbind(-1)
        return _image_places(x, y, -z, self.fov)


def front_camera(fov: float = DEFAULT_FOV, distance: float | None = None) -> GridCamera:
    """The camera of a single view; without ``distance``, where the grid's middle plane fills the image."""
    return GridCamera(front_matrix(camera_distance(fov) if distance is None else distance), fov)


def front_matrix(distance: float) -> torch.Tensor:
    """(4, 4) float64 camera to world of the front view."""
    rows = ((1.0, 0.0, 0.0, 0.0), (0.0, 0.0, -1.0, -distance), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    return torch.tensor(rows, dtype=torch.float64)


def camera_distance(fov: float, mesh_scale: float = 1.0, extend: float = 0.0, size: int = 512) -> float:
    """Distance at which the middle plane of the grid fills an image of ``size`` pixels with ``extend`` more around."""
    _check_fov(fov)
    focal = size / (2.0 * math.tan(fov / 2.0))
    return focal * (0.5 / mesh_scale) / (size / 2.0 + extend)


def relative_cameras(camera_to_world: Sequence[torch.Tensor], fov: Sequence[float]) -> tuple[GridCamera, ...]:
    """Cameras of several views, turned so that the first one is the front view at its own distance.

    ``camera_to_world`` (4, 4) each, in any world around the object with the cameras' axes right, up and toward the
    viewer. Raises Bundle3DError where there are no views or not as many fields of view, and as `GridCamera`.
    """
    if not camera_to_world or len(camera_to_world) != len(fov):
        raise Bundle3DError(
            f"Expected one field of view for each of at least one camera, but got {len(fov)} for "
            f"{len(camera_to_world)} cameras; give as many."
        )
    first = GridCamera(camera_to_world[0].double(), fov[0]).camera_to_world
    turn = front_matrix(float(first[:3, 3].norm())) @ torch.linalg.inv(first)
    return tuple(GridCamera(turn @ matrix.double(), angle) for matrix, angle in zip(camera_to_world, fov))


def rig_cameras(rig: Rig) -> tuple[GridCamera, ...]:
    """The perspective cameras of ``rig`` around an object in [-1, 1]^3, of which the grid is the half.

    Raises Bundle3DError for orthographic cameras.
    """
    matrices, angles = [], []
    for camera in rig:
        if camera.fov is None:
            raise Bundle3DError("Expected perspective cameras, but got an orthographic one; choose another rig.")
        matrix = torch.linalg.inv(camera.world_to_camera())
        matrix[:3] = torch.tensor(WORLD_FROM_GRID, dtype=torch.float64) @ matrix[:3]
        matrix[:3, 3] *= 0.5
        matrices.append(matrix)
        angles.append(math.radians(camera.fov))
    return relative_cameras(matrices, angles)


def project(points: torch.Tensor, fov: float, distance: float) -> torch.Tensor:
    """(N, 2) places of grid ``points`` (N, 3) in the front view, as `GridCamera.project`, in closed form."""
    x, y, z = points.unbind(-1)
    return _image_places(x, y, distance - z, fov)


def sampling_coordinates(places: torch.Tensor, image_size: int) -> torch.Tensor:
    """(N, 2) coordinates in [-1, 1] at which features of an image of ``image_size`` pixels are read for ``places``.

    Half a pixel of the image is added whatever the size of the feature map, as in the published networks' training.
    """
    return 2.0 * (places + 0.5 / image_size) - 1.0


def grid_points(resolution: int, mesh_scale: float = 1.0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """(R^3, 3) all points of the grid, x first and z fastest."""
    indices = torch.arange(resolution)
    return voxel_points(torch.cartesian_prod(indices, indices, indices), resolution, mesh_scale, dtype)


def voxel_points(
    coords: torch.Tensor, resolution: int, mesh_scale: float = 1.0, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """(N, 3) points of the grid of ``resolution``^3 at the voxels ``coords`` (N, 3)."""
    return (2.0 * coords.to(dtype) / (resolution - 1) - 1.0) / (2.0 * mesh_scale)


def _image_places(x: torch.Tensor, y: torch.Tensor, depth: torch.Tensor, fov: float) -> torch.Tensor:
    scale = 1.0 / (2.0 * math.tan(fov / 2.0)) / depth.clamp(min=LEAST_DEPTH)
    return torch.stack((0.5 + scale * x, 0.5 - scale * y), dim=-1)


def _check_fov(fov: float) -> None:
    if not 0.0 < fov < math.pi:
        raise Bundle3DError(f"A field of view lies between 0 and pi radians, but got {fov}; try {DEFAULT_FOV:.3f}.")
