"""The optimisers of trainings: AdamW, and Muon for the matrices of those networks that it serves better.

Source: Jordan et al. 2024, Muon: An optimizer for hidden layers in neural networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from ..errors import Bundle3DError

BETAS = (0.9, 0.99)
MUON_SHARE = 20.0  # Muon's learning rate over AdamW's


class Optimizer:
    """AdamW for the trainable weights of ``module``, and Muon for the matrices whose names ``is_hidden`` takes.

    Raises Bundle3DError where Muon is asked for and this torch has none.
    """

    def __init__(
        self, module: torch.nn.Module, weight_decay: float, is_hidden: Callable[[str], bool] | None = None
    ) -> None:
        named = [(name, weight) for name, weight in module.named_parameters() if weight.requires_grad]
        matrices = [w for name, w in named if is_hidden is not None and w.ndim == 2 and is_hidden(name)]
        chosen = {id(weight) for weight in matrices}
        rest = [weight for _, weight in named if id(weight) not in chosen]
        self.weights = [weight for _, weight in named]
        self.parts: dict[str, torch.optim.Optimizer] = {
            "adamw": torch.optim.AdamW(rest, betas=BETAS, weight_decay=weight_decay, fused=True)
        }
        if matrices:
            if not hasattr(torch.optim, "Muon"):
                raise Bundle3DError(
                    f"Expected torch 2.9 or newer, whose Muon this training uses, but got {torch.__version__}; update "
                    "torch."
                )
            self.parts["muon"] = torch.optim.Muon(matrices, weight_decay=weight_decay)

    def step(self, rate: float) -> None:
        """Moves the weights along their gradients, and drops these."""
        for name, part in self.parts.items():
            for group in part.param_groups:
                group["lr"] = rate * (MUON_SHARE if name == "muon" else 1.0)
            part.step()
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """What ``load_state_dict`` goes on from."""
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from what ``state_dict`` gave. Raises Bundle3DError where other optimisers made it."""
        if set(state) != set(self.parts):
            raise Bundle3DError(
                f"Expected the state of the optimisers {', '.join(self.parts)}, but got that of {', '.join(state)}; "
                "remove the training state or choose another folder."
            )
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
