from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.normalise import normalise, require_normalised
from bundle3d.pipelines.meshes.world import in_world
from hypothesis import given, settings
from hypothesis import strategies as st

from .shapes import box


def placed(scale: float, offset: tuple[float, float, float]) -> Mesh:
    mesh = box((1.0, 0.5, 0.25))
    return mesh.with_(vertices=mesh.vertices * scale + torch.tensor(offset))


@given(
    scale=st.floats(1e-4, 1e4),
    offset=st.tuples(*[st.floats(-20, 20)] * 3),
    extent=st.sampled_from([1.0, 1.8, 2.0]),
)
@settings(max_examples=40, deadline=None)
def test_the_transform_leads_back(scale: float, offset: tuple[float, float, float], extent: float) -> None:
    mesh = placed(scale, (offset[0] * scale, offset[1] * scale, offset[2] * scale))
    small = normalise(mesh, extent)
    low, high = small.bounds
    assert float((high - low).max()) == pytest.approx(extent, rel=1e-5)
    assert float((high + low).abs().max()) < 1e-5 * extent
    again = in_world(small)
    assert torch.allclose(again.vertices, mesh.vertices, atol=2e-5 * scale)
    assert torch.equal(again.transform, mesh.transform)


def test_a_place_in_the_world_and_units_are_kept() -> None:
    matrix = torch.tensor(((0.0, -2, 0, 1), (2, 0, 0, 2), (0, 0, 2, 3), (0, 0, 0, 1)), dtype=torch.float64)
    mesh = placed(30.0, (5.0, 6.0, 7.0)).with_(units="inch", transform=matrix)
    again = in_world(normalise(mesh))
    assert torch.allclose(again.vertices, in_world(mesh).vertices, atol=1e-4)
    assert again.units == "inch"


def test_the_input_is_not_changed() -> None:
    mesh = placed(3.0, (1.0, 2.0, 3.0))
    before = mesh.vertices.clone(), mesh.transform.clone()
    in_world(normalise(mesh))
    assert torch.equal(mesh.vertices, before[0]) and torch.equal(mesh.transform, before[1])


def test_refuses_a_point() -> None:
    with pytest.raises(Bundle3DError, match="coincide"):
        normalise(Mesh(torch.ones(3, 3), torch.tensor([[0, 1, 2]])))
    with pytest.raises(Bundle3DError, match="empty"):
        normalise(Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64)))


def test_what_reaches_far_out_is_refused_with_the_callers_advice() -> None:
    mesh = box((2.0, 1.0, 1.0))  # full sides
    require_normalised(mesh, "switch it on")
    with pytest.raises(Bundle3DError, match=r"spans \(-2, -1, -1\) to \(2, 1, 1\); switch it on\."):
        require_normalised(mesh.with_(vertices=mesh.vertices * 2.0), "switch it on")
