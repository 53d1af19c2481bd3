"""Views with known cameras: a turntable as the published example has it, and what is no such folder."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.pixal3d.view_folder import NAME, read_view_folder
from bundle3d.pipelines.volumes.projection import front_matrix

FOV = 0.3490658503988659
DISTANCE = 1.1 * 0.5 / math.tan(FOV / 2)


def turned(degrees: float) -> list[list[float]]:
    """The front camera, carried around the upright axis of a world with z up."""
    angle = math.radians(degrees)
    turn = torch.eye(4, dtype=torch.float64)
    turn[:2, :2] = torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64
    )
    matrix: list[list[float]] = (turn @ front_matrix(DISTANCE)).tolist()
    return matrix


def write(folder: Path, **changes: object) -> Path:
    folder.mkdir(exist_ok=True)
    frames = [{"file_path": f"view_{number}", "transform_matrix": turned(30 + 90 * number)} for number in range(4)]
    for number in range(4):
        (folder / f"view_{number}.png").touch()
    content = {"camera_angle_x": FOV, "mesh_scale": 0.9, "frames": frames} | changes
    (folder / NAME).write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_a_turntable_starts_with_the_front_view(tmp_path: Path) -> None:
    views = read_view_folder(write(tmp_path / "views"))
    assert pytest.approx(3.1192, abs=1e-4) == DISTANCE
    assert [file.name for file in views.files] == [f"view_{number}.png" for number in range(4)]
    assert views.mesh_scale == 0.9 and {camera.fov for camera in views.cameras} == {FOV}
    torch.testing.assert_close(views.cameras[0].camera_to_world, front_matrix(DISTANCE))
    # Carried by a quarter toward the viewer's right, the camera sees what was at the right nearest, in the middle.
    right = torch.tensor([[0.25, 0.1, 0.0]], dtype=torch.float64)
    place = views.cameras[1].project(right)[0]
    scale = 1 / (2 * math.tan(FOV / 2)) / (DISTANCE - 0.25)
    torch.testing.assert_close(place, torch.tensor([0.5, 0.5 - scale * 0.1], dtype=torch.float64))


def test_frames_may_have_angles_of_their_own(tmp_path: Path) -> None:
    folder = write(tmp_path / "views")
    content = json.loads((folder / NAME).read_text("utf-8"))
    content["frames"][2]["camera_angle_x"] = 0.5
    content["frames"][3]["file_path"] = "view_3.png"
    (folder / NAME).write_text(json.dumps(content), "utf-8")
    assert [camera.fov for camera in read_view_folder(folder).cameras] == [FOV, FOV, 0.5, FOV]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"frames": []}, "1 to 64 views"),
        ({"frames": [{"file_path": "view_0"}]}, "says otherwise"),
        ({"frames": [{"file_path": "../x", "transform_matrix": turned(0)}]}, "points to '../x'"),
        ({"frames": [{"file_path": "c:x", "transform_matrix": turned(0)}]}, "points to 'c:x'"),
        ({"frames": [{"file_path": "absent", "transform_matrix": turned(0)}]}, "no such file"),
        ({"frames": [{"file_path": "view_0", "transform_matrix": [[1.0]]}]}, "4 x 4 numbers"),
        ({"camera_angle_x": None}, "says otherwise"),
        ({"camera_angle_x": 4.0}, "field of view"),
        ({"mesh_scale": 0}, "positive mesh_scale"),
        ({"mesh_scale": math.inf}, "positive mesh_scale"),
        ({"frames": [{"file_path": "view_0", "transform_matrix": [[0.0] * 4] * 4}]}, "remove its scale"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(Bundle3DError, match=said) as refusal:
        read_view_folder(write(tmp_path / "views", **changes))
    assert "\n" not in str(refusal.value)


def test_a_folder_without_cameras_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Bundle3DError, match=r"Expected 'transforms\.json'"):
        read_view_folder(tmp_path)
