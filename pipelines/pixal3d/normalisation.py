"""Mean and deviation of the latents of shape and texture, which the flows draw normalised.

Those of the published model; a folder's pipeline.json may state others. Source: specs/pixal3d.md section 3.7.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..errors import Bundle3DError


@dataclass(frozen=True)
class Normalisation:
    """``mean`` and ``std`` of each latent channel. Raises Bundle3DError where they are not as many, or not positive."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.std or not min(self.std) > 0:
            raise Bundle3DError(
                f"Expected as many means as positive deviations of latents, but got {len(self.mean)} and "
                f"{len(self.std)}; use the published pipeline.json."
            )

    def latents(self, drawn: torch.Tensor) -> torch.Tensor:
        """(N, C) latents of what a flow drew."""
        mean, std = self._as(drawn)
        return drawn * std + mean

    def drawn(self, latents: torch.Tensor) -> torch.Tensor:
        """(N, C): the inverse of ``latents``."""
        mean, std = self._as(latents)
        return (latents - mean) / std

    def _as(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if values.shape[-1] != len(self.mean):
            raise Bundle3DError(
                f"Expected latents of {len(self.mean)} channels, but got {tuple(values.shape)}; use this stage's."
            )
        return values.new_tensor(self.mean), values.new_tensor(self.std)


SHAPE_NORMALISATION = Normalisation(
    mean=(
        0.781296, 0.018091, -0.495192, -0.558457, 1.060530, 0.093252, 1.518149, -0.933218,
        -0.732996, 2.604095, -0.118341, -2.143904, 0.495076, -2.179512, -2.130751, -0.996944,
        0.261421, -2.217463, 1.260067, -0.150213, 3.790713, 1.481266, -1.046058, -1.523667,
        -0.059621, 2.220780, 1.621212, 0.877230, 0.567247, -3.175944, -3.186688, 1.578665,
    ),
    std=(
        5.972266, 4.706852, 5.445010, 5.209927, 5.320220, 4.547237, 5.020802, 5.444004,
        5.226681, 5.683095, 4.831436, 5.286469, 5.652043, 5.367606, 5.525084, 4.730578,
        4.805265, 5.124013, 5.530808, 5.619001, 5.103930, 5.417670, 5.269677, 5.547194,
        5.634698, 5.235274, 6.110351, 5.511298, 6.237273, 4.879207, 5.347008, 5.405691,
    ),
)  # fmt: skip
TEXTURE_NORMALISATION = Normalisation(
    mean=(
        3.501659, 2.212398, 2.226094, 0.251093, -0.026248, -0.687364, 0.439898, -0.928075,
        0.029398, -0.339596, -0.869527, 1.038479, -0.972385, 0.126042, -1.129303, 0.455149,
        -1.209521, 2.069067, 0.544735, 2.569128, -0.323407, 2.293000, -1.925608, -1.217717,
        1.213905, 0.971588, -0.023631, 0.106750, 2.021786, 0.250524, -0.662387, -0.768862,
    ),
    std=(
        2.665652, 2.743913, 2.765121, 2.595319, 3.037293, 2.291316, 2.144656, 2.911822,
        2.969419, 2.501689, 2.154811, 3.163343, 2.621215, 2.381943, 3.186697, 3.021588,
        2.295916, 3.234985, 3.233086, 2.260140, 2.874801, 2.810596, 3.292720, 2.674999,
        2.680878, 2.372054, 2.451546, 2.353556, 2.995195, 2.379849, 2.786195, 2.775190,
    ),
)  # fmt: skip
