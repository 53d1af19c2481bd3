"""Every kind of image file comes out as the scene that was put in, or is refused in one sentence."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.photo import read_photo as reading
from bundle3d.pipelines.photo.read_photo import read_photo
from PIL import Image, ImageCms, ImageFile

from .image_files import BACKGROUND, BOX, HEIGHT, OBJECT, WIDTH, mask, rgba, scene, values, write_bomb, write_png16

SENTENCE = r"^Expected .*; .*\.$"


def error(found: torch.Tensor, expected: np.ndarray) -> float:
    """The largest difference in 8-bit steps."""
    assert found.shape == expected.shape and found.dtype == torch.float32
    return float((found - values(expected)).abs().max()) * 255


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "webp"])
def test_lossless_files_come_out_exactly(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"scene.{suffix}"
    Image.fromarray(scene()).save(file, lossless=True)
    photo = read_photo(file)
    assert error(photo.rgb, scene()) < 1e-3
    assert photo.alpha is None and photo.notes == ()


def test_alpha_comes_along_and_opaque_alpha_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "scene.png"
    rgba().save(file)
    photo = read_photo(file)
    assert photo.alpha is not None and error(photo.alpha, mask()) < 1e-3
    Image.fromarray(scene()).convert("RGBA").save(file)
    assert read_photo(file).alpha is None


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits(tmp_path: Path, channels: int) -> None:
    file = tmp_path / "deep.png"
    ramp = np.linspace(0, 65535, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH, 1)
    write_png16(file, np.repeat(ramp, channels, axis=2))
    photo = read_photo(file)
    truth = torch.from_numpy(ramp.astype(np.float32) / 65535).expand(-1, -1, 3)
    exact = channels == 1
    assert float((photo.rgb - truth).abs().max()) < (1e-6 if exact else 1 / 255)
    assert (photo.alpha is not None) == (channels == 4)
    assert any("16 bits" in note for note in photo.notes) != exact


def test_cmyk_jpeg_without_profile_is_near_and_says_so(tmp_path: Path) -> None:
    file = tmp_path / "print.jpg"
    Image.fromarray(scene()).convert("CMYK").save(file, quality=95)
    photo = read_photo(file)
    inside = photo.rgb[BOX[1] + 4 : BOX[3] - 4, BOX[0] + 4 : BOX[2] - 4]
    assert error(inside.mean(dim=(0, 1)), np.array(OBJECT, dtype=np.uint8)) < 4
    assert any("CMYK" in note for note in photo.notes)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_exif_rotations_come_out_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    file = tmp_path / f"turned.{suffix}"
    upright = Image.fromarray(scene())
    back = {6: 8, 8: 6}.get(orientation, orientation)  # the others are their own inverse
    stored = upright.transpose(reading.UPRIGHT[back]) if back > 1 else upright
    exif = Image.Exif()
    exif[reading.EXIF_ORIENTATION] = orientation
    stored.save(file, exif=exif, quality=98, subsampling=0)
    photo = read_photo(file)
    assert error(photo.rgb, scene()) < (24 if suffix == "jpg" else 1e-3)
    assert photo.notes == (() if orientation == 1 else ("Turned upright, as the file's EXIF data say.",))


def test_palette_with_alpha(tmp_path: Path) -> None:
    file = tmp_path / "palette.png"
    paletted = Image.fromarray((mask() > 0).astype(np.uint8)).convert("P")
    paletted.putpalette([*BACKGROUND, *OBJECT])
    paletted.save(file, transparency=bytes([0, 128]))
    with Image.open(file) as stored:
        assert stored.mode == "P"
    photo = read_photo(file)
    assert error(photo.rgb, scene()) < 1e-3
    assert photo.alpha is not None and error(photo.alpha, (mask() > 0).astype(np.uint8) * 128) < 1e-3


def test_one_transparent_colour_is_alpha(tmp_path: Path) -> None:
    file = tmp_path / "key.png"
    Image.fromarray(scene()).save(file, transparency=BACKGROUND)
    alpha = read_photo(file).alpha
    assert alpha is not None and error(alpha, mask()) < 1e-3


@pytest.mark.parametrize("suffix", ["webp", "gif", "png"])
def test_the_first_frame_of_an_animation_is_taken_and_it_says_so(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"moving.{suffix}"
    frames = [Image.fromarray(scene()), Image.fromarray(255 - scene())]
    frames[0].save(file, save_all=True, append_images=frames[1:], lossless=True)
    photo = read_photo(file)
    assert error(photo.rgb, scene()) < 2
    assert photo.notes == ("The file holds several frames; the first one is taken.",)


def test_colour_profiles_are_applied(tmp_path: Path) -> None:
    linear = ImageCms.createProfile("sRGB")
    same, lab = ImageCms.ImageCmsProfile(linear).tobytes(), ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    file = tmp_path / "profiled.png"
    rgba().save(file, icc_profile=same)
    photo = read_photo(file)
    assert error(photo.rgb, scene()) <= 1.01 and photo.notes == ()
    assert photo.alpha is not None and error(photo.alpha, mask()) < 1e-3
    for wrong in (lab.tobytes(), b"no profile at all"):
        Image.fromarray(scene()).save(file, icc_profile=wrong)
        photo = read_photo(file)
        assert error(photo.rgb, scene()) < 1e-3
        assert any("colour profile cannot be read" in note for note in photo.notes)


def test_a_wide_gamut_profile_makes_colours_stronger(tmp_path: Path) -> None:
    file = tmp_path / "wide.png"
    Image.fromarray(scene()).save(file, icc_profile=swapped_profile())
    photo = read_photo(file)
    red, green, blue = (float(channel) for channel in photo.rgb[20, 20] * 255)
    assert green == pytest.approx(OBJECT[0], abs=2) and red == pytest.approx(OBJECT[1], abs=2)
    assert blue == pytest.approx(OBJECT[2], abs=2)


def swapped_profile() -> bytes:
    """sRGB with the primaries of red and green exchanged: no other profile is as easy to see and to check."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    names = {bytes(data[at : at + 4]): at for at in range(132, 132 + 12 * int.from_bytes(data[128:132], "big"), 12)}
    red, green = names[b"rXYZ"], names[b"gXYZ"]
    data[red : red + 4], data[green : green + 4] = data[green : green + 4], data[red : red + 4]
    return bytes(data)


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (200, 15)])
def test_a_photo_of_one_pixel_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    file = tmp_path / "dot.png"
    Image.new("RGB", size).save(file)
    with pytest.raises(Bundle3DError, match=SENTENCE) as refusal:
        read_photo(file)
    assert "dot.png" in str(refusal.value) and f"{size[0]} x {size[1]}" in str(refusal.value)


@pytest.mark.parametrize(("suffix", "mode"), [("jpg", "L"), ("png", "1"), ("png", "P")])
def test_twelve_thousand_pixels_are_reduced(tmp_path: Path, suffix: str, mode: str) -> None:
    file = tmp_path / f"huge.{suffix}"
    large = Image.new("L", (12_000, 6_000), 255)
    large.paste(0, (3_000, 1_500, 9_000, 4_500))
    (large if mode == "L" else large.convert(mode)).save(file, quality=50, compress_level=1)
    del large
    photo = read_photo(file, 600)
    assert photo.rgb.shape == (300, 600, 3)
    assert float(photo.rgb[75 + 2 : 225 - 2, 150 + 2 : 450 - 2].max()) < 0.02
    for strip in (photo.rgb[:73], photo.rgb[227:], photo.rgb[:, :148], photo.rgb[:, 452:]):
        assert float(strip.min()) > 0.98
    assert photo.notes == ("Reduced from 12000 x 6000 to 600 x 300 pixels.",)


def test_jpegs_are_reduced_while_they_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "long.jpg"
    Image.new("RGB", (12_000, 32), BACKGROUND).save(file)
    seen = []
    plain = reading._plain
    monkeypatch.setattr(reading, "_plain", lambda image: seen.append(image.size) or plain(image))
    assert read_photo(file, 1500).rgb.shape == (4, 1500, 3)
    assert max(width for width, _ in seen) <= 3000


def test_strips_of_a_reduction_meet_without_a_seam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ramp.png"
    ramp = np.repeat(np.linspace(0, 255, 960).round().astype(np.uint8)[:, None], 960, axis=1)
    Image.fromarray(ramp).save(file)
    whole = read_photo(file, 96).rgb
    monkeypatch.setattr(reading, "STRIP", 7)
    assert torch.equal(read_photo(file, 96).rgb, whole)
    rows = whole[:, 48, 0]
    assert float((rows - torch.linspace(4.5, 955 - 0.5, 96) / 959).abs().max()) < 0.01


def test_the_colour_under_transparent_pixels_does_not_bleed_into_a_reduction(tmp_path: Path) -> None:
    file = tmp_path / "cut.png"
    image = np.zeros((400, 400, 4), dtype=np.uint8)
    image[..., 1] = 255
    image[100:301, 100:301] = (*OBJECT, 255)
    Image.fromarray(image).save(file)
    photo = read_photo(file, 64)
    assert photo.alpha is not None
    rim = photo.rgb[photo.alpha > 0.2]
    assert error(rim, np.broadcast_to(np.array(OBJECT, dtype=np.uint8), rim.shape).copy()) < 8


def test_bombs_and_huge_files_are_refused_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for side in (13_000, 60_000):
        write_bomb(tmp_path / "bomb.png", side)
        with pytest.raises(Bundle3DError, match=SENTENCE) as refusal:
            read_photo(tmp_path / "bomb.png")
        assert "bomb.png" in str(refusal.value) and "pixels" in str(refusal.value)
    monkeypatch.setattr(reading, "LARGEST_FILE", 10)
    with pytest.raises(Bundle3DError, match=SENTENCE):
        read_photo(tmp_path / "bomb.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "bmp", "tiff"])
@pytest.mark.parametrize("lenient", [False, True])
def test_incomplete_files_are_refused_whatever_other_packs_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, lenient: bool
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
    file = tmp_path / f"half.{suffix}"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file)
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(Bundle3DError, match=SENTENCE) as refusal:
        read_photo(file)
    assert file.name in str(refusal.value)
    assert lenient is ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "cannot be decoded"), (b"a text", "cannot be decoded"), (b"\0\0\0\x18ftypheic\0\0\0\0", "is HEIC")],
)
def test_what_is_no_image_is_refused(tmp_path: Path, data: bytes, words: str) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(data)
    with pytest.raises(Bundle3DError, match=SENTENCE) as refusal:
        read_photo(file)
    assert words in str(refusal.value) and "photo.jpg" in str(refusal.value)
    with pytest.raises(Bundle3DError, match="is not there"):
        read_photo(tmp_path / "none.png")


def test_a_want_of_memory_is_not_taken_for_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "photo.png"
    Image.fromarray(scene()).save(file)

    def fail(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr(reading, "_photo", fail)
    with pytest.raises(MemoryError):
        read_photo(file)


def test_avif_with_a_general_brand_is_not_taken_for_heic(tmp_path: Path) -> None:
    file = tmp_path / "photo.avif"
    file.write_bytes(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf")
    with pytest.raises(Bundle3DError, match="cannot be decoded"):
        read_photo(file)
    file.write_bytes(b"\0\0\0\x1cftypmif1\0\0\0\0mif1heicmiaf")
    with pytest.raises(Bundle3DError, match="is HEIC"):
        read_photo(file)


def test_grey_profiles_are_applied_to_grey(tmp_path: Path) -> None:
    grey = np.asarray(Image.fromarray(scene()).convert("L"))
    file = tmp_path / "grey.png"
    Image.fromarray(grey).save(file, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    assert error(read_photo(file).rgb, np.repeat(grey[..., None], 3, axis=2)) <= 1.01


def test_float_images_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((32, 32), dtype=np.float32)).save(tmp_path / "linear.tiff")
    with pytest.raises(Bundle3DError, match="floats"):
        read_photo(tmp_path / "linear.tiff")


def test_the_kind_is_told_by_the_content(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    rgba().save(buffer, "PNG")
    (tmp_path / "mislabelled.jpg").write_bytes(buffer.getvalue())
    assert read_photo(tmp_path / "mislabelled.jpg").alpha is not None
