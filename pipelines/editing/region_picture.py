"""Pictures of a mesh on which a region shows in colour."""

from __future__ import annotations

import torch
from torch.nn.functional import avg_pool2d

from ..meshes.world import in_world
from ..progress import Progress, silent
from ..rendering.rasterise import rasterise
from ..rendering.render_mesh import render_mesh
from ..rendering.turntable import framing_orbit
from ..views.rig import Rig
from .region import Region, points_on

SIDES = 4
SUPERSAMPLE = 2
COLOR = (1.0, 0.35, 0.05)
STRENGTH = 0.7  # of the colour where the weight is 1
LUMA = (0.2126, 0.7152, 0.0722)


@torch.no_grad()
def region_picture(
    region: Region,
    size: int = 384,
    rig: Rig | None = None,
    to_views: torch.Tensor | None = None,
    progress: Progress = silent,
) -> torch.Tensor:
    """Pictures (V, S, S, 3) sRGB in [0, 1] of the region's mesh in grey, on white, coloured by the region's weight.

    Seen by ``rig``, to whose frame ``to_views`` (4, 4) takes the mesh's local one; without them from four sides in the
    mesh's world.
    """
    mesh = region.mesh
    shown = in_world(mesh if to_views is None else mesh.with_(transform=to_views))
    cameras = framing_orbit(shown, SIDES) if rig is None else rig
    turned = not torch.equal(shown.faces, mesh.faces)  # mirrored, and so with the corners of faces in reverse
    picture = render_mesh(shown, cameras, size, size, "matte", SUPERSAMPLE, progress=progress)[0]
    weights = []
    for camera in cameras:
        clip = Rig((camera,)).clip(shown.vertices)
        fragments = rasterise(clip, shown.faces, size * SUPERSAMPLE, size * SUPERSAMPLE)
        covered = fragments.mask[0]
        barycentric = fragments.barycentric[0][covered]
        points = points_on(mesh, fragments.face[0][covered], barycentric.flip(1) if turned else barycentric)
        weight = torch.zeros(covered.shape, device=covered.device)
        weight[covered] = region.weight(points)
        weights.append(avg_pool2d(weight[None], SUPERSAMPLE)[0])
    grey = (picture * picture.new_tensor(LUMA)).sum(-1, keepdim=True)
    share = STRENGTH * torch.stack(weights)[..., None]
    return (grey * (1.0 - share) + picture.new_tensor(COLOR) * share).clamp(0.0, 1.0)
