"""Reading of mesh files from anywhere, bounded and without ever opening another file outside their folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np

from ..errors import Bundle3DError
from .gltf_document import open_glb, open_gltf
from .gltf_read import read_document
from .limits import LIMITS, Limits
from .mesh import Mesh
from .obj_read import read_obj
from .ply import read_ply
from .stl import read_stl

READ_FORMATS = ("glb", "gltf", "obj", "ply", "stl")


def read_mesh(source: str | os.PathLike[str] | bytes, format: str | None = None, limits: Limits = LIMITS) -> Mesh:
    """The whole scene of a GLB, embedded glTF, OBJ, PLY or STL file as one Mesh, node transforms applied.

    ``source`` is a path or the file's bytes; ``format`` is its extension, by default the path's or found in the bytes.
    An OBJ read from a path may use material and texture files in its own folder; from bytes it has no materials.
    Positions are in world coordinates in the file's units; far from the origin they are centred and ``transform`` holds
    the offset. Raises Bundle3DError, and nothing else, for whatever the file holds.
    """
    folder: Path | None = None
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
        limits.check("file_bytes", len(data), "bytes")
    else:
        path = Path(source)
        data = read_file(path, limits)
        folder, format = path.parent, format or path.suffix
    kind = (format or _recognised(data)).lower().lstrip(".")
    try:
        with np.errstate(all="ignore"):  # whatever is not finite in the end is refused by name
            return _read(kind, data, folder, limits)
    except MemoryError as error:
        raise Bundle3DError("Expected a mesh that fits into memory, but it does not; simplify it.") from error


def _read(kind: str, data: bytes, folder: Path | None, limits: Limits) -> Mesh:
    if kind == "glb":
        return read_document(open_glb(data, limits))
    if kind == "gltf":
        return read_document(open_gltf(data, limits))
    if kind == "obj":
        return read_obj(data, folder, limits)
    if kind == "ply":
        return read_ply(data, limits)
    if kind == "stl":
        return read_stl(data, limits)
    raise Bundle3DError(
        f"Expected one of {', '.join(READ_FORMATS)}, but got the format {kind[:20]!r}; convert the file to GLB."
    )


def read_file(path: Path, limits: Limits) -> bytes:
    """The bytes of a regular file within the limits; raises Bundle3DError otherwise."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise Bundle3DError(f"Expected a file, but {path.name!r} is none; choose a mesh file.")
        limits.check("file_bytes", status.st_size, f"bytes in {path.name!r}")
        with path.open("rb") as file:
            return file.read(status.st_size)
    except (OSError, ValueError) as error:
        if isinstance(error, Bundle3DError):
            raise
        raise Bundle3DError(
            f"Expected a readable file, but {path.name[:80]!r} is missing or cannot be opened; choose another one."
        ) from error


def _recognised(data: bytes) -> str:
    """The format of bytes that come without a name."""
    head = data[:512].lstrip()
    if head.startswith(b"glTF"):
        return "glb"
    if head.startswith(b"{"):
        return "gltf"
    if head.startswith(b"ply"):
        return "ply"
    if len(data) >= 84 and len(data) == 84 + 50 * int.from_bytes(data[80:84], "little"):
        return "stl"
    if head.startswith(b"solid"):
        return "stl"
    if any(line.split(b" ")[0] in (b"v", b"vn", b"vt", b"o", b"g", b"mtllib") for line in data[:4096].splitlines()):
        return "obj"
    raise Bundle3DError(
        f"Expected GLB, glTF, OBJ, PLY or STL data, but got {data[:8]!r}; convert the file to GLB or name its format."
    )
