"""The visual hull: the largest body that explains every silhouette, closed and trimmed to what the silhouettes need.

Source: specs/kiss3dgen.md section 6.1 (the initial surface of ISOMER).
"""

from __future__ import annotations

import torch

from ..errors import Bundle3DError
from ..meshes.mesh import Mesh
from ..progress import Progress, silent
from ..views.view_set import ViewSet
from ..volumes.surface_nets import surface_nets
from .silhouette import SilhouetteField, silhouette_field
from .vertical_bounds import vertical_bounds

# Half the side of the cube that holds every object, with room beyond [-1, 1] for cameras that are a little off.
HALF_EXTENT = 1.06
SLAB = 8  # grid planes evaluated at once


def visual_hull(
    views: ViewSet,
    resolution: int = 96,
    progress: Progress = silent,
    keep_thin_parts: bool = True,
    backend: str = "auto",
) -> Mesh:
    """A closed manifold mesh around the object that ``views`` show, in world coordinates.

    ``resolution`` cells span the cube [-1.06, 1.06]^3, so edges are about 2.1 / resolution long. The points that cones
    make above and below a ring of cameras are cut off flat (``vertical_bounds``). ``keep_thin_parts`` widens parts
    thinner than a cell so that they are not lost.

    Raises Bundle3DError where a mask is empty, or where the silhouettes have no common body.
    """
    if resolution < 8:
        raise Bundle3DError(f"A visual hull needs a resolution of at least 8, but got {resolution}; try 96.")
    views.require_object()
    spacing = 2.0 * HALF_EXTENT / resolution
    field = silhouette_field(views.mask, views.rig)
    progress(0, resolution + 1)
    low, high = vertical_bounds(field, views.normal, HALF_EXTENT)
    progress(0, resolution + 1)
    least = spacing if keep_thin_parts else 0.0
    if keep_thin_parts:
        field = silhouette_field(views.mask, views.rig, least_radius=least)
        progress(0, resolution + 1)
    middle, half = (low + high) / 2.0, max((high - low) / 2.0, least)
    samples = _sample(field, middle - half, middle + half, resolution, spacing, progress)
    mesh = surface_nets(samples, (-HALF_EXTENT,) * 3, spacing, backend)
    if mesh.faces.shape[0] == 0:
        raise Bundle3DError(
            "The silhouettes have no common body: they do not show one object from the cameras of the rig; check the "
            "order of the views and the rig."
        )
    return mesh


def _sample(
    field: SilhouetteField,
    low: float,
    high: float,
    resolution: int,
    spacing: float,
    progress: Progress,
) -> torch.Tensor:
    """The field between two heights on the grid (R + 1)^3, slab by slab."""
    count = resolution + 1
    device = field.distance.device
    axis = torch.arange(count, dtype=torch.float32, device=device) * spacing - HALF_EXTENT
    samples = torch.empty(count, count, count, device=device)
    # The outermost samples stay outside, so that the surface closes within the grid.
    edge = HALF_EXTENT - spacing
    lower = torch.tensor((-edge, max(low, -edge), -edge), device=device)
    upper = torch.tensor((edge, min(high, edge), edge), device=device)
    for start in range(0, count, SLAB):
        slab = torch.stack(torch.meshgrid(axis[start : start + SLAB], axis, axis, indexing="ij"), dim=-1)
        in_box = torch.minimum(slab - lower, upper - slab).amin(dim=-1)
        samples[start : start + SLAB] = torch.minimum(field(slab), in_box)
        progress(min(start + SLAB, count), count)
    return samples
