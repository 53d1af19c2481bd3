"""What ControlNets see, when they act, and what they add. Source: specs/kiss3dgen.md 3.6."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..errors import Bundle3DError
from .attention import attention
from .autoencoder import encode_image
from .control_image import control_image
from .holder import Holder
from .latents import pack
from .models import BundleModels, ControlNet
from .velocity import Conditioning, Residuals, activation_bytes, network_inputs


@dataclass(frozen=True)
class Control:
    """A picture (H, W, 3) in [0, 1] that a ControlNet holds the drawing to.

    ``mode`` is one of the network's union modes, or for a network of one use says only how the picture is prepared.
    It acts with ``scale`` at the evaluations between the shares ``start`` and ``end`` of all; ``down_scale`` coarsens
    the picture of modes tile and lq. With ``make_map`` the picture is a bundle that the maps of modes canny and normal
    are made from; without, it is such a map.
    """

    image: torch.Tensor
    net: ControlNet
    mode: str = "tile"
    scale: float = 0.6
    start: float = 0.0
    end: float = 0.65
    down_scale: float = 1.0
    make_map: bool = False


@dataclass(frozen=True)
class PreparedControl:
    """A control with what its network takes: packed latents (1, N, 4C), or pixels (1, 3, H, W) in [-1, 1]."""

    control: Control
    condition: torch.Tensor
    mode_id: int | None


def check_control(control: Control) -> None:
    """Raises Bundle3DError where ``control`` has a mode that its network does not know, or numbers without sense."""
    modes = control.net.modes
    if modes is not None and control.mode not in modes:
        raise Bundle3DError(
            f"Expected one of the ControlNet's modes {', '.join(modes)}, but got {control.mode!r}; choose one of them, "
            f"or load a ControlNet that was made for {control.mode} alone."
        )
    if not 0 <= control.start <= control.end <= 1:
        raise Bundle3DError(
            f"Expected a control with a start and a later end between 0 and 1, but got {control.start} to "
            f"{control.end}; change them."
        )
    if not control.down_scale >= 1:
        raise Bundle3DError(
            f"Expected a down_scale of at least 1, which coarsens nothing, but got {control.down_scale}; raise it."
        )


def is_active(control: Control, index: int, count: int) -> bool:
    """Whether ``control`` acts at evaluation ``index`` of ``count``, which must lie wholly within its shares."""
    return index / count >= control.start and (index + 1) / count <= control.end


def prepare_control(
    models: BundleModels, control: Control, height: int, width: int, generator: torch.Generator
) -> PreparedControl:
    """``control`` for a drawing of ``height`` x ``width`` pixels; ``generator`` is drawn from where the VAE is used."""
    modes = control.net.modes
    image = control_image(control.image, control.mode, height, width, control.down_scale, control.make_map)
    if control.net.takes_pixels:
        condition = image.movedim(-1, 0)[None] * 2 - 1
    else:
        condition = pack(encode_image(models.vae, image, generator))
    return PreparedControl(control, condition, None if modes is None else modes[control.mode])


def control_residuals(
    controls: list[PreparedControl],
    latents: torch.Tensor,
    sigma: float,
    conditioning: Conditioning,
    models: BundleModels,
) -> Residuals | None:
    """What ``controls`` together add to the transformer's blocks at (1, C, H, W) latents; None for no controls."""
    total: Residuals | None = None
    for prepared in controls:
        own = _residuals(prepared, latents, sigma, conditioning, models.transformer)
        total = own if total is None else Residuals(_added(total.double, own.double), _added(total.single, own.single))
    return total


def _residuals(
    prepared: PreparedControl, latents: torch.Tensor, sigma: float, conditioning: Conditioning, transformer: Holder
) -> Residuals:
    net = prepared.control.net
    device, dtype = net.holder.compute_device, net.holder.compute_dtype
    inputs = network_inputs(net.holder, latents, sigma, conditioning)
    inputs["controlnet_cond"] = prepared.condition.to(device, dtype)
    inputs["conditioning_scale"] = prepared.control.scale
    if prepared.mode_id is not None:
        inputs["controlnet_mode"] = torch.tensor([[prepared.mode_id]], device=device)
    with net.holder.use(activation_bytes(net.holder, inputs)) as module, attention(device):
        outputs = module(**inputs, return_dict=False)
    double, single = (
        [sample.to(transformer.compute_device, transformer.compute_dtype) for sample in samples or ()]
        for samples in outputs
    )
    config = transformer.module.config
    return Residuals(
        _per_block(double, config.num_layers, cyclic=net.takes_pixels),
        _per_block(single, config.num_single_layers, cyclic=False),
    )


def _per_block(samples: Sequence[torch.Tensor], blocks: int, cyclic: bool) -> Sequence[torch.Tensor] | None:
    """One sample per block: each for a run of neighbouring blocks, or in turn for networks that take pixels.

    So networks of different depths add up.
    """
    if not samples:
        return None
    if cyclic:
        return [samples[block % len(samples)] for block in range(blocks)]
    run = -(-blocks // len(samples))
    return [samples[block // run] for block in range(blocks)]


def _added(a: Sequence[torch.Tensor] | None, b: Sequence[torch.Tensor] | None) -> Sequence[torch.Tensor] | None:
    """Block by block; blocks that share their samples share the sum, for a sum of full size takes 50 MB."""
    if a is None or b is None:
        return b if a is None else a
    sums: dict[tuple[int, int], torch.Tensor] = {}
    for x, y in zip(a, b):
        if (id(x), id(y)) not in sums:
            sums[id(x), id(y)] = x + y
    return [sums[id(x), id(y)] for x, y in zip(a, b)]
