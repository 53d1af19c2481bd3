"""The components of Pixal3D-D, and how each stage is sampled and shown the picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...diffusion.holder import Holder
from ...errors import Bundle3DError
from ..sampler import Sampling
from .sdf_decoder import FACTOR


@dataclass(frozen=True)
class StageModel:
    """A flow, the decoder of its latents, how to sample it, and whether it sees features as fine as the picture."""

    flow: Holder
    decoder: Holder
    sampling: Sampling
    upsampled: bool = False

    @property
    def resolution(self) -> int:
        """Of the lattice of its latents."""
        return int(self.flow.module.config.resolution)


@dataclass(frozen=True)
class Pixal3DDModels:
    """A DenseFlow with a StructureDecoder for the ``structure``, SparseFlows with SdfDecoders for shapes.

    ``encoder`` is a Dinov2WithRegistersModel, ``upsampler`` the FeatureUpsampler of stages that want one;
    ``scale_flow``, another DenseFlow, finds how large the object is. Raises Bundle3DError where components do not fit
    together.
    """

    encoder: Holder
    structure: StageModel
    coarse: StageModel
    fine: StageModel | None = None
    upsampler: Holder | None = None
    scale_flow: Holder | None = None

    def __post_init__(self) -> None:
        for name, found, expected in self._pairs():
            if found != expected:
                raise Bundle3DError(
                    f"Expected {name} to be {expected}, as the other parts of Pixal3D-D need it, but it is {found}; "
                    "load parts of one folder."
                )
        if self.upsampler is None and any(stage.upsampled for stage in self.stages.values()):
            raise Bundle3DError(
                "Expected NAF to upsample the picture's features, but it is not loaded; choose its file."
            )

    @property
    def stages(self) -> dict[str, StageModel]:
        """Those that there are, by name."""
        stages = {"structure": self.structure, "coarse": self.coarse, "fine": self.fine}
        return {name: stage for name, stage in stages.items() if stage is not None}

    def _pairs(self) -> Iterator[tuple[str, int, int]]:
        """What is, and what it has to be."""
        flows = {name: stage.flow for name, stage in self.stages.items()}
        if self.scale_flow is not None:
            flows["scale"] = self.scale_flow
        for name, flow in flows.items():
            seen = self.encoder.module.config.hidden_size
            yield f"the width of the image encoder for the {name} flow", seen, flow.module.config.condition_width
        decoder = self.structure.decoder.module
        yield (
            "the channels of the structure decoder",
            decoder.config.latent_channels,
            self.structure.flow.module.config.channels,
        )
        finer = decoder.factor * self.structure.resolution
        yield "the lattice of the coarse flow", self.coarse.resolution, finer
        for name, stage in self.stages.items():
            if name == "structure":
                continue
            config = stage.decoder.module.config
            yield f"the channels of the {name} decoder", config.channels, stage.flow.module.config.channels
            yield f"the lattice of the {name} decoder", config.resolution, stage.resolution
        if self.scale_flow is not None:
            own, scaled = self.structure.flow.module.config, self.scale_flow.module.config
            yield "the lattice of the scale flow", scaled.resolution, own.resolution
            yield "the channels of the scale flow", scaled.channels, own.channels

    @property
    def resolution(self) -> int:
        """Of the shapes that the models were made for."""
        return FACTOR * (self.fine or self.coarse).resolution
