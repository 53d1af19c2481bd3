"""Which point of the surface every texel of a mesh's texture shows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from ..meshes.mesh import Mesh, uv_of
from ..rendering.rasterise import rasterise, visible_faces


@dataclass(frozen=True)
class TexelMap:
    """The surface point of each texel of a texture.

    ``face`` (H, W) int32, -1 where no chart lies; ``barycentric`` (H, W, 3) float32, zero where empty.
    Row 0 is v = 0, texel centres are at +0.5.
    """

    face: torch.Tensor
    barycentric: torch.Tensor

    @property
    def mask(self) -> torch.Tensor:
        """(H, W) bool, true where a texel shows the surface."""
        return self.face >= 0

    def interpolate(self, values: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
        """(K, C) vertex values (N, C) at the K covered texels, in the row-major order of ``mask``."""
        covered = self.mask
        corners = faces.index_select(0, self.face[covered].long())
        weights = self.barycentric[covered]
        total = values.new_zeros((corners.shape[0], values.shape[1]))
        for i in range(3):
            total = total + weights[:, i, None].to(values) * values.index_select(0, corners[:, i])
        return total


def uv_to_clip(uv: torch.Tensor, depth: torch.Tensor | float = 0.0) -> torch.Tensor:
    """(..., 4) orthographic clip coordinates that draw uv (..., 2) of the unit square over the whole image."""
    u, v = uv.unbind(-1)
    return torch.stack((u * 2 - 1, 1 - v * 2, torch.zeros_like(u) + depth, torch.ones_like(u)), dim=-1)


def rasterise_uv(mesh: Mesh, resolution: int | tuple[int, int], border: int = 1, backend: str = "auto") -> TexelMap:
    """Draw the mesh into its own texture of ``resolution`` x ``resolution`` texels, or of a height and a width.

    A texel belongs to the face that its centre lies in. Faces too small to own a centre take the empty texel under
    their centroid, then charts grow by ``border`` rings of empty texels, which show the nearest point of the
    neighbouring face, so that bilinear lookups at a chart's rim read surface only. Parts outside the unit
    square are not drawn.

    Raises Bundle3DError for a mesh without uv or a resolution that cannot be drawn.
    """
    uv = uv_of(mesh).to(torch.float32)
    height, width = (resolution, resolution) if isinstance(resolution, int) else resolution
    fragments = rasterise(uv_to_clip(uv)[None], mesh.faces, height, width, backend=backend)
    face, barycentric = fragments.face[0], fragments.barycentric[0]
    corners = uv.index_select(0, mesh.faces.reshape(-1)).reshape(-1, 3, 2) * uv.new_tensor((width, height))
    _add_missed_faces(face, barycentric, corners)
    for _ in range(border):
        _grow(face, barycentric, corners)
    return TexelMap(face, barycentric)


def _add_missed_faces(face: torch.Tensor, barycentric: torch.Tensor, corners: torch.Tensor) -> None:
    """Give faces without a texel the one under their centroid if it is empty; writes into the first two."""
    height, width = face.shape
    drawn = torch.zeros(corners.shape[0], dtype=torch.bool, device=face.device)
    drawn[face[face >= 0].long()] = True
    missed = torch.nonzero(~drawn)[:, 0]
    texel = corners.index_select(0, missed).mean(1).floor()
    inside = ((texel >= 0) & (texel < texel.new_tensor((width, height)))).all(1)
    missed, texel = missed[inside], texel[inside].long()
    target = texel[:, 1] * width + texel[:, 0]
    empty = face.reshape(-1).index_select(0, target) < 0
    missed, target = missed[empty], target[empty]
    winner = torch.full((height * width,), corners.shape[0], dtype=torch.int64, device=face.device)
    winner = winner.scatter_reduce(0, target, missed, reduce="amin")
    chosen = torch.unique(target)
    face.view(-1)[chosen] = winner.index_select(0, chosen).to(face.dtype)
    barycentric.view(-1, 3)[chosen] = 1.0 / 3.0


def _grow(face: torch.Tensor, barycentric: torch.Tensor, corners: torch.Tensor) -> None:
    """Add one ring of texels around the covered ones; writes into the first two."""
    covered = (face >= 0).to(torch.float32)
    near = functional.max_pool2d(covered[None], 3, stride=1, padding=1)[0]
    row, column = torch.nonzero((near > 0) & (face < 0), as_tuple=True)
    if row.numel() == 0:
        return
    padded = functional.pad(face, (1, 1, 1, 1), value=-1)
    around = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    centre = torch.stack((column, row), dim=-1).to(corners.dtype) + 0.5
    best = torch.full(row.shape, torch.inf, dtype=torch.float64, device=row.device)
    chosen, weights = torch.zeros_like(row), torch.zeros((row.numel(), 3), dtype=torch.float64, device=row.device)
    for y, x in around:
        candidate = padded[row + y, column + x].long()
        at = torch.nonzero(candidate >= 0)[:, 0]
        candidate = candidate[at]
        own_weights, distance = _nearest_weights(corners[candidate], centre[at])
        nearer = distance < best[at]
        at = at[nearer]
        best[at], chosen[at], weights[at] = distance[nearer], candidate[nearer], own_weights[nearer]
    face[row, column] = chosen.to(face.dtype)
    barycentric[row, column] = weights.to(barycentric.dtype)


def _nearest_weights(corners: torch.Tensor, point: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Barycentrics (..., 3) of a triangle's (..., 3, 2) point near ``point`` (..., 2), and its squared distance."""
    a, b, c = corners.to(torch.float64).unbind(-2)
    point = point.to(torch.float64)
    ab, ac, ap = b - a, c - a, point - a
    area = ab[..., 0] * ac[..., 1] - ab[..., 1] * ac[..., 0]
    safe = torch.where(area == 0, torch.ones_like(area), area)
    second = (ap[..., 0] * ac[..., 1] - ap[..., 1] * ac[..., 0]) / safe
    third = (ab[..., 0] * ap[..., 1] - ab[..., 1] * ap[..., 0]) / safe
    weights = torch.stack((1 - second - third, second, third), dim=-1).clamp(min=0)
    weights = torch.where(area[..., None] == 0, torch.full_like(weights, 1 / 3), weights)
    weights = weights / weights.sum(-1, keepdim=True)
    nearest = (weights[..., None] * torch.stack((a, b, c), dim=-2)).sum(-2)
    return weights, (nearest - point).square().sum(-1)


@dataclass(frozen=True)
class UvOverlap:
    """Texels that more than one face covers: ``covered`` and ``overlapped`` counts, and the pairs (K, 2) of the lowest
    and the highest face index at each of the overlapped texels."""

    covered: int
    overlapped: int
    pairs: torch.Tensor

    @property
    def share(self) -> float:
        """Overlapped texels per covered texel."""
        return self.overlapped / self.covered if self.covered else 0.0


def uv_overlap(
    uv: torch.Tensor, faces: torch.Tensor, resolution: int | tuple[int, int], backend: str = "auto"
) -> UvOverlap:
    """Find faces that share texels, by drawing uv (N, 2) in the unit square twice: lowest and highest face on top.

    Faces that meet in an edge share no texel, for a centre on an edge belongs to one side only.
    """
    count = faces.shape[0]
    height, width = (resolution, resolution) if isinstance(resolution, int) else resolution
    corners = uv.to(torch.float32).index_select(0, faces.reshape(-1))
    order = torch.linspace(-0.9, 0.9, count, device=uv.device).repeat_interleave(3) if count else corners[:, 0]
    single = torch.arange(count * 3, device=uv.device).reshape(count, 3)
    low, high = (
        visible_faces(uv_to_clip(corners, depth)[None], single, height, width, backend=backend)[0]
        for depth in (order, -order)
    )
    shared = low != high
    return UvOverlap(int((low >= 0).sum()), int(shared.sum()), torch.stack((low[shared], high[shared]), dim=1).long())
