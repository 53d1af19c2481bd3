"""Which paths stay inside of a folder, on Windows as elsewhere."""

from __future__ import annotations

import json
import ntpath
import posixpath
from pathlib import Path, PureWindowsPath

import pytest
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.pixal3d import load as load_module
from bundle3d.pipelines.pixal3d import view_folder as view_folder_module
from bundle3d.pipelines.pixal3d.inner_paths import stays_inside
from bundle3d.pipelines.pixal3d.load import load_decoders
from bundle3d.pipelines.pixal3d.view_folder import NAME, read_view_folder
from bundle3d.tests.pixal3d.make_small import small_models
from bundle3d.tests.pixal3d.test_view_folder import turned
from bundle3d.tests.pixal3d.write_files import write_folder

LEAVING = (
    "/Users/x/pic", "\\Users\\x\\pic", "C:/x/pic", "C:pic", "//server/share/pic", "\\\\server\\share\\pic", "../pic",
    "views/../../pic", "views\\..\\..\\pic", "pic.png:other",
)  # fmt: skip
STAYING = ("pic", "views/pic.png", "./views/pic", "a.b/..pic", "microsoft/TRELLIS-image-large/ckpts/ss_dec")


@pytest.mark.parametrize("name", LEAVING)
def test_what_leaves_the_folder_is_told(name: str) -> None:
    assert not stays_inside(name)


@pytest.mark.parametrize("name", STAYING)
def test_what_stays_is_told(name: str) -> None:
    assert stays_inside(name)
    assert ntpath.normpath(ntpath.join("C:\\folder", name)).startswith("C:\\folder\\")
    assert posixpath.normpath(posixpath.join("/folder", name)).startswith("/folder/")


@pytest.mark.parametrize("name", LEAVING)
def test_settings_that_name_it_are_refused_where_paths_are_those_of_windows(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folder(tmp_path / "Pixal3D", small_models())
    file = folder / "pipeline.json"
    content = json.loads(file.read_text("utf-8"))
    content["args"]["models"]["shape_slat_decoder"] = name
    file.write_text(json.dumps(content), encoding="utf-8")
    frames = [{"file_path": name, "transform_matrix": turned(0)}]
    (folder / NAME).write_text(json.dumps({"camera_angle_x": 0.3, "frames": frames}), encoding="utf-8")
    monkeypatch.setattr(view_folder_module, "Path", PureWindowsPath)
    with pytest.raises(Bundle3DError, match="Expected images inside of 'Pixal3D'"):
        read_view_folder(folder)
    monkeypatch.setattr(load_module, "Path", WindowsNames)
    with pytest.raises(Bundle3DError, match="Expected models inside of 'Pixal3D'"):
        load_decoders(folder)


class WindowsNames:
    """Real folders are what they are; what settings name is a path of Windows."""

    def __new__(cls, path: Path | str) -> Path | PureWindowsPath:  # type: ignore[misc]
        return path if isinstance(path, Path) else PureWindowsPath(path)
