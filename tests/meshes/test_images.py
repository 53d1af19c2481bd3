from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.images import TextureReader, encode_png, resize
from bundle3d.pipelines.meshes.limits import LIMITS, Limits
from PIL import Image


def encoded(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("channels", [3, 4])
def test_png_round_trip_is_lossless(channels: int) -> None:
    texture = torch.randint(0, 256, (5, 7, channels), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(TextureReader(LIMITS).decode(encode_png(texture), "t"), texture)


@pytest.mark.parametrize(
    ("image", "options", "pixel"),
    [
        (Image.new("L", (2, 2), 77), {}, [77, 77, 77]),
        (Image.new("LA", (2, 2), (77, 10)), {}, [77, 77, 77, 10]),
        (Image.new("1", (2, 2), 1), {}, [255, 255, 255]),
        (Image.fromarray(np.full((2, 2), 65535 // 5, np.uint16)), {}, [51, 51, 51]),
        (Image.new("RGB", (2, 2), (1, 2, 3)).quantize(4), {"transparency": 0}, [1, 2, 3, 0]),
    ],
    ids=["grey", "grey and alpha", "one bit", "16 bit", "palette"],
)
def test_other_modes(image: Image.Image, options: dict, pixel: list[int]) -> None:
    assert TextureReader(LIMITS).decode(encoded(image, **options), "t")[1, 1].tolist() == pixel


def test_pixels_of_all_textures_count_together() -> None:
    data = encoded(Image.new("RGB", (10, 10)))
    reader = TextureReader(Limits(texture_pixels=250))
    reader.decode(data, "first")
    reader.decode(data, "second")
    with pytest.raises(Bundle3DError, match="at most 250"):
        reader.decode(data, "third")
    with pytest.raises(Bundle3DError, match="10 x 10"):
        TextureReader(Limits(texture_side=9)).decode(data, "large")


def test_encoding_refuses_floats() -> None:
    with pytest.raises(Bundle3DError, match="uint8"):
        encode_png(torch.zeros(4, 4, 3))


def test_resize_keeps_constants_and_equal_sizes() -> None:
    texture = np.full((4, 6, 3), 9, np.uint8)
    assert resize(texture, 4, 6) is texture
    assert (resize(texture, 7, 3) == 9).all() and resize(texture, 7, 3).shape == (7, 3, 3)
