"""DINOv3 and NAF in the forms that users have: what comes out sees as what went in, all else is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from bundle3d.pipelines.diffusion.holder import Resident
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.pixal3d.feature_upsampler import FeatureUpsampler
from bundle3d.pipelines.pixal3d.image_encoder import encode_pictures, image_encoder
from bundle3d.pipelines.pixal3d.load_pictures import holds_upsampler, load_feature_upsampler, load_image_encoder
from bundle3d.tests.pixal3d.make_small import ENCODER, UPSAMPLER, randomised
from bundle3d.tests.pixal3d.write_files import prefixed, write_state

State = dict[str, torch.Tensor]
PICTURES = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def encoder() -> torch.nn.Module:
    return randomised(image_encoder(ENCODER), 7)


def published() -> State:
    """The tensors as transformers 4 and ComfyUI name them, with the last norm that Pixal3D does without."""
    state = {name.replace("model.layer.", "layer."): tensor for name, tensor in encoder().state_dict().items()}
    return state | {"norm.weight": torch.full((32,), 3.0), "norm.bias": torch.full((32,), 3.0)}


def timm() -> State:
    """The same as timm names them: one matrix for queries, keys and values, no biases of these and no mask token."""
    state, renamed = published(), {}
    names = {
        "attention.o_proj": "attn.proj", "mlp.up_proj": "mlp.fc1", "mlp.down_proj": "mlp.fc2",
        "layer_scale1.lambda1": "gamma_1", "layer_scale2.lambda1": "gamma_2",
    }  # fmt: skip
    for name, tensor in state.items():
        for own, others in names.items():
            name = name.replace(own, others)
        if "_proj." not in name:
            renamed[re.sub(r"^layer\.", "blocks.", name)] = tensor
    renamed["blocks.0.attn.qkv.weight"] = torch.cat([state[f"layer.0.attention.{p}_proj.weight"] for p in "qkv"])
    for own, others in (
        ("embeddings.patch_embeddings", "patch_embed.proj"), ("embeddings.cls_token", "cls_token"),
        ("embeddings.register_tokens", "reg_token"),
    ):  # fmt: skip
        renamed = {name.replace(own, others): tensor for name, tensor in renamed.items()}
    del renamed["embeddings.mask_token"]
    return renamed


def seen(network: torch.nn.Module) -> torch.Tensor:
    return encode_pictures(Resident(network), PICTURES).patches


def write_folder(folder: Path, state: State, heads: int = 2) -> Path:
    write_state(folder / "model.safetensors", state)
    (folder / "config.json").write_text(json.dumps({"num_attention_heads": heads}), "utf-8")
    return folder


@pytest.mark.parametrize("names", ["published", "installed"])
def test_a_folder_gives_the_encoder_that_was_written(tmp_path: Path, names: str) -> None:
    state = published() if names == "published" else prefixed("model.", published())
    network = load_image_encoder(write_folder(tmp_path / "dinov3", state))
    assert torch.equal(seen(network), seen(encoder()))


def test_timms_names_give_the_same_encoder(tmp_path: Path) -> None:
    truth = encoder()
    for name, parameter in truth.named_parameters():
        if name.endswith(("q_proj.bias", "v_proj.bias")):
            parameter.data.zero_()
    network = load_image_encoder(write_folder(tmp_path / "timm", timm()))
    torch.testing.assert_close(seen(network), seen(truth))
    state = timm() | {"blocks.0.attn.qkv.bias": torch.arange(96.0) / 96}
    biased = load_image_encoder(write_folder(tmp_path / "biased", state))
    assert not torch.allclose(seen(biased), seen(truth), atol=1e-3)


def test_comfyuis_file_holds_both(tmp_path: Path) -> None:
    upsampler = randomised(FeatureUpsampler(UPSAMPLER), 8)
    wide = image_encoder(type(ENCODER)(patch_size=4, width=64, hidden=48, layers=1, heads=1))
    state = {
        name.replace("model.layer.", "layer."): tensor for name, tensor in randomised(wide, 3).state_dict().items()
    }
    file = write_state(tmp_path / "dino_naf.safetensors", state | prefixed("naf.", upsampler.state_dict()))
    assert holds_upsampler(file) and torch.equal(seen(load_image_encoder(file)), seen(wide))
    found = load_feature_upsampler(file)
    assert found.config == UPSAMPLER
    assert all(torch.equal(tensor, upsampler.state_dict()[name]) for name, tensor in found.state_dict().items())


def test_naf_comes_as_a_pickled_file(tmp_path: Path) -> None:
    upsampler = randomised(FeatureUpsampler(UPSAMPLER), 8)
    torch.save(upsampler.state_dict(), tmp_path / "naf_release.pth")
    found = load_feature_upsampler(tmp_path / "naf_release.pth")
    patches = torch.randn(12, 4, 4)
    assert torch.equal(found(PICTURES[0], patches, 16).queries, upsampler(PICTURES[0], patches, 16).queries)
    assert not holds_upsampler(write_state(tmp_path / "dinov3.safetensors", published()))


def test_other_files_are_refused(tmp_path: Path) -> None:
    without = {name: tensor for name, tensor in published().items() if name != "layer.0.norm1.bias"}
    for load, state, said in (
        (load_image_encoder, without, r"1 are missing \('.*layer.0.norm1.bias' first\)"),
        (load_image_encoder, published() | {"extra": torch.zeros(1)}, r"1 others \('extra' first\)"),
        (load_image_encoder, {"weight": torch.zeros(1)}, "a DINOv3 image encoder .*choose that of DINOv3 ViT-L/16"),
        (load_feature_upsampler, published(), "Expected NAF .*choose naf_release.pth"),
    ):
        with pytest.raises(Bundle3DError, match=said) as refusal:
            load(write_state(tmp_path / "odd.safetensors", state))
        assert "'odd.safetensors'" in str(refusal.value) and "\n" not in str(refusal.value)
