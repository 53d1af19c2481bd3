"""A folder of a run remembers with which options it was begun."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import Bundle3DError


def require_same_run(path: Path, options: Mapping[str, Any]) -> None:
    """Keeps ``options`` in the JSON file ``path``; raises Bundle3DError where it holds others from an
    earlier call, or is damaged."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise Bundle3DError(f"{path} is damaged ({error}); choose another folder for the run.") from error
        if before != dict(options):
            raise Bundle3DError(
                f"The run in {path.parent} was begun with {before}, but {dict(options)} is asked; repeat the call with "
                "the same options, or choose another folder."
            )
        return
    path.write_text(json.dumps(dict(options)) + "\n", encoding="utf-8", newline="\n")
