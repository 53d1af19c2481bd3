"""A photo painted on what it shows of a mesh, and the colours around it brought in line with it.

The photo's own pixels are taken where the surface faces the camera. The rest keeps its colours plus an offset: what
the photo differs by at its border, which fades with the distance from there. The offset minimises
|grad offset|^2 + |offset / length|^2 over the surface, the membrane of seam levelling with a pull to zero.
Source: specs/kernels.md section 5 (projection, harmonic fill); specs/kiss3dgen.md sections 3.6 and 10 (B12).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from ..errors import Bundle3DError
from ..meshes.densify import densify
from ..meshes.harmonic_fill import harmonic_fill, joined_at_seams
from ..meshes.mesh import Material, Mesh
from ..meshes.padding import pad_texture
from ..meshes.topology import unique_edges
from ..progress import Progress, Stage, silent
from ..rendering.color import linear_to_srgb, srgb_to_linear
from ..rendering.texture import sample_texture
from ..rendering.view_projection import ProjectionOptions, ViewProjection
from ..views.camera import Camera
from ..views.rig import Rig
from .paintable import paintable
from .texel_map import TexelMap, rasterise_uv

EDGE = 0.03  # world units between the samples of the offset
LENGTHS = 3.0  # of decay within the reach: a twentieth is left there
# A vertex whose surroundings are a lattice of triangles of edge h: the graph's Laplacian is 3 / 2 h^2 the surface's.
LATTICE = 1.5
PREPARED, LEVELLED, DONE = 35, 70, 100  # steps of the progress


@dataclass(frozen=True)
class PhotoOptions:
    """From cosine ``sure`` between surface and line of sight on the photo's pixels are taken, below ``doubtful`` none
    are. ``rim`` pixels at silhouettes and occlusions are distrusted. Within ``reach`` world units of the photo's border
    the other colours are brought in line with it."""

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

    Raises Bundle3DError for a mesh without faces, and for an empty mask or one of another size.
    """
    if mask.shape != photo.shape[:2] or not bool((mask > 0.5).any()):
        raise Bundle3DError(
            f"Expected a mask of the photo's size {tuple(photo.shape[:2])} with an object in it, but got "
            f"{tuple(mask.shape)}; prepare the photo first."
        )
    surface, size = paintable(mesh, resolution, Stage(progress, 0, PREPARED, DONE), backend)
    fine = densify(surface, EDGE)
    texels = rasterise_uv(fine, size, backend=backend)
    settings = ProjectionOptions(power=1.0, rim=options.rim, least_cosine=options.doubtful / 2.0)
    device = mesh.vertices.device
    project = ViewProjection(photo.to(device)[None], mask.to(device)[None], Rig((camera,)), surface, settings, backend)
    look = _Look(project, options)
    progress(PREPARED, DONE)
    offset = _offset(fine, look, options.reach, Stage(progress, PREPARED, LEVELLED, DONE))
    color = _colors(fine, texels)
    normals = fine.face_normals()[texels.face[texels.mask].long()]
    seen, weight = look(texels.interpolate(fine.vertices, fine.faces), normals)
    progress(LEVELLED, DONE)
    rest = color[:, :3] + texels.interpolate(offset, fine.faces)
    color[:, :3] = torch.lerp(rest.clamp(0.0, 1.0), seen, weight[:, None])
    image = torch.zeros(size, size, color.shape[1], dtype=torch.uint8, device=device)
    image[texels.mask] = (color.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
    painted = replace(
        surface.materials[0] if surface.materials else Material(roughness_factor=0.9),
        base_color_texture=pad_texture(image, texels.mask).cpu(),
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
        return seen.mean(), share * share * (3.0 - 2.0 * share)


def _offset(fine: Mesh, look: _Look, reach: float, progress: Progress) -> torch.Tensor:
    """(N, 3) what to add to the colours of the vertices of ``fine``, so that they meet the photo at its border.

    Faces are looked at, not vertices: what bounds the photo at a sharp edge is the side that the camera sees.
    """
    joined, ids = joined_at_seams(fine)
    corners = fine.faces.reshape(-1)
    seen, weight = look(fine.vertices[corners], fine.face_normals().repeat_interleave(3, dim=0))
    differs = seen - _vertex_colors(fine)[corners, :3]
    place = ids[corners]
    total = weight.new_zeros(len(joined.vertices)).index_add(0, place, weight)
    known = weight.new_zeros(len(joined.vertices), 3).index_add(0, place, weight[:, None] * differs)
    known = known / total.clamp(min=1e-12)[:, None]
    most = total.new_zeros(len(total)).scatter_reduce(0, place, weight, reduce="amax")
    pull = LATTICE * (_mean_edges(joined) * LENGTHS / reach).square()
    return harmonic_fill(joined.vertices, joined.faces, known, torch.maximum(most, pull.clamp(max=0.99)), progress)[ids]


def _mean_edges(mesh: Mesh) -> torch.Tensor:
    """(N,) mean length of the edges at each vertex."""
    edges = unique_edges(mesh.faces)[0]
    length = (mesh.vertices[edges[:, 0]] - mesh.vertices[edges[:, 1]]).norm(dim=1).repeat(2)
    ends = edges.T.reshape(-1)
    count = length.new_zeros(len(mesh.vertices)).index_add(0, ends, torch.ones_like(length))
    return length.new_zeros(len(mesh.vertices)).index_add(0, ends, length) / count.clamp(min=1.0)


def _colors(mesh: Mesh, texels: TexelMap) -> torch.Tensor:
    """(K, 3 or 4) sRGB base colours of ``mesh``, which has one material at most, at the covered texels."""
    assert mesh.uv is not None
    tint = None if mesh.colors is None else texels.interpolate(mesh.colors, mesh.faces)
    return _tinted(mesh, texels.interpolate(mesh.uv, mesh.faces), tint)


def _vertex_colors(mesh: Mesh) -> torch.Tensor:
    """The same (N, 3 or 4) at the vertices."""
    assert mesh.uv is not None
    return _tinted(mesh, mesh.uv, mesh.colors)


def _tinted(mesh: Mesh, uv: torch.Tensor, tint: torch.Tensor | None) -> torch.Tensor:
    """The texture's colours at ``uv`` (P, 2), white without one, times linear vertex colours (P, 3 or 4)."""
    texture = mesh.materials[0].base_color_texture if mesh.materials else None
    if texture is None:
        color = torch.ones(len(uv), 3, device=uv.device)
    else:
        color = sample_texture(texture.to(uv.device).float() / 255.0, uv, mesh.materials[0].repeat)
    if tint is None:
        return color
    mixed = linear_to_srgb(srgb_to_linear(color[:, :3]) * tint[:, :3])
    return torch.cat((mixed, color[:, 3:]), dim=1)
