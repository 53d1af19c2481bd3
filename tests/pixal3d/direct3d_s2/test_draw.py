"""From a picture to a mesh on small random networks, and each step where the truth is known."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch
from bundle3d.pipelines.diffusion.holder import Resident
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.topology import is_watertight
from bundle3d.pipelines.pixal3d.conditioning import Pictures
from bundle3d.pipelines.pixal3d.config import StructureDecoderConfig
from bundle3d.pipelines.pixal3d.direct3d_s2 import draw as draw_module
from bundle3d.pipelines.pixal3d.direct3d_s2 import fit_scale as fit_scale_module
from bundle3d.pipelines.pixal3d.direct3d_s2.conditioning import see
from bundle3d.pipelines.pixal3d.direct3d_s2.config import SdfDecoderConfig
from bundle3d.pipelines.pixal3d.direct3d_s2.draw import (
    MeshRequest,
    decode_mesh,
    draw_mesh,
    finer_places,
    sample_distances,
    sample_structure,
)
from bundle3d.pipelines.pixal3d.direct3d_s2.fit_scale import filling, fit_scale
from bundle3d.pipelines.pixal3d.direct3d_s2.models import Pixal3DDModels
from bundle3d.pipelines.pixal3d.direct3d_s2.prepare import pictured_on_white
from bundle3d.pipelines.pixal3d.direct3d_s2.sdf_decoder import CHILDREN, child_places
from bundle3d.pipelines.volumes.sparse_voxels import SparseVoxels
from bundle3d.tests.pixal3d.direct3d_s2.make_small import few_steps, small_models
from torch import nn


def picture(mesh_scale: float = 0.9) -> Pictures:
    noise = torch.rand(518, 518, 3, generator=torch.Generator().manual_seed(3))
    return pictured_on_white(noise, torch.ones(518, 518), 0.3, mesh_scale).pictures


class Ball(nn.Module):
    """A decoder that knows one thing: a ball of radius 0.6 in [-1, 1]^3."""

    def __init__(self, resolution: int) -> None:
        super().__init__()
        self.config = SdfDecoderConfig(resolution=resolution, channels=6, width=32, heads=4)
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, latents: SparseVoxels, dtype: torch.dtype, progress: Any = None) -> torch.Tensor:
        places = child_places(latents.coords[:, 1:]).float()
        size = 8 * self.config.resolution
        away = (2 * places / size - 1).norm(dim=-1) - 0.6
        return (away * size / 8).clamp(-1, 1)  # truncated at four samples


class Middle(nn.Module):
    """A decoder of structures that finds the inner eight voxels, whatever it is shown."""

    def __init__(self, config: StructureDecoderConfig) -> None:
        super().__init__()
        self.config, self.factor = config, 2
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return nn.functional.pad(torch.full((1, 1, 2, 2, 2), 9.0), (1, 1, 1, 1, 1, 1), value=-9.0)


def latents_of(places: torch.Tensor, resolution: int) -> SparseVoxels:
    return SparseVoxels(torch.nn.functional.pad(places, (1, 0)), torch.zeros(len(places), 6), resolution)


def test_a_mesh_is_drawn_and_a_seed_draws_it_again() -> None:
    models = small_models()
    told: list[tuple[int, int]] = []
    drawn = draw_mesh(
        models, picture(), MeshRequest(seed=1), lambda done, total, preview=None: told.append((done, total))
    )
    assert drawn.resolution == 64 and len(drawn.voxels) == 2 and min(drawn.voxels) > 0
    assert is_watertight(drawn.mesh.faces) and float(drawn.mesh.vertices.abs().max()) <= 1 + 2 / 64
    assert told[-1] == (24, 24) and [done for done, _ in told] == sorted(done for done, _ in told)
    again = draw_mesh(models, picture(), MeshRequest(seed=1))
    assert torch.equal(again.mesh.vertices, drawn.mesh.vertices)
    other = draw_mesh(models, picture(), MeshRequest(seed=2, fine=False))
    assert other.resolution == 32 and len(other.voxels) == 1
    assert other.mesh.vertices.shape != drawn.mesh.vertices.shape


def test_where_memory_runs_out_in_the_fine_stage_the_coarse_mesh_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    models = small_models()
    held: list[weakref.ref[torch.Tensor]] = []

    def sample(models: Pixal3DDModels, stage: Any, seen: Any, places: torch.Tensor, *rest: Any) -> SparseVoxels:
        if stage is models.fine:
            held.append(weakref.ref(places))
            raise torch.cuda.OutOfMemoryError("Allocation on device")
        return sample_distances(models, stage, seen, places, *rest)

    monkeypatch.setattr(draw_module, "sample_distances", sample)
    drawn = draw_mesh(models, picture(), MeshRequest(seed=1))
    assert held[0]() is None
    plain = draw_mesh(models, picture(), MeshRequest(seed=1, fine=False))
    assert drawn.resolution == 32 and drawn.voxels == plain.voxels
    assert torch.equal(drawn.mesh.vertices, plain.mesh.vertices)


def test_where_memory_runs_out_before_there_is_nothing_to_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    def sample(*arguments: Any) -> SparseVoxels:
        raise MemoryError

    monkeypatch.setattr(draw_module, "sample_distances", sample)
    with pytest.raises(MemoryError):
        draw_mesh(small_models(), picture(), MeshRequest())


def test_other_steps_draw_another_mesh() -> None:
    models = small_models(fine=None)
    asked = (("coarse", replace(few_steps(), steps=1)), ("structure", replace(few_steps(), guidance=1.0)))
    told: list[int] = []
    drawn = draw_mesh(
        models,
        picture(),
        MeshRequest(fine=False, samplings=asked),
        lambda done, total, preview=None: told.append(total),
    )
    assert set(told) == {2 + 2 + 8}
    assert drawn.mesh.vertices.shape != draw_mesh(models, picture(), MeshRequest(fine=False)).mesh.vertices.shape


def test_voxels_are_kept_from_a_tenth_of_probability_on() -> None:
    models = small_models()
    last = models.structure.decoder.module.out_layer[2]
    last.weight *= 20  # so that probabilities are spread out
    seen = see(models.encoder, picture())

    def found(occupied: float) -> set[tuple[int, ...]]:
        places = sample_structure(models, seen, torch.Generator().manual_seed(0), few_steps(), occupied)
        assert places.dtype == torch.int32 and int(places.max()) < models.coarse.resolution
        return {tuple(place) for place in places.tolist()}

    assert found(0.9) < found(0.5) < found(0.1)
    last.bias -= 1000
    with pytest.raises(Bundle3DError, match="found nothing"):
        found(0.1)


def test_a_decoded_ball_is_where_it_is() -> None:
    every = torch.cartesian_prod(*[torch.arange(8, dtype=torch.int32)] * 3)
    stage = replace(small_models().coarse, decoder=Resident(Ball(8)))
    mesh = decode_mesh(stage, latents_of(every, 8), 0.0)
    away = mesh.vertices.norm(dim=1)
    assert is_watertight(mesh.faces)
    assert float(away.min()) > 0.6 - 0.01 and float(away.max()) < 0.6 + 0.001
    raised = decode_mesh(stage, latents_of(every, 8))
    # a level of 0.2 is 0.2 * 8 / 64 further out
    assert float(raised.vertices.norm(dim=1).mean() - away.mean()) == pytest.approx(0.025, abs=1e-3)
    with pytest.raises(Bundle3DError, match="finds none"):
        decode_mesh(stage, latents_of(every[:1], 8), 0.0)


def test_distances_that_are_no_numbers_are_refused() -> None:
    ball = Ball(8)
    ball.forward = lambda latents, dtype, progress=None: torch.full((1, CHILDREN), torch.nan)  # type: ignore[method-assign]
    with pytest.raises(Bundle3DError, match=r"Expected finite distances.*start ComfyUI with --fp32-vae"):
        decode_mesh(replace(small_models().coarse, decoder=Resident(ball)), latents_of(torch.zeros(1, 3).int(), 8))


def test_finer_voxels_lie_around_the_coarse_surface() -> None:
    every = torch.cartesian_prod(*[torch.arange(8, dtype=torch.int32)] * 3)
    mesh = decode_mesh(replace(small_models().coarse, decoder=Resident(Ball(8))), latents_of(every, 8), 0.0)
    places = finer_places(mesh, 16)
    # Samples of the finer lattice lie at 2 i / 127 - 1; four of its steps, of 1/128 each in [-1/2, 1/2], are 0.0625.
    samples = 2 * child_places(places).float() / 127 - 1
    nearest = (samples.norm(dim=-1) - 0.6).abs().amin(1)
    assert float(nearest.max()) < 0.0625 + 0.01
    missing = torch.cartesian_prod(*[torch.arange(16, dtype=torch.int32)] * 3)
    known = {tuple(place) for place in places.tolist()}
    others = missing[torch.tensor([tuple(place) not in known for place in missing.tolist()])]
    away = ((2 * child_places(others).float() / 127 - 1).norm(dim=-1) - 0.6).abs().amin(1)
    assert float(away.min()) > 0.0625 - 0.01


def test_an_object_that_is_too_small_fills_the_volume() -> None:
    # of 64 voxels, the farthest 11.5 from the middle of 31.5, which becomes 28.5
    assert filling(torch.tensor([[20, 31, 32], [40, 43, 33]]), 64) == pytest.approx(28.5 / 11.5)


@pytest.mark.parametrize(
    ("spares", "scales", "kept"),
    [
        ([13, 3], [0.5, 0.5 * 28.5 / 18.5], 1),  # the first try fits
        ([13, 1], [0.5, 0.5 * 28.5 / 18.5], 0),  # too large: taken back
        ([13, 6, 3], [0.5, 0.5 * 28.5 / 18.5, 0.5 * 28.5 / 18.5 * 28.5 / 25.5], 2),
        ([13, 6, 9], [0.5, 0.5 * 28.5 / 18.5, 0.5 * 28.5 / 18.5 * 28.5 / 25.5], 2),  # too small, but tries are up
    ],
)
def test_the_scale_is_fitted_in_up_to_two_tries(
    spares: list[int], scales: list[float], kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = small_models(scale_flow=small_models().structure.flow)
    asked: list[float] = []

    def structure(models: Pixal3DDModels, seen: Any, *rest: Any) -> torch.Tensor:
        assert rest[-1] is models.scale_flow
        spare = spares[len(asked)]
        asked.append(seen.pictures.mesh_scale)
        return torch.tensor([[spare, 31, 31], [31, 63 - spare, 32]])

    monkeypatch.setattr(fit_scale_module, "sample_structure", structure)
    monkeypatch.setattr(type(models.coarse), "resolution", 64)
    fitted = fit_scale(models, picture(0.5), 0)
    assert asked == pytest.approx(scales)
    assert fitted.mesh_scale == pytest.approx(scales[kept])
    assert torch.equal(fitted.cameras[0].camera_to_world, picture(0.5).cameras[0].camera_to_world)


def test_a_scale_is_fitted_to_what_is_found() -> None:
    models = small_models()
    assert fit_scale(models, picture(0.5), 0).mesh_scale == 0.5  # noise is everywhere, so there is no room to grow into
    middle = replace(models.structure, decoder=Resident(Middle(models.structure.decoder.module.config)))
    # Of 4 voxels the inner two, half of one from the middle, are to reach 1.5 less 3 / 16 of one from it, twice.
    fitted = fit_scale(small_models(structure=middle), picture(0.5), 0)
    assert fitted.mesh_scale == pytest.approx(0.5 * 2.625**2)


@pytest.mark.parametrize(
    ("request_", "said"), [({"occupied": 0.0}, "probability"), ({"level": 1.0}, "level"), ({"level": -1.0}, "level")]
)
def test_other_thresholds_are_refused(request_: dict[str, float], said: str) -> None:
    with pytest.raises(Bundle3DError, match=said):
        MeshRequest(**request_)  # type: ignore[arg-type]


def test_a_fine_mesh_needs_its_flow() -> None:
    with pytest.raises(Bundle3DError, match="flow for fine shapes"):
        draw_mesh(small_models(fine=None), picture(), MeshRequest())


def test_parts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(Bundle3DError, match="Expected NAF"):
        small_models(upsampler=None)
    with pytest.raises(Bundle3DError, match="lattice of the coarse flow to be 4"):
        small_models(coarse=small_models().fine, fine=None)
