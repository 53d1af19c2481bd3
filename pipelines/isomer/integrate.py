"""Bending a surface to given normals as a whole, by linear least squares.

Gradient descent moves every vertex by what its own pixels say, so errors that span a whole side of the object take
hundreds of steps. Asking every visible edge to be perpendicular to the normal that the views show there, and every
contour to lie on the silhouettes, is linear in the vertices and carries across the surface in one solve.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.sparse import csr_matrix, diags

from ..meshes.mesh import Mesh
from ..meshes.topology import unique_edges
from ..progress import Progress, Stage, silent
from ..rendering.rasterise import Fragments, rasterise
from ..views.view_set import ViewSet
from .remesh import remesh
from .silhouette import silhouette_field

Array = np.ndarray

CONTOUR_WEIGHT = 100.0  # per world unit of distance, against a unit of angle
ANCHOR = 0.02  # share of the stiffness that holds every vertex where it is
UNSEEN_WEIGHT = 0.05  # of faces that no pixel shows, which keep their direction
GRAZING_COVERAGE = 0.1  # pixels per frontal pixel at which a face counts half
LARGEST_MOVE = 0.06  # world units per step
FARTHEST_CONTOUR = 8.0  # pixels that a contour is asked to move at once
SOLVER_ITERATIONS, SOLVER_TOLERANCE = 200, 1e-3
REPORTED_ITERATIONS = 10  # from one report of the solver to the next


class NormalIntegrator:
    """Linear steps that bring a surface to the normals and silhouettes of ``views``.

    ``edge_length``: of the triangles, in world units. ``size``: pixels to which the views are reduced. ``stiffness``:
    of the displacement, per edge; the more of it, the slower and the safer.
    """

    def __init__(
        self,
        views: ViewSet,
        edge_length: float,
        size: int = 256,
        stiffness: float = 0.1,
        seed: int = 0,
        backend: str = "auto",
    ) -> None:
        self.rig, self.edge_length, self.stiffness, self.backend = views.rig, edge_length, stiffness, backend
        self.normal, self.mask = _reduced(views, size)
        self.height, self.width = self.mask.shape[1:]
        self.distance = silhouette_field(self.mask, views.rig).distance
        self.rotations = views.rig.rotations().to(self.mask)
        self.scale = torch.tensor([camera.scale for camera in views.rig]).to(self.mask) * (self.height / 2)
        self.generator = torch.Generator().manual_seed(seed)

    def step(
        self, vertices: torch.Tensor, faces: torch.Tensor, progress: Progress = silent
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Remesh to the edge length and move the vertices once; returns vertices (N, 3) and faces (M, 3)."""
        wanted = torch.full_like(vertices[:, 0], self.edge_length)
        vertices, faces = remesh(vertices, faces, 0.5 * wanted, 1.5 * wanted, self.generator, backend=self.backend)
        return self.move(vertices, faces, progress), faces

    def move(self, vertices: torch.Tensor, faces: torch.Tensor, progress: Progress = silent) -> torch.Tensor:
        """Where one solve puts the vertices (N, 3)."""
        clip = self.rig.clip(vertices, self.width / self.height)
        fragments = rasterise(clip, faces, self.height, self.width, self.backend)
        progress(1, 10)
        rows = [self._normal_rows(vertices, faces, fragments)]
        progress(2, 10)
        rows.append(self._contour_rows(vertices, faces, fragments))
        edges = unique_edges(faces)[0].cpu().numpy()
        move = _solve(rows, edges, len(vertices), self.stiffness, Stage(progress, 3, 10, 10))
        length = np.linalg.norm(move, axis=1, keepdims=True)
        move *= LARGEST_MOVE / np.maximum(length, LARGEST_MOVE)
        return vertices + torch.from_numpy(move).to(vertices)

    def _normal_rows(
        self, vertices: torch.Tensor, faces: torch.Tensor, fragments: Fragments
    ) -> tuple[Array, Array, Array]:
        """One row per face side: weight * normal . (end - start) = 0, with the normal that the face's pixels show."""
        face = fragments.face.reshape(-1).long()
        shown = (face >= 0) & (self.mask.reshape(-1) > 0.5)
        zero = torch.zeros(len(faces), 3, dtype=vertices.dtype, device=vertices.device)
        total = zero.index_add(0, face[shown], self.normal.reshape(-1, 3)[shown])
        pixels = total.norm(dim=1)
        own = Mesh(vertices, faces).face_normals()
        area = own.norm(dim=1) / 2
        seen = pixels > 0.3
        normal = torch.where(seen[:, None], total, own)
        normal = torch.nn.functional.normalize(normal, dim=1)
        per_world = float((self.scale / self.rig[0].distance if self.rig[0].is_perspective else self.scale).mean())
        coverage = pixels / (area * per_world**2).clamp(min=1e-3)
        weight = area * torch.where(seen, coverage / (coverage + GRAZING_COVERAGE), UNSEEN_WEIGHT)
        start, end = faces.reshape(-1), faces.roll(-1, dims=1).reshape(-1)
        side = vertices[end] - vertices[start]
        length = side.norm(dim=1).clamp(min=0.3 * self.edge_length)
        direction = normal.repeat_interleave(3, dim=0)
        direction = direction * ((weight / 1.5).sqrt().repeat_interleave(3) / length)[:, None]
        values = torch.stack((-direction, direction), dim=1)
        columns = torch.stack((start, end), dim=1)
        return _to_arrays(columns, values, -(direction * side).sum(1))

    def _contour_rows(
        self, vertices: torch.Tensor, faces: torch.Tensor, fragments: Fragments
    ) -> tuple[Array, Array, Array]:
        """One row per pixel at the rim of the rendered silhouettes: its point moves onto the given silhouette."""
        covered = fragments.mask.to(vertices)
        padded = torch.nn.functional.pad(covered[:, None], (1, 1, 1, 1), mode="replicate")
        inside = -torch.nn.functional.max_pool2d(-padded, 3, stride=1)[:, 0]
        view, row, column = ((covered > 0) & (inside == 0)).nonzero().unbind(1)
        slope = self._distance_slope(view, row, column)
        steep = slope.norm(dim=1) > 0.3
        view, row, column, slope = view[steep], row[steep], column[steep], slope[steep]
        slope = torch.nn.functional.normalize(slope, dim=1)
        # Both distances are measured alike, so that what pixels do to them cancels where the silhouettes agree.
        rendered = silhouette_field(covered, self.rig).distance[view, row, column]
        distance = self.distance[view, row, column] - rendered
        distance = distance.clamp(-FARTHEST_CONTOUR, FARTHEST_CONTOUR)
        corners = faces[fragments.face[view, row, column].long()]
        shares = fragments.barycentric[view, row, column]
        points = (vertices[corners] * shares[..., None]).sum(1)
        rotation = self.rotations[view]
        per_world = self.scale[view] / self._depths(points, view)
        outward = rotation[:, 0] * slope[:, :1] - rotation[:, 1] * slope[:, 1:]  # up the distance, in the world
        weight = (CONTOUR_WEIGHT / per_world).sqrt()[:, None]  # a rim pixel stands for its own length of contour
        values = shares[:, :, None] * (outward * weight)[:, None]
        return _to_arrays(corners, values, -(distance / per_world) * weight[:, 0])

    def _depths(self, points: torch.Tensor, view: torch.Tensor) -> torch.Tensor:
        """Distances (K,) along the viewing axes; 1 for orthographic cameras, whose scale does not depend on it."""
        eyes = self.rig.eyes().to(points)[view]
        depth = ((eyes - points) * self.rotations[view, 2]).sum(1)
        perspective = torch.tensor([camera.is_perspective for camera in self.rig], device=points.device)[view]
        return torch.where(perspective, depth.clamp(min=1e-3), 1.0)

    def _distance_slope(self, view: torch.Tensor, row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
        """Change (K, 2) of the distance per pixel to the right and down."""
        left, right = (column - 1).clamp(min=0), (column + 1).clamp(max=self.width - 1)
        above, below = (row - 1).clamp(min=0), (row + 1).clamp(max=self.height - 1)
        across = (self.distance[view, row, right] - self.distance[view, row, left]) / 2
        down = (self.distance[view, below, column] - self.distance[view, above, column]) / 2
        return torch.stack((across, down), dim=1)


def _reduced(views: ViewSet, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Normals times coverage and coverage, averaged over blocks to about ``size`` pixels."""
    factor = max(1, max(views.size) // size)
    images = torch.cat((views.normal * views.mask[..., None], views.mask[..., None]), dim=-1).permute(0, 3, 1, 2)
    images = torch.nn.functional.avg_pool2d(images, factor).permute(0, 2, 3, 1)
    return images[..., :3].contiguous(), images[..., 3].contiguous()


def _to_arrays(columns: torch.Tensor, values: torch.Tensor, right: torch.Tensor) -> tuple[Array, Array, Array]:
    """Vertices (R, K), coefficients (R, K, 3) and right-hand sides (R,) of rows, as NumPy arrays."""
    return columns.cpu().numpy(), values.double().cpu().numpy(), right.double().cpu().numpy()


def _solve(
    rows: list[tuple[Array, Array, Array]], edges: Array, count: int, stiffness: float, progress: Progress
) -> Array:
    """The displacement (count, 3) that meets the rows best while neighbours move alike: conjugate gradients."""
    matrices, gradient, diagonal = [], np.zeros(3 * count), np.zeros(3 * count)
    for columns, values, right in rows:
        width = 3 * columns.shape[1]
        indices = (columns[:, :, None] * 3 + np.arange(3)).reshape(-1)
        starts = np.arange(len(columns) + 1) * width
        matrix = csr_matrix((values.reshape(-1), indices, starts), shape=(len(columns), 3 * count))
        matrices.append((matrix, matrix.T))
        gradient += matrix.T @ right
        diagonal += np.bincount(indices, weights=values.reshape(-1) ** 2, minlength=3 * count)
    ends = np.concatenate((edges, edges[:, ::-1]))
    adjacency = csr_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count, count))
    degree = np.asarray(adjacency.sum(axis=1)).reshape(-1)
    springs = (stiffness * (diags(degree + ANCHOR) - adjacency)).tocsr()
    diagonal += np.repeat(stiffness * (degree + ANCHOR), 3)

    def apply(move: Array) -> Array:
        result = (springs @ move.reshape(-1, 3)).reshape(-1)
        for matrix, transposed in matrices:
            result += transposed @ (matrix @ move)
        return result

    return _conjugate_gradients(apply, gradient, diagonal, progress).reshape(-1, 3)


def _conjugate_gradients(apply: Callable[[Array], Array], right: Array, diagonal: Array, progress: Progress) -> Array:
    """Solve ``apply(x) = right``, preconditioned by the diagonal; stops early."""
    solution, residual = np.zeros_like(right), right.copy()
    scaled = residual / diagonal
    direction, energy = scaled.copy(), _dot(residual, scaled)
    target = SOLVER_TOLERANCE**2 * _dot(right, right)
    for iteration in range(SOLVER_ITERATIONS):
        if _dot(residual, residual) <= target:
            break
        if iteration % REPORTED_ITERATIONS == 0:
            progress(iteration, SOLVER_ITERATIONS)
        image = apply(direction)
        length = energy / _dot(direction, image)
        solution += length * direction
        residual -= length * image
        scaled = residual / diagonal
        energy, previous = _dot(residual, scaled), energy
        direction = scaled + direction * (energy / previous)
    return solution


def _dot(a: Array, b: Array) -> float:
    """The scalar product, without BLAS, whose threads wait for each other where cores are busy."""
    return float(np.einsum("i,i->", a, b))
