"""Redux and SigLIP from single files and folders."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bundle3d.pipelines.diffusion.loading.redux import load_embedder, load_image_encoder, load_redux
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.tests.support.tiny_files import rounded, write
from bundle3d.tests.support.tiny_flux import seeded, tiny_redux, tiny_siglip
from transformers import SiglipVisionConfig, SiglipVisionModel


def siglip(head: bool = False) -> SiglipVisionModel:
    """As wide as two of the published heads, which no file says."""
    config = SiglipVisionConfig(
        hidden_size=144,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        hidden_act="gelu_pytorch_tanh",
        vision_use_head=head,
    )
    return seeded(lambda: SiglipVisionModel(config), 31)


def vision_file(module: SiglipVisionModel) -> dict[str, torch.Tensor]:
    """Always with the prefix, which transformers has dropped from its own names."""
    return {
        f"vision_model.{name.removeprefix('vision_model.')}": tensor for name, tensor in module.state_dict().items()
    }


@torch.no_grad()
def seen(module: SiglipVisionModel) -> torch.Tensor:
    return module(torch.rand(1, 3, 28, 28, generator=torch.Generator().manual_seed(2))).last_hidden_state


@pytest.mark.parametrize("head", [False, True])
@pytest.mark.parametrize("stored", [torch.float32, torch.float16], ids=str)
def test_files_compute_like_what_was_saved(tmp_path: Path, stored: torch.dtype, head: bool) -> None:
    encoder, embedder = siglip(head), tiny_redux().embedder.module
    loaded = load_redux(
        write(tmp_path / "redux.safetensors", embedder.state_dict(), stored),
        write(tmp_path / "sigclip.safetensors", vision_file(encoder), stored),
        torch.float32,
    )
    torch.testing.assert_close(seen(loaded.image_encoder), seen(rounded(encoder, stored)), rtol=0, atol=1e-5)
    features = torch.rand(1, 4, 16, generator=torch.Generator().manual_seed(2))
    truth = rounded(embedder, stored)(features).image_embeds
    torch.testing.assert_close(loaded.embedder(features).image_embeds, truth, rtol=0, atol=1e-6)


def test_folders(tmp_path: Path) -> None:
    siglip().save_pretrained(tmp_path / "image_encoder")
    tiny_redux().embedder.module.save_pretrained(tmp_path / "image_embedder")
    loaded = load_redux(tmp_path / "image_embedder", tmp_path / "image_encoder")
    assert torch.equal(seen(loaded.image_encoder), seen(siglip()))


def test_refusals(tmp_path: Path) -> None:
    redux = write(tmp_path / "redux.safetensors", tiny_redux().embedder.module.state_dict())
    vision = write(tmp_path / "sigclip.safetensors", vision_file(tiny_siglip()))
    with pytest.raises(Bundle3DError, match=r"'sigclip.safetensors' holds an image encoder; choose flux1-redux-dev"):
        load_embedder(vision)
    with pytest.raises(Bundle3DError, match=r"'redux.safetensors' holds a FLUX Redux model; choose sigclip_vision"):
        load_image_encoder(redux)
    scaled = vision_file(siglip()) | {"vision_model.encoder.layers.0.mlp.fc1.scale_weight": torch.tensor(0.5)}
    with pytest.raises(Bundle3DError, match=r"scale for each fp8 layer in 'scaled.safetensors'"):
        load_image_encoder(write(tmp_path / "scaled.safetensors", scaled))
    clip = vision_file(tiny_siglip()) | {"vision_model.embeddings.class_embedding": torch.zeros(1)}
    with pytest.raises(Bundle3DError, match=r"'clip_vision.safetensors' holds an image encoder; choose sigclip"):
        load_image_encoder(write(tmp_path / "clip_vision.safetensors", clip))
