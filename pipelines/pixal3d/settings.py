"""What pipeline.json of a Pixal3D folder says beside the names of its files.

Source: specs/pixal3d.md sections 0.1 and 0.2. ``image_conditions`` is this pack's: what each stage of a small model
sees of pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..diffusion.loading.source import read_json
from ..errors import Bundle3DError
from .models import DEFAULTS, Sight
from .normalisation import SHAPE_NORMALISATION, TEXTURE_NORMALISATION, Normalisation
from .sampler import Sampling

SINGLE, SEVERAL = "pipeline.json", "pipeline_mv.json"
# The stages and decoders by their names in the file.
FLOWS = {
    "structure": "sparse_structure_flow_model",
    "shape": "shape_slat_flow_model_512",
    "fine_shape": "shape_slat_flow_model_1024",
    "texture": "tex_slat_flow_model_1024",
}
DECODERS = {"structure": "sparse_structure_decoder", "shape": "shape_slat_decoder", "texture": "tex_slat_decoder"}
SAMPLERS = {
    "structure": "sparse_structure_sampler",
    "shape": "shape_slat_sampler",
    "fine_shape": "shape_slat_sampler",
    "texture": "tex_slat_sampler",
}


@dataclass(frozen=True)
class Settings:
    """``stems``: the path of each model below the folder, without ending, by its name in the file."""

    stems: Mapping[str, str]
    samplings: Mapping[str, Sampling]
    sights: Mapping[str, Sight]
    shape_normalisation: Normalisation
    texture_normalisation: Normalisation


DEFAULT_SETTINGS = Settings(
    stems={},
    samplings={stage: sampling for stage, (sampling, _) in DEFAULTS.items()},
    sights={stage: sight for stage, (_, sight) in DEFAULTS.items()},
    shape_normalisation=SHAPE_NORMALISATION,
    texture_normalisation=TEXTURE_NORMALISATION,
)


def read_settings(folder: Path, multiview: bool = False) -> Settings:
    """The settings in a folder, for several views from pipeline_mv.json.

    Raises Bundle3DError where the file is missing or makes no sense.
    """
    file = folder / (SEVERAL if multiview else SINGLE)
    if not file.is_file():
        raise Bundle3DError(
            f"Expected '{file.name}' in the folder '{folder.name}', but there is none; choose the folder of Pixal3D, "
            f"with its {'flows for several views' if multiview else 'settings'}."
        )
    content = read_json(file)
    try:
        settings = content.get("args", content)
        models = {str(name): str(stem) for name, stem in settings["models"].items()}
        return Settings(
            stems=models,
            samplings={stage: _sampling(settings.get(name), stage) for stage, name in SAMPLERS.items()},
            sights={stage: _sight(settings.get("image_conditions", {}).get(stage), stage) for stage in SAMPLERS},
            shape_normalisation=_normalisation(settings.get("shape_slat_normalization"), SHAPE_NORMALISATION),
            texture_normalisation=_normalisation(settings.get("tex_slat_normalization"), TEXTURE_NORMALISATION),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, Bundle3DError):
            raise
        raise Bundle3DError(
            f"Expected the models, samplers and normalisation of Pixal3D in '{folder.name}/{file.name}', but it says "
            f"otherwise ({type(error).__name__}: {error}); download the file again."
        ) from error


def _sampling(stated: Mapping[str, Any] | None, stage: str) -> Sampling:
    default = DEFAULTS[stage][0]
    if stated is None:
        return default
    values = stated.get("params", {})
    low, high = values.get("guidance_interval", default.interval)
    return Sampling(
        steps=int(values.get("steps", default.steps)),
        guidance=float(values.get("guidance_strength", default.guidance)),
        rescale=float(values.get("guidance_rescale", default.rescale)),
        interval=(float(low), float(high)),
        shift=float(values.get("rescale_t", default.shift)),
        sigma_min=float(stated.get("args", {}).get("sigma_min", default.sigma_min)),
    )


def _sight(stated: Mapping[str, Any] | None, stage: str) -> Sight:
    if stated is None:
        return DEFAULTS[stage][1]
    upsampled = stated.get("upsampled")
    return Sight(int(stated["size"]), None if upsampled is None else int(upsampled))


def _normalisation(stated: Mapping[str, Any] | None, default: Normalisation) -> Normalisation:
    if stated is None:
        return default
    return Normalisation(*(tuple(float(value) for value in stated[name]) for name in ("mean", "std")))
