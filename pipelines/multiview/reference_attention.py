"""Self-attention that also looks at another picture. Source: specs/kiss3dgen.md 3.2 (c).

A UNet runs twice. The first run, on the reference picture, keeps what every self-attention layer takes in; in the
second one these layers attend to their own input followed by what was kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0

KEYWORD = "reference"  # under which a Reference is among the UNet's cross_attention_kwargs


@dataclass
class Reference:
    """Inputs (B, tokens, width) of the self-attention layers by name; ``writing`` while the first run fills it."""

    states: dict[str, torch.Tensor] = field(default_factory=dict)
    writing: bool = True


class ReferenceAttention(AttnProcessor2_0):
    """Attention that, under a ``name``, keeps its input in a Reference or attends to the one that is kept there.

    Without a name it has nothing to do with the Reference, which diffusers hands to every layer.
    """

    def __init__(self, name: str | None = None) -> None:
        super().__init__()
        self.name = name

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
        reference: Reference | None = None,
    ) -> torch.Tensor:
        if reference is not None and self.name is not None:
            if reference.writing:
                reference.states[self.name] = hidden_states
            else:
                encoder_hidden_states = torch.cat([hidden_states, reference.states[self.name]], dim=1)
        result: torch.Tensor = super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        return result


def attend_to_references(unet: Any) -> None:
    """Gives a UNet2DConditionModel processors that understand a Reference; without one it computes as before."""
    unet.set_attn_processor(
        {name: ReferenceAttention(name if name.endswith("attn1.processor") else None) for name in unet.attn_processors}
    )


def predict(
    unet: Any, latents: torch.Tensor, reference: torch.Tensor, timestep: torch.Tensor, tokens: torch.Tensor
) -> torch.Tensor:
    """What a UNet that ``attend_to_references`` prepared predicts for ``latents`` (B, C, H, W) beside ``reference``.

    ``reference`` (B, C, h, w) are noised as ``latents`` are; both runs read the same ``tokens`` (B, L, D).
    """
    kept = Reference()
    unet(reference, timestep, tokens, cross_attention_kwargs={KEYWORD: kept}, return_dict=False)
    kept.writing = False
    prediction: torch.Tensor = unet(
        latents, timestep, tokens, cross_attention_kwargs={KEYWORD: kept}, return_dict=False
    )[0]
    return prediction
