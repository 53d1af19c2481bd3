"""Turntables: framing, direction, progress."""

from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
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

    def progress(done: int, total: int, preview=None) -> None:
        told.append((done, total, torch.equal(preview(), preview())))

    frames = turntable(wall(), 4, 24, "normal", elevation=0.0, progress=progress)
    assert frames.shape == (4, 24, 24, 3)
    assert told == [(i, 4, True) for i in range(1, 5)]
    assert (frames[0, 12, 12] * 255.0).round().tolist() == [128.0, 128.0, 255.0]
    assert float(frames[1].min()) > float(frames[0].min()), "from the side a wall is next to nothing"


def test_no_frames_are_refused() -> None:
    with pytest.raises(Bundle3DError, match="at least one frame"):
        turntable(wall(), 0)
