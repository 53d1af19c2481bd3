"""Features of images lifted along their rays into a voxel grid.

Every voxel along a ray receives the same feature: nothing is hidden by what lies before it. Several views are averaged.
Source: specs/pixal3d.md sections 2.3 and 2.6, specs/kernels.md section 7.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from ..errors import Bundle3DError
from ..kernels import kernel, resolve_backend, run_jobs
from .projection import GridCamera, sampling_coordinates, voxel_points

Sampler = Callable[[torch.Tensor], torch.Tensor]  # features (N, C) at the coordinates (N, 2)
BAND = 1 << 11  # of which one thread reads so many
CHUNK = 1 << 14  # voxels that are lifted at once


def sample_features(feature_map: torch.Tensor, coordinates: torch.Tensor, backend: str = "auto") -> torch.Tensor:
    """(N, C) bilinear samples of ``feature_map`` (C, h, w) at ``coordinates`` (N, 2): x and y from -1 to 1 across it.

    Beyond the centres of the outermost pixels the map continues as it is there. Differentiable in both. Raises
    Bundle3DError for a map of another shape or without pixels.
    """
    return map_sampler(feature_map, backend=backend)(coordinates)


def map_sampler(*feature_maps: torch.Tensor, backend: str = "auto") -> Sampler:
    """A function that reads maps (C, h, w) of one image as `sample_features`, side by side on the axis of channels."""
    for feature_map in feature_maps:
        if feature_map.ndim != 3 or not feature_map.shape[1] or not feature_map.shape[2]:
            raise Bundle3DError(
                f"Expected a feature map of shape (C, h, w), but got {tuple(feature_map.shape)}; give one for each "
                "view."
            )
    prepared = [(feature_map.shape, feature_map.flatten(1).T.contiguous()) for feature_map in feature_maps]

    def sample(coordinates: torch.Tensor) -> torch.Tensor:
        parts = [_sample_rows(rows, shape[1], shape[2], coordinates, backend) for shape, rows in prepared]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    return sample


def back_project(
    maps: Sequence[torch.Tensor | Sampler],
    cameras: Sequence[GridCamera],
    resolution: int,
    coords: torch.Tensor | None = None,
    image_size: int = 512,
    mesh_scale: float = 1.0,
) -> torch.Tensor:
    """(N, C) features of the voxels ``coords`` (N, 3), or (R^3, C) of all, x first: means over the views.

    ``maps`` has one map (C, h, w) or one function from coordinates to features for each of ``cameras``; ``image_size``
    is that of the encoded image. Where consumers take voxels as they come, use `back_projected_chunks`.
    """
    volume = None
    for rows, features in back_projected_chunks(maps, cameras, resolution, coords, image_size, mesh_scale):
        if volume is None:
            count = resolution**3 if coords is None else coords.shape[0]
            volume = features.new_empty(count, features.shape[1])
        volume[rows] = features
    assert volume is not None
    return volume


def back_projected_chunks(
    maps: Sequence[torch.Tensor | Sampler],
    cameras: Sequence[GridCamera],
    resolution: int,
    coords: torch.Tensor | None = None,
    image_size: int = 512,
    mesh_scale: float = 1.0,
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Rows and their features of `back_project`, some voxels at a time, so that the whole volume never exists.

    Raises Bundle3DError unless there are as many maps as cameras, at least one.
    """
    if not maps or len(maps) != len(cameras):
        raise Bundle3DError(
            f"Expected one feature map for each of at least one camera, but got {len(maps)} maps for {len(cameras)} "
            "cameras; give as many."
        )
    samplers = [map_sampler(item) if isinstance(item, torch.Tensor) else item for item in maps]
    device = next((item.device for item in maps if isinstance(item, torch.Tensor)), None)
    count = resolution**3 if coords is None else coords.shape[0]
    for start in range(0, max(count, 1), CHUNK):
        rows = slice(start, min(start + CHUNK, count))
        voxels = _dense_voxels(rows, resolution, device) if coords is None else coords[rows]
        points = voxel_points(voxels, resolution, mesh_scale)
        seen = (
            sampler(sampling_coordinates(camera.project(points), image_size))
            for sampler, camera in zip(samplers, cameras)
        )
        yield rows, functools.reduce(torch.add, seen) / len(cameras)


def _dense_voxels(rows: slice, resolution: int, device: torch.device | None) -> torch.Tensor:
    index = torch.arange(rows.start, rows.stop, device=device)
    return torch.stack((index // resolution**2, index // resolution % resolution, index % resolution), dim=1)


def _sample_rows(rows: torch.Tensor, height: int, width: int, coordinates: torch.Tensor, backend: str) -> torch.Tensor:
    """(N, C) samples of a map given as its pixels' ``rows`` (h * w, C); compiled where no gradient is wanted."""
    chosen = resolve_backend(backend, rows)
    if chosen == "torch" or (torch.is_grad_enabled() and (rows.requires_grad or coordinates.requires_grad)):
        return _sample_rows_torch(rows, height, width, coordinates)
    places = coordinates.detach().float().contiguous().numpy()
    found = rows.new_empty(places.shape[0], rows.shape[1])
    source, target = rows.detach().numpy(), found.numpy()
    run_jobs(
        lambda start, stop: _sample(source, height, width, places[start:stop], target[start:stop]),
        [(start, start + BAND) for start in range(0, places.shape[0], BAND)],
    )
    return found


def _sample_rows_torch(rows: torch.Tensor, height: int, width: int, coordinates: torch.Tensor) -> torch.Tensor:
    coordinates = coordinates.to(torch.promote_types(coordinates.dtype, torch.float32))
    x = (((coordinates[:, 0] + 1.0) * width - 1.0) / 2.0).nan_to_num().clamp(0.0, width - 1.0)
    y = (((coordinates[:, 1] + 1.0) * height - 1.0) / 2.0).nan_to_num().clamp(0.0, height - 1.0)
    left, top = x.detach().floor(), y.detach().floor()
    right, low = x - left, y - top
    weights = torch.stack(((1 - right) * (1 - low), right * (1 - low), (1 - right) * low, right * low), dim=1)
    first, step = top.long() * width + left.long(), (left < width - 1).long()
    down = (top < height - 1).long() * width
    taps = torch.stack((first, first + step, first + down, first + down + step), dim=1)
    return torch.nn.functional.embedding_bag(taps, rows, mode="sum", per_sample_weights=weights.to(rows.dtype))


@kernel
def _sample(source: np.ndarray, height: int, width: int, places: np.ndarray, target: np.ndarray) -> None:
    one, half = np.float32(1.0), np.float32(0.5)
    for row in range(places.shape[0]):
        x = ((places[row, 0] + one) * np.float32(width) - one) * half
        y = ((places[row, 1] + one) * np.float32(height) - one) * half
        # so compared, what is not a number becomes zero instead of an address
        x = min(x, np.float32(width - 1)) if x > 0.0 else np.float32(0.0)
        y = min(y, np.float32(height - 1)) if y > 0.0 else np.float32(0.0)
        left, top = int(x), int(y)
        right, low = x - np.float32(left), y - np.float32(top)
        upper = top * width + left
        step = 1 if left < width - 1 else 0
        lower = upper + (width if top < height - 1 else 0)
        upper_left, upper_right = (one - right) * (one - low), right * (one - low)
        lower_left, lower_right = (one - right) * low, right * low
        for channel in range(source.shape[1]):
            target[row, channel] = (
                upper_left * source[upper, channel]
                + upper_right * source[upper + step, channel]
                + lower_left * source[lower, channel]
                + lower_right * source[lower + step, channel]
            )
