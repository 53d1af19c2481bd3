"""DINOv3 of transformers, as Pixal3D uses it, against its formulas written down once more."""

from __future__ import annotations

import math

import pytest
import torch
from bundle3d.pipelines.diffusion.holder import Resident
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.pixal3d.image_encoder import ImageEncoderConfig, encode_pictures, image_encoder
from bundle3d.tests.pixal3d.make_small import randomised, relative_error

CONFIG = ImageEncoderConfig(patch_size=4, width=32, hidden=48, layers=2, heads=2, registers=4)
PICTURES = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def small_encoder() -> Resident:
    return Resident(randomised(image_encoder(CONFIG), 7))


def naive_tokens(state: dict[str, torch.Tensor], picture: torch.Tensor) -> torch.Tensor:
    """All tokens (1 + 4 + 9, C) of a picture of 3 x 3 patches, in float64."""
    state = {name.replace("model.layer", "layer"): tensor.double() for name, tensor in state.items()}

    def linear(name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ state[f"{name}.weight"].T + state.get(f"{name}.bias", torch.zeros(1, dtype=torch.float64))

    def norm(x: torch.Tensor) -> torch.Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()

    def affine(name: str, x: torch.Tensor) -> torch.Tensor:
        return norm(x) * state[f"{name}.weight"] + state[f"{name}.bias"]

    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = (picture.double() - mean[:, None, None]) / std[:, None, None]
    kernel = state["embeddings.patch_embeddings.weight"].flatten(1)
    patches = [
        kernel @ pixels[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].flatten()
        + state["embeddings.patch_embeddings.bias"]
        for row in range(3)
        for column in range(3)
    ]
    x = torch.cat((state["embeddings.cls_token"][0], state["embeddings.register_tokens"][0], torch.stack(patches)))
    centres = [2 * (i + 0.5) / 3 - 1 for i in range(3)]
    angles = torch.zeros(len(x), 8, dtype=torch.float64)
    for row in range(3):
        for column in range(3):
            both = [2 * math.pi * c / 100 ** (j / 4) for c in (centres[row], centres[column]) for j in range(4)]
            angles[5 + 3 * row + column] = torch.tensor(both)
    angles = angles.repeat(1, 2)
    for number in range(CONFIG.layers):
        layer = f"layer.{number}"
        h = affine(f"{layer}.norm1", x)
        q, k, v = (linear(f"{layer}.attention.{name}_proj", h) for name in "qkv")
        heads = []
        for head in range(CONFIG.heads):
            part = slice(16 * head, 16 * (head + 1))
            turned = [
                own * angles.cos() + torch.cat((-own[:, 8:], own[:, :8]), dim=1) * angles.sin()
                for own in (q[:, part], k[:, part])
            ]
            heads.append((turned[0] @ turned[1].T / 4).softmax(-1) @ v[:, part])
        h = linear(f"{layer}.attention.o_proj", torch.cat(heads, dim=1))
        x = x + h * state[f"{layer}.layer_scale1.lambda1"]
        h = linear(f"{layer}.mlp.up_proj", affine(f"{layer}.norm2", x))
        h = linear(f"{layer}.mlp.down_proj", h * 0.5 * (1 + torch.erf(h / math.sqrt(2))))
        x = x + h * state[f"{layer}.layer_scale2.lambda1"]
    return norm(x)


def test_tokens_are_what_the_formulas_say() -> None:
    encoder = small_encoder()
    found = encode_pictures(encoder, PICTURES)
    assert found.tokens.shape == (2, 5, 32) and found.patches.shape == (2, 32, 3, 3)
    for view in range(2):
        truth = naive_tokens(encoder.module.state_dict(), PICTURES[view])
        assert relative_error(found.tokens[view], truth[:5]) < 1e-4
        assert relative_error(found.patches[view].flatten(1).T, truth[5:]) < 1e-4


def test_it_can_be_built_without_memory() -> None:
    with torch.device("meta"):
        network = image_encoder(ImageEncoderConfig())
    # ViT-L/16 has 303,129,600, of which the last norm's 2,048 are not there.
    assert sum(parameter.numel() for parameter in network.parameters()) == 303_127_552
    assert not network.rope_embeddings.inv_freq.is_meta
    assert network.rope_embeddings.inv_freq.tolist() == pytest.approx([100 ** (-j / 16) for j in range(16)])


@pytest.mark.parametrize(
    ("shape", "said"), [((1, 3, 12, 8), "square"), ((1, 3, 10, 10), "multiple of 4"), ((3, 12, 12), "square")]
)
def test_other_pictures_are_refused(shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(Bundle3DError, match=said):
        encode_pictures(small_encoder(), torch.zeros(shape))
