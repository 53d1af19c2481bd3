"""STL, binary and ASCII."""

from __future__ import annotations

import re

import numpy as np

from ..errors import Bundle3DError
from .assemble import Part, assemble
from .limits import Limits
from .mesh import Mesh
from .world import units_comment, units_note, world_faces, world_vertices

HEADER, RECORD = 84, 50
FACET = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
CORNER = re.compile(rb"\bvertex\s+(\S+)\s+(\S+)\s+(\S+)")


def read_stl(data: bytes, limits: Limits) -> Mesh:
    """The facets of an STL file with equal corners joined; raises Bundle3DError where it is damaged or empty."""
    count = int.from_bytes(data[80:HEADER], "little") if len(data) >= HEADER else 0
    is_binary = len(data) >= HEADER and len(data) == HEADER + RECORD * count
    if not is_binary and data[:512].lstrip().startswith(b"solid"):
        corners = _ascii_corners(data, limits)
        note = data[:512].partition(b"\n")[0]
    else:
        corners = _binary_corners(data, count, limits)
        note = data[:80].rstrip(b"\0 ")
    vertices, faces = _joined(corners)
    return assemble([Part(vertices, faces)], (), "mesh", units_note(note))


def _binary_corners(data: bytes, count: int, limits: Limits) -> np.ndarray:
    if len(data) < HEADER or len(data) < HEADER + RECORD * count:
        raise Bundle3DError(
            f"Expected {HEADER + RECORD * count:,} bytes of binary STL, but got {len(data):,}; "
            "it is cut short or no STL, copy or export it again."
        )
    limits.check("faces", count, "triangles")
    facets = np.frombuffer(data, FACET, count, HEADER)
    return facets["corners"].reshape(-1, 3)


def _ascii_corners(data: bytes, limits: Limits) -> np.ndarray:
    limits.check("text_bytes", len(data), "bytes of text")
    limits.check("faces", data.count(b"vertex") // 3, "triangles")
    body = data.partition(b"\n")[2]
    try:
        corners = np.array([[float(x), float(y), float(z)] for x, y, z in CORNER.findall(body)]).reshape(-1, 3)
    except ValueError as error:
        raise Bundle3DError(
            f"Expected three numbers after each vertex, but {str(error)[:60]}; the STL is damaged, export it again."
        ) from error
    if len(corners) % 3 or b"endsolid" not in data[-4096:]:
        raise Bundle3DError(
            f"Expected whole facets and endsolid, but the STL ends after {len(corners)} corners; "
            "it is cut short, copy or export it again."
        )
    return corners


def _joined(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct corners in order of first use, and the faces (M, 3) that use them."""
    corners = corners + 0.0  # joins -0.0 and 0.0
    rows = np.ascontiguousarray(corners).view(np.dtype((np.void, corners.dtype.itemsize * 3)))[:, 0]
    _, first, inverse = np.unique(rows, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return corners[first[order]].astype(np.float64), rank[inverse.reshape(-1)].reshape(-1, 3)


def stl_bytes(mesh: Mesh) -> bytes:
    """Binary STL in world coordinates; geometry only, units in the header."""
    corners = world_vertices(mesh).astype("<f4")[world_faces(mesh)]
    with np.errstate(invalid="ignore", divide="ignore"):
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        normals = np.where(length > 0, normals / length, 0.0)
    facets = np.zeros(len(corners), FACET)
    facets["normal"], facets["corners"] = normals, corners
    header = units_comment(mesh).encode("ascii").ljust(80, b"\0")
    return header + len(facets).to_bytes(4, "little") + facets.tobytes()
