"""The components that draw a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import Bundle3DError
from .holder import Holder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# What the InstantX and Shakker Union ControlNets call their modes (specs/kiss3dgen.md 3.6).
UNION_MODES: Mapping[str, int] = {"canny": 0, "tile": 1, "depth": 2, "blur": 3, "pose": 4, "gray": 5, "lq": 6}


@dataclass(frozen=True)
class ControlNet:
    """A FluxControlNetModel; ``union_modes`` are the ids of its uses, where one network has several."""

    holder: Holder
    union_modes: Mapping[str, int] | None = None

    @property
    def modes(self) -> Mapping[str, int] | None:
        """The ids of its modes; None for a network of one use, which gets no mode token."""
        network = self.holder.module
        if not network.union:
            return None
        return self.union_modes or {name: mode for name, mode in UNION_MODES.items() if mode < network.config.num_mode}

    @property
    def takes_pixels(self) -> bool:
        """Whether it encodes the control picture itself (XLabs), instead of taking the VAE's latents (InstantX)."""
        return bool(self.holder.module.input_hint_block is not None)


@dataclass(frozen=True)
class Redux:
    """A SiglipVisionModel and a ReduxImageEncoder, which turn a picture into words that FLUX reads."""

    embedder: Holder
    image_encoder: Holder


@dataclass(frozen=True)
class BundleModels:
    """A FluxTransformer2DModel, an AutoencoderKL, a CLIPTextModel and a T5EncoderModel with their tokenizers.

    ``shift`` is that of the folder's scheduler. LoRAs are PEFT layers in the components.
    """

    transformer: Holder
    vae: Holder
    text_encoder: Holder
    tokenizer: PreTrainedTokenizerBase
    text_encoder_2: Holder
    tokenizer_2: PreTrainedTokenizerBase
    redux: Redux | None = None
    shift: float = 3.0

    @property
    def pixels_per_token(self) -> int:
        """Side in pixels of the square that one image token stands for: 16 for FLUX."""
        return int(2 ** len(self.vae.module.config.block_out_channels))

    @property
    def latent_channels(self) -> int:
        """Channels of the latents: 16 for FLUX."""
        return int(self.transformer.module.config.in_channels // 4)


def check_models(models: BundleModels, networks: Sequence[ControlNet] = ()) -> None:
    """Raises Bundle3DError where components do not fit together, as those of different model families do not."""
    transformer = models.transformer.module.config
    fits = [
        ("number of latent channels of the VAE", models.vae.module.config.latent_channels, models.latent_channels),
        ("width of CLIP", models.text_encoder.module.config.hidden_size, transformer.pooled_projection_dim),
        ("width of T5", models.text_encoder_2.module.config.d_model, transformer.joint_attention_dim),
    ]
    for network in networks:
        config = network.holder.module.config
        fits += [
            ("width of the ControlNet", _width(config), _width(transformer)),
            ("number of channels of the ControlNet", config.in_channels, transformer.in_channels),
            ("width of the ControlNet's text", config.joint_attention_dim, transformer.joint_attention_dim),
        ]
    if models.redux is not None:
        config = models.redux.embedder.module.config
        fits.append(("width of Redux's words", config.txt_in_features, transformer.joint_attention_dim))
        _require_same(
            "width of the image encoder",
            models.redux.image_encoder.module.config.hidden_size,
            config.redux_dim,
            "Redux",
        )
    for what, got, expected in fits:
        _require_same(what, got, expected, "the transformer")


def _require_same(what: str, got: int, expected: int, by: str) -> None:
    if got != expected:
        raise Bundle3DError(
            f"Expected the {what} to be {expected}, as {by} needs it, but it is {got}; load components of one model "
            "family."
        )


def _width(config: Any) -> int:
    return int(config.num_attention_heads * config.attention_head_dim)
