"""What ``bundle3d train demo`` does once its arguments are known."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from dataclasses import fields

from ..progress import Progress
from .demo_family import DemoOptions, train_demo
from .watch import Watch, stoppable


def demo(options: argparse.Namespace) -> int:
    """Makes the demo family from nothing."""
    names = {field.name for field in fields(DemoOptions)}
    chosen = DemoOptions(**{name: value for name, value in vars(options).items() if name in names})
    with ExitStack() as stack:

        def watch(stage: str) -> Progress:
            watched = Watch(stage)
            stack.enter_context(stoppable(watched))
            return watched

        train_demo(options.work, options.out, chosen, watch)
    print(options.out)
    return 0
