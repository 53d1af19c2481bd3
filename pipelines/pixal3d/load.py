"""Pixal3D from the files that users have: the published folder, ComfyUI's files of several networks, single files.

Source: specs/pixal3d.md sections 0.1, 1.3 and 8.1.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from ..checkpoints.safe_load import read_header, read_state_dict
from ..diffusion.holder import Holder
from ..diffusion.loading.source import read_json
from ..errors import Bundle3DError
from .flow_transformer import FlowTransformer
from .inner_paths import stays_inside
from .load_networks import build_flow, build_structure_decoder, build_voxel_decoder
from .models import PictureModels, Pixal3DModels, StageModel
from .settings import DECODERS, DEFAULT_SETTINGS, FLOWS, SEVERAL, SINGLE, Settings, read_settings
from .structure_decoder import StructureDecoder
from .voxel_decoder import VoxelDecoder

# What the tensors of each network start with in ComfyUI's files, those of flows after MODEL.
MODEL = "model."
FLOW_PREFIXES = {
    "structure": "structure_model.",
    "shape": "img2shape_512.",
    "fine_shape": "img2shape.",
    "texture": "shape2txt.",
}
DECODER_PREFIXES = {"structure": "struct_dec.", "shape": "shape_dec.", "texture": "txt_dec."}
STATED_DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}  # others are not what flows can compute in
NEEDED = ("structure", "shape")  # without which there is no shape
QUANTISED = ("comfy_quant", "convrot")  # what names of tensors tell it
State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Flows:
    """The flows by stage, on the CPU, and how they are used; "fine_shape" and "texture" may be missing.

    ``dtypes``: what they are to compute in, by stage; None or absent where nobody chooses or states it.
    """

    flows: Mapping[str, FlowTransformer]
    settings: Settings
    multiview: bool = False
    dtypes: Mapping[str, torch.dtype | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Decoders:
    """On the CPU; a texture decoder may be missing."""

    structure: StructureDecoder
    shape: VoxelDecoder
    texture: VoxelDecoder | None


def load_flows(
    path: Path,
    dtype: torch.dtype | None = None,
    multiview: bool = False,
    stages: Collection[str] = tuple(FLOWS),
) -> Flows:
    """The flows of ``stages``, as far as they are there, in a published folder or in ComfyUI's file of all four.

    ``multiview`` takes those for several views from a folder that has both. They compute in ``dtype``, float32 or
    bfloat16, or else in the type that the folder states, bfloat16 in the published one, or in the file's. Raises
    Bundle3DError, naming the file, where one of ``stages`` that a shape needs is missing, where a file holds no flow at
    all, and where one is quantised, damaged or of another model.
    """
    path = Path(path)
    if path.is_dir():
        settings = read_settings(path, multiview)
        wanted = [stage for stage in stages if stage in NEEDED or FLOWS[stage] in settings.stems]
        files = {stage: _weights(path, settings, FLOWS[stage]) for stage in wanted}
        return load_flow_files(files, dtype, multiview, settings)
    refuse_quantised(path)
    parts = _parts(read_state_dict(path), FLOW_PREFIXES)
    if missing := [FLOW_PREFIXES[stage] for stage in NEEDED if stage not in parts and (stage in stages or not parts)]:
        raise Bundle3DError(
            f"Expected the flows of Pixal3D in '{path.name}', but no tensor's name starts with '{MODEL}{missing[0]}'; "
            "choose ComfyUI's file of all flows or the published folder."
        )
    flows = {stage: build_flow(stage, parts[stage], path, dtype) for stage in stages if stage in parts}
    return Flows(flows, DEFAULT_SETTINGS, multiview, dict.fromkeys(flows, dtype))


def load_flow_files(
    files: Mapping[str, Path],
    dtype: torch.dtype | None = None,
    multiview: bool = False,
    settings: Settings = DEFAULT_SETTINGS,
) -> Flows:
    """The flows in a file each, by stage; a JSON file beside one tells its lattice and type. Raises as `load_flows`."""
    for file in files.values():
        refuse_quantised(file)
    stated = {stage: _stated(file) for stage, file in files.items()}
    dtypes = {stage: dtype or own.dtype for stage, own in stated.items()}
    flows = {
        stage: build_flow(stage, read_state_dict(file), file, dtypes[stage], stated[stage].resolution)
        for stage, file in files.items()
    }
    return Flows(flows, settings, multiview, dtypes)


def refuse_quantised(path: Path) -> None:
    """Raises Bundle3DError where a file of flows is quantised as those for ComfyUI's own nodes; reads the header alone.

    Such files have integer weights, or tensors that are called comfy_quant or after the rotation, convrot.
    """
    header = read_header(path)
    integers = {
        str(info.dtype).removeprefix("torch.")
        for name, info in header.items()
        if name.endswith(".weight") and not (info.dtype.is_floating_point or info.dtype.is_complex)
    }
    marks = {mark for mark in QUANTISED for name in header if mark in name}
    if integers or marks:
        raise Bundle3DError(
            f"Expected flows of Pixal3D in bf16, fp16 or fp32, but '{path.name}' is quantised "
            f"({', '.join(sorted(integers) + sorted(marks))}) for ComfyUI's own nodes; choose "
            "pixal3d_bf16.safetensors, or pixal3d_multiview_bf16.safetensors for several views."
        )


def load_decoders(path: Path, texture: Path | None = None, dtype: torch.dtype | None = None) -> Decoders:
    """The decoders in a published folder or in ComfyUI's file, but with ``texture`` that of textures from there.

    They compute in ``dtype``, or that of structures in float32 and the others in the file's type. Raises as
    `load_flows`.
    """
    path = Path(path)
    states = _decoder_states(path, NEEDED if texture is not None else tuple(DECODERS))
    if missing := [part for part in NEEDED if part not in states]:
        raise Bundle3DError(
            f"Expected the decoders of structure and shape in '{path.name}', but there is none of a {missing[0]}; "
            "choose trellis_2_shape_vae_bf16.safetensors or the published folder."
        )
    own = build_voxel_decoder("texture", *states["texture"], dtype) if "texture" in states else None
    return Decoders(
        build_structure_decoder(*states["structure"], dtype),
        build_voxel_decoder("shape", *states["shape"], dtype),
        own if texture is None else load_texture_decoder(texture, dtype),
    )


def load_texture_decoder(path: Path, dtype: torch.dtype | None = None) -> VoxelDecoder | None:
    """The decoder of textures in a file, ComfyUI's or one of its own, or in a published folder, if that has one.

    It computes in ``dtype`` or in the file's type. Raises as `load_flows`.
    """
    path = Path(path)
    states = _decoder_states(path, ("texture",))
    if not states and path.is_file():
        states = {"texture": (read_state_dict(path), path)}
    return build_voxel_decoder("texture", *states["texture"], dtype) if states else None


class HoldFlow(Protocol):
    """Puts a flow into a holder, where it computes in ``dtype`` or, without it, in what is best there."""

    def __call__(self, module: Any, *, dtype: torch.dtype | None) -> Holder: ...


def held(
    flows: Flows,
    decoders: Decoders,
    pictures: PictureModels,
    hold_flow: HoldFlow,
    hold_decoder: Callable[[Any], Holder],
    demo: bool = False,
) -> Pixal3DModels:
    """All components in holders that are made for each kind; raises Bundle3DError where they do not fit together."""
    settings = flows.settings
    stages = {
        stage: StageModel(
            hold_flow(flow, dtype=flows.dtypes.get(stage)), settings.samplings[stage], settings.sights[stage]
        )
        for stage, flow in flows.flows.items()
    }
    return Pixal3DModels(
        pictures=pictures,
        structure=stages["structure"],
        shape=stages["shape"],
        fine_shape=stages.get("fine_shape"),
        texture=stages.get("texture"),
        structure_decoder=hold_decoder(decoders.structure),
        shape_decoder=hold_decoder(decoders.shape),
        texture_decoder=None if decoders.texture is None else hold_decoder(decoders.texture),
        shape_normalisation=settings.shape_normalisation,
        texture_normalisation=settings.texture_normalisation,
        multiview=flows.multiview,
        demo=demo,
    )


def has_multiview(folder: Path) -> bool:
    """Whether a folder holds the flows for several views too."""
    return (folder / SEVERAL).is_file()


def _decoder_states(path: Path, parts: Collection[str]) -> dict[str, tuple[State, Path]]:
    """The tensors of those of ``parts`` that a folder or ComfyUI's file has, and the file of each."""
    if not path.is_dir():
        found = _parts(read_state_dict(path), DECODER_PREFIXES)
        return {part: (found[part], path) for part in parts if part in found}
    settings = read_settings(path, multiview=not (path / SINGLE).is_file() and has_multiview(path))
    files = {
        part: _weights(path, settings, name)
        for part, name in DECODERS.items()
        if part in parts and (part in NEEDED or name in settings.stems)
    }
    return {part: (read_state_dict(file), file) for part, file in files.items()}


def _parts(state: State, prefixes: Mapping[str, str]) -> dict[str, State]:
    """The tensors of each network by its own names."""
    state = {name.removeprefix(MODEL): tensor for name, tensor in state.items()}
    found = {
        part: {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
        for part, prefix in prefixes.items()
    }
    return {part: own for part, own in found.items() if own}


def _weights(folder: Path, settings: Settings, name: str) -> Path:
    """The file of the model called ``name``; one that the settings put in another repository may lie in this folder."""
    stem = settings.stems.get(name)
    if stem is None:
        raise Bundle3DError(
            f"Expected '{name}' among the models of '{folder.name}', but its pipeline.json does not name it; download "
            "the folder of Pixal3D again."
        )
    if not stays_inside(stem):
        raise Bundle3DError(f"Expected models inside of '{folder.name}', but it points to '{stem}'; do not use it.")
    for candidate in (folder / stem, folder / "ckpts" / Path(stem).name, folder / Path(stem).name):
        file = candidate.with_name(candidate.name + ".safetensors")
        if file.is_file():
            return file
    raise Bundle3DError(
        f"Expected '{stem}.safetensors' in the folder '{folder.name}', but there is no such file; download it."
    )


@dataclass(frozen=True)
class _Stated:
    """What the JSON file beside a network's tensors says of its lattice and of the type in which it computes."""

    resolution: int | None = None
    dtype: torch.dtype | None = None


def _stated(file: Path) -> _Stated:
    json_file = file.with_suffix(".json")
    if not json_file.is_file():
        return _Stated()
    settings = read_json(json_file).get("args", {})
    resolution = settings.get("resolution") if isinstance(settings, dict) else None
    if not isinstance(resolution, int) or not 1 <= resolution <= 4096:
        raise Bundle3DError(
            f"Expected the resolution of a flow in '{json_file.name}', but it says {resolution!r}; download the file "
            "again."
        )
    return _Stated(resolution, STATED_DTYPES.get(str(settings.get("dtype"))))
