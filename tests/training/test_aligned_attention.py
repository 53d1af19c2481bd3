"""New reconstruction models look at the patches that show a token's place, in the view of each head."""

from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.lrm import triplane_transformer
from bundle3d.pipelines.lrm.attention import attend
from bundle3d.pipelines.lrm.cameras import camera_vectors, to_model
from bundle3d.pipelines.lrm.triplane import PLANE_AXES
from bundle3d.pipelines.training.aligned_attention import align_attention
from bundle3d.pipelines.training.demo_lrm import CONFIG, RIG, new_lrm
from bundle3d.pipelines.views.rig import Rig, named_rig


@pytest.fixture
def rig() -> Rig:
    return named_rig(RIG).at_distance(CONFIG.camera_distance)


@pytest.fixture
def looks(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    """Attention (heads, plane, row, column, view, patch) of the first layer of a new model, to the patches."""
    seen: list[torch.Tensor] = []

    def spy(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int) -> torch.Tensor:
        if query.shape[1] != key.shape[1]:
            q, k = (tensor.unflatten(-1, (heads, -1)).transpose(1, 2) for tensor in (query, key))
            seen.append((q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1)[0])
        return attend(query, key, value, heads)

    monkeypatch.setattr(triplane_transformer, "attend", spy)
    torch.manual_seed(0)
    model = new_lrm()
    align_attention(model, rig)
    images = torch.rand(1, len(rig), 3, CONFIG.image_size, CONFIG.image_size)
    with torch.no_grad():
        model.planes(images, camera_vectors(rig)[None])
    side, patches = CONFIG.plane_size, CONFIG.position_grid**2
    return seen[0].unflatten(1, (3, side, side)).unflatten(-1, (len(rig), 1 + patches))[..., 1:]


def test_each_head_sees_one_view(looks: torch.Tensor) -> None:
    share = looks.sum(-1).mean((1, 2, 3))
    for head in range(CONFIG.heads):
        assert int(share[head].argmax()) == head
        assert float(share[head, head]) > 0.7


def test_it_looks_where_the_camera_shows_the_place(looks: torch.Tensor, rig: Rig) -> None:
    """A place whose two coordinates both lie across a view is seen at one spot: where the camera projects it."""
    side, grid = CONFIG.plane_size, CONFIG.position_grid
    centres = (torch.arange(side) + 0.5) / side * 2.0 - 1.0
    checked = 0
    for head in range(CONFIG.heads):
        toward = to_model(rig[head].eye())
        depth_axis = int(toward.abs().argmax())
        for plane, axes in enumerate(PLANE_AXES):
            if depth_axis in axes:
                continue
            for row in range(0, side, 2):
                for column in range(0, side, 3):
                    point = torch.zeros(3, dtype=torch.float64)
                    point[axes[0]], point[axes[1]] = centres[column], centres[row]
                    pixel = rig[head].project(point[[1, 2, 0]][None], grid, grid)[0][0]
                    patch = looks[head, plane, row, column, head].unflatten(0, (grid, grid))
                    steps = torch.arange(grid) + 0.5
                    share = patch / patch.sum()
                    middle = torch.stack(((share.sum(0) * steps).sum(), (share.sum(1) * steps).sum()))
                    assert (middle - pixel).abs().max() < 1.0
                    checked += 1
    assert checked == 3 * 4 * 3
