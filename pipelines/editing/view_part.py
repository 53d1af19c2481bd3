"""A part of the surface that was painted on views of it."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from ..errors import Bundle3DError
from ..meshes.mesh import Mesh
from ..meshes.world import in_world
from ..progress import Progress, silent
from ..rendering.rasterise import visible_faces
from ..rendering.view_projection import ProjectionOptions, ViewProjection
from ..views.camera import Camera
from ..views.rig import Rig
from .surface_points import Part, SurfacePoints

PAINTED = 0.5
LEAST_COSINE = 0.2  # between surface and line of sight: what is seen at a lower angle was hardly meant
OPTIONS = ProjectionOptions(power=0.0, rim=1.0, least_cosine=LEAST_COSINE)


def view_part(
    mesh: Mesh, masks: torch.Tensor, rig: Rig, to_views: torch.Tensor | None = None, progress: Progress = silent
) -> Part:
    """What is painted, more than half, in ``masks`` (V, H, W) on any of the views of ``mesh`` that see it.

    ``to_views`` (4, 4) takes the mesh's local frame to that of the cameras of ``rig`` (absent: they are the same). A
    view sees a point that nothing hides and that it does not look at along the surface; what it shows the back of
    counts too. What no view sees is out. Raises Bundle3DError unless there is one mask per camera.
    """
    if masks.ndim != 3 or len(masks) != len(rig):
        raise Bundle3DError(
            f"Expected one painted mask for each of the {len(rig)} views, but got {tuple(masks.shape)}; paint on the "
            "bundle that shows these views."
        )
    matrix = torch.eye(4, dtype=torch.float64) if to_views is None else to_views.double().cpu()
    shown = in_world(mesh.with_(transform=matrix))
    painted = []
    for index, camera in enumerate(rig):
        if bool((masks[index] > PAINTED).any()):
            painted.append(_PaintedView(shown, masks[index].to(shown.vertices), camera))
        progress(index + 1, len(rig))
    turn = torch.linalg.inv(matrix[:3, :3]).T

    def part(points: SurfacePoints) -> torch.Tensor:
        place = points.position.double() @ matrix[:3, :3].T.to(points.position.device)
        place = (place + matrix[:3, 3].to(place)).float()
        normal = normalize(points.normal.double() @ turn.T.to(place.device), dim=1).float()
        inside = torch.zeros(len(points), dtype=torch.bool, device=points.face.device)
        for view in painted:
            inside |= view.shows(points.face, place, normal)
        return inside

    return part


class _PaintedView:
    """The mask (H, W) that is painted on one view."""

    def __init__(self, mesh: Mesh, mask: torch.Tensor, camera: Camera) -> None:
        height, width = mask.shape
        rig = Rig((camera,))
        face = visible_faces(rig.clip(mesh.vertices, width / height), mesh.faces, height, width)
        self.drawn = torch.zeros(len(mesh.faces), dtype=torch.bool, device=mask.device)
        self.drawn[face[face >= 0].long()] = True
        self.camera = camera
        self.project = ViewProjection(mask[None, ..., None], (face >= 0).float(), rig, mesh, OPTIONS)

    def shows(self, face: torch.Tensor, place: torch.Tensor, normal: torch.Tensor) -> torch.Tensor:
        """(P,) bool: which places of the surface are seen and painted."""
        toward = self.camera.rotation()[2].to(place).expand_as(place)
        if self.camera.is_perspective:
            toward = self.camera.eye().to(place) - place
        turned = self.drawn[face] & ((normal * toward).sum(1) < 0.0)
        seen = self.project(place, torch.where(turned[:, None], -normal, normal))
        return (seen.weights > 0.0) & (seen.weighted[:, 0] > PAINTED * seen.weights)
