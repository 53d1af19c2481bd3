from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.isomer.optimizer import MeshOptimizer, OptimizerSettings
from bundle3d.pipelines.kernels import HAVE_NUMBA

from .shapes import torus

BACKENDS = ["torch", *(["numba"] if HAVE_NUMBA else [])]
STAGE_ONE = OptimizerSettings(decay=0.995, gain=0.05, ramp=1.0, shortest=0.02, longest=0.1)
STAGE_TWO = OptimizerSettings()


def waves(step: int) -> torch.Tensor:
    return torch.sin(0.5 * torch.arange(288 * 3, dtype=torch.float64)).reshape(-1, 3).float() * 1e-3 * step


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("settings", "sums"),
    [
        (STAGE_TWO, (263.5542517, 263.5618658, 263.5724498)),
        (STAGE_ONE, (263.8419383, 264.0226936, 264.2751240)),
    ],
)
def test_three_steps_give_the_golden_sums(backend: str, settings: OptimizerSettings, sums: tuple[float, ...]):
    optimizer = MeshOptimizer(*torus(), settings, backend=backend)
    for step, golden in enumerate(sums, start=1):
        optimizer.step(waves(step))
        assert float(optimizer.vertices.double().abs().sum()) == pytest.approx(golden, abs=5e-6)


def test_the_first_step_gives_the_golden_vertex_and_speeds():
    optimizer = MeshOptimizer(*torus(), STAGE_TWO)
    for step, speed in enumerate((0.99999, 0.94574, 0.93426), start=1):
        optimizer.step(waves(step))
        assert float(optimizer.state[:, 4].mean()) == pytest.approx(speed, abs=1e-5)
        assert optimizer.edge_length == pytest.approx(0.02)
        if step == 1:
            assert optimizer.vertices[5].tolist() == pytest.approx((0.3833526, -0.0001488, 0.1248799), abs=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_torus_is_inflated_to_a_given_tube(backend: str):
    optimizer = MeshOptimizer(*torus(), OptimizerSettings(shortest=0.04, longest=0.1), backend=backend)
    for _ in range(60):
        vertices = optimizer.vertices
        ring = torch.nn.functional.normalize(vertices * torch.tensor((1.0, 1.0, 0.0)), dim=1) * 0.6
        tube = vertices - ring
        optimizer.step(tube * (1 - 0.35 / tube.norm(dim=1, keepdim=True)))
        optimizer.remesh()
    vertices = optimizer.vertices
    ring = torch.nn.functional.normalize(vertices * torch.tensor((1.0, 1.0, 0.0)), dim=1) * 0.6
    assert float(((vertices - ring).norm(dim=1) - 0.35).abs().mean()) < 0.01


def test_equal_seeds_give_equal_results():
    results = []
    for _ in range(2):
        optimizer = MeshOptimizer(*torus(), STAGE_ONE, seed=7)
        for _ in range(4):
            optimizer.step(optimizer.vertices * 0.01)
            optimizer.remesh()
        results.append(optimizer.vertices)
    assert torch.equal(*results)
