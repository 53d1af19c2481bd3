"""``python -m bundle3d.pipelines.runner`` is the same as the ``bundle3d`` command."""

import sys

try:
    from .command import main

    code = main()
except KeyboardInterrupt:
    code = 130  # while modules are loaded, or a second time while the job is being cancelled
sys.exit(code)
