"""What an inspection of a bundle found: figures per view and between views, and sentences for people."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class ViewFigures:
    """One view.

    ``coverage``: share of the tile that the object covers. ``off_centre`` (x, y): distance of the silhouette's box from
    the tile's centre in tiles, right and down positive. ``height``: of that box in tiles. ``clipped``: share of the
    tile's border that the object touches. ``hull_iou``: overlap of the silhouette with the reprojected visual hull.
    ``rim_agreement``: mean cosine between the outward direction of the silhouette and the normals at its rim
    (1 agrees, -1 mirrored), where those lean enough to tell. ``facing_away``: share of normals that point from the
    camera. ``length_error``: mean deviation of the stored normals' length from one, where the image is known.
    """

    azimuth: float
    elevation: float
    coverage: float
    off_centre: tuple[float, float]
    height: float
    clipped: float
    hull_iou: float
    rim_agreement: float | None
    facing_away: float
    length_error: float | None


@dataclass(frozen=True)
class PairFigures:
    """Two views of the rig.

    ``allowed``: smaller share of either silhouette that the other alone allows. ``mirror_iou``: overlap of one outline
    with the other mirrored, for opposite views; perspective keeps it below one even for perfect views.
    ``color_difference``: median absolute sRGB difference, and ``normal_angle``: median angle in degrees, of ``points``
    surface points that both see.
    """

    first: int
    second: int
    allowed: float
    mirror_iou: float | None
    color_difference: float | None
    normal_angle: float | None
    points: int


@dataclass(frozen=True)
class Finding:
    """A sentence with its ``level``: "good", "warning" or "problem"."""

    level: str
    text: str


@dataclass(frozen=True)
class BundleReport:
    """All figures of a bundle, and the findings, worst first."""

    rig: str
    views: tuple[ViewFigures, ...]
    pairs: tuple[PairFigures, ...]
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> str:
        """The worst level of the findings."""
        levels = [finding.level for finding in self.findings]
        return next((level for level in ("problem", "warning") if level in levels), "good")

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values for JSON."""
        return {**asdict(self), "verdict": self.verdict}
