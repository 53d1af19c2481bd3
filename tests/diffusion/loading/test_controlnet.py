"""FLUX ControlNets from single files and folders."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bundle3d.pipelines.diffusion.loading.controlnet import controlnet_modes, load_controlnet
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.tests.support.tiny_files import original_transformer, rounded, write
from bundle3d.tests.support.tiny_flux import POOLED_WIDTH, TEXT_WIDTH, TRANSFORMER, tiny_controlnet, tiny_transformer
from safetensors.torch import save_file


@torch.no_grad()
def outputs(module: torch.nn.Module, mode: int | None, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    noise = torch.Generator().manual_seed(7)
    channels = TRANSFORMER["in_channels"]
    double, single = module(
        hidden_states=torch.randn(1, 6, channels, generator=noise).to(dtype),
        controlnet_cond=torch.randn(1, 6, channels, generator=noise).to(dtype),
        controlnet_mode=None if mode is None else torch.tensor([[mode]]),
        encoder_hidden_states=torch.randn(1, 5, TEXT_WIDTH, generator=noise).to(dtype),
        pooled_projections=torch.randn(1, POOLED_WIDTH, generator=noise).to(dtype),
        timestep=torch.tensor([0.7], dtype=dtype),
        guidance=torch.tensor([3.5]),
        img_ids=torch.zeros(6, 3),
        txt_ids=torch.zeros(5, 3),
        return_dict=False,
    )
    return [*double, *single]


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16, torch.float8_e4m3fn], ids=str)
@pytest.mark.parametrize("num_mode", [10, 7, None])
def test_files_compute_like_what_was_saved(tmp_path: Path, num_mode: int | None, stored: torch.dtype) -> None:
    module = tiny_controlnet(num_mode=num_mode)
    loaded = load_controlnet(write(tmp_path / "union.safetensors", module.state_dict(), stored), torch.float32)
    assert loaded.union == (num_mode is not None)
    mode = None if num_mode is None else 1
    for ours, truth in zip(outputs(loaded, mode), outputs(rounded(module, stored), mode)):
        torch.testing.assert_close(ours, truth, rtol=0, atol=2e-6)


def test_fp8_computes_in_bf16(tmp_path: Path) -> None:
    file = write(tmp_path / "union.safetensors", tiny_controlnet().state_dict(), torch.float8_e4m3fn)
    assert {tensor.dtype for tensor in outputs(load_controlnet(file), 1, torch.bfloat16)} == {torch.bfloat16}


def test_folder(tmp_path: Path) -> None:
    module = tiny_controlnet()
    module.save_pretrained(tmp_path / "controlnet")
    loaded = load_controlnet(tmp_path / "controlnet")
    weights = module.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in loaded.state_dict().items())
    # Where the weights lie in memory, which is as in the file, decides how some processors round.
    for ours, truth in zip(outputs(loaded, 1), outputs(module, 1)):
        torch.testing.assert_close(ours, truth, rtol=1e-5, atol=1e-6)


def noted(path: Path, modes: str | None, num_mode: int | None = 10) -> dict[str, int] | None:
    """The modes that are read from a file with that note."""
    path.parent.mkdir(exist_ok=True)
    network = tiny_controlnet(num_mode=num_mode)
    save_file(network.state_dict(), path, None if modes is None else {"format": "pt", "modes": modes})
    return controlnet_modes(path, network)


def test_modes_are_those_that_the_file_notes(tmp_path: Path) -> None:
    file = tmp_path / "own" / "diffusion_pytorch_model.safetensors"
    assert noted(file, '{"normal": 7, "tile": 1}') == {"normal": 7, "tile": 1}
    assert controlnet_modes(file.parent, tiny_controlnet()) == {"normal": 7, "tile": 1}
    assert noted(file, None) is None
    assert noted(file, '{"normal": 7}', num_mode=None) is None


def test_a_folder_of_several_files_notes_no_modes(tmp_path: Path) -> None:
    tiny_controlnet().save_pretrained(tmp_path, max_shard_size="50KB")
    assert (tmp_path / "diffusion_pytorch_model.safetensors.index.json").is_file()
    assert controlnet_modes(tmp_path, tiny_controlnet()) is None


@pytest.mark.parametrize(
    "modes", ["tile", "[0, 1]", "{}", '{"tile": "1"}', '{"tile": 10}', '{"tile": -1}', '{"tile": true}']
)
def test_modes_that_do_not_fit_the_network_are_refused(tmp_path: Path, modes: str) -> None:
    with pytest.raises(Bundle3DError, match=r"ids from 0 to 9 .* 'own.safetensors', but got .*; save or train"):
        noted(tmp_path / "own.safetensors", modes)


def test_refusals(tmp_path: Path) -> None:
    flux = write(tmp_path / "flux1-dev.safetensors", original_transformer(tiny_transformer()))
    with pytest.raises(
        Bundle3DError, match=r"'flux1-dev.safetensors' holds a FLUX transformer; choose a FLUX.1-dev ControlNet"
    ):
        load_controlnet(flux)
    pixels = tiny_controlnet().state_dict() | {"input_hint_block.conv_in.weight": torch.zeros(1)}
    with pytest.raises(Bundle3DError, match=r"'xlabs.safetensors' reads pixels"):
        load_controlnet(write(tmp_path / "xlabs.safetensors", pixels))
    sd = write(tmp_path / "sd.safetensors", {"control_model.input_blocks.0.0.weight": torch.zeros(1)})
    with pytest.raises(Bundle3DError, match=r"'sd.safetensors' holds a ControlNet of Stable Diffusion"):
        load_controlnet(sd)
