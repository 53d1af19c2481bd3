"""Closing of boundary loops."""

from __future__ import annotations

import heapq

import numpy as np

from .surface import Array, Surface
from .topology import boundary_edges, face_neighbours, unique_edges


def fill_holes(surface: Surface, largest: float = np.inf) -> Surface:
    """Close every boundary loop whose box diagonal is at most ``largest``.

    A loop is triangulated by cutting its most pointed corner that lies in front of the rest, seen along the loop's
    normal, so plane holes of any outline stay plane; a loop that folds in this view is cut by angles alone. Where no
    cut leaves the surface manifold, the rest is closed by a fan around its centre. The surface must be manifold;
    loops that are no simple circle of consistently directed edges stay open.
    """
    loops = boundary_loop_corners(surface)
    if not loops:
        return surface
    edges = unique_edges(surface.tensor)[0].numpy()
    rim = np.unique(boundary_edges(surface.tensor).numpy())
    on_rim = np.isin(edges, rim).all(1)
    taken = set(map(tuple, edges[on_rim].tolist()))
    points, faces, corners, materials, patches = [], [], [], [], []
    next_point = len(surface.points)
    patch = int(surface.patch.max(initial=0))
    for loop in loops:
        ids = surface.faces[loop[:, 0], loop[:, 1]]
        places = surface.points[ids]
        if np.linalg.norm(places.max(0) - places.min(0)) > largest:
            continue
        triangles, centre = triangulate_loop(places, ids, taken)
        patch += 1
        sources = surface.corners[loop[:, 0], loop[:, 1]]
        if centre is not None:
            points.append(centre)
            ids = np.append(ids, next_point)
            sources = np.append(sources, sources[np.linalg.norm(places - centre, axis=1).argmin()])
            next_point += 1
        faces.append(ids[triangles])
        corners.append(sources[triangles])
        materials.append(np.full(len(triangles), np.bincount(surface.material[loop[:, 0]]).argmax()))
        patches.append(np.full(len(triangles), patch))
    if not faces:
        return surface
    return surface.add(
        np.array(points).reshape(-1, 3),
        np.concatenate(faces),
        np.concatenate(corners),
        np.concatenate(materials),
        np.concatenate(patches),
    )


def boundary_loop_corners(surface: Surface) -> list[Array]:
    """For every closed boundary curve the corners (L, 2) (face, slot) its points come from, in the order that fills it.

    The order runs against the boundary faces, as the filling faces must. Curves that branch or change direction are
    left out.
    """
    neighbours = face_neighbours(surface.tensor).numpy()
    face, slot = np.nonzero(neighbours < 0)
    if len(face) == 0:
        return []
    start, end = surface.faces[face, slot], surface.faces[face, (slot + 1) % 3]
    leaving = np.bincount(start, minlength=len(surface.points))
    arriving = np.bincount(end, minlength=len(surface.points))
    edge_of = np.full(len(surface.points), -1, dtype=np.int64)
    edge_of[end] = np.arange(len(face))
    simple = (leaving == 1) & (arriving == 1)
    seen = np.zeros(len(face), dtype=bool)
    loops = []
    for first in range(len(face)):
        if seen[first]:
            continue
        path, edge, whole = [], first, True
        while edge >= 0 and not seen[edge]:
            seen[edge] = True
            path.append(edge)
            whole = whole and bool(simple[start[edge]])
            edge = int(edge_of[start[edge]]) if simple[start[edge]] else -1
        if whole and edge == first and len(path) >= 3:
            loops.append(np.stack((face[path], slot[path]), axis=1))
    return loops


def triangulate_loop(places: Array, ids: Array, taken: set[tuple[int, int]]) -> tuple[Array, Array | None]:
    """Triangles (T, 3) that close a loop of points (L, 3), as indices into it, and the centre (3,) if one was needed.

    ``ids`` (L,) name the points; ``taken`` holds the edges (smaller id first) that exist already and gets the new ones.
    In the triangles the index L means the centre.
    """
    count = len(places)
    if count == 3:
        return np.array([[0, 1, 2]]), None
    normal = loop_normal(places)
    view = places @ _plane(normal).T
    plane_area = 0.5 * float(_cross(view, np.roll(view, -1, axis=0)).sum())
    reflex = _turns(view, np.roll(view, 1, axis=0), np.roll(view, -1, axis=0)) <= 0
    ear_cutter = _Ears(places, view, ids, taken, planar=plane_area > 0 and bool(reflex.sum() <= count - 3))
    triangles = ear_cutter.cut()
    rest = ear_cutter.rest()
    centre = None
    if rest:
        centre = places[rest].mean(0)
        triangles += [(a, b, count) for a, b in zip(rest, rest[1:] + rest[:1])]
    return np.array(triangles, dtype=np.int64).reshape(-1, 3), centre


def loop_normal(places: Array) -> Array:
    """(3,) unit normal of a loop's vector area."""
    local = places - places.mean(0)
    normal = np.cross(local, np.roll(local, -1, axis=0)).sum(0)
    length = np.linalg.norm(normal)
    return normal / length if length > 1e-300 else np.array([0.0, 1.0, 0.0])


class _Ears:
    """Cuts corners off a loop, the most pointed first, keeping the loop as a doubly linked list."""

    def __init__(self, places: Array, view: Array, ids: Array, taken: set[tuple[int, int]], planar: bool) -> None:
        self.places, self.view, self.ids, self.taken, self.planar = places, view, ids.tolist(), taken, planar
        count = len(places)
        self.before = [(i - 1) % count for i in range(count)]
        self.after = [(i + 1) % count for i in range(count)]
        self.alive = np.ones(count, dtype=bool)
        self.left = count
        # only corners that turn inward can lie in front of a cut of a simple polygon, and none turns inward later
        self.reflex = _turns(view, view[self.before], view[self.after]) <= 0
        self.blockers = view[self.reflex]
        self.version = [0] * count
        self.queue = [(self.cost(i), i, 0) for i in range(count)]
        heapq.heapify(self.queue)

    def cost(self, i: int) -> float:
        """Interior angle of a corner; corners that turn outward in the plane come after all others."""
        a, b, c = self.before[i], i, self.after[i]
        to_a, to_c = self.places[a] - self.places[b], self.places[c] - self.places[b]
        angle = float(np.arctan2(np.linalg.norm(np.cross(to_a, to_c)), to_a @ to_c))
        if self.planar and _turn(self.view[a], self.view[b], self.view[c]) <= 0:
            angle = 2 * np.pi - angle
        return angle

    def cut(self) -> list[tuple[int, int, int]]:
        """Triangles until three points are left or none can be cut; stuck plane loops go on by angles alone."""
        triangles: list[tuple[int, int, int]] = []
        blocked: list[int] = []
        progress = False
        while self.left > 3:
            if not self.queue:
                if not progress and not self.planar:
                    break
                # cuts may have freed the corners that were blocked; without any cut the plane view has failed
                self.planar = self.planar and progress
                self.queue = [(self.cost(i), i, self.version[i]) for i in blocked if self.alive[i]]
                heapq.heapify(self.queue)
                blocked, progress = [], False
                continue
            _, i, version = heapq.heappop(self.queue)
            if not self.alive[i] or version != self.version[i]:
                continue
            a, c = self.before[i], self.after[i]
            if not self.allowed(a, i, c):
                blocked.append(i)
                continue
            triangles.append((a, i, c))
            progress = True
            self.remove(a, i, c)
        if self.left == 3:
            a = int(np.nonzero(self.alive)[0][0])
            triangles.append((a, self.after[a], self.after[self.after[a]]))
            self.left = 0
        return triangles

    def remove(self, a: int, b: int, c: int) -> None:
        """Take corner b out of the loop and look at its neighbours again."""
        self.taken.add(self.edge(a, c))
        self.after[a], self.before[c] = c, a
        self.alive[b] = self.reflex[b] = False
        self.left -= 1
        for j in (a, c):
            if self.reflex[j] and _turn(self.view[self.before[j]], self.view[j], self.view[self.after[j]]) > 0:
                self.reflex[j] = False
            self.version[j] += 1
            heapq.heappush(self.queue, (self.cost(j), j, self.version[j]))
        if self.left % 64 == 0:
            self.blockers = self.view[self.reflex]

    def rest(self) -> list[int]:
        """The points that were not cut, in loop order."""
        if self.left == 0:
            return []
        i = int(np.nonzero(self.alive)[0][0])
        order = [i]
        while self.after[order[-1]] != i:
            order.append(self.after[order[-1]])
        return order

    def edge(self, a: int, b: int) -> tuple[int, int]:
        """The name of the edge between two points of the loop."""
        return min(self.ids[a], self.ids[b]), max(self.ids[a], self.ids[b])

    def allowed(self, a: int, b: int, c: int) -> bool:
        """Whether cutting corner b leaves the surface manifold and, in a plane, the rest in front of the cut."""
        if self.edge(a, c) in self.taken:
            return False
        if not self.planar:
            return True
        p, q, r = self.view[a], self.view[b], self.view[c]
        if _turn(p, q, r) <= 0:
            return False
        others = self.blockers
        inside = (_turn(p, q, others) >= 0) & (_turn(q, r, others) >= 0) & (_turn(r, p, others) >= 0)
        # points at the place of a corner (a loop that touches itself) do not block it
        corner = (others == p).all(1) | (others == q).all(1) | (others == r).all(1)
        return not bool((inside & ~corner).any())


def _plane(normal: Array) -> Array:
    """(2, 3) axes in which a loop around the normal runs counter-clockwise."""
    helper = np.eye(3)[np.abs(normal).argmin()]
    x = np.cross(helper, normal)
    x /= np.linalg.norm(x)
    return np.stack((x, np.cross(normal, x)))


def _cross(a: Array, b: Array) -> Array:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _turn(p: Array, q: Array, r: Array) -> Array:
    """Positive where r lies left of the line from p to q."""
    return _cross(q - p, r - p)


def _turns(corner: Array, before: Array, after: Array) -> Array:
    return _turn(before, corner, after)
