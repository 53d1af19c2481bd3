"""The small Pixal3D family: a few steps of everything through the command, loaded as any other checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bundle3d.pipelines.diffusion.holder import Resident
from bundle3d.pipelines.pixal3d.conditioning import SeenPictures
from bundle3d.pipelines.pixal3d.decode import decode_shape, decode_texture
from bundle3d.pipelines.pixal3d.load import held, load_decoders, load_flows
from bundle3d.pipelines.pixal3d.load_pictures import load_feature_upsampler, load_image_encoder
from bundle3d.pipelines.pixal3d.models import PictureModels, Pixal3DModels
from bundle3d.pipelines.pixal3d.sample import sample_shape, sample_structure, sample_texture
from bundle3d.pipelines.pixal3d.sampler import Sampling
from bundle3d.pipelines.runner.command import main
from bundle3d.pipelines.training.demo_pixal3d import PARTS
from bundle3d.pipelines.training.demo_pixal3d_models import (
    PICTURE_FILE,
    SAMPLINGS,
    SHAPE_DECODER,
    SHAPE_FLOW,
    SIGHTS,
    STRUCTURE_DECODER,
    STRUCTURE_FLOW,
    TEXTURE_DECODER,
    TEXTURE_FLOW,
)
from bundle3d.pipelines.training.placed_objects import PlacedPictures

OBJECTS, STEPS = 2, 2
QUICK = Sampling(steps=1, guidance=1.0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The work folder and the target of a run of a few steps."""
    folder = tmp_path_factory.mktemp("pixal3d")
    work, target = folder / "work", folder / "demo"
    call = ["train", "pixal3d-demo", "--work", str(work), "--out", str(target), "--objects", str(OBJECTS)]
    for part in PARTS:
        call += [f"--{part.replace('_', '-')}-steps", str(STEPS)]
    assert main(call) == 0
    return work, target


@pytest.fixture(scope="module")
def models(run: tuple[Path, Path]) -> Pixal3DModels:
    target = run[1]
    seeing = (load_image_encoder(target / PICTURE_FILE, torch.float32), load_feature_upsampler(target / PICTURE_FILE))
    return held(
        load_flows(target),
        load_decoders(target, dtype=torch.float32),
        PictureModels(*(Resident(network) for network in seeing)),
        Resident,
        Resident,
    )


def test_the_files_load_with_their_dimensions_and_settings(models: Pixal3DModels) -> None:
    flows = {"structure": STRUCTURE_FLOW, "shape": SHAPE_FLOW, "texture": TEXTURE_FLOW}
    for stage, config in flows.items():
        part = getattr(models, stage)
        assert (part.flow.module.config, part.sampling, part.sight) == (config, SAMPLINGS[stage], SIGHTS[stage])
    assert models.structure_decoder.module.config == STRUCTURE_DECODER
    assert models.shape_decoder.module.config == SHAPE_DECODER
    assert models.texture_decoder is not None and models.texture_decoder.module.config == TEXTURE_DECODER
    assert models.fine_shape is None and models.coarse_resolution == models.resolution == 128
    assert models.has_texture(128)


def test_one_set_of_flows_serves_one_view_and_several(run: tuple[Path, Path]) -> None:
    single, several = (load_flows(run[1], multiview=multiview, stages=("structure", "shape")) for multiview in (0, 1))
    assert several.multiview and single.settings == several.settings


def test_all_weights_together_are_small(run: tuple[Path, Path]) -> None:
    assert sum(file.stat().st_size for file in run[1].rglob("*.safetensors")) < 7_100_000


def test_the_record_holds_every_log_and_curve(run: tuple[Path, Path]) -> None:
    expected = {f"{part}.{kind}" for part in PARTS for kind in ("jsonl", "png")} | {"options.json"}
    assert {path.name for path in (run[1] / "training").iterdir()} == expected


def test_its_stages_fit_together(run: tuple[Path, Path], models: Pixal3DModels) -> None:
    work = run[0] / "pixal3d"
    seen = [SeenPictures(models.pictures, PlacedPictures(work / "pictures" / "00001.png", "", 1, 0).pictures())]
    generator = torch.Generator().manual_seed(0)
    latents = sample_structure(models, seen, generator, QUICK)
    assert latents.shape == (1, 8, 8, 8, 8)
    side = torch.arange(3, 9, dtype=torch.int32)
    coords = torch.nn.functional.pad(torch.cartesian_prod(side, side, side), (1, 0))
    shape = sample_shape(models, seen, coords, generator, QUICK)
    decoded = decode_shape(models, shape)
    material = decode_texture(models, sample_texture(models, seen, shape, generator, QUICK), decoded)
    assert decoded.grids[0].resolution == 128
    assert material.features.shape == (len(decoded.grids[0].coords), 6)


def test_a_part_of_other_options_is_refused(run: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    call = ["train", "pixal3d-demo", "--work", str(run[0]), "--out", str(run[1]), "--objects", str(OBJECTS)]
    assert main([*call, "--structure-decoder-steps", str(STEPS + 1)]) == 2
    assert "choose another folder" in capsys.readouterr().err
