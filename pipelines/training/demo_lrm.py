"""The demo reconstruction model from nothing: dataset, field samples, training, one safetensors file."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from ..lrm.cameras import camera_vectors, to_model
from ..lrm.config import LrmConfig
from ..lrm.model import LargeReconstructionModel
from ..lrm.triplane import sample_planes
from ..meshes.mesh import Mesh
from ..progress import Progress, silent
from ..views.rig import named_rig
from .aligned_attention import align_attention
from .dataset import CaptionedBundle, procedural_object, read_dataset, write_dataset
from .demo_family import keep_record, unwatched
from .demo_models import TILE
from .field_samples import FieldSamples, sample_field, write_samples
from .loop import LOG, LoopOptions, train_to_average
from .multiview_dataset import object_generator, pictured_mesh, write_pictured_objects
from .plain_attention import PlainAttention
from .same_run import require_same_run
from .whole_file import whole_file

MODEL = "model.safetensors"
RIG = "kiss3dgen"
CONFIG = LrmConfig(
    image_size=TILE,
    position_grid=8,
    encoder_width=128,
    encoder_hidden=512,
    encoder_layers=4,
    encoder_heads=2,
    width=192,
    hidden=768,
    layers=4,
    heads=3,
    plane_size=8,
    upscale=4,
    plane_channels=24,
    grid_resolution=64,
    camera_distance=4.5,
)
OPTIONS = LoopOptions(steps=3000, learning_rate=1e-3, average=0.998, save_every=250)
BATCH = 12
POINTS_KEPT, POINTS_USED = 2048, 768
HIDDEN = re.compile(r"layers?\.\d+\.(?!adaLN)")
REACH = 0.25  # further away from the surface distances are not told apart
COLORED = 0.06  # so near to the surface colours are learned
COLOR_WEIGHT, MATERIAL_WEIGHT = 0.5, 0.05
MATERIAL = (0.0, 0.9)  # metallic and roughness of everything in the dataset
BRIGHTNESS, NOISE = 0.04, 0.02  # how much views differ from the renders: drawn ones do


@dataclass(frozen=True)
class LrmDemoOptions:
    """How much the demo reconstruction model is shown: objects as bundles show them, in their own sizes, objects as the
    multi-view model shows them, all of one size and turned, and training steps."""

    bundles: int = 3400
    objects: int = 4000
    steps: int = OPTIONS.steps
    seed: int = 0


def train_demo_lrm(
    work: Path, target: Path, options: LrmDemoOptions = LrmDemoOptions(), watch: Callable[[str], Progress] = unwatched
) -> None:
    """Makes ``target``/model.safetensors; everything on the way is kept in ``work``, where a broken-off call goes on.

    ``work`` may be that of the text demo family and of the multi-view model: it uses their pictures. ``watch`` gives
    the progress of a stage by its name. Raises Bundle3DError where ``work`` holds a run with other options.
    """
    require_same_run(work / "lrm" / "options.json", asdict(options))
    seed = options.seed
    write_dataset(work / "dataset", options.bundles, TILE, seed, watch("bundle"))
    pictures: list[CaptionedBundle] = read_dataset(work / "dataset")[: options.bundles]
    pictures += write_pictured_objects(work / "objects", options.objects, TILE, seed, watch("object"))
    meshes = [procedural_object(index, seed).mesh for index in range(options.bundles)]
    meshes += [partial(_object_mesh, index, seed) for index in range(options.objects)]
    fields = [work / "fields" / f"{picture.path.parent.name}-{picture.path.stem}.npy" for picture in pictures]
    sampled = watch("field")
    for index, (path, mesh) in enumerate(zip(fields, meshes, strict=True)):
        write_field_samples(path, mesh, np.random.default_rng((seed, 3, index)))
        sampled(index + 1, len(fields))
    torch.manual_seed(seed)
    model = new_lrm()
    align_attention(model, named_rig(RIG).at_distance(model.config.camera_distance))
    loop = replace(OPTIONS, steps=options.steps)
    train_lrm(model, pictures, fields, work / "lrm", loop, seed, watch("reconstruction step"))
    save_lrm(model, target / MODEL)
    keep_record(target / "training", {"lrm": work / "lrm" / LOG}, options)


def new_lrm(config: LrmConfig = CONFIG) -> LargeReconstructionModel:
    """A model before training: small weights, no deformation and equal cube weights, which stay as they are.

    The surface then is where the distance is zero, and nothing but the distance decides on it.
    """
    model = LargeReconstructionModel(config)
    for name, weight in model.named_parameters():
        if name.endswith("pos_embed") or "position_embeddings" in name or "cls_token" in name:
            torch.nn.init.normal_(weight, std=0.02)
        elif "adaLN_modulation" in name:
            torch.nn.init.zeros_(weight)
    for perceptron in (model.decoder.net_deformation, model.decoder.net_weight):
        for parameter in perceptron[-1].parameters():
            torch.nn.init.zeros_(parameter)
        perceptron.requires_grad_(False)
    return model


def write_field_samples(path: Path, mesh: Callable[[], Mesh], generator: np.random.Generator) -> None:
    """Writes (P, 7) float16 unless it is there: points in the model's frame, their distances, their colours."""

    def sample() -> FieldSamples:
        samples = sample_field(mesh(), POINTS_KEPT, generator)
        return replace(samples, points=to_model(torch.from_numpy(samples.points)).numpy())

    write_samples(path, sample)


def train_lrm(
    model: LargeReconstructionModel,
    pictures: Sequence[CaptionedBundle],
    fields: Sequence[Path],
    folder: Path,
    options: LoopOptions = OPTIONS,
    seed: int = 0,
    progress: Progress = silent,
) -> None:
    """Trains ``model`` in place to give back the ``fields`` (files of samples) of the objects in ``pictures``.

    Ends with the running average of its weights.
    """
    cameras = camera_vectors(named_rig(RIG).at_distance(model.config.camera_distance))

    def loss(step: int, generator: torch.Generator) -> torch.Tensor:
        picked = torch.randint(len(pictures), (BATCH,), generator=generator).tolist()
        views = torch.stack([pictures[index].views() for index in picked])
        images = as_if_drawn(views.permute(0, 1, 4, 2, 3), generator)
        rows = torch.stack([_some_rows(fields[index], generator) for index in picked])
        with torch.autocast("cpu", torch.bfloat16), PlainAttention():
            planes = model.planes(images, cameras.expand(BATCH, -1, -1))
        return field_loss(model, planes.float(), rows)

    train_to_average(model, loss, folder, options, seed, progress, is_hidden=is_hidden)


def field_loss(model: LargeReconstructionModel, planes: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """How far distances, colours and materials in ``planes`` (B, 3, C, h, w) are from sampled ``rows`` (B, P, 7)."""
    points, distance, color = rows.split((3, 1, 3), dim=-1)
    features = sample_planes(planes, points)
    decoder = model.decoder
    wrong = decoder.sdf(features) - distance[..., 0].clamp(-REACH, REACH)
    near = (distance.abs() < COLORED).float()
    known = near.sum().clamp_min(1.0)
    result = wrong.abs().mean()
    result = result + COLOR_WEIGHT * ((decoder.color(features) - color).abs() * near).sum() / known / 3.0
    if decoder.net_material is not None:
        for value, true in zip(decoder.material(features), MATERIAL):
            result = result + MATERIAL_WEIGHT * ((value - true).abs() * near[..., 0]).sum() / known
    return result


def as_if_drawn(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """``images`` (B, V, 3, S, S) with the small errors that drawn views have: another brightness each, and noise."""
    brightness = 1.0 + BRIGHTNESS * torch.randn(*images.shape[:2], 1, 1, 1, generator=generator)
    amount = NOISE * torch.rand(images.shape[0], 1, 1, 1, 1, generator=generator)
    noise = torch.randn(images.shape, generator=generator) * amount
    # White stays white: what is around the object is masked.
    drawn = images * brightness + noise
    return torch.where(images.amin(2, keepdim=True) > 0.995, images, drawn).clamp(0.0, 1.0)


def is_hidden(name: str) -> bool:
    """Whether the weight of that name belongs to the layers that tokens pass through."""
    return HIDDEN.search(name) is not None


def save_lrm(model: LargeReconstructionModel, path: Path) -> None:
    """Writes the weights in half precision, with the dimensions that shapes do not tell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().half().contiguous() for name, tensor in model.state_dict().items()}
    with whole_file(path) as unfinished:
        save_file(state, unfinished, metadata=model.config.metadata())


def _object_mesh(index: int, seed: int) -> Mesh:
    return pictured_mesh(object_generator(index, seed))


def _some_rows(path: Path, generator: torch.Generator) -> torch.Tensor:
    rows = torch.from_numpy(np.load(path))
    return rows[torch.randint(len(rows), (POINTS_USED,), generator=generator)].float()
