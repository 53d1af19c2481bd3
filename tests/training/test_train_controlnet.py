"""A ControlNet of a tiny random base: adds nothing at the start, learns, resumes exactly, and is read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle3d.pipelines.diffusion.loading.controlnet import load_controlnet
from bundle3d.pipelines.diffusion.loading.transformer import load_transformer
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.training.fine_tune import FineTuneOptions
from bundle3d.pipelines.training.loss_curve import read_losses
from bundle3d.pipelines.training.new_controlnet import WEIGHTS, new_controlnet, save_controlnet
from bundle3d.pipelines.training.train_controlnet import ControlNetOptions, train_controlnet
from bundle3d.tests.support.tiny_files import write
from bundle3d.tests.support.tiny_flux import LAYERS, SINGLE_LAYERS, tiny_transformer
from bundle3d.tests.training.conftest import MODES, Workshop
from bundle3d.tests.training.test_train_lora import BrokenOffError, until
from diffusers import FluxControlNetModel
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

CONTROL = ControlNetOptions()
OPTIONS = FineTuneOptions(
    steps=6, batch=2, learning_rate=2e-3, validate_every=3, validation_steps=1, save_every=2, log_every=2
)


def answers(network: Any, transformer: Any, mode: int = 1) -> tuple[list[torch.Tensor], torch.Tensor]:
    """What the ControlNet adds, and what the transformer makes of it."""
    noise = torch.Generator().manual_seed(7)
    config = transformer.config
    inputs = {
        "hidden_states": torch.randn(1, 6, config.in_channels, generator=noise),
        "encoder_hidden_states": torch.randn(1, 5, config.joint_attention_dim, generator=noise),
        "pooled_projections": torch.randn(1, config.pooled_projection_dim, generator=noise),
        "timestep": torch.tensor([0.6]),
        "guidance": torch.tensor([3.5]),
        "img_ids": torch.zeros(6, 3),
        "txt_ids": torch.zeros(5, 3),
        "return_dict": False,
    }
    picture = torch.randn(1, 6, config.in_channels, generator=noise)
    with torch.no_grad():
        double, single = network(**inputs, controlnet_cond=picture, controlnet_mode=torch.tensor([[mode]]))
        velocity = transformer(**inputs, controlnet_block_samples=double, controlnet_single_block_samples=single)[0]
    return [*double, *single], velocity


def run(workshop: Workshop, folder: Path, options: FineTuneOptions = OPTIONS, **changes: Any) -> Path:
    models = workshop.models()
    return train_controlnet(models, workshop.encoded(models), workshop.bundles(), folder, CONTROL, options, **changes)


def test_it_starts_as_the_base_and_adds_nothing() -> None:
    transformer = tiny_transformer()
    network = new_controlnet(transformer, 10, torch.float32)
    assert (network.config.num_layers, network.config.num_single_layers) == (-(-LAYERS // 4), -(-SINGLE_LAYERS // 4))
    added, velocity = answers(network, transformer)
    assert added and not any(sample.any() for sample in added)
    idle = new_controlnet(transformer, 10, torch.float32, 1, 1, seed=5)
    assert torch.equal(answers(idle, transformer, mode=3)[1], velocity)
    block = transformer.transformer_blocks[0].attn.to_q.weight
    assert torch.equal(network.transformer_blocks[0].attn.to_q.weight, block)
    assert network.transformer_blocks[0].attn.to_q.weight.data_ptr() != block.data_ptr()
    # What leads out is zero but learns; with it, what leads in does.
    assert all(weight.requires_grad and weight.dtype == torch.float32 for weight in network.parameters())


def test_it_starts_from_a_base_of_scaled_fp8(tmp_path: Path) -> None:
    """Weights that are stored divided by a factor are multiplied out."""
    state = dict(tiny_transformer().state_dict())
    name = "transformer_blocks.0.attn.to_q"
    truth = state[f"{name}.weight"]
    state[f"{name}.weight"] = truth / 4.0
    state[f"{name}.weight_scale"] = torch.tensor(4.0)
    transformer = load_transformer(write(tmp_path / "flux.safetensors", state, torch.bfloat16))
    network = new_controlnet(transformer, None, torch.float32)
    torch.testing.assert_close(network.transformer_blocks[0].attn.to_q.weight, truth, rtol=0.01, atol=1e-4)


def test_resumed_run_equals_an_uninterrupted_one(workshop: Workshop, tmp_path: Path) -> None:
    whole = load_file(run(workshop, tmp_path / "whole") / WEIGHTS)
    with pytest.raises(BrokenOffError):
        run(workshop, tmp_path / "broken", progress=until(4))
    resumed = load_file(run(workshop, tmp_path / "broken") / WEIGHTS)
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert whole["controlnet_blocks.0.weight"].any() and whole["controlnet_x_embedder.weight"].any()
    drawn = sorted(path.name for path in (tmp_path / "whole" / "validation").iterdir())
    assert drawn == [f"step_00000{step}_{sample}.png" for step in (3, 6) for sample in ("00_tile", "01_canny")]
    with Image.open(tmp_path / "whole" / "validation" / drawn[0]) as picture:
        assert picture.size == (128, 128)  # the control picture over the bundle


def test_loss_falls(workshop: Workshop, tmp_path: Path) -> None:
    options = FineTuneOptions(
        steps=24, batch=4, learning_rate=1e-2, validate_every=24, validation_steps=1, log_every=8, checkpointing=False
    )
    run(workshop, tmp_path / "run", options)
    losses = dict(read_losses(tmp_path / "run" / "log.jsonl"))
    assert losses[24] < 0.8 * losses[8]


def test_files_give_what_was_trained(tmp_path: Path) -> None:
    """Our loader and stock diffusers read the folder, ours the file alone too; all add what the network adds."""
    transformer = tiny_transformer()
    network = new_controlnet(transformer, 10, torch.float32, 2, 3)
    noise = torch.Generator().manual_seed(1)
    for weight in network.parameters():
        weight.data += 0.05 * torch.randn(weight.shape, generator=noise)
    truth, _ = answers(network, transformer)
    save_controlnet(network, tmp_path / "net", torch.float32, {"tile": 1})
    copies = [
        load_controlnet(tmp_path / "net"),
        load_controlnet(tmp_path / "net" / WEIGHTS),
        FluxControlNetModel.from_pretrained(tmp_path / "net"),
    ]
    for copy in copies:
        for got, expected in zip(answers(copy, transformer)[0], truth):
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)
    with safe_open(str(tmp_path / "net" / WEIGHTS), "pt") as file:
        assert json.loads(file.metadata()["modes"]) == {"tile": 1}


def test_refusals(workshop: Workshop) -> None:
    with pytest.raises(Bundle3DError, match="at most the 3 double blocks"):
        new_controlnet(tiny_transformer(), 10, torch.float32, 4)
    with pytest.raises(Bundle3DError, match="both numbers are 0"):
        new_controlnet(tiny_transformer(), 10, torch.float32, 0, 0)
    with pytest.raises(Bundle3DError, match="each once, but got tile, tile"):
        ControlNetOptions(("tile", "tile"))
    with pytest.raises(Bundle3DError, match="but got pose"):
        ControlNetOptions(("pose",))
    assert set(MODES) == set(CONTROL.modes)
