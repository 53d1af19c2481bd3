"""Which checkpoints a stage still needs, where they go, and what will fit into this machine's memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..progress import Progress, silent
from .machine import Machine, free_disk, this_machine
from .presence import Folders, ModelFiles, Presence, look_for
from .registry import REGISTRY, Checkpoint, Phase, Registry, Stage

RESERVE = 1_000_000_000  # bytes of a GPU that the system and the CUDA context keep

Placement = Literal["gpu", "offload", "ram", "none"]
Look = Callable[[Checkpoint], Presence]
Chosen = Mapping[str, tuple[Presence, tuple[Checkpoint, ...], tuple[Presence, ...]]]


@dataclass(frozen=True)
class Item:
    """What stands for one or several roles of a stage: the checkpoint that is there, else the recommended one.

    ``unused``: what lies there of the same roles and no node of this version reads.
    """

    roles: tuple[str, ...]
    required: bool
    presence: Presence
    alternatives: tuple[Checkpoint, ...]
    unused: tuple[Presence, ...]

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint."""
        return self.presence.checkpoint


@dataclass(frozen=True)
class Fit:
    """Where the networks of a phase will be, and in which number type; sizes in bytes.

    ``gpu`` and ``ram`` are what is taken there, weights and work together. ``unmeasured`` names roles left out of the
    sum, because their number of parameters is not known.
    """

    phase: Phase
    placement: Placement
    dtype: str
    gpu: int
    ram: int
    unmeasured: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """A stage on this machine. ``models``: ComfyUI's models folder, ``disk``: bytes free there."""

    stage: Stage
    machine: Machine
    items: tuple[Item, ...]
    fits: tuple[Fit, ...]
    models: Path
    disk: int

    @property
    def ready(self) -> bool:
        """Whether all that the stage cannot do without is there and whole."""
        return all(item.presence.usable for item in self.items if item.required)

    def download(self, required: bool = True) -> tuple[int, int]:
        """Bytes to fetch for what is required, or for what is optional, and the number of unknown sizes."""
        wanted = [item.checkpoint for item in self.items if item.required is required and not item.presence.usable]
        sizes = [checkpoint.bytes or checkpoint.about_bytes for checkpoint in wanted]
        return sum(size or 0 for size in sizes), sum(size is None for size in sizes)


def plan(
    stage: str,
    folders: Folders,
    machine: Machine | None = None,
    *,
    verify: bool = False,
    progress: Progress = silent,
    registry: Registry = REGISTRY,
) -> Plan:
    """What a stage needs with ComfyUI's model ``folders``; ``verify`` computes the hashes of what is there.

    Raises Bundle3DError where there is no such stage.
    """
    wanted, files = registry.stage(stage), ModelFiles(folders, registry.checkpoints)
    machine = machine or this_machine()
    found: dict[str, Presence] = {}

    def presence(checkpoint: Checkpoint) -> Presence:
        if checkpoint.name not in found:
            found[checkpoint.name] = look_for(checkpoint, files, verify, progress)
        return found[checkpoint.name]

    chosen = {role: _choose(role, wanted, registry, presence) for role in wanted.required + wanted.optional}
    items = [*_items(wanted.required, True, chosen), *_items(wanted.optional, False, chosen)]
    there = {role: item.checkpoint for item in items for role in item.roles if item.required or item.presence.usable}
    fits = [_fit(phase, there, machine) for phase in wanted.phases if any(role in there for role in phase.roles)]
    models = _models_folder(folders)
    return Plan(wanted, machine, tuple(items), tuple(fits), models, free_disk(models))


def _models_folder(folders: Folders) -> Path:
    """The folder that holds those of most kinds, absolute: extra model paths are for some kinds only."""
    parents = Counter(root.absolute().parent for roots in folders.values() for root in roots)
    return max(parents, key=lambda parent: parents[parent], default=Path.cwd())


def _choose(
    role: str, stage: Stage, registry: Registry, presence: Look
) -> tuple[Presence, tuple[Checkpoint, ...], tuple[Presence, ...]]:
    """The presence of the checkpoint that stands for a role, the others that could, and what is there but unused."""
    candidates = _candidates(role, stage, registry)
    passed_over = (presence(entry) for entry in registry.find(role, stage.id) if entry not in candidates)
    unused = tuple(state for state in passed_over if state.path is not None)
    looked = [presence(checkpoint) for checkpoint in candidates]
    needed = {*stage.required, *stage.optional}

    def bad(state: Presence) -> bool:
        return state.state not in ("missing", "unknown")

    def alone(checkpoint: Checkpoint) -> bool:
        """Whether no other role that this one would also bring is there already from another checkpoint."""
        others = [other for other in checkpoint.roles if other != role and other in needed]
        return not any(presence(entry).usable for other in others for entry in _candidates(other, stage, registry))

    best = next((state for state in looked if state.usable), None)
    best = best or next((state for state in looked if bad(state)), None)
    best = best or next((state for state in looked if alone(state.checkpoint)), looked[0])
    return best, tuple(checkpoint for checkpoint in candidates if checkpoint is not best.checkpoint), unused


def _candidates(role: str, stage: Stage, registry: Registry) -> tuple[Checkpoint, ...]:
    """What can stand for a role: what nodes of this version use, or for a stage to come what they will use."""
    found = registry.find(role, stage.id)
    return tuple(checkpoint for checkpoint in found if checkpoint.used) or found


def _items(roles: Iterable[str], required: bool, chosen: Chosen) -> list[Item]:
    """The chosen checkpoints, each once, with all the roles that it stands for."""
    by_name: dict[str, list[str]] = {}
    for role in roles:
        by_name.setdefault(chosen[role][0].checkpoint.name, []).append(role)
    return [Item(tuple(group), required, *chosen[group[0]]) for group in by_name.values()]


def _fit(phase: Phase, chosen: dict[str, Checkpoint], machine: Machine) -> Fit:
    """The widest number type with which a phase fits on the GPU, else the narrowest one with the rest in the RAM."""
    roles = [role for role in phase.roles if role in chosen]
    networks = [chosen[role].networks[role] for role in roles if role in chosen[role].networks]
    unmeasured = tuple(role for role in roles if role not in chosen[role].networks)
    dtypes = max(networks, key=lambda network: network.parameters).dtypes if networks else ("",)
    work = phase.working(machine.gpu > 0)
    room = machine.gpu - RESERVE - work
    for level in (0, -1):
        weights = sum(network.memory_at_once(level) for network in networks)
        if machine.gpu and weights <= room:
            return Fit(phase, "gpu", dtypes[level], weights + work, 0, unmeasured)
        if not machine.gpu and weights + work <= machine.free_ram:
            return Fit(phase, "ram", dtypes[level], 0, weights + work, unmeasured)
    if machine.gpu and room > 0 and weights <= room + machine.free_ram:
        return Fit(phase, "offload", dtypes[-1], machine.gpu - RESERVE, weights - room, unmeasured)
    if machine.gpu:
        return Fit(phase, "none", dtypes[-1], weights + work, 0, unmeasured)
    return Fit(phase, "none", dtypes[-1], 0, weights + work, unmeasured)
