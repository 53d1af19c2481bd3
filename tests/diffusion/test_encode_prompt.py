from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from bundle3d.pipelines.diffusion.encode_prompt import encode_prompt, reference_prompt
from bundle3d.tests.support.tiny_flux import POOLED_WIDTH, T5_LENGTH, TEXT_WIDTH, tiny_models, tiny_pipeline
from peft import LoraConfig, inject_adapter_in_model

SENTENCE = "A grid of 2x4 multi-view image, elevation 5. White background."


def test_the_sentence_of_training_is_for_both_encoders() -> None:
    assert reference_prompt("A red torus") == (SENTENCE, SENTENCE + " A red torus")
    assert reference_prompt("") == (SENTENCE, SENTENCE)


def test_a_prompt_that_has_the_sentence_keeps_it_once() -> None:
    whole = reference_prompt("A red torus")[1]
    assert reference_prompt(whole) == (SENTENCE, whole)


def test_embeddings_are_those_of_the_stock_pipeline() -> None:
    pipeline = tiny_pipeline()
    text, pooled = encode_prompt(tiny_models(pipeline), "a red torus")
    expected_text, expected_pooled, _ = pipeline.encode_prompt(
        prompt=SENTENCE, prompt_2=SENTENCE + " a red torus", max_sequence_length=T5_LENGTH
    )
    torch.testing.assert_close(text, expected_text)
    torch.testing.assert_close(pooled, expected_pooled)
    assert text.shape == (1, T5_LENGTH, TEXT_WIDTH)
    assert pooled.shape == (1, POOLED_WIDTH)


def test_t5_reads_the_object_and_clip_does_not() -> None:
    models = tiny_models()
    text_red, pooled_red = encode_prompt(models, "a red torus")
    text_blue, pooled_blue = encode_prompt(models, "a blue torus")
    assert not torch.equal(text_red, text_blue)
    assert torch.equal(pooled_red, pooled_blue)


def test_no_more_than_512_tokens_are_read(caplog: pytest.LogCaptureFixture) -> None:
    pipeline = tiny_pipeline()
    pipeline.tokenizer_2.model_max_length = 10**30  # what transformers says where a tokenizer has no limit
    models = replace(tiny_models(pipeline), tokenizer_2=pipeline.tokenizer_2)
    assert encode_prompt(models, "a cube " * 400)[0].shape == (1, 512, TEXT_WIDTH)
    [said] = caplog.messages
    assert said.endswith("tokens, of which only the first 512 are read")
    encode_prompt(models, "a cube")
    assert len(caplog.messages) == 1


def test_loras_of_the_encoders_follow_the_scale() -> None:
    pipeline = tiny_pipeline()
    models = tiny_models(pipeline)
    plain = encode_prompt(models, "a red torus")
    for encoder in (pipeline.text_encoder, pipeline.text_encoder_2):
        with torch.random.fork_rng(devices=[]):
            config = LoraConfig(r=2, init_lora_weights=False, target_modules=r".*\.(q_proj|q)")
            inject_adapter_in_model(config, encoder)
    with_loras, without = encode_prompt(models, "a red torus"), encode_prompt(models, "a red torus", lora_scale=0.0)
    for before, on, off in zip(plain, with_loras, without):
        torch.testing.assert_close(off, before)
        assert not torch.allclose(on, before, atol=1e-4)
