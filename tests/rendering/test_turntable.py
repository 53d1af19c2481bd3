"""Turntables: framing, direction, progress."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from bundle3d.pipelines import kernels
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.progress import Preview
from bundle3d.pipelines.rendering.render_mesh import render_mesh
from bundle3d.pipelines.rendering.turntable import framing_orbit, turntable

from .scenes import box, wall


@pytest.mark.parametrize("scale", [0.01, 1.0, 1e4])
def test_the_whole_mesh_stays_in_every_frame(scale: float) -> None:
    mesh = box(1.0, 0.3, 0.5)
    mesh = mesh.with_(vertices=mesh.vertices * scale + 5.0 * scale)
    _, alpha = render_mesh(mesh, framing_orbit(mesh, 5, 30.0), 48, 48, "clay")
    border = torch.cat((alpha[:, 0], alpha[:, -1], alpha[:, :, 0], alpha[:, :, -1]), dim=1)
    assert float(border.max()) == 0.0
    assert float(alpha.amax(dim=(1, 2)).min()) == 1.0


def test_frames_start_in_front_and_report_progress() -> None:
    told = []

    def progress(done: int, total: int, preview: Preview | None = None) -> None:
        if preview is not None:
            told.append((done, total, preview()))

    frames = turntable(wall(), 4, 24, "normal", elevation=0.0, progress=progress)
    assert frames.shape == (4, 24, 24, 3)
    assert [(done, total) for done, total, _ in told] == [(i, 4) for i in range(1, 5)]
    assert all(torch.equal(preview, frame) for (*_, preview), frame in zip(told, frames))
    assert (frames[0, 12, 12] * 255.0).round().tolist() == [128.0, 128.0, 255.0]
    assert float(frames[1].min()) > float(frames[0].min()), "from the side a wall is next to nothing"


@pytest.mark.parametrize("mode", ["shaded", "depth"])
def test_frames_are_the_same_side_by_side(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = box(1.0, 0.3, 0.5)
    one_core, many_cores = (_frames_on(mesh, cores, mode, monkeypatch) for cores in (1, 4))
    assert torch.equal(one_core, many_cores)


def _frames_on(mesh: Mesh, cores: int, mode: str, monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    with ThreadPoolExecutor(cores, initializer=kernels._mark_worker) as pool:
        monkeypatch.setattr(kernels, "thread_count", lambda: cores)
        monkeypatch.setattr(kernels, "_pool", pool)
        return turntable(mesh, 5, 40, mode)


def test_depth_has_one_scale_for_the_turn() -> None:
    wide = box(1.0, 0.2, 0.1)
    frames = turntable(wide, 4, 64, "depth", elevation=0.0)
    front, side = frames[0, 32, 32, 0], frames[1, 32, 32, 0]
    assert float(side) > float(front) + 0.2, "the narrow side is the nearest"


def test_a_turn_can_be_cancelled_within_a_frame() -> None:
    calls = 0

    def progress(done: int, total: int, preview: Preview | None = None) -> None:
        nonlocal calls
        calls += 1
        if preview is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        turntable(box(1.0, 0.3, 0.5), 1, 512, supersample=4, progress=progress)
    assert calls == 1


def test_no_frames_are_refused() -> None:
    with pytest.raises(Bundle3DError, match="at least one frame"):
        turntable(wall(), 0)
