"""A mesh changed as its views were, in one of three ways, and the figures of what that changed."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..errors import Bundle3DError
from ..meshes.mesh import Mesh
from ..meshes.weld import welded_faces
from ..metrics.uv_report import seam_step
from ..progress import Progress, Stage, silent
from ..views.view_set import ViewSet
from .changes import show_the_same
from .material_names import material_of_faces, materials_of
from .normal_detail import edit_normals
from .region import Region
from .repaint import ChangedTexels
from .shape import ShapeEdit, ShapeOptions, edit_shape
from .texture import TextureOptions, edit_texture, require_options, require_sizes

TEXTURE, NORMALS, GEOMETRY = MODES = ("texture", "texture and normal map", "geometry and texture")
BENT, PAINTED, DONE = 40, 70, 100  # steps of the progress


@dataclass(frozen=True)
class MeshEdit:
    """The edited ``mesh``, and what changed: texels of ``colors`` and of ``normals`` by material, the ``shape``, and
    before and after, the texels per unit of length where the mesh may change (``density``) and the mean step of the
    colours at its texture's seams, in sRGB from 0 to 1 (``seams``); None where there is no texture or no seam."""

    mesh: Mesh
    colors: tuple[ChangedTexels, ...]
    normals: tuple[ChangedTexels, ...]
    shape: ShapeEdit
    density: tuple[float | None, float | None]
    seams: tuple[float | None, float | None]

    def to_text(self) -> str:
        """One figure per line, for people."""
        rows = [f"{self.mesh.name}:"]
        for what, textures in (("base colour", self.colors), ("normal", self.normals)):
            rows += [
                f"  {texture.material}, {what}: {texture.changed:,} of {texture.width:,} x {texture.height:,} texels "
                "changed"
                for texture in textures
            ]
        if not any(texture.changed for texture in (*self.colors, *self.normals)):
            rows.append("  no texel changed")
        moved = f"  {self.shape.moved:,} of {len(self.mesh.vertices):,} vertices moved"
        rows.append(moved + (f", by up to {self.shape.largest:.4g} {self.mesh.units}" if self.shape.moved else ""))
        rows.append(f"  texels per {self.mesh.units}: {_pair(self.density, '.4g')}")
        rows.append(f"  colour step at seams: {_pair(self.seams, '.4f')}")
        return "\n".join(rows)


def edit_mesh(
    mesh: Mesh,
    before: ViewSet,
    after: ViewSet,
    mode: str = TEXTURE,
    region: Region | None = None,
    target: Mesh | None = None,
    options: TextureOptions | None = None,
    shape: ShapeOptions | None = None,
    transform: torch.Tensor | None = None,
    progress: Progress = silent,
) -> MeshEdit:
    """``mesh`` changed within ``region`` as ``after`` differs from ``before``, its own views in the frame that
    ``transform`` (4, 4) takes to the world.

    ``mode``: "texture" changes base colours alone, "texture and normal map" also the normals that shade it, "geometry
    and texture" moves vertices to the surface of ``target`` and paints them. Names, units, transform and all else stay;
    where nothing changed, and in every mode where the views show the same, the very same mesh comes back.

    Raises Bundle3DError for an unknown mode, geometry without a target, and for what ``edit_texture``,
    ``edit_normals`` and ``edit_shape`` refuse.
    """
    if mode not in MODES:
        raise Bundle3DError(f"Expected one of the modes {', '.join(MODES)}, but got {mode!r}; choose one of them.")
    if mode == GEOMETRY and target is None:
        raise Bundle3DError(
            "Expected a reconstruction to take the new geometry from, but got none; connect the mesh of ISOMER "
            "Reconstruct, started from this mesh, or choose another mode."
        )
    options, shape = options or TextureOptions(), shape or ShapeOptions()
    require_options(mesh, region, options)
    require_sizes(mesh, options)
    if show_the_same(before, after):
        target, mode = None, TEXTURE
    place = mesh.transform if transform is None else transform
    bent, start, middle = ShapeEdit(mesh, 0, 0.0), 0, DONE
    if mode == GEOMETRY and target is not None:
        bent, start = edit_shape(mesh, target, region, shape, Stage(progress, 0, BENT, DONE)), BENT
    if mode == NORMALS:
        middle = PAINTED
    stage = Stage(progress, start, middle, DONE)
    painted = edit_texture(bent.mesh, before, after, region, options, place, stage)
    result = painted.mesh
    normals: tuple[ChangedTexels, ...] = ()
    if mode == NORMALS:
        detailed = edit_normals(
            result, before, after, region, options, place, Stage(progress, middle, DONE, DONE), painted.textures
        )
        result, normals = detailed.mesh, detailed.textures
    chosen = torch.ones(len(mesh.faces), dtype=torch.bool) if region is None else region.faces()
    same = result is mesh
    first = _figures(mesh, chosen)
    second = first if same else _figures(result, chosen)
    progress(DONE, DONE)
    return MeshEdit(result, painted.textures, normals, bent, (first[0], second[0]), (first[1], second[1]))


def _figures(mesh: Mesh, chosen: torch.Tensor) -> tuple[float | None, float | None]:
    """Texels per unit of length over the ``chosen`` faces (M,), and the step of the colours at seams."""
    if mesh.uv is None:
        return None, None
    mesh = mesh.to("cpu")
    index = material_of_faces(mesh)
    sizes = [0 if m.base_color_texture is None else m.base_color_texture[..., 0].numel() for m in materials_of(mesh)]
    texels = torch.tensor(sizes, dtype=torch.float64)[index]
    counted = chosen.cpu() & (texels > 0)
    linear = mesh.transform[:3, :3].cpu()
    surface = _areas((mesh.vertices.double() @ linear.T)[mesh.faces[counted]]).sum()
    assert mesh.uv is not None
    drawn = (_areas(torch.nn.functional.pad(mesh.uv, (0, 1)).double()[mesh.faces[counted]]) * texels[counted]).sum()
    density = float((drawn / surface).sqrt()) if bool(counted.any()) and float(surface) > 0.0 else None
    return density, seam_step(mesh, welded_faces(mesh))


def _areas(corners: torch.Tensor) -> torch.Tensor:
    """Areas (K,) of triangles (K, 3, 3)."""
    return torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=1) / 2.0


def _pair(values: tuple[float | None, float | None], form: str) -> str:
    first, second = ("-" if value is None else format(value, form) for value in values)
    return f"{first} before, {second} after"
