"""Materials of a glTF document as our metallic-roughness materials."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..errors import Bundle3DError
from .gltf_document import COMPRESSED, Document
from .images import TextureReader, resize
from .json_fields import Fields
from .mesh import Material
from .specular_glossiness import metallic_roughness
from .srgb import linear_from_srgb, srgb_from_linear

log = logging.getLogger(__name__)
REPEAT, MIRRORED = 10497, 33648


@dataclass(frozen=True)
class Placing:
    """Where a texture lies: its UV set, its affine transform (2, 3) as rows, and its wrap modes in U and V."""

    uv_set: int = 0
    transform: tuple[tuple[float, float, float], tuple[float, float, float]] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    wrap: tuple[int, int] = (REPEAT, REPEAT)

    @property
    def layout(self) -> tuple[Any, ...]:
        """What `apply` depends on: textures with equal layouts can share UVs."""
        return self.uv_set, self.transform, tuple(wrap == MIRRORED for wrap in self.wrap)

    def apply(self, uv: np.ndarray) -> np.ndarray:
        """UVs (N, 2) of the set in the frame of the texture, mirrored axes halved (their textures are doubled)."""
        matrix = np.array(self.transform)
        scale = np.array([0.5 if wrap == MIRRORED else 1.0 for wrap in self.wrap])
        return ((uv.astype(np.float64) @ matrix[:, :2].T + matrix[:, 2]) * scale).astype(np.float32)


@dataclass(frozen=True)
class LoadedMaterial:
    """A material and where its textures lie (None: it has no textures)."""

    material: Material
    placing: Placing | None


class MaterialReader:
    """Reads the materials that a mesh uses, each image once."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.materials = document.root.tables("materials")
        self.textures = document.root.tables("textures")
        self.images = document.root.tables("images")
        self.samplers = document.root.tables("samplers")
        self.reader = TextureReader(document.limits)
        self.decoded: dict[int, np.ndarray] = {}
        self.loaded: dict[int, LoadedMaterial] = {}

    def material(self, index: int) -> LoadedMaterial:
        """The material at ``index`` of the document."""
        if index not in self.loaded:
            self.loaded[index] = self._load(self.materials[index])
        return self.loaded[index]

    def _load(self, fields: Fields) -> LoadedMaterial:
        slots = _Slots(self, fields.where)
        material = Material(
            name=fields.text("name") or "material",
            alpha_mode=_alpha_mode(fields),
            alpha_cutoff=fields.number("alphaCutoff", 0.5, 0.0),
            double_sided=fields.flag("doubleSided"),
            unlit=fields.extension("KHR_materials_unlit") is not None,
        )
        glossy = fields.extension("KHR_materials_pbrSpecularGlossiness")
        if glossy is not None:
            material = _from_specular_glossiness(material, glossy, slots)
        else:
            material = _from_metallic_roughness(material, fields.table("pbrMetallicRoughness"), slots)
        material = _with_occlusion(material, fields, slots)
        material = _with_emission(material, fields, slots)
        normal = slots.take(fields, "normalTexture")
        if normal is not None:
            scale = fields.table("normalTexture").number("scale", 1.0)
            material = replace(material, normal_texture=_rgb(normal), normal_scale=scale)
        repeat = slots.placing is None or any(wrap in (REPEAT, MIRRORED) for wrap in slots.placing.wrap)
        return LoadedMaterial(replace(material, repeat=repeat), slots.placing)

    def placing(self, info: Fields) -> Placing:
        """Where the texture of a textureInfo lies."""
        uv_set = info.integer("texCoord", 0, below=16)
        rows = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
        transform = info.extension("KHR_texture_transform")
        if transform is not None:
            uv_set = transform.integer("texCoord", uv_set, below=16)
            (x, y), (scale_x, scale_y) = transform.vector("offset", (0.0, 0.0)), transform.vector("scale", (1.0, 1.0))
            angle = transform.number("rotation", 0.0)
            cos, sin = float(np.cos(angle)), float(np.sin(angle))
            rows = ((scale_x * cos, scale_y * sin, x), (-scale_x * sin, scale_y * cos, y))
        texture = self.textures[info.integer("index", below=len(self.textures))]
        sampler = texture.index("sampler", len(self.samplers))
        if sampler is None:
            return Placing(uv_set, rows)
        wrap_s, wrap_t = (self.samplers[sampler].integer(name, REPEAT) for name in ("wrapS", "wrapT"))
        return Placing(uv_set, rows, (wrap_s, wrap_t))

    def image(self, info: Fields) -> np.ndarray:
        """The uint8 image (H, W, 3 or 4) of a textureInfo."""
        texture = self.textures[info.integer("index", below=len(self.textures))]
        webp = texture.extension("EXT_texture_webp")
        source = (webp if webp is not None else texture).index("source", len(self.images))
        if source is None and webp is not None:
            source = texture.index("source", len(self.images))
        if source is None:
            packed = [COMPRESSED[name] for name in COMPRESSED if texture.extension(name) is not None]
            raise Bundle3DError(
                f"Expected {texture.where} to name a PNG, JPEG or WebP image, but it has "
                f"{packed[0] if packed else 'none'}; export the textures as PNG."
            )
        if source not in self.decoded:
            fields = self.images[source]
            if "uri" in fields:
                data = self.document.embedded(fields.text("uri"), fields.where)
            else:
                data = bytes(self.document.view(fields.integer("bufferView", below=len(self.document.views)))[0])
            self.decoded[source] = self.reader.decode(data, fields.where).numpy()
        return self.decoded[source]


class _Slots:
    """The textures of one material, all brought to the placing of the first."""

    def __init__(self, reader: MaterialReader, where: str) -> None:
        self.reader, self.where = reader, where
        self.placing: Placing | None = None

    def take(self, fields: Fields, name: str) -> np.ndarray | None:
        """The image in slot ``name``; None where it is absent or lies differently from the first texture."""
        if name not in fields:
            return None
        info = fields.table(name)
        placing = self.reader.placing(info)
        if self.placing is None:
            self.placing = placing
        if (placing.uv_set, placing.transform) != (self.placing.uv_set, self.placing.transform):
            log.warning("%s.%s lies otherwise than the first texture of the material; left out.", self.where, name)
            return None
        image = self.reader.image(info)
        for axis in (0, 1):  # U runs along columns, V along rows
            if self.placing.wrap[axis] == MIRRORED:
                second = np.flip(image, 1 - axis) if placing.wrap[axis] == MIRRORED else image
                self.reader.document.limits.check("texture_side", 2 * image.shape[1 - axis], "pixels a side")
                image = np.concatenate([image, second], axis=1 - axis)
        return image


def _alpha_mode(fields: Fields) -> str:
    mode = fields.text("alphaMode", "OPAQUE")
    if mode not in ("OPAQUE", "MASK", "BLEND"):
        fields.refuse("alphaMode", "OPAQUE, MASK or BLEND")
    return mode


def _rgba(values: Sequence[float]) -> tuple[float, float, float, float]:
    red, green, blue, alpha = map(float, values)
    return red, green, blue, alpha


def _rgb(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image[..., :3]))


def _from_metallic_roughness(material: Material, fields: Fields, slots: _Slots) -> Material:
    base = slots.take(fields, "baseColorTexture")
    orm = slots.take(fields, "metallicRoughnessTexture")
    return replace(
        material,
        base_color_factor=_rgba(fields.vector("baseColorFactor", (1.0, 1.0, 1.0, 1.0), 0.0, 1.0)),
        metallic_factor=fields.number("metallicFactor", 1.0, 0.0, 1.0),
        roughness_factor=fields.number("roughnessFactor", 1.0, 0.0, 1.0),
        base_color_texture=None if base is None else torch.from_numpy(np.ascontiguousarray(base)),
        orm_texture=None if orm is None else _rgb(orm),
    )


def _with_occlusion(material: Material, fields: Fields, slots: _Slots) -> Material:
    occlusion = slots.take(fields, "occlusionTexture")
    if occlusion is None:
        return material
    strength = fields.table("occlusionTexture").number("strength", 1.0, 0.0, 1.0)
    if material.orm_texture is None:
        orm = np.full((*occlusion.shape[:2], 3), 255, np.uint8)
    else:
        orm = material.orm_texture.numpy().copy()
    height, width = (max(orm.shape[axis], occlusion.shape[axis]) for axis in (0, 1))
    orm = resize(orm, height, width).copy()
    orm[..., 0] = resize(occlusion, height, width)[..., 0]
    return replace(material, orm_texture=torch.from_numpy(orm), has_occlusion=True, occlusion_strength=strength)


def _with_emission(material: Material, fields: Fields, slots: _Slots) -> Material:
    factor = fields.vector("emissiveFactor", (0.0, 0.0, 0.0), 0.0, 1.0)
    extension = fields.extension("KHR_materials_emissive_strength")
    strength = 1.0 if extension is None else extension.number("emissiveStrength", 1.0, 0.0)
    emissive = slots.take(fields, "emissiveTexture")
    return replace(
        material,
        emissive_factor=(factor[0] * strength, factor[1] * strength, factor[2] * strength),
        emissive_texture=None if emissive is None else _rgb(emissive),
    )


def _from_specular_glossiness(material: Material, fields: Fields, slots: _Slots) -> Material:
    diffuse_factor = np.array(fields.vector("diffuseFactor", (1.0, 1.0, 1.0, 1.0), 0.0, 1.0))
    specular_factor = np.array(fields.vector("specularFactor", (1.0, 1.0, 1.0), 0.0, 1.0))
    glossiness = fields.number("glossinessFactor", 1.0, 0.0, 1.0)
    diffuse = slots.take(fields, "diffuseTexture")
    specular = slots.take(fields, "specularGlossinessTexture")
    if diffuse is None and specular is None:
        base, metallic = metallic_roughness(diffuse_factor[:3], specular_factor)
        return replace(
            material,
            base_color_factor=_rgba((*base, diffuse_factor[3])),
            metallic_factor=float(metallic),
            roughness_factor=1.0 - glossiness,
        )
    if specular is None and float(specular_factor.max()) <= 0.04:  # a plain dielectric: nothing varies but the colour
        return replace(
            material,
            base_color_factor=_rgba(tuple(diffuse_factor)),
            metallic_factor=0.0,
            roughness_factor=1.0 - glossiness,
            base_color_texture=None if diffuse is None else torch.from_numpy(np.ascontiguousarray(diffuse)),
        )
    images = [image for image in (diffuse, specular) if image is not None]
    height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
    base_texture = np.empty((height, width, 4), np.uint8)
    orm = np.full((height, width, 3), 255, np.uint8)
    diffuse = _full(diffuse, height, width)
    specular = _full(specular, height, width)
    for row in range(0, height, 64):  # in strips, so that large textures do not need gigabytes of floats
        part = slice(row, row + 64)
        d, s = diffuse[part] / 255.0, specular[part] / 255.0
        base, metallic = metallic_roughness(
            linear_from_srgb(d[..., :3]) * diffuse_factor[:3], linear_from_srgb(s[..., :3]) * specular_factor
        )
        base_texture[part, :, :3] = np.rint(srgb_from_linear(base) * 255.0)
        base_texture[part, :, 3] = np.rint(d[..., 3] * diffuse_factor[3] * 255.0)
        orm[part, :, 1] = np.rint((1.0 - s[..., 3] * glossiness) * 255.0)
        orm[part, :, 2] = np.rint(metallic * 255.0)
    if material.alpha_mode == "OPAQUE":
        base_texture = np.ascontiguousarray(base_texture[..., :3])
    return replace(
        material,
        metallic_factor=1.0,
        roughness_factor=1.0,
        base_color_texture=torch.from_numpy(base_texture),
        orm_texture=torch.from_numpy(orm),
    )


def _full(image: np.ndarray | None, height: int, width: int) -> np.ndarray:
    """An RGBA image of the wanted size; white where there is none."""
    if image is None:
        return np.broadcast_to(np.uint8(255), (height, width, 4))
    image = resize(image, height, width)
    if image.shape[2] == 4:
        return image
    return np.concatenate([image, np.full((height, width, 1), 255, np.uint8)], axis=-1)
