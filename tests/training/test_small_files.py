"""Weights in fp8: which ones, how near to what was trained, and read alike by stock diffusers and this pack."""

from __future__ import annotations

from pathlib import Path

import torch
from bundle3d.pipelines.diffusion.loading.transformer import load_transformer
from bundle3d.pipelines.training.small_files import WEIGHTS, save_small, small
from bundle3d.tests.support.tiny_flux import tiny_transformer
from diffusers import FluxTransformer2DModel
from safetensors import safe_open


def test_matrices_of_blocks_are_fp8_and_all_else_is_half_precision() -> None:
    state = tiny_transformer().state_dict()
    kept = small(state)
    assert kept.keys() == state.keys()
    in_fp8 = {name for name, weight in kept.items() if weight.dtype == torch.float8_e4m3fn}
    assert in_fp8 == {name for name in state if "blocks." in name and state[name].dim() == 2}
    assert {kept[name].dtype for name in state if name not in in_fp8} == {torch.float16}
    for name in in_fp8:  # three bits behind the point: a sixteenth at most, less on the whole
        apart = float((kept[name].float() - state[name]).norm() / state[name].norm())
        assert 0.0 < apart < 0.04, name


def test_stock_diffusers_and_the_pack_read_the_same_numbers(tmp_path: Path) -> None:
    model = tiny_transformer()
    model.save_pretrained(tmp_path)
    save_small(model.state_dict(), tmp_path, {"format": "pt", "about": "small"})
    own, stock = load_transformer(tmp_path), FluxTransformer2DModel.from_pretrained(tmp_path)
    assert stock.dtype == torch.float32
    expected = small(model.state_dict())
    for name, weight in own.state_dict().items():
        assert torch.equal(weight.float(), expected[name].float()), name
        assert torch.equal(stock.state_dict()[name], expected[name].float()), name
    with safe_open(str(tmp_path / WEIGHTS), "pt") as file:
        assert file.metadata()["about"] == "small"
