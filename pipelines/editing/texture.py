"""New colours from changed views in the textures of a mesh, and nowhere but where they may change.

A texel keeps its bytes where the region's weight is zero and where the views that see it did not change; what no view
sees follows the changes around it.
Source: specs/kernels.md section 5 (projection, harmonic fill); specs/kiss3dgen.md section 10 (B12).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..errors import Bundle3DError
from ..meshes.mesh import Material, Mesh
from ..progress import Progress, Stage, silent
from ..texturing.seam_levels import seam_levels
from ..views.view_set import ViewSet
from .changes import ChangedViews, compare_views
from .fine_surface import FineSurface, fine_surface
from .material_names import materials_of
from .own_textures import own_textures, texture_size
from .region import Region, points_on
from .repaint import CHUNK, DONE, TextureEdit, repaint
from .view_changes import ViewChanges, changed_colors

SCALES = (1, 2, 4)
LARGEST_SIDE = 8192  # texels
REACH = 1e3  # world units over which changes are continued: all of the surface
PREPARED, LOOKED, CONTINUED = 10, 20, 45  # steps of the progress


@dataclass(frozen=True)
class TextureOptions:
    """``scale`` (1, 2 or 4): so many times the texels each way that a changed texture had. ``sharpness``: the higher,
    the more each texel belongs to the one view that sees it best. ``resolution``: side of textures that are made where
    there is none. ``new_uv``: what changes gets texture coordinates of its own where those there are of no use."""

    scale: int = 1
    sharpness: float = 8.0
    resolution: int = 1024
    new_uv: bool = False


@torch.no_grad()
def edit_texture(
    mesh: Mesh,
    before: ViewSet,
    after: ViewSet,
    region: Region | None = None,
    options: TextureOptions = TextureOptions(),
    transform: torch.Tensor | None = None,
    progress: Progress = silent,
    backend: str = "auto",
) -> TextureEdit:
    """``mesh`` with what ``after`` changed of ``before`` painted in its base colour textures, within ``region``.

    ``before`` are the mesh's own views and ``after`` what became of them, seen by the same cameras, in the frame that
    ``transform`` (4, 4) takes to the world; absent, that of the mesh. Geometry, texture coordinates, other textures and
    names stay as they are, and so does every texel with a weight of zero in ``region``, or of the enlarged texture with
    a ``scale``. What has no texture to paint on gets one, see ``own_textures``. Where the views are equal the very same
    mesh comes back.

    Raises Bundle3DError for views of other cameras or of another mesh, a region of another mesh, and texture
    coordinates that cannot be painted on.
    """
    require_options(mesh, region, options)
    require_sizes(mesh, options)
    changed = compare_views(before, after)
    if not bool(changed.share.any()):
        progress(DONE, DONE)
        return TextureEdit(mesh, ())
    place = mesh.transform if transform is None else transform
    may_change = torch.ones(len(mesh.faces), dtype=torch.bool, device=mesh.faces.device)
    if region is not None:
        may_change = region.faces().to(mesh.faces.device)
    original = mesh
    progress(0, DONE)
    preparing = Stage(progress, 0, PREPARED, DONE)
    mesh = own_textures(mesh, may_change, options.scale, options.resolution, options.new_uv, preparing)
    surface = fine_surface(mesh, place)
    painter = _Painter(surface, changed, before, region, options, progress, backend)
    edited = repaint(mesh, surface, may_change, "base_color_texture", options.scale, painter.paint, progress, CONTINUED)
    return edited.unless_same(original)


def require_options(mesh: Mesh, region: Region | None, options: TextureOptions) -> None:
    """Raise Bundle3DError for options out of range, a region of another mesh, and a mesh that cannot be edited."""
    if options.scale not in SCALES:
        raise Bundle3DError(f"Expected a texture scale of 1, 2 or 4, but got {options.scale}; choose one of them.")
    if not len(mesh.faces):
        raise Bundle3DError(f"Expected a mesh with faces to edit, but {mesh.name} is empty; load another mesh.")
    if region is not None:
        region.require(mesh)


def require_sizes(mesh: Mesh, options: TextureOptions) -> None:
    """Raise Bundle3DError where base colour textures, with those that are made, would become too large."""
    for material in materials_of(mesh):
        require_size(material, texture_size(material, options.resolution), options.scale)


def require_size(material: Material, size: tuple[int, int], scale: int) -> None:
    """Raise Bundle3DError where ``scale`` times the ``size`` (H, W) of a texture of ``material`` is too large."""
    if max(size) * scale > LARGEST_SIDE:
        raise Bundle3DError(
            f"Expected textures of at most {LARGEST_SIDE} texels a side, but {scale} times that of the material "
            f"{material.name!r} is {max(size) * scale}; lower texture_scale."
        )


class _Painter:
    """Changed views, ready to be painted in the textures of a mesh."""

    def __init__(
        self,
        surface: FineSurface,
        changed: ChangedViews,
        before: ViewSet,
        region: Region | None,
        options: TextureOptions,
        progress: Progress,
        backend: str,
    ) -> None:
        self.surface, self.region = surface, region
        self.look = ViewChanges(changed, before.rig, surface, options.sharpness, backend)
        progress(LOOKED, DONE)
        self.hidden = _continued(surface, self.look, Stage(progress, LOOKED, CONTINUED, DONE))

    def paint(
        self,
        flat: torch.Tensor,
        index: torch.Tensor,
        face: torch.Tensor,
        barycentric: torch.Tensor,
        material: Material,
    ) -> torch.Tensor:
        """Write the new colours of P texels into ``flat``, and give the weights (P,) of the region there."""
        fine, normals = self.surface.mesh, self.surface.normals
        corners = fine.faces[face]

        def at(values: torch.Tensor) -> torch.Tensor:
            return (values * barycentric[..., None]).sum(1)

        assert fine.colors is not None and fine.face_material is not None
        weight = torch.ones(len(face), device=flat.device)
        if self.region is not None:
            place = points_on(self.region.mesh, fine.face_material[face], at(fine.colors[corners]))
            weight = self.region.weight(place).to(flat.device)
        seen = self.look(at(fine.vertices[corners]), torch.nn.functional.normalize(at(normals[face]), dim=1))
        old = flat[index, :3].float() / 255.0
        change = torch.lerp(at(self.hidden[corners]), seen.change, seen.sight)
        target = changed_colors(old, change)
        mixed = (torch.lerp(old, target, weight[:, None]).clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
        inside = weight > 0.0
        flat[index[inside], :3] = mixed[inside]
        return weight


def _continued(surface: FineSurface, look: ViewChanges, progress: Progress) -> torch.Tensor:
    """The change (N, 4) of the colours of the fine surface where no view sees them: as around them."""
    fine, joined, ids = surface.mesh, surface.joined, surface.ids
    corners = fine.faces.reshape(-1)
    place, total = ids[corners], torch.zeros(len(joined.vertices), device=ids.device)
    known, most = total.new_zeros(len(total), 4), total.clone()
    for part in torch.arange(len(corners), device=ids.device).split(CHUNK):
        seen = look(fine.vertices[corners[part]], surface.normals.reshape(-1, 3)[part])
        sight = seen.sight[:, 0]
        total = total.index_add(0, place[part], sight)
        known = known.index_add(0, place[part], seen.sight * seen.change)
        most = most.scatter_reduce(0, place[part], sight, reduce="amax")
    known = known / total.clamp(min=1e-12)[:, None]
    if not bool((most < 1.0).any()) or not bool(known.any()):
        return torch.zeros_like(known)[ids]
    hidden = seam_levels(joined, known, most, REACH, progress)
    return torch.cat((hidden[:, :3], hidden[:, 3:].clamp(0.0, 1.0)), dim=1)[ids]
