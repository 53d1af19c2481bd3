"""Checkpoints in the forms that users have: what comes out computes as what went in, all else is refused."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.lrm.cameras import camera_vectors
from bundle3d.pipelines.lrm.load import PREFIX, load_lrm
from bundle3d.pipelines.lrm.model import LargeReconstructionModel
from bundle3d.pipelines.views.rig import named_rig
from bundle3d.tests.lrm.make_small import SMALL, small_model, wave_images
from safetensors.torch import save_file

State = dict[str, torch.Tensor]
HEAD = "synthesizer.decoder.net_sdf.6.bias"


def planes_of(model: LargeReconstructionModel) -> torch.Tensor:
    return model.planes(wave_images(96), camera_vectors(named_rig("lrm"))[None])


def prefixed(state: State) -> State:
    return {PREFIX + name: tensor for name, tensor in state.items()}


def write(path: Path, state: State, metadata: dict[str, str] | None = None) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path, metadata or SMALL.metadata())
    return path


def same_weights(model: LargeReconstructionModel, other: LargeReconstructionModel) -> bool:
    state, truth = model.state_dict(), other.state_dict()
    return state.keys() == truth.keys() and all(torch.equal(state[name], truth[name]) for name in truth)


@pytest.mark.parametrize("form", [dict, prefixed], ids=["plain", "prefixed"])
def test_safetensors_give_the_model_that_was_written(tmp_path: Path, form: Callable[[State], State]) -> None:
    truth = small_model()
    model = load_lrm(write(tmp_path / "small.safetensors", form(truth.state_dict())))
    assert model.config == truth.config
    assert same_weights(model, truth)
    assert torch.equal(planes_of(model), planes_of(truth))
    assert not model.training and not any(weight.requires_grad for weight in model.parameters())


def test_a_training_checkpoint_gives_its_generator(tmp_path: Path) -> None:
    truth = small_model()
    content = {
        "state_dict": prefixed(truth.state_dict()) | {"lpips.net.slice1.0.weight": torch.rand(3, 3)},
        "epoch": 7,
        "optimizer_states": [{"state": {0: {"exp_avg": torch.rand(4)}}}],
    }
    torch.save(content, tmp_path / "final_ckpt.ckpt")
    model = load_lrm(tmp_path / "final_ckpt.ckpt")
    assert same_weights(model, truth)
    assert (model.config.encoder_heads, model.config.heads) == (1, 1)


def test_a_checkpoint_without_material_loads(tmp_path: Path) -> None:
    model = load_lrm(write(tmp_path / "mesh.safetensors", prefixed(small_model(material=False).state_dict())))
    assert model.decoder.net_material is None and not model.config.material


def test_weights_stay_mapped_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bundle3d.pipelines.lrm import load as module

    path = write(tmp_path / "small.safetensors", small_model().state_dict())
    read: State = {}
    original = module.read_state_dict

    def spy(path: Path) -> State:
        read.update(original(path))
        return read

    monkeypatch.setattr(module, "read_state_dict", spy)
    model = load_lrm(path)
    assert all(read[name].data_ptr() == tensor.data_ptr() for name, tensor in model.state_dict().items())


def test_bfloat16_is_close_and_leaves_the_decoders_as_they_are(tmp_path: Path) -> None:
    truth = small_model()
    model = load_lrm(write(tmp_path / "small.safetensors", truth.state_dict()), torch.bfloat16)
    assert model.transformer.pos_embed.dtype == model.encoder.camera_embedder[0].weight.dtype == torch.bfloat16
    assert torch.equal(model.decoder.net_sdf[0].weight, truth.decoder.net_sdf[0].weight)
    planes, expected = planes_of(model), planes_of(truth)
    assert planes.dtype == torch.float32
    assert 0 < float((planes - expected).norm() / expected.norm()) < 0.02


@pytest.mark.parametrize(
    ("stored", "computed"),
    [(torch.float32, torch.float32), (torch.bfloat16, torch.bfloat16), (torch.float16, torch.float32)],
)
def test_the_type_of_the_file_decides_unless_told(tmp_path: Path, stored: torch.dtype, computed: torch.dtype) -> None:
    state = {name: tensor.to(stored) for name, tensor in small_model().state_dict().items()}
    model = load_lrm(write(tmp_path / "small.safetensors", state))
    assert {weight.dtype for weight in model.transformer.parameters()} == {computed}
    assert {weight.dtype for weight in model.decoder.parameters()} == {torch.float32}
    assert torch.isfinite(planes_of(model)).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({HEAD: None}, rf"1 are missing \('{HEAD}' first\); the file is incomplete"),
        ({"encoder.extra": torch.zeros(2)}, r"1 others \('encoder.extra' first\); it is another model"),
        ({HEAD: torch.zeros(2)}, rf"tensor '{HEAD}' .* to be 1, but it is 2; .* choose another"),
        ({HEAD: torch.zeros(1, dtype=torch.int8)}, rf"'{HEAD}' is int8, a quantisation"),
        ({"transformer.pos_embed": None}, "cannot tell them .*; choose prm_final_ckpt.ckpt"),
    ],
)
def test_what_is_not_the_whole_model_is_refused(
    tmp_path: Path, change: dict[str, torch.Tensor | None], said: str
) -> None:
    state = {name: tensor for name, tensor in (small_model().state_dict() | change).items() if tensor is not None}
    with pytest.raises(Bundle3DError, match=said) as refusal:
        load_lrm(write(tmp_path / "odd.safetensors", state))
    assert "'odd.safetensors'" in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_file_that_runs_code_is_refused(tmp_path: Path) -> None:
    (tmp_path / "evil.ckpt").write_bytes(pickle.dumps({"state_dict": print}, protocol=2))
    with pytest.raises(Bundle3DError, match=r"'evil\.ckpt'"):
        load_lrm(tmp_path / "evil.ckpt")


def test_other_number_types_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "small.safetensors", small_model().state_dict())
    with pytest.raises(Bundle3DError, match="float32 or bfloat16"):
        load_lrm(path, torch.float16)


@pytest.mark.parametrize("seed", range(40))
def test_tensors_of_odd_shapes_are_refused_in_a_sentence(tmp_path: Path, seed: int) -> None:
    choose = random.Random(seed)
    state = small_model().state_dict()
    for name in choose.sample(sorted(state), choose.choice((1, 3))):
        tensor = state[name]
        odd = (tensor[:0], tensor[None], tensor.flatten(), torch.tensor(1.0), tensor[..., :1])
        state[name] = choose.choice([other for other in odd if other.shape != tensor.shape])
    with pytest.raises(Bundle3DError) as refusal:
        load_lrm(write(tmp_path / "odd.safetensors", state))
    assert "'odd.safetensors'" in str(refusal.value) and "\n" not in str(refusal.value)
