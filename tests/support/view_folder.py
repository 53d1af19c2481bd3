"""A folder of views with their cameras, as Load View Folder reads it."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.pixal3d.conditioning import Pictures
from bundle3d.pipelines.pixal3d.pictured_object import PicturedObject, pictured_views
from bundle3d.pipelines.pixal3d.view_folder import NAME
from bundle3d.pipelines.rendering.render_views import render_views
from bundle3d.pipelines.training.shapes import Part, Subject, build
from bundle3d.pipelines.views.rig import named_rig
from PIL import Image


def sphere() -> Mesh:
    return build(Subject((Part("sphere", "cyan"),)))


def pictured_sphere() -> PicturedObject:
    """A sphere in four views, with masks of 0 and 1, so that files of 8 bit hold it whole."""
    views = render_views(sphere(), named_rig("kiss3dgen"), 48)
    item = pictured_views(views, torch.eye(4, dtype=torch.float64))
    masks = (item.masks > 0.5).float()
    images = item.pictures.images * masks[..., None]
    return PicturedObject(Pictures(images, item.pictures.cameras), masks)


def save_view_folder(item: PicturedObject, folder: Path) -> Path:
    """Writes the pictures with alpha, and the cameras."""
    folder.mkdir(parents=True)
    shown = torch.cat((item.pictures.images, item.masks[..., None]), dim=-1)
    frames = []
    for number, (image, camera) in enumerate(zip(shown, item.pictures.cameras)):
        picture(image).save(folder / f"{number}.png")
        matrix = camera.camera_to_world.tolist()
        frames.append({"file_path": f"{number}.png", "transform_matrix": matrix, "camera_angle_x": camera.fov})
    (folder / NAME).write_text(json.dumps({"frames": frames}), encoding="utf-8")
    return folder


def picture(image: torch.Tensor) -> Image.Image:
    """An image (H, W, 3 or 4) in [0, 1] in 8 bit."""
    return Image.fromarray((image * 255).round().to(torch.uint8).numpy())
