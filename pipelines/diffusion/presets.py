"""What Kiss3DGen's paper and code draw bundles with. Source: specs/kiss3dgen.md sections 2.4 and 3.6."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import Bundle3DError


@dataclass(frozen=True)
class BundlePreset:
    """``strength``: how much of the initial image is redrawn. ``control_*``: strength and share of the evaluations of
    each control, strength 0 where there is none. ``redux_strength`` 0: no Redux. ``note``: what to connect. For meshes:
    the ControlNet's modes that hold the shape and those that hold the look.

    The rest is ISOMER's: the distance of its cameras from the mesh of the large reconstruction model as that comes, and
    its coarse and fine steps. The paper leaves them out; they are the repository's.
    """

    note: str
    strength: float = 0.95
    steps: int = 20
    guidance: float = 3.5
    control_strength: float = 0.0
    control_start: float = 0.0
    control_end: float = 1.0
    redux_strength: float = 0.0
    isomer_distance: float = 4.15
    coarse_steps: int = 0
    refine_steps: int = 50
    shape_modes: tuple[str, ...] = ()
    look_modes: tuple[str, ...] = ()


PRESETS = {
    "image to 3D, repository example": BundlePreset(
        "Reference bundle as initial image and tile control, photo for Redux.",
        control_strength=0.6,
        control_end=0.65,
        redux_strength=0.5,
    ),
    "image to 3D, repository app": BundlePreset(
        "Reference bundle as initial image and tile control, photo for Redux.",
        control_strength=0.3,
        control_end=0.3,
        redux_strength=0.5,
        isomer_distance=4.5,
        refine_steps=20,
    ),
    "image to 3D without ControlNet, repository": BundlePreset(
        "Reference bundle as initial image, photo for Redux.", redux_strength=0.5
    ),
    "Redux only, repository example": BundlePreset(
        "An example bundle as initial image, photo for Redux.", redux_strength=0.95
    ),
    "text to 3D, repository example": BundlePreset("A prompt alone.", strength=1.0, isomer_distance=4.2),
    "text to 3D, repository app": BundlePreset(
        "A prompt alone.", strength=1.0, steps=30, isomer_distance=4.5, coarse_steps=10
    ),
    "mesh to 3D, repository": BundlePreset(
        "Render of the mesh as initial image and tile control; the LoRA rgb_normal_redux.",
        control_strength=0.1,
        control_end=0.2,
        look_modes=("tile",),
    ),
    "enhance a mesh, paper": BundlePreset(
        "Render of the mesh as initial image, and as tile and normal controls.",
        control_strength=0.6,
        control_end=0.3,
        shape_modes=("normal",),
        look_modes=("tile",),
    ),
    "edit a mesh, paper": BundlePreset(
        "Render of the mesh as initial image, and as canny and normal controls.",
        control_strength=0.3,
        control_end=0.5,
        shape_modes=("canny", "normal"),
    ),
}


def preset(name: str) -> BundlePreset:
    """The preset of that name. Raises Bundle3DError for a name that is not known."""
    if name not in PRESETS:
        raise Bundle3DError(f"Expected one of the presets {', '.join(PRESETS)}, but got {name!r}; choose one of them.")
    return PRESETS[name]
