"""DINOv2 of transformers, as Pixal3D-D uses it, against its formulas, and its files under all their names."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from bundle3d.pipelines.diffusion.holder import Resident
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.pixal3d.direct3d_s2.image_encoder import (
    ImageEncoderConfig,
    image_encoder,
    load_image_encoder,
)
from bundle3d.pipelines.pixal3d.image_encoder import encode_pictures
from bundle3d.tests.pixal3d.make_small import randomised, relative_error
from bundle3d.tests.pixal3d.naive_flow import attention, layer_norm
from safetensors.torch import save_file

CONFIG = ImageEncoderConfig(size=12, patch_size=4, width=128, layers=2, heads=2, registers=4)
PICTURE = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
State = dict[str, torch.Tensor]


def authors_state() -> State:
    """Random tensors by the names and shapes of DINOv2's own files."""
    generator = torch.Generator().manual_seed(1)
    width = CONFIG.width
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width), "pos_embed": (1, 10, width), "register_tokens": (1, 4, width),
        "mask_token": (1, width), "patch_embed.proj.weight": (width, 3, 4, 4), "patch_embed.proj.bias": (width,),
        "norm.weight": (width,), "norm.bias": (width,),
    }  # fmt: skip
    for layer in range(CONFIG.layers):
        block = f"blocks.{layer}"
        shapes |= {
            f"{block}.norm1.weight": (width,), f"{block}.norm1.bias": (width,),
            f"{block}.attn.qkv.weight": (3 * width, width), f"{block}.attn.qkv.bias": (3 * width,),
            f"{block}.attn.proj.weight": (width, width), f"{block}.attn.proj.bias": (width,),
            f"{block}.ls1.gamma": (width,),
            f"{block}.norm2.weight": (width,), f"{block}.norm2.bias": (width,),
            f"{block}.mlp.fc1.weight": (4 * width, width), f"{block}.mlp.fc1.bias": (4 * width,),
            f"{block}.mlp.fc2.weight": (width, 4 * width), f"{block}.mlp.fc2.bias": (width,),
            f"{block}.ls2.gamma": (width,),
        }  # fmt: skip
    return {
        name: torch.randn(shape, generator=generator) / math.prod(shape[1:] or (4,)) ** 0.5
        for name, shape in shapes.items()
    }


def naive_tokens(state: State) -> torch.Tensor:
    """All tokens (1 + 4 + 9, C) of the picture of 3 x 3 patches, in float64."""
    state = {name: tensor.double() for name, tensor in state.items()}

    def linear(name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        return layer_norm(x, 1e-6, state[f"{name}.weight"], state[f"{name}.bias"])

    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = (PICTURE[0].double() - mean[:, None, None]) / std[:, None, None]
    kernel = state["patch_embed.proj.weight"].flatten(1)
    patches = [
        kernel @ pixels[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].flatten()
        + state["patch_embed.proj.bias"]
        for row in range(3)
        for column in range(3)
    ]
    placed = torch.cat((state["cls_token"][0], torch.stack(patches))) + state["pos_embed"][0]
    x = torch.cat((placed[:1], state["register_tokens"][0], placed[1:]))
    head = CONFIG.width // CONFIG.heads
    for layer in range(CONFIG.layers):
        block = f"blocks.{layer}"
        q, k, v = linear(f"{block}.attn.qkv", norm(f"{block}.norm1", x)).chunk(3, dim=1)
        parts = [slice(h * head, (h + 1) * head) for h in range(CONFIG.heads)]
        seen = torch.cat([attention(q[:, part], k[:, part], v[:, part]) for part in parts], dim=1)
        x = x + linear(f"{block}.attn.proj", seen) * state[f"{block}.ls1.gamma"]
        h = linear(f"{block}.mlp.fc1", norm(f"{block}.norm2", x))
        h = linear(f"{block}.mlp.fc2", h * 0.5 * (1 + torch.erf(h / math.sqrt(2))))
        x = x + h * state[f"{block}.ls2.gamma"]
    return layer_norm(x, 1e-5)


def test_tokens_of_the_authors_file_are_what_the_formulas_say(tmp_path: Path) -> None:
    state = authors_state()
    file = tmp_path / "dinov2_vitl14_reg4_pretrain.pth"
    torch.save(state, file)
    network = load_image_encoder(file)
    assert (network.config.image_size, network.config.num_attention_heads) == (12, 2)
    found = encode_pictures(Resident(network), PICTURE)
    truth = naive_tokens(state)
    assert found.tokens.shape == (1, 5, 128) and found.patches.shape == (1, 128, 3, 3)
    assert relative_error(found.tokens[0], truth[:5]) < 1e-4
    assert relative_error(found.patches[0].flatten(1).T, truth[5:]) < 1e-4


@pytest.mark.parametrize("names", ["new", "old"])
def test_transformers_folder_holds_the_same(tmp_path: Path, names: str) -> None:
    network = randomised(image_encoder(CONFIG), 2)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    if names == "old":
        for part, name in (("q", "query"), ("k", "key"), ("v", "value")):
            state = {key.replace(f"attention.{part}_proj", f"attention.attention.{name}"): state[key] for key in state}
        state = {key.replace("attention.o_proj", "attention.output.dense"): state[key] for key in state}
    norm = {f"layernorm.{part}": torch.ones(CONFIG.width) for part in ("weight", "bias")}
    save_file(state | norm, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "dinov2_with_registers"}), encoding="utf-8")
    loaded = encode_pictures(Resident(load_image_encoder(tmp_path)), PICTURE)
    torch.testing.assert_close(loaded.patches, encode_pictures(Resident(network), PICTURE).patches)


def test_it_can_be_built_without_memory() -> None:
    with torch.device("meta"):
        network = image_encoder(ImageEncoderConfig())
    # The published 304.37 million but for the 2,048 of the last norm, which is not there.
    assert sum(parameter.numel() for parameter in network.parameters()) == 304_370_688


def test_another_model_is_refused(tmp_path: Path) -> None:
    save_file({"blocks.0.attn.qkv.weight": torch.zeros(3, 1)}, tmp_path / "other.safetensors")
    with pytest.raises(Bundle3DError, match="cannot tell its dimensions") as refusal:
        load_image_encoder(tmp_path / "other.safetensors")
    assert "\n" not in str(refusal.value)
