"""Captions by a Florence-2 of random weights, read back from a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle3d.pipelines.diffusion.holder import Resident
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.photo import caption
from bundle3d.pipelines.photo.caption import caption_photo, is_captioner, load_captioner
from bundle3d.tests.support.tiny_florence import SIZE, tiny_florence, tiny_processor, write_tiny_florence
from bundle3d.tests.support.tiny_language_model import tiny_language_model

LONGEST = caption.LONGEST  # before the tests shorten it
PHOTO = torch.rand(50, 70, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("models") / "Florence-2-tiny"
    write_tiny_florence(folder)
    return folder


@pytest.fixture(autouse=True)
def few_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caption, "LONGEST", 12)


def test_the_folder_opens_with_its_weights(folder: Path) -> None:
    assert is_captioner(folder) and not is_captioner(folder.parent)
    model, processor = load_captioner(folder)
    assert model.dtype == torch.float32 and processor.tokenizer.image_token == "<image>"
    for name, value in tiny_florence().state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


def test_the_model_is_asked_as_the_reference_asks_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, processor = load_captioner(folder)
    asked: dict[str, Any] = {}
    generate = model.generate
    monkeypatch.setattr(model, "generate", lambda **inputs: asked.update(inputs) or generate(**inputs))
    first, again = (caption_photo(Resident(model), processor, PHOTO) for _ in range(2))
    assert first == again and first
    assert asked["num_beams"] == 3 and asked["max_new_tokens"] == 12 and asked["do_sample"] is False
    assert asked["pixel_values"].shape == (1, 3, SIZE, SIZE)
    text = processor.tokenizer.decode(asked["input_ids"][0], skip_special_tokens=True)
    assert text == "Describe with a paragraph what is shown in the image."
    words = processor.batch_decode(generate(**{**asked, "stopping_criteria": None}), skip_special_tokens=True)[0]
    assert first == " ".join(words.split())


def test_the_published_limits() -> None:
    assert (LONGEST, caption.BEAMS, caption.TASK) == (1024, 3, "<MORE_DETAILED_CAPTION>")


def test_every_token_is_reported_and_the_report_cancels(folder: Path) -> None:
    model, processor = load_captioner(folder)
    reports: list[tuple[int, int]] = []

    def until_three(done: int, total: int, preview: Any = None) -> None:
        reports.append((done, total))
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        caption_photo(Resident(model), processor, PHOTO, until_three)
    assert reports == [(1, 12), (2, 12), (3, 12)]


def test_a_model_that_says_nothing_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, processor = load_captioner(folder)
    end = torch.tensor([[model.config.text_config.eos_token_id] * 2])
    monkeypatch.setattr(model, "generate", lambda **inputs: end)
    with pytest.raises(Bundle3DError, match="said nothing"):
        caption_photo(Resident(model), processor, PHOTO)


def test_other_folders_are_refused_in_a_sentence(tmp_path: Path, folder: Path) -> None:
    language = tmp_path / "Qwen-tiny"
    tiny_language_model().save_pretrained(language)
    remote = tmp_path / "Florence-2-remote-code"  # as first published: with code of its own, under other names
    tiny_processor().save_pretrained(remote)
    settings = {"model_type": "florence2", "vision_config": {"model_type": "davit"}, "auto_map": {"AutoConfig": "x.Y"}}
    (remote / "config.json").write_text(json.dumps(settings), "utf-8")
    unlike = tmp_path / "Florence-2-unlike"
    unlike.mkdir()
    for file in folder.iterdir():
        (unlike / file.name).write_bytes(file.read_bytes())
    (unlike / "model.safetensors").write_bytes((language / "model.safetensors").read_bytes())
    for wrong in (language, remote, unlike, tmp_path / "none"):
        with pytest.raises(Bundle3DError, match=r"^Expected .*; use florence-community/.*\.$") as refusal:
            load_captioner(wrong)
        assert wrong.name in str(refusal.value)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_a_want_of_memory_is_not_taken_for_a_wrong_folder(
    folder: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import Florence2ForConditionalGeneration

    def fail(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(Florence2ForConditionalGeneration, "from_pretrained", fail)
    with pytest.raises(type(error)) as raised:
        load_captioner(folder)
    assert raised.value is error
