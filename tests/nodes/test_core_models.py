"""A diffusers folder in ComfyUI's own classes draws what Generate Bundle draws."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from safetensors.torch import load_file, save_file

PROMPT = "a red torus (made of wool), 3 feet wide"
SIZE = {"width": 256, "height": 128}


def conditioning(clip: Any, prompts: Any, guidance: float = 3.5) -> Any:
    """What the core node CLIPTextEncodeFlux does."""
    tokens = clip.tokenize(prompts[1])
    tokens["t5xxl"] = clip.tokenize(prompts[0])["t5xxl"]
    return clip.encode_from_tokens_scheduled(tokens, add_dict={"guidance": guidance})


def sample(model: Any, positive: Any, latent: torch.Tensor, sigmas: torch.Tensor, seed: int) -> torch.Tensor:
    """What the core nodes RandomNoise, BasicGuider, KSamplerSelect and SamplerCustomAdvanced do."""
    import comfy.sample
    import comfy.samplers

    guider = comfy.samplers.CFGGuider(model)
    guider.inner_set_conds({"positive": positive})
    noise = comfy.sample.prepare_noise(latent, seed)
    return guider.sample(noise, latent, comfy.samplers.sampler_object("heun"), sigmas, disable_pbar=True, seed=seed)


def core_bundle(run: Callable[..., Any], folder: str, steps: int = 4, seed: int = 7, **options: Any) -> torch.Tensor:
    """The bundle of a graph of core nodes with our schedule, latent and prompt."""
    model, clip, vae = run("Bundle3D_ModelsToCore", folder=folder).result
    prompts = run("Bundle3D_BundlePrompt", text=PROMPT).result
    latent = run("Bundle3D_BundleLatent", vae=vae, **SIZE, **options)[0]["samples"]
    strength = {"strength": 0.5} if options else {}
    sigmas = run("Bundle3D_BundleSchedule", steps=steps, **strength)[0]
    with torch.inference_mode():
        return vae.decode(sample(model, conditioning(clip, prompts), latent, sigmas, seed))


def own_bundle(run: Callable[..., Any], folder: str, steps: int = 4, seed: int = 7, **options: Any) -> torch.Tensor:
    models = run("Bundle3D_LoadBundleModels", base=folder)[0]
    return run("Bundle3D_GenerateBundle", models=models, prompt=PROMPT, steps=steps, seed=seed, **SIZE, **options)[0]


def test_the_core_graph_draws_the_same_bundle(run: Callable[..., Any], tiny_folder: Path) -> None:
    core, own = core_bundle(run, "tiny"), own_bundle(run, "tiny")
    assert core.shape == own.shape == (1, 128, 256, 3)
    assert own.std() > 0.01
    assert torch.allclose(core, own, atol=2e-4)
    assert not torch.allclose(own_bundle(run, "tiny", seed=8), own, atol=1e-2)


def test_text_is_encoded_alike(run: Callable[..., Any], tiny_folder: Path) -> None:
    from bundle3d.pipelines.diffusion.encode_prompt import encode_prompt

    _, clip, _ = run("Bundle3D_ModelsToCore", folder="tiny").result
    prompts = run("Bundle3D_BundlePrompt", text=PROMPT).result
    models = run("Bundle3D_LoadBundleModels", base="tiny")[0]
    with torch.inference_mode():
        [[text, extra]] = conditioning(clip, prompts)
        own_text, own_pooled = encode_prompt(models, PROMPT)
    assert text.shape == own_text.shape
    assert torch.allclose(text, own_text, atol=1e-5)
    assert torch.allclose(extra["pooled_output"], own_pooled, atol=1e-5)


def test_an_initial_image_differs_by_the_spread_of_the_vae_only(run: Callable[..., Any], tiny_folder: Path) -> None:
    """ComfyUI encodes the mean, the reference samples; with the same latents they would be equal."""
    image = torch.rand(1, 128, 256, 3, generator=torch.Generator().manual_seed(0))
    core = core_bundle(run, "tiny", initial_image=image)
    own = own_bundle(run, "tiny", initial_image=image, strength=0.5)
    assert (core - own).abs().mean() < 0.05
    assert not torch.allclose(core, core_bundle(run, "tiny"), atol=1e-2)


def test_a_lora_acts_alike(run: Callable[..., Any], tiny_folder: Path, folders: Path) -> None:
    import comfy.lora
    import comfy.lora_convert
    import comfy.sd

    generator = torch.Generator().manual_seed(1)
    state = {}
    for layer, outputs, inputs in (("double_blocks_0_img_attn_qkv", 96, 32), ("single_blocks_1_linear1", 224, 32)):
        name = f"lora_unet_{layer}"
        state[f"{name}.lora_down.weight"] = torch.randn(4, inputs, generator=generator)
        state[f"{name}.lora_up.weight"] = torch.randn(outputs, 4, generator=generator) * 0.3
        state[f"{name}.alpha"] = torch.tensor(2.0)
    (tiny_folder / "loras").mkdir()
    save_file(state, tiny_folder / "loras" / "own.safetensors")

    model, clip, vae = run("Bundle3D_ModelsToCore", folder="tiny").result
    changed, _ = comfy.sd.load_lora_for_models(model, None, state, 0.7, 0)
    prompts = run("Bundle3D_BundlePrompt", text=PROMPT).result
    latent = run("Bundle3D_BundleLatent", vae=vae, **SIZE)[0]["samples"]
    sigmas = run("Bundle3D_BundleSchedule", steps=2)[0]
    with torch.inference_mode():
        core = vae.decode(sample(changed, conditioning(clip, prompts), latent, sigmas, 7))
    models = run("Bundle3D_LoadBundleModels", base="tiny", lora="own.safetensors", lora_strength=0.7)[0]
    own = run("Bundle3D_GenerateBundle", models=models, prompt=PROMPT, steps=2, seed=7, **SIZE)[0]
    plain = own_bundle(run, "tiny", steps=2)
    assert not torch.allclose(own, plain, atol=1e-3)
    assert torch.allclose(core, own, atol=2e-4)


def test_weights_keep_their_type(run: Callable[..., Any], tiny_folder: Path) -> None:
    model, _, _ = run("Bundle3D_ModelsToCore", folder="tiny", weight_dtype="fp8_e4m3fn").result
    linear = model.model.diffusion_model.double_blocks[0].img_attn.proj
    assert linear.weight.dtype == torch.float8_e4m3fn
    with pytest.raises(Bundle3DError, match="models/diffusers"):
        run("Bundle3D_ModelsToCore", folder="nothing")


@pytest.mark.parametrize(
    ("part", "file", "layer", "name"),
    [
        ("transformer", "diffusion_pytorch_model", "proj_out", "transformer"),
        ("text_encoder_2", "model", "encoder.block.0.layer.0.SelfAttention.q", "T5"),
    ],
)
def test_scaled_weights_are_not_taken_for_plain_ones(
    run: Callable[..., Any], tiny_folder: Path, part: str, file: str, layer: str, name: str
) -> None:
    path = tiny_folder / "diffusers" / "tiny" / part / f"{file}.safetensors"
    save_file(load_file(path) | {f"{layer}.scale_weight": torch.tensor(0.5)}, path, {"format": "pt"})
    run("Bundle3D_LoadBundleModels", base="tiny")
    with pytest.raises(Bundle3DError, match=f"folder's {name} are scaled fp8; use Load Bundle Models"):
        run("Bundle3D_ModelsToCore", folder="tiny")
