"""Where silhouette edges pass between neighbouring pixels.

Every silhouette edge is walked, whatever triangle the pixels beside it show: with triangles of pixel size, looking only
at the edges of the visible triangle would miss most of the outline. Source: specs/kernels.md section 3.

A silhouette edge has all its faces on one side in the image. A mostly vertical edge is intersected with the rows of
pixel centres and separates horizontal neighbours, a mostly horizontal one separates vertical neighbours, so that the
blended coverage adds up to the area. Of several crossings between two pixels the outermost counts. A crossing counts
if the pixel on the inner side is covered and the edge is in front of what the pixel on the outer side shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..kernels import kernel, resolve_backend, run_jobs
from .edges import Edges, find_edges
from .screen import SMALLEST_W

Array = np.ndarray


@dataclass(frozen=True)
class Crossings:
    """R places where an outline separates two pixels.

    ``inner``, ``outer`` (R,) int64 flat indices into (V, H, W); ``ends`` (R, 2) int64 flat indices into (V, N) of the
    vertices of the edge; ``vertical`` (R,) bool: the pixels are above each other.
    """

    inner: torch.Tensor
    outer: torch.Tensor
    ends: torch.Tensor
    vertical: torch.Tensor


def find_crossings(
    clip: torch.Tensor, faces: torch.Tensor, face: torch.Tensor, depth: torch.Tensor, backend: str = "auto"
) -> Crossings:
    """Crossings of the mesh ``clip`` (V, N, 4), ``faces`` (M, 3) in images of ``face`` and ``depth`` (V, H, W)."""
    clip = clip.detach()
    chosen = resolve_backend(backend, clip)
    edges = find_edges(faces, clip.shape[1], chosen)
    if chosen == "torch":
        parts = [_crossings_torch(clip[v].double(), edges, face[v], depth[v]) for v in range(clip.shape[0])]
    else:
        exact = clip.float().contiguous()
        parts = run_jobs(crossings_of_view, [(exact[v], edges, face[v], depth[v]) for v in range(clip.shape[0])])
    pixels, count = face.shape[1] * face.shape[2], clip.shape[1]
    return Crossings(
        torch.cat([part[0] + v * pixels for v, part in enumerate(parts)]),
        torch.cat([part[1] + v * pixels for v, part in enumerate(parts)]),
        torch.cat([part[2] + v * count for v, part in enumerate(parts)]),
        torch.cat([part[3] for part in parts]),
    )


Part = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def _crossings_torch(clip: torch.Tensor, edges: Edges, face: torch.Tensor, depth: torch.Tensor) -> Part:
    height, width = face.shape
    ends, start = edges.ends.long(), edges.start.long()
    a, b = clip[ends[:, 0]], clip[ends[:, 1]]
    homogeneous = (0, 1, 3)
    normal = torch.linalg.cross(a[:, homogeneous], b[:, homogeneous])
    edge_of = torch.repeat_interleave(torch.arange(len(ends), device=clip.device), start[1:] - start[:-1])
    side = (normal[edge_of] * clip[edges.opposite.long()][:, homogeneous]).sum(-1)
    left = torch.zeros(len(ends), dtype=torch.int64, device=clip.device).index_add(0, edge_of, (side > 0).long())
    right = torch.zeros_like(left).index_add(0, edge_of, (side < 0).long())
    seen = (a[:, 3] >= SMALLEST_W) & (b[:, 3] >= SMALLEST_W) & (a[:, 2] >= -a[:, 3]) & (b[:, 2] >= -b[:, 3])
    kept = (((left > 0) != (right > 0)) & seen).nonzero().squeeze(1)
    a, b, on_left = a[kept], b[kept], left[kept] > 0
    ax, ay, az = _on_screen(a, height, width)
    bx, by, bz = _on_screen(b, height, width)
    dx, dy = bx - ax, by - ay
    vertical = dy.abs() < dx.abs()
    # s runs along the lines of pixel centres that are crossed, t across them
    s0, s1, t0 = torch.where(vertical, ax, ay), torch.where(vertical, bx, by), torch.where(vertical, ay, ax)
    ds, dt = s1 - s0, torch.where(vertical, dy, dx)
    lines, places = torch.where(vertical, width, height), torch.where(vertical, height, width)
    first = (torch.minimum(s0, s1) - 0.5).ceil().clamp(min=0)
    last = torch.minimum((torch.maximum(s0, s1) - 0.5).ceil() - 1, lines - 1.0)
    number = (last - first + 1).clamp(min=0).nan_to_num(0.0).long()
    item = torch.repeat_interleave(torch.arange(len(kept), device=clip.device), number)
    step = torch.arange(len(item), device=clip.device) - (number.cumsum(0) - number)[item]
    line = first[item] + step
    share = (line + 0.5 - s0[item]) / ds[item]
    t = t0[item] + share * dt[item] - 0.5
    place = t.floor()
    fraction = t - place
    z = az[item] + share * (bz - az)[item]
    upright = vertical[item]
    # seen along the edge with y down, the inner side is the greater t for upright pairs and the smaller one otherwise
    inner_after = (on_left[item] == (ds[item] > 0)) != upright
    inside = (place >= 0) & (place + 1 < places[item])
    place = place.clamp(min=0)
    before = torch.where(upright, place * width + line, line * width + place).long()
    after = before + torch.where(upright, width, 1)
    inner, outer = torch.where(inner_after, after, before), torch.where(inner_after, before, after)
    reach = torch.where(inner_after, 1.0 - fraction, fraction)
    flat_face, flat_depth = face.reshape(-1), depth.reshape(-1)
    candidate = inside.nonzero().squeeze(1)
    visible = (flat_face[inner[candidate]] >= 0) & (z[candidate] < flat_depth[outer[candidate]])
    candidate = candidate[visible & (flat_face[inner[candidate]] != flat_face[outer[candidate]])]
    slot = before[candidate] + upright[candidate] * (height * width)
    order = torch.argsort(reach[candidate], descending=True, stable=True)
    order = order[torch.argsort(slot[order], stable=True)]
    lead = torch.ones(len(order), dtype=torch.bool, device=clip.device)
    lead[1:] = slot[order][1:] != slot[order][:-1]
    chosen = candidate[order[lead]]
    return inner[chosen], outer[chosen], ends[kept[item[chosen]]], upright[chosen]


def _on_screen(points: torch.Tensor, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    w = points[:, 3]
    return (points[:, 0] / w + 1) * (width / 2), (1 - points[:, 1] / w) * (height / 2), points[:, 2] / w


def crossings_of_view(clip: torch.Tensor, edges: Edges, face: torch.Tensor, depth: torch.Tensor) -> Part:
    """The compiled way for one view, ``clip`` (N, 4) float32: inner, outer, ends and vertical as in Crossings."""
    height, width = face.shape
    slot, reach = np.zeros((2, height * width), np.int32), np.empty((2, height * width))
    ends, start, opposite = edges.ends.numpy(), edges.start.numpy(), edges.opposite.numpy()
    found = mark_crossings(clip.detach().numpy(), ends, start, opposite, face.numpy(), depth.numpy(), slot, reach)
    inner, outer, corners = np.empty(found, np.int64), np.empty(found, np.int64), np.empty((found, 2), np.int64)
    vertical = np.empty(found, np.bool_)
    list_crossings(slot, ends, width, inner, outer, corners, vertical)
    return (
        torch.from_numpy(inner),
        torch.from_numpy(outer),
        torch.from_numpy(corners),
        torch.from_numpy(vertical),
    )


@kernel
def mark_crossings(
    clip: Array, ends: Array, start: Array, opposite: Array, face: Array, depth: Array, slot: Array, reach: Array
) -> int:
    """Enter into ``slot`` (2, H * W), zero at first, the outermost edge between each pixel and its right (0) or lower
    (1) neighbour as e + 1, negative if the inner pixel is the second; ``reach`` is scratch. Returns how many."""
    height, width = face.shape
    found = 0
    for e in range(ends.shape[0]):
        i, j = ends[e, 0], ends[e, 1]
        aw, bw = np.float64(clip[i, 3]), np.float64(clip[j, 3])
        if not (aw >= SMALLEST_W and bw >= SMALLEST_W and clip[i, 2] >= -aw and clip[j, 2] >= -bw):
            continue
        ax, ay = np.float64(clip[i, 0]), np.float64(clip[i, 1])
        bx, by = np.float64(clip[j, 0]), np.float64(clip[j, 1])
        nx, ny, nw = ay * bw - aw * by, aw * bx - ax * bw, ax * by - ay * bx
        left, right = False, False
        for n in range(start[e], start[e + 1]):
            o = opposite[n]
            side = nx * clip[o, 0] + ny * clip[o, 1] + nw * clip[o, 3]
            left = left or side > 0.0
            right = right or side < 0.0
        if left == right:
            continue
        az, bz = clip[i, 2] / aw, clip[j, 2] / bw
        ax, ay = (ax / aw + 1.0) * (width / 2), (1.0 - ay / aw) * (height / 2)
        bx, by = (bx / bw + 1.0) * (width / 2), (1.0 - by / bw) * (height / 2)
        vertical = abs(by - ay) < abs(bx - ax)
        if vertical:
            s0, s1, t0, t1, lines, places = ax, bx, ay, by, width, height
        else:
            s0, s1, t0, t1, lines, places = ay, by, ax, bx, height, width
        low, high = max(np.ceil(min(s0, s1) - 0.5), 0.0), min(np.ceil(max(s0, s1) - 0.5), np.float64(lines))
        if not low < high:
            continue
        second_inner = (left == (s1 > s0)) != vertical
        axis = 1 if vertical else 0
        for line in range(int(low), int(high)):
            share = (line + 0.5 - s0) / (s1 - s0)
            t = t0 + share * (t1 - t0) - 0.5
            floor = np.floor(t)
            if not (floor >= 0.0 and floor + 1.0 < places):
                continue
            place = int(floor)
            y, x = (place, line) if vertical else (line, place)
            y1, x1 = (place + 1, line) if vertical else (line, place + 1)
            if second_inner:
                inner, outer, shown, reached = face[y1, x1], face[y, x], depth[y, x], 1.0 - (t - floor)
            else:
                inner, outer, shown, reached = face[y, x], face[y1, x1], depth[y1, x1], t - floor
            if inner < 0 or inner == outer or not az + share * (bz - az) < shown:
                continue
            pair = y * width + x
            if slot[axis, pair] != 0 and reached <= reach[axis, pair]:
                continue
            if slot[axis, pair] == 0:
                found += 1
            slot[axis, pair] = -(e + 1) if second_inner else e + 1
            reach[axis, pair] = reached
    return found


@kernel
def list_crossings(
    slot: Array, ends: Array, width: int, inner: Array, outer: Array, corners: Array, vertical: Array
) -> None:
    """Write the occupied slots as consecutive records."""
    n = 0
    for axis in range(2):
        for pair in range(slot.shape[1]):
            mark = slot[axis, pair]
            if mark != 0:
                neighbour = pair + (width if axis == 1 else 1)
                edge = abs(mark) - 1
                inner[n] = neighbour if mark < 0 else pair
                outer[n] = pair if mark < 0 else neighbour
                corners[n, 0] = ends[edge, 0]
                corners[n, 1] = ends[edge, 1]
                vertical[n] = axis == 1
                n += 1
