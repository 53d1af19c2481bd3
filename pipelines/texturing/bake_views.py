"""A texture and a normal map for a mesh, baked from the views of a rig.

Source: specs/kiss3dgen.md section 6.10 (the same projection in texture space), specs/kernels.md section 5 (baking).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from ..errors import Bundle3DError
from ..meshes.densify import densify
from ..meshes.harmonic_fill import harmonic_fill, joined_at_seams
from ..meshes.mesh import Material, Mesh
from ..meshes.padding import pad_texture
from ..meshes.tangents import tangent_frame, with_tangents
from ..progress import Progress, Stage, silent
from ..rendering.view_projection import Projected, ProjectionOptions, ViewProjection
from ..views.view_set import ViewSet
from .texel_map import TexelMap, rasterise_uv

CHUNK = 1 << 18  # texels looked up at once
COMPLETION_EDGE = 0.03  # world units between the samples of the completion
# A baked normal is believed within the first angle (cosine) of the mesh's own and dropped beyond the second.
NEAR_COSINE, FAR_COSINE = 0.7, 0.3
STEPS = 1000
PREPARED, COMPLETED = 150, 400  # of the steps


@dataclass(frozen=True)
class BakeOptions:
    """``power`` of the cosine: the higher, the more each texel belongs to the one view that sees it best (sharp), with
    a narrow blend between views. ``view_weights`` per view; ``threshold`` of quality below which texels give way to
    the smooth completion; ``rim`` pixels distrusted at silhouettes and occlusions; ``normal_map`` whether to bake the
    views' normals."""

    power: float = 8.0
    view_weights: Sequence[float] | None = None
    threshold: float = 0.05
    rim: float = 3.0
    normal_map: bool = True


def bake_views(
    mesh: Mesh,
    views: ViewSet,
    resolution: int = 2048,
    options: BakeOptions | None = None,
    progress: Progress = silent,
    backend: str = "auto",
) -> Mesh:
    """``mesh`` (with uv, in the world of the views' cameras) with one material of baked textures.

    The base colour (``resolution``, ``resolution``, 3) holds the views' sRGB colours; texels that no view sees are
    completed smoothly over the surface. The normal map holds the views' normals in the tangent space that the returned
    ``normals`` and ``tangents`` span, flat where unseen; vertices where mirrored and unmirrored uv meet are doubled for
    it. Vertex colours are dropped.

    Raises Bundle3DError for a mesh without faces or without uv.
    """
    options = options or BakeOptions()
    if mesh.faces.shape[0] == 0:
        raise Bundle3DError("Expected a mesh with faces to bake a texture for, but it is empty; reconstruct it first.")
    joined, ids = joined_at_seams(mesh)
    surface = mesh.with_(
        normals=joined.vertex_normals()[ids], tangents=None, colors=None, face_material=None, materials=()
    )
    if options.normal_map:
        surface = with_tangents(surface)
    projection = ProjectionOptions(view_weights=options.view_weights, power=options.power, rim=options.rim)
    images = torch.cat((views.rgb, views.normal), dim=-1) if options.normal_map else views.rgb
    progress(0, STEPS)
    project = ViewProjection(images, views.mask, views.rig, joined, projection, backend)
    fine = densify(surface, COMPLETION_EDGE)
    texels = rasterise_uv(fine, resolution, backend=backend)
    progress(PREPARED, STEPS)
    completed = _complete(fine, project, options, Stage(progress, PREPARED, COMPLETED, STEPS))
    color, bump = _bake(fine, texels, project, completed, options, Stage(progress, COMPLETED, STEPS, STEPS))
    material = Material(
        name="baked",
        base_color_texture=pad_texture(color, texels.mask).cpu(),
        normal_texture=pad_texture(bump, texels.mask).cpu() if bump is not None else None,
        repeat=False,
    )
    return surface.with_(materials=(material,))


def _complete(fine: Mesh, project: ViewProjection, options: BakeOptions, progress: Progress) -> torch.Tensor:
    """(N, 3) sRGB colours of the vertices of ``fine``, smooth over what no view sees."""
    joined, ids = joined_at_seams(fine)
    seen = project(joined.vertices, joined.vertex_normals())
    trust = seen.quality / options.threshold
    return harmonic_fill(joined.vertices, joined.faces, seen.mean()[:, :3], trust, progress)[ids]


def _bake(
    surface: Mesh,
    texels: TexelMap,
    project: ViewProjection,
    completed: torch.Tensor,
    options: BakeOptions,
    progress: Progress,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Base colour and tangent-space normals, both (R, R, 3) uint8, of the covered texels."""
    assert surface.normals is not None
    size = texels.face.shape[0]
    color = torch.zeros(size * size, 3, dtype=torch.uint8, device=completed.device)
    bump = torch.zeros_like(color) if options.normal_map else None
    covered = torch.nonzero(texels.mask.reshape(-1)).squeeze(1)
    for start, at in _chunks(covered):
        corners = surface.faces.index_select(0, texels.face.reshape(-1)[at].long())
        weights = texels.barycentric.reshape(-1, 3)[at]

        def interpolate(
            values: torch.Tensor, corners: torch.Tensor = corners, weights: torch.Tensor = weights
        ) -> torch.Tensor:
            return torch.stack([weights[:, i, None] * values.index_select(0, corners[:, i]) for i in range(3)]).sum(0)

        normal = torch.nn.functional.normalize(interpolate(surface.normals), dim=1)
        seen = project(interpolate(surface.vertices), normal)
        share = (seen.quality / options.threshold).clamp(max=1.0)[:, None]
        color[at] = _to_bytes(torch.lerp(interpolate(completed), seen.mean()[:, :3], share))
        if bump is not None:
            assert surface.tangents is not None
            bump[at] = _to_bytes(_tangent_normals(seen, share, normal, interpolate(surface.tangents)) * 0.5 + 0.5)
        progress(min(start + CHUNK, covered.shape[0]), covered.shape[0])
    shape = (size, size, 3)
    return color.reshape(shape), bump.reshape(shape) if bump is not None else None


def _chunks(covered: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
    for start in range(0, covered.shape[0], CHUNK):
        yield start, covered[start : start + CHUNK]


def _tangent_normals(seen: Projected, share: torch.Tensor, normal: torch.Tensor, tangent: torch.Tensor) -> torch.Tensor:
    """(P, 3) unit normals in the frame of ``normal`` (P, 3) and ``tangent`` (P, 4), straight up where not believed."""
    baked = torch.nn.functional.normalize(seen.mean()[:, 3:], dim=1)
    cosine = (baked * normal).sum(dim=1, keepdim=True)
    belief = share * ((cosine - FAR_COSINE) / (NEAR_COSINE - FAR_COSINE)).clamp(0.0, 1.0)
    baked = torch.nn.functional.normalize(torch.lerp(normal, baked, belief), dim=1)
    along, across, normal = tangent_frame(normal, tangent)
    local = torch.stack([(baked * axis).sum(dim=1) for axis in (along, across, normal)], dim=1)
    up = torch.tensor((0.0, 0.0, 1.0)).to(local)
    spanned = along.square().sum(dim=1, keepdim=True) > 0.5  # no tangent where the texture has no direction
    return torch.where(spanned, local, up)


def _to_bytes(values: torch.Tensor) -> torch.Tensor:
    return (values.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
