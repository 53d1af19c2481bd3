from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.thickness import mean_thickness
from bundle3d.tests.meshes.shapes import box, sphere


def test_the_mean_thickness_of_known_solids() -> None:
    assert mean_thickness(sphere(0.6, 5)) == pytest.approx(2 / 3 * 0.6, rel=2e-3)
    assert mean_thickness(box((2.0, 3.0, 0.01))) == pytest.approx(2 * 0.06 / (12 + 0.1), rel=1e-5)
    assert mean_thickness(Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.long))) == 0.0
