"""A scene whose every pixel is known, written as the kinds of file that cameras, phones and editors write."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image

HEIGHT, WIDTH = 40, 64
BACKGROUND = (250, 250, 250)
OBJECT = (200, 40, 30)
BOX = (12, 8, 44, 36)  # left, top, right, bottom of the object


def scene(
    boxes: tuple[tuple[int, int, int, int], ...] = (BOX,), shape: tuple[int, int] = (HEIGHT, WIDTH)
) -> np.ndarray:
    """(H, W, 3) uint8: rectangles of one colour before a plain background."""
    image = np.empty((*shape, 3), dtype=np.uint8)
    image[:] = BACKGROUND
    for left, top, right, bottom in boxes:
        image[top:bottom, left:right] = OBJECT
    return image


def mask(boxes: tuple[tuple[int, int, int, int], ...] = (BOX,), shape: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """(H, W) uint8: 255 on the rectangles."""
    image = np.zeros(shape, dtype=np.uint8)
    for left, top, right, bottom in boxes:
        image[top:bottom, left:right] = 255
    return image


def rgba() -> Image.Image:
    """The scene with the object's mask as alpha."""
    return Image.fromarray(np.dstack([scene(), mask()]))


def values(image: np.ndarray) -> torch.Tensor:
    """uint8 as float in [0, 1]."""
    return torch.from_numpy(image).to(torch.float32) / 255.0


def write_png16(path: Path, image: np.ndarray) -> None:
    """A PNG of 16 bits per channel of (H, W, 1 grey, 3 RGB or 4 RGBA) uint16, which Pillow cannot write in colour."""
    height, width, channels = image.shape
    kind = {1: 0, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in image)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def write_bomb(path: Path, side: int) -> None:
    """A PNG that claims ``side`` x ``side`` pixels in a few bytes."""
    write_png16(path, np.zeros((1, 1, 1), dtype=np.uint16))
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", side, side)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    path.write_bytes(bytes(data))
