"""What each pixel of a view shows: linear colour, shading normal, position and coverage, supersampled.

One view and one band of rows is worked on at a time, so memory does not grow with the number of views or the size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..meshes.mesh import Mesh
from ..meshes.tangents import tangent_frame
from ..views.camera import Camera
from .materials import MaterialSampler, Points
from .rasterise import rasterise
from .shading import Surface, shading_normals

# (surface, unit normals (P, 3), unit directions toward the eye (P, 3)) to linear colour (P, 3).
Shader = Callable[[Surface, torch.Tensor, torch.Tensor], torch.Tensor]

# What is called several times a second and may raise to end the work.
Check = Callable[[], None]

SAMPLES_PER_BAND = 1 << 20
POINTS_PER_CHUNK = 1 << 18
# Surfaces that are counted through transparent ones.
LAYERS = 6
# The opacity from which nothing behind shows.
FULL = 0.999


@dataclass(frozen=True)
class Buffers:
    """Images of one view: linear ``color`` (H, W, 3) of what is covered, unit world ``normal`` (H, W, 3), world
    ``position`` (H, W, 3), all zero where nothing is, and ``alpha`` (H, W)."""

    color: torch.Tensor
    normal: torch.Tensor
    position: torch.Tensor
    alpha: torch.Tensor


def unchecked() -> None:
    """The check of work that nobody ends."""


class BufferRenderer:
    """Renders one mesh again and again, in several threads at once; keeps what does not depend on the camera."""

    def __init__(self, mesh: Mesh, shader: Shader) -> None:
        self.mesh, self.shader = mesh, shader
        self.sampler = MaterialSampler(mesh)
        self.vertex_normals = mesh.vertex_normals() if mesh.normals is None else mesh.normals
        self.face_normals = mesh.face_normals()
        self.see_through = self.sampler.see_through_faces()
        self.tangents = None
        if mesh.uv is not None and any("normal_texture" in textures for textures in self.sampler.textures):
            self.tangents = _face_tangents(mesh)

    @torch.no_grad()
    def render(self, camera: Camera, height: int, width: int, supersample: int, check: Check = unchecked) -> Buffers:
        """The buffers of one view; every pixel is the mean of ``supersample`` squared samples."""
        rows = max(1, SAMPLES_PER_BAND // (width * supersample**2))
        bands = [
            self._band(camera, height, width, top, min(rows, height - top), supersample, check)
            for top in range(0, height, rows)
        ]
        total = torch.cat(bands)
        alpha = total[..., 9]
        share = torch.where(alpha > 0.0, alpha, 1.0)[..., None]
        normal = torch.nn.functional.normalize(total[..., 3:6], dim=-1)
        return Buffers(total[..., 0:3] / share, normal, total[..., 6:9] / share, alpha)

    def _band(
        self, camera: Camera, height: int, width: int, top: int, rows: int, supersample: int, check: Check
    ) -> torch.Tensor:
        """Sums (rows, width, 10) of opacity times colour, normal, position and one, over the samples of each pixel."""
        fine = (rows * supersample, width * supersample)
        total = torch.zeros(fine[0] * fine[1], 10, device=self.mesh.vertices.device)
        clip = self._clip(camera, height, width, top, rows)
        uv_steps = self._uv_steps(clip, *fine)
        fragments = None
        for _ in range(LAYERS):
            fragments = rasterise(clip[None], self.mesh.faces, *fine, behind=fragments)
            face = fragments.face.reshape(-1)
            pixels = ((face >= 0) & (total[:, 9] < FULL)).nonzero().squeeze(1)
            barycentric = fragments.barycentric.reshape(-1, 3)
            for pixel in pixels.split(POINTS_PER_CHUNK):
                check()
                shown = face[pixel].long()
                values = self._values(Points(shown, barycentric[pixel], uv_steps[shown]), camera)
                total[pixel] += values * (1.0 - total[pixel, 9:])
            if not bool((self.see_through[face[pixels].long()] & (total[pixels, 9] < FULL)).any()):
                break
        grid = total.reshape(rows, supersample, width, supersample, 10)
        return grid.mean(dim=(1, 3))

    def _clip(self, camera: Camera, height: int, width: int, top: int, rows: int) -> torch.Tensor:
        """Clip coordinates (N, 4) in which the rows ``top`` to ``top + rows`` of the image fill the whole height."""
        matrix = camera.world_to_clip(width / height)
        zoom = height / rows
        shift = (2.0 * top + rows - height) / rows
        matrix[1] = zoom * matrix[1] + shift * matrix[3]
        matrix = matrix.to(self.mesh.vertices)
        return self.mesh.vertices @ matrix[:, :3].T + matrix[:, 3]

    def _uv_steps(self, clip: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Length in UV (M,) of one sample on each face; zero without UVs or where a face reaches behind the eye."""
        uv, faces = self.mesh.uv, self.mesh.faces
        if uv is None:
            return clip.new_zeros(faces.shape[0])
        screen = clip[:, :2] / clip[:, 3:].clamp(min=1e-6) * clip.new_tensor((width / 2.0, height / 2.0))
        ratio = _double_area(uv, faces) / _double_area(screen, faces).clamp(min=1e-6)
        return ratio.sqrt() * (clip[faces, 3] > 0.0).all(dim=1)

    def _values(self, points: Points, camera: Camera) -> torch.Tensor:
        faces = self.mesh.faces
        position = points.interpolate(faces, self.mesh.vertices)
        view = camera.rotation()[2].to(position).expand_as(position)
        if camera.is_perspective:
            view = torch.nn.functional.normalize(camera.eye().to(position) - position, dim=-1)
        surface, opacity, bump = self.sampler.sample(points)
        smooth = torch.nn.functional.normalize(points.interpolate(faces, self.vertex_normals), dim=-1)
        if self.tangents is not None:
            smooth = self._bumped(points, smooth, bump)
        normal = shading_normals(smooth, self.face_normals[points.face], view)
        color = self.shader(surface, normal, view)
        return torch.cat((color, normal, position, torch.ones_like(opacity)[:, None]), dim=1) * opacity[:, None]

    def _bumped(self, points: Points, normal: torch.Tensor, bump: torch.Tensor) -> torch.Tensor:
        if self.mesh.tangents is not None:
            tangent = points.interpolate(self.mesh.faces, self.mesh.tangents)
        else:
            assert self.tangents is not None
            tangent = self.tangents[points.face]
        along, across, normal = tangent_frame(normal, tangent)
        return along * bump[:, 0:1] + across * bump[:, 1:2] + normal * bump[:, 2:3]


def _double_area(points: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    a, b, c = (points[faces[:, i]] for i in range(3))
    u, v = b - a, c - a
    return (u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]).abs()


def _face_tangents(mesh: Mesh) -> torch.Tensor:
    """(M, 4) direction of growing u on each face, and the handedness that makes green point against growing v."""
    assert mesh.uv is not None
    corners, uv = mesh.vertices[mesh.faces], mesh.uv[mesh.faces]
    edge_1, edge_2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    step_1, step_2 = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
    area = step_1[:, 0] * step_2[:, 1] - step_1[:, 1] * step_2[:, 0]
    tangent = (edge_1 * step_2[:, 1:] - edge_2 * step_1[:, 1:]) * torch.sign(area)[:, None]
    # Counter-clockwise in an image whose v grows downward is a negative area in (u, v).
    handedness = -torch.sign(area)[:, None]
    return torch.cat((torch.nn.functional.normalize(tangent, dim=-1), handedness), dim=1)
