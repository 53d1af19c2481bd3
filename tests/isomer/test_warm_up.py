from __future__ import annotations

import threading

import pytest
from bundle3d.pipelines.isomer.warm_up import smallest_views, warm_up
from bundle3d.pipelines.progress import silent


class CancelledError(Exception):
    pass


def test_the_work_is_done_once_per_key():
    calls: list[str] = []
    for key in ("one", "two", "one"):
        warm_up(lambda key=key: calls.append(key), ("done once", key), silent)
    assert calls == ["one", "two"]


def test_it_reports_while_the_work_lasts_and_can_be_cancelled():
    release, seen = threading.Event(), []

    def progress(done: int, total: int, preview=None) -> None:
        seen.append(done)
        if len(seen) == 2:
            raise CancelledError

    try:
        with pytest.raises(CancelledError):
            warm_up(release.wait, "cancelled", progress)
    finally:
        release.set()
    assert seen == [0, 0]
    again: list[int] = []
    warm_up(lambda: again.append(1), "cancelled", silent)  # what was cancelled is not taken for done
    assert again == [1]


def test_errors_of_the_work_come_through():
    def fail() -> None:
        raise ValueError("no")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            warm_up(fail, "fails", silent)


def test_the_smallest_views_show_a_disc_facing_each_camera():
    views = smallest_views(16)
    assert views.mask.shape == (4, 16, 16)
    assert views.mask.mean() == pytest.approx(0.25**2 * 3.1416 / 4, abs=0.02)
    assert views.normal[1, 8, 8].tolist() == pytest.approx(views.rig[1].rotation()[2].tolist(), abs=1e-6)
