"""The small multi-view model: its data, a few steps of everything, resumed, and views drawn with it by the pack."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from bundle3d.pipelines.diffusion.holder import Resident
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.normalise import normalise
from bundle3d.pipelines.multiview.draw import ViewRequest, draw_views
from bundle3d.pipelines.multiview.loading import load_multiview
from bundle3d.pipelines.rendering.render_views import render_views
from bundle3d.pipelines.runner.command import main
from bundle3d.pipelines.training.captions import draw_subject
from bundle3d.pipelines.training.demo_models import new_vae
from bundle3d.pipelines.training.demo_multiview import MultiviewOptions, train_demo_multiview
from bundle3d.pipelines.training.demo_multiview_models import new_unet, new_vision_encoder, read_low_contrast
from bundle3d.pipelines.training.multiview_dataset import EXTENT, picture_of, write_pictured_objects
from bundle3d.pipelines.training.shapes import build
from bundle3d.pipelines.views.rig import named_rig
from diffusers import AutoencoderKL, UNet2DConditionModel
from scipy.spatial.transform import Rotation

OPTIONS = MultiviewOptions(objects=3, vae_steps=1, unet_steps=2)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The work folder and the model's folder of a run of a few steps, made by the command."""
    folder = tmp_path_factory.mktemp("multiview")
    torch.manual_seed(0)
    vae = new_vae()
    vae.register_to_config(shift_factor=0.1, scaling_factor=1.1)
    vae.save_pretrained(folder / "vae")
    new_vae().save_pretrained(folder / "work" / "vae" / "finished")  # the demo family's, in a folder that both share
    arguments = ["train", "multiview-demo", "--work", str(folder / "work"), "--out", str(folder / "model")]
    counts = ["--objects", "3", "--vae-steps", "1", "--unet-steps", "2"]
    assert main([*arguments, *counts, "--vae", str(folder / "vae")]) == 0
    return folder / "work", folder / "model"


def test_the_pack_draws_with_the_folder(made: tuple[Path, Path]) -> None:
    models = load_multiview(made[1], dtype=torch.float32).held(Resident, Resident, Resident)
    picture = draw_views(models, ViewRequest(torch.rand(90, 90, 3), steps=2))
    assert picture.shape == (256, 256, 3) and bool(torch.isfinite(picture).all())


def test_stock_diffusers_opens_its_parts(made: tuple[Path, Path]) -> None:
    unet, vae = UNet2DConditionModel.from_pretrained(made[1] / "unet"), AutoencoderKL.from_pretrained(made[1] / "vae")
    assert unet.config.in_channels == vae.config.latent_channels
    assert {path.name for path in (made[1] / "training").iterdir()} == {
        "options.json", "vae.jsonl", "vae.png", "unet.jsonl", "unet.png",
    }  # fmt: skip


def test_a_finished_run_is_not_done_again_and_another_one_is_refused(made: tuple[Path, Path], tmp_path: Path) -> None:
    work, target = made
    train_demo_multiview(work, tmp_path / "again", tmp_path / "no vae needed", OPTIONS)
    for part in ("unet", "vae", "vision_encoder", "text_encoder"):
        (file,) = (tmp_path / "again" / part).glob("*.safetensors")
        assert file.read_bytes() == (target / part / file.name).read_bytes()
    with pytest.raises(Bundle3DError, match="same options"):
        train_demo_multiview(work, tmp_path / "other", tmp_path / "vae", MultiviewOptions(objects=4))
    with pytest.raises(Bundle3DError, match="bundle3d train demo"):
        train_demo_multiview(tmp_path / "new", tmp_path / "other", tmp_path / "no vae", MultiviewOptions(objects=1))


def test_the_autoencoder_is_its_own_in_a_folder_that_it_shares(made: tuple[Path, Path]) -> None:
    drawn = AutoencoderKL.from_pretrained(made[1] / "vae").decoder.conv_out.weight
    own, other = (
        AutoencoderKL.from_pretrained(made[0] / place / "finished").decoder.conv_out.weight
        for place in ("multiview/vae", "vae")
    )
    torch.testing.assert_close(drawn.float(), own, rtol=2e-3, atol=1e-5)
    assert float((drawn - other).abs().max()) > 0.01


@pytest.mark.parametrize(("seed", "faces"), [(3, True), (7, False)])
def test_a_row_is_the_picture_and_the_views_around_it(seed: int, faces: bool, tmp_path: Path) -> None:
    drawn = write_pictured_objects(tmp_path, 1, 128, seed)[0]
    generator = np.random.default_rng((seed, 2, 0))
    mesh = normalise(build(draw_subject(generator), generator), EXTENT)
    assert (generator.random() < 0.6) is faces, "whether it faces the camera or is turned away from it"
    if not faces:  # from the front toward the object's own left
        turn = torch.from_numpy(Rotation.from_euler("y", generator.uniform(0, 360), degrees=True).as_matrix()).float()
        assert mesh.normals is not None
        mesh = mesh.with_(vertices=mesh.vertices @ turn.T, normals=mesh.normals @ turn.T)
    views = render_views(mesh, named_rig("kiss3dgen"), 128).rgb
    tiles = drawn.tiles()
    assert tiles.shape == (5, 128, 128, 3)
    assert float((tiles[1:] - views).abs().mean()) < 0.003 < 0.01 < float((tiles[1:] - views.roll(1, 0)).abs().mean())
    grid = drawn.image()
    assert torch.equal(grid[128:, 128:], tiles[1])  # the front, bottom right
    assert torch.equal(grid[:128, :128], tiles[2])


def test_the_autoencoder_reads_pixels_of_lower_contrast_as_it_read_full_ones() -> None:
    torch.manual_seed(0)
    vae = new_vae().eval()
    pixels = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        latents, decoded = vae.encode(pixels).latent_dist.mean, vae(pixels).sample
        read_low_contrast(vae)
        torch.testing.assert_close(vae.encode(0.625 * pixels).latent_dist.mean, latents, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(vae(0.625 * pixels).sample, 0.625 * decoded, rtol=1e-4, atol=1e-4)


def test_pictures_are_framed_like_photos() -> None:
    generator = np.random.default_rng(5)
    picture = picture_of(normalise(build(draw_subject(generator), generator), 1.0), 5.0, 128)
    seen = (picture < 0.9).any(dim=-1)
    rows, columns = torch.nonzero(seen.any(1))[:, 0], torch.nonzero(seen.any(0))[:, 0]
    sides = [int(places.max() - places.min()) + 1 for places in (rows, columns)]
    assert max(sides) == pytest.approx(0.85 * 128, abs=3)
    for places in (rows, columns):
        assert int(places.max() + places.min()) / 2 == pytest.approx(63.5, abs=2)


def test_the_networks_are_small() -> None:
    count = sum(weight.numel() for module in (new_unet(32), new_vision_encoder()) for weight in module.parameters())
    assert count < 5_500_000
