"""The command line itself."""

from __future__ import annotations

import subprocess
import sys


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
