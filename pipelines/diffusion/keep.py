"""What redrawing a mesh's bundle keeps, as two sliders: shape and look. Source: specs/kiss3dgen.md 3.6."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import Bundle3DError
from .presets import PRESETS

# What users choose, and whose values stand in the middle of the sliders.
KEEP_PRESETS = {
    "enhance": "enhance a mesh, paper",
    "edit": "edit a mesh, paper",
    "enhance, repository": "mesh to 3D, repository",
}
MIDDLE = 0.5  # of a slider: the published values
MOST_SCALE, MOST_END = 0.8, 0.7  # the upper ends of the ranges that the paper found useful


@dataclass(frozen=True)
class Hold:
    """A control of ``mode`` that acts with ``scale`` at the first evaluations, up to the share ``end`` of all."""

    mode: str
    scale: float
    end: float


@dataclass(frozen=True)
class Kept:
    """``strength``: how much of the bundle is redrawn. ``shape`` and ``look``: the controls that hold to either, none
    where the slider is at 0 or the preset has none."""

    strength: float
    shape: tuple[Hold, ...]
    look: tuple[Hold, ...]


def kept(preset: str, shape: float, look: float) -> Kept:
    """What ``shape`` and ``look`` in [0, 1] mean for a preset of ``KEEP_PRESETS``.

    In the middle both give the published values. The controls' scale and end grow evenly from 0 to the middle, and from
    there to the most that the paper found useful. The redrawing strength falls from 1 at a ``look`` of 0 to the
    published value in the middle, and on to 0, which leaves the bundle as it is. Raises Bundle3DError for an unknown
    preset and for values outside of [0, 1].
    """
    if preset not in KEEP_PRESETS:
        raise Bundle3DError(f"Expected one of the presets {', '.join(KEEP_PRESETS)}, but got {preset!r}; choose one.")
    for name, value in (("keep_shape", shape), ("keep_look", look)):
        if not 0.0 <= value <= 1.0:
            raise Bundle3DError(f"Expected {name} between 0 and 1, but got {value}; 0.5 gives the published values.")
    values = PRESETS[KEEP_PRESETS[preset]]

    def holds(modes: tuple[str, ...], slider: float) -> tuple[Hold, ...]:
        scale = _between(slider, 0.0, values.control_strength, MOST_SCALE)
        end = _between(slider, 0.0, values.control_end, MOST_END)
        return tuple(Hold(mode, scale, end) for mode in modes) if slider else ()

    return Kept(
        _between(look, 1.0, values.strength, 0.0), holds(values.shape_modes, shape), holds(values.look_modes, look)
    )


def _between(slider: float, low: float, middle: float, high: float) -> float:
    """The value at ``slider`` on the line from ``low`` at 0 over ``middle`` to ``high`` at 1."""
    share = slider / MIDDLE
    value = low + (middle - low) * share if share <= 1.0 else middle + (high - middle) * (share - 1.0)
    return round(value, 4)
