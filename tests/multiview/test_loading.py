from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle3d.pipelines.diffusion.holder import Resident
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.multiview.draw import ViewRequest, draw_views
from bundle3d.pipelines.multiview.loading import load_multiview, load_unet, read_processing
from bundle3d.tests.support.tiny_zero123plus import (
    FOR_VAE,
    FOR_VISION,
    RAMP,
    SCHEDULER,
    save_tiny_folder,
    tiny_components,
    tiny_multiview_models,
    tiny_unet,
)
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

REQUEST = ViewRequest(torch.rand(32, 32, 3, generator=torch.Generator().manual_seed(7)), steps=2)
# specs/kiss3dgen.md 3.2
PUBLISHED = {
    "sample_size": 96,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (320, 640, 1280, 1280),
    "attention_head_dim": (5, 10, 20, 20),
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny_folder(tmp_path / "tiny")


def change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")


def test_the_folder_draws_what_its_parts_draw(folder: Path) -> None:
    loaded, saved = load_multiview(folder), tiny_components()
    assert (loaded.ramp, loaded.for_vae, loaded.for_vision) == (RAMP, FOR_VAE, FOR_VISION)
    assert dict(loaded.scheduler) == SCHEDULER
    for part in ("unet", "vae", "text_encoder", "vision_encoder"):
        truth = getattr(saved, part).state_dict()
        ours = getattr(loaded, part).state_dict()
        assert ours.keys() == truth.keys() and all(torch.equal(ours[name], truth[name]) for name in truth)
    drawn = draw_views(loaded.held(Resident, Resident, Resident), REQUEST)
    torch.testing.assert_close(drawn, draw_views(tiny_multiview_models(), REQUEST), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["flexgen.ckpt", "flexgen.safetensors"])
def test_another_unet_comes_as_a_plain_state_dict(folder: Path, tmp_path: Path, name: str) -> None:
    other = tiny_unet(seed=99)
    save = torch.save if name.endswith("ckpt") else save_file
    save(other.state_dict(), tmp_path / name)
    loaded = load_multiview(folder, tmp_path / name).unet.state_dict()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in other.state_dict().items())
    assert not torch.equal(loaded["conv_in.weight"], tiny_unet().conv_in.weight)


def test_the_demo_model_is_known_by_its_folder(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not load_multiview(folder).demo
    monkeypatch.setattr("bundle3d.pipelines.multiview.loading.MULTIVIEW_DEMO_FOLDER", folder)
    loaded = load_multiview(folder)
    assert loaded.demo and loaded.held(Resident, Resident, Resident).demo
    torch.save(tiny_unet(seed=99).state_dict(), tmp_path / "flexgen.ckpt")
    assert not load_multiview(folder, tmp_path / "flexgen.ckpt").demo


def test_a_unet_is_loaded_strictly(folder: Path, tmp_path: Path) -> None:
    state = tiny_unet().state_dict()
    for name, changed, words in (
        ("short", {k: v for k, v in state.items() if k != "conv_out.bias"}, r"1 are missing \('conv_out.bias' first\)"),
        ("long", state | {"extra": torch.zeros(1)}, r"1 others \('extra' first\)"),
        ("wide", state | {"conv_out.bias": torch.zeros(9)}, "'conv_out.bias' of a multi-view UNet in 'wide.ckpt'"),
        ("lora", {"lora_unet_x.lora_down.weight": torch.zeros(1)}, r"holds a LoRA; choose flexgen.ckpt"),
    ):
        torch.save(changed, tmp_path / f"{name}.ckpt")
        with pytest.raises(Bundle3DError, match=words):
            load_unet(tmp_path / f"{name}.ckpt", folder / "unet")


def test_a_checkpoint_that_runs_code_is_refused(folder: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (print, ("caught",))

    torch.save({"conv_in.weight": Trap()}, tmp_path / "trap.ckpt")
    with pytest.raises(Bundle3DError, match="asks to run code"):
        load_unet(tmp_path / "trap.ckpt", folder / "unet")


def test_old_names_of_the_autoencoders_attention(tmp_path: Path) -> None:
    from bundle3d.pipelines.multiview.loading import load_sd_vae
    from bundle3d.tests.support.tiny_flux import tiny_vae

    vae = tiny_vae(mid_block_add_attention=True)
    vae.save_pretrained(tmp_path)
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = load_file(file)
    for new, name in old.items():
        state = {key.replace(f".{new}.", f".{name}."): tensor for key, tensor in state.items()}
    assert "encoder.mid_block.attentions.0.query.weight" in state
    save_file(state, file)
    loaded = load_sd_vae(tmp_path).state_dict()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in vae.state_dict().items())


def test_processing_is_read_from_both_ways_of_writing_it(tmp_path: Path) -> None:
    settings = {"crop_size": 32, "size": 32, "image_mean": [0.5] * 3, "image_std": [0.8] * 3, "resample": 2}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings), "utf-8")
    assert read_processing(tmp_path).filter == "bilinear" and read_processing(tmp_path).std == (0.8,) * 3
    for wrong in ({"image_std": [0.0] * 3}, {"crop_size": {"height": 2, "width": 3}}, {"size": 8}, {"image_mean": 1}):
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings | wrong), "utf-8")
        with pytest.raises(Bundle3DError, match=r"preprocessor_config\.json"):
            read_processing(tmp_path)


def test_refusals_name_the_folder_and_the_part(folder: Path) -> None:
    with pytest.raises(Bundle3DError, match="none at 'nothing'"):
        load_multiview(folder / "nothing")
    change(folder / "model_index.json", ramping_coefficients=None)
    with pytest.raises(Bundle3DError, match=r"'ramping_coefficients' in model_index\.json of 'tiny'"):
        load_multiview(folder)
    change(folder / "model_index.json", _class_name="FluxPipeline")
    with pytest.raises(Bundle3DError, match="holds FluxPipeline"):
        load_multiview(folder)
    change(folder / "model_index.json", _class_name="Zero123PlusPipeline")
    (folder / "scheduler").rename(folder / "scheduling")
    with pytest.raises(Bundle3DError, match="part 'scheduler' in the folder 'tiny'"):
        load_multiview(folder)


def test_the_published_unet_has_the_published_size() -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel(**PUBLISHED)
    state = unet.state_dict()
    assert len(state) == 686 and sum(tensor.numel() for tensor in state.values()) == 865_910_724
    assert state["conv_in.weight"].shape == (320, 4, 3, 3)
    assert state["mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"].shape == (1280, 1024)
    assert sum(name.endswith("attn1.processor") for name in unet.attn_processors) == 16
