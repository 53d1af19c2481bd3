"""The components of Pixal3D, and how each stage is sampled and shown pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..diffusion.holder import Holder
from ..errors import Bundle3DError
from .normalisation import SHAPE_NORMALISATION, TEXTURE_NORMALISATION, Normalisation
from .sampler import SHAPE, STRUCTURE, TEXTURE, Sampling


@dataclass(frozen=True)
class Sight:
    """What a stage sees of pictures: their side in pixels, and that of the upsampled features, where it has them.

    Source: specs/pixal3d.md section 1.2.
    """

    size: int
    upsampled: int | None = None

    def __post_init__(self) -> None:
        if self.size < 1 or (self.upsampled is not None and not self.size <= 4 * self.upsampled):
            raise Bundle3DError(
                f"Expected pictures and features upsampled to at least a quarter of them, but got {self.size} and "
                f"{self.upsampled}; choose larger features."
            )


STRUCTURE_SIGHT = Sight(512)
SHAPE_SIGHT = Sight(512, 512)
FINE_SHAPE_SIGHT = Sight(1024, 512)
TEXTURE_SIGHT = Sight(1024, 1024)
# How the published flows are sampled and what they see, by stage.
DEFAULTS: dict[str, tuple[Sampling, Sight]] = {
    "structure": (STRUCTURE, STRUCTURE_SIGHT),
    "shape": (SHAPE, SHAPE_SIGHT),
    "fine_shape": (SHAPE, FINE_SHAPE_SIGHT),
    "texture": (TEXTURE, TEXTURE_SIGHT),
}


@dataclass(frozen=True)
class StageModel:
    """A FlowTransformer, how to sample it and what it sees."""

    flow: Holder
    sampling: Sampling
    sight: Sight


@dataclass(frozen=True)
class PictureModels:
    """What sees pictures: a DINOv3ViTModel as of `image_encoder`, and the FeatureUpsampler of stages that want one."""

    encoder: Holder
    upsampler: Holder | None


@dataclass(frozen=True)
class Pixal3DModels:
    """All components; without ``fine_shape`` and ``texture`` there are only coarse shapes.

    ``multiview``: the flows are those for several views. ``demo``: they are the small models that come with Bundle3D.
    Raises Bundle3DError where components do not fit together.
    """

    pictures: PictureModels
    structure: StageModel
    shape: StageModel
    structure_decoder: Holder
    shape_decoder: Holder
    fine_shape: StageModel | None = None
    texture: StageModel | None = None
    texture_decoder: Holder | None = None
    shape_normalisation: Normalisation = SHAPE_NORMALISATION
    texture_normalisation: Normalisation = TEXTURE_NORMALISATION
    multiview: bool = False
    demo: bool = False

    def __post_init__(self) -> None:
        for name, found, expected in self._pairs():
            if found != expected:
                raise Bundle3DError(
                    f"Expected {name} to be {expected}, as the other parts of Pixal3D need it, but it is {found}; load "
                    "parts of one model family."
                )

    @property
    def factor(self) -> int:
        """How many times finer a shape is than the lattice of its latents."""
        return int(self.shape_decoder.module.config.factor)

    @property
    def coarse_resolution(self) -> int:
        """Of a shape made by the first shape stage alone."""
        return self.factor * int(self.shape.flow.module.config.resolution)

    @property
    def resolution(self) -> int:
        """Of the shapes that the models were made for."""
        finest = self.fine_shape or self.shape
        return self.factor * int(finest.flow.module.config.resolution)

    def has_texture(self, resolution: int) -> bool:
        """Whether shapes of a resolution get a texture: they do unless they are coarser than what its flow knows."""
        if self.texture is None or self.texture_decoder is None:
            return False
        return resolution >= self.factor * int(self.texture.flow.module.config.resolution)

    def _pairs(self) -> Iterator[tuple[str, int, int]]:
        """What is, and what it has to be."""
        seen = self.pictures.encoder.module.config.hidden_size
        stages = {"structure": self.structure, "shape": self.shape, "fine shape": self.fine_shape,
                  "texture": self.texture}  # fmt: skip
        for name, stage in stages.items():
            if stage is not None:
                config, maps = stage.flow.module.config, 1 + (stage.sight.upsampled is not None)
                yield f"the width of the image encoder for the {name} flow", seen, config.condition_width
                yield f"the width of the picture's features for the {name} flow", maps * seen, config.projected_width
        channels = self.structure.flow.module.config.out_channels
        yield "the channels of the structure decoder", self.structure_decoder.module.config.latent_channels, channels
        latents = self.shape_decoder.module.config.latent_channels
        for name, stage in (("shape", self.shape), ("fine shape", self.fine_shape)):
            if stage is not None:
                yield f"the channels of the {name} flow", stage.flow.module.config.out_channels, latents
        yield "the number of normalised shape channels", len(self.shape_normalisation.mean), latents
        if self.texture is not None and self.texture_decoder is not None:
            config, decoder = self.texture.flow.module.config, self.texture_decoder.module.config
            yield "the output channels of the texture flow", config.out_channels, decoder.latent_channels
            yield "the input channels of the texture flow", config.in_channels, decoder.latent_channels + latents
            normalised = len(self.texture_normalisation.mean)
            yield "the number of normalised texture channels", normalised, decoder.latent_channels
            yield "the refinement of the texture decoder", decoder.factor, self.factor
