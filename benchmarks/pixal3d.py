"""What Pixal3D's stages take at their published sizes under ComfyUI's memory manager, with random weights.

    python benchmarks/pixal3d.py [--stages pictures structure shape fine_shape texture decode] [--resolution 1024]
        [--budgets 24 16 12 8] [--steps 12] [--views 1]
    python benchmarks/pixal3d.py --small --steps 2

Random flows draw noise, in which there is no object. So every stage gets the voxels of a sphere on its own lattice
instead of what the stage before it drew: 3,300 for the coarse shape, 12,200 for a fine one of 1024, which a random
decoder splits into four at every level. Weights draw noise, but take the time and memory of trained ones.

On a GPU each stage is done twice, at first with weights from RAM. With ``--budgets``, in GiB, all of it is done with
each of them as the most that torch may take of the GPU and that the memory manager reckons with. ``--small`` takes the
networks of the tests, to try the command out without a GPU. 12 GB of RAM suffice.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from bundle3d.benchmarks import measure
from bundle3d.benchmarks.drawing import limit, random_network, rows_of
from bundle3d.pipelines.comfyui_folder import find_comfyui
from bundle3d.pipelines.pixal3d.conditioning import Pictures, SeenPictures
from bundle3d.pipelines.pixal3d.config import FlowConfig, StructureDecoderConfig, VoxelDecoderConfig
from bundle3d.pipelines.pixal3d.decode import decode_shape, decode_structure, decode_texture
from bundle3d.pipelines.pixal3d.feature_upsampler import FeatureUpsampler, UpsamplerConfig
from bundle3d.pipelines.pixal3d.flow_transformer import FlowTransformer
from bundle3d.pipelines.pixal3d.image_encoder import ImageEncoderConfig, image_encoder
from bundle3d.pipelines.pixal3d.models import DEFAULTS, PictureModels, Pixal3DModels, StageModel
from bundle3d.pipelines.pixal3d.sample import sample_shape, sample_structure, sample_texture
from bundle3d.pipelines.pixal3d.structure_decoder import StructureDecoder
from bundle3d.pipelines.pixal3d.voxel_decoder import VoxelDecoder
from bundle3d.pipelines.views.rig import orbit
from bundle3d.pipelines.volumes.projection import rig_cameras
from bundle3d.pipelines.volumes.sparse_voxels import SparseVoxels

CPU = torch.device("cpu")
STAGES = ("pictures", "structure", "shape", "fine_shape", "texture", "decode")
FLOWS = {
    "structure": FlowConfig(),
    "shape": FlowConfig(resolution=32, in_channels=32, out_channels=32, projected_width=2048),
    "fine_shape": FlowConfig(resolution=64, in_channels=32, out_channels=32, projected_width=2048),
    "texture": FlowConfig(resolution=64, in_channels=64, out_channels=32, projected_width=2048),
}
SHAPE_DECODER, TEXTURE_DECODER = VoxelDecoderConfig(), VoxelDecoderConfig(out_channels=6, subdivides=False)
# Section 7 of specs/pixal3d.md: what others state of trained models, whole assets.
STATED = {
    "Pixal3D, 1536": "about 18 GB",
    "Pixal3D --low_vram, 1024": "10 to 12 GB",
    "TRELLIS.2, H100, 512 / 1024 / 1536": "3 / 17 / 60 s",
    "Makepad, RTX PRO 6000, 1024": "30 to 48 s",
    "raven38, RTX 4090, 1024, q8, several views": "124 to 308 s, 4.7 to 6.0 GB",
}
Build = Callable[[], torch.nn.Module]


@dataclass
class Absent:
    """A holder of a network that has shapes alone, for the parts that a stage does not use."""

    module: Any
    compute_device: torch.device = CPU
    compute_dtype: torch.dtype = torch.float32

    def use(self, activation_bytes: int = 0) -> AbstractContextManager[Any]:
        raise RuntimeError("this stage should not need this network")


def absent(build: Build) -> Absent:
    with torch.device("meta"):
        return Absent(build())


def published() -> Pixal3DModels:
    """All parts at their published sizes, without numbers."""
    stages = {
        name: StageModel(absent(lambda config=config: FlowTransformer(config)), *DEFAULTS[name])
        for name, config in FLOWS.items()
    }
    return Pixal3DModels(
        pictures=PictureModels(
            absent(lambda: image_encoder(ImageEncoderConfig())), absent(lambda: FeatureUpsampler(UpsamplerConfig()))
        ),
        structure_decoder=absent(lambda: StructureDecoder(StructureDecoderConfig())),
        shape_decoder=absent(lambda: VoxelDecoder(SHAPE_DECODER)),
        texture_decoder=absent(lambda: VoxelDecoder(TEXTURE_DECODER)),
        **stages,
    )


def with_numbers(models: Pixal3DModels, stage: str) -> Pixal3DModels:
    """``models`` with random weights in what ``stage`` uses, held by ComfyUI."""
    from bundle3d.nodes.memory import hold_network, hold_voxel_decoder, hold_whole_network

    encoder = random_network(lambda: image_encoder(ImageEncoderConfig()), torch.float32)
    upsampler = random_network(lambda: FeatureUpsampler(UpsamplerConfig()), torch.float32, casting=False)
    models = replace(models, pictures=PictureModels(hold_network(encoder), hold_whole_network(upsampler)))
    if stage in FLOWS:
        flow = random_network(lambda: FlowTransformer(FLOWS[stage]), torch.bfloat16)
        return replace(models, **{stage: replace(getattr(models, stage), flow=hold_network(flow))})
    if stage == "decode":
        config = StructureDecoderConfig()
        return replace(
            models,
            structure_decoder=hold_voxel_decoder(
                random_network(lambda: StructureDecoder(config), torch.float32, casting=False)
            ),
            shape_decoder=hold_voxel_decoder(random_network(lambda: VoxelDecoder(SHAPE_DECODER), torch.float16)),
            texture_decoder=hold_voxel_decoder(random_network(lambda: VoxelDecoder(TEXTURE_DECODER), torch.float16)),
        )
    return models


def small_networks() -> Pixal3DModels:
    """The networks of the tests, held by ComfyUI."""
    from bundle3d.nodes.memory import hold_network, hold_voxel_decoder, hold_whole_network
    from bundle3d.tests.pixal3d.make_small import small_models

    models = small_models()
    decoders = {
        name: hold_voxel_decoder(getattr(models, name).module)
        for name in ("structure_decoder", "shape_decoder", "texture_decoder")
    }
    stages = {
        name: replace(getattr(models, name), flow=hold_network(getattr(models, name).flow.module)) for name in FLOWS
    }
    encoder, upsampler = models.pictures.encoder, models.pictures.upsampler
    pictures = PictureModels(hold_network(encoder.module), hold_whole_network(upsampler.module))
    return replace(models, pictures=pictures, **decoders, **stages)


def sphere(resolution: int) -> torch.Tensor:
    """(N, 4) int32 voxels through which a sphere of 0.45 of the lattice passes."""
    side = torch.arange(resolution, dtype=torch.int32)
    coords = torch.cartesian_prod(torch.zeros(1, dtype=torch.int32), side, side, side)
    distance = (coords[:, 1:] - (resolution - 1) / 2).norm(dim=1) - 0.45 * resolution
    return coords[distance.abs() < 0.6]


def run_stage(models: Pixal3DModels, stage: str, chosen: argparse.Namespace) -> str:
    """Does a stage and says of what size its result is."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(chosen.views, 600, 600, 3, generator=generator)
    seen = [SeenPictures(models.pictures, Pictures(images, rig_cameras(orbit(chosen.views))))]
    coarse, fine = models.shape.flow.module.config.resolution, chosen.resolution // models.factor

    def latents(coords: torch.Tensor, resolution: int) -> SparseVoxels:
        channels = models.shape_decoder.module.config.latent_channels
        return SparseVoxels(coords, torch.randn(len(coords), channels, generator=generator), resolution)

    if stage == "pictures":
        assert models.fine_shape is not None and models.texture is not None
        coords = sphere(fine)
        for sight in (models.shape.sight, models.fine_shape.sight, models.texture.sight):
            seen[0].condition(sight, coords[:, 1:], fine)
        return f"{len(coords)} voxels, {chosen.views} views"
    sampling = None if stage == "decode" else replace(getattr(models, stage).sampling, steps=chosen.steps)
    if stage == "structure":
        return f"{sample_structure(models, seen, generator, sampling)[0, 0].numel()} voxels"
    if stage in ("shape", "fine_shape"):
        lattice = coarse if stage == "shape" else fine
        drawn = sample_shape(
            models, seen, sphere(lattice), generator, sampling, resolution=None if stage == "shape" else fine
        )
        return f"{len(drawn.coords)} voxels"
    if stage == "texture":
        return f"{len(sample_texture(models, seen, latents(sphere(fine), fine), generator, sampling).coords)} voxels"
    config = models.structure.flow.module.config
    decode_structure(models, torch.randn(1, config.out_channels, *[config.resolution] * 3, generator=generator))
    shape = decode_shape(models, latents(sphere(fine), fine))
    material = decode_texture(models, latents(sphere(fine), fine), shape)
    return f"{len(material.coords)} voxels"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument("--resolution", type=int, default=1024)
    parser.add_argument("--budgets", type=float, nargs="+", help="GiB of the GPU, one after the other")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--views", type=int, default=1)
    parser.add_argument("--small", action="store_true", help="the networks of the tests; writes no results")
    chosen = parser.parse_args()
    if chosen.budgets and not torch.cuda.is_available():
        parser.error("--budgets needs a GPU")
    sys.path.append(str(find_comfyui()))
    sys.argv = sys.argv[:1]  # ComfyUI reads it, too
    from comfy.cli_args import args

    args.cpu = not torch.cuda.is_available()
    from comfy.model_management import get_torch_device

    device = get_torch_device()
    if chosen.small:
        chosen.resolution = 64
    rows: list[dict[str, Any]] = []
    for stage in chosen.stages:
        models = small_networks() if chosen.small else with_numbers(published(), stage)
        for budget in chosen.budgets or [None]:
            limit(budget, device)
            facts = {"resolution": chosen.resolution, "steps": chosen.steps, "views": chosen.views}
            facts |= {} if budget is None else {"budget_gib": budget}
            rows += rows_of(stage, partial(run_stage, models, stage, chosen), facts, device)
        del models
        if not chosen.small:
            print(measure.write("pixal3d", rows, stated_by_others=STATED), flush=True)


if __name__ == "__main__":
    main()
