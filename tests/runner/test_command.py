"""The command line itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.runner.command import check_out, find_workflow, parse_arguments


def test_a_reader_that_has_read_enough_is_no_failure() -> None:
    """As in ``bundle3d models --json | head``."""
    code = (
        "import sys\n"
        "from bundle3d.pipelines.runner import command\n"
        "command.checkpoints.models = lambda *_: print('x' * 10**6)\n"
        "sys.exit(command.main(['models']))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141


def test_a_recipe_goes_by_its_name() -> None:
    assert find_workflow(Path("text to 3d")).name == "Text to 3D.json"
    assert find_workflow(find_workflow(Path("Image to 3D"))).name == "Image to 3D.json"


def test_an_unknown_workflow_names_the_recipes(tmp_path: Path) -> None:
    with pytest.raises(Bundle3DError, match=r"none.json does not exist; .* recipes .*'Text to 3D'"):
        find_workflow(tmp_path / "none.json")


def test_results_that_can_have_no_folder_are_refused_at_once(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    for out in (file, file / "results"):
        with pytest.raises(Bundle3DError, match=r"--out should name a folder for the results, but .*file is no folder"):
            check_out(out)
    check_out(tmp_path)
    check_out(tmp_path / "new" / "results")
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="everything can be written to")
def test_a_folder_that_cannot_be_written_to_is_refused_at_once(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(Bundle3DError, match="cannot be written to"):
        check_out(tmp_path / "results")


def test_a_server_may_be_given_without_a_scheme() -> None:
    def server(text: str) -> str:
        return str(parse_arguments(["run", "graph.json", "--out", "results", "--server", text]).server)

    assert server("127.0.0.1:8188") == server("http://127.0.0.1:8188") == "http://127.0.0.1:8188"
    assert server("https://comfy.example") == "https://comfy.example"


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        parse_arguments(["--version"])
    assert re.fullmatch(r"bundle3d \d+\.\d+\.\d+\n", capsys.readouterr().out)
