"""Texture images inside files: bounded decoding and lossless encoding."""

from __future__ import annotations

import io
import warnings

import numpy as np
import torch
from PIL import Image

from ..errors import Bundle3DError
from .limits import Limits

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TGA")


class TextureReader:
    """Decodes the images of one file and counts their pixels against the limits before it decodes any."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self.count, self.pixels = limits, 0, 0

    def decode(self, data: bytes, name: str) -> torch.Tensor:
        """(H, W, 3) uint8, or (H, W, 4) where the image has alpha, of an encoded image called ``name`` in messages.

        Raises Bundle3DError for unknown formats, damaged data and images beyond the limits.
        """
        self.count += 1
        self.limits.check("textures", self.count, "textures")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                    self._count_pixels(image.width, image.height, name)
                    return torch.from_numpy(_to_bytes(image))
        except Image.DecompressionBombError as error:
            most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
            raise Bundle3DError(f"Expected at most {most:,} pixels, but {name} has more; scale it down.") from error
        except Bundle3DError:
            raise
        except Exception as error:  # Pillow's decoders raise many kinds of exception on damaged data
            raise Bundle3DError(
                f"Expected a PNG, JPEG, WebP, BMP or TGA image, but {name} cannot be decoded; replace the texture."
            ) from error

    def _count_pixels(self, width: int, height: int, name: str) -> None:
        side = self.limits.texture_side
        if max(width, height) > side:
            raise Bundle3DError(
                f"Expected textures of at most {side} pixels a side, but {name} has {width} x {height}; scale it down."
            )
        self.pixels += width * height
        self.limits.check("texture_pixels", self.pixels, "texture pixels")


def _to_bytes(image: Image.Image) -> np.ndarray:
    """(H, W, 3 or 4) uint8 of any Pillow mode."""
    if image.mode.startswith("I") or image.mode == "F":  # 16-bit grey, which convert() would clip instead of scale
        grey = np.asarray(image, dtype=np.float64)
        grey = np.rint(np.clip(grey / 65535.0, 0.0, 1.0) * 255.0).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=-1)
    has_alpha = "A" in image.getbands() or "transparency" in image.info
    return np.array(image.convert("RGBA" if has_alpha else "RGB"))


def encode_png(texture: torch.Tensor) -> bytes:
    """PNG of a uint8 texture (H, W, 3 or 4)."""
    if texture.dtype != torch.uint8 or texture.ndim != 3 or texture.shape[2] not in (3, 4) or not texture.numel():
        raise Bundle3DError(
            f"Expected a uint8 texture of shape (H, W, 3) or (H, W, 4), but got {texture.dtype} "
            f"{tuple(texture.shape)}; convert the texture."
        )
    buffer = io.BytesIO()
    Image.fromarray(texture.detach().cpu().numpy()).save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def resize(texture: np.ndarray, height: int, width: int) -> np.ndarray:
    """A uint8 texture (H, W, C) scaled bilinearly to another size."""
    if texture.shape[:2] == (height, width):
        return texture
    bands = [Image.fromarray(np.ascontiguousarray(texture[..., i])) for i in range(texture.shape[2])]
    return np.stack([np.asarray(band.resize((width, height), Image.Resampling.BILINEAR)) for band in bands], axis=-1)
