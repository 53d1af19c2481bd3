"""Where a component's tensors come from: its own file, a part of an all-in-one checkpoint, or a folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from ...checkpoints.safe_load import read_header, read_state_dict
from ...errors import Bundle3DError
from .recognise import what_is_it

INDEX_BYTES = 10_000_000
WEIGHT_NAMES = ("diffusion_pytorch_model", "model")
EVERY_PART = (
    "model.diffusion_model.",
    "text_encoders.",
    "vae.",
    "first_stage_model.",
    "conditioner.",
    "cond_stage_model.",
)


def read_part(path: Path, prefixes: Sequence[str]) -> dict[str, torch.Tensor]:
    """The tensors of a file that start with one of ``prefixes``, without it; all, where the file is no all-in-one."""
    state = read_state_dict(path)
    for prefix in prefixes:
        part = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
        if part:
            return part
    if any(name.startswith(EVERY_PART) for name in state):
        return {}
    return state


def read_component(
    path: Path, class_names: Sequence[str], prefixes: Sequence[str]
) -> tuple[dict[str, Any] | None, dict[str, torch.Tensor], Path]:
    """Settings, tensors and the file that stands for them, of a component's folder or of a file.

    A file has no settings, and its tensors are those of ``read_part``; a folder must be of one of these classes.
    """
    if path.is_dir():
        return component_config(path, *class_names), *read_folder_state(path)
    return None, read_part(path, prefixes), path


def wrong_kind(path: Path, wanted: str, advice: str, names: Iterable[str] | None = None) -> Bundle3DError:
    """The refusal of a file, with tensors of these names, that holds another model than was asked for."""
    found = what_is_it(read_header(path) if names is None else names)
    return Bundle3DError(f"Expected {wanted}, but '{path.name}' holds {found}; {advice}.")


def component_config(folder: Path, *class_names: str) -> dict[str, Any]:
    """The config.json of a component's folder. Raises Bundle3DError where it is of another class than one of these."""
    config = read_json(folder / "config.json")
    architectures = config.get("architectures") or []
    found = config.get("_class_name") or (
        architectures[0] if isinstance(architectures, list) and architectures else None
    )
    if found not in class_names:
        raise Bundle3DError(
            f"Expected {' or '.join(class_names)} in the folder '{folder.name}', but its config.json says {found}; "
            "choose another folder."
        )
    return config


def read_json(path: Path) -> dict[str, Any]:
    """A folder's settings file.

    Raises Bundle3DError, naming it, where it is missing, absurdly large or no JSON table.
    """
    if not path.is_file():
        raise Bundle3DError(
            f"Expected '{path.name}' in the folder '{path.parent.name}', but there is none; "
            "choose a folder in diffusers' format or copy it again."
        )
    if path.stat().st_size > INDEX_BYTES:
        raise Bundle3DError(
            f"Expected a small JSON file, but '{path.parent.name}/{path.name}' is too large; copy the folder again."
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise Bundle3DError(
            f"Expected JSON in '{path.parent.name}/{path.name}', but it is damaged; copy or download it again."
        ) from error
    if not isinstance(content, dict):
        raise Bundle3DError(f"Expected a JSON table in '{path.parent.name}/{path.name}'; copy or download it again.")
    return content


def read_folder_state(folder: Path) -> tuple[dict[str, torch.Tensor], Path]:
    """All tensors of a component's folder, and its ``weights_file``."""
    file = weights_file(folder)
    return (_read_shards(file) if file.suffix == ".json" else read_state_dict(file)), file


def weights_file(folder: Path) -> Path:
    """The file that stands for the tensors of a component's folder: one of weights, or the index of several.

    Full-precision files are preferred to half-precision variants, safetensors to pickled files. Raises Bundle3DError
    where there is none.
    """
    candidates = [
        folder / f"{name}{variant}{ending}"
        for ending in (".safetensors.index.json", ".safetensors", ".bin")
        for variant in ("", ".bf16", ".fp16", ".fp8")
        for name in WEIGHT_NAMES
    ]
    candidates += [
        folder / f"{name}.safetensors.index.{kind}.json" for kind in ("bf16", "fp16") for name in WEIGHT_NAMES
    ]
    file = next((candidate for candidate in candidates if candidate.is_file()), None)
    if file is None:
        raise Bundle3DError(
            f"Expected the weights of a model in the folder '{folder.name}', but there are none; download the folder's "
            ".safetensors files too."
        )
    return file


def _read_shards(index: Path) -> dict[str, torch.Tensor]:
    table = read_json(index).get("weight_map")
    if not isinstance(table, dict) or not table or not all(isinstance(shard, str) for shard in table.values()):
        raise Bundle3DError(f"Expected a 'weight_map' in '{index.name}', but there is none; download the file again.")
    state: dict[str, torch.Tensor] = {}
    for shard in sorted(set(table.values())):
        if Path(shard).name != shard or "\\" in shard:
            raise Bundle3DError(
                f"Expected files beside '{index.name}', but it points to '{shard}' elsewhere; do not use it."
            )
        state.update(read_state_dict(index.parent / shard))
    return state
