"""A folder of meshes as a dataset: bundles by the reference's rig, captions and, for ControlNets, depths.

Source: specs/kiss3dgen.md sections 1.1 to 1.3: what the published LoRA was trained on.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import Bundle3DError
from ..meshes.normalise import normalise
from ..meshes.read import READ_FORMATS, read_mesh
from ..progress import Progress, silent
from ..rendering.render_views import render_views
from ..views.bundle import join_bundle
from ..views.depth import depth_picture
from ..views.rig import Rig, named_rig
from ..views.view_set import ViewSet
from .dataset import save_image, write_captions
from .mesh_captions import caption_of, read_captions_file

SETTINGS = "render.json"
DEPTH_SUFFIX = ".depth.png"


@dataclass(frozen=True)
class RenderSettings:
    """How the bundles of one dataset are made: side of a tile in pixels, and a colour mode of ``render_mesh``.

    ``size`` is the longest side of the normalised meshes: the published data has 2, which cuts corners of bulky objects
    off the pictures; its renderer of meshes takes 1.8.
    """

    tile: int = 512
    shading: str = "matte"
    size: float = 2.0

    def __post_init__(self) -> None:
        if not 0.1 <= self.size <= 2.0:
            raise Bundle3DError(f"Expected a size of 0.1 to 2, but got {self.size}; the published data has 2.")


@dataclass(frozen=True)
class RenderedFolder:
    """How many meshes were rendered now, how many had been before, and why others were left out."""

    rendered: int
    kept: int
    refused: dict[str, str]


def find_meshes(folder: Path) -> list[Path]:
    """All mesh files in ``folder`` and below, sorted. Raises Bundle3DError where there are none."""
    if not folder.is_dir():
        raise Bundle3DError(f"Expected a folder of meshes, but there is none at {folder}; correct the path.")
    meshes = sorted(path for path in folder.rglob("*") if path.suffix.lower().lstrip(".") in READ_FORMATS)
    if not meshes:
        raise Bundle3DError(
            f"Expected meshes ({', '.join(READ_FORMATS)}) in {folder}, but there are none; choose another folder."
        )
    return meshes


def render_folder(
    meshes: Path,
    dataset: Path,
    settings: RenderSettings,
    captions: Path | None = None,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda line: None,
) -> RenderedFolder:
    """Renders every mesh of a folder to the dataset folder; goes on where an earlier call broke off.

    Meshes are centred and scaled, and must have +Y up and face +Z. Captions are looked up anew by each call, so that
    they can be edited. A mesh that cannot be rendered is left out, with one line to ``say``; a mesh file that is newer
    than its bundle is rendered again. Raises Bundle3DError where the dataset was made with other settings, or where not
    a single mesh can be rendered.
    """
    files = find_meshes(meshes)
    texts = {} if captions is None else read_captions_file(captions)
    dataset.mkdir(parents=True, exist_ok=True)
    _keep_settings(dataset / SETTINGS, settings)
    rig = named_rig("kiss3dgen")
    lines: list[str] = []
    refused: dict[str, str] = {}
    rendered = kept = 0
    for index, file in enumerate(files):
        place = file.relative_to(meshes).as_posix()
        image = dataset / image_name(place)
        try:
            text = caption_of(file, meshes, texts)
            if image.is_file() and image.stat().st_mtime >= file.stat().st_mtime:
                kept += 1
            else:
                _render(file, image, rig, settings)
                rendered += 1
            lines.append(json.dumps({"image": image.name, "caption": text}, ensure_ascii=False))
        except Bundle3DError as error:
            refused[place] = str(error)
            say(f"{place} is left out: {error}")
        progress(index + 1, len(files))
    if not lines:
        raise Bundle3DError(
            f"Expected meshes that can be rendered in {meshes}, but none of {len(files)} can; the first: "
            f"{next(iter(refused.values()))}"
        )
    write_captions(dataset, lines)
    return RenderedFolder(rendered, kept, refused)


def image_name(place: str) -> str:
    """The bundle's file for a mesh at ``place`` below its folder; different meshes get different names."""
    return place.replace("%", "%25").replace("/", "%2F") + ".png"


def depth_file(image: Path) -> Path:
    """Where the depths that belong to a bundle image are kept."""
    return image.with_suffix(DEPTH_SUFFIX)


def _render(file: Path, image: Path, rig: Rig, settings: RenderSettings) -> None:
    mesh = normalise(read_mesh(file), settings.size)
    views = render_views(mesh, rig, settings.tile, settings.shading, coordinates=True)
    save_image(depth_picture(views), depth_file(image))
    save_image(join_bundle(ViewSet(views.rgb, views.normal, views.mask, views.rig)), image)


def _keep_settings(path: Path, settings: RenderSettings) -> None:
    wanted = asdict(settings)
    if path.is_file():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise Bundle3DError(
                f"{path} is damaged ({error}); remove the dataset's folder and render again."
            ) from error
        if found != wanted:
            raise Bundle3DError(
                f"Expected a dataset rendered with {wanted}, but {path.parent} was made with {found}; choose another "
                "folder or the same settings."
            )
    path.write_text(json.dumps(wanted) + "\n", encoding="utf-8", newline="\n")
