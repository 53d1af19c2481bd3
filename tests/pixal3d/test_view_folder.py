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
        ({"frames": None}, "'frames'.* has none; list the views"),
        ({"frames": ["view_0"]}, "number 1 is 'view_0'"),
        ({"frames": [{"file_path": "../x", "transform_matrix": turned(0)}]}, "points to '../x'"),
        ({"frames": [{"file_path": "c:x", "transform_matrix": turned(0)}]}, "points to 'c:x'"),
        ({"frames": [{"file_path": "absent", "transform_matrix": turned(0)}]}, "no such file"),
        ({"mesh_scale": 0}, "positive mesh_scale in 'views/transforms.json', but got 0"),
        ({"mesh_scale": math.inf}, "positive mesh_scale"),
        ({"mesh_scale": "large"}, "but got 'large'; write 1 over the side"),
        ({"mesh_scale": 10**400}, "but got 10{10}.*; write 1 over the side"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(Bundle3DError, match=said) as refusal:
        read_view_folder(write(tmp_path / "views", **changes))
    assert "\n" not in str(refusal.value) and "Error" not in str(refusal.value)


def changed(rows: int = 4, scale: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> list[list[float]]:
    """The first rows of a camera's matrix, whose axes are scaled."""
    matrix = torch.tensor(turned(30)) * torch.tensor((*scale, 1.0))
    found: list[list[float]] = matrix[:rows].tolist()
    return found


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"camera_angle_x": 30.0}, r"in radians.* but got 30\.0; if that is in degrees, write 0\.5236"),
        ({"camera_angle_x": 4.0}, r"but got 4\.0; if that is in degrees, write 0\.0698"),
        ({"camera_angle_x": -1}, "in radians, between 0 and pi.* but got -1; write the horizontal field of view"),
        ({"camera_angle_x": None}, "but got none; write the horizontal field of view in radians"),
        ({"camera_angle_x": "wide"}, "but got 'wide'; write"),
        ({"transform_matrix": None}, "4 x 4 numbers.* but got none; write four rows"),
        ({"transform_matrix": [[1, "a"]]}, "4 x 4 numbers.* but got .*; write four rows"),
        ({"transform_matrix": 1.0}, "but got a single one; write it"),
        ({"transform_matrix": changed(rows=3)}, "but got 3 x 4 numbers; add the row 0, 0, 0, 1"),
        ({"transform_matrix": [[math.nan] * 4] * 4}, "NaN or infinite"),
        ({"transform_matrix": [list(column) for column in zip(*turned(30))]}, "as the last row .*; transpose it"),
        ({"transform_matrix": changed(scale=(2, 2, 2))}, "scales by 2; remove its scale: divide its first three"),
        ({"transform_matrix": changed(scale=(1, 3, 1))}, "columns have lengths of 1, 3, 1; remove its scale"),
        ({"transform_matrix": [[0.0] * 4] * 4}, "lengths of 0, 0, 0; remove its scale"),
    ],
)
def test_a_camera_that_makes_no_sense_is_refused_and_named(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    folder = write(tmp_path / "views")
    content = json.loads((folder / NAME).read_text("utf-8"))
    content["frames"][2] |= changes
    (folder / NAME).write_text(json.dumps(content), "utf-8")
    with pytest.raises(Bundle3DError, match=said) as refusal:
        read_view_folder(folder)
    message = str(refusal.value)
    assert "frame 'view_2' in 'views/transforms.json'" in message and message.startswith("Expected ")
    assert "\n" not in message and "Error" not in message and "[[" not in message.split("but got")[0]


def test_a_folder_without_cameras_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Bundle3DError, match=r"Expected 'transforms\.json'"):
        read_view_folder(tmp_path)
