"""FLUX's VAE from single files and folders."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bundle3d.pipelines.diffusion.loading.vae import load_vae, to_diffusers
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.tests.support.tiny_files import VAE_PREFIX, original_vae, prefixed, rounded, write
from bundle3d.tests.support.tiny_flux import tiny_vae
from diffusers import AutoencoderKL
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint


def vae() -> AutoencoderKL:
    """As FLUX's, narrow: its norms have 32 groups and its file does not say so."""
    return tiny_vae(
        block_out_channels=(32, 64, 32, 32),
        layers_per_block=2,
        latent_channels=16,
        norm_num_groups=32,
        mid_block_add_attention=True,
    )


@torch.no_grad()
def outputs(module: AutoencoderKL, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    picture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(3)).to(dtype)
    latents = module.encode(picture).latent_dist.mode()
    return latents, module.decode(latents).sample


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16, torch.float8_e4m3fn], ids=str)
@pytest.mark.parametrize("names", ["original", "all-in-one", "diffusers"])
def test_files_compute_like_what_was_saved(tmp_path: Path, names: str, stored: torch.dtype) -> None:
    module = vae()
    state = module.state_dict() if names == "diffusers" else original_vae(module)
    if names == "all-in-one":
        state = prefixed(state, VAE_PREFIX) | {"model.diffusion_model.img_in.bias": torch.zeros(3)}
    loaded = load_vae(write(tmp_path / "ae.safetensors", state, stored), torch.float32)
    assert loaded.dtype == torch.float32
    for ours, truth in zip(outputs(loaded), outputs(rounded(module, stored))):
        torch.testing.assert_close(ours, truth, rtol=0, atol=1e-5)
    assert (loaded.config.scaling_factor, loaded.config.shift_factor) == (0.3611, 0.1159)


def test_names_are_those_of_the_stock_converter() -> None:
    module = vae()
    state = original_vae(module)
    theirs = convert_ldm_vae_checkpoint(dict(state), dict(module.config))
    ours = to_diffusers(state)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_folder_says_what_a_file_cannot(tmp_path: Path) -> None:
    module = tiny_vae()
    module.save_pretrained(tmp_path / "vae")
    loaded = load_vae(tmp_path / "vae")
    assert loaded.config.norm_num_groups == module.config.norm_num_groups
    for ours, truth in zip(outputs(loaded), outputs(module)):
        assert torch.equal(ours, truth)


def test_refuses_other_vaes(tmp_path: Path) -> None:
    four = tiny_vae(block_out_channels=(32,) * 4, norm_num_groups=32)
    with pytest.raises(Bundle3DError, match=r"'sd.safetensors' has 4, which FLUX does not read"):
        load_vae(write(tmp_path / "sd.safetensors", original_vae(four)))
    narrow = tiny_vae(latent_channels=16)
    with pytest.raises(Bundle3DError, match=r"'demo.safetensors', but they do not fit .* folder with its config.json"):
        load_vae(write(tmp_path / "demo.safetensors", original_vae(narrow)))
    with pytest.raises(Bundle3DError, match=r"'flux.safetensors' holds a FLUX transformer; .*ae.safetensors"):
        load_vae(write(tmp_path / "flux.safetensors", {"double_blocks.0.img_mlp.0.weight": torch.zeros(1)}))
    state = original_vae(vae())
    del state["decoder.up.1.block.0.conv1.bias"]
    with pytest.raises(Bundle3DError, match=r"'part.safetensors', but 1 are missing"):
        load_vae(write(tmp_path / "part.safetensors", state))
