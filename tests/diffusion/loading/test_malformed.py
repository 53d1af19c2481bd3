"""Files with tensors of odd shapes or without some, and odd settings, load or are refused in a sentence, no more."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle3d.pipelines.diffusion.loading.controlnet import load_controlnet
from bundle3d.pipelines.diffusion.loading.lora import apply_loras, load_lora
from bundle3d.pipelines.diffusion.loading.redux import load_embedder, load_image_encoder
from bundle3d.pipelines.diffusion.loading.text_encoders import load_clip, load_t5
from bundle3d.pipelines.diffusion.loading.transformer import load_transformer
from bundle3d.pipelines.diffusion.loading.vae import load_vae
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.tests.diffusion.loading.test_lora import ORIGINAL, kohya, lora_layers
from bundle3d.tests.diffusion.loading.test_redux import siglip, vision_file
from bundle3d.tests.diffusion.loading.test_text_encoders import clip, clip_file, t5_file
from bundle3d.tests.diffusion.loading.test_vae import vae
from bundle3d.tests.support.tiny_files import State, original_transformer, original_vae, write
from bundle3d.tests.support.tiny_flux import tiny_controlnet, tiny_redux, tiny_t5, tiny_transformer

VARIANTS = 12


def load_and_apply(path: Path) -> None:
    apply_loras(tiny_transformer(), [(load_lora(path), 1.0, path.name)])


FILES: dict[str, tuple[Callable[[], State], Callable[[Path], object]]] = {
    "transformer": (lambda: original_transformer(tiny_transformer()), load_transformer),
    "transformer of diffusers": (lambda: tiny_transformer().state_dict(), load_transformer),
    "VAE": (lambda: original_vae(vae()), load_vae),
    "CLIP": (lambda: clip_file(clip()), load_clip),
    "T5": (lambda: t5_file(tiny_t5()), load_t5),
    "ControlNet": (lambda: tiny_controlnet().state_dict(), load_controlnet),
    "Redux": (lambda: tiny_redux().embedder.module.state_dict(), load_embedder),
    "SigLIP": (lambda: vision_file(siglip()), load_image_encoder),
    "LoRA": (lambda: kohya(lora_layers(original_transformer(tiny_transformer()), ORIGINAL)), load_and_apply),
}
CHANGES: list[Callable[[torch.Tensor], torch.Tensor | None]] = [
    lambda tensor: None,
    lambda tensor: tensor[:0],
    lambda tensor: tensor[: tensor.shape[0] // 2] if tensor.ndim else tensor[None],
    lambda tensor: tensor.flatten(),
    lambda tensor: tensor[None],
    lambda tensor: tensor.sum(),
    lambda tensor: tensor[..., :1] if tensor.ndim else tensor[None, None],
    lambda tensor: torch.cat([tensor, tensor]) if tensor.ndim else tensor,
    lambda tensor: tensor.to(torch.uint8),
]


def malformed(state: State, seed: int) -> Iterator[State]:
    """Copies of ``state`` with one or two tensors changed; those that configurations are read from come first."""
    choice = random.Random(seed)
    telling = [name for name in state if ".0." in name or name.count(".") < 3]
    for _ in range(VARIANTS):
        variant: dict[str, torch.Tensor | None] = dict(state)
        for name in choice.sample(telling, choice.randint(1, 2)):
            tensor = variant[name]
            if tensor is not None:
                variant[name] = choice.choice(CHANGES)(tensor) if tensor.ndim else choice.choice([None, tensor[None]])
        yield {name: tensor for name, tensor in variant.items() if tensor is not None}


@pytest.mark.parametrize("kind", FILES)
def test_loads_or_refuses(tmp_path: Path, kind: str) -> None:
    make, load = FILES[kind]
    refused = 0
    for state in malformed(make(), seed=len(kind)):
        path = write(tmp_path / "odd.safetensors", state)
        try:
            load(path)
        except Bundle3DError as error:
            refused += 1
            assert "odd.safetensors" in str(error) and "\n" not in str(error)
    assert refused > VARIANTS // 2


FOLDERS: dict[str, tuple[Callable[[], Any], Callable[[Path], object]]] = {
    "transformer": (tiny_transformer, load_transformer),
    "VAE": (vae, load_vae),
    "CLIP": (clip, load_clip),
    "T5": (tiny_t5, load_t5),
    "ControlNet": (tiny_controlnet, load_controlnet),
    "SigLIP": (siglip, load_image_encoder),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_settings_without_sense_are_refused(tmp_path: Path, kind: str) -> None:
    make, load = FOLDERS[kind]
    make().save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    choice = random.Random(0)
    refused = 0
    for name in settings:
        file.write_text(json.dumps(settings | {name: choice.choice((None, "x", -1, [], [None]))}), encoding="utf-8")
        try:
            load(tmp_path)
        except Bundle3DError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > len(settings) // 4
