"""Wavefront OBJ with the materials of its own folder."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from ..errors import Bundle3DError
from .assemble import Part, assemble
from .folder import inside
from .limits import Limits
from .mesh import Material, Mesh
from .mtl_read import MaterialLibrary
from .srgb import linear_from_srgb
from .world import units_note

log = logging.getLogger(__name__)
LARGEST_INDEX = 1 << 31


@dataclass
class _Statements:
    """What the lines of an OBJ say.

    ``corners`` are distinct (position, uv, normal) indices from 0, -1 where absent; ``faces`` are flat triples of them.
    """

    positions: list[list[float]] = field(default_factory=list)
    colors: list[list[float]] = field(default_factory=list)
    uv: list[list[float]] = field(default_factory=list)
    normals: list[list[float]] = field(default_factory=list)
    corners: list[tuple[int, int, int]] = field(default_factory=list)
    corner_of_word: dict[bytes, int] = field(default_factory=dict)
    faces: list[int] = field(default_factory=list)
    materials: list[int] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)
    libraries: list[str] = field(default_factory=list)
    name: str = ""


def read_obj(data: bytes, folder: Path | None, limits: Limits) -> Mesh:
    """The polygons of an OBJ file as triangles; vertex colours behind the positions are sRGB in the file.

    Material libraries and textures are read from ``folder`` and below only; without a folder there are no materials. A
    missing library or texture is logged and left out. Raises Bundle3DError where the file is damaged, has no faces or
    names files outside its folder.
    """
    limits.check("text_bytes", len(data), "bytes of text")
    statements = _parse(data, limits)
    part = _part(statements)
    materials: tuple[Material, ...] = ()
    if folder is not None and statements.libraries:
        library = MaterialLibrary(folder, limits)
        for name in statements.libraries:
            path = inside(folder, name)
            if path is None:
                log.warning("The material library %s is missing; its materials are left out.", name)
            else:
                library.read(path)
        materials = tuple(library.material(name) for name in statements.names)
    return assemble([part], materials, statements.name or "mesh", units_note(data[:1024]))


def _parse(data: bytes, limits: Limits) -> _Statements:
    result = _Statements()
    current = 0
    for number, line in enumerate(data.replace(b"\\\r\n", b" ").replace(b"\\\n", b" ").splitlines(), 1):
        words = line.partition(b"#")[0].split()
        if not words:
            continue
        keyword = words[0]
        try:
            if keyword == b"v":
                numbers = [float(word) for word in words[1:8]]
                result.positions.append(numbers[:3])
                if len(numbers) >= 6:
                    result.colors.append(numbers[3:6])
            elif keyword == b"vt":
                result.uv.append([float(words[1]), float(words[2]) if len(words) > 2 else 0.0])
            elif keyword == b"vn":
                result.normals.append([float(word) for word in words[1:4]])
            elif keyword == b"f":
                _face(result, words, current, limits)
            elif keyword == b"usemtl":
                name = b" ".join(words[1:]).decode("utf-8", "replace")
                current = result.names.setdefault(name, len(result.names))
            elif keyword == b"mtllib":
                result.libraries.append(b" ".join(words[1:]).decode("utf-8", "replace"))
            elif keyword in (b"o", b"g") and len(words) > 1 and not result.name:
                result.name = b" ".join(words[1:]).decode("utf-8", "replace")[:200]
        except (ValueError, IndexError) as error:
            if isinstance(error, Bundle3DError):
                raise
            raise Bundle3DError(
                f"Expected OBJ, but line {number} says {line[:40].decode('latin-1')!r}; export the file again."
            ) from error
    return result


def _face(result: _Statements, words: list[bytes], current: int, limits: Limits) -> None:
    """Adds the fan of one polygon with the material index that is in use."""
    known = result.corner_of_word
    corners = [known[word] if word in known else _corner(result, word) for word in words[1:]]
    if len(corners) < 3:
        raise ValueError("fewer than three corners")
    if not result.names:  # faces before the first usemtl
        result.names[""] = 0
    for second, third in pairwise(corners[1:]):
        result.faces += (corners[0], second, third)
        result.materials.append(current)
    if len(result.materials) > limits.faces:
        limits.check("faces", len(result.materials), "triangles")


def _corner(result: _Statements, word: bytes) -> int:
    """The number of a corner that is new, such as ``7/2/9``, ``7//9`` or ``-1``."""
    counts = (len(result.positions), len(result.uv), len(result.normals))
    indices = [-1, -1, -1]
    for slot, text in enumerate(word.split(b"/")[:3]):
        if text:
            value = int(text)
            indices[slot] = value - 1 if value > 0 else counts[slot] + value
            if not 0 <= indices[slot] < LARGEST_INDEX or value == 0:
                raise ValueError("index out of range")
    if indices[0] < 0:
        raise ValueError("no position")
    result.corners.append((indices[0], indices[1], indices[2]))
    if b"-" not in word:  # negative indices count from where they stand
        result.corner_of_word[word] = len(result.corners) - 1
    return len(result.corners) - 1


def _part(statements: _Statements) -> Part:
    """Vertices where one position with two UVs or normals is doubled; untouched where all indices agree."""
    positions = _rows(statements.positions, 3, "positions")
    uv, normals = _rows(statements.uv, 2, "texture coordinates"), _rows(statements.normals, 3, "normals")
    corners = np.array(statements.corners, np.int64).reshape(-1, 3)
    faces = np.array(statements.faces, np.int64).reshape(-1, 3)
    for slot, (rows, name) in enumerate(((positions, "position"), (uv, "texture coordinate"), (normals, "normal"))):
        if len(corners) and corners[:, slot].max() >= len(rows):
            raise Bundle3DError(
                f"Expected {name} indices up to {len(rows)}, but got {corners[:, slot].max() + 1}; "
                "the OBJ is damaged, export it again."
            )
    colors = None
    if statements.colors and len(statements.colors) == len(positions):
        colors = linear_from_srgb(np.clip(_rows(statements.colors, 3, "colours"), 0.0, 1.0))
    materials = np.array(statements.materials, np.int64)
    used = [slot for slot in (1, 2) if len(corners) and corners[:, slot].max() >= 0]
    sizes = {1: len(uv), 2: len(normals)}
    if all(sizes[slot] == len(positions) and (corners[:, slot] == corners[:, 0]).all() for slot in used):
        part = Part(positions, corners[faces, 0], materials, colors=colors)
        part.normals = normals if 2 in used else None
        part.uv = _flipped(uv) if 1 in used else None
        return part
    _, pairs = np.unique(corners[:, 0] * (len(uv) + 1) + corners[:, 1] + 1, return_inverse=True)
    keys = pairs.reshape(-1) * (len(normals) + 1) + corners[:, 2] + 1
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    kept = corners[first]
    part = Part(positions[kept[:, 0]], inverse.reshape(-1)[faces], materials)
    part.normals = _gathered(normals, kept[:, 2]) if 2 in used else None
    part.uv = _flipped(_gathered(uv, kept[:, 1])) if 1 in used else None
    part.colors = None if colors is None else colors[kept[:, 0]]
    return part


def _rows(values: list[list[float]], width: int, name: str) -> np.ndarray:
    if any(len(row) != width for row in values):
        raise Bundle3DError(f"Expected {width} numbers in all {name} of the OBJ, but some have fewer; export it again.")
    return np.array(values, np.float64).reshape(-1, width)


def _gathered(rows: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Rows by index; zeros where the index is -1."""
    return np.concatenate([rows, np.zeros((1, rows.shape[1]))])[indices]


def _flipped(uv: np.ndarray) -> np.ndarray:
    """OBJ counts v from the bottom row, glTF from the top."""
    return uv * [1.0, -1.0] + [0.0, 1.0]
