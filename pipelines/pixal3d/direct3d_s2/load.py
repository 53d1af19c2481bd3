"""Pixal3D-D from its published folder. Source: specs/pixal3d.md section 1.4."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from ...checkpoints.safe_load import read_state_dict
from ...diffusion.holder import Holder
from ...diffusion.loading.assemble import fill, without_memory
from ...errors import Bundle3DError
from ..load_networks import FLOW_DTYPES, build_structure_decoder, read_config
from ..structure_decoder import StructureDecoder
from .config import dense_flow_config, sdf_decoder_config, sparse_flow_config
from .dense_flow import DenseFlow
from .models import Pixal3DDModels, StageModel
from .sampling import TwiceShiftedSampling
from .sdf_decoder import SdfDecoder
from .settings import SCALE_FLOW, STAGES, WEIGHTS, Sight, read_sampling, read_settings, read_sight
from .sparse_flow import SparseFlow

State = dict[str, torch.Tensor]
Network = TypeVar("Network", bound=nn.Module)
FLOW_PREFIX, DECODER_PREFIX, ENCODER_PREFIX = "dit_model.", "decoder.", "encoder."
PLACES = "pos_emb"  # a table of the dense flow's file that is computed here
NAMES = {
    "structure": "a structure flow of Pixal3D-D",
    "coarse": "a coarse flow of Pixal3D-D",
    "fine": "a fine flow of Pixal3D-D",
}


@dataclass(frozen=True)
class LoadedStage:
    """A stage's networks on the CPU, and how they are used."""

    flow: DenseFlow | SparseFlow
    decoder: StructureDecoder | SdfDecoder
    sampling: TwiceShiftedSampling
    sight: Sight


def load_stage(folder: Path, stage: str, dtype: torch.dtype | None = None) -> LoadedStage:
    """ "structure", "coarse" or "fine" of the published ``folder``, on the CPU, ready to compute.

    Flows compute in ``dtype``, float32 or bfloat16, or in the file's type, or in float32 where that is neither.
    Raises Bundle3DError, naming the file, where one is missing, damaged or of another model.
    """
    own = Path(folder) / STAGES[stage]
    flow: DenseFlow | SparseFlow
    decoder: StructureDecoder | SdfDecoder
    flow_state, flow_file = _weights(own / "dit", FLOW_PREFIX)
    decoder_state, decoder_file = _weights(own / "vae", DECODER_PREFIX)
    decoder_settings = read_settings(own / "vae")
    if stage == "structure":
        flow = _dense_flow(flow_state, flow_file, dtype)
        decoder = build_structure_decoder(decoder_state, decoder_file)
    else:
        flow = _sparse_flow(flow_state, flow_file, NAMES[stage], dtype)
        decoder = _sdf_decoder(decoder_state, decoder_file, decoder_settings)
    sight = read_sight(own)
    if sight.resolution != flow.config.resolution:
        raise Bundle3DError(
            f"Expected pictures on {flow.config.resolution}^3 voxels for '{STAGES[stage]}', but its conditioner has "
            f"{sight.resolution}^3; the folder is of several models, download it again."
        )
    return LoadedStage(flow, decoder, read_sampling(own, stage), sight)


def load_scale_flow(folder: Path, dtype: torch.dtype | None = None) -> DenseFlow | None:
    """The flow that finds how large objects are, where the folder has one; as of `load_stage`."""
    own = Path(folder) / STAGES["structure"] / SCALE_FLOW
    if not (own / WEIGHTS).is_file():
        return None
    return _dense_flow(*_weights(own, FLOW_PREFIX), dtype)


def held(
    stages: Mapping[str, LoadedStage],
    encoder: Holder,
    hold_flow: Callable[[Any], Holder],
    hold_decoder: Callable[[Any], Holder],
    upsampler: Holder | None = None,
    scale_flow: DenseFlow | None = None,
) -> Pixal3DDModels:
    """All components in holders that are made for each kind; raises Bundle3DError where they do not fit together."""
    size = encoder.module.config.image_size
    models = {}
    for name, stage in stages.items():
        if stage.sight.size != size:
            raise Bundle3DError(
                f"Expected an image encoder for pictures of {stage.sight.size} pixels, but got one for {size}; choose "
                "DINOv2 ViT-L/14 with registers, such as facebook/dinov2-with-registers-large."
            )
        models[name] = StageModel(
            hold_flow(stage.flow), hold_decoder(stage.decoder), stage.sampling, stage.sight.upsampled
        )
    return Pixal3DDModels(
        encoder=encoder,
        structure=models["structure"],
        coarse=models["coarse"],
        fine=models.get("fine"),
        upsampler=upsampler,
        scale_flow=None if scale_flow is None else hold_flow(scale_flow),
    )


def _weights(folder: Path, prefix: str) -> tuple[State, Path]:
    """The tensors of a network without ``prefix``, and their file; those of the encoder of an autoencoder are left."""
    file = folder / WEIGHTS
    if not file.is_file():
        raise Bundle3DError(
            f"Expected '{folder.parent.name}/{folder.name}/{WEIGHTS}' in the folder of Pixal3D-D, but there is no such "
            "file; download it."
        )
    state = {
        name.removeprefix(prefix): tensor
        for name, tensor in read_state_dict(file).items()
        if prefix != DECODER_PREFIX or not name.startswith(ENCODER_PREFIX)
    }
    return state, file


def _dense_flow(state: State, file: Path, dtype: torch.dtype | None) -> DenseFlow:
    what = NAMES["structure"]
    settings = read_settings(file.parent)
    places = state.pop(PLACES, None)
    config = read_config(lambda shapes: dense_flow_config(shapes, settings), state, file, what)
    if places is not None and tuple(places.shape) != (config.resolution**3, config.width):
        raise Bundle3DError(
            f"Expected the places of {config.resolution}^3 voxels in '{file.name}', but they are "
            f"{'x'.join(map(str, places.shape))}; the file and its config.json are of different models, download both."
        )
    return _filled(lambda: DenseFlow(config), state, file, what, dtype)


def _sparse_flow(state: State, file: Path, what: str, dtype: torch.dtype | None) -> SparseFlow:
    settings = read_settings(file.parent)
    config = read_config(lambda shapes: sparse_flow_config(shapes, settings), state, file, what)
    return _filled(lambda: SparseFlow(config), state, file, what, dtype)


def _sdf_decoder(state: State, file: Path, settings: Mapping[str, Any]) -> SdfDecoder:
    what = "a decoder of signed distances of Pixal3D-D"
    config = read_config(lambda shapes: sdf_decoder_config(shapes, settings), state, file, what)
    return fill(without_memory(lambda: SdfDecoder(config), file, what), state, file, what)


def _filled(build: Callable[[], Network], state: State, file: Path, what: str, dtype: torch.dtype | None) -> Network:
    if dtype not in (None, *FLOW_DTYPES):
        raise Bundle3DError(f"Expected float32 or bfloat16 for {what}, but got {dtype}; choose one.")
    stored = state["input_layer.weight"].dtype
    network = without_memory(build, file, what)
    return fill(network, state, file, what, dtype or (stored if stored in FLOW_DTYPES else torch.float32))
