"""Load View Folder: views of one object with known cameras, from a folder in ComfyUI's input folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io

from ..pipelines.checkpoints.file_states import file_states
from ..pipelines.errors import Bundle3DError
from ..pipelines.kernels import one_torch_thread
from ..pipelines.photo.matte import Matte, matte_of_drawing
from ..pipelines.photo.read_photo import Photo, read_photo
from ..pipelines.pixal3d.camera_report import camera_report
from ..pipelines.pixal3d.pictured_object import PicturedObject, pictured_folder
from ..pipelines.pixal3d.prepare import LARGEST, is_on_black, not_black
from ..pipelines.pixal3d.view_folder import NAME, ViewFolder, read_view_folder
from ..pipelines.progress import Progress
from .batch import map_batch
from .compute import as_output
from .pixal3d_sockets import ObjectBatch, Pixal3DPictures


def view_folders() -> list[str]:
    """Names of the folders with cameras in the input folder and one level below, with forward slashes."""
    root = Path(folder_paths.get_input_directory())
    found = [*root.glob(f"*/{NAME}"), *root.glob(f"*/*/{NAME}")]
    return sorted(path.parent.relative_to(root).as_posix() for path in found)


class Bundle3D_LoadViewFolder(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_LoadViewFolder",
            display_name="Load View Folder",
            category="Bundle3D/pixal3d",
            description="Reads views of an object with known cameras from a folder with transforms.json.",
            search_aliases=["transforms.json", "nerf", "blender", "multi view to 3d", "load images", "camera poses"],
            inputs=[
                io.Combo.Input(
                    "folder",
                    options=view_folders(),
                    tooltip="A folder in ComfyUI's input folder, with images and their cameras in transforms.json, as "
                    "Pixal3D's own examples for several views are.",
                ),
            ],
            outputs=[
                Pixal3DPictures.Output(
                    "pictures", display_name="pictures", tooltip="The views with their cameras, for Pixal3D's nodes."
                ),
                io.Image.Output("image", display_name="image", tooltip="The views as an image batch, on black."),
                io.Mask.Output("mask", display_name="mask", tooltip="Where the object is: 1 inside, 0 outside."),
                io.String.Output(
                    "report",
                    display_name="report",
                    tooltip="How far away every camera is and whether it looks at the object, and what seems wrong.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, folder: str | None) -> bool | str:
        if folder is None:  # linked: known only when the node runs
            return True
        try:
            _located(folder)
        except Bundle3DError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, folder: str | None) -> list[Any]:
        if folder is None:  # linked: known only when the node runs
            return []
        path = _located(folder)
        return [file_states(file) for file in (path / NAME, *read_view_folder(path).files)]

    @classmethod
    @one_torch_thread()
    def execute(cls, folder: str) -> io.NodeOutput:
        views = read_view_folder(_located(folder))
        photos = _read(views.files, LARGEST)
        sides = {max(photo.rgb.shape[:2]) for photo in photos}
        if len(sides) > 1:
            photos = _read(views.files, min(sides))
        mattes = _cut_out(views.files, photos)
        item = pictured_folder(views, [matte.rgb for matte in mattes], [matte.alpha for matte in mattes])
        images, text = item.pictures.images, _report(views, mattes, item)
        return io.NodeOutput(ObjectBatch((item,)), as_output(images), as_output(item.masks), text, ui={"text": [text]})


def _located(folder: str) -> Path:
    """Where a folder of that name lies; raises Bundle3DError unless it is in the input folder and has cameras."""
    root = Path(os.path.abspath(folder_paths.get_input_directory()))
    path = Path(os.path.abspath(root / folder))
    if not folder or not path.is_relative_to(root) or not (path / NAME).is_file():
        raise Bundle3DError(
            f"Expected a folder with {NAME} in ComfyUI's input folder, but {folder!r} is none; put it there and choose "
            "it."
        )
    return path


def _read(files: Sequence[Path], longest: int) -> list[Photo]:
    """The images, at most ``longest`` pixels a side."""

    def read(file: Path, setting: None, progress: Progress) -> Photo:
        photo = read_photo(file, longest)
        progress(1, 1)
        return photo

    return map_batch(files, read, [None], "save the views smaller")


def _cut_out(files: Sequence[Path], photos: Sequence[Photo]) -> list[Matte]:
    """The object in each view: by its alpha, else where it is not black, else before another plain background.

    Raises Bundle3DError, naming the file, for a view with none of these.
    """

    def cut(pair: tuple[Path, Photo], setting: None, progress: Progress) -> Matte:
        file, photo = pair
        progress(0, 1)
        if photo.alpha is not None:
            return Matte(photo.rgb, photo.alpha)
        if is_on_black(photo.rgb):
            return Matte(photo.rgb, not_black(photo.rgb))
        try:
            return matte_of_drawing(photo.rgb)
        except Bundle3DError as error:
            raise Bundle3DError(
                f"Expected an object with an alpha channel, on black or before another plain background, but "
                f"'{file.name}' shows none; save it with alpha or draw it on one colour."
            ) from error

    return map_batch(list(zip(files, photos)), cut, [None], "save the views smaller")


def _report(views: ViewFolder, mattes: Sequence[Matte], item: PicturedObject) -> str:
    side = item.masks.shape[-1]
    lines = [f"{len(views.files)} view(s) of {side} x {side} pixels, scale of the object {views.mesh_scale:g}"]
    lines += camera_report(views, item.masks)
    lines += [f"{file.name}: {note}" for file, matte in zip(views.files, mattes) for note in matte.notes]
    return "\n".join(lines)


NODES = [Bundle3D_LoadViewFolder]
