"""The dimensions of a large reconstruction model, and how they are read off a checkpoint.

Source: specs/kiss3dgen.md sections 5.1 and 5.2.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from ..errors import Bundle3DError

METADATA_KEY = "lrm_config"
HEAD_WIDTH = 64
CAMERA_NUMBERS = 16  # that describe a camera to the model
# What shapes do not tell; a safetensors file may say it in its metadata.
STATED: dict[str, type] = {
    "image_size": int,
    "encoder_heads": int,
    "heads": int,
    "grid_resolution": int,
    "grid_scale": float,
    "camera_distance": float,
    "zero123plus_distance": float,
    "linear_color": bool,
}
# The same of checkpoints that state nothing: PRM's, and without material InstantMesh's.
PRM: dict[str, Any] = {"zero123plus_distance": 3.2}
INSTANT_MESH: dict[str, Any] = {"image_size": 320, "camera_distance": 4.0, "linear_color": False}
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class LrmConfig:
    """The dimensions; the defaults are those of the published PRM checkpoint with the four views of Kiss3DGen.

    ``position_grid`` is the side of the learned grid of positions, ``plane_size`` that of a plane's tokens, which
    ``upscale`` enlarges. The field is sampled at ``grid_resolution`` cubes per side of a cube ``grid_scale`` wide.
    ``camera_distance`` is what the model is told of every view, in its own units, whatever the view's true distance;
    ``zero123plus_distance`` takes its place for the six views of Zero123++, where the model was used otherwise there.
    ``linear_color`` tells whether decoded colours are linear light (PRM) or sRGB (InstantMesh).
    """

    image_size: int = 512
    patch_size: int = 16
    position_grid: int = 14
    encoder_width: int = 768
    encoder_hidden: int = 3072
    encoder_layers: int = 12
    encoder_heads: int = 12
    width: int = 1024
    hidden: int = 4096
    layers: int = 16
    heads: int = 16
    plane_size: int = 32
    upscale: int = 2
    plane_channels: int = 80
    decoder_width: int = 64
    decoder_layers: int = 4
    material: bool = True
    grid_resolution: int = 128
    grid_scale: float = 2.1
    camera_distance: float = 3.5
    zero123plus_distance: float | None = None
    linear_color: bool = True

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self) if field.type != "bool"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}, which is not positive")
        for width, heads in ((self.encoder_width, self.encoder_heads), (self.width, self.heads)):
            if width % heads:
                raise ValueError(f"a width of {width} does not divide into {heads} heads")
        if self.image_size % self.patch_size:
            raise ValueError(f"images of {self.image_size} do not divide into patches of {self.patch_size}")

    def metadata(self) -> dict[str, str]:
        """What a safetensors file of such a model has to say beside its tensors."""
        known = {name: value for name, value in asdict(self).items() if name in STATED and value is not None}
        return {METADATA_KEY: json.dumps(known)}


def config_from_shapes(shapes: Shapes, metadata: Mapping[str, str], path: Path) -> LrmConfig:
    """The dimensions of the model whose tensors (by published name, without prefix) have these shapes.

    Heads are ``HEAD_WIDTH`` wide, and image size, grid and camera distances those of PRM, or of InstantMesh where the
    model knows no material, unless ``metadata`` of the file says otherwise. Raises Bundle3DError, naming the file,
    where the shapes are of no such model.
    """
    try:
        config = _from_shapes(shapes)
        return replace(config, **(_stated(metadata) or (PRM if config.material else INSTANT_MESH)))
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:
        why = f"there is no tensor {error}" if isinstance(error, KeyError) else str(error)
        raise Bundle3DError(
            f"Expected the dimensions of a PRM or InstantMesh model in '{path.name}', but cannot tell them ({why}); "
            "choose prm_final_ckpt.ckpt, a large InstantMesh checkpoint or a model made by this pack."
        ) from error


def _from_shapes(shapes: Shapes) -> LrmConfig:
    vit, blocks, decoder = "encoder.model", "transformer", "synthesizer.decoder.net_sdf"
    encoder_width = shapes[f"{vit}.embeddings.cls_token"][-1]
    width = shapes[f"{blocks}.pos_embed"][-1]
    return LrmConfig(
        patch_size=shapes[f"{vit}.embeddings.patch_embeddings.projection.weight"][-1],
        position_grid=_side(shapes[f"{vit}.embeddings.position_embeddings"][1] - 1),
        encoder_width=encoder_width,
        encoder_hidden=shapes[f"{vit}.encoder.layer.0.intermediate.dense.weight"][0],
        encoder_layers=_count(shapes, f"{vit}.encoder.layer."),
        encoder_heads=max(encoder_width // HEAD_WIDTH, 1),
        width=width,
        hidden=shapes[f"{blocks}.layers.0.mlp.0.weight"][0],
        layers=_count(shapes, f"{blocks}.layers."),
        heads=max(width // HEAD_WIDTH, 1),
        plane_size=_side(shapes[f"{blocks}.pos_embed"][1] // 3),
        upscale=shapes[f"{blocks}.deconv.weight"][-1],
        plane_channels=shapes[f"{blocks}.deconv.weight"][1],
        decoder_width=shapes[f"{decoder}.0.weight"][0],
        decoder_layers=sum(name.startswith(f"{decoder}.") and name.endswith(".weight") for name in shapes),
        material=any(".net_material." in name for name in shapes),
    )


def _count(shapes: Shapes, prefix: str) -> int:
    return len({name.removeprefix(prefix).split(".")[0] for name in shapes if name.startswith(prefix)})


def _side(count: int) -> int:
    side = math.isqrt(count)
    if side * side != count:
        raise ValueError(f"{count} positions are no square")
    return side


def _stated(metadata: Mapping[str, str]) -> dict[str, Any]:
    stated = json.loads(metadata.get(METADATA_KEY, "{}"))
    return {name: kind(stated[name]) for name, kind in STATED.items() if name in stated}
