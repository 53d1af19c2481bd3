"""Features of images lifted along their rays into a voxel grid.

Every voxel along a ray receives the same feature: nothing is hidden by what lies before it. Several views are averaged.
Source: specs/pixal3d.md sections 2.3 and 2.6, specs/kernels.md section 7.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

import torch

from ..errors import Bundle3DError
from .projection import GridCamera, sampling_coordinates, voxel_points

Sampler = Callable[[torch.Tensor], torch.Tensor]  # features (N, C) at the coordinates (N, 2)
CHUNK = 1 << 14  # voxels that are lifted at once


def sample_features(feature_map: torch.Tensor, coordinates: torch.Tensor) -> torch.Tensor:
    """(N, C) bilinear samples of ``feature_map`` (C, h, w) at ``coordinates`` (N, 2): x and y from -1 to 1 across it.

    Beyond the centres of the outermost pixels the map continues as it is there. Differentiable in both.
    """
    return map_sampler(feature_map)(coordinates)


def map_sampler(*feature_maps: torch.Tensor) -> Sampler:
    """A function that reads maps (C, h, w) of one image as `sample_features`, side by side on the axis of channels."""
    prepared = [(feature_map.shape, feature_map.flatten(1).T.contiguous()) for feature_map in feature_maps]

    def sample(coordinates: torch.Tensor) -> torch.Tensor:
        parts = [_sample_rows(rows, shape[1], shape[2], coordinates) for shape, rows in prepared]
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


def _sample_rows(rows: torch.Tensor, height: int, width: int, coordinates: torch.Tensor) -> torch.Tensor:
    """(N, C) samples of a map given as its pixels' ``rows`` (h * w, C)."""
    coordinates = coordinates.to(torch.promote_types(coordinates.dtype, torch.float32))
    x = (((coordinates[:, 0] + 1.0) * width - 1.0) / 2.0).clamp(0.0, width - 1.0)
    y = (((coordinates[:, 1] + 1.0) * height - 1.0) / 2.0).clamp(0.0, height - 1.0)
    left, top = x.detach().floor(), y.detach().floor()
    right, low = x - left, y - top
    weights = torch.stack(((1 - right) * (1 - low), right * (1 - low), (1 - right) * low, right * low), dim=1)
    first, step = top.long() * width + left.long(), (left < width - 1).long()
    down = (top < height - 1).long() * width
    taps = torch.stack((first, first + step, first + down, first + down + step), dim=1)
    return torch.nn.functional.embedding_bag(taps, rows, mode="sum", per_sample_weights=weights.to(rows.dtype))
