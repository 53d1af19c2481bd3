"""Each part of the small Pixal3D family learns, and goes on after a break as if there had been none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from bundle3d.pipelines.diffusion.holder import Resident
from bundle3d.pipelines.pixal3d.config import StructureDecoderConfig, VoxelDecoderConfig
from bundle3d.pipelines.pixal3d.flow_transformer import FlowTransformer
from bundle3d.pipelines.pixal3d.models import PictureModels, Sight
from bundle3d.pipelines.pixal3d.sample import every_voxel
from bundle3d.pipelines.progress import Progress, silent
from bundle3d.pipelines.training import picture_features, structure_autoencoder, voxel_autoencoder, voxel_flow
from bundle3d.pipelines.training.encoded_objects import encode_objects
from bundle3d.pipelines.training.loop import LOG, LoopOptions
from bundle3d.pipelines.training.loss_curve import read_losses
from bundle3d.pipelines.training.picture_features import PictureReader, train_pictures, write_surfaces
from bundle3d.pipelines.training.placed_objects import PlacedPictures, placed_object, write_placed_pictures
from bundle3d.pipelines.training.placed_voxels import MATERIAL, batched, material_grid, voxel_tree
from bundle3d.pipelines.training.structure_autoencoder import StructureAutoencoder, train_structure_autoencoder
from bundle3d.pipelines.training.voxel_autoencoder import VoxelAutoencoder
from bundle3d.pipelines.training.voxel_flow import FlowExample, train_flow, write_seen
from bundle3d.tests.pixal3d.make_small import ENCODER, STRUCTURE, UPSAMPLER

OPTIONS = LoopOptions(steps=4, learning_rate=3e-3, warmup=1, average=0.5, log_every=1, save_every=2)
LONGER = replace(OPTIONS, steps=20, learning_rate=1e-2, log_every=5)
PATIENCE = {"structures": 4}  # how many times longer a part needs to be seen learning
SIZE, VOXELS = 32, 16
Train = Callable[[torch.nn.Module, Path, LoopOptions, Progress], None]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[PlacedPictures]:
    return write_placed_pictures(tmp_path_factory.mktemp("placed"), 2, SIZE)


@pytest.fixture(scope="module")
def surfaces(pictures: list[PlacedPictures], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("surfaces")
    files = [folder / f"{pictured.index}.npy" for pictured in pictures]
    for file, pictured in zip(files, pictures):
        write_surfaces(file, pictured.placed, SIZE)
    return files


@pytest.fixture(scope="module")
def examples(pictures: list[PlacedPictures], tmp_path_factory: pytest.TempPathFactory) -> list[FlowExample]:
    folder = tmp_path_factory.mktemp("seen")
    reader = new_reader()
    models = PictureModels(Resident(reader.encoder), Resident(reader.upsampler))
    coords = every_voxel(1, STRUCTURE.resolution)[:, 1:]
    found = []
    for pictured in pictures:
        file = folder / f"{pictured.index}.safetensors"
        write_seen(file, models, pictured.pictures(), Sight(SIZE), coords, STRUCTURE.resolution)
        found.append(FlowExample(file, torch.full((len(coords), 8), float(pictured.index))))
    return found


@pytest.fixture(autouse=True)
def small_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voxel_autoencoder, "RESOLUTION", VOXELS)
    monkeypatch.setattr(picture_features, "PIXELS", 64)
    for module in (picture_features, structure_autoencoder):
        monkeypatch.setattr(module, "BATCH", 2)
    monkeypatch.setattr(structure_autoencoder, "RESOLUTION", 16)


def new_reader() -> PictureReader:
    torch.manual_seed(0)
    return PictureReader(ENCODER, UPSAMPLER)


def new_structures() -> StructureAutoencoder:
    torch.manual_seed(0)
    return StructureAutoencoder(StructureDecoderConfig(channels=(16, 8, 8), blocks=1, middle_blocks=1))


def new_voxels(outputs: int) -> VoxelAutoencoder:
    torch.manual_seed(0)
    shapes = outputs == 7
    config = VoxelDecoderConfig(
        latent_channels=4, out_channels=outputs, channels=(16, 16, 8, 8), blocks=(1, 0, 0, 0), subdivides=shapes
    )
    return VoxelAutoencoder(config, 6, unit=not shapes)


def new_flow() -> FlowTransformer:
    torch.manual_seed(0)
    return FlowTransformer(STRUCTURE)


def balls() -> list[torch.Tensor]:
    """Occupied shells in a lattice of structures."""
    side = torch.linspace(-1, 1, structure_autoencoder.RESOLUTION)
    radius = torch.stack(torch.meshgrid(side, side, side, indexing="ij")).norm(dim=0)
    return [(radius - size).abs() < 0.1 for size in (0.5, 0.8)]


def stages(request: pytest.FixtureRequest) -> dict[str, tuple[Callable[[], torch.nn.Module], Train]]:
    """How each part is made and trained."""
    pictures, surfaces, examples = (request.getfixturevalue(name) for name in ("pictures", "surfaces", "examples"))
    return {
        "structures": (new_structures, lambda m, f, o, p: train_structure_autoencoder(m, balls(), f, o, 0, p)),  # type: ignore[arg-type]
        "pictures": (new_reader, lambda m, f, o, p: train_pictures(m, pictures, surfaces, f, o, 0, p)),  # type: ignore[arg-type]
        "shapes": (
            lambda: new_voxels(7),
            lambda m, f, o, p: voxel_autoencoder.train_shape_autoencoder(m, 2, f, o, 0, p),  # type: ignore[arg-type]
        ),
        "materials": (
            lambda: new_voxels(6),
            lambda m, f, o, p: voxel_autoencoder.train_texture_autoencoder(m, 2, f, o, 0, p),  # type: ignore[arg-type]
        ),
        "flow": (
            new_flow,
            lambda m, f, o, p: train_flow(m, examples, 2, voxel_flow.early_times, f, o, 0, p),  # type: ignore[arg-type]
        ),
    }


PARTS = ("structures", "pictures", "shapes", "materials", "flow")


@pytest.mark.parametrize("part", PARTS)
def test_a_broken_off_part_goes_on_as_if_it_had_not(part: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    make, train = stages(request)[part]
    whole = make()
    train(whole, tmp_path / "whole", OPTIONS, silent)

    def stop(done: int, total: int, preview: object = None) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(make(), tmp_path / "broken", OPTIONS, stop)
    again = make()
    train(again, tmp_path / "broken", OPTIONS, silent)
    expected = whole.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in again.state_dict().items())


@pytest.mark.parametrize("part", [part for part in PARTS if part != "materials"])  # those take some hundred steps
def test_a_part_learns(part: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    make, train = stages(request)[part]
    train(make(), tmp_path, replace(LONGER, steps=LONGER.steps * PATIENCE.get(part, 1)), silent)
    losses = [loss for _, loss in read_losses(tmp_path / LOG)]
    assert losses[-1] < 0.9 * losses[0]


def test_latents_of_structures_have_a_deviation_of_one_afterwards(tmp_path: Path) -> None:
    model = new_structures()
    train_structure_autoencoder(model, balls(), tmp_path, OPTIONS)
    with torch.no_grad():
        latents = model.latents(torch.stack(balls()))
    torch.testing.assert_close(latents.std(dim=(0, 2, 3, 4)), torch.ones(8), atol=1e-4, rtol=0)
    torch.testing.assert_close(latents.mean(dim=(0, 2, 3, 4)), torch.zeros(8), atol=1e-4, rtol=0)


def test_encoded_objects_lie_at_the_voxels_that_a_shape_is_sampled_at() -> None:
    encoded = encode_objects(new_voxels(7), voxel_autoencoder.shape_features, 2, VOXELS, 0)
    assert [len(coords) for coords, _ in encoded.objects()] == encoded.lengths.tolist()
    assert int(encoded.coords.max()) < VOXELS // 8
    latents = torch.cat([latents for _, latents in encoded.objects()])
    torch.testing.assert_close(latents.std(0), torch.ones(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(encoded.normalisation().latents(latents), encoded.latents, atol=1e-4, rtol=0)


def test_a_new_decoder_of_materials_tells_coarse_voxels_apart_more_than_their_children() -> None:
    model = new_voxels(6)
    grid = material_grid(placed_object(0, 0).grid_mesh(), VOXELS).grid
    tree = voxel_tree(batched([grid]), VOXELS, 3)
    latents = torch.randn(len(tree.coords), 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        heads = voxel_autoencoder.decoded_as_told(model.decoder, latents, tree).voxels.features
    owners = voxel_autoencoder._owners(tree)
    means = voxel_autoencoder._means(heads, tree)
    color = slice(0, 3)
    assert float(means[:, color].std(0).mean()) > float((heads - means[owners])[:, color].std(0).mean())
    common = torch.tensor(MATERIAL) * 2.0 - 1.0
    torch.testing.assert_close(heads[:, 3:], common.expand(len(heads), 3), atol=1e-6, rtol=0)


def test_latents_of_materials_are_of_unit_size() -> None:
    encoded = encode_objects(new_voxels(6), voxel_autoencoder.material_features, 1, VOXELS, 0)
    torch.testing.assert_close(encoded.latents.square().mean(1), torch.ones(len(encoded.coords)), atol=1e-3, rtol=0)


def test_an_object_is_shown_with_its_first_picture_and_at_times_with_others() -> None:
    generator = torch.Generator().manual_seed(0)
    seen = [tuple(voxel_flow._some_views(4, generator)) for _ in range(200)]
    assert {len(views) for views in seen} == {1, 2, 4} and all(views[0] == 0 for views in seen)
    assert {views[1] for views in seen if len(views) == 2} == {1, 2, 3}
    assert all(sorted(views) == [0, 1, 2, 3] for views in seen if len(views) == 4)
    assert voxel_flow._some_views(1, generator) == [0]
