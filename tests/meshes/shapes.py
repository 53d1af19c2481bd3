"""Analytic meshes for the tests of mesh processing."""

from __future__ import annotations

import math

import torch
from bundle3d.pipelines.meshes.mesh import Mesh

BOX_FACES = (
    (0, 2, 1), (1, 2, 3), (4, 5, 6), (5, 7, 6), (0, 1, 4), (1, 5, 4),
    (2, 6, 3), (3, 6, 7), (0, 4, 2), (2, 4, 6), (1, 3, 5), (3, 7, 5),
)  # fmt: skip


def box(extents: tuple[float, float, float] = (1.0, 1.0, 1.0), center: tuple[float, float, float] = (0, 0, 0)) -> Mesh:
    """A closed box of 12 faces with its sides along the axes."""
    corners = torch.tensor([[x, y, z] for z in (-0.5, 0.5) for y in (-0.5, 0.5) for x in (-0.5, 0.5)])
    vertices = corners * torch.tensor(extents) + torch.tensor(center, dtype=torch.float32)
    return Mesh(vertices=vertices, faces=torch.tensor(BOX_FACES))


def grid_surface(columns: int, rows: int, wrap_columns: bool, wrap_rows: bool) -> torch.Tensor:
    """Faces of a grid of ``columns`` x ``rows`` vertices (index row * columns + column), wrapped where asked."""
    faces = []
    for row in range(rows if wrap_rows else rows - 1):
        for column in range(columns if wrap_columns else columns - 1):
            a, b = row * columns + column, row * columns + (column + 1) % columns
            c, d = (row + 1) % rows * columns + column, (row + 1) % rows * columns + (column + 1) % columns
            faces += [(a, b, d), (a, d, c)]
    return torch.tensor(faces)


def torus(major: float = 1.0, minor: float = 0.35, columns: int = 48, rows: int = 24) -> Mesh:
    """A closed torus around the Y axis, facing outward."""
    u = torch.arange(columns) / columns * 2 * math.pi
    v = torch.arange(rows)[:, None] / rows * 2 * math.pi
    ring = major + minor * torch.cos(v)
    x, y, z = ring * torch.sin(u), (minor * torch.sin(v)).expand(rows, columns), ring * torch.cos(u)
    vertices = torch.stack((x, y, z), dim=-1).reshape(-1, 3)
    return Mesh(vertices=vertices, faces=grid_surface(columns, rows, True, True))


def cylinder(radius: float = 1.0, height: float = 2.0, columns: int = 32, rows: int = 8) -> Mesh:
    """A tube around the Y axis, open at both ends, facing outward."""
    u = (torch.arange(columns) / columns * 2 * math.pi).expand(rows, columns)
    y = torch.linspace(-height / 2, height / 2, rows)[:, None].expand(rows, columns)
    vertices = torch.stack((radius * torch.sin(u), y, radius * torch.cos(u)), dim=-1).reshape(-1, 3)
    return Mesh(vertices=vertices, faces=grid_surface(columns, rows, True, False))


def moebius(columns: int = 40, rows: int = 4) -> Mesh:
    """A one-sided band."""
    u = (torch.arange(columns) / columns * 2 * math.pi).expand(rows, columns)
    v = torch.linspace(-0.3, 0.3, rows)[:, None].expand(rows, columns)
    ring = 1.0 + v * torch.cos(u / 2)
    vertices = torch.stack((ring * torch.sin(u), v * torch.sin(u / 2), ring * torch.cos(u)), dim=-1).reshape(-1, 3)
    faces = []
    for row in range(rows - 1):
        for column in range(columns):
            a, c = row * columns + column, (row + 1) * columns + column
            if column + 1 < columns:
                b, d = a + 1, c + 1
            else:
                b, d = (rows - 1 - row) * columns, (rows - 2 - row) * columns
            faces += [(a, b, d), (a, d, c)]
    return Mesh(vertices=vertices, faces=torch.tensor(faces))


def sphere(radius: float = 1.0, subdivisions: int = 3, center: tuple[float, float, float] = (0, 0, 0)) -> Mesh:
    """A geodesic sphere of 20 * 4 ** subdivisions faces."""
    phi = (1 + math.sqrt(5)) / 2
    points = [[-1, phi, 0], [1, phi, 0], [-1, -phi, 0], [1, -phi, 0], [0, -1, phi], [0, 1, phi],
              [0, -1, -phi], [0, 1, -phi], [phi, 0, -1], [phi, 0, 1], [-phi, 0, -1], [-phi, 0, 1]]  # fmt: skip
    faces = [(0, 11, 5), (0, 5, 1), (0, 1, 7), (0, 7, 10), (0, 10, 11), (1, 5, 9), (5, 11, 4), (11, 10, 2), (10, 7, 6),
             (7, 1, 8), (3, 9, 4), (3, 4, 2), (3, 2, 6), (3, 6, 8), (3, 8, 9), (4, 9, 5), (2, 4, 11), (6, 2, 10),
             (8, 6, 7), (9, 8, 1)]  # fmt: skip
    for _ in range(subdivisions):
        middle: dict[tuple[int, int], int] = {}
        split = []
        for a, b, c in faces:
            for p, q in ((a, b), (b, c), (c, a)):
                if (min(p, q), max(p, q)) not in middle:
                    middle[min(p, q), max(p, q)] = len(points)
                    points.append([(s + t) / 2 for s, t in zip(points[p], points[q])])
            d, e, f = (middle[min(p, q), max(p, q)] for p, q in ((a, b), (b, c), (c, a)))
            split += [(a, d, f), (d, b, e), (f, e, c), (d, e, f)]
        faces = split
    vertices = torch.tensor(points, dtype=torch.float64)
    vertices = vertices / vertices.norm(dim=1, keepdim=True) * radius + torch.tensor(center, dtype=torch.float64)
    return Mesh(vertices=vertices.float(), faces=torch.tensor(faces))


def soup(mesh: Mesh) -> Mesh:
    """The same triangles without shared vertices."""
    count = mesh.faces.shape[0]
    return Mesh(
        vertices=mesh.vertices[mesh.faces.reshape(-1)],
        faces=torch.arange(count * 3).reshape(count, 3),
        face_material=mesh.face_material,
        materials=mesh.materials,
    )


def merge(*meshes: Mesh) -> Mesh:
    """Several meshes in one vertex list."""
    offset, vertices, faces = 0, [], []
    for mesh in meshes:
        vertices.append(mesh.vertices)
        faces.append(mesh.faces + offset)
        offset += mesh.vertices.shape[0]
    return Mesh(vertices=torch.cat(vertices), faces=torch.cat(faces))


def volume(mesh: Mesh) -> float:
    """Signed volume of a closed mesh; positive when it faces outward."""
    a, b, c = (mesh.vertices[mesh.faces[:, i]].double() for i in range(3))
    return float((a * torch.linalg.cross(b, c)).sum() / 6)
