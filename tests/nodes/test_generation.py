"""The nodes that draw bundles, on models of random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle3d.pipelines.diffusion.encode_prompt import TRIGGER
from bundle3d.pipelines.errors import Bundle3DError

SIZE = {"width": 128, "height": 64}
# specs/kiss3dgen.md 2.4
SIGMAS = [
    1, .981875, .962386, .941373, .918652, .894003, .867172, .837855, .805689, .770239, .730974, .687244, .638240,
    .582948, .520074, .447944, .364352, .266330, .149787, .008929, 0,
]  # fmt: skip

Run = Callable[..., Any]


@pytest.fixture
def models(run: Run, tiny_folder: Path) -> Any:
    return run("Bundle3D_LoadBundleModels", base="tiny")[0]


def test_a_batch_counts_seeds_up(run: Run, models: Any) -> None:
    batch = run("Bundle3D_GenerateBundle", models=models, prompt="a cube", seed=5, steps=2, batch_size=2, **SIZE)[0]
    second = run("Bundle3D_GenerateBundle", models=models, prompt="a cube", seed=6, steps=2, **SIZE)[0]
    assert batch.shape == (2, 64, 128, 3)
    assert torch.equal(batch[1:], second) and not torch.equal(batch[:1], second)


def test_pictures_change_the_bundle(run: Run, models: Any) -> None:
    image = torch.rand(2, 64, 128, 4, generator=torch.Generator().manual_seed(0))
    before = image.clone()
    call = {"models": models, "prompt": "a cube", "steps": 3, "strength": 0.5, **SIZE}
    bundle = run("Bundle3D_GenerateBundle", initial_image=image, batch_size=2, **call)[0]
    plain = run("Bundle3D_GenerateBundle", **call)[0]
    assert torch.equal(image, before) and not torch.allclose(bundle[:1], plain, atol=1e-3)
    with pytest.raises(Bundle3DError, match="1 or 3 initial images"):
        run("Bundle3D_GenerateBundle", initial_image=image, batch_size=3, **call)
    with pytest.raises(Bundle3DError, match="1 or 3 initial images"):
        vae = run("Bundle3D_ModelsToCore", folder="tiny")[2]
        run("Bundle3D_BundleLatent", vae=vae, initial_image=image, batch_size=3, **SIZE)
    with pytest.raises(Bundle3DError, match="Load Bundle Redux"):
        run("Bundle3D_GenerateBundle", redux_image=image, **call)


@pytest.mark.parametrize(("width", "height"), [(128, 128), (120, 60), (64, 0)])
def test_sizes_that_are_no_bundle_are_refused(run: Run, models: Any, width: int, height: int) -> None:
    if (width, height) == (64, 0):
        assert run("Bundle3D_GenerateBundle", models=models, steps=1, width=64, height=0)[0].shape == (1, 32, 64, 3)
        return
    with pytest.raises(Bundle3DError, match="twice as wide as high"):
        run("Bundle3D_GenerateBundle", models=models, steps=1, width=width, height=height)


def test_the_size_is_the_models_own_unless_chosen(run: Run, tiny_folder: Path) -> None:
    import json

    config = tiny_folder / "diffusers" / "tiny" / "vae" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text("utf-8")) | {"sample_size": 96}), "utf-8")
    models = run("Bundle3D_LoadBundleModels", base="tiny")[0]
    assert run("Bundle3D_GenerateBundle", models=models, steps=1)[0].shape == (1, 96, 192, 3)
    vae = run("Bundle3D_ModelsToCore", folder="tiny")[2]
    assert run("Bundle3D_BundleLatent", vae=vae)[0]["samples"].shape == (1, 4, 12, 24)


def test_cancel_stops_between_two_evaluations(run: Run, models: Any, cancels_at: Callable[..., None]) -> None:
    cancels_at(4, lambda: run("Bundle3D_GenerateBundle", models=models, steps=20, **SIZE))


def test_fp8_weights_stay_fp8_and_draw_nearly_the_same(run: Run, models: Any) -> None:
    small = run("Bundle3D_LoadBundleModels", base="tiny", weight_dtype="fp8_e4m3fn")[0]
    stored = {layer.weight.dtype for layer in small.transformer.module.modules() if isinstance(layer, torch.nn.Linear)}
    call = {"prompt": "a cube", "steps": 2, **SIZE}
    exact, near = (run("Bundle3D_GenerateBundle", models=each, **call)[0] for each in (models, small))
    assert stored == {torch.float8_e4m3fn}
    assert 0 < (exact - near).abs().mean() < 0.05


def test_components_belong_to_the_memory_manager(run: Run, models: Any) -> None:
    import comfy.model_management as model_management

    run("Bundle3D_GenerateBundle", models=models, steps=1, **SIZE)
    loaded = [entry.model for entry in model_management.current_loaded_models]
    for holder in (models.transformer, models.vae, models.text_encoder, models.text_encoder_2):
        assert any(model is holder.patcher for model in loaded)
    model_management.unload_all_models()
    assert not any(model is models.transformer.patcher for model in model_management.loaded_models())
    assert run("Bundle3D_GenerateBundle", models=models, steps=1, **SIZE)[0].isfinite().all()


def test_what_is_missing_is_named(run: Run, tiny_folder: Path) -> None:
    with pytest.raises(Bundle3DError, match="file for transformer"):
        run("Bundle3D_LoadBundleModels", base="none")
    for name in ("../tiny", "nothing"):
        with pytest.raises(Bundle3DError, match="models/loras"):
            run("Bundle3D_LoadBundleModels", base="tiny", lora=name)


def test_choices_are_the_files_of_the_models_folders(nodes: dict[str, Any], tiny_folder: Path) -> None:
    for name in ("loras/a/own.safetensors", "loras/notes.txt", "LLM/mine/config.json", "vae/ae.safetensors"):
        (tiny_folder / name).parent.mkdir(parents=True, exist_ok=True)
        (tiny_folder / name).write_bytes(b"")
    schema = nodes["Bundle3D_LoadBundleModels"].GET_SCHEMA()
    options = {widget.id: getattr(widget, "options", None) for widget in schema.inputs}
    assert options["base"] == ["Bundle3D demo", "tiny", "none"]
    assert options["lora"] == ["none", "a/own.safetensors"]
    assert options["vae"] == ["from base", "ae.safetensors"]
    prompt = nodes["Bundle3D_BundlePrompt"].GET_SCHEMA().inputs[1]
    assert prompt.options == ["none", "mine"]


def test_a_prompt_gets_the_trained_sentence_once(run: Run) -> None:
    for text in ("a red cube", f"{TRIGGER} a red cube"):
        prompt, clip_prompt, description = run("Bundle3D_BundlePrompt", text=text).result
        assert (prompt, clip_prompt, description) == (f"{TRIGGER} a red cube", TRIGGER, text)
    edited = run("Bundle3D_BundlePrompt", text="a red cube", description="a blue cube")
    assert edited[0] == f"{TRIGGER} a blue cube" and edited.ui == {"text": ["a blue cube"]}


def test_a_language_model_writes_the_description(run: Run, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bundle3d.tests.support.tiny_language_model import letter_tokenizer, tiny_language_model

    monkeypatch.setattr("bundle3d.pipelines.diffusion.expand_prompt.LONGEST", 12)
    for part in (tiny_language_model(), letter_tokenizer()):
        part.save_pretrained(tiny_folder / "LLM" / "tiny")
    prompt, _, description = run("Bundle3D_BundlePrompt", text="a cup", language_model="tiny").result
    assert description not in ("", "a cup") and prompt == f"{TRIGGER} {description}".rstrip()
    kept = run("Bundle3D_BundlePrompt", text="a cup", language_model="tiny", description="a mug")
    assert kept[2] == "a mug"


def test_controls_make_a_list(run: Run) -> None:
    from bundle3d.tests.support.tiny_flux import tiny_control_network

    net, image = tiny_control_network(), torch.rand(1, 8, 16, 3)
    first = run("Bundle3D_BundleControl", control_net=net, image=image)[0]
    both = run("Bundle3D_BundleControl", control_net=net, image=image, mode="blur", end=0.3, controls=first)[0]
    assert [(control.mode, control.scale, control.end) for (control,) in both] == [
        ("tile", 0.6, 0.65),
        ("blur", 0.6, 0.3),
    ]
    without = run("Bundle3D_BundleControl", control_net=net, image=image, strength=0.0, controls=both)[0]
    assert without == both and run("Bundle3D_BundleControl", control_net=net, image=image, strength=0.0)[0] == ()
    with pytest.raises(Bundle3DError, match="start before the end"):
        run("Bundle3D_BundleControl", control_net=net, image=image, start=0.7)


def test_every_bundle_of_a_batch_is_held_to_its_own_picture(run: Run, models: Any) -> None:
    from bundle3d.tests.support.tiny_flux import tiny_control_network

    net = tiny_control_network()
    pictures = torch.rand(2, 64, 128, 3, generator=torch.Generator().manual_seed(0))

    def controls(images: torch.Tensor) -> Any:
        return run("Bundle3D_BundleControl", control_net=net, image=images, strength=1.0, end=1.0)[0]

    call = {"models": models, "prompt": "a cube", "steps": 2, **SIZE}
    together = run("Bundle3D_GenerateBundle", controls=controls(pictures), batch_size=2, **call)[0]
    for index in range(2):
        alone = run("Bundle3D_GenerateBundle", controls=controls(pictures[index : index + 1]), seed=index, **call)[0]
        assert torch.equal(together[index], alone[0])
    one_for_all = run("Bundle3D_GenerateBundle", controls=controls(pictures[:1]), batch_size=2, **call)[0]
    assert torch.equal(one_for_all[0], together[0]) and not torch.equal(one_for_all[1], together[1])
    with pytest.raises(Bundle3DError, match="1 or 3 control images"):
        run("Bundle3D_GenerateBundle", controls=controls(pictures), batch_size=3, **call)


def test_a_trained_control_net_has_the_modes_that_it_notes(run: Run, models: Any, tiny_folder: Path) -> None:
    from bundle3d.pipelines.diffusion.control import prepare_control
    from bundle3d.pipelines.training.new_controlnet import save_controlnet
    from bundle3d.tests.support.tiny_flux import tiny_controlnet

    folder = tiny_folder / "controlnet"
    save_controlnet(tiny_controlnet(), folder / "own", torch.float32, {"normal": 7, "tile": 1})
    tiny_controlnet().save_pretrained(folder / "union")
    own, union = (run("Bundle3D_LoadControlNet", control_net=name)[0] for name in ("own", "union"))
    assert own.modes == {"normal": 7, "tile": 1} and union.modes["lq"] == 6
    image = torch.rand(1, 64, 128, 3, generator=torch.Generator().manual_seed(0))
    [[control]] = run("Bundle3D_BundleControl", control_net=own, image=image, mode="normal")[0]
    assert prepare_control(models, control, 64, 128, torch.Generator()).mode_id == 7
    for net, mode, modes in ((own, "canny", "normal, tile,"), (union, "normal", "canny, tile, .*, lq,")):
        with pytest.raises(Bundle3DError, match=f"modes {modes} but got '{mode}'"):
            run("Bundle3D_BundleControl", control_net=net, image=image, mode=mode)


def test_control_maps_are_made_unless_they_are_given(run: Run, models: Any) -> None:
    from bundle3d.pipelines.diffusion.control import prepare_control
    from bundle3d.tests.support.tiny_flux import tiny_control_network

    image = torch.rand(1, 64, 128, 3, generator=torch.Generator().manual_seed(0))
    normals = image[:, 32:].repeat(1, 2, 1, 1)
    net = tiny_control_network(num_mode=None)

    def condition(picture: torch.Tensor, make_map: bool) -> torch.Tensor:
        call = {"control_net": net, "image": picture, "mode": "normal", "make_map": make_map}
        [[control]] = run("Bundle3D_BundleControl", **call)[0]
        return prepare_control(models, control, 64, 128, torch.Generator().manual_seed(0)).condition

    assert torch.equal(condition(image, True), condition(normals, False))
    [[saved_before]] = run("Bundle3D_BundleControl", control_net=net, image=image, mode="normal")[0]
    assert saved_before.make_map
    assert not torch.equal(condition(image, False), condition(normals, False))


def test_the_demo_control_net_is_found_where_it_lies(
    run: Run, nodes: Any, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bundle3d.pipelines.checkpoints import demo_folder
    from bundle3d.pipelines.training.new_controlnet import save_controlnet
    from bundle3d.tests.support.tiny_flux import tiny_controlnet

    assert nodes["Bundle3D_LoadControlNet"].define_schema().inputs[0].options[0] == "Bundle3D demo"
    monkeypatch.setattr("bundle3d.nodes.load_control_net.CONTROLNET_DEMO_FOLDER", tiny_folder / "demo")
    with pytest.raises(Bundle3DError, match="train controlnet-demo"):
        run("Bundle3D_LoadControlNet")
    save_controlnet(tiny_controlnet(), tiny_folder / "demo", torch.float32, {"normal": 7, "tile": 1})
    assert run("Bundle3D_LoadControlNet")[0].modes == {"normal": 7, "tile": 1}
    assert demo_folder.CONTROLNET_DEMO_FOLDER.name == "demo_controlnet"


def test_control_nets_and_redux_come_from_their_folders(run: Run, models: Any, tiny_folder: Path) -> None:
    from bundle3d.tests.support.tiny_flux import tiny_controlnet, tiny_redux

    tiny_controlnet().save_pretrained(tiny_folder / "controlnet" / "union")
    parts = tiny_redux()
    parts.embedder.module.save_pretrained(tiny_folder / "style_models" / "redux")
    parts.image_encoder.module.save_pretrained(tiny_folder / "clip_vision" / "siglip")
    net = run("Bundle3D_LoadControlNet", control_net="union")[0]
    redux = run("Bundle3D_LoadRedux", style_model="redux", clip_vision="siglip")[0]
    image = torch.rand(1, 64, 128, 3, generator=torch.Generator().manual_seed(0))
    controls = run("Bundle3D_BundleControl", control_net=net, image=image, strength=1.0, end=1.0)[0]
    call = {"models": models, "prompt": "a cube", "steps": 2, **SIZE}
    plain = run("Bundle3D_GenerateBundle", **call)[0]
    held = run("Bundle3D_GenerateBundle", controls=controls, **call)[0]
    told = run("Bundle3D_GenerateBundle", redux=redux, redux_image=image, redux_strength=1.0, **call)[0]
    assert not torch.allclose(held, plain, atol=1e-3) and not torch.allclose(told, plain, atol=1e-3)


def test_every_bundle_of_a_batch_has_a_redux_image_of_its_own(run: Run, models: Any) -> None:
    from bundle3d.tests.support.tiny_flux import tiny_redux

    images = torch.rand(2, 64, 128, 3, generator=torch.Generator().manual_seed(0))
    call = {"models": models, "redux": tiny_redux(), "redux_strength": 1.0, "prompt": "a cube", "steps": 2, **SIZE}
    both = run("Bundle3D_GenerateBundle", redux_image=images, batch_size=2, seed=5, **call)[0]
    second = run("Bundle3D_GenerateBundle", redux_image=images[1:], seed=6, **call)[0]
    other = run("Bundle3D_GenerateBundle", redux_image=images[:1], seed=6, **call)[0]
    assert torch.equal(both[1:], second) and not torch.allclose(other, second, atol=1e-3)
    with pytest.raises(Bundle3DError, match="Expected 1 or 3 Redux images for a batch of 3, but got 2"):
        run("Bundle3D_GenerateBundle", redux_image=images, batch_size=3, **call)


def test_parts_of_different_families_are_refused(run: Run, tiny_folder: Path) -> None:
    from bundle3d.tests.support.tiny_flux import tiny_vae

    tiny_vae(latent_channels=8).save_pretrained(tiny_folder / "vae" / "other")
    with pytest.raises(Bundle3DError, match="latent channels"):
        run("Bundle3D_LoadBundleModels", base="tiny", vae="other")


def test_the_schedule_is_the_references(run: Run) -> None:
    sigmas, evaluations = run("Bundle3D_BundleSchedule", steps=20).result
    assert torch.allclose(sigmas, torch.tensor(SIGMAS), atol=1e-6) and evaluations == 39
    later, fewer = run("Bundle3D_BundleSchedule", steps=20, strength=0.95).result
    assert torch.equal(later, sigmas[1:]) and fewer == 37
    with pytest.raises(Bundle3DError, match="at least 2 steps for an initial image"):
        run("Bundle3D_BundleSchedule", steps=1, strength=0.5)
