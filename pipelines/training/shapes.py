"""The procedural objects of the demo family: shape classes, colours, sizes, proportions and two-part stacks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..errors import Bundle3DError
from ..meshes.mesh import Mesh
from ..meshes.srgb import linear_from_srgb
from .solids import creased, extrude, revolve

Array = np.ndarray
Geometry = tuple[Array, Array]
Profile = list[tuple[float, float]]

COLORS: dict[str, tuple[float, float, float]] = {  # sRGB
    "red": (0.80, 0.09, 0.09),
    "orange": (0.95, 0.50, 0.08),
    "yellow": (0.95, 0.85, 0.15),
    "green": (0.15, 0.60, 0.20),
    "cyan": (0.15, 0.75, 0.80),
    "blue": (0.12, 0.25, 0.80),
    "purple": (0.50, 0.15, 0.65),
    "pink": (0.95, 0.50, 0.70),
    "brown": (0.40, 0.22, 0.10),
    "grey": (0.45, 0.45, 0.45),
}
SIZES: dict[str, float] = {"small": 1.1, "": 1.55, "large": 2.0}  # longest side of the bounding box
PLAIN = ""


def _arc(radius: float, start: float, stop: float, steps: int, height: float = 0.0, outward: float = 0.0) -> Profile:
    """A profile along a circle about (outward, height), by angles in degrees from the horizontal."""
    angles = np.radians(np.linspace(start, stop, steps))
    return [(outward + radius * math.cos(a), height + radius * math.sin(a)) for a in angles]


def _facing_front(geometry: Geometry) -> Geometry:
    """Turns the up axis of a solid to the front."""
    vertices, faces = geometry
    return vertices[:, [0, 2, 1]] * (1.0, -1.0, 1.0), faces


def _box(x: float, y: float, z: float) -> Geometry:
    vertices, faces = revolve([(0.0, -y / 2), (math.sqrt(0.5), -y / 2), (math.sqrt(0.5), y / 2), (0.0, y / 2)], 4)
    return vertices * (x, 1.0, z), faces


def _cylinder(height: float) -> Geometry:
    return revolve([(0.0, -height / 2), (0.5, -height / 2), (0.5, height / 2), (0.0, height / 2)])


def _cone(height: float, segments: int, radius: float) -> Geometry:
    return revolve([(0.0, 0.0), (radius, 0.0), (0.0, height)], segments)


def _capsule(length: float) -> Geometry:
    return revolve(_arc(0.4, -90.0, 0.0, 13, -length / 2) + _arc(0.4, 0.0, 90.0, 13, length / 2))


def _torus(tube: float) -> Geometry:
    return _facing_front(revolve(_arc(tube, 0.0, 360.0, 33, outward=0.7)[:-1], ring=True))


def _octahedron(height: float) -> Geometry:
    return revolve([(0.0, -height), (1.0, 0.0), (0.0, height)], 4)


def _dome(height: float) -> Geometry:
    vertices, faces = revolve([(0.0, 0.0), *_arc(1.0, 0.0, 90.0, 25)])
    return vertices * (1.0, height, 1.0), faces


def _star(depth: float) -> Geometry:
    angles = math.pi / 2 + np.arange(10) * math.pi / 5
    radius = np.where(np.arange(10) % 2 == 0, 1.0, 0.45)
    return extrude([(r * math.cos(a), r * math.sin(a)) for a, r in zip(angles, radius)], depth)


def _cross(depth: float) -> Geometry:
    a, b = 0.33, 1.0
    corners = [
        (b, a),
        (a, a),
        (a, b),
        (-a, b),
        (-a, a),
        (-b, a),
        (-b, -a),
        (-a, -a),
        (-a, -b),
        (a, -b),
        (a, -a),
        (b, -a),
    ]
    return extrude(corners, depth)


def _tube(hole: float) -> Geometry:
    return _facing_front(revolve([(hole, -0.4), (1.0, -0.4), (1.0, 0.4), (hole, 0.4)], ring=True))


def _hourglass(height: float) -> Geometry:
    return revolve([(0.0, -height), (0.7, -height), (0.25, 0.0), (0.7, height), (0.0, height)])


def _heart(depth: float) -> Geometry:
    t = np.linspace(0.0, 2.0 * math.pi, 48, endpoint=False)
    x = 16.0 * np.sin(t) ** 3
    y = 13.0 * np.cos(t) - 5.0 * np.cos(2 * t) - 2.0 * np.cos(3 * t) - np.cos(4 * t)
    return extrude(list(zip(-x / 17.0, y / 17.0)), depth)


# Shape class -> proportion -> geometry of any scale. The first proportion of each is the plain one.
CLASSES: dict[str, dict[str, Callable[[], Geometry]]] = {
    "sphere": {PLAIN: lambda: revolve(_arc(1.0, -90.0, 90.0, 41))},
    "cube": {
        PLAIN: lambda: _box(1.0, 1.0, 1.0),
        "tall": lambda: _box(1.0, 2.2, 1.0),
        "flat": lambda: _box(1.0, 0.35, 1.0),
        "wide": lambda: _box(2.2, 1.0, 1.0),
    },
    "cylinder": {PLAIN: lambda: _cylinder(1.1), "tall": lambda: _cylinder(2.2), "flat": lambda: _cylinder(0.35)},
    "cone": {
        PLAIN: lambda: _cone(1.2, 64, 0.6),
        "tall": lambda: _cone(2.2, 64, 0.6),
        "flat": lambda: _cone(0.6, 64, 0.6),
    },
    "pyramid": {
        PLAIN: lambda: _cone(1.1, 4, 0.85),
        "tall": lambda: _cone(2.2, 4, 0.85),
        "flat": lambda: _cone(0.55, 4, 0.85),
    },
    "torus": {PLAIN: lambda: _torus(0.28), "thick": lambda: _torus(0.42), "thin": lambda: _torus(0.17)},
    "capsule": {PLAIN: lambda: _capsule(1.0), "tall": lambda: _capsule(1.9)},
    "octahedron": {PLAIN: lambda: _octahedron(1.1), "tall": lambda: _octahedron(1.9)},
    "dome": {PLAIN: lambda: _dome(1.0), "flat": lambda: _dome(0.5)},
    "star": {PLAIN: lambda: _star(0.5), "thick": lambda: _star(0.9), "thin": lambda: _star(0.25)},
    "cross": {PLAIN: lambda: _cross(0.6), "thick": lambda: _cross(1.1), "thin": lambda: _cross(0.3)},
    "tube": {PLAIN: lambda: _tube(0.62), "thick": lambda: _tube(0.45), "thin": lambda: _tube(0.8)},
    "hourglass": {PLAIN: lambda: _hourglass(0.8), "tall": lambda: _hourglass(1.2)},
    "heart": {PLAIN: lambda: _heart(0.6), "thick": lambda: _heart(1.0), "thin": lambda: _heart(0.3)},
}
TOPS = ("sphere", "cube", "cone", "pyramid", "torus", "capsule", "octahedron", "dome", "star", "heart")
BASES = ("cube", "cylinder", "hourglass")
JITTER = 0.04


@dataclass(frozen=True)
class Part:
    """One solid of a subject: its class, colour and proportion ("" is the plain one)."""

    shape: str
    color: str
    proportion: str = PLAIN

    def __post_init__(self) -> None:
        if self.shape not in CLASSES or self.color not in COLORS or self.proportion not in CLASSES[self.shape]:
            raise Bundle3DError(
                f"Expected a known shape, colour and proportion, but got {self.proportion!r} {self.color!r} "
                f"{self.shape!r}; shapes are {', '.join(CLASSES)}."
            )


@dataclass(frozen=True)
class Subject:
    """What a bundle shows: one part, or a top standing on a base; ``size`` is one of ``SIZES``."""

    parts: tuple[Part, ...]
    size: str = PLAIN


def build(subject: Subject, generator: np.random.Generator | None = None) -> Mesh:
    """The coloured mesh of ``subject``, centred, its longest side as its size says.

    With a ``generator`` size, proportions and colours vary a little, as they do between real objects of one name.
    """
    pieces = [_piece(part, generator) for part in subject.parts]
    if len(pieces) == 2:
        (top, faces, top_color), (base, base_faces, base_color) = pieces
        base = base * 1.15
        # Sunk in a little: a solid that stands on a point must not hang in the air.
        top = top + np.array((0.0, base[:, 1].max() - top[:, 1].min() - 0.04, 0.0))
        pieces = [(top, faces, top_color), (base, base_faces, base_color)]
    points = np.concatenate([vertices for vertices, _, _ in pieces])
    low, high = points.min(0), points.max(0)
    longest = SIZES[subject.size] * (1.0 + _wobble(generator))
    scale = longest / (high - low).max()
    return merged([creased((v - (low + high) / 2.0) * scale, faces, color) for v, faces, color in pieces])


def merged(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh of several that have colours and normals."""
    offsets = np.cumsum([0, *(mesh.vertices.shape[0] for mesh in meshes[:-1])])
    return Mesh(
        torch.cat([mesh.vertices for mesh in meshes]),
        torch.cat([mesh.faces + int(offset) for mesh, offset in zip(meshes, offsets)]),
        normals=torch.cat([mesh.normals for mesh in meshes if mesh.normals is not None]),
        colors=torch.cat([mesh.colors for mesh in meshes if mesh.colors is not None]),
    )


def _piece(part: Part, generator: np.random.Generator | None) -> tuple[Array, Array, tuple[float, float, float]]:
    """A part with its longest side 1, and its linear colour."""
    vertices, faces = CLASSES[part.shape][part.proportion]()
    low, high = vertices.min(0), vertices.max(0)
    vertices = (vertices - (low + high) / 2.0) / (high - low).max()
    if generator is not None:
        vertices = vertices * (1.0, 1.0 + _wobble(generator), 1.0)
    color = np.array([channel + _wobble(generator) for channel in COLORS[part.color]])
    red, green, blue = linear_from_srgb(color.clip(0.0, 1.0))
    return vertices, faces, (float(red), float(green), float(blue))


def _wobble(generator: np.random.Generator | None) -> float:
    return 0.0 if generator is None else float(generator.uniform(-JITTER, JITTER))
