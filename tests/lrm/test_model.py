"""The small model against the numbers that the reference modules gave for the same weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.lrm.cameras import camera_vectors
from bundle3d.pipelines.lrm.image_encoder import normalise_images
from bundle3d.pipelines.lrm.model import LargeReconstructionModel
from bundle3d.pipelines.lrm.triplane import sample_planes
from bundle3d.pipelines.views.rig import named_rig
from bundle3d.tests.lrm.make_small import small_model, wave_images, wave_points

GOLDEN = {
    name: torch.tensor(values)
    for name, values in json.loads(Path(__file__).with_name("golden.json").read_text()).items()
}
LAYERS = 4


def difference(found: torch.Tensor, name: str) -> float:
    """Largest difference as a share of the largest golden value."""
    golden = GOLDEN[name]
    assert found.numel() == golden.numel()
    return float((found.flatten() - golden).abs().max() / golden.abs().max())


@pytest.fixture(scope="module")
def model() -> LargeReconstructionModel:
    return small_model()


@pytest.fixture(scope="module")
def cameras() -> torch.Tensor:
    return camera_vectors(named_rig("lrm"))[None]


@pytest.fixture(scope="module")
def planes(model: LargeReconstructionModel, cameras: torch.Tensor) -> torch.Tensor:
    return model.planes(wave_images(96), cameras)


@pytest.fixture(scope="module")
def features(planes: torch.Tensor) -> torch.Tensor:
    return sample_planes(planes, wave_points()[None])[0]


def test_it_has_as_many_parameters(model: LargeReconstructionModel) -> None:
    assert sum(parameter.numel() for parameter in model.parameters()) == 302_358


def test_the_tokens_are_the_golden_ones(model: LargeReconstructionModel, cameras: torch.Tensor) -> None:
    tokens = model.encoder(normalise_images(wave_images(96))[0], cameras[0])
    assert tokens.shape == (4, 37, 48)
    assert difference(tokens[0, :2], "encoder_first_view_first_two_tokens") < 1e-5
    assert difference(tokens[-1, -1], "encoder_last_token_last_view") < 1e-5


def test_the_planes_are_the_golden_ones(planes: torch.Tensor) -> None:
    assert planes.shape == (1, 3, 8, 8, 8)
    assert difference(planes, "planes") < 1e-5


def test_what_the_decoders_read_is_golden(model: LargeReconstructionModel, features: torch.Tensor) -> None:
    decoder = model.decoder
    assert difference(decoder.sdf(features), "sdf") < 1e-5
    assert difference(decoder.deformation(features), "deformation_raw") < 1e-5
    assert difference(decoder.cube_weights(features.unflatten(0, (8, 8))), "weight") < 1e-5
    assert difference(decoder.color(features), "rgb") < 1e-5
    metallic, roughness = decoder.material(features)
    assert difference(metallic, "metallic") < 1e-5
    assert difference(roughness, "roughness") < 1e-5


def test_objects_of_a_batch_do_not_mix(
    model: LargeReconstructionModel, cameras: torch.Tensor, planes: torch.Tensor
) -> None:
    others = wave_images(96).flip(-1)
    both = model.planes(torch.cat((others, wave_images(96))), cameras.expand(2, -1, -1))
    torch.testing.assert_close(both[1], planes[0], atol=1e-5, rtol=0)
    assert not torch.allclose(both[0], planes[0], atol=1e-2)


def test_the_order_of_views_does_not_matter(
    model: LargeReconstructionModel, cameras: torch.Tensor, planes: torch.Tensor
) -> None:
    order = [2, 0, 3, 1]
    torch.testing.assert_close(model.planes(wave_images(96)[:, order], cameras[:, order]), planes, atol=1e-5, rtol=0)


def test_any_number_of_views_of_other_sizes_is_taken(model: LargeReconstructionModel) -> None:
    six = camera_vectors(named_rig("zero123plus"))[None]
    assert model.planes(torch.rand(1, 6, 3, 224, 224), six).shape == (1, 3, 8, 8, 8)


def test_images_stay_as_they_were(model: LargeReconstructionModel, cameras: torch.Tensor) -> None:
    images = wave_images(96)
    model.planes(images, cameras)
    assert torch.equal(images, wave_images(96))


def test_every_layer_reports_and_may_cancel(model: LargeReconstructionModel, cameras: torch.Tensor) -> None:
    reports = []

    def cancel(done: int, total: int, preview: object = None) -> None:
        reports.append((done, total))
        if done == LAYERS - 1:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        model.planes(wave_images(96), cameras, cancel)
    assert reports == [(done, LAYERS) for done in range(1, LAYERS)]


def test_gradients_reach_the_first_weights(cameras: torch.Tensor) -> None:
    model = small_model().requires_grad_(True)
    model.planes(wave_images(96), cameras).square().sum().backward()
    for weight in (model.encoder.model.embeddings.cls_token, model.encoder.camera_embedder[0].weight):
        assert weight.grad is not None and float(weight.grad.abs().sum()) > 0


@pytest.mark.parametrize(
    ("images", "views", "said"),
    [
        ((1, 4, 3, 90, 90), 4, "multiples of 16"),
        ((1, 4, 4, 96, 96), 4, "3, H, W"),
        ((1, 4, 3, 96, 96), 3, "16 numbers"),
    ],
)
def test_other_shapes_are_refused(
    model: LargeReconstructionModel, images: tuple[int, ...], views: int, said: str
) -> None:
    with pytest.raises(Bundle3DError, match=said):
        model.planes(torch.zeros(images), torch.zeros(1, views, 16))
