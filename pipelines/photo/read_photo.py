"""Image files as cameras, phones and editors write them, read within bounds into sRGB."""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageCms, ImageFile

from ..errors import Bundle3DError

FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "TIFF", "TGA", "AVIF")
LARGEST_FILE = 512 << 20  # bytes
MOST_PIXELS = 150_000_000  # 12,000 x 12,000 and a little more; Pillow holds 4 bytes of each
SMALLEST = 16  # pixels on the shorter side
LONGEST = 2048  # pixels on the longer side
SPARE = 1.5  # how much larger than wanted an image is left by the coarse reduction, for the fine one to work on
STRIP = 256  # rows of the coarsely reduced image that are made at a time

HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1")  # mif1 alone may also be AVIF
EXIF_ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
PROFILED = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # colour spaces of ICC profiles, and Pillow's modes for them


@dataclass(frozen=True)
class Photo:
    """``rgb`` (H, W, 3) float32 sRGB in [0, 1]; ``alpha`` (H, W) float32, None where the file says nothing of what is
    object and what is not; ``notes``, sentences on what was done to the file's pixels on the way.
    """

    rgb: torch.Tensor
    alpha: torch.Tensor | None
    notes: tuple[str, ...] = ()


def read_photo(path: Path, longest: int = LONGEST) -> Photo:
    """The upright image in a file in sRGB, at most ``longest`` pixels a side.

    The first frame of an animation; colour profiles applied; every bit depth. Memory: JPEGs are reduced while they are
    decoded; of other formats all pixels are in memory at once, and all further work is on the reduced image. Measured
    with 12,000 x 12,000 pixels: JPEG 0.3 GB, PNG 0.8 GB, WebP, whose decoder copies, 2.2 GB. Raises Bundle3DError for
    what is no image, damaged, smaller than 16 pixels on a side or in all larger than 150 million pixels.
    """
    name = path.name
    _check_file(path)
    try:
        with strictly(), Image.open(path, formats=_known_formats()) as image:
            _check_size(image, name)
            return _photo(image, longest)
    except Image.DecompressionBombError as error:
        raise Bundle3DError(_too_large(name, "more")) from error
    except (Bundle3DError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise many kinds of exception on damaged data
        raise Bundle3DError(
            f"Expected a PNG, JPEG, WebP, GIF, TIFF or BMP image, but {name} cannot be decoded: it is damaged, "
            "incomplete or of another kind; save it again as PNG or JPEG."
        ) from error


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise Bundle3DError(f"Expected an image file, but {path.name} is not there; choose another one.")
    if path.stat().st_size > LARGEST_FILE:
        raise Bundle3DError(
            f"Expected an image file of at most {LARGEST_FILE >> 20} MB, but {path.name} has "
            f"{path.stat().st_size >> 20}; save it smaller."
        )
    with path.open("rb") as file:
        head = file.read(64)
    if head[4:8] == b"ftyp" and any(brand in head[8:] for brand in HEIC_BRANDS) and b"avif" not in head:
        raise Bundle3DError(
            f"Expected a PNG, JPEG, WebP, GIF, TIFF or BMP image, but {path.name} is HEIC; save it as JPEG."
        )


def _check_size(image: Image.Image, name: str) -> None:
    width, height = image.size
    if min(width, height) < SMALLEST:
        raise Bundle3DError(
            f"Expected a photo of at least {SMALLEST} x {SMALLEST} pixels, but {name} has {width} x {height}; choose a "
            "larger one."
        )
    if width * height > MOST_PIXELS:
        raise Bundle3DError(_too_large(name, f"{width:,} x {height:,}"))


def _too_large(name: str, found: str) -> str:
    return f"Expected a photo of at most {MOST_PIXELS:,} pixels, but {name} has {found}; scale it down."


def _known_formats() -> list[str]:
    """Those of the formats that this Pillow can open."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


@contextlib.contextmanager
def strictly() -> Iterator[None]:
    """Incomplete files are errors, whatever other packs have set; our own bound stands for Pillow's warning."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _photo(image: Image.Image, longest: int) -> Photo:
    notes = []
    if image.format != "MPO" and getattr(image, "is_animated", False):  # an MPO is one photo with its by-products
        notes.append("The file holds several frames; the first one is taken.")
    if image.mode in ("RGB", "RGBA", "LA") and any("16" in str(t[3]) for t in getattr(image, "tile", ())):
        notes.append("Of 16 bits per colour channel the upper 8 are read.")
    size, wanted = image.size, _fitting(image.size, longest)
    small = _reduced(image, wanted)
    profile, orientation = image.info.get("icc_profile"), image.getexif().get(EXIF_ORIENTATION, 1)
    if wanted != size:
        notes.append(f"Reduced from {size[0]} x {size[1]} to {wanted[0]} x {wanted[1]} pixels.")
    if orientation in UPRIGHT:
        small = small.transpose(UPRIGHT[orientation])
        notes.append("Turned upright, as the file's EXIF data say.")
    converted = _in_srgb(small, profile, notes)
    rgb, alpha = _tensors(converted)
    return Photo(rgb, alpha, tuple(notes))


def _fitting(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """A size of the same shape whose longer side is at most ``longest``."""
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _reduced(image: Image.Image, wanted: tuple[int, int]) -> Image.Image:
    """The image in a size, in mode L, RGB, RGBA, CMYK or F (16-bit grey in [0, 1])."""
    width, height = image.size
    image.draft(None, (math.ceil(SPARE * wanted[0]), math.ceil(SPARE * wanted[1])))  # JPEGs, while they are decoded
    by_decoder = max(1, round(width / image.width))
    factor = max(1, int(image.width / (SPARE * wanted[0])))
    small = _averaged(image, factor) if factor > 1 else _plain(image)
    if small.size == wanted:
        return small
    by = by_decoder * factor  # the last row and column of the small image may lie partly outside of the image
    return small.resize(wanted, Image.Resampling.LANCZOS, box=(0.0, 0.0, width / by, height / by))


def _averaged(image: Image.Image, factor: int) -> Image.Image:
    """The image reduced by a whole factor, strip by strip, so that it is in memory only once."""
    strips, rows = [], STRIP * factor
    for top in range(0, image.height, rows):
        strip = _plain(image.crop((0, top, image.width, min(top + rows, image.height))))
        strips.append(strip.reduce(factor))
    whole = Image.new(strips[0].mode, (strips[0].width, sum(strip.height for strip in strips)))
    for index, strip in enumerate(strips):
        whole.paste(strip, (0, index * STRIP))
    return whole


def _plain(image: Image.Image) -> Image.Image:
    """The image in a mode that colours can be averaged in."""
    if image.mode.startswith("I"):  # 16-bit grey, which convert() would clip instead of scale
        return Image.fromarray(np.asarray(image).astype(np.float32) / 65535.0)
    if image.mode == "F":
        raise Bundle3DError("Expected an image with 8 or 16 bits per channel, but it has floats; save it as PNG.")
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode in ("L", "RGB", "CMYK") else image.convert("L" if image.mode == "1" else "RGB")


def _in_srgb(image: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    """The image in sRGB, in mode L, RGB or RGBA; 16-bit grey stays as it is."""
    if profile and image.mode != "F":
        try:
            return _with_profile(image, ImageCms.ImageCmsProfile(io.BytesIO(profile)))
        except (ImageCms.PyCMSError, OSError, KeyError):
            notes.append("The file's colour profile cannot be read; its colours are taken as sRGB.")
    if image.mode == "CMYK":
        notes.append("CMYK without a usable profile: colours in print differ, so they are approximate.")
        return image.convert("RGB")
    return image


def _with_profile(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    """Raises KeyError where the profile is not for this kind of image."""
    mode = PROFILED[profile.profile.xcolor_space.strip()]
    if (mode == "CMYK") != (image.mode == "CMYK"):
        raise KeyError(mode)
    colors = image if image.mode == mode else image.convert("RGB").convert(mode)
    converted = ImageCms.profileToProfile(colors, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None  # None only where it works in place
    if image.mode == "RGBA":
        converted.putalpha(image.getchannel("A"))
    return converted


def _tensors(image: Image.Image) -> tuple[torch.Tensor, torch.Tensor | None]:
    if image.mode == "F":
        grey = torch.from_numpy(np.array(image)).clamp(0.0, 1.0)
        return grey[..., None].repeat(1, 1, 3), None
    pixels = torch.from_numpy(np.array(image.convert("RGBA" if image.mode == "RGBA" else "RGB")))
    values = pixels.to(torch.float32) / 255.0
    opaque = pixels.shape[2] == 3 or bool((pixels[..., 3] == 255).all())
    return values[..., :3].contiguous(), None if opaque else values[..., 3].contiguous()
