"""All stages in one call are the stages one after the other."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from bundle3d.pipelines.diffusion.holder import Resident
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.pixal3d.draw import VoxelRequest, draw_voxels
from bundle3d.tests.pixal3d.make_small import TEXTURE, disc, small_flow, small_models
from bundle3d.tests.pixal3d.run_stages import FAST, make

FAST_REQUEST = VoxelRequest(structure_sampling=FAST, shape_sampling=FAST, texture_sampling=FAST)


def request(**changes: object) -> VoxelRequest:
    return VoxelRequest(**{**vars(FAST_REQUEST), **changes})


def test_one_call_draws_what_the_stages_draw() -> None:
    models, reports = small_models(), []
    drawn = draw_voxels(models, [disc()], request(), lambda done, total, preview=None: reports.append((done, total)))
    made = make(models)
    assert drawn.resolution == 64 and drawn.material is not None
    assert torch.equal(drawn.material.features, made.material.features)
    assert torch.equal(drawn.shape.grids[0].offsets, made.shape.grids[0].offsets)
    assert len({total for _, total in reports}) == 1 and reports[-1][0] == reports[-1][1]
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)


def test_the_coarse_resolution_makes_do_without_fine_stages() -> None:
    drawn = draw_voxels(small_models(fine_shape=None, texture=None), [disc()], request())
    assert drawn.resolution == drawn.shape.grids[0].resolution == 32 and drawn.material is None
    assert draw_voxels(small_models(), [disc()], request(texture=False)).material is None


def test_a_coarse_shape_has_a_texture_where_the_flow_of_textures_knows_it() -> None:
    known = small_models().texture
    assert known is not None
    flow = Resident(small_flow(replace(TEXTURE, resolution=8), 3))
    models = small_models(fine_shape=None, texture=replace(known, flow=flow))
    drawn = draw_voxels(models, [disc()], request())
    assert drawn.resolution == 32 and drawn.material is not None
    assert len(drawn.material.features) == len(drawn.shape.grids[0].coords)
    assert small_models().has_texture(64) and not small_models().has_texture(32)
    assert not small_models(texture_decoder=None).has_texture(64)


def test_each_object_of_a_batch_is_drawn() -> None:
    drawn = draw_voxels(small_models(), [disc(), disc(4, seed=12)], request())
    assert len(drawn.shape.grids) == 2 and drawn.material is not None
    assert drawn.material.lengths() == [len(grid.coords) for grid in drawn.shape.grids]


def test_what_cannot_be_drawn_is_refused() -> None:
    coarse = small_models(fine_shape=None, texture=None)
    for models, changes, said in (
        (coarse, {"resolution": 64}, "resolution of 32, but got 64; choose 32"),
        (small_models(), {"resolution": 66}, "32 or a finer multiple of 4, but got 66; choose 64"),
        (small_models(), {"resolution": 16}, "but got 16"),
        (small_models(), {"most_tokens": 0}, "at least one token"),
    ):
        with pytest.raises(Bundle3DError, match=said) as refusal:
            draw_voxels(models, [disc()], request(**changes))
        assert "\n" not in str(refusal.value)
