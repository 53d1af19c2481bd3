"""Finding and starting ComfyUI, where that goes wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from bundle3d.pipelines.comfyui_folder import PACK, find_comfyui
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.runner.server import ComfyServer


def fake_comfyui(folder: Path, main: str) -> Path:
    (folder / "comfy").mkdir(parents=True)
    (folder / "main.py").write_text(main)
    return folder


def test_the_named_comfyui_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fake_comfyui(tmp_path / "ComfyUI", "")
    monkeypatch.setenv("COMFYUI_PATH", str(folder))
    assert find_comfyui() == folder.resolve()


def test_a_wrong_path_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    with pytest.raises(Bundle3DError, match="COMFYUI_PATH should name a ComfyUI folder"):
        find_comfyui()


def test_a_server_that_ends_tells_its_last_lines(tmp_path: Path) -> None:
    folder = fake_comfyui(tmp_path / "ComfyUI", "import sys; sys.exit('\\x1b[31mno such luck\\x1b[0m')")
    server = ComfyServer(folder)
    with pytest.raises(Bundle3DError, match=r"no such luck$"), server:
        pass
    assert not server.home.exists()


def test_a_proxy_of_the_environment_is_passed_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    serve = "import sys; from http.server import test, SimpleHTTPRequestHandler as Handler; "
    serve += "open('system_stats', 'w').close(); "
    serve += "test(Handler, bind='127.0.0.1', port=int(sys.argv[sys.argv.index('--port') + 1]))"
    with ComfyServer(fake_comfyui(tmp_path / "ComfyUI", serve), timeout=60.0) as server:
        assert server.alive()


def test_a_server_that_hangs_is_ended(tmp_path: Path) -> None:
    folder = fake_comfyui(tmp_path / "ComfyUI", "import time; time.sleep(600)")
    server = ComfyServer(folder, timeout=1.0)
    with pytest.raises(Bundle3DError, match="did not answer within 1 s"), server:
        pass
    assert not server.alive()


def test_another_copy_of_the_pack_is_left_out(tmp_path: Path) -> None:
    """Its nodes have the same names: results would come from whichever ComfyUI loads last."""
    folder = fake_comfyui(tmp_path / "ComfyUI", "import sys; sys.exit(1)")
    for name in ("bundle3d-old", "others"):
        (folder / "custom_nodes" / name).mkdir(parents=True)
        (folder / "custom_nodes" / name / "__init__.py").touch()
    project = (PACK / "pyproject.toml").read_text(encoding="utf-8").replace('version = "', 'version = "0.')
    (folder / "custom_nodes" / "bundle3d-old" / "pyproject.toml").write_text(project, encoding="utf-8")
    home = tmp_path / "home"
    with pytest.raises(Bundle3DError, match="ended while starting"), ComfyServer(folder, home=home):
        pass
    assert [path.name for path in (home / "custom_nodes").iterdir()] == ["others"]


def test_the_pack_is_shown_and_left_in_place(comfyui: ComfyServer) -> None:
    assert (comfyui.home / "output").is_dir()
    assert "IMPORT FAILED" not in comfyui.log()
    assert (PACK / "pyproject.toml").is_file()
