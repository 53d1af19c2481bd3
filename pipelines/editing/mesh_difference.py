"""What is different between two states of a mesh, and what is the same to the bit."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from ..errors import Bundle3DError
from ..meshes.closest import SurfaceIndex
from ..meshes.densify import densify
from ..meshes.mesh import Mesh
from ..progress import Progress, Stage, silent
from .texture_space import enlarged

EDGE = 0.03  # of the longest side: distances are taken at least so often along edges
QUERIES = 1 << 16  # places asked about between two reports of progress
CANDIDATES = 16  # faces looked at for each: enough for some that lie on each other
THERE, BACK = 70, 100  # steps of the progress
FIELDS = {
    "vertices": "vertices",
    "faces": "triangles",
    "uv": "texture coordinates",
    "normals": "normals",
    "tangents": "tangents",
    "colors": "vertex colours",
    "face_material": "materials of the triangles",
    "transform": "place and scale",
}
SLOTS = {
    "base_color_texture": "base colour",
    "orm_texture": "roughness and metal",
    "normal_texture": "normal map",
    "emissive_texture": "emission",
}


@dataclass(frozen=True)
class TextureDifference:
    """A texture ``slot`` of a ``material``: (height, width) ``before`` and ``after``, None where there is none, and the
    texels ``changed``, against the old texture enlarged bilinearly where the new one is a multiple of it; None where
    the sizes have nothing in common."""

    material: str
    slot: str
    before: tuple[int, int] | None
    after: tuple[int, int] | None
    changed: int | None

    def to_text(self) -> str:
        """One line, for people."""
        what = f"{self.material}, {self.slot}"
        if self.before is None or self.after is None:
            return f"{what}: {'gone' if self.after is None else 'new, ' + _size(self.after)}"
        if self.changed is None:
            return f"{what}: another one, {_size(self.before)} before, {_size(self.after)} after"
        texels = self.after[0] * self.after[1]
        grown = "" if self.before == self.after else f", {_size(self.before)} before"
        return f"{what}: {self.changed:,} of {texels:,} texels changed ({_size(self.after)}{grown})"


@dataclass(frozen=True)
class SurfaceDistance:
    """How far each vertex of ``surface`` is from the other mesh, (N,) float32 in units of the world, and the largest
    distance in either direction. ``moved``: how many vertices lie elsewhere, None where the triangles are others."""

    surface: Mesh
    distance: torch.Tensor
    largest: float
    moved: int | None


@dataclass(frozen=True)
class MeshDifference:
    """``same`` and ``changed`` name the parts that are and are not equal to the bit. Counts of vertices and triangles
    are before and after; distances are in ``units`` of the world."""

    name: str
    units: str
    same: tuple[str, ...]
    changed: tuple[str, ...]
    vertices: tuple[int, int]
    triangles: tuple[int, int]
    moved: int | None
    largest_distance: float
    mean_distance: float
    textures: tuple[TextureDifference, ...]

    @property
    def is_identical(self) -> bool:
        """Whether nothing at all changed."""
        return not self.changed

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    def to_text(self) -> str:
        """One figure per line, for people."""
        if self.is_identical:
            return f"{self.name}:\n  nothing changed, to the bit"
        rows = [
            f"{self.name}:",
            f"  changed: {', '.join(self.changed)}",
            f"  unchanged to the bit: {', '.join(self.same) or 'nothing'}",
        ]
        if self.moved is None:
            rows.append(f"  vertices: {_pair(self.vertices)}; triangles: {_pair(self.triangles)}")
        else:
            rows.append(f"  {self.moved:,} of {self.vertices[1]:,} vertices moved")
        if self.largest_distance > 0.0:
            rows.append(
                f"  the surfaces are {self.largest_distance:.4g} {self.units} apart at most, {self.mean_distance:.4g} "
                "on average"
            )
        return "\n".join(rows + [f"  {texture.to_text()}" for texture in self.textures])


def mesh_difference(before: Mesh, after: Mesh, apart: SurfaceDistance) -> MeshDifference:
    """The figures of what changed from ``before`` to ``after``, which lie ``apart`` as ``surface_distance`` says."""
    before, after = before.to("cpu"), after.to("cpu")
    equal = {}
    for field, label in FIELDS.items():
        old, new = getattr(before, field), getattr(after, field)
        if old is not None or new is not None:
            equal[label] = _equal(old, new)
    textures = _textures(before, after)
    equal["materials"] = _plain_materials(before) == _plain_materials(after)
    equal["textures"] = not textures
    equal["name"], equal["units"] = before.name == after.name, before.units == after.units
    return MeshDifference(
        name=before.name,
        units=before.units,
        same=tuple(label for label, is_equal in equal.items() if is_equal),
        changed=tuple(label for label, is_equal in equal.items() if not is_equal),
        vertices=(len(before.vertices), len(after.vertices)),
        triangles=(len(before.faces), len(after.faces)),
        moved=apart.moved,
        largest_distance=apart.largest,
        mean_distance=_mean(apart),
        textures=textures,
    )


def surface_distance(before: Mesh, after: Mesh, progress: Progress = silent) -> SurfaceDistance:
    """How far ``after`` lies from ``before``, both with their transforms.

    With the same triangles, how far each vertex moved; otherwise the distance to the nearest place of ``before``, and
    the surface is cut finely for it. Raises Bundle3DError for a mesh without faces.
    """
    for mesh in (before, after):
        if not len(mesh.faces):
            raise Bundle3DError(f"Expected meshes with faces to compare, but {mesh.name} is empty; connect another.")
    before, after = before.to("cpu"), after.to("cpu")
    if len(before.vertices) == len(after.vertices) and torch.equal(before.faces, after.faces):
        distance = (_world(after) - _world(before)).norm(dim=1)
        progress(1, 1)
        return SurfaceDistance(after, distance.float(), float(distance.max()), int((distance > 0.0).sum()))
    fine_before, fine_after = (densify(mesh, EDGE * _longest(mesh)) for mesh in (before, after))
    there = _nearest(fine_after, before, Stage(progress, 0, THERE, BACK))
    back = _nearest(fine_before, after, Stage(progress, THERE, BACK, BACK))
    return SurfaceDistance(fine_after, torch.from_numpy(there).float(), float(max(there.max(), back.max())), None)


def _nearest(mesh: Mesh, target: Mesh, progress: Progress) -> np.ndarray:
    """(N,) distances of the vertices of ``mesh`` from the surface of ``target``."""
    index = SurfaceIndex(_world(target).numpy(), target.faces.numpy())
    places, found = _world(mesh).numpy(), []
    for start in range(0, len(places), QUERIES):
        progress(start, len(places))
        found.append(index.nearest(places[start : start + QUERIES], CANDIDATES).distance.min(1))
    progress(1, 1)
    return np.concatenate(found)


def _mean(apart: SurfaceDistance) -> float:
    """The mean distance over the surface, by area."""
    area = apart.surface.face_normals().double().norm(dim=1)
    corners = apart.distance.double()[apart.surface.faces].mean(1)
    return float((corners * area).sum() / area.sum().clamp(min=1e-300))


def _textures(before: Mesh, after: Mesh) -> tuple[TextureDifference, ...]:
    """The textures that differ, material by material in their order."""
    found = []
    for number in range(max(len(before.materials), len(after.materials))):
        old = before.materials[number] if number < len(before.materials) else None
        new = after.materials[number] if number < len(after.materials) else None
        name = (new or old).name  # type: ignore[union-attr]
        for slot, label in SLOTS.items():
            a, b = getattr(old, slot, None), getattr(new, slot, None)
            if not _equal(a, b):
                repeat = new is not None and new.repeat
                found.append(TextureDifference(name, label, _shape(a), _shape(b), _changed_texels(a, b, repeat)))
    return tuple(found)


def _changed_texels(old: torch.Tensor | None, new: torch.Tensor | None, repeat: bool) -> int | None:
    if old is None or new is None or old.shape[2] != new.shape[2]:
        return None
    factor = max(new.shape[0] // old.shape[0], 1)
    if (old.shape[0] * factor, old.shape[1] * factor) != (new.shape[0], new.shape[1]):
        return None
    return int((enlarged(old, factor, repeat) != new).any(-1).sum())


def _plain_materials(mesh: Mesh) -> list[Any]:
    """The materials without their textures."""
    without: dict[str, Any] = dict.fromkeys(SLOTS)
    return [replace(material, **without) for material in mesh.materials]


def _equal(a: torch.Tensor | None, b: torch.Tensor | None) -> bool:
    if a is None or b is None:
        return a is b
    return a is b or (a.dtype == b.dtype and torch.equal(a, b))


def _world(mesh: Mesh) -> torch.Tensor:
    """(N, 3) float64 vertices in the world."""
    return mesh.vertices.double() @ mesh.transform[:3, :3].T + mesh.transform[:3, 3]


def _longest(mesh: Mesh) -> float:
    low, high = mesh.bounds
    return float((high - low).max())


def _shape(texture: torch.Tensor | None) -> tuple[int, int] | None:
    return None if texture is None else (texture.shape[0], texture.shape[1])


def _size(shape: tuple[int, int]) -> str:
    return f"{shape[1]:,} x {shape[0]:,}"


def _pair(counts: tuple[int, int]) -> str:
    return f"{counts[0]:,} before, {counts[1]:,} after"
