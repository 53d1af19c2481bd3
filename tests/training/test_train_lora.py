"""A LoRA of a tiny random base: starts at nothing, learns, resumes exactly, and is read back as it was trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle3d.pipelines.diffusion.loading.lora import apply_loras, load_lora
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.training.fine_tune import FineTuneOptions
from bundle3d.pipelines.training.lora_layers import add_lora, target_layers
from bundle3d.pipelines.training.loss_curve import read_losses
from bundle3d.pipelines.training.train_lora import LoraOptions, train_lora
from bundle3d.tests.support.tiny_files import write
from bundle3d.tests.support.tiny_flux import tiny_pipeline, tiny_transformer
from bundle3d.tests.training.conftest import Workshop
from diffusers import FluxTransformer2DModel
from safetensors.torch import load_file

LORA = LoraOptions(rank=4, alpha=4.0)
OPTIONS = FineTuneOptions(
    steps=8, batch=2, learning_rate=2e-3, validate_every=4, validation_steps=1, save_every=3, log_every=2
)


class BrokenOffError(Exception):
    pass


def until(last: int) -> Callable[..., None]:
    """A progress that breaks the run off after step ``last``."""

    def progress(done: int, total: int, preview: Any = None) -> None:
        if done == last:
            raise BrokenOffError

    return progress


def velocity_of(transformer: FluxTransformer2DModel) -> torch.Tensor:
    noise = torch.Generator().manual_seed(7)
    config = transformer.config
    with torch.no_grad():
        return transformer(
            hidden_states=torch.randn(1, 6, config.in_channels, generator=noise),
            encoder_hidden_states=torch.randn(1, 5, config.joint_attention_dim, generator=noise),
            pooled_projections=torch.randn(1, config.pooled_projection_dim, generator=noise),
            timestep=torch.tensor([0.6]),
            guidance=torch.tensor([3.5]),
            img_ids=torch.zeros(6, 3),
            txt_ids=torch.zeros(5, 3),
            return_dict=False,
        )[0]


def run(workshop: Workshop, folder: Path, options: FineTuneOptions = OPTIONS, **changes: Any) -> Path:
    models = workshop.models()
    return train_lora(models, workshop.encoded(models), ["a red box"], folder, LORA, options, **changes)


def test_resumed_run_equals_an_uninterrupted_one(workshop: Workshop, tmp_path: Path) -> None:
    whole = load_file(run(workshop, tmp_path / "whole"))
    for last in (2, 5):  # before and after the first state that was saved
        with pytest.raises(BrokenOffError):
            run(workshop, tmp_path / "broken", progress=until(last))
    resumed = load_file(run(workshop, tmp_path / "broken"))
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert any(tensor.any() for name, tensor in whole.items() if name.endswith("lora_B.weight"))
    names = {path.name for path in (tmp_path / "broken").rglob("*")}
    assert {"step_000004_00.png", "step_000008_00.png", "loss.png", "log.jsonl", "run.json"} <= names
    pictures = [(tmp_path / name / "validation" / "step_000008_00.png").read_bytes() for name in ("whole", "broken")]
    assert pictures[0] == pictures[1]
    with pytest.raises(Bundle3DError, match="batch = 2"):
        run(workshop, tmp_path / "whole", FineTuneOptions(**{**vars(OPTIONS), "batch": 1}))


def test_loss_falls(workshop: Workshop, tmp_path: Path) -> None:
    options = FineTuneOptions(
        steps=60, batch=4, learning_rate=5e-3, validate_every=60, validation_steps=1, log_every=20, checkpointing=False
    )
    run(workshop, tmp_path / "run", options)
    losses = dict(read_losses(tmp_path / "run" / "log.jsonl"))
    assert list(losses) == [20, 40, 60]
    assert losses[60] < 0.8 * losses[20]


def test_file_gives_what_was_trained(workshop: Workshop, tmp_path: Path) -> None:
    """Our loader and stock diffusers read the file; both compute what the network computed when training ended."""
    models = workshop.models()
    data = workshop.encoded(models)
    plain = velocity_of(tiny_transformer())
    file = train_lora(models, data, [], tmp_path / "run", LORA, OPTIONS)
    trained = velocity_of(models.transformer.module)
    assert (trained - plain).abs().max() > 1e-4

    ours = workshop.models().transformer.module
    apply_loras(ours, [(load_lora(file), 1.0, "trained")])
    torch.testing.assert_close(velocity_of(ours), trained, rtol=0, atol=1e-6)

    stock = tiny_pipeline()
    stock.load_lora_weights(str(file.parent), weight_name=file.name)
    torch.testing.assert_close(velocity_of(stock.transformer), trained, rtol=0, atol=1e-6)


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float8_e4m3fn])
def test_base_of_small_types(tmp_path: Path, stored: torch.dtype) -> None:
    """The base stays as its file has it, the LoRA is of float32, and at the start it changes nothing."""
    from bundle3d.pipelines.diffusion.loading.transformer import load_transformer

    path = write(tmp_path / "flux.safetensors", tiny_transformer().state_dict(), stored)
    transformer = load_transformer(path, torch.bfloat16)

    def answer() -> torch.Tensor:
        config = transformer.config
        noise = torch.Generator().manual_seed(7)
        return transformer(
            hidden_states=torch.randn(1, 6, config.in_channels, generator=noise).bfloat16(),
            encoder_hidden_states=torch.randn(1, 5, config.joint_attention_dim, generator=noise).bfloat16(),
            pooled_projections=torch.randn(1, config.pooled_projection_dim, generator=noise).bfloat16(),
            timestep=torch.tensor([0.6]).bfloat16(),
            guidance=torch.tensor([3.5]),
            img_ids=torch.zeros(6, 3),
            txt_ids=torch.zeros(5, 3),
            return_dict=False,
        )[0]

    plain = answer()
    add_lora(transformer, target_layers(transformer), 2, 1.0, torch.bfloat16, seed=0)
    assert torch.equal(answer(), plain)
    trained = [weight for weight in transformer.parameters() if weight.requires_grad]
    frozen = {weight.dtype for weight in transformer.parameters() if not weight.requires_grad}
    assert {weight.dtype for weight in trained} == {torch.float32} and stored in frozen
    answer().float().square().sum().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in trained)
    assert sum(bool(weight.grad.any()) for weight in trained) == len(trained) // 2  # A gets none while B is zero


def test_targets() -> None:
    transformer = tiny_transformer()
    everything = target_layers(transformer)
    attention = target_layers(transformer, "attention")
    assert "transformer_blocks.0.norm1.linear" in everything and "single_transformer_blocks.0.proj_mlp" in everything
    assert "x_embedder" not in everything
    assert set(attention) < set(everything) and all(".attn." in name for name in attention)
    assert target_layers(transformer, "to_q, ff.net.2") == [
        name for name in everything if name.endswith((".attn.to_q", ".ff.net.2"))
    ]
    with pytest.raises(Bundle3DError, match="'to_x'"):
        target_layers(transformer, "to_q,to_x")


def test_refused_options(tmp_path: Path) -> None:
    with pytest.raises(Bundle3DError, match="rank"):
        add_lora(tiny_transformer(), ["transformer_blocks.0.attn.to_q"], 0, 1.0, torch.float32, 0)
    with pytest.raises(Bundle3DError, match="batch"):
        FineTuneOptions(batch=0)
    with pytest.raises(Bundle3DError, match="learning rate"):
        FineTuneOptions(learning_rate=0.0)
