"""Gradient descent on the vertices of a mesh whose triangles follow along.

Source: specs/kiss3dgen.md section 6.6 (after Palfinger, "Continuous remeshing for inverse rendering").
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .remesh import remesh
from .smooth import neighbour_sums


@dataclass(frozen=True)
class OptimizerSettings:
    """``learning_rate`` is in edge lengths per step and is multiplied by ``decay`` before every step. Edge lengths stay
    in [``shortest``, ``longest``] world units and grow by ``gain`` times the excess of the mean speed over
    ``target_speed``.
    """

    learning_rate: float = 0.3
    decay: float = 0.99
    ramp: float = 5.0
    shortest: float = 0.005
    longest: float = 0.02
    gain: float = 0.2
    laplacian: float = 0.02
    momentum: float = 0.8
    target_speed: float = 0.3
    tolerance: float = 0.5  # edges may differ from the wanted length by this share of it
    gradient_clip: float = 10.0  # in multiples of the mean gradient of the same vertex


class MeshOptimizer:
    """Vertices and what their descent remembers, remeshed between the steps.

    ``state`` (V, 9) float32 holds, per vertex: position (3), mean squared gradient (1), speed (1), mean gradient (3)
    and wanted edge length (1, world units). ``faces`` (M, 3) int64. Equal seeds give equal results.
    """

    def __init__(
        self,
        vertices: torch.Tensor,
        faces: torch.Tensor,
        settings: OptimizerSettings,
        seed: int = 0,
        backend: str = "auto",
    ) -> None:
        self.settings, self.backend = settings, backend
        self.faces = faces
        self.state = torch.zeros(len(vertices), 9, dtype=torch.float32, device=vertices.device)
        self.state[:, :3] = vertices
        self.state[:, 8] = settings.longest
        self.learning_rate = settings.learning_rate
        self.steps = 0
        self.generator = torch.Generator().manual_seed(seed)

    @property
    def vertices(self) -> torch.Tensor:
        """(V, 3) a copy of the positions that does not require gradients."""
        return self.state[:, :3].clone()

    @property
    def edge_length(self) -> float:
        """The wanted edge length in world units, averaged over the vertices."""
        return float(self.state[:, 8].mean())

    def step(self, gradient: torch.Tensor) -> None:
        """Move the vertices against ``gradient`` (V, 3) of the loss, and update the wanted edge length."""
        s = self.settings
        self.learning_rate *= s.decay
        self.steps += 1
        state = self.state
        position, squared, speed, mean = state[:, :3], state[:, 3:4], state[:, 4:5], state[:, 5:8]
        sums, degree = neighbour_sums(self.vertices, self.faces, self.backend)
        umbrella = position - sums / degree.clamp(min=1)[:, None]
        gradient = gradient + s.laplacian * speed * umbrella
        if self.steps > 1:
            limit = s.gradient_clip * mean.abs()
            gradient = torch.minimum(torch.maximum(gradient, -limit), limit)
        correction = 1 - s.momentum**self.steps
        keep = s.momentum * (1 - s.momentum ** (self.steps - 1)) / correction
        take = (1 - s.momentum) / correction
        mean = mean * keep + gradient * take
        squared = squared * keep + gradient.square().sum(-1, keepdim=True) * take
        velocity = mean / (squared.sqrt() + 1e-8)
        speed = velocity.norm(dim=-1, keepdim=True)
        rate = self.learning_rate * min(1.0, self.steps * (1 - s.momentum) / s.ramp)
        position = position - rate * velocity * state[:, 8:]
        growth = 1 + (speed.mean() - s.target_speed) * s.gain
        wanted = (state[:, 8:] * growth).clamp(s.shortest, s.longest)
        self.state = torch.cat((position, squared, speed, mean, wanted), dim=1)

    def remesh(self) -> None:
        """Bring the edges toward their wanted length: collapse, split and flip once."""
        wanted, tolerance = self.state[:, 8], self.settings.tolerance
        self.state, self.faces = remesh(
            self.state,
            self.faces,
            (1 - tolerance) * wanted,
            (1 + tolerance) * wanted,
            self.generator,
            backend=self.backend,
        )
