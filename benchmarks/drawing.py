"""What networks of the published sizes take to draw under ComfyUI's memory manager, with random weights.

    python benchmarks/drawing.py [--models bundle views] [--dtype bf16|fp8] [--budgets 24 16 12]
        [--steps 20] [--view-steps 50]
    python benchmarks/drawing.py --small --steps 2 --view-steps 2

bundle: FLUX.1-dev with CLIP-L and T5-XXL draws 2048 x 1024 pixels; ``--dtype`` is how the transformer is kept.
views: Zero123++ draws four views of 512 pixels. On a GPU each drawing is done twice, at first with weights from RAM.
Random weights draw noise, but take the time and memory of trained ones. bundle needs 40 GB of RAM.

With ``--budgets``, in GiB, all of it is done with each of them as the most that torch may take of the GPU and that the
memory manager reckons with; what does not fit is streamed from RAM or refused, which the row then says. ``--small``
takes the networks of the tests, to try the command out without a GPU.

The paper's figures are of whole runs on an A800 with 80 GB, from prompt or picture to mesh.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from bundle3d.benchmarks import measure
from bundle3d.pipelines.comfyui_folder import find_comfyui
from bundle3d.pipelines.diffusion.draw import BundleRequest, draw_bundle
from bundle3d.pipelines.diffusion.loading import configurations as published
from bundle3d.pipelines.diffusion.loading.assemble import expected_shapes, fill, without_memory
from bundle3d.pipelines.diffusion.loading.folder import Components
from bundle3d.pipelines.diffusion.loading.text_encoders import load_clip_tokenizer, load_t5_tokenizer
from bundle3d.pipelines.diffusion.memory import is_out_of_memory
from bundle3d.pipelines.multiview.draw import ViewRequest, draw_views
from bundle3d.pipelines.multiview.loading import MultiviewComponents
from bundle3d.pipelines.multiview.models import PictureProcessing

Draw = Callable[[], torch.Tensor]
MODELS = ("bundle", "views")
DTYPES = {"bf16": None, "fp8": torch.float8_e4m3fn}
PROMPT = "a wooden rocking chair with a red cushion"
DEVIATION = 0.02  # of random weights
BLOCK = 1 << 22  # random numbers that are drawn; larger tensors repeat them
PAPER = {
    "source": "Kiss3DGen (CVPR 2025), one A800 80 GB, whole runs to the mesh",
    "text_to_3d_seconds": 56.8,
    "image_to_3d_seconds": 87.3,
    "mesh_to_3d_seconds": 71.7,
}
# Zero123++ v1.2: specs/kiss3dgen.md 3.2.
UNET = {
    "sample_size": 96,
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
    "block_out_channels": (320, 640, 1280, 1280),
    "attention_head_dim": (5, 10, 20, 20),
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
}
SD_VAE = {
    **published.FLUX_VAE,
    "latent_channels": 4,
    "sample_size": 768,
    "scaling_factor": 0.18215,
    "shift_factor": None,
    "use_quant_conv": True,
    "use_post_quant_conv": True,
}
CLIP_H_TEXT = {
    **published.CLIP_L,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "projection_dim": 512,
    "num_hidden_layers": 23,
    "num_attention_heads": 16,
    "hidden_act": "gelu",
}
CLIP_H_VISION = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "projection_dim": 1024,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 14,
    "hidden_act": "gelu",
}
SCHEDULER = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "linear",
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
}
FOR_VAE = PictureProcessing(512, 512, (0.5, 0.5, 0.5), (0.8, 0.8, 0.8))
FOR_VISION = PictureProcessing(224, 224, (0.4815, 0.4578, 0.4082), (0.2686, 0.2613, 0.2758))
TOKENS = 77


def random_network(build: Callable[[], Any], dtype: torch.dtype, casting: bool = True) -> Any:
    """The network that ``build`` makes, with random weights in ``dtype``."""
    where = Path("random weights")
    network = without_memory(build, where, "a network")
    generator = torch.Generator().manual_seed(0)
    block = (torch.randn(BLOCK, generator=generator) * DEVIATION).to(dtype)
    state = {}
    for name, shape in expected_shapes(network).items():
        count = math.prod(shape)
        state[name] = block.repeat(-(-count // BLOCK))[:count].clone().reshape(shape)  # not a view of all the block
    return fill(network, state, where, "a network", casting=casting)


def bundle_components(dtype: torch.dtype = torch.bfloat16) -> Components:
    """FLUX.1-dev with its text encoders and autoencoder."""
    from bundle3d.nodes.load_bundle_models import CLIP_TOKENIZER, T5_TOKENIZER
    from diffusers import AutoencoderKL, FluxTransformer2DModel
    from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

    def t5() -> T5EncoderModel:
        encoder = T5EncoderModel(T5Config.from_dict(dict(published.T5_XXL)))
        encoder.set_input_embeddings(encoder.shared)  # one tensor under two names
        return encoder

    clip = random_network(lambda: CLIPTextModel(CLIPTextConfig.from_dict(dict(published.CLIP_L))), dtype)
    return Components(
        transformer=random_network(lambda: FluxTransformer2DModel.from_config(dict(published.FLUX_DEV)), dtype),
        vae=random_network(lambda: AutoencoderKL.from_config(dict(published.FLUX_VAE)), dtype, casting=False),
        text_encoder=clip,
        tokenizer=load_clip_tokenizer(CLIP_TOKENIZER, clip),
        text_encoder_2=random_network(t5, dtype),
        tokenizer_2=load_t5_tokenizer(T5_TOKENIZER),
        scheduler={},
    )


def view_components(dtype: torch.dtype = torch.float16) -> MultiviewComponents:
    """Zero123++ with its encoders and autoencoder."""
    from bundle3d.nodes.load_bundle_models import CLIP_TOKENIZER
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModelWithProjection

    text = random_network(lambda: CLIPTextModel(CLIPTextConfig.from_dict(CLIP_H_TEXT)), dtype)
    vision = CLIPVisionConfig.from_dict(CLIP_H_VISION)
    return MultiviewComponents(
        unet=random_network(lambda: UNet2DConditionModel.from_config(UNET), dtype),
        vae=random_network(lambda: AutoencoderKL.from_config(SD_VAE), dtype, casting=False),
        text_encoder=text,
        tokenizer=load_clip_tokenizer(CLIP_TOKENIZER, text),
        vision_encoder=random_network(lambda: CLIPVisionModelWithProjection(vision), dtype),
        ramp=(1.0,) * TOKENS,
        scheduler=SCHEDULER,
        for_vae=FOR_VAE,
        for_vision=FOR_VISION,
    )


def bundle_drawing(chosen: argparse.Namespace) -> Draw:
    """Draws a bundle with networks that ComfyUI holds."""
    from bundle3d.nodes.memory import hold_network, hold_text_encoder, hold_vae, store_weights
    from bundle3d.tests.support.tiny_flux import tiny_pipeline

    request = BundleRequest(PROMPT, steps=chosen.steps)
    if chosen.small:
        pipeline = tiny_pipeline()
        names = ("transformer", "vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")
        parts = Components(**{name: getattr(pipeline, name) for name in names}, scheduler={})
        request = replace(request, height=64, width=128)
    else:
        parts = bundle_components()
    store_weights(parts.transformer, DTYPES[chosen.dtype])
    return partial(draw_bundle, parts.held(hold_network, hold_vae, hold_text_encoder), request)


def view_drawing(chosen: argparse.Namespace) -> Draw:
    """Draws four views with networks that ComfyUI holds."""
    from bundle3d.nodes.memory import hold_network, hold_text_encoder, hold_vae
    from bundle3d.tests.support.tiny_zero123plus import tiny_components

    parts = tiny_components() if chosen.small else view_components()
    picture = torch.rand(512, 512, 3, generator=torch.Generator().manual_seed(0))
    request = ViewRequest(picture, steps=chosen.view_steps)
    return partial(draw_views, parts.held(hold_network, hold_vae, hold_text_encoder), request)


def limit(budget: float | None, device: torch.device) -> None:
    """Lets torch and ComfyUI's memory manager use ``budget`` GiB of the GPU; all of it without one."""
    import comfy.model_management as model_management

    model_management.unload_all_models()
    if budget is not None:
        total = torch.cuda.get_device_properties(device).total_memory
        allowed = min(int(budget * (1 << 30)), total)
        torch.cuda.set_per_process_memory_fraction(allowed / total, device)
        model_management.EXTRA_RESERVED_VRAM = total - allowed


def rows_of(what: str, run: Callable[[], str], facts: dict[str, Any], device: torch.device) -> list[dict[str, Any]]:
    """A row for the first and, on a GPU, one for the second ``run``, which tells the size of what it makes, or one that
    says that memory does not suffice.
    """
    rows: list[dict[str, Any]] = []
    for turn in ("first", "second") if device.type != "cpu" else ("once",):
        try:
            with measure.timed(rows, f"{what}, {turn}", device) as row:
                row |= facts
                row["size"] = run()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            rows.append({"what": f"{what}, {turn}", **facts, "refused": "memory does not suffice"})
            print(rows[-1], flush=True)
            break
    return rows


def _size(picture: torch.Tensor) -> str:
    return f"{picture.shape[1]} x {picture.shape[0]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--dtype", choices=tuple(DTYPES), default="bf16")
    parser.add_argument("--budgets", type=float, nargs="+", help="GiB of the GPU, one after the other")
    parser.add_argument("--steps", type=int, default=BundleRequest.steps)
    parser.add_argument("--view-steps", type=int, default=ViewRequest.steps)
    parser.add_argument("--small", action="store_true", help="the networks of the tests; writes no results")
    chosen = parser.parse_args()
    if not (chosen.small or torch.cuda.is_available()):
        parser.error("networks of the published sizes need a GPU; --small tries the command out without one")
    if chosen.budgets and not torch.cuda.is_available():
        parser.error("--budgets needs a GPU")
    sys.path.append(str(find_comfyui()))
    sys.argv = sys.argv[:1]  # ComfyUI reads it, too
    from comfy.cli_args import args

    args.cpu = not torch.cuda.is_available()
    from comfy.model_management import get_torch_device

    device = get_torch_device()
    drawings = {"bundle": bundle_drawing, "views": view_drawing}
    rows: list[dict[str, Any]] = []
    for what in chosen.models:
        draw = drawings[what](chosen)
        for budget in chosen.budgets or [None]:
            limit(budget, device)
            facts = {"dtype": chosen.dtype if what == "bundle" else "fp16"}
            facts |= {} if budget is None else {"budget_gib": budget}
            rows += rows_of(what, lambda draw=draw: _size(draw()), facts, device)
        del draw
    if not chosen.small:
        steps = {"bundle": chosen.steps, "views": chosen.view_steps}
        print(measure.write(f"drawing-{chosen.dtype}", rows, steps=steps, published=PAPER))


if __name__ == "__main__":
    main()
