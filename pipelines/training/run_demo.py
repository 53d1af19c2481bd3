"""What ``bundle3d train demo`` does once its arguments are known."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..checkpoints.demo_folder import DEMO_FOLDER
from ..progress import Progress
from .demo_controlnet import ControlNetDemoOptions, train_demo_controlnet
from .demo_family import DemoOptions, train_demo
from .demo_lrm import LrmDemoOptions, train_demo_lrm
from .demo_multiview import MultiviewOptions, train_demo_multiview
from .demo_pixal3d import Pixal3DDemoOptions, train_demo_pixal3d
from .watch import Watch, stoppable


def demo(options: argparse.Namespace) -> int:
    """Makes the demo family from nothing."""
    return _make(options, DemoOptions, train_demo)


def lrm_demo(options: argparse.Namespace) -> int:
    """Makes the demo reconstruction model from nothing."""
    return _make(options, LrmDemoOptions, train_demo_lrm)


def multiview_demo(options: argparse.Namespace) -> int:
    """Makes the demo multi-view model from nothing but an autoencoder."""
    start = getattr(options, "vae", DEMO_FOLDER / "vae")

    def run(work: Path, target: Path, chosen: MultiviewOptions, watch: Callable[[str], Progress]) -> None:
        train_demo_multiview(work, target, start, chosen, watch)

    return _make(options, MultiviewOptions, run)


def controlnet_demo(options: argparse.Namespace) -> int:
    """Makes the demo ControlNet from nothing but the demo family."""
    base = getattr(options, "base", DEMO_FOLDER)

    def run(work: Path, target: Path, chosen: ControlNetDemoOptions, watch: Callable[[str], Progress]) -> None:
        train_demo_controlnet(work, target, base, chosen, watch)

    return _make(options, ControlNetDemoOptions, run)


def pixal3d_demo(options: argparse.Namespace) -> int:
    """Makes the small Pixal3D family from nothing."""
    return _make(options, Pixal3DDemoOptions, train_demo_pixal3d)


def _make(
    options: argparse.Namespace, kind: Any, run: Callable[[Path, Path, Any, Callable[[str], Progress]], None]
) -> int:
    """``run`` in the folders of ``options``, with those of the options that a dataclass ``kind`` knows."""
    names = {field.name for field in fields(kind)}
    chosen = kind(**{name: value for name, value in vars(options).items() if name in names})
    with ExitStack() as stack:

        def watch(stage: str) -> Progress:
            watched = Watch(stage)
            stack.enter_context(stoppable(watched))
            return watched

        run(options.work, options.out, chosen, watch)
    print(options.out)
    return 0
