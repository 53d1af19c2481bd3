"""PLY, ASCII and binary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ..errors import Bundle3DError
from .assemble import Part, assemble
from .limits import Limits
from .mesh import Mesh
from .srgb import linear_from_srgb, srgb_from_linear
from .world import units_comment, units_note, world_faces, world_normals, world_vertices

TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
HEADER_BYTES = 1 << 16
UV_NAMES = (("s", "t"), ("u", "v"), ("texture_u", "texture_v"))
CORNER_NAMES = ("vertex_indices", "vertex_index")
LARGEST_POLYGON = 255


@dataclass
class _Property:
    name: str
    kind: str
    count_kind: str | None = None  # of a list, the type of its length


@dataclass
class _Element:
    name: str
    count: int
    properties: list[_Property] = field(default_factory=list)


def _damaged(what: str) -> Bundle3DError:
    return Bundle3DError(f"Expected a whole PLY file, but {what}; it is damaged, export it again.")


def read_ply(data: bytes, limits: Limits) -> Mesh:
    """Vertices, normals, UVs, colours (sRGB in the file) and polygons of a PLY file, fans of triangles for polygons.

    Raises Bundle3DError where the header lies about the data, or where there are no faces.
    """
    order, elements, comments, body = _header(data, limits)
    reader = _Text(data, body, limits) if order is None else _Binary(data, body, order)
    columns: dict[str, np.ndarray] = {}
    faces = np.zeros((0, 3), np.int64)
    for element in elements:
        if element.name == "vertex":
            limits.check("vertices", element.count, "vertices")
            columns = reader.table(element)
        elif element.name == "face":
            limits.check("faces", element.count, "faces")
            faces = reader.polygons(element, limits)
        else:
            reader.skip(element)
    return _mesh(columns, faces, units_note(comments))


def _header(data: bytes, limits: Limits) -> tuple[str | None, list[_Element], bytes, int]:
    """Byte order (None: text), elements, comments, and where the data starts."""
    end = data.find(b"end_header", 0, HEADER_BYTES)
    start = data.find(b"\n", end, end + 64) + 1
    if not data.startswith(b"ply") or end < 0 or start == 0:
        raise _damaged("it has no PLY header")
    order: str | None = ""
    elements: list[_Element] = []
    comments = b""
    for line in data[:end].splitlines()[1:]:
        words = line.decode("latin-1").split()
        if not words:
            continue
        if words[0] in ("comment", "obj_info"):
            comments += line + b"\n"
        elif words[0] == "format" and len(words) >= 2:
            orders = {"ascii": None, "binary_little_endian": "<", "binary_big_endian": ">"}
            if words[1] not in orders:
                raise _damaged(f"its format is {words[1][:20]!r}")
            order = orders[words[1]]
        elif words[0] == "element" and len(words) == 3 and words[2].isdecimal() and len(words[2]) < 12:
            elements.append(_Element(words[1], int(words[2])))
        elif words[0] == "property" and elements and (parsed := _property(words)) is not None:
            elements[-1].properties.append(parsed)
        else:
            raise _damaged(f"its header says {' '.join(words)[:40]!r}")
    if order == "":
        raise _damaged("its header names no format")
    if sum(element.count for element in elements) > 8 * len(data):
        raise _damaged("its header promises more elements than the file can hold")
    return order, elements, comments, start


def _property(words: list[str]) -> _Property | None:
    if len(words) == 3 and words[1] in TYPES:
        return _Property(words[2], TYPES[words[1]])
    if len(words) == 5 and words[1] == "list" and words[2] in TYPES and words[3] in TYPES:
        return _Property(words[4], TYPES[words[3]], TYPES[words[2]])
    return None


def _fan(polygons: np.ndarray) -> np.ndarray:
    """Triangles (M * (K - 2), 3) of equal polygons (M, K)."""
    middle = polygons.shape[1] - 2
    first = np.repeat(polygons[:, :1], middle, axis=1)
    return np.stack([first, polygons[:, 1:-1], polygons[:, 2:]], axis=-1).reshape(-1, 3)


def _fans(lists: Iterator[np.ndarray], limits: Limits) -> np.ndarray:
    """Triangles of polygons of any size, in their order."""
    triangles, count = [], 0
    for corners in lists:
        if not (np.abs(corners) < 2.0**31).all():
            raise _damaged("a face names no vertex")
        if len(corners) >= 3:
            triangles.append(_fan(corners[None].astype(np.int64)))
            count += len(corners) - 2
            limits.check("faces", count, "triangles")
    return np.concatenate(triangles) if triangles else np.zeros((0, 3), np.int64)


def _corner_list(element: _Element) -> int:
    for index, item in enumerate(element.properties):
        if item.name in CORNER_NAMES and item.count_kind is not None:
            return index
    raise _damaged("its faces have no vertex_indices")


class _Binary:
    """Reads elements of a binary file one after the other."""

    def __init__(self, data: bytes, position: int, order: str) -> None:
        self.data, self.position, self.order = data, position, order

    def table(self, element: _Element) -> dict[str, np.ndarray]:
        """Scalar properties by name."""
        if any(item.count_kind is not None for item in element.properties):
            raise _damaged(f"its element {element.name[:20]!r} mixes lists with numbers")
        kind = self._dtype([(item.name, item.kind) for item in element.properties])
        rows = self._rows(kind, element.count)
        return {name: rows[name] for name in kind.names or ()}

    def polygons(self, element: _Element, limits: Limits) -> np.ndarray:
        """Triangles of the face element; at once where all polygons have as many corners as the first."""
        target = _corner_list(element)
        lists = [item for item in element.properties if item.count_kind is not None]
        if len(lists) == 1 and element.count:
            corners = self._equal_polygons(element, target)
            if corners is not None:
                limits.check("faces", len(corners) * max(corners.shape[1] - 2, 0), "triangles")
                return _fan(corners.astype(np.int64)) if corners.shape[1] >= 3 else np.zeros((0, 3), np.int64)
        return _fans((row[target] for row in self._lists(element)), limits)

    def skip(self, element: _Element) -> None:
        """Moves past an element that nobody needs."""
        if any(item.count_kind is not None for item in element.properties):
            for _ in self._lists(element):
                pass
        else:
            self._rows(self._dtype([(item.name, item.kind) for item in element.properties]), element.count)

    def _dtype(self, items: list[tuple[str, str]]) -> np.dtype:
        names = [name for name, _ in items]
        if len(set(names)) < len(names):
            raise _damaged("it names a property twice")
        return np.dtype([(name, self.order + kind) for name, kind in items])

    def _rows(self, kind: np.dtype, count: int) -> np.ndarray:
        need = kind.itemsize * count
        if self.position + need > len(self.data):
            raise _damaged(f"{need:,} bytes are missing from byte {self.position:,}")
        if not need:
            return np.zeros(0, kind)
        rows = np.frombuffer(self.data, kind, count, self.position)
        self.position += need
        return rows

    def _equal_polygons(self, element: _Element, target: int) -> np.ndarray | None:
        """Corners (M, K) where every list is as long as the first; None, and nothing read, otherwise."""
        before = self.position
        first = next(self._lists(_Element(element.name, 1, element.properties)))
        self.position = before
        size = len(first[target])
        items: list[tuple[str, str] | tuple[str, str, int]] = []
        for index, item in enumerate(element.properties):
            if item.count_kind is not None:
                items.append(("length", self.order + item.count_kind))
                items.append(("corners", self.order + item.kind, size))
            else:
                items.append((f"other{index}", self.order + item.kind))
        kind = np.dtype(items)
        if before + kind.itemsize * element.count > len(self.data) or size == 0:
            return None
        rows = np.frombuffer(self.data, kind, element.count, before)
        if not bool((rows["length"] == size).all()):
            return None
        self.position = before + kind.itemsize * element.count
        return rows["corners"].reshape(element.count, size)

    def _lists(self, element: _Element) -> Iterator[list[np.ndarray]]:
        """Every row as one array per property."""
        for _ in range(element.count):
            row = []
            for item in element.properties:
                count = 1
                if item.count_kind is not None:
                    count = int(self._rows(np.dtype(self.order + item.count_kind), 1)[0])
                    if not 0 <= count <= LARGEST_POLYGON:
                        raise _damaged(f"a list claims {count} entries")
                row.append(self._rows(np.dtype(self.order + item.kind), count))
            yield row


class _Text:
    """Reads elements of an ASCII file line by line."""

    def __init__(self, data: bytes, position: int, limits: Limits) -> None:
        limits.check("text_bytes", len(data), "bytes of text")
        self.lines = (line for line in data[position:].splitlines() if line.strip())

    def table(self, element: _Element) -> dict[str, np.ndarray]:
        """Scalar properties by name."""
        names = [item.name for item in element.properties]
        if any(item.count_kind is not None for item in element.properties) or len(set(names)) < len(names):
            raise _damaged(f"its element {element.name[:20]!r} mixes lists with numbers or names a property twice")
        rows = np.array([self._numbers(len(names)) for _ in range(element.count)], np.float64)
        rows = rows.reshape(element.count, len(names))
        return {item.name: _as_kind(rows[:, i], item.kind) for i, item in enumerate(element.properties)}

    def polygons(self, element: _Element, limits: Limits) -> np.ndarray:
        """Triangles of the face element."""
        target = _corner_list(element)
        return _fans((self._row(element)[target] for _ in range(element.count)), limits)

    def skip(self, element: _Element) -> None:
        """Moves past an element that nobody needs."""
        for _ in range(element.count):
            self._numbers(0)

    def _numbers(self, least: int) -> list[float]:
        line = next(self.lines, None)
        if line is None:
            raise _damaged("it ends too early")
        try:
            values = [float(word) for word in line.split()[:1024]]
        except ValueError as error:
            raise _damaged(f"a line says {line[:30]!r}") from error
        if len(values) < least:
            raise _damaged(f"a line has {len(values)} numbers instead of {least}")
        return values[:least] if least else values

    def _row(self, element: _Element) -> list[np.ndarray]:
        values, row = self._numbers(0), []
        for item in element.properties:
            count = 1
            if item.count_kind is not None:
                count = int(values.pop(0)) if values and 0 <= values[0] <= LARGEST_POLYGON else -1
            if count < 0 or len(values) < count:
                raise _damaged("a face has fewer numbers than it claims")
            row.append(np.array(values[:count]))
            values = values[count:]
        return row


def _as_kind(values: np.ndarray, kind: str) -> np.ndarray:
    """Numbers from text in the type that the header promised, so that integer colours are known as such."""
    return values if kind[0] == "f" else np.clip(values, np.iinfo(kind).min, np.iinfo(kind).max).astype(kind)


def _mesh(columns: dict[str, np.ndarray], faces: np.ndarray, units: str) -> Mesh:
    if not {"x", "y", "z"} <= columns.keys():
        raise _damaged("it has no x, y and z per vertex")
    positions = _columns(columns, ("x", "y", "z"))
    if faces.size and (faces.min() < 0 or faces.max() >= len(positions)):
        raise _damaged(f"its faces use vertices {int(faces.min())}..{int(faces.max())} of {len(positions)}")
    part = Part(positions, faces)
    if {"nx", "ny", "nz"} <= columns.keys():
        part.normals = _columns(columns, ("nx", "ny", "nz"))
    for names in UV_NAMES:
        if columns.keys() >= set(names):
            part.uv = _columns(columns, names) * [1.0, -1.0] + [0.0, 1.0]
    if {"red", "green", "blue"} <= columns.keys():
        part.colors = linear_from_srgb(np.stack([_share(columns[name]) for name in ("red", "green", "blue")], axis=1))
        if "alpha" in columns:
            part.colors = np.concatenate([part.colors, _share(columns["alpha"])[:, None]], axis=1)
    return assemble([part], (), "mesh", units)


def _columns(columns: dict[str, np.ndarray], names: tuple[str, ...]) -> np.ndarray:
    return np.stack([columns[name].astype(np.float64) for name in names], axis=1)


def _share(values: np.ndarray) -> np.ndarray:
    """A colour channel in 0..1: integers by their type's maximum."""
    if values.dtype.kind != "f":
        return np.clip(values.astype(np.float64) / np.iinfo(values.dtype).max, 0.0, 1.0)
    return np.where(np.isfinite(values), np.clip(values.astype(np.float64), 0.0, 1.0), values)


def ply_bytes(mesh: Mesh) -> bytes:
    """Binary PLY in world coordinates with normals, UVs and 8-bit sRGB colours; materials have no place in it."""
    vertices = world_vertices(mesh)
    kind = {"f": "float", "d": "double"}[vertices.dtype.char]
    fields = [(name, kind, vertices[:, i]) for i, name in enumerate("xyz")]
    if mesh.normals is not None:
        normals = world_normals(mesh)
        fields += [(name, "float", normals[:, i]) for i, name in enumerate(("nx", "ny", "nz"))]
    if mesh.uv is not None:
        uv = mesh.uv.detach().cpu().double().numpy()
        fields += [("s", "double", uv[:, 0]), ("t", "double", 1.0 - uv[:, 1])]
    if mesh.colors is not None:
        colors = mesh.colors.detach().cpu().double().clamp(0.0, 1.0).numpy()
        colors = np.concatenate([srgb_from_linear(colors[:, :3]), colors[:, 3:]], axis=1)
        names = ("red", "green", "blue", "alpha")
        fields += [(names[i], "uchar", np.rint(colors[:, i] * 255.0)) for i in range(colors.shape[1])]
    rows = np.zeros(len(vertices), [(name, "<" + TYPES[kind]) for name, kind, _ in fields])
    for name, _, values in fields:
        rows[name] = values
    faces = np.zeros(mesh.faces.shape[0], [("length", "u1"), ("corners", "<i4", 3)])
    faces["length"], faces["corners"] = 3, world_faces(mesh)
    lines = ["ply", "format binary_little_endian 1.0", f"comment {units_comment(mesh)}"]
    lines += [f"element vertex {len(rows)}", *(f"property {kind} {name}" for name, kind, _ in fields)]
    lines += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header\n"]
    return "\n".join(lines).encode("ascii", "replace") + rows.tobytes() + faces.tobytes()
