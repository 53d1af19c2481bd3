"""Files that another file names: only inside its own folder."""

from __future__ import annotations

from pathlib import Path

from ..errors import Bundle3DError


def inside(folder: Path, name: str, start: Path | None = None) -> Path | None:
    """The regular file ``name`` in ``folder`` or below, links resolved; None where it does not exist.

    The name counts from ``start``, or else from ``folder``. Raises Bundle3DError where it leads elsewhere.
    """
    clean = name.replace("\\", "/").strip()
    try:
        home = folder.resolve()
        path = ((start or folder).resolve() / clean).resolve()
        foreign = ":" in clean or "\0" in clean or not path.is_relative_to(home)
        if not foreign:
            return path if path.is_file() else None
    except (OSError, ValueError, RuntimeError):  # names too long, link cycles, characters the system refuses
        foreign = True
    raise Bundle3DError(
        f"Expected material files in the folder of the OBJ, but it names {name[:60]!r}; "
        "move the file there and edit the name."
    )
