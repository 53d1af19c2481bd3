"""One decoded object as an asset: holes filled, remeshed, simplified, unwrapped, textured, turned and sized.

Source: specs/pixal3d.md section 4.
"""

from __future__ import annotations

import torch

from ...errors import Bundle3DError
from ...meshes.crease_normals import with_creased_normals
from ...meshes.mesh import Mesh
from ...meshes.repair import RepairOptions, repair
from ...meshes.simplify import simplify
from ...meshes.small_holes import fill_small_holes
from ...meshes.topology import components
from ...meshes.triangle_tree import TriangleTree
from ...progress import Progress, Stage, silent
from ...texturing.unwrap import unwrap
from ...volumes.dual_grid import DualGrid, dual_grid_mesh
from ...volumes.offset_shell import offset_shell
from ...volumes.voxel_lookup import VoxelLookup
from .bake import CHANNELS, bake_material
from .options import FinishOptions
from .outline import Outline
from .placement import placement

MESHED, REMESHED, SIMPLIFIED, UNWRAPPED, DONE = 5, 45, 60, 75, 100  # steps of the progress
CRUMB = 2.0  # cells; smaller parts show nothing
DOMAIN_MARGIN = 3.0  # cells of the remesh beyond the model's cube, both sides together


def finish_asset(
    grid: DualGrid,
    material: torch.Tensor | None = None,
    options: FinishOptions | None = None,
    progress: Progress = silent,
    outline: Outline | None = None,
) -> Mesh:
    """The asset of a decoded shape ``grid`` and, for textures, its ``material`` (V, 6) voxel by voxel.

    A watertight surface is kept within the ``outline`` of its picture, where there is one.

    The mesh has normals and, with a texture, uv and one material. A watertight surface is closed, manifold and
    free of inner shells; every texel shows the decoded surface nearest to it. Without material there is no texture.
    Memory beyond the mesh and its textures is bounded. ``progress`` may cancel at any time.

    Raises Bundle3DError where the voxels have no surface, and for material of other voxels.
    """
    options = options or FinishOptions()
    lookup = None
    if material is not None and options.texture:
        if material.shape[1:] != (CHANNELS,):
            raise Bundle3DError(
                f"Expected material of shape (V, {CHANNELS}) for the voxels, but got {tuple(material.shape)}; decode "
                "the texture with the texture decoder."
            )
        lookup = VoxelLookup(grid.coords.cpu(), material.cpu(), grid.resolution)
    decoded = decoded_surface(grid, options.largest_hole)
    places = decoded.vertices
    if outline is not None and options.surface == "watertight":
        decoded = decoded.with_(vertices=outline.within(places))
    tree = TriangleTree(decoded.vertices, decoded.faces)
    progress(MESHED, DONE)
    mesh = _surface(decoded, tree, grid.resolution, options, Stage(progress, MESHED, REMESHED, DONE))
    if options.faces and mesh.faces.shape[0] > options.faces:
        mesh = simplify(mesh, options.faces, Stage(progress, REMESHED, SIMPLIFIED, DONE))
    if options.surface == "watertight":
        mesh = _without_crumbs(mesh, CRUMB / (options.remesh or grid.resolution))
    progress(SIMPLIFIED, DONE)
    if lookup is not None:
        unwrapping = Stage(progress, SIMPLIFIED, UNWRAPPED, DONE)
        mesh, _ = unwrap(mesh, options.texture, options.padding, progress=unwrapping)
        baked = bake_material(
            mesh,
            tree,
            lookup,
            options.texture,
            places,
            options.alpha_mode,
            options.surface == "raw",
            Stage(progress, UNWRAPPED, DONE, DONE),
        )
        mesh = mesh.with_(materials=(baked,))
    turn = placement(options.size, options.up, options.front)
    placed = mesh.with_(vertices=(mesh.vertices.double() @ turn.T).float(), name="pixal3d")
    finished = with_creased_normals(placed, options.crease)
    progress(DONE, DONE)
    return finished


def decoded_surface(grid: DualGrid, largest_hole: float = 0.0) -> Mesh:
    """The surface of a decoded shape in [-0.5, 0.5]^3, on the CPU, with holes of shorter rims filled, and unused
    vertices left out. Raises Bundle3DError where there is none."""
    vertices, faces = fill_small_holes(*dual_grid_mesh(grid), largest_hole)
    if faces.shape[0] == 0:
        raise Bundle3DError(
            "Expected a surface in the decoded voxels, but no crossed edge has its four voxels; check that latents and "
            "decoder belong together."
        )
    used = torch.zeros(vertices.shape[0], dtype=torch.bool, device=vertices.device)
    used[faces.reshape(-1)] = True
    number = used.long().cumsum(0) - 1
    return Mesh(vertices[used].cpu(), number.index_select(0, faces.reshape(-1)).reshape(-1, 3).cpu())


def _without_crumbs(mesh: Mesh, smallest: float) -> Mesh:
    """The mesh without parts of a smaller box diagonal and without parts inside others.

    Both are rare: decoders leave specks, and simplifying pinches off slivers of thin walls.
    """
    if int(components(mesh.faces, mesh.vertices.shape[0]).max()) == 0:
        return mesh
    low, high = mesh.bounds
    share = smallest / float((high - low).double().norm())
    return repair(mesh, RepairOptions(weld=0.0, debris=share, orient=False))


def _surface(decoded: Mesh, tree: TriangleTree, resolution: int, options: FinishOptions, progress: Progress) -> Mesh:
    if options.surface == "raw":
        return repair(decoded, RepairOptions(weld=0.0, debris=0.0, largest_hole=options.largest_hole), progress)
    cells = options.remesh or resolution
    return offset_shell(tree, (cells + DOMAIN_MARGIN) / cells**2, options.shell(), progress)
