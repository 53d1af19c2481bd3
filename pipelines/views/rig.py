"""An ordered set of cameras around one object, and the rigs that published systems use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import torch

from ..errors import Bundle3DError
from .camera import Camera


@dataclass(frozen=True)
class Rig:
    """Cameras in the order in which their views are laid out."""

    cameras: tuple[Camera, ...]
    name: str = "custom"

    def __post_init__(self) -> None:
        if not self.cameras:
            raise Bundle3DError("A rig needs at least one camera, but got none; choose a named rig such as kiss3dgen.")

    def __len__(self) -> int:
        return len(self.cameras)

    def __iter__(self) -> Iterator[Camera]:
        return iter(self.cameras)

    def __getitem__(self, index: int) -> Camera:
        return self.cameras[index]

    def at_distance(self, distance: float) -> Rig:
        """The same cameras at another distance from the object."""
        return replace(self, cameras=tuple(replace(camera, distance=distance) for camera in self.cameras))

    def scaled(self, factor: float) -> Rig:
        """The same cameras with every distance multiplied by ``factor``."""
        return replace(self, cameras=tuple(replace(c, distance=c.distance * factor) for c in self.cameras))

    def rotations(self) -> torch.Tensor:
        """(V, 3, 3) float32 world-to-camera rotations."""
        return torch.stack([camera.rotation() for camera in self.cameras]).float()

    def eyes(self) -> torch.Tensor:
        """(V, 3) float32 camera positions in the world."""
        return torch.stack([camera.eye() for camera in self.cameras]).float()

    def world_to_clip(self, aspect: float = 1.0) -> torch.Tensor:
        """(V, 4, 4) float32 world-to-clip transforms for column vectors."""
        return torch.stack([camera.world_to_clip(aspect) for camera in self.cameras]).float()

    def clip(self, vertices: torch.Tensor, aspect: float = 1.0) -> torch.Tensor:
        """Clip coordinates (V, N, 4) of world ``vertices`` (N, 3); differentiable in the vertices."""
        matrices = self.world_to_clip(aspect).to(vertices)
        return torch.einsum("vij,nj->vni", matrices[:, :, :3], vertices) + matrices[:, None, :, 3]


def orbit(
    count: int,
    elevation: float = 0.0,
    distance: float = 4.5,
    fov: float = 30.0,
    first: float = 0.0,
    clockwise: bool = False,
) -> Rig:
    """``count`` cameras at equal steps of azimuth from ``first``, 0 in front, toward the object's own left.

    ``clockwise``, as seen from above, they go toward its right.
    """
    step = (-360.0 if clockwise else 360.0) / count
    cameras = tuple(Camera((first + step * i) % 360.0, elevation, distance, fov=fov) for i in range(count))
    return Rig(cameras, f"orbit({count})")


def orthographic(azimuths: Iterable[float], half_height: float, name: str) -> Rig:
    """Orthographic cameras at the height of the object."""
    return Rig(tuple(Camera(azimuth, half_height=half_height) for azimuth in azimuths), name)


def _kiss3dgen() -> Rig:
    return replace(orbit(4, elevation=5.0), name="kiss3dgen")


def _lrm() -> Rig:
    return replace(orbit(4, elevation=5.0, distance=3.5), name="lrm")


def _zero123plus() -> Rig:
    azimuths, elevations = (30, 90, 150, 210, 270, 330), (20, -10) * 3
    return Rig(tuple(Camera(a, e, 3.2, fov=30.0) for a, e in zip(azimuths, elevations)), "zero123plus")


def _cube6() -> Rig:
    directions = ((0, 0), (90, 0), (180, 0), (270, 0), (0, 90), (0, -90))
    return Rig(tuple(Camera(a, e, 4.5, half_height=1.1) for a, e in directions), "cube6")


def _pixal3d_4() -> Rig:
    return replace(orbit(4, distance=4.5), name="pixal3d-4")


def _wonder3d() -> Rig:
    """Wonder3D, Era3D and MV-Adapter: what they call right is where the object's own left is.

    Only directions and order are common to them; the scale is MV-Adapter's. Source: the poses in their repositories.
    """
    return orthographic((0, 45, 90, 180, 270, 315), 1.1, "wonder3d")


def _unique3d() -> Rig:
    """Source: specs/kiss3dgen.md 6.2; in Unique3D's own frame azimuths grow the other way."""
    return orthographic((0, 90, 180, 270), 1.0, "unique3d")


NAMED_RIGS: dict[str, Callable[[], Rig]] = {
    "kiss3dgen": _kiss3dgen,
    "lrm": _lrm,
    "zero123plus": _zero123plus,
    "cube6": _cube6,
    "pixal3d-4": _pixal3d_4,
    "wonder3d": _wonder3d,
    "unique3d": _unique3d,
}


def named_rig(name: str) -> Rig:
    """The rig of that name. Raises Bundle3DError for a name that is not known."""
    if name not in NAMED_RIGS:
        raise Bundle3DError(f"Expected one of the rigs {', '.join(NAMED_RIGS)}, but got {name!r}; choose one of them.")
    return NAMED_RIGS[name]()
