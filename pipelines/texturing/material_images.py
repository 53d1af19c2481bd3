"""Materials as images alone: factors multiplied into textures, so that several materials can share one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch.nn import functional

from ..meshes.mesh import Material
from ..rendering.color import linear_to_srgb, srgb_to_linear

SLOTS = ("base_color_texture", "orm_texture", "normal_texture", "emissive_texture")
NEUTRAL = {
    "base_color_texture": (255, 255, 255, 255),
    "orm_texture": (255, 255, 255),
    "normal_texture": (128, 128, 255),
}


def needed_slots(materials: Sequence[Material]) -> tuple[str, ...]:
    """The slots in which the materials differ or have a texture; in the others their factors say all."""
    first = materials[0]
    needed = []
    for slot in SLOTS:
        textured = any(getattr(material, slot) is not None for material in materials)
        if textured or any(_factors(material, slot) != _factors(first, slot) for material in materials):
            needed.append(slot)
    return tuple(needed)


def slot_image(material: Material, slot: str) -> torch.Tensor:
    """uint8 (H, W, C) of one slot with all factors multiplied in; a single texel where there is no texture.

    Base colour has four channels, alpha 255 for opaque materials; the others have three. Missing normals are flat.
    """
    texture = getattr(material, slot)
    if texture is None:
        image = torch.tensor(NEUTRAL.get(slot, (255, 255, 255)), dtype=torch.uint8).reshape(1, 1, -1)
    else:
        image = texture.cpu()
    value = image.float() / 255.0
    if slot == "base_color_texture":
        alpha = value[..., 3:] if value.shape[-1] == 4 else torch.ones_like(value[..., :1])
        alpha = alpha * material.base_color_factor[3] if material.alpha_mode != "OPAQUE" else torch.ones_like(alpha)
        value = torch.cat((_tinted(value[..., :3], material.base_color_factor[:3]), alpha), dim=-1)
    elif slot == "emissive_texture":
        value = _tinted(value, material.emissive_factor)
    elif slot == "orm_texture":
        occlusion = value[..., 0] if material.has_occlusion else torch.ones_like(value[..., 0])
        occlusion = 1.0 + material.occlusion_strength * (occlusion - 1.0)
        roughness, metallic = value[..., 1] * material.roughness_factor, value[..., 2] * material.metallic_factor
        value = torch.stack((occlusion, roughness, metallic), dim=-1)
    elif material.normal_scale != 1.0 and texture is not None:
        vector = value * 2.0 - 1.0
        vector = functional.normalize(
            vector * torch.tensor((material.normal_scale, material.normal_scale, 1.0)), dim=-1
        )
        value = vector * 0.5 + 0.5
    else:
        return image
    return (value * 255.0).round().clamp(0, 255).to(torch.uint8)


def merged_material(materials: Sequence[Material], images: dict[str, torch.Tensor]) -> Material:
    """One material for all, showing ``images`` by slot; factors of slots without an image are those of the first.

    It blends if any of them blends, else cuts out if any does; it is double-sided if any is, unlit if all are.
    """
    first = materials[0]
    modes = {material.alpha_mode for material in materials}
    mode = "BLEND" if "BLEND" in modes else "MASK" if "MASK" in modes else "OPAQUE"
    changes: dict[str, object] = {slot: images.get(slot) for slot in SLOTS}
    if "base_color_texture" in images:
        changes["base_color_factor"] = (1.0, 1.0, 1.0, 1.0)
        if mode == "OPAQUE":
            changes["base_color_texture"] = images["base_color_texture"][..., :3].contiguous()
    if "orm_texture" in images:
        changes.update(roughness_factor=1.0, metallic_factor=1.0, occlusion_strength=1.0)
        changes["has_occlusion"] = any(material.has_occlusion for material in materials)
    if "normal_texture" in images:
        changes["normal_scale"] = 1.0
    if "emissive_texture" in images:
        changes["emissive_factor"] = (1.0, 1.0, 1.0)
    cutoffs = [material.alpha_cutoff for material in materials if material.alpha_mode == "MASK"]
    return replace(
        first,
        **changes,  # type: ignore[arg-type]
        name="merged",
        alpha_mode=mode,
        alpha_cutoff=cutoffs[0] if cutoffs else first.alpha_cutoff,
        double_sided=any(material.double_sided for material in materials),
        unlit=all(material.unlit for material in materials),
        repeat=False,
    )


def resized(image: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """A uint8 image (H, W, C) at another size, bilinear."""
    if image.shape[:2] == (height, width):
        return image
    if image.shape[:2] == (1, 1):
        return image.expand(height, width, -1)
    planes = image.permute(2, 0, 1)[None].float()
    scaled = functional.interpolate(planes, size=(height, width), mode="bilinear", align_corners=False, antialias=True)
    return scaled[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8)


def _factors(material: Material, slot: str) -> tuple[object, ...]:
    if slot == "base_color_texture":
        return material.base_color_factor
    if slot == "emissive_texture":
        return material.emissive_factor
    if slot == "orm_texture":
        return material.metallic_factor, material.roughness_factor
    return ()


def _tinted(color: torch.Tensor, factor: Sequence[float]) -> torch.Tensor:
    if tuple(factor) == (1.0, 1.0, 1.0):
        return color
    return linear_to_srgb(srgb_to_linear(color) * torch.tensor(factor, dtype=torch.float32))
