"""What the views alone tell of an object, for where the model finds no surface: their visual hull in their colours."""

from __future__ import annotations

from dataclasses import replace

from ..isomer.colors import color_vertices
from ..isomer.hull import visual_hull
from ..meshes.mesh import Mesh
from ..meshes.simplify import simplify
from ..progress import Progress, Stage, silent
from ..texturing.bake_views import BakeOptions, bake_views
from ..texturing.unwrap import unwrap
from ..views.view_set import ViewSet
from .inputs import shows_object

CUT, SIMPLIFIED, UNWRAPPED, DONE = 40, 50, 70, 100  # steps of the progress


def view_hull(views: ViewSet, texture: int = 0, target_faces: int = 0, progress: Progress = silent) -> Mesh:
    """The visual hull of ``views``, in the world of their cameras, with linear vertex colours projected from them.

    With ``texture``, the side of one in texels, it is simplified to ``target_faces`` (0: not at all) and has the
    colours in a texture instead. Views that show nothing do not count. ``progress`` may cancel.

    Raises Bundle3DError where the silhouettes have no common body.
    """
    views = _that_show_something(views)
    mesh = visual_hull(views, progress=Stage(progress, 0, CUT, DONE))
    if not texture:
        return color_vertices(mesh, views, progress=Stage(progress, CUT, DONE, DONE))
    if target_faces:
        mesh = simplify(mesh, target_faces, Stage(progress, CUT, SIMPLIFIED, DONE))
    mesh, _ = unwrap(mesh, texture, progress=Stage(progress, SIMPLIFIED, UNWRAPPED, DONE))
    return bake_views(mesh, views, texture, BakeOptions(normal_map=False), Stage(progress, UNWRAPPED, DONE, DONE))


def _that_show_something(views: ViewSet) -> ViewSet:
    kept = [view for view, shows in enumerate(shows_object(views)) if shows]
    rig = replace(views.rig, cameras=tuple(views.rig[view] for view in kept))
    return ViewSet(views.rgb[kept], views.normal[kept], views.mask[kept], rig)
