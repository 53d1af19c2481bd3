"""AdamW and Muon side by side."""

from __future__ import annotations

import copy

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.training.optimizer import MUON_SHARE, Optimizer


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 1))


def step(module: torch.nn.Module, optimizer: Optimizer, rate: float) -> float:
    inputs = torch.linspace(-1.0, 1.0, 32).reshape(8, 4)
    loss = (module(inputs)[:, 0] - inputs.sum(1)).square().mean()
    loss.backward()
    optimizer.step(rate)
    return float(loss.detach())


def test_muon_takes_the_hidden_matrices_only() -> None:
    module = network()
    optimizer = Optimizer(module, 0.0, lambda name: name.startswith("0."))
    counts = {
        name: sum(w.numel() for g in part.param_groups for w in g["params"]) for name, part in optimizer.parts.items()
    }
    assert counts == {"muon": 24, "adamw": 6 + 6 + 1}
    step(module, optimizer, 1e-3)
    assert optimizer.parts["muon"].param_groups[0]["lr"] == MUON_SHARE * optimizer.parts["adamw"].param_groups[0]["lr"]
    assert all(weight.grad is None for weight in module.parameters())


@pytest.mark.parametrize("hidden", [None, lambda name: name.startswith("0.")])
def test_it_learns_and_goes_on_as_if_it_had_not_stopped(hidden: object) -> None:
    module = network()
    optimizer = Optimizer(module, 0.01, hidden)  # type: ignore[arg-type]
    losses = [step(module, optimizer, 1e-2) for _ in range(40)]
    assert losses[-1] < 0.2 * losses[0]
    other = network()
    other.load_state_dict(module.state_dict())
    resumed = Optimizer(other, 0.01, hidden)  # type: ignore[arg-type]
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert [step(module, optimizer, 1e-2) for _ in range(3)] == [step(other, resumed, 1e-2) for _ in range(3)]


def test_a_state_of_other_optimisers_is_refused() -> None:
    plain, both = Optimizer(network(), 0.0), Optimizer(network(), 0.0, lambda name: name.startswith("0."))
    with pytest.raises(Bundle3DError, match="state of the optimisers"):
        both.load_state_dict(plain.state_dict())
