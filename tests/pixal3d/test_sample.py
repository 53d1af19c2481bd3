"""All stages with small random networks: shapes, seeds, batches, cancelling, refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.pixal3d.decode import (
    decode_shape,
    decode_texture,
    dual_grid,
    upsample_shape,
)
from bundle3d.pipelines.pixal3d.sample import every_voxel, sample_shape, sample_structure, sample_texture
from bundle3d.pipelines.volumes.projection import grid_points, voxel_points
from bundle3d.pipelines.volumes.requantise import requantise
from bundle3d.pipelines.volumes.sparse_voxels import SparseVoxels
from bundle3d.tests.pixal3d.make_small import disc, random_voxels, seen, small_models
from bundle3d.tests.pixal3d.run_stages import FAST, make, noise
from torch import nn


@pytest.mark.parametrize("views", [1, 4])
def test_pictures_become_voxels_of_shape_and_material(views: int) -> None:
    models = small_models()
    made = make(models, views=views)
    assert (models.coarse_resolution, models.resolution) == (32, 64)
    assert made.structure.shape == (1, 8, 4, 4, 4)
    assert (made.coarse.resolution, made.fine.resolution, made.texture.resolution) == (8, 16, 16)
    assert torch.equal(made.fine.coords, made.texture.coords)
    (grid,) = made.shape.grids
    assert grid.resolution == made.material.resolution == 64
    assert torch.equal(grid.coords, made.material.coords[:, 1:]) and made.material.features.shape[1] == 6
    assert torch.isfinite(made.material.features).all()
    assert {part.features.dtype for part in (made.coarse, made.fine, made.texture)} == {torch.float32}


def test_a_seed_makes_the_same_again_and_another_something_else() -> None:
    models = small_models()
    first, again, other = make(models), make(models), make(models, seed=1)
    assert torch.equal(first.material.features, again.material.features)
    assert torch.equal(first.shape.grids[0].offsets, again.shape.grids[0].offsets)
    assert not torch.equal(first.structure, other.structure)


def test_noise_is_drawn_in_the_published_order() -> None:
    models, generator = small_models(), noise()
    still = replace(models, **{
        name: replace(getattr(models, name), flow=_still(getattr(models, name).flow))
        for name in ("structure", "shape", "fine_shape", "texture")
    })  # fmt: skip
    pictures, coords = seen(still, disc()), random_voxels([7], 1, 8).coords
    structure = sample_structure(still, pictures, generator, FAST)
    shape = sample_shape(still, pictures, coords, generator, FAST)
    texture = sample_texture(still, pictures, shape, generator, FAST)
    expected = noise()
    assert torch.equal(structure, torch.randn(1, 8, 4, 4, 4, generator=expected))
    torch.testing.assert_close(shape.features, 2.0 * torch.randn(7, 6, generator=expected) + 0.5)
    torch.testing.assert_close(texture.features, 3.0 * torch.randn(7, 6, generator=expected) - 0.5)


class _Still(nn.Module):
    """A flow of nothing."""

    def __init__(self, config: object) -> None:
        super().__init__()
        self.config = config
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, voxels: SparseVoxels, *_: object) -> torch.Tensor:
        return torch.zeros(len(voxels.coords), self.config.out_channels)


def _still(holder: object) -> object:
    return type(holder)(_Still(holder.module.config))


def test_the_texture_flow_sees_the_normalised_shape() -> None:
    models, seen_features = small_models(), []
    assert models.texture is not None
    flow = _Still(models.texture.flow.module.config)
    flow.register_forward_pre_hook(lambda module, arguments: seen_features.append(arguments[0].features))
    models = replace(models, texture=replace(models.texture, flow=type(models.texture.flow)(flow)))
    shape = random_voxels([9], 6, 16)
    sample_texture(models, seen(models, disc()), shape, noise(), replace(FAST, guidance=1.0))
    torch.testing.assert_close(seen_features[0][:, 6:], (shape.features - 0.5) / 2.0)
    assert torch.equal(seen_features[0][:, :6], torch.randn(9, 6, generator=noise()))


def test_objects_of_a_batch_do_not_mix() -> None:
    models, coords = small_models(), random_voxels([12, 9], 1, 8).coords
    pair = sample_shape(models, seen(models, disc(), disc(seed=10)), coords, noise(), FAST)
    other = sample_shape(models, seen(models, disc(), disc(seed=11)), coords, noise(), FAST)
    torch.testing.assert_close(pair.features[:12], other.features[:12], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(pair.features[12:], other.features[12:], atol=1e-2)
    structures = sample_structure(models, seen(models, disc(), disc(seed=10)), noise(), FAST)
    assert structures.shape == (2, 8, 4, 4, 4) and not torch.allclose(structures[0], structures[1], atol=1e-2)


def test_dense_voxels_are_in_the_order_of_the_grid() -> None:
    coords = every_voxel(2, 3)
    assert torch.equal(voxel_points(coords[coords[:, 0] == 1][:, 1:], 3), grid_points(3))
    assert coords.dtype == torch.int32 and coords[:, 0].tolist() == [0] * 27 + [1] * 27


def test_every_stage_can_be_cancelled() -> None:
    models = small_models()
    reports: list[tuple[int, int]] = []
    make(models, progress=lambda done, total, preview=None: reports.append((done, total)))
    assert all(0 <= done <= total for done, total in reports)
    for stop in range(0, len(reports), 7):
        seen_reports = []

        def cancel(done: int, total: int, preview: object = None, stop: int = stop, seen: list = seen_reports) -> None:
            seen.append((done, total))
            if len(seen) > stop:
                raise InterruptedError

        with pytest.raises(InterruptedError):
            make(models, progress=cancel)
        assert seen_reports == reports[: stop + 1]


def test_views_and_evaluations_are_counted() -> None:
    models, reports = small_models(), []
    sample_structure(
        models, seen(models, disc(4)), noise(), progress=lambda done, total, preview=None: reports.append((done, total))
    )
    assert {total for _, total in reports} == {4 + 22} and reports[-1] == (26, 26)


def test_upsampled_voxels_are_requantised() -> None:
    models, coarse = small_models(), random_voxels([30], 6, 8)
    coords, resolution = upsample_shape(models, coarse, 64)
    decoder = models.shape_decoder.module
    assert resolution == 64 and torch.equal(coords, requantise(decoder.upsample(coarse), 32, 16))
    assert upsample_shape(models, coarse, 64, most_tokens=2)[1] == 64


def test_heads_become_a_dual_grid() -> None:
    heads = torch.tensor([[0.0, 100.0, -100.0, 1.0, -1.0, 0.0, 0.0]])
    grid = dual_grid(torch.zeros(1, 3, dtype=torch.int32), heads, 8)
    torch.testing.assert_close(grid.offsets, torch.tensor([[0.5, 1.5, -0.5]]))
    assert grid.edges.tolist() == [[True, False, False]]
    torch.testing.assert_close(grid.split_weights, torch.tensor([2.0]).log())


def test_what_models_lack_is_said() -> None:
    coarse_only = small_models(fine_shape=None, texture=None, texture_decoder=None)
    pictures, voxels = seen(coarse_only, disc()), random_voxels([9], 6, 8)
    shape = decode_shape(coarse_only, voxels)
    for call, said in (
        (lambda: sample_shape(coarse_only, pictures, voxels.coords, noise(), resolution=16), "fine shapes"),
        (lambda: sample_texture(coarse_only, pictures, voxels, noise()), "flow for textures"),
        (lambda: decode_texture(coarse_only, voxels, shape), "decoder for textures"),
        (lambda: upsample_shape(coarse_only, voxels, 66), "multiple of 4 from 32 up as the resolution, but got 66"),
        (lambda: small_models(texture_decoder=coarse_only.structure_decoder), "one model family"),
    ):
        with pytest.raises(Bundle3DError, match=said) as refusal:
            call()
        assert "\n" not in str(refusal.value)
    assert coarse_only.resolution == 32
