"""The choice of cameras that the nodes around bundle images offer."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..pipelines.views.bundle import COLUMNS
from ..pipelines.views.rig import NAMED_RIGS, Rig, named_rig, orbit

ORBIT = "orbit"
ADDED = ("wonder3d", "unique3d")  # after the orbit: options only ever come at the end
BUNDLE_RIGS = [name for name in NAMED_RIGS if len(named_rig(name)) in COLUMNS and name not in ADDED]


def rig_inputs() -> list[Any]:
    """The widgets of ``chosen_rig``, in its order."""
    return [
        io.Combo.Input(
            "rig",
            options=[*BUNDLE_RIGS, ORBIT, *ADDED],
            default="kiss3dgen",
            tooltip="The cameras, one per view. kiss3dgen and lrm: front, left, back and right at 5 degrees of "
            "elevation, from a distance of 4.5 and 3.5. pixal3d-4: the same at 0 degrees, from 4.5. zero123plus: six, "
            "from above and below by turns. cube6: front, left, back, right, top and bottom, orthographic. wonder3d: "
            "the six orthographic views of Wonder3D, Era3D and MV-Adapter. unique3d: front, left, back and right, "
            "orthographic. orbit: equal steps around the object, set by the values below.",
        ),
        io.Int.Input(
            "orbit_views",
            default=6,
            min=COLUMNS[0],
            max=COLUMNS[-1],
            tooltip="Number of views of the rig orbit.",
            advanced=True,
        ),
        io.Float.Input(
            "orbit_elevation",
            default=5.0,
            min=-80.0,
            max=80.0,
            step=0.5,
            tooltip="How far the cameras of the rig orbit look down on the object, in degrees.",
            advanced=True,
        ),
        io.Float.Input(
            "orbit_distance",
            default=4.5,
            min=1.8,
            max=100.0,
            step=0.05,
            tooltip="Distance of the cameras of the rig orbit from the centre of the object, which spans -1 to 1.",
            advanced=True,
        ),
        io.Float.Input(
            "orbit_fov",
            default=30.0,
            min=1.0,
            max=120.0,
            step=0.5,
            tooltip="Vertical field of view of the cameras of the rig orbit, in degrees.",
            advanced=True,
        ),
    ]


def chosen_rig(
    rig: str,
    orbit_views: int,
    orbit_elevation: float,
    orbit_distance: float,
    orbit_fov: float,
    orbit_first: float = 0.0,
    orbit_clockwise: bool = False,
) -> Rig:
    """The named rig, or an orbit of the given cameras."""
    if rig == ORBIT:
        return orbit(orbit_views, orbit_elevation, orbit_distance, orbit_fov, orbit_first, orbit_clockwise)
    return named_rig(rig)
