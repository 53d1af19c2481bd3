"""Procedural objects as Pixal3D sees them: placed in the frame of a front camera, pictured by it and by views around.

Source: specs/pixal3d.md sections 2.1 to 2.3, 2.6 and 3.8.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..meshes.mesh import Mesh
from ..pixal3d.conditioning import Pictures
from ..progress import Progress, silent
from ..rendering.render_views import render_views
from ..views.camera import Camera
from ..views.rig import Rig, orbit
from ..volumes.projection import rig_cameras
from .captions import draw_subject
from .dataset import CaptionedBundle, save_image
from .multiview_dataset import FRONTAL_SHARE, turned
from .same_run import require_same_run
from .shapes import build

REACH = 0.96  # of the cube that objects fill at most
MARGIN = 1.1  # of a photo's frame over the object in it
FILL = (0.9, 1.0)  # how much of the frame within its margin the object takes
PHOTO_FOV, PHOTO_ELEVATIONS = (10.0, 55.0), (-5.0, 30.0)  # degrees
RIG_ELEVATIONS = (-5.0, 20.0)
BUNDLE_SHARE = 0.5  # of the rigs that stand as those of bundles do
OTHER_RIGS = ((20.0, 6.2384), (30.0, 4.5))  # field of view and distance of Pixal3D's own example, and of its bundles
LENGTHS = (1.1, 1.9)  # longest side of objects within rigs
FITTING_ROUNDS = 12


@dataclass(frozen=True)
class PlacedObject:
    """``mesh`` within [-1, 1]^3, upright, and the ``rig`` that pictures it; the first camera's axes are the grid's."""

    mesh: Mesh
    rig: Rig

    def grid_mesh(self) -> Mesh:
        """The mesh in the frame of Pixal3D's grid, within [-0.5, 0.5]^3."""
        rotation = self.rig[0].rotation().float()
        return self.mesh.with_(vertices=0.5 * self.mesh.vertices @ rotation.T, normals=None)


@dataclass(frozen=True)
class PlacedPictures(CaptionedBundle):
    """A file of square pictures on black in a row, those of a placed object's rig."""

    index: int
    seed: int

    def placed(self) -> PlacedObject:
        """The object itself."""
        return placed_object(self.index, self.seed)

    def rig(self) -> Rig:
        """The cameras, remembered: to know them, the object is made."""
        return _rig(self.index, self.seed)

    def views(self) -> torch.Tensor:
        """(V, S, S, 3) in [0, 1]."""
        row = self.image()
        return torch.stack(row.split(row.shape[0], dim=1))

    def pictures(self) -> Pictures:
        """All views with their cameras."""
        return Pictures(self.views(), rig_cameras(self.rig()))


def placed_object(index: int, seed: int) -> PlacedObject:
    """The object with a number: the even ones fill a photo, the odd ones stand within four views.

    Each has a generator of its own, whatever was made before it.
    """
    generator = np.random.default_rng((seed, 4, index))
    mesh = build(draw_subject(generator), generator)
    if generator.random() >= FRONTAL_SHARE:
        mesh = turned(mesh, float(generator.uniform(0.0, 360.0)))
    return photographed(mesh, generator) if index % 2 == 0 else surrounded(mesh, generator)


def write_placed_pictures(
    folder: Path, count: int, tile: int, seed: int = 0, progress: Progress = silent
) -> list[PlacedPictures]:
    """Renders ``count`` placed objects in views of ``tile`` pixels; goes on where an earlier call broke off.

    Raises Bundle3DError where ``folder`` holds objects of another size or seed.
    """
    require_same_run(folder / "options.json", {"tile": tile, "seed": seed})
    written = []
    for index in range(count):
        path = folder / f"{index:05d}.png"
        if not path.is_file():
            save_image(torch.cat(list(on_black(placed_object(index, seed), tile)), dim=1), path)
        written.append(PlacedPictures(path, "", index, seed))
        progress(index + 1, count)
    return written


def on_black(placed: PlacedObject, tile: int) -> torch.Tensor:
    """Pictures (V, tile, tile, 3) in [0, 1] of an object on black, as all of its cameras see it."""
    seen = render_views(placed.mesh, placed.rig, tile)
    return (seen.rgb - (1.0 - seen.mask[..., None])).clamp(0.0, 1.0)


@functools.cache
def _rig(index: int, seed: int) -> Rig:
    return placed_object(index, seed).rig


def photographed(mesh: Mesh, generator: np.random.Generator) -> PlacedObject:
    """As in a photo that was cropped to the object: the grid's middle plane fills the picture."""
    fov = float(generator.uniform(*PHOTO_FOV))
    camera = Camera(0.0, float(generator.uniform(*PHOTO_ELEVATIONS)), 1.0 / math.tan(math.radians(fov) / 2.0), fov=fov)
    rotation = camera.rotation()
    points = framed(mesh.vertices.double() @ rotation.T, camera, float(generator.uniform(*FILL)) / MARGIN)
    return PlacedObject(mesh.with_(vertices=(points @ rotation).float()), Rig((camera,)))


def framed(points: torch.Tensor, camera: Camera, fill: float) -> torch.Tensor:
    """``points`` (N, 3) along the camera's axes about its target, scaled and moved to fill so much of its frame.

    Their middle stays at the target's depth, and they stay within ``REACH`` of the cube.
    """
    low, high = points.amin(0), points.amax(0)
    points = (points - (low + high) / 2.0) / (high - low).max()
    for _ in range(FITTING_ROUNDS):
        depth = camera.distance - points[:, 2:]
        places = points[:, :2] * camera.scale / depth
        low, high = places.amin(0), places.amax(0)
        points = points.clone()
        points[:, :2] -= (low + high) / 2.0 * camera.distance / camera.scale
        points = points * (2.0 * fill / (high - low).max())
    return points * min(1.0, REACH / float(points.abs().max()))


def surrounded(mesh: Mesh, generator: np.random.Generator) -> PlacedObject:
    """As four views show it, those of bundles or others."""
    elevation, (fov, distance) = 5.0, OTHER_RIGS[1]
    if generator.random() >= BUNDLE_SHARE:
        elevation = float(generator.uniform(*RIG_ELEVATIONS))
        fov, distance = OTHER_RIGS[int(generator.integers(len(OTHER_RIGS)))]
    rig = orbit(4, elevation, distance, fov)
    low, high = mesh.vertices.amin(0), mesh.vertices.amax(0)
    vertices = mesh.vertices * (float(generator.uniform(*LENGTHS)) / float((high - low).max()))
    reach = float((vertices.double() @ rig[0].rotation().T).abs().max())
    return PlacedObject(mesh.with_(vertices=vertices * min(1.0, REACH / reach)), rig)
