"""Quality of texture coordinates: overlap, stretch, texel density and colour steps at seams."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..meshes.mesh import Mesh, uv_of
from ..meshes.topology import edge_faces, unique_edges
from ..rendering.texture import sample_texture
from ..texturing.texel_map import uv_overlap

LARGEST_DRAWN = 2048  # texels per side at which overlap is looked for


@dataclass(frozen=True)
class UvReport:
    """Texture coordinates of a mesh.

    ``overlap``: share of covered texels that several faces cover. ``used``: share of the unit square that is covered.
    ``outside``: share of faces that leave the unit square. ``stretch``: mean ratio of the longer to the shorter axis
    that a circle on the surface becomes, by area; 1 is none. ``density``: median texels per unit of length (on a square
    of the base texture's size), and ``density_spread`` its 95th over its 5th percentile. ``seam_step``: mean difference
    of the base colour (sRGB, 0 to 1) between the two sides of the seams, None without a texture or seams.
    """

    overlap: float
    used: float
    outside: float
    stretch: float
    density: float
    density_spread: float
    seam_step: float | None


def uv_report(mesh: Mesh, welded: torch.Tensor) -> UvReport:
    """Figures of the texture coordinates; ``welded`` (M, 3) are the faces by place. Raises Bundle3DError without uv."""
    sizes = [max(m.base_color_texture.shape[:2]) for m in mesh.materials if m.base_color_texture is not None]
    texels = max(sizes, default=1024)
    overlap = uv_overlap(uv_of(mesh), mesh.faces, min(texels, LARGEST_DRAWN))
    corners = uv_of(mesh)[mesh.faces]
    outside = ((corners < -1e-4) | (corners > 1 + 1e-4)).flatten(1).any(1)
    stretch, density, area = _distortion(mesh)
    usable = (area > 0) & (density > 0) & torch.isfinite(stretch)
    weight = area[usable] / area[usable].sum().clamp(min=1e-300)
    low, middle, high = _percentiles(density[usable], weight) if bool(usable.any()) else (0.0, 0.0, 0.0)
    return UvReport(
        overlap=overlap.share,
        used=overlap.covered / min(texels, LARGEST_DRAWN) ** 2,
        outside=float(outside.float().mean()),
        stretch=float((stretch[usable] * weight).sum()) if bool(usable.any()) else 0.0,
        density=middle * texels,
        density_spread=high / low if low > 0 else 0.0,
        seam_step=seam_step(mesh, welded),
    )


def seam_step(mesh: Mesh, welded: torch.Tensor, samples: int = 4) -> float | None:
    """Mean absolute difference of the base colour texture (sRGB, 0 to 1) between the two sides of texture seams.

    Each seam edge counts by its length. None when no seam lies between textured faces.
    """
    _, face_edges = unique_edges(welded)
    pairs = edge_faces(face_edges)
    edge = torch.nonzero(pairs[:, 1] >= 0)[:, 0]
    first, second = pairs[edge].unbind(1)
    ends_a, ends_b = (_edge_ends(mesh, welded, face_edges, face, edge) for face in (first, second))
    seam = (uv_of(mesh)[ends_a] != uv_of(mesh)[ends_b]).flatten(1).any(1)
    first, second, ends_a, ends_b = first[seam], second[seam], ends_a[seam], ends_b[seam]
    share = ((torch.arange(samples) + 0.5) / samples)[None, :, None]
    colors = []
    for face, ends in ((first, ends_a), (second, ends_b)):
        uv = uv_of(mesh)[ends]
        colors.append(_base_color(mesh, face, torch.lerp(uv[:, :1], uv[:, 1:], share)))
    known = torch.isfinite(colors[0]).flatten(1).all(1) & torch.isfinite(colors[1]).flatten(1).all(1)
    if not bool(known.any()):
        return None
    place = mesh.vertices[ends_a[known]]
    length = (place[:, 0] - place[:, 1]).norm(dim=1)
    step = (colors[0] - colors[1])[known].abs().mean((1, 2))
    return float((step * length).sum() / length.sum().clamp(min=1e-30))


def _edge_ends(
    mesh: Mesh, welded: torch.Tensor, face_edges: torch.Tensor, face: torch.Tensor, edge: torch.Tensor
) -> torch.Tensor:
    """(K, 2) the vertices at the ends of an edge as the given face has them, in the order of their places."""
    slot = (face_edges[face] == edge[:, None]).to(torch.int8).argmax(1)
    start, end = mesh.faces[face, slot], mesh.faces[face, (slot + 1) % 3]
    forward = welded[face, slot] < welded[face, (slot + 1) % 3]
    return torch.stack((torch.where(forward, start, end), torch.where(forward, end, start)), dim=1)


def _base_color(mesh: Mesh, face: torch.Tensor, uv: torch.Tensor) -> torch.Tensor:
    """Texture colours (K, S, 3) at uv (K, S, 2) on faces (K,); NaN where the face has no texture."""
    material = torch.zeros_like(face) if mesh.face_material is None else mesh.face_material[face]
    colors = torch.full((*uv.shape[:2], 3), torch.nan)
    for index, candidate in enumerate(mesh.materials):
        rows = material == index
        if candidate.base_color_texture is not None and bool(rows.any()):
            texture = candidate.base_color_texture[..., :3].float() / 255.0
            colors[rows] = sample_texture(texture, uv[rows], candidate.repeat)
    return colors


def _distortion(mesh: Mesh) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Per face (M,): axis ratio of the map from the surface to uv, uv lengths per unit of length, and area."""
    corners, uv = mesh.vertices[mesh.faces].double(), uv_of(mesh)[mesh.faces].double()
    edge_1, edge_2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    length = edge_1.norm(dim=1).clamp(min=1e-300)
    x = (edge_2 * edge_1).sum(1) / length
    cross = torch.linalg.cross(edge_1, edge_2).norm(dim=1)
    y = (cross / length).clamp(min=1e-300)
    step_1, step_2 = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
    along = step_1 / length[:, None]
    across = (step_2 - along * x[:, None]) / y[:, None]
    a, b, c = (along * along).sum(1), (along * across).sum(1), (across * across).sum(1)
    middle, spread = 0.5 * (a + c), (0.25 * (a - c) ** 2 + b * b).sqrt()
    longest, shortest = (middle + spread).sqrt(), (middle - spread).clamp(min=0).sqrt()
    return longest / shortest, (longest * shortest).sqrt(), cross / 2


def _percentiles(values: torch.Tensor, weight: torch.Tensor) -> tuple[float, float, float]:
    order = values.argsort()
    total = weight[order].cumsum(0)
    picks = torch.searchsorted(total, total.new_tensor([0.05, 0.5, 0.95])).clamp(max=len(values) - 1)
    low, middle, high = values[order][picks].tolist()
    return low, middle, high
