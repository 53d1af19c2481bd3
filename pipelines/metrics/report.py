"""What a mesh is worth: the checks of a finished asset that need no reference."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from ..meshes.inner_shells import inner_parts
from ..meshes.mesh import Mesh
from ..meshes.topology import (
    boundary_loops,
    components,
    edge_face_counts,
    euler_characteristic,
    is_consistently_oriented,
    is_manifold,
    is_watertight,
    unique_edges,
)
from ..meshes.weld import welded_faces
from .uv_report import UvReport, uv_report

DEGENERATE = 1e-12  # area of a face relative to the square of its longest edge


@dataclass(frozen=True)
class MeshReport:
    """Figures of one mesh; geometry is judged with equal positions welded, so texture seams are no holes.

    ``manifold_edges``: share of edges with exactly two faces. ``genus``: number of handles, None unless closed and
    oriented. ``inner_shells``: parts inside other parts. ``size``: box (3) in ``units`` after the mesh's transform.
    ``textures``: material, slot, width, height. Self-intersections are not looked for.
    """

    name: str
    vertices: int
    faces: int
    watertight: bool
    manifold: bool
    manifold_edges: float
    consistent: bool
    components: int
    boundary_loops: int
    genus: int | None
    inner_shells: int
    degenerate_faces: int
    volume: float | None
    size: tuple[float, float, float]
    units: str
    materials: int
    textures: tuple[tuple[str, str, int, int], ...]
    vertex_colors: bool
    uv: UvReport | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        values = asdict(self)
        values["size"] = list(self.size)
        values["textures"] = [
            {"material": material, "slot": slot, "width": width, "height": height}
            for material, slot, width, height in self.textures
        ]
        return values

    def to_text(self) -> str:
        """One figure per line, for people."""
        rows = [
            ("vertices", f"{self.vertices:,}"),
            ("faces", f"{self.faces:,}"),
            ("watertight", _yes(self.watertight)),
            ("manifold", f"{_yes(self.manifold)} ({self.manifold_edges:.2%} of edges have two faces)"),
            ("consistent orientation", _yes(self.consistent)),
            ("components", str(self.components)),
            ("boundary loops", str(self.boundary_loops)),
            ("genus", "-" if self.genus is None else str(self.genus)),
            ("inner shells", str(self.inner_shells)),
            ("degenerate faces", str(self.degenerate_faces)),
            ("size", " x ".join(f"{side:.4g}" for side in self.size) + f" {self.units}"),
            ("volume", "-" if self.volume is None else f"{self.volume:.4g} {self.units}^3"),
            ("materials", str(self.materials)),
        ]
        rows += [("texture", f"{name} {slot} {width} x {height}") for name, slot, width, height in self.textures]
        rows.append(("vertex colours", _yes(self.vertex_colors)))
        if self.uv is None:
            rows.append(("uv", "none"))
        else:
            rows += [
                ("uv overlap", f"{self.uv.overlap:.2%}"),
                ("uv area used", f"{self.uv.used:.1%}"),
                ("uv outside 0..1", f"{self.uv.outside:.1%} of faces"),
                ("uv stretch", f"{self.uv.stretch:.2f}"),
                ("texel density", f"{self.uv.density:.4g} per unit, spread {self.uv.density_spread:.2f}"),
                ("seam step", "-" if self.uv.seam_step is None else f"{self.uv.seam_step:.4f}"),
            ]
        width = max(len(label) for label, _ in rows)
        return "\n".join([self.name] + [f"  {label:<{width}}  {value}" for label, value in rows])


def mesh_report(mesh: Mesh) -> MeshReport:
    """Measure a mesh; an empty one gives zeros. Source of the list: specs/field.md 4.4-C."""
    mesh = mesh.to("cpu")
    welded = welded_faces(mesh)
    counts = edge_face_counts(unique_edges(welded)[1]) if len(welded) else welded.new_zeros(0)
    labels = components(welded, mesh.vertices.shape[0])
    parts = int(labels.max()) + 1 if labels.numel() else 0
    closed, consistent = is_watertight(welded), is_consistently_oriented(welded)
    manifold = is_manifold(welded)
    positions = mesh.vertices.double().numpy()
    inner = inner_parts(positions, mesh.faces.numpy(), labels.numpy())
    world = _to_world(mesh)
    size = world.max(0) - world.min(0) if len(world) else np.zeros(3)
    solid = closed and consistent
    textures = [
        (material.name, slot.removesuffix("_texture"), image.shape[1], image.shape[0])
        for material in mesh.materials
        for slot, image in material.textures.items()
    ]
    return MeshReport(
        name=mesh.name,
        vertices=mesh.vertices.shape[0],
        faces=mesh.faces.shape[0],
        watertight=closed,
        manifold=manifold,
        manifold_edges=float((counts == 2).float().mean()) if counts.numel() else 0.0,
        consistent=consistent,
        components=parts,
        boundary_loops=boundary_loops(welded),
        genus=parts - euler_characteristic(welded) // 2 if solid and manifold else None,
        inner_shells=int(inner.sum()),
        degenerate_faces=_degenerate(mesh),
        volume=_volume(world, mesh.faces.numpy()) if solid else None,
        size=(float(size[0]), float(size[1]), float(size[2])),
        units=mesh.units,
        materials=len(mesh.materials),
        textures=tuple(textures),
        vertex_colors=mesh.colors is not None,
        uv=None if mesh.uv is None or mesh.faces.shape[0] == 0 else uv_report(mesh, welded),
    )


def _degenerate(mesh: Mesh) -> int:
    corners = mesh.vertices[mesh.faces].double()
    longest = (corners - corners.roll(1, dims=1)).norm(dim=-1).amax(1) if len(corners) else corners.new_zeros(0)
    cross = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=1)
    return int((cross <= DEGENERATE * longest**2).sum())


def _to_world(mesh: Mesh) -> np.ndarray:
    matrix = mesh.transform.cpu().double().numpy()
    return mesh.vertices.double().numpy() @ matrix[:3, :3].T + matrix[:3, 3]


def _volume(points: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = (points[faces[:, i]] - points.mean(0) for i in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


def _yes(value: bool) -> str:
    return "yes" if value else "no"
