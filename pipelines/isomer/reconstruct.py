"""ISOMER: from the views of one object to a closed, coloured mesh.

Source: specs/kiss3dgen.md section 6, with the fixes of section 10 unless the reference is asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import partial

import torch

from ..errors import Bundle3DError
from ..kernels import HAVE_NUMBA, one_torch_thread
from ..meshes.mesh import Mesh, vertex_normals
from ..meshes.repair import RepairOptions, repair
from ..meshes.simplify import simplify
from ..meshes.topology import components, is_consistently_oriented, is_manifold, is_watertight, unique_edges
from ..metrics.image import normal_angle_error, silhouette_iou
from ..progress import Progress, Stage, silent
from ..rendering.fit_scale import fit_scale
from ..rendering.interpolate import interpolate
from ..rendering.rasterise import rasterise
from ..views.normals import encode_normals
from ..views.rig import Rig
from ..views.view_set import ViewSet
from .colors import ColorOptions, color_vertices
from .hull import visual_hull
from .initial import sphere
from .integrate import NormalIntegrator
from .options import LEAST_FACES, STAGE_ONE, STAGE_TWO, IsomerOptions
from .remesh_torch import split_edges
from .smooth import laplacian_smooth, loop_subdivide
from .stages import ImageLoss, Loss, ReferenceStageOne, ReferenceStageTwo, descend
from .warm_up import smallest_views, warm_up

__all__ = ["IsomerOptions", "Reconstruction", "reconstruct"]

# Share of the integration steps, edge length in world units, pixels of the views, stiffness: first coarse, then fine.
INTEGRATION_LEVELS = ((0.7, 0.03, 256, 0.1), (0.3, 0.02, 512, 0.03))
FLATTENING_STIFFNESS, FLATTENINGS = 0.1, 16
OVERLAP_SLACK = 0.002  # of the lowest silhouette IoU, that flattening may cost
FEWER = 0.9  # share of the asked face count below which faces are cut
FINER = 0.7  # of the edge length for the asked face count, so that rather too many faces are made than too few
FINE_DECAY = 0.985  # faster than the reference's, so that the surface comes to rest
EQUILATERAL = 3**0.5 / 4  # area of a triangle of unit edges
FINEST_EDGE = 0.005  # world units, the reference's limit
MOST_INITIAL_FACES = 100_000
LEAST_AREA, FARTHEST = 1e-4, 4.0  # of an initial mesh: world units, and half heights of the views from the origin
DEBRIS = 0.05  # of the box diagonal: smaller loose parts are dropped
SUBDIVISION_THRESHOLD = 0.0025  # of the box diagonal (section 6.9)
PREVIEW_SIZE = 256  # pixels per view
UNITS = 100  # of progress, shared out over the stages


@dataclass(frozen=True)
class Reconstruction:
    """``mesh`` in the world of ``rig``, with linear vertex colours if asked for, and ``figures`` about it.

    Figures, per view where lists: silhouette_iou, normal_mean and normal_median (degrees between re-rendered and given
    normals, NaN where a view shows nothing of the mesh); distances of the cameras; and faces, vertices, components,
    watertight, manifold.
    """

    mesh: Mesh
    rig: Rig
    figures: dict[str, object] = field(default_factory=dict)


def reconstruct(
    views: ViewSet,
    options: IsomerOptions | None = None,
    initial: Mesh | None = None,
    progress: Progress = silent,
) -> Reconstruction:
    """The closed surface that ``views`` show, coloured by their images.

    Starts from ``initial`` (in the world of the views, closed or not), else from what the options say. Equal inputs and
    seeds give equal results. Raises Bundle3DError where a mask is empty, normals are unknown, the views do not show
    one object, or ``initial`` is of another size than they show.
    """
    options = options or IsomerOptions()
    views.require_object()
    views.require_normals()
    if HAVE_NUMBA and options.backend != "torch" and views.mask.device.type == "cpu":
        small = IsomerOptions(
            hull_resolution=16,
            integration_steps=2,
            stage_one_steps=1,
            stage_two_steps=1,
            faces=LEAST_FACES,
            reference_exact=options.reference_exact,
        )
        warm_up(lambda: _reconstruct(smallest_views(), small, None, silent), small, Stage(progress, 0, 0, UNITS))
    return _reconstruct(views, options, initial, progress)


def _reconstruct(views: ViewSet, options: IsomerOptions, initial: Mesh | None, progress: Progress) -> Reconstruction:
    with one_torch_thread(), torch.inference_mode(False), torch.enable_grad():
        views = ViewSet(views.rgb.clone(), views.normal.clone(), views.mask.clone(), views.rig)
        start, views = _start(views, options, initial, Stage(progress, 0, 10, UNITS))
        surface = _optimise(start, views, options, progress)
        mesh = _clean(surface, views, options, Stage(progress, 92, 97, UNITS))
        if options.colors:
            colors = ColorOptions(reference_exact=options.reference_exact)
            mesh = color_vertices(mesh, views, colors, options.backend, Stage(progress, 97, 98, UNITS))
        figures = measure(mesh, views, Stage(progress, 98, UNITS, UNITS))
        progress(UNITS, UNITS, lambda: preview(mesh, views.rig))
    return Reconstruction(mesh, views.rig, figures)


def _start(views: ViewSet, options: IsomerOptions, initial: Mesh | None, progress: Progress) -> tuple[Mesh, ViewSet]:
    """The surface to start from, and the views with the cameras that fit it."""
    if initial is None:
        if options.initial == "sphere":
            return sphere().to(views.mask.device), views
        return visual_hull(views, options.hull_resolution, progress, backend=options.backend), views
    if initial.faces.shape[0] == 0:
        raise Bundle3DError("Expected an initial mesh with faces, but it is empty; leave it out to use the hull.")
    _require_size(initial, views.rig)
    mesh = Mesh(initial.vertices.clone(), initial.faces).to(views.mask.device)
    mesh = simplify(mesh, MOST_INITIAL_FACES, Stage(progress, 0, 3, 10))
    if not _is_one_solid(mesh):
        mesh = repair(mesh, progress=Stage(progress, 3, 6, 10))
    progress(6, 10)
    if options.fit_distance:
        scale = fit_scale(mesh, views, backend=options.backend, progress=Stage(progress, 6, 10, 10))
        views = replace(views, rig=views.rig.scaled(scale))
    return mesh, views


def _require_size(mesh: Mesh, rig: Rig) -> None:
    """Raise Bundle3DError where ``mesh`` is far larger than what the cameras see, or next to nothing."""
    area = float(mesh.face_normals().double().norm(dim=1).sum() / 2)
    farthest = float(mesh.vertices.abs().max())
    shown = sum(camera.pixel_size(2) for camera in rig) / len(rig)
    if area < LEAST_AREA or farthest > FARTHEST * shown:
        raise Bundle3DError(
            f"Expected an initial mesh about as large as the views, which are {2.0 * shown:.3g} high, but it has an "
            f"area of {area:.3g} and reaches {farthest:.3g} from the origin; bring it to where the views show it, or "
            "leave it out to use the hull."
        )


def _optimise(mesh: Mesh, views: ViewSet, options: IsomerOptions, progress: Progress) -> Mesh:
    rig, exact = views.rig, options.reference_exact
    bend = 0 if exact else options.integration_steps
    if bend:
        mesh = _integrate(mesh, views, bend, options, Stage(progress, 10, 30, UNITS))
    fine = STAGE_TWO
    if not exact:
        shortest = max(FINEST_EDGE, min(FINER * _edge_for(mesh, options.faces), STAGE_TWO.longest))
        fine = replace(STAGE_TWO, shortest=shortest, decay=FINE_DECAY)
    losses: list[tuple[type[ReferenceStageOne] | type[ReferenceStageTwo] | type[ImageLoss], int]] = [
        (ReferenceStageOne if exact else ImageLoss, options.stage_one_steps),
        (ReferenceStageTwo if exact else ImageLoss, options.stage_two_steps),
    ]
    bars = Stage(progress, 30, 45, UNITS), Stage(progress, 45, 90, UNITS)
    for (make, steps), settings, bar in zip(losses, (STAGE_ONE, fine), bars):
        if steps:
            loss: Loss = make(views, options.backend)
            mesh = descend(
                mesh, loss, settings, steps, options.seed, bar, lambda shown: preview(shown, rig), options.backend
            )
    return _flatten(mesh, views, options, Stage(progress, 90, 92, UNITS)) if bend else mesh


def _integrate(mesh: Mesh, views: ViewSet, steps: int, options: IsomerOptions, progress: Progress) -> Mesh:
    vertices, faces = mesh.vertices, mesh.faces
    done = 0
    for share, edge, size, stiffness in INTEGRATION_LEVELS:
        progress(min(done, steps), steps)
        integrator = NormalIntegrator(views, edge, size, stiffness, options.seed, options.backend)
        for _ in range(round(share * steps)):
            vertices, faces = integrator.step(vertices, faces, Stage(progress, done, done + 1, steps))
            done += 1
            progress(min(done, steps), steps, partial(preview, Mesh(vertices, faces), views.rig))
    return Mesh(vertices, faces)


def _flatten(mesh: Mesh, views: ViewSet, options: IsomerOptions, progress: Progress) -> Mesh:
    """The surface after more integration at full resolution, as long as it comes nearer to the normals and keeps the
    silhouettes: it takes out the noise that descent leaves on plain surfaces, but can lose the thinnest parts."""
    integrator = NormalIntegrator(
        views, _edge_for(mesh, len(mesh.faces)), max(views.size), FLATTENING_STIFFNESS, options.seed, options.backend
    )
    progress(0, FLATTENINGS)
    angle, overlap = _fit(mesh, views)
    for done in range(FLATTENINGS):
        progress(done, FLATTENINGS)
        vertices = integrator.move(mesh.vertices, mesh.faces, Stage(progress, done, done + 1, FLATTENINGS))
        progress(done + 1, FLATTENINGS)
        flat = Mesh(vertices, mesh.faces)
        flat_angle, flat_overlap = _fit(flat, views)
        if not flat_angle < angle or flat_overlap < overlap - OVERLAP_SLACK:
            break
        mesh, angle = flat, flat_angle
    return mesh


def _fit(mesh: Mesh, views: ViewSet) -> tuple[float, float]:
    """Mean angle in degrees to the given normals, NaN where none are covered, and the lowest silhouette IoU."""
    with torch.no_grad():
        normals, mask = _render_normals(mesh, views.rig, *views.size)
    wanted = views.mask > 0.5
    overlap = float(silhouette_iou(mask.float(), wanted.float()).min())
    return _angle_error(normals, views.normal, mask & wanted)[0], overlap


def _angle_error(a: torch.Tensor, b: torch.Tensor, mask: torch.Tensor) -> tuple[float, float]:
    """Mean and median angle in degrees between normals inside ``mask``; NaN where it is empty."""
    return normal_angle_error(a, b, mask) if bool(mask.any()) else (math.nan, math.nan)


def _edge_for(mesh: Mesh, faces: int) -> float:
    """The edge length at which even triangles cover ``mesh`` with that many faces."""
    area = float(mesh.face_normals().norm(dim=1).sum() / 2)
    return (area / (EQUILATERAL * faces)) ** 0.5


def _clean(mesh: Mesh, views: ViewSet, options: IsomerOptions, progress: Progress) -> Mesh:
    """Smooth, closed, manifold, without debris or inner shells, at the face count that was asked for."""
    if options.reference_exact:
        mesh = repair(laplacian_smooth(mesh), RepairOptions(debris=0.0, inner_shells=False))
        return loop_subdivide(mesh, SUBDIVISION_THRESHOLD * _diagonal(mesh))
    mesh = laplacian_smooth(mesh, options.smoothing + _smoothing_below_pixels(mesh, views), options.backend)
    progress(1, 8)
    if not _is_one_solid(mesh):
        mesh = repair(mesh, RepairOptions(debris=DEBRIS), Stage(progress, 1, 4, 8))
    progress(4, 8)
    if mesh.faces.shape[0] < FEWER * options.faces:
        mesh = _quadrisect(mesh)
    progress(5, 8)
    mesh = simplify(mesh, options.faces, Stage(progress, 5, 7, 8))
    if _components(mesh) > 1:  # simplification can pinch off a pair of faces
        mesh = repair(mesh, RepairOptions(weld=0.0, debris=DEBRIS), Stage(progress, 7, 8, 8))
    progress(8, 8)
    return mesh


def _smoothing_below_pixels(mesh: Mesh, views: ViewSet) -> int:
    """Laplacian iterations that reach as far as a pixel of the views: 0 unless edges are finer than pixels.

    What is finer than a pixel no view holds in place; descent leaves burrs there. The reach of smoothing grows with the
    root of its iterations.
    """
    pixel = sum(camera.pixel_size(views.size[0]) for camera in views.rig) / len(views.rig)
    return int((pixel / _edge_for(mesh, len(mesh.faces))) ** 2)


def _is_one_solid(mesh: Mesh) -> bool:
    """Whether the surface is closed, manifold, in one piece and faces outward, so that repair would change nothing."""
    faces = mesh.faces
    if not (is_watertight(faces) and is_manifold(faces) and is_consistently_oriented(faces)) or _components(mesh) > 1:
        return False
    a, b, c = (mesh.vertices.index_select(0, faces[:, corner]).double() for corner in range(3))
    return float((a * torch.linalg.cross(b, c)).sum()) > 0.0


def _components(mesh: Mesh) -> int:
    return int(components(mesh.faces, len(mesh.vertices)).max()) + 1


def _quadrisect(mesh: Mesh) -> Mesh:
    """Every face cut into four; the surface stays, for Loop's rule would shrink it away from the silhouettes."""
    edges, sides = unique_edges(mesh.faces)
    every = torch.ones(len(edges), dtype=torch.bool, device=edges.device)
    return Mesh(*split_edges(mesh.vertices, mesh.faces, edges, sides, every))


def _diagonal(mesh: Mesh) -> float:
    low, high = mesh.bounds
    return float((high - low).norm())


def _render_normals(mesh: Mesh, rig: Rig, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth unit normals (V, H, W, 3) and coverage (V, H, W) bool."""
    clip = rig.clip(mesh.vertices, width / height)
    fragments = rasterise(clip, mesh.faces, height, width)
    normals = interpolate(vertex_normals(mesh.vertices, mesh.faces), clip, mesh.faces, fragments)
    return torch.nn.functional.normalize(normals, dim=-1), fragments.mask


def preview(mesh: Mesh, rig: Rig) -> torch.Tensor:
    """(H, W, 3) picture of the surface: its encoded normals in every view, side by side."""
    with torch.no_grad():
        normals, mask = _render_normals(mesh, rig, PREVIEW_SIZE, PREVIEW_SIZE)
        colors = torch.where(mask[..., None], encode_normals(normals, rig), 1.0)
    return torch.cat(list(colors), dim=1).clamp(0, 1)


def measure(mesh: Mesh, views: ViewSet, progress: Progress = silent) -> dict[str, object]:
    """How well ``mesh`` explains ``views``, and whether it is sound."""
    with torch.no_grad():
        normals, mask = _render_normals(mesh, views.rig, *views.size)
        wanted = views.mask > 0.5
        errors = []
        for view in range(len(views.rig)):
            progress(view + 1, len(views.rig) + 1)
            errors.append(_angle_error(normals[view], views.normal[view], mask[view] & wanted[view]))
        progress(1, 1)
        return {
            "silhouette_iou": silhouette_iou(mask.float(), wanted.float()).tolist(),
            "normal_mean": [mean for mean, _ in errors],
            "normal_median": [median for _, median in errors],
            "distances": [camera.distance for camera in views.rig],
            "faces": len(mesh.faces),
            "vertices": len(mesh.vertices),
            "components": _components(mesh),
            "watertight": is_watertight(mesh.faces),
            "manifold": is_manifold(mesh.faces),
        }
