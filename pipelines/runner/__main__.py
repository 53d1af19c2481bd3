"""``python -m bundle3d.pipelines.runner`` is the same as the ``bundle3d`` command."""

import sys

from .command import main

sys.exit(main())
