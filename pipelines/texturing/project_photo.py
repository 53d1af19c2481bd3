"""A photo painted on what it shows of a mesh, and the colours around it brought in line with it.

The photo's own pixels are taken where the surface faces the camera. The rest keeps its colours plus an offset: what
the photo differs by at its border, which fades with the distance from there.
Source: specs/kernels.md section 5 (projection, harmonic fill); specs/kiss3dgen.md sections 3.6 and 10 (B12).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from ..errors import Bundle3DError
from ..meshes.densify import densify
from ..meshes.harmonic_fill import joined_at_seams
from ..meshes.mesh import Material, Mesh
from ..meshes.padding import pad_texture
from ..progress import Progress, Stage, silent
from ..rendering.color import linear_to_srgb, srgb_to_linear
from ..rendering.texture import sample_texture
from ..rendering.view_projection import ProjectionOptions, ViewProjection
from ..views.camera import Camera
from ..views.finite import require_finite
from ..views.rig import Rig
from .paintable import paintable
from .seam_levels import seam_levels
from .texel_map import rasterise_uv

EDGE = 0.03  # world units between the samples of the offset
RIM_SIZE = 512  # pixels of the photo's longer side for which the rim is meant
TEXELS = 1 << 19  # that are painted at a time
PREPARED, LEVELLED, DONE = 35, 70, 100  # steps of the progress


@dataclass(frozen=True)
class PhotoOptions:
    """From cosine ``sure`` between surface and line of sight on the photo's pixels are taken, below ``doubtful`` none
    are. ``rim`` pixels at silhouettes and occlusions are distrusted, more of a photo larger than RIM_SIZE. Within
    ``reach`` world units of the photo's border the other colours are brought in line with it."""

    sure: float = 0.35
    doubtful: float = 0.1
    rim: float = 2.0
    reach: float = 1.0


@torch.no_grad()
def project_photo(
    mesh: Mesh,
    photo: torch.Tensor,
    mask: torch.Tensor,
    camera: Camera,
    resolution: int = 2048,
    options: PhotoOptions = PhotoOptions(),
    progress: Progress = silent,
    backend: str = "auto",
) -> Mesh:
    """``mesh`` with one material whose base colour shows ``photo`` (H, W, 3), sRGB in [0, 1], as ``camera`` sees it.

    ``mask`` (H, W) in [0, 1] tells where the photo shows the object. The texture is ``resolution`` texels wide, or more
    where the mesh's own is finer; its other textures are kept, vertex colours go into the texture.

    Raises Bundle3DError for a mesh without faces, for an empty mask or one of another size, and for pixels that are no
    numbers.
    """
    if mask.shape != photo.shape[:2] or not bool((mask > 0.5).any()):
        raise Bundle3DError(
            f"Expected a mask of the photo's size {tuple(photo.shape[:2])} with an object in it, but got "
            f"{tuple(mask.shape)}; prepare the photo first."
        )
    require_finite(photo, mask)
    surface, size = paintable(mesh, resolution, Stage(progress, 0, PREPARED, DONE), backend)
    fine = densify(surface, EDGE)
    joined, ids = joined_at_seams(fine)
    rim = options.rim * max(1.0, max(mask.shape) / RIM_SIZE)
    settings = ProjectionOptions(power=1.0, rim=rim, least_cosine=options.doubtful / 2.0)
    device = mesh.vertices.device
    project = ViewProjection(photo.to(device)[None], mask.to(device)[None], Rig((camera,)), surface, settings, backend)
    look = _Look(project, options)
    progress(PREPARED, DONE)
    known = _differences(fine, joined, ids, look)
    offset = seam_levels(joined, *known, options.reach, Stage(progress, PREPARED, LEVELLED, DONE))[ids]
    image, covered = _painted(fine, offset, look, size, backend, Stage(progress, LEVELLED, DONE, DONE))
    painted = replace(
        surface.materials[0] if surface.materials else Material(roughness_factor=0.9),
        base_color_texture=pad_texture(image, covered).cpu(),
        repeat=False,
    )
    progress(DONE, DONE)
    return surface.with_(materials=(painted,), colors=None, face_material=None)


class _Look:
    """The photo's colours (P, 3) at points of the surface, and how far they are taken (P,), 0 to 1."""

    def __init__(self, project: ViewProjection, options: PhotoOptions) -> None:
        self.project, self.options = project, options

    def __call__(self, points: torch.Tensor, normals: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen = self.project(points, torch.nn.functional.normalize(normals, dim=1))
        low, high = self.options.doubtful, self.options.sure
        share = ((seen.quality - low) / (high - low)).clamp(0.0, 1.0)
        share = share * share * (3.0 - 2.0 * share)
        # Where both show, the details of two colourings lie over each other: rather the photo's.
        return seen.mean(), share * (2.0 - share)


def _differences(fine: Mesh, joined: Mesh, ids: torch.Tensor, look: _Look) -> tuple[torch.Tensor, torch.Tensor]:
    """What the photo differs by (N, 3) from the colours of ``fine`` at the vertices of ``joined``, and how far it is
    taken there (N,).

    Faces are looked at, not vertices: what bounds the photo at a sharp edge is the side that the camera sees.
    """
    corners, place = fine.faces.reshape(-1), ids[fine.faces.reshape(-1)]
    seen, weight = look(fine.vertices[corners], fine.face_normals().repeat_interleave(3, dim=0))
    assert fine.uv is not None
    differs = seen - _tinted(fine, fine.uv, fine.colors)[corners, :3]
    total = weight.new_zeros(len(joined.vertices)).index_add(0, place, weight)
    known = weight.new_zeros(len(joined.vertices), 3).index_add(0, place, weight[:, None] * differs)
    most = total.new_zeros(len(total)).scatter_reduce(0, place, weight, reduce="amax")
    return known / total.clamp(min=1e-12)[:, None], most


def _painted(
    fine: Mesh, offset: torch.Tensor, look: _Look, size: int, backend: str, progress: Progress
) -> tuple[torch.Tensor, torch.Tensor]:
    """The texture (S, S, 3 or 4) uint8, and which of its texels (S, S) show the surface."""
    texels = rasterise_uv(fine, size, backend=backend)
    faces, weights = texels.face[texels.mask].long(), texels.barycentric[texels.mask]
    parts = list(zip(faces.split(TEXELS), weights.split(TEXELS)))
    normals, colors = fine.face_normals(), []
    for done, (face, weight) in enumerate(parts):
        progress(done, len(parts))
        corners = fine.faces[face]

        def at(values: torch.Tensor, corners: torch.Tensor = corners, weight: torch.Tensor = weight) -> torch.Tensor:
            return _mixed(values[corners], weight)

        assert fine.uv is not None
        color = _tinted(fine, at(fine.uv), None if fine.colors is None else at(fine.colors))
        seen, share = look(at(fine.vertices), normals[face])
        rest = (color[:, :3] + at(offset)).clamp(0.0, 1.0)
        color[:, :3] = torch.lerp(rest, seen, share[:, None])
        colors.append((color.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8))
    color = torch.cat(colors)
    image = color.new_zeros(size, size, color.shape[1])
    image[texels.mask] = color
    return image, texels.mask


def _mixed(corners: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Values (P, C) of those at the corners (P, 3, C) with barycentric ``weights`` (P, 3)."""
    return (corners * weights[..., None]).sum(1)


def _tinted(mesh: Mesh, uv: torch.Tensor, tint: torch.Tensor | None) -> torch.Tensor:
    """sRGB base colours (P, 3 or 4) of ``mesh``, which has one material at most: the texture at ``uv`` (P, 2), white
    without one, times linear vertex colours (P, 3 or 4)."""
    texture = mesh.materials[0].base_color_texture if mesh.materials else None
    if texture is None:
        color = torch.ones(len(uv), 3, device=uv.device)
    else:
        color = sample_texture(texture.to(uv.device).float() / 255.0, uv, mesh.materials[0].repeat)
    if tint is None:
        return color
    mixed = linear_to_srgb(srgb_to_linear(color[:, :3]) * tint[:, :3])
    return torch.cat((mixed, color[:, 3:]), dim=1)
