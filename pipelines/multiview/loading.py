"""Multi-view models from a Zero123++ folder in diffusers' format, with another UNet where one is chosen.

Source: specs/kiss3dgen.md 3.2. The published folder and small ones of the same format are read alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..checkpoints.demo_folder import MULTIVIEW_DEMO_FOLDER
from ..diffusion.holder import Holder
from ..diffusion.loading.assemble import expected_shapes, fill, without_memory
from ..diffusion.loading.source import component_config, read_component, read_folder_state, read_json, wrong_kind
from ..diffusion.loading.text_encoders import load_clip, load_clip_tokenizer
from ..errors import Bundle3DError
from .models import MultiviewModels, PictureProcessing, check_models
from .reference_attention import attend_to_references

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPVisionModelWithProjection, PreTrainedTokenizerBase

PIPELINE = "Zero123Plus"  # what the class name in model_index.json begins with
PARTS = ("unet", "vae", "text_encoder", "tokenizer", "vision_encoder", "scheduler")
PROCESSING = ("feature_extractor_vae", "feature_extractor_clip")
UNET, VAE, VISION = "a multi-view UNet", "an SD autoencoder", "a CLIP image encoder"
UNET_ADVICE = "choose flexgen.ckpt of Kiss3DGen, or the UNet of another model made from Zero123++"
FILTERS = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers
# How diffusers called the layers of the autoencoder's attention before version 0.18.
OLD_NAMES = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}


@dataclass(frozen=True)
class MultiviewComponents:
    """The parts in a Zero123++ folder, on the CPU."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: PreTrainedTokenizerBase
    vision_encoder: CLIPVisionModelWithProjection
    ramp: tuple[float, ...]
    scheduler: Mapping[str, Any]
    for_vae: PictureProcessing
    for_vision: PictureProcessing
    demo: bool = False

    def held(
        self,
        network: Callable[[Any], Holder],
        vae: Callable[[Any], Holder],
        text_encoder: Callable[[Any], Holder],
    ) -> MultiviewModels:
        """The components in holders that are made for each kind. Raises Bundle3DError where they do not fit."""
        attend_to_references(self.unet)
        models = MultiviewModels(
            unet=network(self.unet),
            vae=vae(self.vae),
            text_encoder=text_encoder(self.text_encoder),
            tokenizer=self.tokenizer,
            vision_encoder=network(self.vision_encoder),
            ramp=self.ramp,
            scheduler=self.scheduler,
            for_vae=self.for_vae,
            for_vision=self.for_vision,
            demo=self.demo,
        )
        check_models(models)
        return models


def is_multiview(folder: Path) -> bool:
    """Whether a folder of diffusers says that it holds a Zero123++ pipeline."""
    try:
        return _is_named(read_json(folder / "model_index.json"))
    except Bundle3DError:
        return False


def _is_named(index: Mapping[str, Any]) -> bool:
    kind = index.get("_class_name")
    return isinstance(kind, str) and kind.startswith(PIPELINE)


def load_multiview(folder: Path, unet: Path | None = None, dtype: torch.dtype | None = None) -> MultiviewComponents:
    """The components of a folder with model_index.json, memory-mapped; the UNet from the file ``unet``, where given.

    A UNet's file holds its plain state dict, by the sizes of the folder's own, or is a folder of diffusers. Each part
    computes in ``dtype``, or in its file's type. Raises Bundle3DError, naming the file, where a part is missing,
    damaged or of another model.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise Bundle3DError(
            f"Expected a Zero123++ folder in diffusers' format, but there is none at '{folder.name}'; choose another."
        )
    index = read_json(folder / "model_index.json")
    if not _is_named(index):
        raise Bundle3DError(
            f"Expected a Zero123++ pipeline in the folder '{folder.name}', but it holds {index.get('_class_name')}; "
            "choose another folder."
        )
    for part in (*PARTS, *PROCESSING):
        if not (folder / part).is_dir():
            raise Bundle3DError(
                f"Expected the part '{part}' in the folder '{folder.name}', but there is none; download the whole "
                "folder."
            )
    text_encoder = load_clip(folder / "text_encoder", dtype)
    for_vae, for_vision = (read_processing(folder / part) for part in PROCESSING)
    return MultiviewComponents(
        unet=load_unet(unet or folder / "unet", folder / "unet", dtype),
        vae=load_sd_vae(folder / "vae", dtype),
        text_encoder=text_encoder,
        tokenizer=load_clip_tokenizer(folder / "tokenizer", text_encoder),
        vision_encoder=load_vision_encoder(folder / "vision_encoder", dtype),
        ramp=_ramp(index, folder),
        scheduler=read_json(folder / "scheduler" / "scheduler_config.json"),
        for_vae=for_vae,
        for_vision=for_vision,
        demo=unet is None and folder.resolve() == MULTIVIEW_DEMO_FOLDER.resolve(),
    )


def load_unet(path: Path, like: Path, dtype: torch.dtype | None = None) -> UNet2DConditionModel:
    """A UNet2DConditionModel from a folder, or from a file's plain state dict with the sizes of the folder ``like``."""
    from diffusers import UNet2DConditionModel

    path = Path(path)
    settings, state, file = read_component(path, ("UNet2DConditionModel",), ("unet.",))
    if settings is None:
        settings = component_config(like, "UNet2DConditionModel")
        if "conv_in.weight" not in state or "mid_block.resnets.0.conv1.weight" not in state:
            raise wrong_kind(path, UNET, UNET_ADVICE, state)
    model = without_memory(lambda: UNet2DConditionModel.from_config(settings), file, UNET)
    return fill(model, state, file, UNET, dtype)


def load_sd_vae(folder: Path, dtype: torch.dtype | None = None) -> AutoencoderKL:
    """A Stable Diffusion AutoencoderKL from its folder."""
    from diffusers import AutoencoderKL

    settings = component_config(folder, "AutoencoderKL")
    state, file = read_folder_state(folder)
    for old, new in OLD_NAMES.items():
        state = {name.replace(old, new) if ".attentions." in name else name: value for name, value in state.items()}
    model = without_memory(lambda: AutoencoderKL.from_config(settings), file, VAE)
    return fill(model, state, file, VAE, dtype, casting=False)


def load_vision_encoder(folder: Path, dtype: torch.dtype | None = None) -> CLIPVisionModelWithProjection:
    """CLIP's image encoder with its projection from its folder."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    settings = component_config(folder, "CLIPVisionModelWithProjection")
    state, file = read_folder_state(folder)
    state = {name: tensor for name, tensor in state.items() if not name.endswith(".position_ids")}
    model = without_memory(lambda: CLIPVisionModelWithProjection(CLIPVisionConfig.from_dict(settings)), file, VISION)
    if not any(name.startswith("vision_model.") for name in expected_shapes(model)):
        state = {name.removeprefix("vision_model."): tensor for name, tensor in state.items()}
    return fill(model, state, file, VISION, dtype)


def read_processing(folder: Path) -> PictureProcessing:
    """What preprocessor_config.json says of resizing, cutting and normalising a picture.

    Sizes are one number or a table, as versions of transformers wrote them. Raises Bundle3DError where it makes no
    square picture.
    """
    settings = read_json(folder / "preprocessor_config.json")
    try:
        crop = settings["crop_size"]
        size = settings["size"]
        mean, std = (tuple(float(value) for value in settings[f"image_{name}"]) for name in ("mean", "std"))
        sides = {int(crop)} if isinstance(crop, int) else {int(crop["height"]), int(crop["width"])}
        shortest = int(size) if isinstance(size, int) else int(size["shortest_edge"])
        filter_ = FILTERS[int(settings.get("resample", 3))]
    except (KeyError, TypeError, ValueError) as error:
        raise _not_processing(folder) from error
    side = sides.pop()
    if sides or not 0 < side <= shortest or len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise _not_processing(folder)
    return PictureProcessing(shortest, side, (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]), filter_)


def _ramp(index: Mapping[str, Any], folder: Path) -> tuple[float, ...]:
    ramp = index.get("ramping_coefficients")
    if not isinstance(ramp, list) or not ramp or not all(isinstance(value, (int, float)) for value in ramp):
        raise Bundle3DError(
            f"Expected 'ramping_coefficients' in model_index.json of '{folder.name}', but there are none; download the "
            "file of Zero123++ again."
        )
    return tuple(float(value) for value in ramp)


def _not_processing(folder: Path) -> Bundle3DError:
    return Bundle3DError(
        f"Expected the size, the square cut, the mean and the deviation of pictures in "
        f"'{folder.name}/preprocessor_config.json', but it says otherwise; download the file again."
    )
