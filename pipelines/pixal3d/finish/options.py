"""What a user can choose about a finished asset."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import Bundle3DError
from ...volumes.offset_shell import ShellOptions

SURFACES = ("watertight", "released", "raw")
ALPHA_MODES = ("OPAQUE", "MASK", "BLEND")
UP_AXES = ("+Y", "+Z")
FRONTS = ("+Z", "-Z", "+X", "-X")
MOST_FACES, LARGEST_TEXTURE, LARGEST_REMESH = 10_000_000, 16384, 2048


@dataclass(frozen=True)
class FinishOptions:
    """``surface``: "watertight" is one outer shell in the place of the decoded surface, without anything inside;
    "released" is what the published system makes, a double shell a voxel away; "raw" repairs the decoded surface.

    ``remesh``: cells along the model's cube for the first two, 0: as many as voxels. ``seal``: openings up to twice
    this many cells wide are closed in a watertight surface, and wider ones up to ``widest_seal`` where the outside
    still reaches in and leaves nothing but a thin shell. ``project_back``: which share of the way back to the decoded
    surface its vertices go; thin sheets keep the rest as thickness. ``largest_hole``: holes with a shorter rim, in
    sides of the cube, are filled first.

    ``faces``: about how many the asset has at most, 0: as many as there are. ``texture``: side of the textures in
    texels, 0 for none. ``padding``: texels between charts. ``alpha_mode`` as in glTF; alpha is stored in every case.
    ``crease``: edges that bend by more degrees stay sharp in the normals; 180, as released, smooths all.

    ``size``: side of the model's cube in the asset, 2 in our world and 1 in the published files. ``up`` and ``front``:
    the axis that points up, and the one that points to the camera of the photo before ``up`` turns it; the published
    files have +Y and -Z.

    Raises Bundle3DError for values out of range.
    """

    surface: str = "watertight"
    remesh: int = 0
    seal: float = 3.0
    widest_seal: float = 12.0
    project_back: float = 0.9
    largest_hole: float = 0.03
    faces: int = 200_000
    texture: int = 2048
    padding: int = 4
    alpha_mode: str = "OPAQUE"
    crease: float = 40.0
    size: float = 2.0
    up: str = "+Y"
    front: str = "+Z"

    def __post_init__(self) -> None:
        for name, allowed in (
            ("surface", SURFACES),
            ("alpha_mode", ALPHA_MODES),
            ("up", UP_AXES),
            ("front", FRONTS),
        ):
            if getattr(self, name) not in allowed:
                raise Bundle3DError(
                    f"Expected {name} to be one of {', '.join(allowed)}, but got {getattr(self, name)!r}; use "
                    f"{allowed[0]}."
                )
        for name, low, high, advice in (
            ("remesh", 16, LARGEST_REMESH, "0 takes the resolution of the voxels"),
            ("faces", 4, MOST_FACES, "0 keeps all"),
            ("texture", 16, LARGEST_TEXTURE, "0 makes none"),
        ):
            value = getattr(self, name)
            if value and not low <= value <= high:
                raise Bundle3DError(f"Expected {name} to be 0 or {low} to {high}, but got {value}; {advice}.")
        if not 0.0 <= self.largest_hole <= 1.0:
            raise Bundle3DError(
                f"Expected largest_hole between 0 and 1, but got {self.largest_hole}; 0.03 is what the models were "
                "released with."
            )
        if not 0.0 < self.crease <= 180.0:
            raise Bundle3DError(
                f"Expected crease between 0 and 180 degrees, but got {self.crease}; 40 suits most objects."
            )
        if not 0 < self.size < float("inf"):
            raise Bundle3DError(f"Expected a positive size, but got {self.size}; 2 fills our world.")
        self.shell()

    def shell(self) -> ShellOptions:
        """The remesh of these options. Raises Bundle3DError for values out of range."""
        if self.surface == "watertight":
            return ShellOptions(
                outer_only=True, seal=self.seal, widest_seal=self.widest_seal, project_back=self.project_back
            )
        return ShellOptions()
