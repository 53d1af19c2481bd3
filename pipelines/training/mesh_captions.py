"""What the meshes of a user's folder are called: by a file of captions, a text beside the mesh, or the file's name."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from ..errors import Bundle3DError

NAMELESS = "a 3D object"


def read_captions_file(path: Path) -> dict[str, str]:
    """Captions by mesh: a .json table ``{"chair.glb": "a red chair"}``, or lines ``chair.glb; a red chair``.

    Names may have their folder below the folder of meshes in front, and may lack their extension. Lines that are empty
    or start with # are left out. Raises Bundle3DError, naming the line, for anything else.
    """
    if not path.is_file():
        raise Bundle3DError(f"Expected a file of captions, but there is none at {path}; correct the path.")
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Bundle3DError(f"Expected captions as UTF-8 text, but {path} is none ({error}); save it anew.") from error
    if path.suffix.lower() == ".json":
        return _table(path, content)
    captions = {}
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, sign, text = line.partition(";")
        if not sign or not name.strip() or not text.strip():
            raise Bundle3DError(
                f"Expected 'mesh file; caption' in line {number} of {path.name}, but got {line[:60]!r}; correct it."
            )
        captions[name.strip()] = text.strip()
    return captions


def caption_of(mesh: Path, folder: Path, captions: Mapping[str, str]) -> str:
    """The caption of a mesh file below ``folder``.

    The first that there is: that in ``captions``, the text file of the mesh's name beside it, the words of its name.
    """
    place = mesh.relative_to(folder)
    for name in (place.as_posix(), place.with_suffix("").as_posix(), mesh.name, mesh.stem):
        if name in captions:
            return captions[name]
    beside = mesh.with_suffix(".txt")
    if beside.is_file():
        try:
            text = " ".join(beside.read_text(encoding="utf-8-sig").split())
        except (OSError, UnicodeDecodeError) as error:
            raise Bundle3DError(
                f"The caption {beside.name} cannot be read ({error}); save it as UTF-8 text."
            ) from error
        if text:
            return text
    return words_of(mesh.stem)


def words_of(stem: str) -> str:
    """A file's name as a caption: ``RedChair_02`` is "a red chair"; without words it is "a 3D object"."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", stem)
    words = [word.lower() for word in re.findall(r"[^\W\d_]+", apart) if len(word) > 1]
    if not words:
        return NAMELESS
    text = " ".join(words)
    if words[0] in ("a", "an", "the"):
        return text
    return f"{'an' if text[0] in 'aeiou' else 'a'} {text}"


def _table(path: Path, content: str) -> dict[str, str]:
    try:
        table = json.loads(content)
    except ValueError as error:
        raise Bundle3DError(f"Expected JSON in {path.name}, but it is damaged ({error}); correct it.") from error
    if not isinstance(table, dict) or not all(isinstance(text, str) for text in table.values()):
        raise Bundle3DError(
            f'Expected a table {{"mesh file": "caption"}} in {path.name}, but it is another; correct it.'
        )
    return table
