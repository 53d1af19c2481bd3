"""What changed views show of the relief of a surface, in its normal textures: the geometry stays.

Where the normals of new views turn away from those of the old ones, the normals that a mesh is shaded with turn alike.
Source: specs/kiss3dgen.md section 1.3 (normals of views), section 6.10 (projection in texture space).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch.nn.functional import normalize

from ..meshes.mesh import Material, Mesh
from ..meshes.tangents import tangent_frame, vertex_tangents
from ..progress import Progress, silent
from ..rendering.view_projection import ProjectionOptions, ViewProjection
from ..views.view_set import ViewSet
from .changes import require_same_cameras, resized, smoothstep
from .fine_surface import FineSurface, fine_surface, linear_part
from .material_names import material_of_faces, materials_of
from .own_textures import own_textures, texture_size
from .region import Region, points_on
from .repaint import DONE, ChangedTexels, TextureEdit, repaint
from .rotations import rotated, rotation_between
from .split_material import split_material
from .texture import TextureOptions, require_options, require_size
from .texture_space import refuse, why_not_unique
from .view_changes import DOUBTFUL, SURE

# Degrees by which a normal must turn to count, and from which it counts in full; from NEAR on it is taken for another
# shape, which a normal texture cannot show, beyond FAR entirely.
LEAST, MOST, NEAR, FAR = 2.0, 6.0, 45.0, 75.0
FLAT = (128, 128, 255)
LOWEST = 0.1  # of a normal along the surface's own
PREPARED, LOOKED = 10, 30  # steps of the progress


@torch.no_grad()
def edit_normals(
    mesh: Mesh,
    before: ViewSet,
    after: ViewSet,
    region: Region | None = None,
    options: TextureOptions | None = None,
    transform: torch.Tensor | None = None,
    progress: Progress = silent,
    painted: Sequence[ChangedTexels] = (),
    backend: str = "auto",
) -> TextureEdit:
    """``mesh`` with what ``after`` changed of the normals of ``before`` in its normal textures, within ``region``.

    Arguments, refusals and what stays as it is are those of ``edit_texture``, but ``mesh`` may be its result: the
    ``region`` is that of the mesh before, whose faces have the same order, and ``painted`` what that edit changed: the
    textures that it enlarged tell how large normal textures beside them get. Faces without a normal texture get a
    material of their own with one (``split_material``). What no view sees keeps its normals.
    """
    options = options or TextureOptions()
    require_options(mesh, None, options)
    turns = _turns(before, after)
    if not bool(turns.any()):
        progress(DONE, DONE)
        return TextureEdit(mesh, ())
    original, place = mesh, mesh.transform if transform is None else transform
    may_change = torch.ones(len(mesh.faces), dtype=torch.bool, device=mesh.faces.device)
    if region is not None:
        may_change = region.faces().to(mesh.faces.device)
    mesh = _with_normal_textures(mesh, may_change, options, painted)
    progress(PREPARED, DONE)
    surface = fine_surface(mesh, place)
    settings = ProjectionOptions(power=options.sharpness, least_cosine=DOUBTFUL / 2.0)
    mask = torch.minimum(resized(before.mask[..., None], after.size)[..., 0], after.mask)
    project = ViewProjection(turns, mask, before.rig, surface.joined, settings, backend)
    progress(LOOKED, DONE)
    painter = _Painter(mesh, surface, project, region, linear_part(mesh, place))
    edited = repaint(mesh, surface, may_change, "normal_texture", options.scale, painter.paint, progress, LOOKED)
    return edited.unless_same(original)


def _turns(before: ViewSet, after: ViewSet) -> torch.Tensor:
    """(V, H, W, 3) rotations from the normals of ``before`` to those of ``after``; zero for noise and other shapes."""
    require_same_cameras(before, after)
    start = normalize(resized(before.normal, after.size), dim=-1)
    turn = rotation_between(start, normalize(after.normal, dim=-1))
    angle = turn.norm(dim=-1, keepdim=True) * (180.0 / math.pi)
    return turn * (smoothstep(angle, LEAST, MOST) * (1.0 - smoothstep(angle, NEAR, FAR)))


def _with_normal_textures(
    mesh: Mesh, chosen: torch.Tensor, options: TextureOptions, painted: Sequence[ChangedTexels]
) -> Mesh:
    """The same mesh in which the ``chosen`` faces (M,) bool have normal textures with texels for these faces only."""
    enlarged = _enlarged(mesh, painted)
    index = material_of_faces(mesh)
    fits = True
    for number in torch.unique(index[chosen]).tolist():
        material = materials_of(mesh)[number]
        size = _size(material, options, enlarged)
        require_size(material, size, options.scale)
        height, width = (side * options.scale for side in size)
        reason = why_not_unique(mesh, chosen, index == number, (height, width))
        if reason is not None and not (options.new_uv or mesh.uv is None):
            raise refuse(mesh, material, reason)
        fits = fits and reason is None
    if not fits:
        mesh = own_textures(mesh, chosen, options.scale, options.resolution, options.new_uv)
    lacking = torch.tensor([material.normal_texture is None for material in materials_of(mesh)], device=index.device)
    flat = chosen & lacking[material_of_faces(mesh)]
    if not bool(flat.any()):
        return mesh
    mesh = split_material(mesh.with_(materials=materials_of(mesh)), flat)
    materials = list(mesh.materials)
    for number in torch.unique(material_of_faces(mesh)[flat]).tolist():
        size = _size(materials[number], options, enlarged)
        texture = torch.tensor(FLAT, dtype=torch.uint8).expand(*size, 3).contiguous()
        materials[number] = replace(materials[number], normal_texture=texture, normal_scale=1.0)
    return mesh.with_(materials=tuple(materials))


def _enlarged(mesh: Mesh, painted: Sequence[ChangedTexels]) -> list[torch.Tensor]:
    """The base colour textures of ``mesh`` that an edit before changed, and so enlarged."""
    changed = {(texture.material, texture.height, texture.width) for texture in painted if texture.changed}
    textures = [(material.name, material.base_color_texture) for material in mesh.materials]
    return [texture for name, texture in textures if texture is not None and (name, *texture.shape[:2]) in changed]


def _size(material: Material, options: TextureOptions, enlarged: Sequence[torch.Tensor]) -> tuple[int, int]:
    """Height and width of the normal texture before it is enlarged."""
    if material.normal_texture is not None:
        return material.normal_texture.shape[0], material.normal_texture.shape[1]
    height, width = texture_size(material, options.resolution)
    if any(texture is material.base_color_texture for texture in enlarged):
        return height // options.scale, width // options.scale
    return height, width


class _Painter:
    """Rotations seen by views, ready to be worked into the normal textures of a mesh."""

    def __init__(
        self, mesh: Mesh, surface: FineSurface, project: ViewProjection, region: Region | None, linear: torch.Tensor
    ) -> None:
        self.mesh, self.surface, self.project, self.region = mesh, surface, project, region
        normals = mesh.normals if mesh.normals is not None else mesh.vertex_normals()
        tangents = mesh.tangents if mesh.tangents is not None else vertex_tangents(mesh.with_(normals=normals))
        axes = linear.to(normals)
        self.normals = normals @ axes.T
        mirror = torch.tensor((1.0, 1.0, 1.0, float(torch.linalg.det(axes)))).to(normals)
        self.tangents = torch.cat((tangents[:, :3] @ axes.T, tangents[:, 3:]), dim=1) * mirror

    def paint(
        self,
        flat: torch.Tensor,
        index: torch.Tensor,
        face: torch.Tensor,
        barycentric: torch.Tensor,
        material: Material,
    ) -> torch.Tensor:
        """Write the new normals of P texels into ``flat``, and give the weights (P,) of the region there."""
        scale = material.normal_scale
        fine = self.surface.mesh
        corners = fine.faces[face]

        def at(values: torch.Tensor, weights: torch.Tensor = barycentric) -> torch.Tensor:
            return (values * weights[..., None]).sum(1)

        assert fine.colors is not None and fine.face_material is not None
        own, parent = at(fine.colors[corners]), fine.face_material[face]
        weight = torch.ones(len(face), device=flat.device)
        if self.region is not None:
            weight = self.region.weight(points_on(self.region.mesh, parent, own)).to(flat.device)
        seen = self.project(at(fine.vertices[corners]), normalize(at(self.surface.normals[face]), dim=1))
        turn = seen.mean() * (smoothstep(seen.quality, DOUBTFUL, SURE) * weight)[:, None]
        local = self.mesh.faces[parent]
        along, across, up = tangent_frame(at(self.normals[local], own), at(self.tangents[local], own))
        stored = flat[index, :3].float() / 127.5 - 1.0
        stored[:, :2] *= scale
        shaded = along * stored[:, :1] + across * stored[:, 1:2] + up * stored[:, 2:]
        turned = normalize(rotated(shaded, turn), dim=1)
        bent = torch.stack([(turned * axis).sum(1) for axis in (along, across, up)], dim=1)
        bent[:, 2] = bent[:, 2].clamp(min=LOWEST)
        bent[:, :2] /= scale if scale else 1.0
        spanned = along.square().sum(1) > 0.5  # no tangent where the texture has no direction
        write = (turn != 0.0).any(1) & spanned
        flat[index[write], :3] = ((normalize(bent, dim=1) + 1.0) * 127.5).round().to(torch.uint8)[write]
        return weight
