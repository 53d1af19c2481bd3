"""From a picture to a mesh: structure, coarse and fine signed distances. Source: specs/pixal3d.md section 1.4.

Noise is drawn on the CPU in float32 from one generator that stages pass on, so that every device starts alike.
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass

import torch

from ...diffusion.holder import Holder
from ...diffusion.memory import is_out_of_memory
from ...errors import Bundle3DError
from ...meshes.mesh import Mesh
from ...progress import Progress, Stage, silent
from ...volumes.block_attention import SCORES
from ...volumes.level_surface import level_surface
from ...volumes.near_surface import cells_near_surface
from ...volumes.sparse_voxels import SparseVoxels
from ..conditioning import Pictures
from ..decode import structure_logits
from ..sample import every_voxel
from ..sampler import Sampling, sample_flow
from .conditioning import SeenPicture, condition_voxels, see
from .models import Pixal3DDModels, StageModel
from .sdf_decoder import FACTOR, child_places
from .sparse_layout import sparse_layout

logger = logging.getLogger(__name__)

OCCUPIED = 0.1  # probability from which on a voxel holds something
LEVEL = 0.2  # signed distance at which the surface is cut
OUTSIDE = 1.0  # where nothing is decoded
DECODING = 4  # of the progress: as long as so many evaluations of a flow
NEAR = 4  # samples of the finer lattice between the surface and those that are kept


@dataclass(frozen=True)
class MeshRequest:
    """``seed``: of the noise; ``fine``: draw the last stage too; ``samplings`` take the place of stages' own, by name.

    ``occupied`` and ``level`` are the published thresholds.
    """

    seed: int = 0
    fine: bool = True
    samplings: tuple[tuple[str, Sampling], ...] = ()
    occupied: float = OCCUPIED
    level: float = LEVEL

    def __post_init__(self) -> None:
        if not 0 < self.occupied < 1:
            raise Bundle3DError(f"Expected a probability between 0 and 1, but got {self.occupied}; choose {OCCUPIED}.")
        if not -1 < self.level < OUTSIDE:
            raise Bundle3DError(f"Expected a level between -1 and 1, but got {self.level}; choose {LEVEL}.")


@dataclass(frozen=True)
class DrawnMesh:
    """``mesh`` in [-1, 1]^3, the volume, +Y up in the picture and +Z toward its camera; ``resolution`` of its lattice,
    and at how many ``voxels`` the coarse and the fine latents were."""

    mesh: Mesh
    resolution: int
    voxels: tuple[int, ...]


@torch.no_grad()
def draw_mesh(
    models: Pixal3DDModels, pictures: Pictures, request: MeshRequest, progress: Progress = silent
) -> DrawnMesh:
    """The object of ``pictures``, one view on white as of `pictured_on_white`.

    Where memory runs out in the fine stage, it is the coarse mesh, with the one number of its voxels. Raises
    Bundle3DError where a stage finds nothing, and for a fine mesh without a model for it.
    """
    if request.fine and models.fine is None:
        raise Bundle3DError("Expected a flow for fine shapes, but the folder has none; choose the coarse mesh.")
    stages = {name: stage for name, stage in models.stages.items() if request.fine or name != "fine"}
    samplings = {name: dict(request.samplings).get(name, stage.sampling) for name, stage in stages.items()}
    ends = list(itertools.accumulate(samplings[name].evaluations() + DECODING for name in stages))
    parts = {name: Stage(progress, start, end, ends[-1]) for name, start, end in zip(stages, [0, *ends], ends)}
    generator = torch.Generator().manual_seed(request.seed)
    seen = see(models.encoder, pictures)

    def shape(name: str, places: torch.Tensor, coarser: tuple[int, ...] = ()) -> DrawnMesh:
        stage, sampling = stages[name], samplings[name]
        done = sampling.evaluations()
        drawing = Stage(parts[name], 0, done, done + DECODING)
        latents = sample_distances(models, stage, seen, places, generator, sampling, drawing)
        mesh = decode_mesh(stage, latents, request.level, Stage(parts[name], done, done + DECODING, done + DECODING))
        return DrawnMesh(mesh, FACTOR * stage.resolution, (*coarser, len(places)))

    places = sample_structure(models, seen, generator, samplings["structure"], request.occupied, parts["structure"])
    coarse = shape("coarse", places)
    if not request.fine:
        return coarse
    try:
        places = finer_places(coarse.mesh, stages["fine"].resolution, Stage(parts["fine"], 0, 0, 1))
        return shape("fine", places, coarse.voxels)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    logger.warning("Bundle3D: out of memory in the fine stage, so the coarse mesh is kept")
    return coarse


@torch.no_grad()
def sample_structure(
    models: Pixal3DDModels,
    seen: SeenPicture,
    generator: torch.Generator,
    sampling: Sampling,
    occupied: float = OCCUPIED,
    progress: Progress = silent,
    flow: Holder | None = None,
) -> torch.Tensor:
    """(N, 3) int32 voxels of the coarse flow's lattice that hold something, by ``flow`` or the models' own.

    Raises Bundle3DError where there are none.
    """
    stage = models.structure
    holder, side = flow or stage.flow, stage.resolution
    config = holder.module.config
    places = every_voxel(1, side)[:, 1:]
    condition = condition_voxels(seen, places, side, _upsampler(models, stage)).to(
        holder.compute_device, holder.compute_dtype
    )
    needed = flow_bytes(config.width, config.hidden, len(places), holder.compute_dtype)

    def velocity(state: torch.Tensor, time: float, conditioned: bool) -> torch.Tensor:
        shown = condition if conditioned else condition.nothing()
        with holder.use(needed) as network:
            out: torch.Tensor = network(state, time, shown, holder.compute_dtype)
        return out

    noise = torch.randn(len(places), config.channels, generator=generator)
    drawn = sample_flow(velocity, noise.to(holder.compute_device), sampling, [len(places)], True, progress)
    logits = structure_logits(stage.decoder, drawn.T.unflatten(1, (side, side, side))[None])
    found = (logits[0, 0].sigmoid() >= occupied).nonzero().int()
    if not len(found):
        raise Bundle3DError(
            "Expected the flow of structures to find an object, but it found nothing; choose another seed or picture, "
            "or a lower probability."
        )
    return found


@torch.no_grad()
def sample_distances(
    models: Pixal3DDModels,
    stage: StageModel,
    seen: SeenPicture,
    places: torch.Tensor,
    generator: torch.Generator,
    sampling: Sampling,
    progress: Progress = silent,
) -> SparseVoxels:
    """Latents (N, C) float32 of signed distances at ``places`` (N, 3) of the stage's lattice, on the CPU."""
    holder = stage.flow
    config = holder.module.config
    condition = condition_voxels(seen, places, stage.resolution, _upsampler(models, stage)).to(
        holder.compute_device, holder.compute_dtype
    )
    layout = sparse_layout(places.to(holder.compute_device), config)
    needed = flow_bytes(config.width, config.hidden, len(places), holder.compute_dtype) + 16 * SCORES

    def velocity(state: torch.Tensor, time: float, conditioned: bool) -> torch.Tensor:
        shown = condition if conditioned else condition.nothing()
        with holder.use(needed) as network:
            out: torch.Tensor = network(state, layout, time, shown, holder.compute_dtype)
        return out

    noise = torch.randn(len(places), config.channels, generator=generator)
    drawn = sample_flow(velocity, noise.to(holder.compute_device), sampling, [len(places)], False, progress)
    return SparseVoxels(torch.nn.functional.pad(places.cpu(), (1, 0)), drawn.cpu(), stage.resolution)


@torch.no_grad()
def decode_mesh(stage: StageModel, latents: SparseVoxels, level: float = LEVEL, progress: Progress = silent) -> Mesh:
    """The surface of ``latents`` as of `sample_distances`, in [-1, 1]^3; raises Bundle3DError where there is none.

    Sample i of a lattice of R lies at 2 i / R - 1, as published.
    """
    holder = stage.decoder
    config, device = holder.module.config, holder.compute_device
    placed = SparseVoxels(latents.coords.to(device), latents.features.to(device), latents.resolution)
    with holder.use(decoder_bytes(config.widths, len(latents.coords), holder.compute_dtype)) as decoder:
        distances = decoder(placed, holder.compute_dtype, progress).float().cpu()
    if not bool(distances.isfinite().all()):
        raise Bundle3DError(
            "Expected finite distances, but the decoder's are not; start ComfyUI with --fp32-vae, or draw another seed."
        )
    finest = FACTOR * latents.resolution
    places = child_places(latents.coords[:, 1:]).flatten(0, 1)
    mesh = level_surface(places, distances.flatten(), finest, level, OUTSIDE)
    if not len(mesh.faces):
        raise Bundle3DError(
            "Expected a surface in the latents of a shape, but the decoder finds none; draw another seed or picture."
        )
    return mesh.with_(vertices=2.0 * mesh.vertices / finest - 1.0)


def finer_places(mesh: Mesh, resolution: int, progress: Progress = silent) -> torch.Tensor:
    """(M, 3) int32 voxels of a lattice of ``resolution``^3 latents near the surface of ``mesh``.

    Those of which one of the 8^3 samples is nearer than four of their steps. ``progress`` counts levels of the search.
    """
    samples = FACTOR * resolution
    return cells_near_surface(mesh.vertices / 2, mesh.faces, samples, FACTOR, NEAR / samples, progress)


def flow_bytes(width: int, hidden: int, voxels: int, dtype: torch.dtype) -> int:
    """About what an evaluation of a flow needs beside the weights, without attention scores."""
    return voxels * (16 * width + 2 * hidden) * dtype.itemsize


def decoder_bytes(widths: tuple[int, ...], voxels: int, dtype: torch.dtype) -> int:
    """About what decoding latents at ``voxels`` needs beside the weights."""
    at_once = min(voxels, 6000)  # latents of a surface within a piece and what it reaches
    finest = at_once * FACTOR**3 * (6 * widths[-1] * dtype.itemsize + 27 * 4 + 64)
    return voxels * (16 * widths[0] * dtype.itemsize + 4 * FACTOR**3) + finest


def _upsampler(models: Pixal3DDModels, stage: StageModel) -> Holder | None:
    return models.upsampler if stage.upsampled else None
