"""A user's folder of meshes: boxes and spheres of plain colours, and one broken file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from bundle3d.pipelines.meshes.write import write_mesh
from bundle3d.pipelines.training.solids import creased, revolve

BOX = [(0.0, -0.5), (0.7, -0.5), (0.7, 0.5), (0.0, 0.5)]
BALL = [(float(np.cos(a)), float(np.sin(a))) for a in np.linspace(-np.pi / 2, np.pi / 2, 9)]


def write_meshes(folder: Path) -> Path:
    """``red_box.glb``, ``blue_ball.obj`` in a folder below, and ``broken.glb``."""
    (folder / "below").mkdir(parents=True)
    for path, profile, segments, color in (
        (folder / "red_box.glb", BOX, 4, (0.8, 0.0, 0.0)),
        (folder / "below" / "blue_ball.obj", BALL, 12, (0.0, 0.0, 0.8)),
    ):
        vertices, faces = revolve(profile, segments)
        write_mesh(creased(vertices * 3.0 + 5.0, faces, color), path)
    (folder / "broken.glb").write_bytes(b"glTF, but not really")
    return folder
