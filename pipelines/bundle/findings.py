"""From the figures of a bundle to sentences: what is wrong, in which view, and what to do."""

from __future__ import annotations

from collections.abc import Iterable

from .report import Finding, PairFigures, ViewFigures

GOOD_HULL_IOU, POOR_HULL_IOU = 0.98, 0.9
POOR_RIM = 0.35
MIRRORED_RIM = -0.2
FACING_AWAY = 0.03
LENGTH_ERROR = 0.06
SMALL_COVERAGE, LARGE_COVERAGE = 0.01, 0.75
OFF_CENTRE = 0.08
COLOR_DIFFERENCE = 0.12
NORMAL_ANGLE = 12.0


def judge(views: Iterable[ViewFigures], pairs: Iterable[PairFigures]) -> tuple[Finding, ...]:
    """Findings for the figures, problems first; a single good one where there is nothing to say."""
    views, pairs = tuple(views), tuple(pairs)
    findings = [finding for index, view in enumerate(views) for finding in _of_view(index + 1, view)]
    findings += _of_silhouettes(views, pairs)
    findings += [finding for pair in pairs for finding in _of_pair(pair)]
    if not findings:
        lowest = min(view.hull_iou for view in views)
        findings.append(Finding("good", f"The views agree: silhouettes fit one body to {lowest:.1%}."))
    order = {"problem": 0, "warning": 1, "good": 2}
    return tuple(sorted(findings, key=lambda finding: order[finding.level]))


def _of_view(number: int, view: ViewFigures) -> Iterable[Finding]:
    if view.clipped > 0.0:
        yield Finding(
            "problem",
            f"View {number} touches the tile's border along {view.clipped:.1%} of it; make the object smaller, "
            "what is cut off cannot be reconstructed.",
        )
    if view.rim_agreement is not None and view.rim_agreement < MIRRORED_RIM:
        yield Finding(
            "problem",
            f"The normals of view {number} point inward at the outline; red must grow to the image left and green up.",
        )
    elif view.rim_agreement is not None and view.rim_agreement < POOR_RIM:
        yield Finding("warning", f"The normals of view {number} hardly follow its outline ({view.rim_agreement:.2f}).")
    if view.facing_away > FACING_AWAY:
        yield Finding("warning", f"{view.facing_away:.1%} of the normals of view {number} point away from its camera.")
    if view.length_error is not None and view.length_error > LENGTH_ERROR:
        yield Finding(
            "warning",
            f"The normals of view {number} are {view.length_error:.1%} off unit length; the image may be compressed, "
            "resized or too noisy.",
        )
    if not SMALL_COVERAGE <= view.coverage <= LARGE_COVERAGE:
        size = "small" if view.coverage < SMALL_COVERAGE else "large"
        yield Finding("warning", f"The object in view {number} is very {size} ({view.coverage:.1%} of the tile).")
    if max(map(abs, view.off_centre)) > OFF_CENTRE:
        yield Finding(
            "warning",
            f"The object in view {number} is off centre by {view.off_centre[0]:+.1%} across and "
            f"{view.off_centre[1]:+.1%} down.",
        )


def _of_silhouettes(views: tuple[ViewFigures, ...], pairs: tuple[PairFigures, ...]) -> Iterable[Finding]:
    lowest = min(views, key=lambda view: view.hull_iou)
    if lowest.hull_iou >= GOOD_HULL_IOU:
        return
    worst = min(pairs, key=lambda pair: pair.allowed)
    level = "warning" if lowest.hull_iou >= POOR_HULL_IOU else "problem"
    yield Finding(
        level,
        f"The silhouettes do not fit one body: view {views.index(lowest) + 1} is explained to {lowest.hull_iou:.1%}, "
        f"and views {worst.first + 1} and {worst.second + 1} disagree most; check their order and the rig.",
    )


def _of_pair(pair: PairFigures) -> Iterable[Finding]:
    names = f"Views {pair.first + 1} and {pair.second + 1}"
    if pair.normal_angle is not None and pair.normal_angle > NORMAL_ANGLE:
        yield Finding(
            "warning",
            f"{names} disagree in their normals by {pair.normal_angle:.0f} degrees where they see the same surface.",
        )
    if pair.color_difference is not None and pair.color_difference > COLOR_DIFFERENCE:
        yield Finding(
            "warning", f"{names} disagree in colour by {pair.color_difference:.0%} where they see the same surface."
        )
