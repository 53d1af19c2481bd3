"""Expanding a prompt with a language model of random weights, and what surrounds it."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle3d.pipelines.diffusion.expand_prompt import (
    EXAMPLES,
    REQUIREMENTS,
    chat_text,
    expand_prompt,
    load_language_model,
    one_line,
)
from bundle3d.pipelines.diffusion.holder import Resident
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.tests.support.tiny_language_model import TEMPLATE, letter_tokenizer, tiny_language_model
from safetensors.torch import load_file, save_file
from transformers import Qwen2ForCausalLM

WITHOUT_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + TEMPLATE


@pytest.fixture(scope="module")
def model() -> Qwen2ForCausalLM:
    return tiny_language_model()


@pytest.fixture(autouse=True)
def few_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bundle3d.pipelines.diffusion.expand_prompt.LONGEST", 12)


def test_a_seed_gives_the_same_words_again_and_leaves_the_generator_alone(model: Qwen2ForCausalLM) -> None:
    tokenizer = letter_tokenizer()
    before = torch.get_rng_state()
    first, again, other = (expand_prompt(Resident(model), tokenizer, "a cup", seed) for seed in (3, 3, 4))
    assert first == again != other
    assert torch.equal(torch.get_rng_state(), before)
    greedy = [expand_prompt(Resident(model), tokenizer, "a cup", seed, temperature=0.0) for seed in (3, 4)]
    assert greedy[0] == greedy[1]


def test_every_word_is_reported_and_the_report_cancels(model: Qwen2ForCausalLM) -> None:
    reports: list[tuple[int, int]] = []

    def until_three(done: int, total: int, preview: Any = None) -> None:
        reports.append((done, total))
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        expand_prompt(Resident(model), letter_tokenizer(), "a cup", 0, until_three)
    assert reports == [(1, 12), (2, 12), (3, 12)]


def test_the_model_reads_requirements_examples_and_the_idea() -> None:
    text = chat_text(letter_tokenizer(), "a brass kettle")
    assert text.startswith(f"<system>{REQUIREMENTS}") and text.endswith("<user>a brass kettle<assistant>")
    assert all(f"<user>{idea}<assistant>{answer}" in text for idea, answer in EXAMPLES)
    merged = chat_text(letter_tokenizer(WITHOUT_SYSTEM), "a brass kettle")
    assert merged.startswith(f"<user>{REQUIREMENTS}\n\n{EXAMPLES[0][0]}<assistant>")
    with pytest.raises(Bundle3DError, match="chat template"):
        chat_text(letter_tokenizer(None), "a brass kettle")


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_keep_the_requirements(example: tuple[str, str]) -> None:
    answer = example[1]
    assert "\n" not in answer and set(answer) <= {*string.ascii_letters, *" ,;.-24"}
    for words in ("2x4 grid", "upper row", "normal maps", "the front", "the left side", "the rear", "the right side"):
        assert words in answer


def test_answers_become_one_line() -> None:
    assert one_line('<think>well,\nwell</think>\n "A cup,\n  blue." ') == "A cup, blue."
    assert one_line(" \n") == ""


def test_a_folder_without_a_model_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", "utf-8")
    with pytest.raises(Bundle3DError, match=tmp_path.name):
        load_language_model(tmp_path)


@pytest.mark.parametrize("damage", ["cut short", "a tensor less", "of another size", "odd settings"])
def test_weights_that_are_not_whole_are_refused(tmp_path: Path, model: Qwen2ForCausalLM, damage: str) -> None:
    model.save_pretrained(tmp_path)
    letter_tokenizer().save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    state = load_file(file)
    if damage == "cut short":
        file.write_bytes(file.read_bytes()[:-50])
    elif damage == "a tensor less":
        del state["model.norm.weight"]
        save_file(state, file, {"format": "pt"})
    elif damage == "odd settings":
        settings = tmp_path / "config.json"
        settings.write_text(json.dumps(json.loads(settings.read_text("utf-8")) | {"hidden_size": "x"}), "utf-8")
    else:
        save_file({name: tensor[..., :-1].contiguous() for name, tensor in state.items()}, file, {"format": "pt"})
    with pytest.raises(Bundle3DError, match=rf"{tmp_path.name}, but it could not be opened \(.+\); download"):
        load_language_model(tmp_path)


def test_a_saved_model_opens_with_its_tokenizer(tmp_path: Path, model: Qwen2ForCausalLM) -> None:
    model.save_pretrained(tmp_path)
    letter_tokenizer().save_pretrained(tmp_path)
    opened, tokenizer = load_language_model(tmp_path)
    assert torch.equal(opened.lm_head.weight, model.lm_head.weight)
    assert chat_text(tokenizer, "a cup") == chat_text(letter_tokenizer(), "a cup")
