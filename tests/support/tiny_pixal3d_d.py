"""A Pixal3D-D family of random weights that computes in seconds, in the files that users have."""

from __future__ import annotations

import json
from pathlib import Path

from bundle3d.tests.pixal3d.direct3d_s2.make_small import small_models
from bundle3d.tests.pixal3d.direct3d_s2.write_folder import write_folder
from bundle3d.tests.pixal3d.write_files import write_state

FOLDER, ENCODER, UPSAMPLER = "TinyPixal3D-D", "TinyDINOv2", "tiny_naf.safetensors"
RESOLUTION = 64


def save_tiny_pixal3d_d(models_folder: Path) -> None:
    """Writes the published folder, with a flow for scales, and what sees pictures beside it."""
    models = small_models(scale_flow=small_models().structure.flow)
    write_folder(models_folder / FOLDER, models)
    encoder = models.encoder.module
    write_state(models_folder / ENCODER / "model.safetensors", dict(encoder.state_dict()))
    settings = json.dumps({"model_type": "dinov2_with_registers"})
    (models_folder / ENCODER / "config.json").write_text(settings, encoding="utf-8")
    assert models.upsampler is not None
    write_state(models_folder / UPSAMPLER, dict(models.upsampler.module.state_dict()))
