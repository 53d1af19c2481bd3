"""Texture coordinates for any mesh."""

from __future__ import annotations

import torch

from ..errors import Bundle3DError
from ..meshes.mesh import Mesh
from ..meshes.weld import welded_faces
from ..progress import Progress, Stage, silent
from .charts import box_charts
from .packing import pack

CUT, PACKED = 50, 100  # steps of the progress


def unwrap(
    mesh: Mesh, resolution: int = 2048, padding: int = 4, backend: str = "auto", progress: Progress = silent
) -> tuple[Mesh, torch.Tensor]:
    """Give the mesh new texture coordinates whose charts do not overlap, and double the vertices at their seams.

    Texels are equally dense on all charts; at least ``padding`` texels of a ``resolution`` x ``resolution`` texture
    stay between two charts. Returns the mesh and, for each of its vertices (N,), the vertex it was. The old uv and the
    tangents are replaced or dropped, faces keep their order. ``progress`` may cancel it. Raises Bundle3DError for a
    mesh without faces, without area or when the charts do not fit.
    """
    if mesh.faces.shape[0] == 0:
        raise Bundle3DError("Expected a mesh with faces to unwrap, but it has none; load another mesh.")
    if not bool(mesh.face_normals().any()):
        raise Bundle3DError(
            "Expected a mesh with a surface to unwrap, but all its triangles are lines or points; load another mesh."
        )
    if not (16 <= resolution <= 16384 and 0 <= padding <= resolution // 8):
        raise Bundle3DError(
            f"Expected a resolution of 16 to 16384 and a padding of at most an eighth of it, but got {resolution} and "
            f"{padding}; 2048 and 4 suit most meshes."
        )
    charts = box_charts(mesh.vertices, mesh.faces, welded_faces(mesh), resolution, Stage(progress, 0, CUT, PACKED))
    packed = pack(charts, resolution, padding, backend, Stage(progress, CUT, PACKED, PACKED))
    uv = torch.from_numpy(packed).to(mesh.vertices)
    source = torch.from_numpy(charts.source_vertex).to(mesh.faces.device)

    def pick(values: torch.Tensor | None) -> torch.Tensor | None:
        return None if values is None else values.index_select(0, source)

    unwrapped = mesh.with_(
        vertices=mesh.vertices.index_select(0, source),
        faces=torch.from_numpy(charts.faces).to(mesh.faces.device),
        uv=uv,
        normals=pick(mesh.normals),
        tangents=None,
        colors=pick(mesh.colors),
    )
    return unwrapped, source
