"""The z-buffer in plain torch operations, for any device: triangles to spans to pixels, in bounded batches."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from .barycentrics import covered_barycentrics
from .screen import OUTSIDE, SUBPIXELS, Screen

BATCH = 1 << 21  # spans or pixels that are held at once
EMPTY = torch.iinfo(torch.int64).max
HALF = SUBPIXELS // 2


def rasterise_torch(
    clip: torch.Tensor,
    faces: torch.Tensor,
    screen: Screen,
    height: int,
    width: int,
    front: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Face ids, barycentrics and depths of ``clip`` (V, N, 4) and ``faces`` (M, 3) int64.

    Only what lies behind the depths and faces ``front``, both (V, H, W), is drawn.
    """
    face, depth = visible_torch(faces, screen, height, width, front)
    pixel, _, weights = covered_barycentrics(clip.double(), faces, face)
    barycentric = torch.zeros(face.numel(), 3, device=clip.device)
    barycentric[pixel] = weights.float()
    return face, barycentric.reshape(*face.shape, 3), depth


def visible_torch(
    faces: torch.Tensor,
    screen: Screen,
    height: int,
    width: int,
    front: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Face ids and depths (V, H, W) alone, as `rasterise_torch`."""
    keys = torch.full((screen.position.shape[0], height * width), EMPTY, dtype=torch.int64, device=faces.device)
    for view, buffer in enumerate(keys):
        peeled = None
        if front is not None:
            peeled = torch.where(front[1][view] < 0, EMPTY, _keys(front[0][view], front[1][view])).reshape(-1)
        _fill(buffer, *_triangles(screen, faces, view), height, width, peeled)
    keys = keys.reshape(-1, height, width)
    empty = keys == EMPTY
    face = torch.where(empty, -1, keys & 0xFFFFFFFF).int()
    depth = torch.where(empty, 1.0, _sortable(keys >> 32).int().view(torch.float32))
    return face, depth


def _keys(depth: torch.Tensor, face: torch.Tensor) -> torch.Tensor:
    """int64 keys that sort by float32 depth, then by face."""
    return (_sortable(depth.view(torch.int32)).long() << 32) | face


def _sortable(bits: torch.Tensor) -> torch.Tensor:
    """Between the bits of a float32 and an integer that sorts like the float; its own inverse."""
    return torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)


def _triangles(screen: Screen, faces: torch.Tensor, view: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One view's corners (T, 3, 2) int64, their depths (T, 3) float64 and the faces (T,) that they show."""
    position, depth = screen.position[view][faces], screen.depth[view][faces]
    name = torch.arange(faces.shape[0], device=faces.device)
    if screen.piece_view.numel():
        whole, mine = (position[..., 0] != OUTSIDE).all(-1), screen.piece_view == view
        position = torch.cat((position[whole], screen.piece_position[mine]))
        depth = torch.cat((depth[whole], screen.piece_depth[mine]))
        name = torch.cat((name[whole], screen.piece_face[mine]))
    return position.long(), depth.double(), name


def _fill(
    buffer: torch.Tensor,
    corners: torch.Tensor,
    depth: torch.Tensor,
    name: torch.Tensor,
    height: int,
    width: int,
    front: torch.Tensor | None,
) -> None:
    """Draw triangles into ``buffer`` (H * W,): sortable depth in the upper and face in the lower half of each key.

    Only keys above those of ``front`` (H * W,) are drawn.
    """
    x, y = corners.unbind(-1)
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (y[:, 1] - y[:, 0]) * (x[:, 2] - x[:, 0])
    first_x = ((x.amin(-1) + HALF - 1) >> 8).clamp(min=0)
    last_x = ((x.amax(-1) - HALF) >> 8).clamp(max=width - 1)
    first_y = ((y.amin(-1) + HALF - 1) >> 8).clamp(min=0)
    last_y = ((y.amax(-1) - HALF) >> 8).clamp(max=height - 1)
    keep = ((area != 0) & (first_x <= last_x) & (first_y <= last_y)).nonzero().squeeze(1)
    turn = torch.tensor(((0, 2, 1), (0, 1, 2)), device=x.device)[(area[keep] > 0).long()]
    x, y, z = (torch.take_along_dim(values[keep], turn, 1) for values in (x, y, depth))
    name = name[keep]
    first_x, last_x, first_y, rows = first_x[keep], last_x[keep], first_y[keep], (last_y - first_y + 1)[keep]
    inverse = 1.0 / area[keep].abs().double()
    z0, rises = z[:, 0].contiguous(), (None, z[:, 1] - z[:, 0], z[:, 2] - z[:, 0])
    slope = torch.zeros_like(z0)
    edges = []
    for i, rise in enumerate(rises):
        a, b = (i + 1) % 3, (i + 2) % 3
        dx, dy = x[:, b] - x[:, a], y[:, b] - y[:, a]
        bias = torch.where((dy < 0) | ((dy == 0) & (dx > 0)), 0, -1)
        start = dx * (first_y * SUBPIXELS + HALF - y[:, a]) - dy * (first_x * SUBPIXELS + HALF - x[:, a])
        edges.append((start, dx * SUBPIXELS, dy * SUBPIXELS, bias, rise))
        if rise is not None:
            slope = slope - dy * SUBPIXELS * rise
    slope = slope * inverse
    for triangle, row in _expanded(rows):
        least = torch.zeros(len(row), dtype=torch.float64, device=row.device)
        most = (last_x - first_x).double()[triangle]
        begin_z = torch.zeros_like(least)
        for start, down, right, bias, rise in edges:
            edge = start[triangle] + down[triangle] * row
            if rise is not None:
                begin_z += edge * rise[triangle]
            edge += bias[triangle]
            step = right[triangle]
            # inside while edge - step * column >= 0; the quotient of integers of this size floors exactly
            bound = edge / step.double()
            most = torch.where(step > 0, torch.minimum(most, bound.floor()), most)
            least = torch.where(step < 0, torch.maximum(least, bound.ceil()), least)
            most = torch.where((step == 0) & (edge < 0), -1.0, most)
        first = least.long()
        length = (most.long() - first + 1).clamp(min=0)
        base = (first_y[triangle] + row) * width + first_x[triangle] + first
        begin_z = z0[triangle] + begin_z * inverse[triangle] + first * slope[triangle]
        for span, column in _expanded(length):
            shown = triangle[span]
            value = (begin_z[span] + column * slope[shown]).float()
            key, place = _keys(value, name[shown]), base[span] + column
            seen = (value >= -1.0) & (value < 1.0)
            if front is not None:
                seen &= key > front[place]
            # a masked selection costs more than a key that never wins
            buffer.scatter_reduce_(0, place, torch.where(seen, key, EMPTY), "amin")


def _expanded(count: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of (item, offset) with every offset below the item's ``count``; no item is torn apart."""
    ends = count.cumsum(0)
    total = int(ends[-1]) if count.numel() else 0
    marks = torch.arange(BATCH, total + BATCH, BATCH, device=count.device)
    begin, done = 0, 0
    stops = torch.unique(torch.searchsorted(ends, marks).clamp(max=count.numel() - 1) + 1)
    for stop in stops.tolist() if total else []:
        item = torch.repeat_interleave(torch.arange(begin, stop, device=count.device), count[begin:stop])
        yield item, torch.arange(done, done + item.shape[0], device=count.device) - (ends - count)[item]
        begin, done = stop, done + item.shape[0]
