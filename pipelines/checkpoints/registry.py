"""The published checkpoints that the pack can use: source, size, what the licence permits, memory."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import Bundle3DError

FILE = Path(__file__).with_name("registry.json")
ELEMENT_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "float8_e4m3fn": 1, "int8": 1}
WEIGHTS = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin")
SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Licence:
    """A licence; ``commercial`` is None where nothing is stated."""

    name: str
    commercial: bool | None
    permits: str


@dataclass(frozen=True)
class RemoteFile:
    """One file of a checkpoint: its path in the repository, size and hash where known, the name to keep it under."""

    path: str
    bytes: int | None = None
    sha256: str | None = None
    save_as: str | None = None

    @property
    def name(self) -> str:
        """The name that the file should have on this machine."""
        return self.save_as or PurePosixPath(self.path).name


@dataclass(frozen=True)
class Network:
    """A network in a checkpoint: how many numbers, and the types to hold them in, that of the file first.

    ``largest``: the numbers of the largest of several parts that compute one after the other; None for a single part.
    """

    parameters: int
    dtypes: tuple[str, ...]
    largest: int | None = None

    def memory(self, level: int) -> int:
        """Bytes of the weights in ``dtypes[level]``."""
        return self.parameters * ELEMENT_BYTES[self.dtypes[level]]

    def memory_at_once(self, level: int) -> int:
        """Bytes of the weights that compute at the same time, in ``dtypes[level]``."""
        return (self.largest or self.parameters) * ELEMENT_BYTES[self.dtypes[level]]


@dataclass(frozen=True)
class Checkpoint:
    """A published model.

    roles: what it can be loaded as. stages: ids of the stages it serves. used: whether nodes of this version use it.
    repository: owner/name of the model repository, or ``source``, an address. gated: whether its terms must be accepted
    on its page first; None where that is unknown. folder: the folder of ComfyUI's models folder. directory: the name of
    the folder in there that holds the files, for models of several files. networks: by role, as far as they are known.
    about_bytes: roughly the size of all files where it is not known exactly.
    """

    name: str
    roles: tuple[str, ...]
    stages: tuple[str, ...]
    used: bool
    repository: str
    source: str | None
    gated: bool | None
    licence: Licence
    folder: str
    directory: str | None
    files: tuple[RemoteFile, ...]
    networks: Mapping[str, Network]
    about_bytes: int | None
    note: str

    @property
    def role(self) -> str:
        """Its role, the first one where it has several."""
        return self.roles[0]

    @property
    def file(self) -> str | None:
        """The path of the file in the repository; None where there are several or it is not known."""
        return self.files[0].path if len(self.files) == 1 else None

    @property
    def sha256(self) -> str | None:
        """The hash of its one file."""
        return self.files[0].sha256 if len(self.files) == 1 else None

    @property
    def bytes(self) -> int | None:
        """The size of all files; None where that of a weight file is not known. Small unknown ones are left out."""
        weights = [file for file in self.files if file.name.endswith(WEIGHTS)]
        if not weights or any(file.bytes is None for file in weights):
            return None
        return sum(file.bytes or 0 for file in self.files)

    @property
    def permits(self) -> str:
        """What the licence permits, in a sentence."""
        return self.licence.permits

    @property
    def memory(self) -> dict[str, int]:
        """Bytes of all weights by the number type of the main network; empty where no network is known."""
        networks = [self.networks[role] for role in self.roles if role in self.networks]
        levels = {dtype: level for level, dtype in enumerate(networks[0].dtypes)} if networks else {}
        return {
            dtype: sum(n.memory(min(level, len(n.dtypes) - 1)) for n in networks) for dtype, level in levels.items()
        }

    @property
    def page(self) -> str:
        """The address of the page with its description and terms."""
        return self.source or f"https://huggingface.co/{self.repository}"

    @property
    def target(self) -> str:
        """Where it goes, below ComfyUI's models folder, with forward slashes."""
        return f"{self.folder}/{self.directory or self.files[0].name}"

    def url(self, file: RemoteFile) -> str:
        """The address that a file is downloaded from."""
        return self.source or f"https://huggingface.co/{self.repository}/resolve/main/{file.path}"

    def link(self) -> dict[str, str]:
        """The entry of ``properties.models`` of a node with which ComfyUI's frontend offers the download.

        Raises Bundle3DError where the checkpoint is not one file.
        """
        if self.directory or len(self.files) != 1:
            raise Bundle3DError(
                f"Expected a checkpoint of one file, but {self.name} has several; name its page instead."
            )
        (file,) = self.files
        link = {"name": file.name, "url": self.url(file), "directory": self.folder}
        return link | {"hash": file.sha256, "hash_type": "SHA256"} if file.sha256 else link


@dataclass(frozen=True)
class Phase:
    """Networks that are in memory at the same time, and what their work takes beside the weights.

    ``cpu_working_bytes``: the same without a GPU, where that differs, as it does in float32.
    """

    name: str
    roles: tuple[str, ...]
    working_bytes: int
    cpu_working_bytes: int | None = None

    def working(self, gpu: bool) -> int:
        """What the work takes on a GPU or without one."""
        return self.working_bytes if gpu or self.cpu_working_bytes is None else self.cpu_working_bytes


@dataclass(frozen=True)
class Stage:
    """A way of making assets, with the roles it cannot do without and those it can use."""

    id: str
    title: str
    required: tuple[str, ...]
    optional: tuple[str, ...]
    phases: tuple[Phase, ...]
    note: str


@dataclass(frozen=True)
class Registry:
    """All that registry.json says."""

    licences: Mapping[str, Licence]
    roles: Mapping[str, str]
    stages: Mapping[str, Stage]
    checkpoints: tuple[Checkpoint, ...]

    def find(self, role: str, stage: str | None = None) -> tuple[Checkpoint, ...]:
        """The checkpoints with a role, of one stage or of all, the recommended one first."""
        return tuple(c for c in self.checkpoints if role in c.roles and stage in (None, *c.stages))

    def named(self, name: str) -> Checkpoint:
        """The checkpoint of that name; raises Bundle3DError where there is none."""
        for checkpoint in self.checkpoints:
            if checkpoint.name == name:
                return checkpoint
        raise Bundle3DError(f"Expected the name of a known checkpoint, but {name!r} is none; see `bundle3d models`.")

    def stage(self, id: str) -> Stage:
        """The stage of that id; raises Bundle3DError where there is none."""
        if id not in self.stages:
            raise Bundle3DError(
                f"Expected a stage ({', '.join(self.stages)}), but {id!r} is given; choose one of these."
            )
        return self.stages[id]


def read_registry(file: Path = FILE) -> Registry:
    """The registry in a file, checked; raises Bundle3DError where an entry contradicts itself or another one."""
    try:
        return _registry(json.loads(file.read_text("utf-8")))
    except (KeyError, TypeError, ValueError) as error:
        raise Bundle3DError(f"Expected a sound registry in {file.name}, but there is {error!s}; correct it.") from error


def _registry(data: dict[str, Any]) -> Registry:
    licences = {id: Licence(**entry) for id, entry in data["licences"].items()}
    stages = {id: _stage(id, entry) for id, entry in data["stages"].items()}
    registry = Registry(
        licences, data["roles"], stages, tuple(_checkpoint(entry, licences) for entry in data["checkpoints"])
    )
    names = [checkpoint.name for checkpoint in registry.checkpoints]
    if len(set(names)) < len(names):
        raise ValueError("a checkpoint twice")
    for stage in stages.values():
        for role in stage.required + stage.optional:
            if not registry.find(role, stage.id):
                raise ValueError(f"no {role} for {stage.id}")
        if unknown := {role for phase in stage.phases for role in phase.roles} - {*stage.required, *stage.optional}:
            raise ValueError(f"a phase of {stage.id} with {sorted(unknown)}")
    for checkpoint in registry.checkpoints:
        _check(checkpoint, registry)
    return registry


def _stage(id: str, entry: dict[str, Any]) -> Stage:
    phases = tuple(Phase(**phase | {"roles": tuple(phase["roles"])}) for phase in entry["phases"])
    return Stage(id, entry["title"], tuple(entry["required"]), tuple(entry["optional"]), phases, entry.get("note", ""))


def _checkpoint(entry: dict[str, Any], licences: Mapping[str, Licence]) -> Checkpoint:
    given = dict(entry)
    lists = {key: tuple(given.pop(key)) for key in ("roles", "stages")}
    networks = {role: Network(**n | {"dtypes": tuple(n["dtypes"])}) for role, n in given.pop("networks").items()}
    files = tuple(RemoteFile(**file) for file in given.pop("files"))
    licence = licences[given.pop("licence")]
    absent: dict[str, Any] = {"source": None, "directory": None, "about_bytes": None, "note": ""}
    return Checkpoint(**absent | given | lists, files=files, licence=licence, networks=networks)


def _check(checkpoint: Checkpoint, registry: Registry) -> None:
    problems = {
        "an unknown role": set(checkpoint.roles) - set(registry.roles),
        "an unknown stage": set(checkpoint.stages) - set(registry.stages),
        "an unknown number type": {d for n in checkpoint.networks.values() for d in n.dtypes} - set(ELEMENT_BYTES),
        "a network of another role": set(checkpoint.networks) - set(checkpoint.roles),
        "a bad hash": {f.path for f in checkpoint.files if f.sha256 and not SHA256.fullmatch(f.sha256)},
        "a bad size": {f.path for f in checkpoint.files if f.bytes is not None and f.bytes <= 0},
        "a path that leaves the folder": {
            f.path for f in checkpoint.files if ".." in f.path or "/" in f.name or f.path.startswith("/")
        },
        "neither a file nor a folder": set() if checkpoint.directory or len(checkpoint.files) == 1 else {"files"},
        "a repository without owner": set() if checkpoint.repository.count("/") == 1 else {checkpoint.repository},
    }
    for problem, found in problems.items():
        if found:
            raise ValueError(f"{problem} in {checkpoint.name}: {', '.join(sorted(found))}")


REGISTRY = read_registry()
CHECKPOINTS = REGISTRY.checkpoints
find = REGISTRY.find
