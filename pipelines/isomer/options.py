"""What a user can choose about a reconstruction."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import Bundle3DError
from .optimizer import OptimizerSettings

INITIAL_SURFACES = ("hull", "sphere")
LEAST_FACES, MOST_FACES = 1_000, 1_000_000

# Specs/kiss3dgen.md 6.4 and 6.5.
STAGE_ONE = OptimizerSettings(decay=0.995, gain=0.05, ramp=1.0, shortest=0.02, longest=0.1)
STAGE_TWO = OptimizerSettings()


@dataclass(frozen=True)
class IsomerOptions:
    """``initial``: the surface to start from where no mesh is given, "hull" or "sphere". ``integration_steps`` bend it
    to the views' normals as a whole, ``stage_one_steps`` and ``stage_two_steps`` descend on what is rendered, coarse
    and fine. ``faces``: how many the result has, about. ``smoothing``: Laplacian iterations on the result.
    ``fit_distance``: scale the distances of the cameras so that a given mesh fits the silhouettes. ``colors``: project
    vertex colours.

    ``reference_exact`` gives the released system with its flaws (specs/kiss3dgen.md 6.4, 6.5, 6.9 and B12 to B15): no
    integration, targets projected onto vertices, uncovered pixels not penalised, Loop subdivision, no face count.
    """

    seed: int = 0
    initial: str = "hull"
    hull_resolution: int = 64
    integration_steps: int = 20
    stage_one_steps: int = 0
    stage_two_steps: int = 50
    faces: int = 60_000
    smoothing: int = 0
    fit_distance: bool = True
    colors: bool = True
    reference_exact: bool = False
    backend: str = "auto"

    def __post_init__(self) -> None:
        if self.initial not in INITIAL_SURFACES:
            raise Bundle3DError(
                f"Expected the initial surface to be one of {', '.join(INITIAL_SURFACES)}, but got {self.initial!r}; "
                "use hull."
            )
        for name in ("integration_steps", "stage_one_steps", "stage_two_steps", "smoothing"):
            if not 0 <= getattr(self, name) <= 1000:
                raise Bundle3DError(f"Expected {name} between 0 and 1000, but got {getattr(self, name)}.")
        if not LEAST_FACES <= self.faces <= MOST_FACES:
            raise Bundle3DError(
                f"Expected a face count between {LEAST_FACES} and {MOST_FACES}, but got {self.faces}; try 60000."
            )
