"""Where a finished asset stands: axes and size.

Decoded vertices lie in the cube [-0.5, 0.5]^3 with +Y up in the photo and +Z toward its camera, which is our world at
half its size. Source: specs/pixal3d.md sections 2.3 and 4, step 8.
"""

from __future__ import annotations

import torch

TURNS = {"+Z": 0, "+X": 1, "-Z": 2, "-X": 3}  # quarter turns about +Y that bring +Z there


def placement(size: float, up: str = "+Y", front: str = "+Z") -> torch.Tensor:
    """(3, 3) float64 that takes decoded places, as rows times its transpose, to an asset whose cube has this ``size``.

    ``front`` is the axis that points to the photo's camera while +Y is up; with ``up`` "+Z" the whole is then tipped
    forward about +X, as between glTF and Blender. ``size`` 1 with front "-Z" is the published (x, y, z) to (-x, y, -z).
    """
    quarter = torch.tensor(((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (-1.0, 0.0, 0.0)), dtype=torch.float64)
    matrix = torch.linalg.matrix_power(quarter, TURNS[front])
    if up == "+Z":
        matrix = torch.tensor(((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0)), dtype=torch.float64) @ matrix
    return matrix * size
