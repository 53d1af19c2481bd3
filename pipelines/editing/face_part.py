"""A part of the surface that is named: faces by number, materials, connected parts."""

from __future__ import annotations

import re

import torch

from ..errors import Bundle3DError
from ..meshes.mesh import Mesh
from ..meshes.topology import components
from ..meshes.weld import welded_faces
from .material_names import faces_of_material
from .surface_points import Part, SurfacePoints

ITEM = re.compile(r'(?:[^,;，；\n"]|"[^"]*"?)+')
NUMBERS = re.compile(r"(\d{1,18})(?:\s*-\s*(\d{1,18}))?")
EXAMPLE = "such as 3-20, 44, material:glass or part:1"


def face_part(mesh: Mesh, text: str) -> Part:
    """The faces of ``mesh`` that ``text`` names, separated by commas.

    "3-20" and "44" are faces by number from 0, "material:glass" the faces of a material (in quotes where the name has a
    comma), "part:2" or "part:2-4" connected parts by their area, the largest being 1; parts that only touch along
    doubled vertices are one. Raises Bundle3DError, with what there is, for anything else and for what does not exist.
    """
    if not len(mesh.faces):
        raise Bundle3DError(f"Expected a mesh with faces to name, but {mesh.name} has none; load another mesh.")
    chosen = torch.zeros(len(mesh.faces), dtype=torch.bool, device=mesh.faces.device)
    items = [item.strip() for item in ITEM.findall(text) if item.strip()]
    if not items:
        raise Bundle3DError(f"Expected faces {EXAMPLE}, but the text is empty; name some.")
    labels: torch.Tensor | None = None
    for item in items:
        kind, colon, name = item.partition(":")
        if not colon:
            first, last = _range(item, item, 0, len(mesh.faces) - 1, "faces")
            chosen[first : last + 1] = True
        elif kind.strip().lower() == "material":
            chosen |= faces_of_material(mesh, name.strip().strip('"'))
        elif kind.strip().lower() == "part":
            labels = _parts(mesh) if labels is None else labels
            first, last = _range(name.strip(), item, 1, int(labels.max()) + 1, "connected parts")
            chosen |= (labels >= first - 1) & (labels < last)
        else:
            raise Bundle3DError(f"Expected faces {EXAMPLE}, but got {item!r}; correct it.")

    def part(points: SurfacePoints) -> torch.Tensor:
        return chosen.to(points.face.device)[points.face]

    return part


def _range(text: str, item: str, least: int, most: int, what: str) -> tuple[int, int]:
    """The numbers in "3" or "3-20", which lie within ``least`` and ``most``."""
    match = NUMBERS.fullmatch(text)
    if match is None:
        raise Bundle3DError(f"Expected faces {EXAMPLE}, but got {item!r}; correct it.")
    first, last = int(match[1]), int(match[2] or match[1])
    if not least <= first <= last <= most:
        raise Bundle3DError(
            f"Expected {what} within {least}-{most}, which are those the mesh has, but got {item!r}; choose others."
        )
    return first, last


def _parts(mesh: Mesh) -> torch.Tensor:
    """(M,) rank from 0 of the connected part of every face, by area."""
    faces = welded_faces(mesh)
    labels = components(faces, len(mesh.vertices))
    areas = torch.zeros(int(labels.max()) + 1, dtype=torch.float64, device=labels.device)
    areas.index_add_(0, labels, mesh.face_normals().double().norm(dim=1))
    order = torch.argsort(areas, descending=True, stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device)
    return rank[labels]
