from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from bundle3d.pipelines.diffusion.control import Control
from bundle3d.pipelines.diffusion.draw import BundleRequest, draw_bundle
from bundle3d.pipelines.diffusion.holder import Resident
from bundle3d.pipelines.diffusion.loading.casting import cast_weights
from bundle3d.pipelines.diffusion.models import BundleModels, ControlNet, Redux
from bundle3d.pipelines.diffusion.velocity import Conditioning, velocity
from bundle3d.pipelines.progress import Preview
from bundle3d.tests.support.tiny_flux import (
    LATENT_CHANNELS,
    POOLED_WIDTH,
    TEXT_WIDTH,
    tiny_clip,
    tiny_clip_tokenizer,
    tiny_controlnet,
    tiny_redux,
    tiny_t5,
    tiny_t5_tokenizer,
    tiny_transformer,
    tiny_vae,
)

HEIGHT, WIDTH = 32, 64
IMAGE = torch.rand(HEIGHT, WIDTH, 3, generator=torch.Generator().manual_seed(0))
SHALLOW = {"num_layers": 1, "num_single_layers": 1}


class Manager:
    """Owns all components, lets one compute at a time, and takes it away as soon as its use ends."""

    def __init__(self) -> None:
        self.present: torch.nn.Module | None = None
        self.uses: list[tuple[str, int]] = []

    def hold(self, module: torch.nn.Module) -> Held:
        return Held(module, self)


class Held(Resident):
    def __init__(self, module: torch.nn.Module, manager: Manager) -> None:
        super().__init__(module)
        self.manager = manager
        for part in module.modules():
            part.register_forward_pre_hook(self._check)

    def _check(self, part: torch.nn.Module, inputs: Any) -> None:
        assert self.manager.present is self.module, f"{type(part).__name__} computes while it is away"

    @contextlib.contextmanager
    def use(self, activation_bytes: int = 0) -> Iterator[Any]:
        assert self.manager.present is None, "one component is asked for while another is in use"
        self.manager.present = self.module
        self.manager.uses.append((type(self.module).__name__, activation_bytes))
        yield self.module
        self.manager.present = None


@pytest.fixture(scope="module")
def uses() -> dict[str, list[int]]:
    """How often each component is used, and with how much memory beside it, for a drawing with all there is."""
    manager = Manager()
    redux = tiny_redux()
    models = BundleModels(
        transformer=manager.hold(tiny_transformer(**SHALLOW)),
        vae=manager.hold(tiny_vae()),
        text_encoder=manager.hold(tiny_clip()),
        tokenizer=tiny_clip_tokenizer(),
        text_encoder_2=manager.hold(tiny_t5()),
        tokenizer_2=tiny_t5_tokenizer(),
        redux=Redux(manager.hold(redux.embedder.module), manager.hold(redux.image_encoder.module)),
    )
    net = ControlNet(manager.hold(tiny_controlnet(**SHALLOW)))
    controls = (Control(IMAGE, net, "tile", end=1.0), Control(IMAGE, net, "depth", end=1.0))
    request = BundleRequest(
        "a red torus", HEIGHT, WIDTH, steps=2, initial_image=IMAGE, controls=controls, redux_image=IMAGE
    )

    def progress(done: int, total: int, preview: Preview | None = None) -> None:
        if preview is not None:
            preview()

    draw_bundle(models, request, progress)
    found: dict[str, list[int]] = {}
    for name, memory in manager.uses:
        found.setdefault(name, []).append(memory)
    return found


def test_components_compute_one_at_a_time_and_only_where_they_are_asked_for(uses: dict[str, list[int]]) -> None:
    assert {name: len(memory) for name, memory in uses.items()} == {
        "CLIPTextModel": 1,
        "T5EncoderModel": 1,
        "SiglipVisionModel": 1,
        "ReduxImageEncoder": 1,
        "AutoencoderKL": 5,  # the initial picture, two controls, the preview's fit, the bundle
        "FluxControlNetModel": 2,
        "FluxTransformer2DModel": 1,
    }


def test_memory_is_asked_for_beside_what_computes_on_pictures(uses: dict[str, list[int]]) -> None:
    for name in ("AutoencoderKL", "FluxControlNetModel", "FluxTransformer2DModel"):
        assert min(uses[name]) > 0


def test_inputs_are_what_the_weights_are_unless_it_is_said() -> None:
    assert Resident(tiny_vae().bfloat16()).compute_dtype == torch.bfloat16
    assert Resident(tiny_vae(), dtype=torch.float16).compute_dtype == torch.float16


@torch.no_grad()
def test_weights_stored_in_float8_compute_in_what_they_are_cast_to() -> None:
    stored = tiny_transformer(**SHALLOW).to(torch.float8_e4m3fn)
    rounded = tiny_transformer(**SHALLOW)
    rounded.load_state_dict({name: weight.bfloat16() for name, weight in stored.state_dict().items()})
    latents = torch.randn(1, LATENT_CHANNELS, 4, 8, generator=torch.Generator().manual_seed(0))
    conditioning = Conditioning(torch.ones(1, 5, TEXT_WIDTH), torch.ones(1, POOLED_WIDTH), 3.5)
    holders = Resident(cast_weights(stored, torch.bfloat16)), Resident(rounded.bfloat16())
    assert [holder.compute_dtype for holder in holders] == [torch.bfloat16] * 2
    assert holders[0].module.proj_out.weight.dtype == torch.float8_e4m3fn
    flows = [velocity(holder, latents, 0.5, conditioning) for holder in holders]
    torch.testing.assert_close(*flows, rtol=0.02, atol=0.02)
