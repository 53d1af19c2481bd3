"""What the viewer on Inspect Bundle shows: cameras, and one picture that holds all pixels it reads out."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import folder_paths
import torch
from PIL import Image

from ..pipelines.errors import Bundle3DError
from ..pipelines.isomer.hull import visual_hull
from ..pipelines.meshes.mesh import Mesh
from ..pipelines.rendering.interpolate import interpolate
from ..pipelines.rendering.rasterise import rasterise
from ..pipelines.views.camera import Camera
from ..pipelines.views.normals import encode_normals
from ..pipelines.views.view_set import ViewSet

LARGEST_TILE = 512
RANGE = 4.0  # positions from -RANGE to RANGE are stored in 16 bits
HULL_RESOLUTION = 72


def describe(views: ViewSet, mesh: Mesh | None) -> dict[str, Any]:
    """The data of one bundle for the viewer, as JSON; its picture is saved in ComfyUI's folder for temporary files.

    World positions come from the views' coordinates where they have them, else from ``mesh``, else from the
    visual hull.
    """
    tile = min(LARGEST_TILE, *views.size)
    positions, source = _positions(views, mesh, tile)
    return {
        "atlas": save_picture(_atlas(views, positions, tile), "views"),
        "cameras": [_camera(camera) for camera in views.rig],
        "tile": tile,
        "range": RANGE,
        "name": source,
    }


def _camera(camera: Camera) -> dict[str, Any]:
    names = ("azimuth", "elevation", "distance", "fov", "half_height", "target")
    return {name: getattr(camera, name) for name in names}


def _positions(views: ViewSet, mesh: Mesh | None, tile: int) -> tuple[torch.Tensor, str]:
    """World positions (V, T, T, 3), NaN where there are none, and a word on where they come from."""
    if views.coord is not None:
        inside = _nearest(views.mask[..., None], tile) > 0.5
        return torch.where(inside, _nearest(views.coord, tile), torch.nan), "from the coordinate row"
    source = "on the mesh"
    if mesh is None:
        source = "on the visual hull"
        try:
            mesh = visual_hull(views, HULL_RESOLUTION)
        except Bundle3DError:
            return torch.full((len(views.rig), tile, tile, 3), torch.nan), "the silhouettes do not meet"
    clip = views.rig.clip(mesh.vertices)
    fragments = rasterise(clip, mesh.faces, tile, tile)
    positions = interpolate(mesh.vertices, clip, mesh.faces, fragments)
    return torch.where(fragments.mask[..., None], positions, torch.nan), source


def _nearest(images: torch.Tensor, tile: int) -> torch.Tensor:
    return torch.nn.functional.interpolate(images.movedim(-1, 1), (tile, tile), mode="nearest-exact").movedim(1, -1)


def _atlas(views: ViewSet, positions: torch.Tensor, tile: int) -> torch.Tensor:
    """uint8 (4T, VT, 3): rows of colours, encoded normals, and the high and low bytes of positions."""
    mask = _nearest(views.mask[..., None], tile)
    normals = encode_normals(_nearest(views.normal, tile), views.rig) * mask + (1.0 - mask)
    words = ((positions / RANGE + 1.0) / 2.0 * 65535.0).round().clamp(1, 65535).nan_to_num(0.0).long()
    colors = torch.stack((_nearest(views.rgb, tile), normals)).clamp(0, 1).mul(255).round().long()
    rows = torch.cat((colors, torch.stack((words // 256, words % 256)))).to(torch.uint8)
    return rows.transpose(1, 2).reshape(4 * tile, -1, 3)


def save_picture(pixels: torch.Tensor, name: str) -> dict[str, str]:
    """Saves uint8 ``pixels`` (H, W, 3) in ComfyUI's folder for temporary files; what the frontend finds them by."""
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    file = f"bundle3d_{name}_{uuid.uuid4().hex}.png"
    Image.fromarray(pixels.cpu().numpy()).save(folder / file, compress_level=2)
    return {"filename": file, "subfolder": "", "type": "temp"}
