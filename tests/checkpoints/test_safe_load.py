"""Reading checkpoints: whole ones come out as they are, all else is refused in a sentence."""

from __future__ import annotations

import json
import pickle
import random
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from bundle3d.pipelines.checkpoints import safe_load
from bundle3d.pipelines.checkpoints.safe_load import TensorInfo, read_header, read_metadata, read_state_dict
from bundle3d.pipelines.errors import Bundle3DError
from safetensors import SafetensorError
from safetensors.torch import save_file

TYPES = [
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.float64,
    torch.int64,
    torch.int32,
    torch.int8,
    torch.uint8,
    torch.bool,
]


def tensors() -> dict[str, torch.Tensor]:
    noise = torch.Generator().manual_seed(0)
    state = {str(dtype): (torch.randn(3, 5, generator=noise) * 3).to(dtype) for dtype in TYPES}
    return state | {"number": torch.tensor(2.5), "none": torch.zeros(0, 4)}


def same(state: Mapping[str, torch.Tensor], truth: Mapping[str, torch.Tensor]) -> bool:
    return state.keys() == truth.keys() and all(
        tensor.dtype == truth[name].dtype and torch.equal(tensor.double(), truth[name].double())
        for name, tensor in state.items()
    )


def refusal(path: Path) -> str:
    """The one sentence with which both readers refuse ``path``."""
    sentences = set()
    for read in (read_state_dict, read_header):
        with pytest.raises(Bundle3DError) as error:
            read(path)
        sentences.add(str(error.value))
    (sentence,) = sentences
    assert path.name in sentence and "\n" not in sentence and sentence.endswith(".")
    return sentence


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_file(tensors(), str(tmp_path / "model.safetensors"), metadata={"format": "pt"})
    return tmp_path / "model.safetensors"


def write_header(path: Path, header: object, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def test_safetensors(file: Path) -> None:
    assert same(read_state_dict(file), tensors())
    assert read_header(file) == {
        name: TensorInfo(tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors().items()
    }


@pytest.mark.parametrize("odd", [2, 3])
def test_complex_numbers_are_read_where_safetensors_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: int
) -> None:
    halves, phases = torch.arange(odd).half(), torch.randn(2, 3, dtype=torch.complex64)
    data = [bytes(tensor.flatten().view(torch.uint8).tolist()) for tensor in (halves, phases)]
    first, end = len(data[0]), len(data[0]) + len(data[1])
    header = {
        "halves": {"dtype": "F16", "shape": [odd], "data_offsets": [0, first]},
        "phases": {"dtype": "C64", "shape": [2, 3], "data_offsets": [first, end]},
    }
    file = write_header(tmp_path / "phases.safetensors", header, b"".join(data))

    def unable(*_: object, **__: object) -> None:
        raise SafetensorError("unknown variant `C64`")

    monkeypatch.setattr(safe_load, "safe_open", unable)
    state = read_state_dict(file)
    assert torch.equal(state["halves"], halves) and torch.equal(state["phases"], phases)
    assert read_header(file)["phases"] == TensorInfo(torch.complex64, (2, 3))


def test_metadata(file: Path, tmp_path: Path) -> None:
    assert read_metadata(file) == {"format": "pt"}
    save_file(tensors(), str(tmp_path / "bare.safetensors"))
    assert read_metadata(tmp_path / "bare.safetensors") == {}
    torch.save(tensors(), tmp_path / "pickled.ckpt")
    assert read_metadata(tmp_path / "pickled.ckpt") == {}
    with pytest.raises(Bundle3DError, match=r"'odd\.safetensors' is damaged: its metadata is not a table"):
        read_metadata(write_header(tmp_path / "odd.safetensors", {"__metadata__": ["format"]}))


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("ending", [".ckpt", ".pt", ".pth", ".bin"])
def test_pickled(tmp_path: Path, ending: str, legacy: bool) -> None:
    path = tmp_path / f"model{ending}"
    # The format of before torch 1.6 knows no float8.
    state = {name: tensor for name, tensor in tensors().items() if not (legacy and "float8" in name)}
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    assert same(read_state_dict(path), state)
    assert read_header(path) == {name: TensorInfo(tensor.dtype, tuple(tensor.shape)) for name, tensor in state.items()}


def test_lightning(tmp_path: Path) -> None:
    path = tmp_path / "final_ckpt.ckpt"
    torch.save({"state_dict": tensors(), "epoch": 3, "hyper_parameters": {"lr": 1e-4}}, path)
    assert same(read_state_dict(path), tensors())


def test_every_cut_is_refused(file: Path, tmp_path: Path) -> None:
    data = file.read_bytes()
    cut = tmp_path / "cut.safetensors"
    for length in [*range(1, 24), *range(24, len(data), 37), len(data) - 1]:
        cut.write_bytes(data[:length])
        sentence = refusal(cut)
        assert "cut short" in sentence or "damaged" in sentence


def test_cut_pickles_are_refused(tmp_path: Path) -> None:
    whole = tmp_path / "whole.ckpt"
    torch.save(tensors(), whole)
    data = whole.read_bytes()
    for share in (0.01, 0.3, 0.6, 0.99):
        cut = tmp_path / "cut.ckpt"
        cut.write_bytes(data[: int(share * len(data))])
        assert "damaged" in refusal(cut)


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("how", ["torch", "plain"])
def test_code_is_refused_and_not_run(tmp_path: Path, how: str, legacy: bool) -> None:
    path, trace = tmp_path / "evil.ckpt", tmp_path / "trace"
    content = {"weight": torch.zeros(2), "extra": Malicious(trace)}
    if how == "torch":
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    else:
        path.write_bytes(pickle.dumps({"extra": Malicious(trace)}))
    sentence = refusal(path)
    assert "asks to run code" in sentence or (how == "plain" and "damaged" in sentence)
    assert not trace.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("kind", ["safetensors", "pickled", "pickled before torch 1.6"])
def test_changed_bytes_are_refused_or_harmless(tmp_path: Path, kind: str) -> None:
    """Whatever stands in a file, reading it ends with tensors or with a sentence."""
    path = tmp_path / ("model.safetensors" if kind == "safetensors" else "model.pt")
    if kind == "safetensors":
        save_file(tensors(), str(path))
    else:
        torch.save(
            {"a": torch.ones(3, 2), "b": torch.arange(4)}, path, _use_new_zipfile_serialization=kind == "pickled"
        )
    whole = path.read_bytes()
    noise = random.Random(0)
    refused = 0
    for _ in range(150):
        changed = bytearray(whole)
        for _ in range(noise.choice((1, 2, 8))):
            changed[noise.randrange(min(len(changed), 700))] = noise.randrange(256)
        path.write_bytes(changed)
        for read in (read_state_dict, read_header):
            try:
                read(path)
            except Bundle3DError:
                refused += 1
    assert refused > 50


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    def made(name: str, data: bytes) -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    assert "no such file" in refusal(tmp_path / "none.safetensors")
    assert "is a folder" in refusal(tmp_path)
    assert "is empty" in refusal(made("empty.safetensors", b""))
    assert "is empty" in refusal(made("empty.ckpt", b""))
    assert "web page" in refusal(made("page.safetensors", b"<!DOCTYPE html><html>Sign in</html>"))
    assert "Git LFS" in refusal(
        made("pointer.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    )
    assert "is none of these" in refusal(made("flux.gguf", b"GGUF0000"))
    assert "damaged" in refusal(made("noise.safetensors", bytes(range(256)) * 4))
    assert "damaged" in refusal(made("noise.ckpt", bytes(range(256)) * 4))
    assert "there are none" in refusal(write_header(tmp_path / "bare.safetensors", {"__metadata__": {"format": "pt"}}))


@pytest.mark.parametrize("content", [{"epoch": 3}, [torch.zeros(1)], torch.zeros(2), {"state_dict": {}}])
def test_pickles_without_named_tensors(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "model.pt")
    assert "there are none" in refusal(tmp_path / "model.pt")


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1]},
        {"dtype": "F32", "shape": ["a"], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [float("inf")], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": 4},
        {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]},
        {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]},
        "text",
        [1],
        None,
    ],
)
def test_headers_that_lie(tmp_path: Path, entry: object) -> None:
    assert "damaged" in refusal(write_header(tmp_path / "odd.safetensors", {"weight": entry}, b"\0" * 8))


def test_other_odd_headers(tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    assert "damaged" in refusal(write_header(path, b"[1, 2]"))
    assert "damaged" in refusal(write_header(path, b"{ not JSON"))
    assert "damaged" in refusal(write_header(path, b"\xff\xfe{}"))
    assert "damaged" in refusal(write_header(path, b"[" * 200_000))
    path.write_bytes(struct.pack("<Q", 1 << 62) + b"{}")
    assert "damaged" in refusal(path)
    entry = {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}
    assert "'weight' is F4; use the bf16, fp16 or fp8 file" in refusal(write_header(path, {"weight": entry}, b"\0"))
