from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from bundle3d.pipelines.diffusion.control import Control
from bundle3d.pipelines.diffusion.draw import BundleRequest, draw_bundle
from bundle3d.pipelines.diffusion.holder import Resident
from bundle3d.pipelines.diffusion.models import BundleModels, ControlNet
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.progress import Preview
from bundle3d.tests.support.tiny_flux import tiny_control_network, tiny_models, tiny_pipeline, tiny_transformer
from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder

HEIGHT, WIDTH = 32, 64
IMAGE = torch.rand(HEIGHT, WIDTH, 3, generator=torch.Generator().manual_seed(7))
REQUEST = BundleRequest("a red torus", height=HEIGHT, width=WIDTH, steps=4, seed=3)


SHALLOW = {"num_layers": 1, "num_single_layers": 1}


def shallow_models(redux: bool = False) -> BundleModels:
    return tiny_models(tiny_pipeline(tiny_transformer(**SHALLOW)), redux)


def shallow_network() -> ControlNet:
    return tiny_control_network(**SHALLOW)


class CancelledError(Exception):
    pass


@pytest.fixture(scope="module")
def models() -> BundleModels:
    return shallow_models(redux=True)


def count_calls(module: torch.nn.Module, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, torch.Tensor]]:
    """The inputs of every evaluation of ``module`` from now on."""
    calls: list[dict[str, torch.Tensor]] = []
    run = module.forward

    def forward(**inputs: torch.Tensor) -> object:
        calls.append(inputs)
        return run(**inputs)

    monkeypatch.setattr(module, "forward", forward)
    return calls


def test_a_bundle_is_a_picture_of_the_size_asked_for(models: BundleModels) -> None:
    for height, width in ((32, 64), (16, 16), (48, 32)):
        bundle = draw_bundle(models, replace(REQUEST, height=height, width=width, steps=2))
        assert bundle.shape == (height, width, 3)
        assert bundle.dtype == torch.float32
        assert 0 <= float(bundle.min()) < float(bundle.max()) <= 1


def test_equal_seeds_draw_equal_bundles_and_seed_0_is_a_seed(models: BundleModels) -> None:
    bundles = [draw_bundle(models, replace(REQUEST, seed=seed)) for seed in (0, 0, 42, 3)]
    assert torch.equal(bundles[0], bundles[1])
    for other in bundles[2:]:
        assert not torch.allclose(bundles[0], other, atol=1e-3)


def test_the_global_generator_has_no_part(models: BundleModels) -> None:
    request = replace(REQUEST, initial_image=IMAGE, controls=(Control(IMAGE, shallow_network()),))
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = draw_bundle(models, request)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert torch.equal(draw_bundle(models, request), first)


def test_every_type_starts_from_the_same_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    starts = []
    for dtype in (torch.float32, torch.bfloat16):
        pipeline = tiny_pipeline(tiny_transformer(**SHALLOW))
        for part in (pipeline.transformer, pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2):
            part.to(dtype)
        calls = count_calls(pipeline.transformer, monkeypatch)
        draw_bundle(tiny_models(pipeline), replace(REQUEST, steps=1))
        starts.append(calls[0]["hidden_states"])
    assert torch.equal(starts[0].bfloat16(), starts[1])


@pytest.mark.parametrize(("strength", "count"), [(None, 39), (0.95, 37), (0.5, 19), (1.0, 37)])
def test_evaluations(strength: float | None, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    models = shallow_models()
    calls = count_calls(models.transformer.module, monkeypatch)
    image = None if strength is None else IMAGE
    draw_bundle(models, replace(REQUEST, steps=20, initial_image=image, strength=strength or 0.95))
    assert len(calls) == count


@pytest.mark.parametrize(("end", "active"), [(0.65, 24), (0.3, 11), (0.2, 7)])
def test_evaluations_with_a_control(end: float, active: int, monkeypatch: pytest.MonkeyPatch) -> None:
    models, net = shallow_models(), shallow_network()
    calls = count_calls(models.transformer.module, monkeypatch)
    control_calls = count_calls(net.holder.module, monkeypatch)
    control = Control(IMAGE, net, end=end)
    draw_bundle(models, replace(REQUEST, steps=20, initial_image=IMAGE, strength=0.95, controls=(control,)))
    assert len(calls) == 37
    assert len(control_calls) == active
    controlled = ["controlnet_block_samples" in inputs for inputs in calls]
    assert controlled == [True] * active + [False] * (37 - active)


def test_strength_0_gives_the_very_picture_back(models: BundleModels) -> None:
    assert torch.equal(draw_bundle(models, replace(REQUEST, initial_image=IMAGE, strength=0.0)), IMAGE)


def test_an_initial_picture_is_heard_even_at_strength_1(models: BundleModels) -> None:
    request = replace(REQUEST, strength=1.0, initial_image=IMAGE)
    assert not torch.allclose(
        draw_bundle(models, request), draw_bundle(models, replace(request, initial_image=1 - IMAGE)), atol=1e-4
    )


def test_every_wish_has_an_effect(models: BundleModels) -> None:
    plain = draw_bundle(models, REQUEST)
    wishes = (
        {"prompt": "a blue cube"},
        {"guidance": 1.5},
        {"initial_image": IMAGE},
        {"controls": (Control(IMAGE, shallow_network()),)},
        {"redux_image": IMAGE},
    )
    for wish in wishes:
        assert not torch.allclose(draw_bundle(models, replace(REQUEST, **wish)), plain, atol=1e-4), wish


def test_redux_tokens_come_after_the_words_times_their_strength(monkeypatch: pytest.MonkeyPatch) -> None:
    models = shallow_models(redux=True)
    calls = count_calls(models.transformer.module, monkeypatch)
    for strength in (1.0, 0.5):
        draw_bundle(models, replace(REQUEST, steps=1, redux_image=IMAGE, redux_strength=strength))
    draw_bundle(models, replace(REQUEST, steps=1))
    whole, half, words = (inputs["encoder_hidden_states"] for inputs in calls)
    count = words.shape[1]
    assert whole.shape[1] == count + 729
    torch.testing.assert_close(whole[:, :count], words)
    torch.testing.assert_close(half[:, count:], whole[:, count:] / 2)


def test_progress_goes_from_nothing_to_all_with_pictures_on_the_way(models: BundleModels) -> None:
    reports: list[tuple[int, int]] = []
    pictures: list[torch.Tensor] = []

    def progress(done: int, total: int, preview: Preview | None = None) -> None:
        reports.append((done, total))
        if preview is not None:
            pictures.append(preview())

    bundle = draw_bundle(models, REQUEST, progress)
    counts = [done for done, _ in reports]
    assert {total for _, total in reports} == {9}
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (0, 9)
    assert [picture.shape for picture in pictures[:-1]] == [(HEIGHT // 8, WIDTH // 8, 3)] * 7
    assert torch.equal(pictures[-1], bundle)
    assert torch.equal(bundle, draw_bundle(models, REQUEST))


@pytest.mark.parametrize("when", [0, 1, 4])
def test_cancel_ends_the_drawing(when: int, monkeypatch: pytest.MonkeyPatch) -> None:
    models = shallow_models()
    calls = count_calls(models.transformer.module, monkeypatch)

    def progress(done: int, total: int, preview: Preview | None = None) -> None:
        if done == when:
            raise CancelledError

    with pytest.raises(CancelledError):
        draw_bundle(models, REQUEST, progress)
    assert len(calls) == max(0, when - 1)


def test_inputs_are_left_alone(models: BundleModels) -> None:
    before = IMAGE.clone()
    control = Control(IMAGE, shallow_network(), "blur")
    draw_bundle(models, replace(REQUEST, initial_image=IMAGE, redux_image=IMAGE, controls=(control,)))
    assert torch.equal(IMAGE, before)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"height": 40}, "multiples of 16 pixels, but got 40 x 64; round"),
        ({"width": 0}, "multiples of 16 pixels"),
        ({"steps": 0}, "at least 1 step, but got 0"),
        ({"initial_image": IMAGE, "steps": 1}, "at least 2 steps"),
        ({"strength": 1.2}, "between 0 and 1, but got 1.2"),
        ({"strength": float("nan")}, "between 0 and 1, but got nan"),
        ({"redux_image": IMAGE}, "Redux"),
        ({"initial_image": IMAGE[None]}, r"shape \(height, width, 3\), but got \(1, 32, 64, 3\)"),
        ({"controls": (Control(torch.zeros(8, 8, 4), shallow_network()),)}, r"got \(8, 8, 4\)"),
        ({"initial_image": IMAGE * float("nan")}, "NaN or infinite; check"),
        ({"controls": (Control(IMAGE, shallow_network(), start=0.7, end=0.2),)}, "0.7 to 0.2; change"),
        ({"controls": (Control(IMAGE, tiny_control_network(num_attention_heads=4)),)}, "ControlNet to be 32.*it is 64"),
    ],
)
def test_what_cannot_be_drawn_is_refused(wish: dict, message: str) -> None:
    with pytest.raises(Bundle3DError, match=message):
        draw_bundle(shallow_models(), replace(REQUEST, **wish))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"in_channels": 64}, "VAE to be 16, .* but it is 4; load"),
        ({"pooled_projection_dim": 768}, "CLIP to be 768"),
        ({"joint_attention_dim": 4096}, "T5 to be 4096"),
    ],
)
def test_components_that_do_not_fit_together_are_refused(changes: dict, message: str) -> None:
    models = replace(shallow_models(), transformer=Resident(tiny_transformer(**changes)))
    with pytest.raises(Bundle3DError, match=message):
        draw_bundle(models, REQUEST)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"txt_in_features": 48}, "Redux's words to be 32, .* it is 48"),
        ({"redux_dim": 20}, "encoder to be 20, as Redux"),
    ],
)
def test_a_redux_of_another_family_is_refused(changes: dict, message: str) -> None:
    models = shallow_models(redux=True)
    assert models.redux is not None
    embedder = Resident(ReduxImageEncoder(**{"redux_dim": 16, "txt_in_features": 32, **changes}))
    with pytest.raises(Bundle3DError, match=message):
        draw_bundle(replace(models, redux=replace(models.redux, embedder=embedder)), REQUEST)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"in_channels": 64}, "channels of the ControlNet to be 16"), ({"joint_attention_dim": 64}, "text to be 32")],
)
def test_a_controlnet_of_another_family_is_refused(changes: dict, message: str) -> None:
    controls = (Control(IMAGE, tiny_control_network(**changes)),)
    with pytest.raises(Bundle3DError, match=message):
        draw_bundle(shallow_models(), replace(REQUEST, controls=controls))


def test_a_model_without_guidance_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    models = replace(shallow_models(), transformer=Resident(tiny_transformer(guidance_embeds=False)))
    calls = count_calls(models.transformer.module, monkeypatch)
    draw_bundle(models, REQUEST)
    assert all("guidance" not in inputs for inputs in calls)
