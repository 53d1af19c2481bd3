"""Textures with mip levels, filtered in linear light."""

from __future__ import annotations

import threading

import torch

from ..kernels import resolve_backend
from .color import srgb_to_linear
from .mipmaps_numba import halve_image, sample_levels

# Levels are chosen this much sharper than one texel per sample; supersampling removes what aliases.
LEVEL_BIAS = -0.5
TEXELS_PER_STRIP = 1 << 20  # of the first level


class Texture:
    """A uint8 image (H, W, C) with mip levels; ``srgb`` images are filtered and returned as linear light.

    Several threads may ask at once. ``backend`` as in ``resolve_backend``.
    """

    def __init__(
        self, image: torch.Tensor, srgb: bool, repeat: bool, device: torch.device, backend: str = "auto"
    ) -> None:
        self.image, self.repeat, self.backend = image.to(device), repeat, backend
        steps = torch.arange(256, dtype=torch.float32, device=device) / 255.0
        self.decode = torch.stack(
            [srgb_to_linear(steps) if srgb and i < 3 else steps for i in range(image.shape[-1])], -1
        )
        self._lock = threading.Lock()
        self._pyramid: torch.Tensor | None = None

    def sample(self, uv: torch.Tensor, uv_step: torch.Tensor) -> torch.Tensor:
        """Trilinear values (P, C) at ``uv`` (P, 2), v = 0 at the first row, of samples ``uv_step`` (P,) apart."""
        if resolve_backend(self.backend, uv) == "numba":
            return self._sample_numba(uv, uv_step)
        height, width = self.image.shape[:2]
        texels = (uv_step * (height * width) ** 0.5).clamp(min=1e-6)
        level = (torch.log2(texels) + LEVEL_BIAS).clamp(0.0, float(len(self._sizes()) - 1))
        base = level.floor()
        result = uv.new_zeros(uv.shape[0], self.image.shape[-1])
        for value in base.unique().tolist():
            chosen = (base == value).nonzero().squeeze(1)
            share = (level[chosen] - value)[:, None]
            colors = self._bilinear(uv[chosen], int(value))
            if bool((share > 0.0).any()):
                colors = torch.lerp(colors, self._bilinear(uv[chosen], int(value) + 1), share)
            result[chosen] = colors
        return result

    def _sample_numba(self, uv: torch.Tensor, uv_step: torch.Tensor) -> torch.Tensor:
        height, width, channels = self.image.shape
        smooth = bool((uv_step * (height * width) ** 0.5 * 2.0**LEVEL_BIAS > 1.0).any())
        pyramid = self.pyramid() if smooth else self.decode.new_empty(0, channels)
        result = torch.empty(uv.shape[0], channels, device="cpu")
        tensors = (self.image, pyramid, self._starts(), self.decode, uv, uv_step)
        image, texels, starts, decode, at, step = (tensor.detach().contiguous().numpy() for tensor in tensors)
        sample_levels(image, texels, starts, decode, self.repeat, LEVEL_BIAS, at, step, result.numpy())
        return result

    def pyramid(self) -> torch.Tensor:
        """The texels (T, C) of all levels but the first, one level after the other; made once."""
        with self._lock:
            if self._pyramid is None:
                self._pyramid = self._halvings()
            return self._pyramid

    def _halvings(self) -> torch.Tensor:
        sizes, channels = self._sizes()[1:], self.image.shape[-1]
        texels = self.decode.new_empty(sum(height * width for height, width in sizes), channels)
        start, above = 0, self.image
        for height, width in sizes:
            level = texels[start : start + height * width].view(height, width, channels)
            level.copy_(_halved(above)) if start else self._halve_image(level)
            start, above = start + height * width, level
        return texels

    def _halve_image(self, level: torch.Tensor) -> None:
        """Fill the level below the image, strip by strip because what is decoded takes twelve times the memory."""
        if resolve_backend(self.backend, self.decode) == "numba":
            halve_image(self.image.contiguous().numpy(), self.decode.numpy(), level.numpy())
            return
        height, width = self.image.shape[:2]
        rows, strip = level.shape[0], max(TEXELS_PER_STRIP // width, 1)
        for top in range(0, rows, strip):
            end = min(top + strip, rows)
            # of an odd number of rows each one of the level covers three, so strips overlap
            level[top:end] = _halved(self._decoded(self.image[2 * top : 2 * end + height % 2]))

    def _sizes(self) -> list[tuple[int, int]]:
        """Height and width of every level, from the image to one texel."""
        height, width = self.image.shape[:2]
        count = max(height, width).bit_length()
        return [(max(height >> level, 1), max(width >> level, 1)) for level in range(count)]

    def _starts(self) -> torch.Tensor:
        """(L, 3) where each level begins in the pyramid, -1 for the image, its height and its width."""
        rows, start = [], 0
        for level, (height, width) in enumerate(self._sizes()):
            rows.append((start if level else -1, height, width))
            start += height * width if level else 0
        return torch.tensor(rows)

    def _decoded(self, texels: torch.Tensor) -> torch.Tensor:
        channels = torch.arange(texels.shape[-1], device=texels.device)
        return self.decode[texels.long(), channels]

    def _bilinear(self, uv: torch.Tensor, level: int) -> torch.Tensor:
        start, height, width = self._starts()[min(level, len(self._sizes()) - 1)].tolist()
        flat = self.image.reshape(-1, self.image.shape[-1])
        if start >= 0:
            flat = self.pyramid()[start : start + height * width]
        x, y = uv[:, 0] * width - 0.5, uv[:, 1] * height - 0.5
        left, top = x.floor(), y.floor()
        right, down = (x - left)[:, None], (y - top)[:, None]

        def texel(dy: int, dx: int) -> torch.Tensor:
            column, row = self._inside(left + dx, width), self._inside(top + dy, height)
            values = flat.index_select(0, row * width + column)
            return values if start >= 0 else self._decoded(values)

        upper = torch.lerp(texel(0, 0), texel(0, 1), right)
        return torch.lerp(upper, torch.lerp(texel(1, 0), texel(1, 1), right), down)

    def _inside(self, place: torch.Tensor, size: int) -> torch.Tensor:
        return place.long() % size if self.repeat else place.long().clamp(0, size - 1)


def _halved(image: torch.Tensor) -> torch.Tensor:
    """The mean of each two by two texels of an image (H, W, C)."""
    size = (max(image.shape[0] // 2, 1), max(image.shape[1] // 2, 1))
    return torch.nn.functional.interpolate(image.permute(2, 0, 1)[None], size=size, mode="area")[0].permute(1, 2, 0)
