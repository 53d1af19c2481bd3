"""Model components under ComfyUI's memory manager: loaded when they compute, streamed or moved away when others do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, cast

import comfy.model_management as model_management
import comfy.model_patcher
import comfy.ops
import torch
from torch import nn

from ..pipelines.diffusion.loading.casting import (
    CastingLayer,
    CastingLayerNorm,
    CastingLinear,
    CastingRMSNorm,
    cast_weights,
    main_dtype,
)

FLOATS = (torch.bfloat16, torch.float16, torch.float32)
OUT_OF_RANGE_IN_HALF = (torch.bfloat16, torch.float32)  # what T5 and the decoder compute in: float16 overflows there


class Holder:
    """A component that ComfyUI's memory manager owns; ``pipelines.diffusion.holder.Holder`` for nodes.

    Weights keep the type they are stored in, float8 included, and are cast layer by layer; where the card is short of
    memory, ComfyUI leaves part of the layers in RAM and streams them. The patcher lives as long as the holder does.
    """

    def __init__(
        self, module: nn.Module, load_device: torch.device, offload_device: torch.device, compute_dtype: torch.dtype
    ) -> None:
        self.module: Any = module.eval().requires_grad_(False)
        self.compute_device = load_device
        self.compute_dtype = compute_dtype
        stream_layers(cast_weights(module, compute_dtype))
        # Resolved here and not at import: ComfyUI exchanges the class when it manages memory dynamically.
        self.patcher = comfy.model_patcher.CoreModelPatcher(
            _Managed(module, compute_dtype), load_device=load_device, offload_device=offload_device
        )

    @contextlib.contextmanager
    def use(self, activation_bytes: int = 0) -> Iterator[Any]:
        """The component ready to compute, with about ``activation_bytes`` free beside it."""
        model_management.load_models_gpu([self.patcher], memory_required=activation_bytes)
        _bring_what_is_not_cast(self.module, self.compute_device)
        yield self.module


class _Managed(nn.Module):
    """What a patcher can write its own attributes on; modules of diffusers and transformers refuse some of them."""

    def __init__(self, inner: nn.Module, compute_dtype: torch.dtype) -> None:
        super().__init__()
        self.inner = inner
        self.manual_cast_dtype = compute_dtype  # read where ComfyUI estimates what casting costs


def hold_network(module: Any) -> Holder:
    """A transformer, ControlNet or image encoder, on the device that ComfyUI samples on."""
    device = model_management.get_torch_device()
    return Holder(module, device, model_management.unet_offload_device(), compute_dtype(module, device, FLOATS))


def hold_whole_network(module: Any) -> Holder:
    """A network with layers that do not cast: all of it becomes what it computes in, and is held as a network is."""
    module = module.to(compute_dtype(module, model_management.get_torch_device(), FLOATS))
    return hold_network(module)


def hold_reconstruction(module: Any, *, dtype: torch.dtype | None = None) -> Holder:
    """A network that was trained in more range than float16 has; ``dtype`` is chosen in place of the weights' type."""
    device = model_management.get_torch_device()
    wanted = dtype or main_dtype(module.parameters())
    quick = quick_dtype(wanted, device, OUT_OF_RANGE_IN_HALF)
    return Holder(module, device, model_management.unet_offload_device(), quick)


def hold_text_encoder(module: Any) -> Holder:
    """A text encoder, on the device that ComfyUI encodes text on."""
    device = model_management.text_encoder_device()
    dtype = compute_dtype(module, device, OUT_OF_RANGE_IN_HALF)
    return Holder(module, device, model_management.text_encoder_offload_device(), dtype)


def hold_vae(module: Any, *, allowed: tuple[torch.dtype, ...] = OUT_OF_RANGE_IN_HALF) -> Holder:
    """An autoencoder, in the precision that ComfyUI and its user choose for it, of ``allowed`` the first that suits."""
    device = model_management.vae_device()
    dtype = model_management.vae_dtype(device, list(allowed))
    return Holder(module, device, model_management.vae_offload_device(), dtype)


def hold_voxel_decoder(module: Any) -> Holder:
    """A decoder that says which voxels there are: as an autoencoder, but in float32 if it is stored so, and in float16
    rather than bfloat16, whose rounding adds and loses voxels."""
    exact = main_dtype(module.parameters()) == torch.float32
    return hold_vae(module, allowed=(torch.float32,) if exact else (torch.float16, *OUT_OF_RANGE_IN_HALF))


def compute_dtype(module: nn.Module, device: torch.device, supported: tuple[torch.dtype, ...]) -> torch.dtype:
    """What the component computes in on ``device``: the type of most weights where the device is quick with it."""
    return quick_dtype(main_dtype(module.parameters()), device, supported)


def quick_dtype(wanted: torch.dtype, device: torch.device, supported: tuple[torch.dtype, ...]) -> torch.dtype:
    """``wanted`` where it is ``supported`` and ``device`` is quick with it, or else what ComfyUI takes instead."""
    # ComfyUI casts nothing that the device is quick with; a type to avoid is asked for as one that nothing computes in.
    asked = wanted if wanted in supported else torch.float8_e4m3fn
    return model_management.unet_manual_cast(asked, device, list(supported)) or wanted


def store_weights(module: Any, dtype: torch.dtype | None) -> None:
    """Keeps the weights of a network's linear layers in ``dtype``, in place; None leaves all as they are.

    What a scaled fp8 file holds stays, for its numbers mean nothing without their scales.
    """
    if dtype is None:
        return
    for layer in module.modules():
        if isinstance(layer, nn.Linear) and getattr(layer, "weight_scale", None) is None:
            layer.weight.data = layer.weight.data.to(dtype)


# Layers of ours that cast, and those of ComfyUI that cast too and that it also streams ahead of time.
STREAMING: dict[type[nn.Module], type[nn.Module]] = {
    CastingLinear: comfy.ops.manual_cast.Linear,
    CastingLayerNorm: comfy.ops.manual_cast.LayerNorm,
    CastingRMSNorm: comfy.ops.manual_cast.RMSNorm,
}


def stream_layers(module: nn.Module) -> None:
    """Makes layers that cast ComfyUI's own, in place; those of scaled fp8 files stay ours, which know the scale."""
    for part in module.modules():
        streaming = STREAMING.get(type(part))
        if streaming is None or cast(CastingLayer, part).weight_scale is not None:
            continue
        part.__class__ = streaming
        if not hasattr(part, "bias"):
            part.register_parameter("bias", None)  # ComfyUI looks for one in every layer


def _bring_what_is_not_cast(module: nn.Module, device: torch.device) -> None:
    """Moves what layers do not cast themselves to ``device``; after a partial load it is in RAM."""
    for part in module.modules():
        casts = isinstance(part, CastingLayer) or hasattr(part, "comfy_cast_weights")
        parameters = [] if casts else list(part.parameters(recurse=False))
        for tensor in [*parameters, *part.buffers(recurse=False)]:
            if tensor.device != device:
                tensor.data = tensor.data.to(device)
