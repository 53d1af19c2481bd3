"""LoRA files, in the names of kohya's trainers and of PEFT, on FLUX's transformer and text encoders through PEFT."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...checkpoints.safe_load import read_state_dict
from ...errors import Bundle3DError
from .casting import cast_weights, compute_dtype_of
from .lora_keys import locate, split_name
from .recognise import what_is_it
from .transformer_keys import diffusers_layers, split_rows

ADVICE = "choose a LoRA trained for FLUX.1-dev"
# Names of adapters that are more than two matrices and a factor: DoRA, LoKr, LoHa, OFT, differences, biases, XLabs'.
OTHER_ADAPTERS = re.compile(
    r"dora_scale|lora_magnitude|lokr_|hada_|oft_|\.diff(_b)?$|lora_(B|up)\.(default\.)?bias$|_lora\d?\.(down|up)\."
)


def load_lora(path: Path) -> dict[str, torch.Tensor]:
    """A LoRA's ``<part>.<layer>.lora_A.weight`` (R, in), ``.lora_B.weight`` (out, R) and ``.alpha`` (a number).

    Parts are ``transformer``, ``text_encoder`` (CLIP) and ``text_encoder_2`` (T5), layers those of diffusers and
    transformers. The weight with the LoRA is W + scale * alpha / R * B @ A; a file without alpha gets alpha = R.
    Raises Bundle3DError where the file holds no LoRA of FLUX, or another kind of adapter (DoRA, LoKr, LoHa, biases).
    """
    path = Path(path)
    layers: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in read_state_dict(path).items():
        split = split_name(name)
        if split is None:
            raise _refused(path, name)
        layers.setdefault(split[0], {})[split[1]] = tensor
    state: dict[str, torch.Tensor] = {}
    for layer, found in layers.items():
        place = locate(layer)
        if place is None:
            raise Bundle3DError(
                f"Expected a LoRA of FLUX, but '{path.name}' changes '{layer}', which FLUX does not have; {ADVICE}."
            )
        if not _is_whole(found):
            raise Bundle3DError(
                f"Expected two matrices of the same rank for '{layer}' in '{path.name}', but they are not there; "
                "download it again or choose another LoRA."
            )
        converted = _converted(*place, found)
        if not converted:
            raise Bundle3DError(
                f"Expected a LoRA of FLUX, but that of '{layer}' in '{path.name}' is too small; {ADVICE}."
            )
        state |= converted
    return state


def apply_loras(
    module: nn.Module, loras: Sequence[tuple[Mapping[str, torch.Tensor], float, str]], part: str = "transformer"
) -> None:
    """Puts LoRAs on ``module`` and takes off all that were on it; they run beside its weights, which stay as they are.

    Each comes as what ``load_lora`` gave, its scale, and a name of its own; ``part`` says which part of the LoRAs is
    for ``module``.
    Raises Bundle3DError where a LoRA does not fit the module's layers.
    """
    remove_loras(module)
    names: list[str] = []
    scales: list[float] = []
    for state, scale, name in loras:
        own = {key.removeprefix(f"{part}."): tensor for key, tensor in state.items() if key.startswith(f"{part}.")}
        if own:
            adapter = f"lora_{len(names)}"
            try:
                _attach(module, _named_as_in(module, own), adapter, name)
            except Bundle3DError:
                remove_loras(module)
                raise
            names.append(adapter)
            scales.append(scale)
    if names:
        _activate(module, names, scales)
        cast_weights(module, compute_dtype_of(module))


def remove_loras(module: Any) -> None:
    """Takes every LoRA off ``module``."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, layer in list(module.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            parent, _, own_name = name.rpartition(".")
            setattr(module.get_submodule(parent), own_name, layer.get_base_layer())
    if hasattr(module, "peft_config"):
        del module.peft_config
    if hasattr(module, "_hf_peft_config_loaded"):
        module._hf_peft_config_loaded = False


def _attach(module: Any, state: dict[str, torch.Tensor], adapter: str, name: str) -> None:
    from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict

    alphas = {key.removesuffix(".alpha"): float(tensor) for key, tensor in state.items() if key.endswith(".alpha")}
    matrices = {key: tensor for key, tensor in state.items() if not key.endswith(".alpha")}
    ranks = {layer: matrices[f"{layer}.lora_A.weight"].shape[0] for layer in alphas}
    layers = dict(module.named_modules())
    for layer in alphas:
        base = layers.get(layer)
        base = getattr(base, "base_layer", base)
        shape = (matrices[f"{layer}.lora_B.weight"].shape[0], matrices[f"{layer}.lora_A.weight"].shape[1])
        if not isinstance(base, nn.Linear) or (base.out_features, base.in_features) != shape:
            raise Bundle3DError(
                f"Expected a LoRA for this model, but '{name}' changes '{layer}' of {shape[0]}x{shape[1]}, which "
                f"the model does not have so; {ADVICE}, or the model that it was trained for."
            )
    usual = Counter(ranks.values()).most_common(1)[0][0]
    config = LoraConfig(
        r=usual,
        target_modules="|".join(map(re.escape, ranks)),
        # PEFT tries every pattern on every layer, so only what differs gets one.
        rank_pattern={f"^{layer}": rank for layer, rank in ranks.items() if rank != usual},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that there is an adapter already, which is meant
        inject_adapter_in_model(config, module, adapter_name=adapter, low_cpu_mem_usage=True, state_dict=matrices)
    set_peft_model_state_dict(module, matrices, adapter_name=adapter, low_cpu_mem_usage=True)
    module._hf_peft_config_loaded = True
    for layer, alpha in alphas.items():
        module.get_submodule(layer).lora_alpha[adapter] = alpha


def _activate(module: nn.Module, names: list[str], scales: list[float]) -> None:
    from peft.tuners.tuners_utils import BaseTunerLayer

    tuned: list[Any] = [layer for layer in module.modules() if isinstance(layer, BaseTunerLayer)]
    for layer in tuned:
        layer.set_adapter(names)
        layer.requires_grad_(False)
        layer.cast_input_dtype_enabled = False  # its matrices are cast to the input, not the input to them
        for name, scale in zip(names, scales):
            layer.set_scale(name, scale)


def _is_whole(found: Mapping[str, torch.Tensor]) -> bool:
    """Whether there are A (R, in) and B (out, R) of floating-point numbers, and at most one number as alpha.

    Trainers save an alpha that was given as an integer as one.
    """
    if not {"A", "B"} <= found.keys():
        return False
    down, up = found["A"], found["B"]
    if not (down.is_floating_point() and up.is_floating_point()):
        return False
    same_rank = down.ndim == up.ndim == 2 and down.shape[0] == up.shape[1] > 0
    return same_rank and ("alpha" not in found or found["alpha"].numel() == 1)


def _converted(part: str, layer: str, found: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The matrices of one layer of a file for each layer of diffusers that it is."""
    down, up = found["A"], found["B"]
    alpha = found.get("alpha", torch.tensor(float(down.shape[0])))
    targets = diffusers_layers(layer) if part == "transformer" else ()
    # The width of the network is what a fused layer reads.
    rows = split_rows(up, layer, down.shape[1]) if targets else [up]
    state: dict[str, torch.Tensor] = {}
    for target, own in zip(targets or (layer,), rows):
        prefix = f"{part}.{target}"
        state |= {f"{prefix}.lora_A.weight": down, f"{prefix}.lora_B.weight": own, f"{prefix}.alpha": alpha.reshape(())}
    return state


def _named_as_in(module: nn.Module, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """CLIP's layers have a prefix in transformers before version 5 only."""
    if any(name.startswith("text_model.") for name, _ in module.named_modules()):
        return state
    return {name.removeprefix("text_model."): tensor for name, tensor in state.items()}


def _refused(path: Path, name: str) -> Bundle3DError:
    if OTHER_ADAPTERS.search(name):
        return Bundle3DError(
            f"Expected a plain LoRA, but '{path.name}' holds '{name}' of another kind of adapter; choose or "
            "train a plain LoRA."
        )
    return Bundle3DError(f"Expected a LoRA, but '{path.name}' holds {what_is_it([name])}; {ADVICE}.")
