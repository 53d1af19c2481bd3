"""Whether a checkpoint is on this machine, whole and under whatever name."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ..errors import Bundle3DError
from ..progress import Progress, silent
from .registry import CHECKPOINTS, WEIGHTS, Checkpoint, RemoteFile
from .safe_load import SAFETENSORS, read_header

State = Literal[
    "present", "missing", "misplaced", "incomplete", "truncated", "damaged", "other file", "wrong hash", "unknown"
]
CHUNK = 1 << 22

# Where ComfyUI also looks, beside the folder of the kind's own name.
OTHER_NAMES = {"diffusion_models": ("unet",), "text_encoders": ("clip",), "controlnet": ("t2i_adapter",)}

Folders = Mapping[str, Sequence[Path]]


@dataclass(frozen=True)
class Presence:
    """What was found of a checkpoint. ``path``: its file or folder, None where it is missing. ``detail``: why not."""

    checkpoint: Checkpoint
    state: State
    path: Path | None = None
    detail: str = ""
    verified: bool = False

    @property
    def usable(self) -> bool:
        """Whether it can be loaded as it is."""
        return self.state == "present"


@dataclass
class ModelFiles:
    """The weight files in a set of folders, looked up once, and the checkpoints that they may be."""

    folders: Folders
    known: Sequence[Checkpoint] = CHECKPOINTS
    _found: dict[str, list[Path]] = field(default_factory=dict)

    def of(self, folder: str) -> list[Path]:
        """All weight files of a kind, at any depth, in a fixed order; links that lead nowhere are none."""
        if folder not in self._found:
            roots = self.folders.get(folder, ())
            walked = [(Path(at), names) for root in roots for at, _, names in sorted(os.walk(root, followlinks=True))]
            paths = (at / n for at, names in walked for n in sorted(names) if n.lower().endswith(WEIGHTS))
            self._found[folder] = [path for path in paths if path.is_file()]
        return self._found[folder]


def model_folders(models: Sequence[Path]) -> dict[str, tuple[Path, ...]]:
    """The folders of every kind in ComfyUI's models folders, as ComfyUI itself lays them out."""
    kinds = sorted({checkpoint.folder for checkpoint in CHECKPOINTS})
    return {
        kind: tuple(folder / name for folder in models for name in (kind, *OTHER_NAMES.get(kind, ()))) for kind in kinds
    }


def look_for(checkpoint: Checkpoint, files: ModelFiles, verify: bool = False, progress: Progress = silent) -> Presence:
    """Where a checkpoint is and whether it is whole.

    Files are known by their names first, then by their size. Safetensors are read far enough to see whether they were
    cut short. ``verify`` also computes the hashes that the registry knows, which reads every byte.
    """
    if not checkpoint.files:
        return Presence(checkpoint, "unknown", None, f"its files are not listed; see {checkpoint.page}")
    if checkpoint.directory:
        return _look_for_folder(checkpoint, files.folders.get(checkpoint.folder, ()), verify, progress)
    (file,) = checkpoint.files
    named = [path for path in files.of(checkpoint.folder) if _is_named(path, file)]
    named = [path for path in named if not _namesakes(path, checkpoint, files.known)]
    sized = [path for path in files.of(checkpoint.folder) if _may_be(path, file, files.known)]
    by_name = [_examine(checkpoint, file, path, verify, progress) for path in named]
    by_size = [_examine(checkpoint, file, path, verify, progress) for path in sized]
    whole = [presence for presence in by_name + by_size if presence.usable]
    if whole and whole[0] in by_size and not whole[0].verified:
        return replace(whole[0], detail="known by its size only; verify to be sure")
    return (whole or by_name or [_elsewhere(checkpoint, file, files)])[0]


def _is_named(path: Path, file: RemoteFile) -> bool:
    return path.name.casefold() == file.name.casefold()


def _namesakes(path: Path, checkpoint: Checkpoint, known: Sequence[Checkpoint]) -> list[Checkpoint]:
    """The other checkpoints that a file must be, having their name and size."""
    others = [entry for entry in known if entry is not checkpoint and not entry.directory and entry.files]
    return [entry for entry in others if _is_named(path, entry.files[0]) and path.stat().st_size == entry.bytes]


def _may_be(path: Path, file: RemoteFile, known: Sequence[Checkpoint]) -> bool:
    """Whether a file has the size looked for, and a name that does not make it another checkpoint."""
    taken = any(_is_named(path, entry.files[0]) for entry in known if len(entry.files) == 1)
    return path.stat().st_size == file.bytes and not taken


def _elsewhere(checkpoint: Checkpoint, file: RemoteFile, files: ModelFiles) -> Presence:
    """Missing, or found in the folder of another kind."""
    for kind in sorted({*files.folders} - {checkpoint.folder}):
        for path in files.of(kind):
            if _is_named(path, file) and path.stat().st_size == file.bytes:
                detail = f"lies in models/{kind}; move it to models/{checkpoint.folder}"
                return Presence(checkpoint, "misplaced", path, detail)
    return Presence(checkpoint, "missing")


def _look_for_folder(checkpoint: Checkpoint, roots: Sequence[Path], verify: bool, progress: Progress) -> Presence:
    folders = [root / str(checkpoint.directory) for root in roots]
    folder = next((folder for folder in folders if folder.is_dir()), None) or _renamed(checkpoint, roots)
    if folder is None:
        return Presence(checkpoint, "missing")
    absent = [file.path for file in checkpoint.files if not (folder / file.path).is_file()]
    weights = {file.path for file in checkpoint.files if file.name.endswith(WEIGHTS)}
    if weights <= set(absent):  # several checkpoints may share a folder
        return Presence(checkpoint, "missing")
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        return Presence(checkpoint, "incomplete", folder, f"{absent[0]}{more} is not there")
    found = [_examine(checkpoint, file, folder / file.path, verify, progress) for file in checkpoint.files]
    flawed = next((presence for presence in found if not presence.usable), None)
    if flawed is not None:
        return Presence(checkpoint, flawed.state, folder, flawed.detail)
    return Presence(checkpoint, "present", folder, verified=any(presence.verified for presence in found))


def _renamed(checkpoint: Checkpoint, roots: Sequence[Path]) -> Path | None:
    """A folder of another name with files of the same names and sizes, where a size is known."""
    sized = [file for file in checkpoint.files if file.bytes and file.name.endswith(WEIGHTS)]
    for root in roots:
        for folder in sorted(root.iterdir()) if root.is_dir() and sized else ():
            paths = [(folder / file.path, file.bytes) for file in sized]
            if all(path.is_file() and path.stat().st_size == size for path, size in paths):
                return folder
    return None


def _examine(checkpoint: Checkpoint, file: RemoteFile, path: Path, verify: bool, progress: Progress) -> Presence:
    """Size, header and, where asked for and known, hash of one file."""
    size = path.stat().st_size
    if file.bytes is not None and size < file.bytes:
        return Presence(checkpoint, "truncated", path, f"{path.name} has {size:,} of {file.bytes:,} bytes")
    if file.bytes is not None and size > file.bytes:
        return Presence(checkpoint, "other file", path, f"{path.name} has {size:,} bytes instead of {file.bytes:,}")
    problem = _problem(path)
    if problem:
        return Presence(checkpoint, "damaged", path, problem)
    if not (verify and file.sha256):
        return Presence(checkpoint, "present", path)
    found = sha256_of(path, progress)
    if found != file.sha256:
        return Presence(checkpoint, "wrong hash", path, f"the SHA-256 of {path.name} is {found}", verified=True)
    return Presence(checkpoint, "present", path, verified=True)


def _problem(path: Path) -> str:
    """Why a weight file cannot be whole, as far as its first and last bytes tell; empty where nothing is wrong."""
    suffix = path.suffix.lower()
    if suffix in SAFETENSORS:
        try:
            read_header(path)
        except Bundle3DError as error:
            return str(error)
    elif suffix in WEIGHTS:
        with path.open("rb") as file:
            packed = file.read(2) == b"PK"
        if packed and not zipfile.is_zipfile(path):
            return f"{path.name} ends before its table of contents"
    return ""


def sha256_of(path: Path, progress: Progress = silent) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    digest, done, size = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            done += len(chunk)
            progress(done, size)
    return digest.hexdigest()
