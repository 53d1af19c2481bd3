"""Closing of the many small holes of decoded surfaces, which need not be manifold.

``holes.fill_holes`` triangulates any loop of a manifold surface with care; this one closes loops of a few edges by
fans, on millions of faces at once. Source: specs/pixal3d.md section 4, step 1; section 12 for why only small ones.
"""

from __future__ import annotations

import torch

from .topology import boundary_edges, label_components, unique_keys


def fill_small_holes(
    vertices: torch.Tensor, faces: torch.Tensor, perimeter: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """``vertices`` (N, 3) and ``faces`` (M, 3) with each simple closed boundary loop shorter than ``perimeter`` filled.

    A loop gets one vertex, the mean of the middles of its edges, and a triangle per edge, wound as the face beside it.
    Boundary curves that branch or end stay open.
    """
    rim = boundary_edges(faces)
    if rim.shape[0] == 0 or perimeter <= 0:
        return vertices, faces
    _, local = unique_keys(rim.reshape(-1))
    ends = local.reshape(-1, 2)
    nodes = int(local.max()) + 1
    label = label_components(ends, nodes)
    count = int(label.max()) + 1
    closed = torch.ones(count, dtype=torch.bool, device=faces.device)
    closed[label[torch.bincount(local, minlength=nodes) != 2]] = False
    loop = label.index_select(0, ends[:, 0])
    start, end = (vertices.index_select(0, rim[:, i]) for i in (0, 1))
    length = vertices.new_zeros(count).index_add(0, loop, (end - start).norm(dim=1))
    filled = closed & (length < perimeter)
    edges = filled.index_select(0, loop)
    number = filled.long().cumsum(0) - 1
    loops = number.index_select(0, loop[edges])
    total = int(filled.sum())
    middle = vertices.new_zeros(total, 3).index_add(0, loops, ((start + end) / 2)[edges])
    middle = middle / torch.bincount(loops, minlength=total)[:, None]
    fans = torch.stack((rim[edges, 1], rim[edges, 0], loops + vertices.shape[0]), dim=1)
    return torch.cat((vertices, middle)), torch.cat((faces, fans))
