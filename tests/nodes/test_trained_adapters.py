"""ComfyUI's own loaders read the adapters that Bundle3D trains, and core then draws what Generate Bundle draws."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from bundle3d.pipelines.training.lora_layers import ADAPTER, add_lora, save_lora, target_layers
from bundle3d.tests.nodes.test_core_models import SIZE, conditioning, own_bundle, sample
from bundle3d.tests.support.tiny_flux import tiny_transformer


def test_core_reads_a_trained_lora(run: Callable[..., Any], tiny_folder: Path) -> None:
    """As the core node LoraLoaderModelOnly does: every layer of the file finds its place."""
    import comfy.sd
    import comfy.utils

    transformer = tiny_transformer()
    layers = target_layers(transformer)
    add_lora(transformer, layers, rank=3, alpha=6.0, dtype=torch.float32, seed=0)
    generator = torch.Generator().manual_seed(1)
    for name in layers:
        up = transformer.get_submodule(name).lora_B[ADAPTER].weight
        up.data = torch.randn(up.shape, generator=generator) * 0.1
    (tiny_folder / "loras").mkdir()
    save_lora(transformer, tiny_folder / "loras" / "trained.safetensors", torch.float32)

    model, clip, vae = run("Bundle3D_ModelsToCore", folder="tiny").result
    state = comfy.utils.load_torch_file(str(tiny_folder / "loras" / "trained.safetensors"), safe_load=True)
    changed, _ = comfy.sd.load_lora_for_models(model, None, state, 0.7, 0)
    patched = sum(len(patches) for patches in changed.patches.values())
    assert patched == len(layers)

    prompts = run("Bundle3D_BundlePrompt", text="a red torus").result
    latent = run("Bundle3D_BundleLatent", vae=vae, **SIZE)[0]["samples"]
    sigmas = run("Bundle3D_BundleSchedule", steps=2)[0]
    with torch.inference_mode():
        core = vae.decode(sample(changed, conditioning(clip, prompts), latent, sigmas, 7))
    models = run("Bundle3D_LoadBundleModels", base="tiny", lora="trained.safetensors", lora_strength=0.7)[0]
    own = run("Bundle3D_GenerateBundle", models=models, prompt="a red torus", steps=2, seed=7, **SIZE)[0]
    assert torch.allclose(core, own, atol=2e-4)
    plain = own_bundle(run, "tiny", steps=2)
    assert not torch.allclose(own, plain, atol=1e-2)
