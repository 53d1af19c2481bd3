"""A mesh as the views of a rig: colour, exact world normals, coverage and, if wanted, positions."""

from __future__ import annotations

import torch

from ..meshes.mesh import Mesh
from ..progress import Progress, silent
from ..views.rig import Rig
from ..views.view_set import ViewSet
from .color import linear_to_srgb
from .render_mesh import iterate_buffers

# Nine samples per pixel keep the coverage of a rim pixel within a tenth.
SUPERSAMPLE = 3


def render_views(
    mesh: Mesh, rig: Rig, size: int, mode: str = "shaded", coordinates: bool = False, progress: Progress = silent
) -> ViewSet:
    """What the cameras of ``rig`` see of ``mesh`` in its local frame, as square views of ``size`` pixels.

    Colours are sRGB on white in one of the colour modes of ``render_mesh``. Normals are those that shading uses:
    smooth, two-sided, bent at grazing angles, with normal maps (specs/kiss3dgen.md section 4, without its bug B2).
    """
    colors, normals, masks, positions = [], [], [], []
    for view in iterate_buffers(mesh, rig, size, size, mode, SUPERSAMPLE, progress):
        alpha = view.alpha[..., None]
        colors.append(linear_to_srgb(view.color) * alpha + (1.0 - alpha))
        normals.append(view.normal)
        masks.append(view.alpha)
        if coordinates:
            positions.append(view.position)
    coord = torch.stack(positions) if coordinates else None
    return ViewSet(torch.stack(colors), torch.stack(normals), torch.stack(masks), rig, coord)
