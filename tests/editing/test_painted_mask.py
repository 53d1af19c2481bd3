"""Painted masks: what counts as painted, and what is refused before it is decoded."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from bundle3d.pipelines.editing.painted_mask import painted_mask
from bundle3d.pipelines.errors import Bundle3DError
from PIL import Image, ImageFile

SENTENCE = r"^Expected .*; .*\.$"
VALUES = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
WANTED = torch.from_numpy(VALUES).float() / 255.0


def grey() -> Image.Image:
    return Image.fromarray(VALUES)


def transparent() -> Image.Image:
    image = Image.new("RGBA", (4, 3), (255, 255, 255, 0))
    image.putalpha(grey())
    return image


@pytest.mark.parametrize(
    "image",
    [grey(), grey().convert("RGB"), grey().convert("RGBA"), transparent(), grey().convert("P")],
    ids=["grey", "rgb", "opaque", "transparent", "palette"],
)
def test_white_is_painted_and_black_or_transparent_is_not(image: Image.Image, tmp_path: Path) -> None:
    image.save(tmp_path / "mask.png")
    mask = painted_mask(tmp_path / "mask.png", (3, 4))
    assert mask.dtype == torch.float32 and torch.equal(mask, WANTED)


def test_16_bits_and_two_colours_are_read(tmp_path: Path) -> None:
    Image.fromarray(VALUES.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    assert torch.allclose(painted_mask(tmp_path / "deep.png", (3, 4)), WANTED, atol=1e-6)
    Image.fromarray(VALUES > 99).save(tmp_path / "bits.png")
    assert torch.equal(painted_mask(tmp_path / "bits.png", (3, 4)), (torch.from_numpy(VALUES) > 99).float())


def test_another_size_is_refused_with_both_sizes(tmp_path: Path) -> None:
    grey().save(tmp_path / "mask.png")
    with pytest.raises(Bundle3DError, match=SENTENCE) as refusal:
        painted_mask(tmp_path / "mask.png", (4, 3))
    assert "3 x 4 pixels" in str(refusal.value) and "mask.png has 4 x 3" in str(refusal.value)


def test_what_is_no_whole_png_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # as other packs leave it behind
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8))
    noise.save(tmp_path / "photo.jpg")
    noise.save(tmp_path / "whole.png")
    files = {
        "jpeg.png": (tmp_path / "photo.jpg").read_bytes(),
        "half.png": (tmp_path / "whole.png").read_bytes()[:2000],
        "text.png": b"no image",
        "empty.png": b"",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(Bundle3DError, match=rf"Expected .*{name} cannot be decoded.*; .*\.$"):
            painted_mask(tmp_path / name, (64, 64))
    with pytest.raises(Bundle3DError, match=SENTENCE):
        painted_mask(tmp_path / "none.png", (64, 64))


@pytest.mark.parametrize("side", [12_000, 60_000])
def test_a_header_that_claims_many_pixels_is_refused_undecoded(side: int, tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0))
    content = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(content)
    with pytest.raises(Bundle3DError, match=SENTENCE):
        painted_mask(tmp_path / "bomb.png", (64, 64))


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate((128 << 20) + (1 << 20))
    with pytest.raises(Bundle3DError, match="at most 128 MB, but huge"):
        painted_mask(tmp_path / "huge.png", (64, 64))
