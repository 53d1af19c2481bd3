"""Writing of mesh files: all of a file or nothing."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import Bundle3DError
from .glb_write import glb_bytes
from .mesh import Mesh
from .obj_write import obj_files
from .ply import ply_bytes
from .stl import stl_bytes

WRITE_FORMATS = ("glb", "obj", "ply", "stl")


def mesh_to_bytes(mesh: Mesh, format: str, extras: Mapping[str, Any] | None = None) -> bytes:
    """The mesh as a file of ``format`` (glb, obj, ply or stl); an OBJ in one piece has no materials.

    ``extras`` goes to ``asset.extras`` of a GLB. Raises Bundle3DError for other formats and for meshes without faces.
    """
    kind = _known(format)
    if kind == "glb":
        return glb_bytes(mesh, extras)
    if kind == "obj":
        return obj_files(mesh.with_(materials=(), face_material=None), "mesh")["mesh.obj"]
    return ply_bytes(mesh) if kind == "ply" else stl_bytes(mesh)


def write_mesh(
    mesh: Mesh, path: str | os.PathLike[str], format: str | None = None, extras: Mapping[str, Any] | None = None
) -> list[Path]:
    """Writes the mesh and returns the files: one, or OBJ, MTL and textures side by side.

    GLB keeps everything; OBJ loses alpha mode, tangents and colour alpha; PLY keeps geometry, UVs and 8-bit colours;
    STL geometry only. Existing files are replaced once all new ones are written; a failure before leaves everything as
    it was. Raises Bundle3DError as `mesh_to_bytes`, and where the folder cannot be written.
    """
    target = Path(path)
    kind = _known(format or target.suffix)
    if kind == "obj":
        files = {target.with_name(name): data for name, data in obj_files(mesh, _safe_stem(target)).items()}
        files[target] = files.pop(target.with_name(f"{_safe_stem(target)}.obj"))
    else:
        files = {target: mesh_to_bytes(mesh, kind, extras)}
    temporaries: dict[Path, Path] = {}
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            temporaries[name] = _new_file(target.parent)
            temporaries[name].write_bytes(data)
        for name, temporary in temporaries.items():
            os.replace(temporary, name)
    except OSError as error:
        raise Bundle3DError(
            f"Expected a folder to write {target.name!r} into, but it failed ({error.strerror}); "
            "free space or choose another folder."
        ) from error
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)
    return list(files)


def _known(format: str) -> str:
    kind = format.lower().lstrip(".")
    if kind not in WRITE_FORMATS:
        raise Bundle3DError(f"Expected one of {', '.join(WRITE_FORMATS)}, but got {kind[:20]!r}; choose one of them.")
    return kind


def _safe_stem(target: Path) -> str:
    """A stem without spaces, which many readers of OBJ do not accept in file names."""
    return "_".join(target.stem.split()) or "mesh"


def _new_file(folder: Path) -> Path:
    """An empty hidden file with the permissions that any new file gets, which those of `tempfile` have not."""
    path = folder / f".bundle3d-{secrets.token_hex(8)}.part"
    path.touch(exist_ok=False)
    return path
