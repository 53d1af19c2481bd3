"""Photos through the nodes: loading, preparing, describing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.tests.photo.image_files import mask, rgba, scene, values
from bundle3d.tests.support.tiny_florence import write_tiny_florence
from PIL import Image

Run = Callable[..., Any]
SENTENCE = r"^Expected .*; .*\.$"


@pytest.fixture
def language_models(folders: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder models/LLM of a ComfyUI that has nothing else."""
    import folder_paths

    monkeypatch.setattr(folder_paths, "folder_names_and_paths", dict(folder_paths.folder_names_and_paths))
    folder_paths.folder_names_and_paths.pop("LLM", None)
    monkeypatch.setattr(folder_paths, "models_dir", str(folders / "models"))
    (folders / "models" / "LLM").mkdir(parents=True)
    return folders / "models" / "LLM"


def photos(*boxes: tuple[int, int, int, int]) -> torch.Tensor:
    """A batch of scenes with one box each."""
    return torch.stack([values(scene((box,))) for box in boxes])


def test_load_gives_pixels_and_a_mask_that_is_one_on_the_object(run: Run, folders: Path) -> None:
    rgba().save(folders / "input" / "cut.png")
    output = run("Bundle3D_LoadPhoto", image="cut.png")
    assert torch.equal(output[0][0], values(scene())) and torch.equal(output[1][0], values(mask()))
    assert output[2] == "" and output.ui == {"text": [""]}
    Image.fromarray(scene()).save(folders / "input" / "plain.png")
    assert torch.equal(run("Bundle3D_LoadPhoto", image="plain.png")[1], torch.ones(1, 40, 64))


def test_load_reduces_and_says_so(run: Run, folders: Path) -> None:
    Image.new("RGB", (300, 200)).save(folders / "input" / "large.png")
    output = run("Bundle3D_LoadPhoto", image="large.png", longest_side=150)
    assert output[0].shape == (1, 100, 150, 3) and "300 x 200" in output[2]


def test_load_refuses_what_is_not_there_and_what_is_no_image(run: Run, nodes: dict[str, Any], folders: Path) -> None:
    (folders / "input" / "text.png").write_text("no image", "utf-8")
    for name, words in (("none.png", "is not there"), ("", "none is chosen"), ("text.png", "cannot be decoded")):
        with pytest.raises(Bundle3DError, match=SENTENCE) as refusal:
            run("Bundle3D_LoadPhoto", image=name)
        assert words in str(refusal.value)
    assert nodes["Bundle3D_LoadPhoto"].validate_inputs(None) is True


def test_a_changed_file_is_read_again(nodes: dict[str, Any], folders: Path) -> None:
    file = folders / "input" / "photo.png"
    rgba().save(file)
    stamp = nodes["Bundle3D_LoadPhoto"].fingerprint_inputs(image="photo.png", longest_side=64)
    Image.fromarray(scene()).save(file)
    assert nodes["Bundle3D_LoadPhoto"].fingerprint_inputs(image="photo.png", longest_side=64) != stamp


def test_a_loaded_photo_is_prepared_by_alpha_mask_or_colour(run: Run, folders: Path) -> None:
    rgba().save(folders / "input" / "cut.png")
    image, alpha, _ = run("Bundle3D_LoadPhoto", image="cut.png").args
    by_mask = run("Bundle3D_PreparePhoto", image=image, mask=alpha, size=128)
    inverted = run("Bundle3D_PreparePhoto", image=image, mask=1 - alpha, invert_mask=True, size=128)
    by_alpha = run("Bundle3D_PreparePhoto", image=torch.cat([image, alpha[..., None]], dim=-1), size=128)
    by_color = run("Bundle3D_PreparePhoto", image=image, mask=torch.ones_like(alpha), size=128)
    for output in (by_mask, inverted, by_alpha, by_color):
        assert output[0].shape == (1, 128, 128, 3) and output[1].shape == (1, 128, 128)
        assert output[2].shape == (1, 512, 512, 3)
        assert torch.allclose(output[1], by_mask[1]) and torch.allclose(output[0], by_mask[0], atol=1e-5)
        assert output.ui["text"] == [output[3]] and len(output.ui["images"]) == 1
    assert by_mask[3] == inverted[3] == "Cut out by the mask." and by_alpha[3] == "Cut out by the image's own alpha."
    assert "#fafafa" in by_color[3]


def test_a_batch_gives_exactly_the_single_photos(run: Run) -> None:
    batch = photos((12, 8, 44, 36), (5, 5, 20, 35), (30, 10, 60, 20))
    together = run("Bundle3D_PreparePhoto", image=batch, size=96)
    for index in range(len(batch)):
        alone = run("Bundle3D_PreparePhoto", image=batch[index : index + 1], size=96)
        for socket in range(3):
            assert torch.equal(together[socket][index], alone[socket][0])
        assert alone[3] in together[3]
    one_mask = run("Bundle3D_PreparePhoto", image=batch, mask=values(mask())[None], size=96)
    assert torch.equal(one_mask[1][0], one_mask[1][2])
    with pytest.raises(Bundle3DError, match="images and masks"):
        run("Bundle3D_PreparePhoto", image=batch, mask=values(mask())[None].repeat(2, 1, 1))


def test_squares_of_different_sizes_are_no_batch(run: Run) -> None:
    batch = photos((12, 8, 44, 36), (5, 5, 20, 25))
    with pytest.raises(Bundle3DError, match=SENTENCE):
        run("Bundle3D_PreparePhoto", image=batch, size=0)
    assert run("Bundle3D_PreparePhoto", image=batch[:1], size=0)[0].shape == (1, 37, 37, 3)


def test_an_empty_mask_and_a_scene_are_refused_in_a_sentence(run: Run) -> None:
    image = photos((12, 8, 44, 36))
    with pytest.raises(Bundle3DError, match=SENTENCE):
        run("Bundle3D_PreparePhoto", image=image, mask=torch.zeros(1, 64, 64))
    noise = torch.rand(1, 40, 40, 3, generator=torch.Generator().manual_seed(0))
    with pytest.raises(Bundle3DError, match="Remove Background"):
        run("Bundle3D_PreparePhoto", image=noise)


def test_the_preview_shows_the_whole_photo_and_the_square(run: Run) -> None:
    preview = run("Bundle3D_PreparePhoto", image=photos((12, 8, 44, 36)), size=96)[2][0]
    orange = (preview - torch.tensor((1.0, 0.55, 0.0))).abs().max(dim=-1).values < 1e-3
    rows, columns = orange.nonzero().unbind(1)
    side = int(rows.max() - rows.min())
    assert abs(side - int(columns.max() - columns.min())) <= 2
    assert side == pytest.approx(512 * 37 / 64, abs=4), "the photo of 64 pixels is fitted into 512"


def test_the_text_is_the_caption_where_no_captioner_is_chosen(run: Run, language_models: Path) -> None:
    image = photos((12, 8, 44, 36), (5, 5, 20, 35))
    assert run("Bundle3D_CaptionPhoto", image=image, text=" a red box ")[0] == ["a red box"], "one for both"
    with pytest.raises(Bundle3DError, match=SENTENCE):
        run("Bundle3D_CaptionPhoto", image=image, text=" ")


def test_a_captioner_describes_every_photo_alone(
    run: Run, nodes: dict[str, Any], language_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bundle3d.pipelines.photo.caption.LONGEST", 12)
    write_tiny_florence(language_models / "Florence-2-tiny")
    (language_models / "other").mkdir()
    (language_models / "other" / "config.json").write_text('{"model_type": "qwen2"}', "utf-8")
    (choice,) = [socket for socket in nodes["Bundle3D_CaptionPhoto"].define_schema().inputs if socket.id == "captioner"]
    assert choice.options == ["none", "Florence-2-tiny"]
    image = torch.from_numpy(np.random.default_rng(0).random((2, 48, 48, 3), dtype=np.float32))
    together = run("Bundle3D_CaptionPhoto", image=image, captioner="Florence-2-tiny")
    assert len(together[0]) == 2 and together.ui == {"text": together[0]}
    for index in range(2):
        alone = run("Bundle3D_CaptionPhoto", image=image[index : index + 1], captioner="Florence-2-tiny")
        assert alone[0] == together[0][index : index + 1]
    with pytest.raises(Bundle3DError, match="other"):
        run("Bundle3D_CaptionPhoto", image=image, captioner="other")
