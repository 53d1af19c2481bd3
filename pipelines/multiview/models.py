"""The components that draw further views of an object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..diffusion.holder import Holder
from ..errors import Bundle3DError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class PictureProcessing:
    """How a picture is made ready for a network: its shortest side and the square cut from its middle, in pixels.

    Values are (colour - ``mean``) / ``std``, channel by channel; ``filter`` is torch's name of the resampling filter.
    """

    shortest: int
    crop: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    filter: str = "bicubic"


@dataclass(frozen=True)
class MultiviewModels:
    """A UNet2DConditionModel, an AutoencoderKL, a CLIPTextModel with its tokenizer, a CLIPVisionModelWithProjection.

    ``ramp`` is how much the picture's embedding adds to each of the prompt's tokens; ``scheduler`` is the configuration
    of diffusers' EulerAncestralDiscreteScheduler. The UNet is one that ``attend_to_references`` prepared. ``demo``:
    they are the small models that come with Bundle3D.
    """

    unet: Holder
    vae: Holder
    text_encoder: Holder
    tokenizer: PreTrainedTokenizerBase
    vision_encoder: Holder
    ramp: tuple[float, ...]
    scheduler: Mapping[str, Any]
    for_vae: PictureProcessing
    for_vision: PictureProcessing
    demo: bool = False


def check_models(models: MultiviewModels) -> None:
    """Raises Bundle3DError where components do not fit together, as those of different model families do not."""
    unet, vae = models.unet.module.config, models.vae.module.config
    positions = models.text_encoder.module.config.max_position_embeddings
    pairs = (
        ("number of latent channels of the VAE", vae.latent_channels, unet.in_channels),
        ("width of the CLIP text encoder", models.text_encoder.module.config.hidden_size, unet.cross_attention_dim),
        ("width of the image embedding", models.vision_encoder.module.config.projection_dim, unet.cross_attention_dim),
        ("number of ramping coefficients", len(models.ramp), min(positions, models.tokenizer.model_max_length)),
        ("size of the picture for CLIP", models.for_vision.crop, models.vision_encoder.module.config.image_size),
    )
    for name, got, expected in pairs:
        if got != expected:
            raise Bundle3DError(
                f"Expected the {name} to be {expected}, as the other parts need it, but it is {got}; load components "
                "of one model family."
            )
