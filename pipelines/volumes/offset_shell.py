"""A closed surface around any triangles: the remesh of decoded surfaces.

Source: specs/pixal3d.md section 4, step 2, and section 9, point 8: what is wrong with the released remesh, namely inner
shells and inflation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..errors import Bundle3DError
from ..meshes.mesh import Mesh
from ..meshes.thickness import mean_thickness
from ..meshes.triangle_tree import TriangleTree
from ..progress import Progress, Stage, silent
from .outer_parts import hollow_parts, outer_parts
from .sparse_surface_nets import DistanceField, sparse_surface_nets

MARGIN = 2.0  # cells around what the surface can reach
COARSE = 3.0  # cells of the lattice on which hollows are found, at most
THIN = 3.0  # cells; what is thinner on average is no solid but a shell with holes, or a sheet
WIDER = 1.5  # from one attempt to seal a shell to the next
SEALED, SURFACED, TRIMMED, STEPS = 15, 85, 92, 100  # steps of the progress


@dataclass(frozen=True)
class ShellOptions:
    """``band``: distance of the shell from the surface in cells. ``outer_only``: keep only what can be seen from
    outside, so that a closed surface gives one shell, not two. ``seal``: then, openings up to twice this many cells
    wide count as closed, so that a leaky surface gives one shell, too; 0 closes none beyond the band. ``widest_seal``:
    how far that goes where the outside still reaches in, so that all that is left is thin. ``project_back``: which
    share of the way to the original surface the vertices go.

    The defaults are the released behaviour. Raises Bundle3DError for values out of range.
    """

    band: float = 1.0
    outer_only: bool = False
    seal: float = 0.0
    widest_seal: float = 0.0
    project_back: float = 0.0

    def __post_init__(self) -> None:
        for name, low, high, advice in (
            ("band", 0.5, 8.0, "1 is what the models were released with"),
            ("seal", 0.0, 64.0, "3 closes what decoders leave open"),
            ("widest_seal", 0.0, 64.0, "12 closes holes of one or two voxels of latents"),
            ("project_back", 0.0, 1.0, "0.9 undoes the inflation"),
        ):
            if not low <= getattr(self, name) <= high:
                raise Bundle3DError(
                    f"Expected {name} between {low} and {high}, but got {getattr(self, name)}; {advice}."
                )
        if self.seal and not self.outer_only:
            raise Bundle3DError(
                "Expected outer_only where openings are sealed, but it is off; inner shells stay without it."
            )


def offset_shell(
    tree: TriangleTree, cell: float, options: ShellOptions = ShellOptions(), progress: Progress = silent
) -> Mesh:
    """A closed manifold mesh, facing outward, at the distance ``band`` * ``cell`` around the triangles of ``tree``.

    The triangles may be open, non-manifold and wound in any way; sides nearer than twice the band fuse. The shell
    encloses at least ``1 - project_back`` of the band, so thin sheets keep a thickness. Time and memory grow with the
    surface in cells. ``progress`` may cancel between chunks. Raises Bundle3DError for more than 4096 cells a side.
    """
    radius = options.band * cell
    around: DistanceField = _around(tree, radius)
    field = around
    if options.seal > options.band:
        field = _sealed(tree, around, options.seal * cell, cell, Stage(progress, 0, SEALED, STEPS))

    def surfaced(field: DistanceField, watched: Progress) -> Mesh:
        reach = radius + MARGIN * cell
        shell = sparse_surface_nets(field, tree.low[1] - reach, tree.high[1] + reach, cell, watched)
        return outer_parts(shell) if options.outer_only else shell

    shell = surfaced(field, Stage(progress, SEALED, SURFACED, STEPS))
    still = Stage(progress, SURFACED, SURFACED, STEPS)
    if options.seal and mean_thickness(shell) < THIN * cell:
        seal = WIDER * options.seal
        while seal <= options.widest_seal:
            field = _sealed(tree, around, seal * cell, cell, still)
            wider = shell if field is around else surfaced(field, still)
            if mean_thickness(wider) >= THIN * cell:
                shell = wider
                break
            seal *= WIDER
    progress(TRIMMED, STEPS)
    if options.project_back:
        shell = _projected(shell, tree, radius, options.project_back, Stage(progress, TRIMMED, STEPS, STEPS))
    progress(STEPS, STEPS)
    return shell


def _around(tree: TriangleTree, radius: float) -> DistanceField:
    return lambda points, reach: tree.closest(points, radius + reach).distance - radius


def _sealed(tree: TriangleTree, field: DistanceField, seal: float, cell: float, progress: Progress) -> DistanceField:
    """``field`` with what lies behind openings up to twice ``seal`` wide made inside.

    At the distance ``seal`` such openings are closed, so that the hollow behind has a shell of its own. All that is
    nearer to this shell than ``seal``, up to the walls, becomes inside; what is left of the hollow has no way out.
    """
    reach = seal + MARGIN * cell
    shell = sparse_surface_nets(
        _around(tree, seal), tree.low[1] - reach, tree.high[1] + reach, max(cell, min(seal, COARSE * cell)), progress
    )
    hollows = hollow_parts(shell)
    if hollows.faces.shape[0] == 0:
        return field
    hollow = TriangleTree(hollows.vertices, hollows.faces)

    def sealed(points: torch.Tensor, reach: float) -> torch.Tensor:
        values = field(points, reach)
        # what is inside stays inside, so only the other points ask for the hollow
        outside = torch.nonzero(values >= 0).squeeze(1)
        depth = hollow.closest(points.index_select(0, outside), seal + reach).distance - seal
        return values.index_put((outside,), torch.minimum(values.index_select(0, outside), depth))

    return sealed


def _projected(shell: Mesh, tree: TriangleTree, radius: float, share: float, progress: Progress) -> Mesh:
    """The shell drawn to the surface; vertices twice as far from it as the shell should be bridge a gap and stay."""
    near = tree.closest(shell.vertices, progress=progress)
    place = near.interpolate(tree.vertices, tree.faces)
    weight = share * (4.0 - 2.0 * near.distance / radius).clamp(0.0, 1.0)
    return shell.with_(vertices=torch.lerp(shell.vertices, place, weight[:, None]))
