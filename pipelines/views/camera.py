"""A camera that looks at the object: pose, projection, and the world vectors behind a pixel.

World: right-handed, +Y up, object front +Z. Camera: +X right, +Y up, +Z toward the viewer (OpenGL).
Source: specs/kiss3dgen.md sections 0, 1.3 and 6.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ..errors import Bundle3DError


@dataclass(frozen=True)
class Camera:
    """A camera on a sphere around ``target``.

    ``azimuth`` grows from the front (+Z) toward +X and ``elevation`` upward, both in degrees; ``distance`` is in world
    units. Exactly one of ``fov`` (vertical field of view in degrees, perspective) and ``half_height`` (world units from
    the image centre to its upper edge, orthographic) is given.

    Raises Bundle3DError for a non-positive distance, a field of view outside (0, 180) or an ambiguous projection.
    """

    azimuth: float
    elevation: float = 0.0
    distance: float = 4.5
    fov: float | None = None
    half_height: float | None = None
    target: tuple[float, float, float] = (0.0, 0.0, 0.0)
    near: float = 0.1
    far: float = 1000.0

    def __post_init__(self) -> None:
        if (self.fov is None) == (self.half_height is None):
            raise Bundle3DError(
                f"A camera needs either a field of view or an orthographic half height, but got fov={self.fov} and "
                f"half_height={self.half_height}; set exactly one."
            )
        if self.fov is not None and not 0.0 < self.fov < 180.0:
            raise Bundle3DError(f"A field of view lies between 0 and 180 degrees, but got {self.fov}; try 30.")
        if self.half_height is not None and not self.half_height > 0.0:
            raise Bundle3DError(f"An orthographic half height is positive, but got {self.half_height}; try 1.0.")
        if not self.distance > 0.0:
            raise Bundle3DError(f"A camera distance is positive, but got {self.distance}; try 4.5.")

    @property
    def is_perspective(self) -> bool:
        return self.fov is not None

    @property
    def scale(self) -> float:
        """Focal length over half the image height: screen y of a point at unit depth (perspective) or unit height."""
        if self.fov is not None:
            return 1.0 / math.tan(math.radians(self.fov) / 2.0)
        assert self.half_height is not None
        return 1.0 / self.half_height

    def pixel_size(self, height: int) -> float:
        """World size of a pixel of an image that many pixels high, at the target where the camera is perspective."""
        return 2.0 * (self.distance if self.is_perspective else 1.0) / (self.scale * height)

    def rotation(self) -> torch.Tensor:
        """(3, 3) float64 whose rows are the camera's right, up and toward-viewer axes in the world."""
        azimuth, elevation = math.radians(self.azimuth), math.radians(self.elevation)
        sin_a, cos_a, sin_e, cos_e = math.sin(azimuth), math.cos(azimuth), math.sin(elevation), math.cos(elevation)
        right = (cos_a, 0.0, -sin_a)
        toward = (cos_e * sin_a, sin_e, cos_e * cos_a)
        up = (-sin_e * sin_a, cos_e, -sin_e * cos_a)
        return torch.tensor((right, up, toward), dtype=torch.float64)

    def eye(self) -> torch.Tensor:
        """(3,) float64 position of the camera in the world."""
        return torch.tensor(self.target, dtype=torch.float64) + self.distance * self.rotation()[2]

    def world_to_camera(self) -> torch.Tensor:
        """(4, 4) float64 rigid transform from world to camera coordinates, for column vectors."""
        matrix = torch.eye(4, dtype=torch.float64)
        matrix[:3, :3] = self.rotation()
        matrix[:3, 3] = -self.rotation() @ self.eye()
        return matrix

    def projection(self, aspect: float = 1.0) -> torch.Tensor:
        """(4, 4) float64 OpenGL projection; ``aspect`` is width over height. NDC y points up, z in [-1, 1]."""
        matrix = torch.zeros(4, 4, dtype=torch.float64)
        matrix[0, 0] = self.scale / aspect
        matrix[1, 1] = self.scale
        depth = self.far - self.near
        if self.is_perspective:
            matrix[2, 2] = -(self.far + self.near) / depth
            matrix[2, 3] = -2.0 * self.far * self.near / depth
            matrix[3, 2] = -1.0
        else:
            matrix[2, 2] = -2.0 / depth
            matrix[2, 3] = -(self.far + self.near) / depth
            matrix[3, 3] = 1.0
        return matrix

    def world_to_clip(self, aspect: float = 1.0) -> torch.Tensor:
        """(4, 4) float64 transform from world to clip coordinates."""
        return self.projection(aspect) @ self.world_to_camera()

    def project(self, points: torch.Tensor, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Project world ``points`` (..., 3) to pixels (..., 2) as (x, y) and depths (...) along the view axis.

        Pixel (0, 0) is the upper left corner of the image; the centre of the first pixel is (0.5, 0.5).
        """
        matrix = self.world_to_camera().to(points)
        camera = points @ matrix[:3, :3].T + matrix[:3, 3]
        depth = -camera[..., 2]
        divisor = depth if self.is_perspective else torch.ones_like(depth)
        x = (camera[..., 0] * (self.scale * height / width) / divisor + 1.0) * (width / 2.0)
        y = (1.0 - camera[..., 1] * self.scale / divisor) * (height / 2.0)
        return torch.stack((x, y), dim=-1), depth

    def rays(self, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Origins and unit directions in the world, both (H, W, 3) float64, of the rays through the pixel centres."""
        half_y, half_x = 1.0 / self.scale, width / (self.scale * height)
        y = (1.0 - (torch.arange(height, dtype=torch.float64) + 0.5) * (2.0 / height)) * half_y
        x = ((torch.arange(width, dtype=torch.float64) + 0.5) * (2.0 / width) - 1.0) * half_x
        grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
        rotation = self.rotation()
        if self.is_perspective:
            local = torch.stack((grid_x, grid_y, -torch.ones_like(grid_x)), dim=-1)
            directions = torch.nn.functional.normalize(local, dim=-1) @ rotation
            return self.eye().expand_as(directions), directions
        local = torch.stack((grid_x, grid_y, torch.zeros_like(grid_x)), dim=-1)
        origins = local @ rotation + self.eye()
        return origins, (-rotation[2]).expand_as(origins)
