"""One reconstructed object: what its feature planes say of points and of regular grids.

Everything is worked on in chunks, so that memory does not grow with the number of points.
Source: specs/kiss3dgen.md sections 5.6 to 5.8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.nn import functional

from ..progress import Progress, silent
from .decoders import CORNERS, Decoder
from .triplane import sample_planes, sample_planes_at

POINTS = 1 << 16  # looked up at once


class TriplaneField:
    """The field of ``planes`` (3, C, h, w); points are in the model's frame."""

    def __init__(self, decoder: Decoder, planes: torch.Tensor) -> None:
        self.decoder, self.planes = decoder, planes

    def sdf(self, points: torch.Tensor, progress: Progress = silent) -> torch.Tensor:
        """Distances (N,) of ``points`` (N, 3), negative inside."""
        return self._query(points, self.decoder.sdf, progress)

    def deformation(self, points: torch.Tensor, progress: Progress = silent) -> torch.Tensor:
        """Raw displacements (N, 3) of grid vertices at ``points`` (N, 3)."""
        return self._query(points, self.decoder.deformation, progress)

    def color(self, points: torch.Tensor, progress: Progress = silent) -> torch.Tensor:
        """Colours (N, 3) in [0, 1] at ``points`` (N, 3), linear or sRGB as the model's config says."""
        return self._query(points, self.decoder.color, progress).clamp(0.0, 1.0)

    def material(self, points: torch.Tensor, progress: Progress = silent) -> torch.Tensor:
        """Metallic and roughness (N, 2) at ``points`` (N, 3), for a model that knows them."""
        return self._query(points, lambda features: torch.stack(self.decoder.material(features), dim=-1), progress)

    def cube_weights(self, points: torch.Tensor, rows: torch.Tensor, progress: Progress = silent) -> torch.Tensor:
        """Raw FlexiCubes weights (K, 21) of cubes whose corners are the ``rows`` (K, 8) of ``points`` (N, 3)."""
        results = []
        for start, chunk in _chunks(rows, POINTS // CORNERS):
            needed, corners = torch.unique(chunk, return_inverse=True)  # neighbours share most of theirs
            features = sample_planes(self.planes[None], points[None, needed])[0]
            results.append(self.decoder.cube_weights(features[corners]))
            progress(start + len(chunk), len(rows))
        return torch.cat(results)

    def sdf_grid(self, coordinates: torch.Tensor, progress: Progress = silent) -> torch.Tensor:
        """Distances (N, N, N) at the points (x[i], y[j], z[k]) of three equal axes of ``coordinates`` (N,).

        Sampling and the decoder's first layer are linear: they are done once for each plane, and a point adds up three
        of their results. Equal to ``sdf`` but for rounding, without looking any point up.
        """
        first, *others = self.decoder.net_sdf
        assert isinstance(first, nn.Linear)
        parts = first.weight.unflatten(1, (3, -1))
        xy, xz, zy = (
            torch.einsum("oc,chw->hwo", parts[:, plane], features)
            for plane, features in enumerate(sample_planes_at(self.planes, coordinates))
        )
        yz = zy + first.bias
        count = len(coordinates)
        result = self.planes.new_empty(count, count, count)
        for x in range(count):
            hidden = yz + xy[:, None, x] + xz[None, :, x]
            for layer in others:
                hidden = functional.relu(hidden, inplace=True) if isinstance(layer, nn.ReLU) else layer(hidden)
            result[x] = hidden[..., 0]
            progress(x + 1, count)
        return result

    def _query(
        self, points: torch.Tensor, decode: Callable[[torch.Tensor], torch.Tensor], progress: Progress
    ) -> torch.Tensor:
        results = []
        for start, chunk in _chunks(points, POINTS):
            results.append(decode(sample_planes(self.planes[None], chunk[None])[0]))
            progress(start + len(chunk), len(points))
        return torch.cat(results)


def _chunks(rows: torch.Tensor, size: int) -> Iterator[tuple[int, torch.Tensor]]:
    """Where each chunk starts, and its rows; one empty chunk where there are none."""
    for start in range(0, max(len(rows), 1), size):
        yield start, rows[start : start + size]
