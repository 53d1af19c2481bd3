"""What training reads of a dataset: latents and text embeddings, made once, so that no encoder runs beside training."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from ..diffusion.autoencoder import encode_image
from ..diffusion.encode_prompt import encode_prompt
from ..diffusion.latents import pack
from ..diffusion.models import BundleModels
from ..diffusion.velocity import Conditioning
from ..errors import Bundle3DError
from ..progress import Progress, silent
from .control_pictures import coarseness_of, control_picture
from .dataset import CaptionedBundle
from .whole_file import whole_file

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class EncodedBundle:
    """The files of one bundle's latents, of its caption's embeddings, and of each mode's control latents."""

    latents: Path
    text: Path
    controls: dict[str, Path]


@dataclass(frozen=True)
class EncodedDataset:
    """Bundles of ``height`` x ``width`` pixels, encoded to ``rows`` x ``columns`` tokens."""

    bundles: tuple[EncodedBundle, ...]
    height: int
    width: int
    rows: int
    columns: int

    def latents(self, picked: Sequence[int]) -> torch.Tensor:
        """Packed latents (B, tokens, channels) of some bundles, float32."""
        return torch.cat([load_file(self.bundles[index].latents)["latents"] for index in picked]).float()

    def texts(self, picked: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """T5's tokens (B, L, D) and CLIP's pooled vectors (B, P) of their captions."""
        found = [load_file(self.bundles[index].text) for index in picked]
        return torch.cat([item["text"] for item in found]), torch.cat([item["pooled"] for item in found])

    def controls(self, picked: Sequence[int], modes: Sequence[str]) -> torch.Tensor:
        """Packed control latents (B, tokens, channels), float32; each bundle's of its own mode."""
        files = [self.bundles[index].controls[mode] for index, mode in zip(picked, modes)]
        return torch.cat([load_file(file)["latents"] for file in files]).float()


def encode_dataset(
    bundles: Sequence[CaptionedBundle],
    models: BundleModels,
    stamp: str,
    cache: Path,
    modes: Sequence[str] = (),
    progress: Progress = silent,
) -> EncodedDataset:
    """Encodes all of ``bundles``, and their control pictures of ``modes``, that ``cache`` does not hold yet.

    Text first, then pictures, so that the text encoders and the VAE are not in the device's memory together. ``stamp``
    stands for the base: another one's encodings are not taken for this one's. Raises Bundle3DError where pictures
    differ in size or do not fit the base's tokens.
    """
    cache.mkdir(parents=True, exist_ok=True)
    height, width, _ = bundles[0].image().shape
    side = models.pixels_per_token
    if height % side or width % side:
        raise Bundle3DError(
            f"Expected bundles whose sides are multiples of {side} pixels, as the base needs, but "
            f"{bundles[0].path.name} is {width}x{height}; render them with another tile size."
        )
    total = 2 * len(bundles)
    texts: list[Path] = []
    with models.text_encoder.use(), models.text_encoder_2.use():
        for bundle in bundles:
            texts.append(_kept(cache, "text", (stamp, bundle.caption), lambda: _text(models, bundle.caption)))  # noqa: B023
            progress(len(texts), total)
    encoded: list[EncodedBundle] = []
    with models.vae.use():
        for index, bundle in enumerate(bundles):
            content = hashlib.sha256(bundle.path.read_bytes()).hexdigest()
            picture = _Pictures(models, bundle, (height, width), coarseness_of(index), int(content[:15], 16))
            latents = _kept(cache, "latents", (stamp, content), picture.latents)
            controls = {
                mode: _kept(cache, mode, (stamp, content, str(picture.coarseness)), picture.control(mode))
                for mode in modes
            }
            encoded.append(EncodedBundle(latents, texts[index], controls))
            progress(len(bundles) + index + 1, total)
    return EncodedDataset(tuple(encoded), height, width, height // side, width // side)


@torch.no_grad()
def encode_prompts(models: BundleModels, prompts: Sequence[str], guidance: float) -> list[Conditioning]:
    """What the transformer reads for ``prompts``, on its device and in its type."""
    device, dtype = models.transformer.compute_device, models.transformer.compute_dtype
    with models.text_encoder.use(), models.text_encoder_2.use():
        pairs = [encode_prompt(models, prompt) for prompt in prompts]
    return [Conditioning(text.to(device, dtype), pooled.to(device, dtype), guidance) for text, pooled in pairs]


class _Pictures:
    """A bundle's latents and control latents; their noise depends on ``seed`` alone."""

    def __init__(
        self, models: BundleModels, bundle: CaptionedBundle, size: tuple[int, int], coarseness: float, seed: int
    ) -> None:
        self.models, self.bundle, self.size, self.coarseness, self.seed = models, bundle, size, coarseness, seed

    def latents(self) -> Tensors:
        image = self.bundle.image()
        if image.shape[:2] != self.size:
            raise Bundle3DError(
                f"Expected bundles of one size, {self.size[1]}x{self.size[0]}, but {self.bundle.path.name} is "
                f"{image.shape[1]}x{image.shape[0]}; render them with one tile size."
            )
        return self._encoded(image)

    def control(self, mode: str) -> Callable[[], Tensors]:
        return lambda: self._encoded(control_picture(self.bundle, mode, self.coarseness))

    def _encoded(self, image: torch.Tensor) -> Tensors:
        latents = pack(encode_image(self.models.vae, image, torch.Generator().manual_seed(self.seed)))
        return {"latents": latents.to(self.models.transformer.compute_dtype)}


def _text(models: BundleModels, caption: str) -> Tensors:
    text, pooled = encode_prompt(models, caption)
    dtype = models.transformer.compute_dtype
    return {"text": text.to("cpu", dtype).contiguous(), "pooled": pooled.to("cpu", dtype).contiguous()}


@torch.no_grad()
def _kept(cache: Path, kind: str, key: tuple[str, ...], make: Callable[[], Tensors]) -> Path:
    """The file of what ``make`` makes, which is made where it is not there yet."""
    path = cache / f"{kind}-{hashlib.sha256(repr(key).encode()).hexdigest()[:24]}.safetensors"
    if not path.is_file():
        with whole_file(path) as unfinished:
            save_file(make(), str(unfinished))
    return path
