"""The sliders keep shape and keep look: the published values in the middle, and what lies around them."""

from __future__ import annotations

import pytest
from bundle3d.pipelines.diffusion.keep import KEEP_PRESETS, Hold, Kept, kept
from bundle3d.pipelines.errors import Bundle3DError

MIDDLES = {
    "enhance": Kept(0.95, (Hold("normal", 0.6, 0.3),), (Hold("tile", 0.6, 0.3),)),
    "edit": Kept(0.95, (Hold("canny", 0.3, 0.5), Hold("normal", 0.3, 0.5)), ()),
    "enhance, repository": Kept(0.95, (), (Hold("tile", 0.1, 0.2),)),
}


@pytest.mark.parametrize("preset", KEEP_PRESETS)
def test_the_middle_gives_the_published_values(preset: str) -> None:
    assert kept(preset, 0.5, 0.5) == MIDDLES[preset]


def test_the_ends_keep_nothing_and_everything() -> None:
    assert kept("enhance", 0.0, 0.0) == Kept(1.0, (), ())
    most = kept("enhance", 1.0, 1.0)
    assert most.strength == 0.0, "the bundle stays as it is"
    assert most.shape == (Hold("normal", 0.8, 0.7),) and most.look == (Hold("tile", 0.8, 0.7),)


@pytest.mark.parametrize("preset", KEEP_PRESETS)
def test_each_slider_moves_its_own_values_in_one_direction(preset: str) -> None:
    steps = [index / 20 for index in range(21)]
    by_look, by_shape = (
        [kept(preset, *pair) for pair in pairs]
        for pairs in (
            [(0.5, value) for value in steps],
            [(value, 0.5) for value in steps],
        )
    )
    strengths = [found.strength for found in by_look]
    assert strengths == sorted(strengths, reverse=True) and len(set(strengths)) == 21
    assert {found.shape for found in by_look} == {MIDDLES[preset].shape}
    assert {(found.strength, found.look) for found in by_shape} == {(0.95, MIDDLES[preset].look)}
    for found, kind in ((by_look, "look"), (by_shape, "shape")):
        holds = [getattr(one, kind) for one in found]
        values = [(hold[0].scale, hold[0].end) for hold in holds if hold]
        assert values == sorted(values) and len(values) in (0, 20)


@pytest.mark.parametrize(("arguments", "message"), [
    (("paint", 0.5, 0.5), "enhance, edit, .* but got 'paint'; choose"),
    (("edit", 1.2, 0.5), "keep_shape between 0 and 1, but got 1.2"),
    (("edit", 0.5, float("nan")), "keep_look between 0 and 1, but got nan"),
])  # fmt: skip
def test_refusals(arguments: tuple[str, float, float], message: str) -> None:
    with pytest.raises(Bundle3DError, match=message):
        kept(*arguments)
