"""What the config.json files in a folder of Pixal3D-D say. Source: specs/pixal3d.md section 1.4."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ...diffusion.loading.source import read_json
from ...errors import Bundle3DError
from .sampling import TwiceShiftedSampling, published_sampling

# The folders of the stages.
STAGES = {"structure": "dense", "coarse": "sparse512", "fine": "sparse1024"}
SETTINGS, WEIGHTS = "config.json", "model.safetensors"
SCALE_FLOW = "scale_init"  # beside the parts of the structure's stage
SCHEDULER = "FlowMatchEulerDiscreteScheduler"
PROJECTED = "proj"  # as opposed to what Direct3D-S2 itself does with pictures
Read = TypeVar("Read")


@dataclass(frozen=True)
class Sight:
    """What a stage sees: pictures of ``size`` pixels a side, projected onto ``resolution``^3 voxels, ``upsampled`` or
    not."""

    size: int
    resolution: int
    upsampled: bool


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings of the network in ``folder``; raises Bundle3DError where there are none or they are of another kind.

    Pictures that Direct3D-S2 itself is shown are another kind: its flows have no place for projected ones.
    """
    settings = read_json(folder / SETTINGS)
    mode = settings.get("image_attn_mode", PROJECTED)
    if mode != PROJECTED:
        raise _unexpected(folder, f"image_attn_mode '{PROJECTED}'", repr(mode))
    return settings


def read_sampling(folder: Path, stage: str) -> TwiceShiftedSampling:
    """How the stage in ``folder`` is sampled, of its scheduler's settings; raises Bundle3DError for another one."""
    content = read_json(folder / "scheduler" / SETTINGS)
    name = str(content.get("scheduler_class", "")).rpartition(".")[2]
    if name != SCHEDULER:
        raise _unexpected(folder / "scheduler", SCHEDULER, repr(name))
    settings = content.get("scheduler_config", {})
    if not isinstance(settings, Mapping) or settings.get("use_dynamic_shifting"):
        raise _unexpected(folder / "scheduler", "a fixed shift", "another one")
    return _read(folder / "scheduler", lambda: published_sampling(stage, float(settings.get("shift", 1.0))))


def read_sight(folder: Path) -> Sight:
    """What the stage in ``folder`` sees, of its conditioner's settings; raises Bundle3DError where they say nothing."""
    content = read_json(folder / "conditioner" / SETTINGS)
    settings = content.get("config", {})
    return _read(
        folder / "conditioner",
        lambda: Sight(
            size=int(settings.get("size", 518)),
            resolution=int(settings["grid_resolution"]),
            upsampled=bool(settings.get("use_upsample", False)),
        ),
    )


def _read(folder: Path, read: Callable[[], Read]) -> Read:
    try:
        return read()
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, Bundle3DError):
            raise
        raise _unexpected(folder, "the settings of Pixal3D-D", f"({type(error).__name__}: {error})") from error


def _unexpected(folder: Path, wanted: str, found: str) -> Bundle3DError:
    return Bundle3DError(
        f"Expected {wanted} in '{folder.parent.name}/{folder.name}/{SETTINGS}', but it says {found}; download the "
        "folder of Pixal3D-D again."
    )
