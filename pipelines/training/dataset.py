"""A folder of bundle images with captions: written from the procedural subjects, read for any training.

The folder holds ``captions.jsonl``, one line ``{"image": "00000.png", "caption": "a red torus"}`` per bundle.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from ..errors import Bundle3DError
from ..meshes.mesh import Mesh
from ..progress import Progress, silent
from ..rendering.render_views import render_views
from ..views.bundle import join_bundle
from ..views.rig import named_rig
from .captions import caption, draw_subject
from .same_run import require_same_run
from .shapes import build
from .whole_file import whole_file

CAPTIONS = "captions.jsonl"
MADE_WITH = "options.json"


@dataclass(frozen=True)
class CaptionedBundle:
    """A bundle image file and what it shows."""

    path: Path
    caption: str

    def image(self) -> torch.Tensor:
        """The picture, (H, W, 3) float in [0, 1]. Raises Bundle3DError where it cannot be read."""
        try:
            with Image.open(self.path) as picture:
                pixels = np.asarray(picture.convert("RGB"))
        except (OSError, UnidentifiedImageError) as error:
            raise Bundle3DError(
                f"The training image {self.path} cannot be read ({error}); make the dataset again."
            ) from error
        return torch.from_numpy(pixels.astype(np.float32) / 255.0)

    def views(self) -> torch.Tensor:
        """The colour views of a bundle of two rows, (V, S, S, 3) in [0, 1]."""
        image = self.image()
        size = image.shape[0] // 2
        return torch.stack(image[:size].split(size, dim=1))


@dataclass(frozen=True)
class ProceduralObject:
    """A procedural object of the dataset: its caption, and its mesh, built anew at every call."""

    caption: str
    mesh: Callable[[], Mesh]


def procedural_object(index: int, seed: int = 0) -> ProceduralObject:
    """The object with a number. Each has a generator of its own, so that it is the same whatever was made before it."""
    generator = np.random.default_rng((seed, 0, index))
    subject = draw_subject(generator)
    text = caption(subject, generator)
    state = generator.bit_generator.state

    def mesh() -> Mesh:
        generator.bit_generator.state = state
        return build(subject, generator)

    return ProceduralObject(text, mesh)


def read_dataset(folder: Path) -> list[CaptionedBundle]:
    """The bundles of a dataset folder in file order.

    Raises Bundle3DError where the list of captions is missing, damaged or names files that are not there.
    """
    path = folder / CAPTIONS
    if not path.is_file():
        raise Bundle3DError(f"Expected a dataset with {CAPTIONS}, but {folder} has none; make the dataset first.")
    bundles = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            entry = json.loads(line)
            image, text = str(entry["image"]), str(entry["caption"])
        except (ValueError, KeyError, TypeError) as error:
            raise Bundle3DError(f"Line {number} of {path} is damaged ({error}); make the dataset again.") from error
        if Path(image).name != image or not (folder / image).is_file():
            raise Bundle3DError(f"Line {number} of {path} names {image!r}, which is not in its folder; make it again.")
        bundles.append(CaptionedBundle(folder / image, text))
    if not bundles:
        raise Bundle3DError(f"Expected captioned bundles, but {path} is empty; make the dataset again.")
    return bundles


def write_dataset(
    folder: Path,
    count: int,
    tile: int,
    seed: int = 0,
    progress: Progress = silent,
    object_of: Callable[[int, int], ProceduralObject] = procedural_object,
) -> None:
    """Renders ``count`` procedural subjects to bundles of ``tile`` pixels; goes on where an earlier call broke off.

    The objects are those that ``object_of`` gives by their number and the seed. Raises Bundle3DError where ``folder``
    holds bundles of another size or seed.
    """
    require_same_run(folder / MADE_WITH, {"tile": tile, "seed": seed})
    rig = named_rig("kiss3dgen")
    lines = []
    for index in range(count):
        described = object_of(index, seed)
        path = folder / f"{index:05d}.png"
        if not path.is_file():
            save_image(join_bundle(render_views(described.mesh(), rig, tile)), path)
        lines.append(json.dumps({"image": path.name, "caption": described.caption}))
        progress(index + 1, count)
    if (folder / CAPTIONS).is_file():
        lines += (folder / CAPTIONS).read_text(encoding="utf-8").splitlines()[count:]  # a longer call's
    write_captions(folder, lines)


def write_captions(folder: Path, lines: Sequence[str]) -> None:
    """Writes the list of a dataset's captions, one line of JSON per bundle."""
    with whole_file(folder / CAPTIONS) as unfinished:
        unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def save_image(image: torch.Tensor, path: Path) -> None:
    """Writes (H, W, 3) in [0, 1] as an 8-bit PNG; a broken-off call leaves no half a file under that name."""
    pixels = (image.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).cpu().numpy()
    with whole_file(path) as unfinished:
        Image.fromarray(pixels).save(unfinished, format="PNG")
