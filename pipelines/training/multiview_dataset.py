"""Pictures of procedural objects beside the four views around them, for training a multi-view model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..meshes.mesh import Mesh
from ..meshes.normalise import normalise
from ..multiview.view_grid import named_grid
from ..photo.frame import frame_object
from ..progress import Progress, silent
from ..rendering.render_views import render_views
from ..views.camera import Camera
from ..views.masks import unmix_white
from ..views.rig import Rig, named_rig
from .captions import draw_subject
from .dataset import CaptionedBundle, save_image
from .same_run import require_same_run
from .shapes import build

EXTENT = 1.8  # longest side of the objects: a cube of it is just whole in the views
RIG_ELEVATION = 5.0
FRONTAL_SHARE = 0.6  # of the objects that face the camera of the picture
LEVEL_SHARE = 0.5  # of the pictures that are taken from the elevation of the views
ELEVATIONS = (-5.0, 30.0)  # degrees, of the others


@dataclass(frozen=True)
class PicturedObject(CaptionedBundle):
    """A file of five square tiles in a row: the picture, then the views at azimuth 0, 90, 180 and 270 to it."""

    def tiles(self) -> torch.Tensor:
        """(5, S, S, 3) in [0, 1]."""
        row = super().image()
        return torch.stack(row.split(row.shape[0], dim=1))

    def picture(self) -> torch.Tensor:
        """What the model is shown, (S, S, 3) in [0, 1]."""
        return self.tiles()[0]

    def views(self) -> torch.Tensor:
        """The four views, (4, S, S, 3) in [0, 1]."""
        return self.tiles()[1:]

    def image(self) -> torch.Tensor:
        """All views in one picture, as the model lays them out: (2 S, 2 S, 3) in [0, 1]."""
        return named_grid("flexgen").join(self.views())


def write_pictured_objects(
    folder: Path, count: int, tile: int, seed: int = 0, progress: Progress = silent
) -> list[PicturedObject]:
    """Renders ``count`` procedural subjects with tiles of ``tile`` pixels; goes on where an earlier call broke off.

    They are those that ``object_generator`` gives by their number. Raises Bundle3DError where ``folder`` holds objects
    of another size or seed.
    """
    require_same_run(folder / "options.json", {"tile": tile, "seed": seed})
    objects = []
    for index in range(count):
        path = folder / f"{index:05d}.png"
        if not path.is_file():
            save_image(_row(object_generator(index, seed), tile), path)
        objects.append(PicturedObject(path, ""))
        progress(index + 1, count)
    return objects


def picture_of(mesh: Mesh, elevation: float, tile: int) -> torch.Tensor:
    """A mesh as a photo shows it, from in front, cut out and framed on white: (tile, tile, 3) in [0, 1]."""
    camera = Camera(0.0, elevation, 4.5, fov=30.0)
    seen = render_views(mesh, Rig((camera,)), tile)
    return frame_object(unmix_white(seen.rgb, seen.mask)[0], seen.mask[0], tile).rgb


def pictured_mesh(generator: np.random.Generator) -> Mesh:
    """A random subject that training may see, ``EXTENT`` long, facing the camera or turned away from it."""
    subject = draw_subject(generator)
    mesh = normalise(build(subject, generator), EXTENT)
    if generator.random() >= FRONTAL_SHARE:
        mesh = turned(mesh, float(generator.uniform(0.0, 360.0)))
    return mesh


def object_generator(index: int, seed: int) -> np.random.Generator:
    """The generator of the object with a number: each has its own, whatever was made before it."""
    return np.random.default_rng((seed, 2, index))


def _row(generator: np.random.Generator, tile: int) -> torch.Tensor:
    mesh = pictured_mesh(generator)
    level = generator.random() < LEVEL_SHARE
    elevation = RIG_ELEVATION if level else float(generator.uniform(*ELEVATIONS))
    views = render_views(mesh, named_rig("kiss3dgen"), tile).rgb
    return torch.cat([picture_of(mesh, elevation, tile), *views], dim=1)


def turned(mesh: Mesh, degrees: float) -> Mesh:
    """The mesh turned about the up axis."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    rotation = torch.tensor([[cosine, 0.0, sine], [0.0, 1.0, 0.0], [-sine, 0.0, cosine]])
    normals = None if mesh.normals is None else mesh.normals @ rotation.T
    return mesh.with_(vertices=mesh.vertices @ rotation.T, normals=normals)
