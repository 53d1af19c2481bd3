"""Reading the tensors of a checkpoint file without running anything that is in it.

Safetensors are memory-mapped. Pickled checkpoints (.ckpt, .pt, .pth, .bin) go through torch's restricted unpickler
only.
"""

from __future__ import annotations

import json
import math
import pickle
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from ..errors import Bundle3DError

DTYPES = {
    "C64": torch.complex64,
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
PICKLED = (".ckpt", ".pt", ".pth", ".bin")
SAFETENSORS = (".safetensors", ".sft")
# What torch's restricted unpickler says of names other than those of tensors.
SIGNS_OF_CODE = ("GLOBAL", "Can only create new object", "Can only build", "Trying to call reduce")
# What it raises where bytes were changed or lost.
DAMAGE = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, OSError, RuntimeError, struct.error,
    TypeError, ValueError,
)  # fmt: skip
HEADER_BYTES = 100_000_000  # the format's own limit


@dataclass(frozen=True)
class TensorInfo:
    """What a file says of a tensor."""

    dtype: torch.dtype
    shape: tuple[int, ...]


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint on the CPU, by name; pages of the file are read when a tensor is used.

    A pickled checkpoint with a ``state_dict`` in it (Lightning's) gives that one.
    Raises Bundle3DError, naming the file, where it is missing, empty, cut short, no checkpoint, or would run code.
    """
    path = Path(path)
    _check(path)
    if path.suffix.lower() in PICKLED:
        return _unpickle(path, "cpu")
    infos = read_header(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        if any(info.dtype.is_complex for info in infos.values()):
            return _map(path, infos)  # safetensors before 0.7 opens no file with complex numbers
        raise _damaged(path, str(error)) from error


def read_header(path: Path) -> dict[str, TensorInfo]:
    """Type and shape of every tensor of a checkpoint, without its numbers.

    Raises Bundle3DError as ``read_state_dict`` does.
    """
    path = Path(path)
    _check(path)
    if path.suffix.lower() in PICKLED:
        return {name: TensorInfo(tensor.dtype, tuple(tensor.shape)) for name, tensor in _unpickle(path, "meta").items()}
    entries, data_bytes = _safetensors_header(path)
    infos = {name: _tensor_info(path, name, entry) for name, entry in entries.items() if name != "__metadata__"}
    if not infos:
        raise Bundle3DError(
            f"Expected tensors in the checkpoint '{path.name}', but there are none; choose another file."
        )
    _check_extent(
        path, [entry["data_offsets"] for name, entry in entries.items() if name != "__metadata__"], data_bytes
    )
    return infos


def read_metadata(path: Path) -> dict[str, str]:
    """The texts that a safetensors file says beside its tensors; none where it has none or is pickled.

    Raises Bundle3DError as ``read_state_dict`` does.
    """
    path = Path(path)
    _check(path)
    if path.suffix.lower() in PICKLED:
        return {}
    texts = _safetensors_header(path)[0].get("__metadata__", {})
    if not isinstance(texts, dict):
        raise _damaged(path, "its metadata is not a table")
    return {str(name): str(text) for name, text in texts.items()}


def _map(path: Path, infos: Mapping[str, TensorInfo]) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file whose header is known to be sound."""
    entries, data_bytes = _safetensors_header(path)
    size = path.stat().st_size
    content = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
    tensors = {}
    for name, info in infos.items():
        begin, end = (size - data_bytes + int(offset) for offset in entries[name]["data_offsets"])
        own = content[begin:end]
        aligned = own if begin % info.dtype.itemsize == 0 else own.clone()
        tensors[name] = aligned.view(info.dtype).reshape(info.shape)
    return tensors


def _check_extent(path: Path, spans: list[list[int]], data_bytes: int) -> None:
    """Tensors must follow each other without gaps, to the last byte."""
    end = 0
    for begin, after in sorted(spans):
        if begin != end:
            raise _damaged(path, "its tensors overlap or leave gaps")
        end = after
    if end > data_bytes:
        raise Bundle3DError(
            f"Expected {end:,} bytes of tensors in '{path.name}', but the file ends after {data_bytes:,}; "
            "it was cut short, download or copy it again."
        )
    if end < data_bytes:
        raise _damaged(path, f"{data_bytes - end:,} bytes follow its tensors")


def _check(path: Path) -> None:
    if path.is_dir():
        raise Bundle3DError(f"Expected a checkpoint file, but '{path.name}' is a folder; choose a file in it.")
    if not path.is_file():
        raise Bundle3DError(
            f"Expected the checkpoint '{path.name}', but there is no such file; put it there or choose another."
        )
    if path.suffix.lower() not in SAFETENSORS + PICKLED:
        raise Bundle3DError(
            f"Expected a checkpoint as .safetensors (or .ckpt, .pt, .pth, .bin), but '{path.name}' is none of these; "
            "choose the model's safetensors file."
        )
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        raise Bundle3DError(
            f"Expected tensors in the checkpoint '{path.name}', but the file is empty; download it again."
        )
    if start.startswith(b"version https://git-lfs"):
        raise Bundle3DError(
            f"Expected tensors in '{path.name}', but it is only Git LFS's pointer to them; fetch the file itself "
            "(git lfs pull)."
        )
    if start.lstrip()[:1] == b"<":
        raise Bundle3DError(
            f"Expected tensors in '{path.name}', but it holds a web page; download the file again, signed in where "
            "the site asks."
        )


def _safetensors_header(path: Path) -> tuple[dict[str, Any], int]:
    """The entries of a safetensors header, and how many bytes of tensors follow it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= HEADER_BYTES:
            raise _damaged(path, "it does not begin with a safetensors header")
        if size < 8 + length:
            raise _damaged(path, "it ends within its header")
        text = file.read(length)
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "its header is not JSON") from error
    if not isinstance(entries, dict):
        raise _damaged(path, "its header is not a table")
    return entries, size - 8 - length


def _tensor_info(path: Path, name: str, entry: Any) -> TensorInfo:
    try:
        kind, shape = str(entry["dtype"]), tuple(int(length) for length in entry["shape"])
        begin, end = (int(offset) for offset in entry["data_offsets"])
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise _damaged(path, f"its header does not describe the tensor '{name}'") from error
    if kind not in DTYPES:
        raise Bundle3DError(
            f"Expected numbers of a known type in '{path.name}', but '{name}' is {kind}; "
            "use the bf16, fp16 or fp8 file of the model."
        )
    if min(shape, default=0) < 0 or end - begin != math.prod(shape) * DTYPES[kind].itemsize:
        raise _damaged(path, f"the size of the tensor '{name}' is not that of its shape")
    return TensorInfo(DTYPES[kind], shape)


def _unpickle(path: Path, device: str) -> dict[str, torch.Tensor]:
    try:
        # Files from before torch 1.6 are no zip archives and cannot be mapped.
        content = torch.load(
            path, map_location=device, weights_only=True, mmap=zipfile.is_zipfile(path) and device == "cpu"
        )
    except pickle.UnpicklingError as error:
        if not any(sign in str(error) for sign in SIGNS_OF_CODE):
            raise _damaged(path, "it cannot be unpickled") from error
        raise Bundle3DError(
            f"Expected only tensors in '{path.name}', but it asks to run code when it is read, which is refused; "
            "get the model as safetensors."
        ) from error
    except DAMAGE as error:
        raise _damaged(path, "it is not a whole torch file") from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    tensors = (
        {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}
        if isinstance(content, Mapping)
        else {}
    )
    if not tensors:
        raise Bundle3DError(
            f"Expected tensors by name in '{path.name}', but there are none; choose a model's checkpoint."
        )
    return tensors


def _damaged(path: Path, how: str) -> Bundle3DError:
    return Bundle3DError(
        f"Expected a whole checkpoint, but '{path.name}' is damaged: {how}; download or copy it again."
    )
