"""A plan in words, as JSON, and the registry as the table of the README."""

from __future__ import annotations

from typing import Any

from .machine import Machine
from .plan import Fit, Item, Plan
from .presence import Presence
from .registry import REGISTRY, Checkpoint, Registry

PLACES = {
    "gpu": "on the GPU",
    "offload": "partly on the GPU and partly in the RAM, which is slower",
    "ram": "in the RAM; without a GPU this is slow",
    "shared": "in the memory that CPU and GPU share",
    "none": "DOES NOT FIT",
}


def size_text(count: int | None) -> str:
    """A number of bytes for people."""
    if count is None:
        return "size unknown"
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} bytes"


def checkpoint_size(checkpoint: Checkpoint) -> str:
    """The size of its files for people."""
    if checkpoint.bytes is None and checkpoint.about_bytes is not None:
        return f"about {size_text(checkpoint.about_bytes)}"
    return size_text(checkpoint.bytes)


def machine_text(machine: Machine) -> str:
    """What the machine has, in a line."""
    ram = f"{size_text(machine.ram)} RAM ({size_text(machine.free_ram)} free)"
    gpu = f"{machine.device_name} with {size_text(machine.gpu)} ({size_text(machine.free_gpu)} free)"
    if not machine.gpu:
        gpu = f"{machine.device_name} in the same memory" if machine.shared else "no GPU"
    return f"{machine.system}, {machine.cores} cores, {ram}, {gpu}"


def plan_text(plan: Plan) -> str:
    """The whole plan: what is there, what is missing and where it goes, what fits."""
    lines = [
        f"{plan.stage.title} on this machine: {machine_text(plan.machine)}",
        f"models/ stands for {plan.models}",
        "",
    ]
    if plan.stage.note:
        lines += [plan.stage.note, ""]
    if not any(item.checkpoint.used for item in plan.items if item.required):
        lines += ["No node of this version works on this stage yet.", ""]
    told: set[str] = set()
    for heading, required in (("Needed", True), ("Optional", False)):
        items = [item for item in plan.items if item.required is required]
        lines += [heading, *(line for item in items for line in _item_lines(item, told))] if items else []
    lines.append("")
    lines.append("Everything that is needed is there." if plan.ready else f"To download: {_download(plan)}.")
    if plan.fits:
        soon = "" if plan.ready else ", with what is named first"
        lines += ["", f"Memory (estimated{soon})", *(_fit_line(fit, plan.machine) for fit in plan.fits)]
    else:
        lines += ["", "What this stage takes of memory is not known."]
    licences = dict.fromkeys(item.checkpoint.licence for item in plan.items)
    lines += ["", "Licences", *(f"  {licence.name}: {licence.permits}" for licence in licences)]
    return "\n".join(lines)


def _download(plan: Plan) -> str:
    known, unknown = plan.download()
    more = f" and {unknown} of unknown size" if unknown else ""
    short = ", WHICH IS TOO LITTLE" if known > plan.disk else ""
    return f"{size_text(known)}{more}; {size_text(plan.disk)} are free where the models are{short}"


def _item_lines(item: Item, told: set[str]) -> list[str]:
    """A checkpoint in a few lines; of alternatives only those in full that are not ``told`` yet."""
    checkpoint, presence = item.checkpoint, item.presence
    roles = ", ".join(REGISTRY.roles[role] for role in item.roles)
    lines = [f"  [{state_text(presence)}] {checkpoint.name}: {roles}"]
    if presence.path is not None:
        lines.append(f"      {presence.path}")
    if presence.detail:
        lines.append(f"      {presence.detail}")
    if not presence.usable:
        lines += _origin_lines("goes to", checkpoint)
        if checkpoint.note:
            lines.append(f"      {checkpoint.note}")
        for other in item.alternatives:
            again = other.name in told
            lines += [f"      or {other.name}, as above"] if again else _origin_lines(f"or {other.name}:", other)
            told.add(other.name)
    return lines + [f"      not counted: {other.path}. {other.checkpoint.note}" for other in item.unused]


def _origin_lines(start: str, checkpoint: Checkpoint) -> list[str]:
    """Where a checkpoint goes, how large it is, what its licence asks for; and where it comes from."""
    licence = checkpoint.licence.name + gate_text(checkpoint)
    where = f"      {start} models/{checkpoint.target}, {checkpoint_size(checkpoint)}, {licence}"
    return [where, f"          {_origin(checkpoint)}"]


def state_text(presence: Presence) -> str:
    """The state of a checkpoint in a word or two."""
    return "verified" if presence.usable and presence.verified else presence.state


def gate_text(checkpoint: Checkpoint) -> str:
    """That the terms have to be accepted first, where it is so."""
    return "; accept its terms on the page first" if checkpoint.gated else ""


def _origin(checkpoint: Checkpoint) -> str:
    if checkpoint.directory or len(checkpoint.files) != 1:
        return checkpoint.page
    return checkpoint.url(checkpoint.files[0])


def _fit_line(fit: Fit, machine: Machine) -> str:
    place = PLACES["shared" if machine.shared and fit.placement == "ram" else fit.placement]
    parts = [f"{size_text(size)} of {kind}" for size, kind in ((fit.gpu, "GPU memory"), (fit.ram, "RAM")) if size]
    left_out = f" (not counted: {', '.join(REGISTRY.roles[role] for role in fit.unmeasured)})" if fit.unmeasured else ""
    weights = f", weights as {fit.dtype}" if fit.dtype else ""
    return f"  {fit.phase.name}: {' and '.join(parts)}{weights}, {place}{left_out}"


def overview_text(found: list[Presence], machine: Machine) -> str:
    """Every checkpoint of the registry in a line."""
    rows = [
        (
            state_text(presence),
            presence.checkpoint.name,
            checkpoint_size(presence.checkpoint),
            f"models/{presence.checkpoint.target}",
            presence.checkpoint.licence.name + ("" if presence.checkpoint.used else "; not used by this version"),
        )
        for presence in found
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[-1]]) for row in rows]
    return "\n".join([machine_text(machine), "", *lines])


def plan_json(plan: Plan) -> dict[str, Any]:
    """The plan for other programs."""
    known, unknown = plan.download()
    return {
        "stage": plan.stage.id,
        "ready": plan.ready,
        "models_folder": str(plan.models),
        "machine": vars(plan.machine),
        "free_disk": plan.disk,
        "download_bytes": known,
        "downloads_of_unknown_size": unknown,
        "checkpoints": [
            presence_json(item.presence)
            | {
                "roles": list(item.roles),
                "required": item.required,
                "alternatives": [other.name for other in item.alternatives],
                "unused": [presence_json(other) for other in item.unused],
            }
            for item in plan.items
        ],
        "memory": [
            {
                "phase": fit.phase.name,
                "placement": fit.placement,
                "dtype": fit.dtype,
                "gpu_bytes": fit.gpu,
                "ram_bytes": fit.ram,
                "not_counted": list(fit.unmeasured),
            }
            for fit in plan.fits
        ],
    }


def presence_json(presence: Presence) -> dict[str, Any]:
    """A checkpoint and what was found of it, for other programs."""
    checkpoint = presence.checkpoint
    return {
        "name": checkpoint.name,
        "state": presence.state,
        "verified": presence.verified,
        "path": None if presence.path is None else str(presence.path),
        "detail": presence.detail,
        "target": checkpoint.target,
        "bytes": checkpoint.bytes,
        "memory": checkpoint.memory,
        "page": checkpoint.page,
        "files": [vars(file) | {"url": checkpoint.url(file)} for file in checkpoint.files],
        "licence": checkpoint.licence.name,
        "commercial": checkpoint.licence.commercial,
        "gated": checkpoint.gated,
        "stages": list(checkpoint.stages),
        "used": checkpoint.used,
    }


def readme_table(registry: Registry = REGISTRY) -> str:
    """The checkpoints that the nodes of this version use, as a Markdown table."""
    lines = ["| model | file or folder below `models/` | size | licence | commercial use |", "|---|---|---|---|---|"]
    answers = {True: "yes", False: "no", None: "not stated"}
    for checkpoint in registry.checkpoints:
        if checkpoint.used:
            gate = ", terms to accept" if checkpoint.gated else ""
            lines.append(
                f"| [{checkpoint.name}]({checkpoint.page}) | `{checkpoint.target}` | {checkpoint_size(checkpoint)} "
                f"| {checkpoint.licence.name}{gate} | {answers[checkpoint.licence.commercial]} |"
            )
    return "\n".join(lines)
