"""Search of the nearest triangle in a tree of boxes with torch alone, on any device: the twin of the compiled one."""

from __future__ import annotations

import torch

from .triangle_tree_numba import FLAT


def search_torch(
    corners: torch.Tensor, low: torch.Tensor, high: torch.Tensor, leaf: int, points: torch.Tensor, limit: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Position (Q,) int64 among ``corners`` (M, 3, 3), weights (Q, 3) and distance (Q,) of what is nearest to
    ``points`` (Q, 3) within ``limit``; -1 where there is nothing. Boxes as in ``TriangleTree``.

    A first way down the tree, to the nearer child each time, bounds the distance; then all nodes within the bound are
    opened, level by level.
    """
    count = points.shape[0]
    leaves = low.shape[0] // 2
    levels = leaves.bit_length() - 1
    query = torch.arange(count, device=points.device)
    node = torch.ones_like(query)
    for _ in range(levels):
        left, right = (_box_distance(low, high, 2 * node + side, points) for side in (0, 1))
        node = 2 * node + (right < left).long()
    bound = torch.full((count,), limit, dtype=torch.float64, device=points.device).square()
    bound = torch.minimum(bound, _leaf_distances(corners, leaf, node - leaves, points)[1].amin(1))
    node = torch.ones_like(query)
    for _ in range(levels):
        node = torch.stack((2 * node, 2 * node + 1), dim=1).reshape(-1)
        query = query.repeat_interleave(2)
        # boxes are measured in single precision: keep what rounding alone may have pushed away
        near = _box_distance(low, high, node, points.index_select(0, query)) * 0.999999 <= bound.index_select(0, query)
        node, query = node[near], query[near]
    weights, distance = _leaf_distances(corners, leaf, node - leaves, points.index_select(0, query))
    slot = distance.argmin(1)
    rows = torch.arange(slot.shape[0], device=slot.device)
    weights, distance = weights[rows, slot], distance[rows, slot]
    best = torch.full_like(bound, limit).square().scatter_reduce(0, query, distance, "amin")
    wins = torch.nonzero((distance == best.index_select(0, query)) & (distance < limit**2)).squeeze(1)
    found = torch.full_like(bound, -1, dtype=torch.int64)
    found[query[wins]] = wins
    position = (node - leaves) * leaf + slot
    hit = found >= 0
    nothing = torch.zeros(count, 3, dtype=points.dtype, device=points.device)
    nothing[hit] = weights[found[hit]].to(points.dtype)
    return (
        torch.where(hit, position[found.clamp(min=0)] if len(position) else found, -1),
        nothing,
        best.sqrt().to(points.dtype),
    )


def _box_distance(low: torch.Tensor, high: torch.Tensor, node: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    gap = torch.maximum(low.index_select(0, node) - points, points - high.index_select(0, node)).clamp(min=0)
    return gap.square().sum(1)


def _leaf_distances(
    corners: torch.Tensor, leaf: int, number: torch.Tensor, points: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights (K, L, 3) and squared distances (K, L) of ``points`` (K, 3) and the triangles of leaf ``number`` (K,)."""
    index = number[:, None] * leaf + torch.arange(leaf, device=points.device)
    there = index < corners.shape[0]
    own = corners.index_select(0, index.clamp(max=corners.shape[0] - 1).reshape(-1)).reshape(-1, leaf, 3, 3)
    weights, distance = nearest_weights(own.double(), points[:, None].double())
    return weights, torch.where(there, distance, torch.inf)


def nearest_weights(corners: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Barycentrics (..., 3) of the point of each triangle (..., 3, 3) nearest to ``points`` (..., 3), and its squared
    distance (...)."""
    a, b, c = corners.unbind(-2)
    u, v, w = b - a, c - a, points - a
    uu, uv, vv = (u * u).sum(-1), (u * v).sum(-1), (v * v).sum(-1)
    wu, wv = (w * u).sum(-1), (w * v).sum(-1)
    area = uu * vv - uv * uv
    solid = area > FLAT * uu * vv
    safe = torch.where(solid, area, 1.0)
    second, third = (vv * wu - uv * wv) / safe, (uu * wv - uv * wu) / safe
    inside = solid & (second >= 0) & (third >= 0) & (second + third <= 1)
    best = torch.stack((1 - second - third, second, third), dim=-1)
    distance = torch.where(inside, (w - second[..., None] * u - third[..., None] * v).square().sum(-1), torch.inf)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        start, run = corners[..., i, :], corners[..., j, :] - corners[..., i, :]
        length = (run * run).sum(-1)
        share = ((points - start) * run).sum(-1) / torch.where(length > 0, length, 1.0)
        share = share.clamp(0, 1)
        gap = (points - start - share[..., None] * run).square().sum(-1)
        nearer = ~inside & (gap < distance)
        weights = torch.zeros_like(best)
        weights[..., i], weights[..., j] = 1 - share, share
        best = torch.where(nearer[..., None], weights, best)
        distance = torch.where(nearer, gap, distance)
    return best, distance
