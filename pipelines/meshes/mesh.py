"""The triangle mesh that all stages share."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch

from ..errors import Bundle3DError


@dataclass(frozen=True)
class Material:
    """A glTF metallic-roughness material.

    Textures are uint8 (H, W, C) in glTF orientation (first row is v = 0), on the CPU wherever the mesh is:
    ``base_color_texture`` C = 3 or 4, sRGB; ``orm_texture`` C = 3, linear, occlusion in red, roughness in green,
    metallic in blue; ``normal_texture`` C = 3, tangent space, OpenGL (+Y); ``emissive_texture`` C = 3, sRGB. Factors
    are linear and multiply the textures. ``has_occlusion`` tells whether the red channel of ``orm_texture`` means
    anything.
    """

    name: str = "material"
    base_color_factor: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    metallic_factor: float = 0.0
    roughness_factor: float = 1.0
    emissive_factor: tuple[float, float, float] = (0.0, 0.0, 0.0)
    normal_scale: float = 1.0
    occlusion_strength: float = 1.0
    base_color_texture: torch.Tensor | None = None
    orm_texture: torch.Tensor | None = None
    has_occlusion: bool = False
    normal_texture: torch.Tensor | None = None
    emissive_texture: torch.Tensor | None = None
    alpha_mode: str = "OPAQUE"
    alpha_cutoff: float = 0.5
    double_sided: bool = True
    unlit: bool = False
    repeat: bool = True  # textures wrap outside [0, 1]; otherwise they clamp to the edge

    @property
    def textures(self) -> dict[str, torch.Tensor]:
        """The textures that are there, by field name."""
        names = ("base_color_texture", "orm_texture", "normal_texture", "emissive_texture")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


def _identity() -> torch.Tensor:
    return torch.eye(4, dtype=torch.float64)


@dataclass(frozen=True)
class Mesh:
    """Triangles with glTF attributes, in their local frame (+Y up, front +Z, counter-clockwise front faces).

    ``vertices`` (N, 3) float32; ``faces`` (M, 3) int64; per vertex and optional: ``uv`` (N, 2) with v = 0 at the top
    row of the texture, ``normals`` (N, 3) unit, ``tangents`` (N, 4) with handedness, ``colors`` (N, 3 or 4) linear.
    Where a seam needs two UVs for one point, the vertex is doubled. ``face_material`` (M,) int64 indexes ``materials``
    (absent: all zero). ``transform`` (4, 4) float64 takes local to world coordinates, measured in ``units``.

    Raises Bundle3DError for wrong shapes, indices out of range or coordinates that are not finite.
    """

    vertices: torch.Tensor
    faces: torch.Tensor
    uv: torch.Tensor | None = None
    normals: torch.Tensor | None = None
    tangents: torch.Tensor | None = None
    colors: torch.Tensor | None = None
    materials: tuple[Material, ...] = ()
    face_material: torch.Tensor | None = None
    transform: torch.Tensor = field(default_factory=_identity)
    units: str = "meter"
    name: str = "mesh"

    def __post_init__(self) -> None:
        if self.vertices.ndim != 2 or self.vertices.shape[1] != 3:
            shape = tuple(self.vertices.shape)
            raise Bundle3DError(f"Expected vertices of shape (N, 3), but got {shape}; check the mesh.")
        if self.faces.ndim != 2 or self.faces.shape[1] != 3:
            shape = tuple(self.faces.shape)
            raise Bundle3DError(f"Expected faces of shape (M, 3), but got {shape}; triangulate the mesh.")
        count = self.vertices.shape[0]
        if self.faces.numel() and (int(self.faces.min()) < 0 or int(self.faces.max()) >= count):
            raise Bundle3DError(
                f"Expected face indices in 0..{count - 1}, but got {int(self.faces.min())}..{int(self.faces.max())}; "
                "the mesh is damaged, export it again."
            )
        if not bool(torch.isfinite(self.vertices).all()):
            raise Bundle3DError("Expected finite vertices, but some are NaN or infinite; repair the mesh first.")
        for name, widths in (("uv", (2,)), ("normals", (3,)), ("tangents", (4,)), ("colors", (3, 4))):
            values = getattr(self, name)
            if values is not None and (values.ndim != 2 or values.shape[0] != count or values.shape[1] not in widths):
                raise Bundle3DError(f"Expected {name} of shape ({count}, {widths[0]}), but got {tuple(values.shape)}.")
        if self.face_material is not None and self.face_material.shape != (self.faces.shape[0],):
            shape = tuple(self.face_material.shape)
            raise Bundle3DError(f"Expected one material index per face ({self.faces.shape[0]}), but got {shape}.")

    def with_(self, **changes: Any) -> Mesh:
        """A copy with some fields replaced; tensors that are not replaced are shared."""
        return replace(self, **changes)

    def to(self, device: torch.device | str) -> Mesh:
        """The same geometry on another device; textures and the transform stay on the CPU."""
        names = ("vertices", "faces", "uv", "normals", "tangents", "colors", "face_material")
        moved = {name: getattr(self, name).to(device) for name in names if getattr(self, name) is not None}
        return replace(self, **moved)

    @property
    def bounds(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Smallest and largest corner (3,) of the axis-aligned bounding box in local coordinates."""
        if self.vertices.shape[0] == 0:
            raise Bundle3DError("Expected a mesh with vertices, but it is empty; load another mesh.")
        return self.vertices.amin(0), self.vertices.amax(0)

    def face_normals(self) -> torch.Tensor:
        """(M, 3) un-normalised normals: direction by the right-hand rule, length twice the face's area."""
        a, b, c = (self.vertices.index_select(0, self.faces[:, i]) for i in range(3))
        return torch.linalg.cross(b - a, c - a)

    def vertex_normals(self) -> torch.Tensor:
        """(N, 3) unit normals, area weighted; computed from the faces and blind to ``normals``."""
        return vertex_normals(self.vertices, self.faces)


def uv_of(mesh: Mesh) -> torch.Tensor:
    """The uv (N, 2) of a mesh. Raises Bundle3DError when it has none."""
    if mesh.uv is None:
        raise Bundle3DError("Expected a mesh with texture coordinates, but it has none; unwrap it first.")
    return mesh.uv


def vertex_normals(vertices: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    """Area-weighted unit normals (N, 3) of the vertices; differentiable. A vertex without area gets +Z."""
    a, b, c = (vertices.index_select(0, faces[:, i]) for i in range(3))
    cross = torch.linalg.cross(b - a, c - a)
    total = torch.zeros_like(vertices)
    for i in range(3):
        total = total.index_add(0, faces[:, i], cross)
    length = total.norm(dim=-1, keepdim=True)
    up = torch.tensor((0.0, 0.0, 1.0)).to(vertices).expand_as(vertices)
    return torch.where(length > 1e-20, total / length.clamp(min=1e-20), up)
