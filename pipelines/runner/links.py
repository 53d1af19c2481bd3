"""Shows a folder at a second place without copying it, on every operating system."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from ..errors import Bundle3DError


def link_folder(target: Path, link: Path) -> None:
    """Makes ``link`` show the folder ``target``: a symbolic link, or a junction on Windows, where links need rights.

    Several processes may do so at the same time. Raises Bundle3DError where the link cannot be made.
    """
    try:
        if is_link(link) and not _shows(link, target):
            remove_link(link)
        if not is_link(link):
            link.parent.mkdir(parents=True, exist_ok=True)
            _make_link(target, link)
    except OSError as error:
        if not _shows(link, target):  # else another process was faster
            raise Bundle3DError(
                f"Expected to link {link} to {target}, but it failed ({error}); remove {link.name} there or make the "
                "folder writable."
            ) from error


def _shows(link: Path, target: Path) -> bool:
    return is_link(link) and link.resolve() == target.resolve()


def _make_link(target: Path, link: Path) -> None:
    if sys.platform == "win32":
        import _winapi

        _winapi.CreateJunction(str(target.resolve()), str(link))
    else:
        link.symlink_to(target.resolve(), target_is_directory=True)


def is_link(path: Path) -> bool:
    """Whether the path is a symbolic link or a junction."""
    try:
        os.readlink(path)
    except OSError:
        return False
    return True


def remove_link(link: Path) -> None:
    """Removes the link and leaves what it shows alone."""
    if os.name == "nt" and link.is_dir():
        link.rmdir()
    else:
        link.unlink(missing_ok=True)


def remove_tree(folder: Path) -> None:
    """Removes a folder and never follows a link or junction inside it."""
    for directory, names, _ in os.walk(folder, followlinks=False):
        for name in list(names):
            path = Path(directory) / name
            if is_link(path):
                remove_link(path)
                names.remove(name)
    shutil.rmtree(folder, ignore_errors=True)
