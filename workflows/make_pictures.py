"""Makes the example pictures in workflows/inputs; `python workflows/make_pictures.py`.

bundle3d_photo.png shows an object, cut out; bundle3d_views.png the front, left, back and right of another, row by row.
Training sees neither of them.
"""

from __future__ import annotations

from pathlib import Path

import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.normalise import normalise
from bundle3d.pipelines.multiview.view_grid import plain_grid
from bundle3d.pipelines.rendering.render_views import render_views
from bundle3d.pipelines.training.captions import is_held_out
from bundle3d.pipelines.training.multiview_dataset import EXTENT, RIG_ELEVATION
from bundle3d.pipelines.training.shapes import Part, Subject, build
from bundle3d.pipelines.views.camera import Camera
from bundle3d.pipelines.views.masks import unmix_white
from bundle3d.pipelines.views.rig import Rig, named_rig
from PIL import Image

INPUTS = Path(__file__).parent / "inputs"
TILE = 512
PHOTOGRAPHED = Subject((Part("sphere", "cyan"), Part("hourglass", "orange")))
SEEN_FROM_ALL_SIDES = Subject((Part("torus", "cyan"), Part("cylinder", "purple")))


def mesh_of(subject: Subject) -> Mesh:
    """The subject as large as the demo models know them."""
    if not is_held_out(subject):
        raise Bundle3DError(f"Expected a subject that training never sees, but got {subject}; choose another one.")
    return normalise(build(subject), EXTENT)


def photo(mesh: Mesh) -> torch.Tensor:
    """The front with transparency around it, (TILE, TILE, 4) in [0, 1]."""
    seen = render_views(mesh, Rig((Camera(0.0, RIG_ELEVATION, 4.5, fov=30.0),)), TILE)
    return torch.cat((unmix_white(seen.rgb, seen.mask), seen.mask[..., None]), dim=-1)[0]


def views(mesh: Mesh) -> torch.Tensor:
    """The views of a bundle in one picture, (2 TILE, 2 TILE, 3) in [0, 1]."""
    rig = named_rig("kiss3dgen")
    return plain_grid(rig, 2 * TILE, 2 * TILE).join(render_views(mesh, rig, TILE).rgb)


def save(picture: torch.Tensor, name: str) -> None:
    """Writes a picture (H, W, 3 or 4) as PNG."""
    Image.fromarray((picture.clamp(0.0, 1.0) * 255.0).round().byte().numpy()).save(INPUTS / name, optimize=True)


def main() -> None:
    save(photo(mesh_of(PHOTOGRAPHED)), "bundle3d_photo.png")
    save(views(mesh_of(SEEN_FROM_ALL_SIDES)), "bundle3d_views.png")


if __name__ == "__main__":
    main()
