"""The small Pixal3D family from nothing: objects and their pictures, decoders, what sees pictures, flows, files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ..diffusion.holder import Resident
from ..pixal3d.config import FlowConfig
from ..pixal3d.flow_transformer import FlowTransformer
from ..pixal3d.models import PictureModels
from ..pixal3d.normalisation import Normalisation
from ..pixal3d.sample import every_voxel
from ..progress import Progress
from . import picture_features, structure_autoencoder, voxel_autoencoder
from .demo_family import keep_record, unwatched
from .demo_pixal3d_models import (
    ENCODER,
    LATENTS,
    PICTURE_SIZE,
    SHAPE_DECODER,
    SHAPE_FLOW,
    SIGHTS,
    STRUCTURE_DECODER,
    STRUCTURE_FLOW,
    TEXTURE_DECODER,
    TEXTURE_FLOW,
    UPSAMPLER,
    Pixal3DFamily,
    save_family,
)
from .encoded_objects import EncodedObjects, encode_objects
from .loop import LOG, LoopOptions
from .picture_features import PictureReader
from .placed_objects import PlacedObject, PlacedPictures, placed_object, write_placed_pictures
from .placed_voxels import MaterialGrid
from .same_run import require_same_run
from .structure_autoencoder import StructureAutoencoder
from .voxel_autoencoder import VoxelAutoencoder
from .voxel_flow import FlowExample, Times, early_times, train_flow, uniform_times, write_seen
from .whole_file import whole_file

FLOW_OPTIONS = LoopOptions(steps=2000, learning_rate=2e-3, warmup=100, average=0.998, save_every=25, log_every=25)
BATCHES = {"structure": 8, "shape": 4, "texture": 4}
STRUCTURES = 600  # objects that the structure decoder learns from: it sees them turned in all ways
FEATURES = 6  # that describe a voxel's shape, and its material
STRUCTURE, SHAPE, TEXTURE = "structure", "shape", "texture"
# In the order in which they are trained.
PARTS = ("structure_decoder", "picture", STRUCTURE, "shape_decoder", SHAPE, "texture_decoder", TEXTURE)
Watched = Callable[[str], Progress]
Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Pixal3DDemoOptions:
    """How much the family is shown: objects, and training steps of every part."""

    objects: int = 1200
    structure_decoder_steps: int = structure_autoencoder.OPTIONS.steps
    picture_steps: int = picture_features.OPTIONS.steps
    structure_steps: int = 12000
    shape_decoder_steps: int = voxel_autoencoder.SHAPE_OPTIONS.steps
    shape_steps: int = 7000
    texture_decoder_steps: int = voxel_autoencoder.TEXTURE_OPTIONS.steps
    texture_steps: int = 4000
    seed: int = 0


def train_demo_pixal3d(
    work: Path, target: Path, options: Pixal3DDemoOptions = Pixal3DDemoOptions(), watch: Watched = unwatched
) -> None:
    """Makes the family in ``target``; everything on the way is kept in ``work``, where a broken-off call goes on.

    ``work`` may be that of the other demo models. ``watch`` gives the progress of a stage by its name. Raises
    Bundle3DError where ``work`` holds a stage of other options.
    """
    run = _Run(work / "pixal3d", options, watch)
    structure_decoder = run.structure_decoder()
    reader = run.picture_reader()
    structure = run.structure_flow(structure_decoder, reader)
    shape_decoder = run.voxel_autoencoder(SHAPE)
    shape = run.shape_flow(shape_decoder, reader)
    texture_decoder = run.voxel_autoencoder(TEXTURE)
    texture = run.texture_flow(shape_decoder, texture_decoder, reader)
    materials = run.encoded(TEXTURE, texture_decoder, voxel_autoencoder.material_features)
    family = Pixal3DFamily(
        encoder=reader.encoder,
        upsampler=reader.upsampler,
        structure=structure,
        shape=shape,
        texture=texture,
        structure_decoder=structure_decoder.decoder,
        shape_decoder=shape_decoder.decoder,
        texture_decoder=texture_decoder.decoder,
        # The decoder of shapes learned from normalised latents, that of materials from others.
        shape_normalisation=Normalisation((0.0,) * LATENTS, (1.0,) * LATENTS),
        texture_normalisation=materials.normalisation(),
    )
    save_family(target, family)
    keep_record(target / "training", {name: run.folder / name / LOG for name in run.trained}, options)


class _Run:
    """The stages, each in a folder of its own that remembers its options."""

    def __init__(self, folder: Path, options: Pixal3DDemoOptions, watch: Watched) -> None:
        self.folder, self.options, self.watch = folder, options, watch
        self.trained: list[str] = []

    def structure_decoder(self) -> StructureAutoencoder:
        count = min(STRUCTURES, self.options.objects)
        model = self._new("structure_decoder", lambda: StructureAutoencoder(STRUCTURE_DECODER))
        occupancy = self._occupancy(count)
        loop, folder, progress = self._stage("structure_decoder", structure_autoencoder.OPTIONS)
        structure_autoencoder.train_structure_autoencoder(model, occupancy, folder, loop, self.options.seed, progress)
        return model

    def picture_reader(self) -> PictureReader:
        model = self._new("picture", lambda: PictureReader(ENCODER, UPSAMPLER))
        pictures = self._pictures()
        files = [pictured.path.with_suffix(".npy") for pictured in pictures]
        rendered = self.watch("surfaces of object")
        for index, (file, pictured) in enumerate(zip(files, pictures)):
            picture_features.write_surfaces(file, pictured.placed, PICTURE_SIZE)
            rendered(index + 1, len(files))
        loop, folder, progress = self._stage("picture", picture_features.OPTIONS)
        picture_features.train_pictures(model, pictures, files, folder, loop, self.options.seed, progress)
        return model

    def structure_flow(self, autoencoder: StructureAutoencoder, reader: PictureReader) -> FlowTransformer:
        voxels = every_voxel(1, STRUCTURE_FLOW.resolution)[:, 1:]
        with torch.no_grad():
            latents = [
                autoencoder.latents(occupied[None])[0].flatten(1).T
                for occupied in self._occupancy(self.options.objects)
            ]
        seen = self._seen(STRUCTURE, reader, [voxels] * len(latents), STRUCTURE_FLOW)
        examples = [FlowExample(file, own) for file, own in zip(seen, latents)]
        return self._flow(STRUCTURE, STRUCTURE_FLOW, examples, early_times)

    def voxel_autoencoder(self, part: str) -> VoxelAutoencoder:
        config = SHAPE_DECODER if part == SHAPE else TEXTURE_DECODER
        name = f"{part}_decoder"
        model = self._new(name, lambda: VoxelAutoencoder(config, FEATURES, unit=part == TEXTURE))
        shapes = part == SHAPE
        train = voxel_autoencoder.train_shape_autoencoder if shapes else voxel_autoencoder.train_texture_autoencoder
        base = voxel_autoencoder.SHAPE_OPTIONS if shapes else voxel_autoencoder.TEXTURE_OPTIONS
        loop, folder, progress = self._stage(name, base)
        train(model, self.options.objects, folder, loop, self.options.seed, progress)
        return model

    def shape_flow(self, autoencoder: VoxelAutoencoder, reader: PictureReader) -> FlowTransformer:
        encoded = self.encoded(SHAPE, autoencoder, voxel_autoencoder.shape_features).objects()
        seen = self._seen(SHAPE, reader, [coords for coords, _ in encoded], SHAPE_FLOW)
        examples = [FlowExample(file, latents) for file, (_, latents) in zip(seen, encoded)]
        return self._flow(SHAPE, SHAPE_FLOW, examples, uniform_times)

    def texture_flow(
        self, shape: VoxelAutoencoder, texture: VoxelAutoencoder, reader: PictureReader
    ) -> FlowTransformer:
        shapes = self.encoded(SHAPE, shape, voxel_autoencoder.shape_features).objects()
        textures = self.encoded(TEXTURE, texture, voxel_autoencoder.material_features).objects()
        assert SIGHTS[TEXTURE] == SIGHTS[SHAPE]
        seen = self._seen(SHAPE, reader, [coords for coords, _ in shapes], SHAPE_FLOW)
        examples = [
            FlowExample(file, latents, beside)
            for file, (_, latents), (_, beside) in zip(seen, textures, shapes, strict=True)
        ]
        return self._flow(TEXTURE, TEXTURE_FLOW, examples, uniform_times)

    def encoded(
        self, stage: str, model: VoxelAutoencoder, features: Callable[[MaterialGrid], torch.Tensor]
    ) -> EncodedObjects:
        """Voxels and latents of all objects on the lattice of shapes, kept with the network that gives them."""
        file = self.folder / f"{stage}_decoder" / "latents.safetensors"
        if not file.is_file():
            progress = self.watch(f"{stage} encoded of object")
            found = encode_objects(
                model, features, self.options.objects, voxel_autoencoder.RESOLUTION, self.options.seed, progress
            )
            with whole_file(file) as unfinished:
                save_file(vars(found), unfinished)
        return EncodedObjects(**load_file(file))

    def _flow(self, stage: str, config: FlowConfig, examples: Sequence[FlowExample], times: Times) -> FlowTransformer:
        flow = self._new(stage, lambda: FlowTransformer(config))
        loop, folder, progress = self._stage(stage, FLOW_OPTIONS)
        train_flow(flow, examples, BATCHES[stage], times, folder, loop, self.options.seed, progress)
        return flow

    def _stage(self, name: str, base: LoopOptions) -> tuple[LoopOptions, Path, Progress]:
        """How a part is trained, in which folder, and who watches."""
        steps = int(getattr(self.options, f"{name}_steps"))
        folder = self.folder / name
        require_same_run(
            folder / "options.json", {"objects": self.options.objects, "steps": steps, "seed": self.options.seed}
        )
        self.trained.append(name)
        return replace(base, steps=steps), folder, self.watch(f"{name.replace('_', ' ')} step")

    def _new(self, name: str, make: Callable[[], Module]) -> Module:
        """A new network, the same whichever stages a call begins with."""
        torch.manual_seed(self.options.seed + PARTS.index(name))
        return make()

    def _pictures(self) -> list[PlacedPictures]:
        return write_placed_pictures(
            self.folder / "pictures", self.options.objects, PICTURE_SIZE, self.options.seed, self.watch("object")
        )

    def _occupancy(self, count: int) -> list[torch.Tensor]:
        files = [self.folder / "occupancy" / f"{index:05d}.npy" for index in range(count)]
        progress = self.watch("occupancy of object")
        for index, file in enumerate(files):
            structure_autoencoder.write_occupancy(file, lambda: self._placed(index).grid_mesh())  # noqa: B023
            progress(index + 1, count)
        return [structure_autoencoder.read_occupancy(file) for file in files]

    def _placed(self, index: int) -> PlacedObject:
        return placed_object(index, self.options.seed)

    def _seen(
        self, stage: str, reader: PictureReader, coords: Sequence[torch.Tensor], config: FlowConfig
    ) -> list[Path]:
        """The file of each object with what its pictures show its voxels, kept with the network that sees it."""
        models = PictureModels(Resident(reader.encoder), Resident(reader.upsampler))
        progress = self.watch(f"{stage} seen of object")
        files = []
        for index, (pictured, voxels) in enumerate(zip(self._pictures(), coords)):
            files.append(self.folder / "picture" / stage / f"{index:05d}.safetensors")
            write_seen(files[-1], models, pictured.pictures(), SIGHTS[stage], voxels, config.resolution)
            progress(index + 1, len(coords))
        return files
