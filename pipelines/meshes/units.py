"""Units of length by name, and how files remember them."""

from __future__ import annotations

UNITS_KEY = "bundle3d_units"  # extras of a glTF node: the units that its local frame was measured in
FRAME_KEY = "bundle3d_local_frame"  # extras of a glTF node: its matrix is the mesh's own transform

METERS = {
    "meter": 1.0,
    "decimeter": 0.1,
    "centimeter": 0.01,
    "millimeter": 0.001,
    "micrometer": 1e-6,
    "kilometer": 1000.0,
    "inch": 0.0254,
    "foot": 0.3048,
    "yard": 0.9144,
}


def units_per_meter(units: str) -> float:
    """How many of ``units`` make a meter; 1 for a name that is not known, whose numbers are kept as they are."""
    return 1.0 / METERS.get(units, 1.0)
