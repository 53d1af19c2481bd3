"""``python bootstrap.py demo`` (or comfy, test, setup): see bootstrap_steps.py.

Every Python can read this file, so that one that is too old says so.
"""

import os
import runpy
import sys

if sys.version_info < (3, 10):  # noqa: UP036
    found = sys.version.split()[0]
    sys.exit("bundle3d: Python 3.10 or newer is needed, this is %s; call a newer one." % found)  # noqa: UP031
steps = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bootstrap_steps.py")
runpy.run_path(steps, run_name="__main__")
