"""The texels of a texture that show certain faces of a mesh, and nothing else of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import interpolate, max_pool2d, pad

from ..errors import Bundle3DError
from ..meshes.mesh import Material, Mesh
from ..meshes.padding import pad_texture
from ..rendering.rasterise import visible_faces
from ..texturing.paintable import SHARED
from ..texturing.texel_map import rasterise_uv, uv_overlap, uv_to_clip
from .fine_surface import FineSurface, tiled_uv

GUTTER = 8  # texels around charts that follow them


@dataclass(frozen=True)
class Texels:
    """T texels that show faces which may change: flat ``index`` (T,) into the texture (H, W), ``face`` (T,) of the fine
    surface and ``barycentric`` (T, 3) there. ``foreign`` (H, W) bool: texels of other faces of the material."""

    index: torch.Tensor
    face: torch.Tensor
    barycentric: torch.Tensor
    foreign: torch.Tensor


def why_not_unique(
    mesh: Mesh, may_change: torch.Tensor, of_material: torch.Tensor, size: tuple[int, int]
) -> str | None:
    """What keeps the texels of the faces ``may_change`` & ``of_material``, both (M,) bool, from being painted for these
    faces alone in a texture of ``size`` (H, W); None where nothing does."""
    if mesh.uv is None:
        return "has no texture coordinates"
    corners = tiled_uv(mesh)
    own = corners[may_change & of_material]
    texel = 1.0 / max(size)
    if bool(((own < -texel) | (own > 1.0 + texel)).any()):
        return "has texture coordinates outside 0 to 1"
    overlap = uv_overlap(own.reshape(-1, 2), torch.arange(3 * len(own), device=own.device).reshape(-1, 3), size)
    if overlap.share > SHARED:
        return f"shows {overlap.share:.0%} of the texels to be changed in several places"
    theirs = _covered(corners[of_material & ~may_change], size)
    both = theirs & _covered(own, size)
    share = int(both.sum()) / max(overlap.covered, 1)
    if share > SHARED:
        return f"shows {share:.0%} of the texels to be changed in places that must stay"
    return None


def texels_of(
    mesh: Mesh, surface: FineSurface, may_change: torch.Tensor, of_material: torch.Tensor, size: tuple[int, int]
) -> Texels:
    """The texels of a texture of ``size`` (H, W) that show the faces ``may_change`` & ``of_material``, both (M,) bool,
    and no other face of the material."""
    foreign = _covered(tiled_uv(mesh)[of_material & ~may_change], size)
    assert surface.mesh.face_material is not None
    chosen = torch.nonzero((may_change & of_material)[surface.mesh.face_material])[:, 0]
    drawn = rasterise_uv(Mesh(surface.mesh.vertices, surface.mesh.faces[chosen], uv=surface.mesh.uv), size)
    index = torch.nonzero((drawn.mask & ~foreign).reshape(-1))[:, 0]
    face = chosen[drawn.face.reshape(-1)[index].long()]
    return Texels(index, face, drawn.barycentric.reshape(-1, 3)[index], foreign)


def _covered(corners: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(H, W) bool: texels whose centre lies in a face with uv ``corners`` (K, 3, 2)."""
    if not len(corners):
        return torch.zeros(size, dtype=torch.bool, device=corners.device)
    faces = torch.arange(3 * len(corners), device=corners.device).reshape(-1, 3)
    return visible_faces(uv_to_clip(corners.reshape(-1, 2))[None].float(), faces, *size)[0] >= 0


def with_gutter(
    old: torch.Tensor, new: torch.Tensor, texels: Texels, weight: torch.Tensor, reach: int = GUTTER
) -> torch.Tensor:
    """``new`` (H, W, C) uint8 with what it changed of ``old`` continued between charts, up to ``reach`` texels far.

    ``weight`` (T,) tells how far each of the ``texels`` may change. No texel changes that a lookup beside texels which
    stay would read.
    """
    height, width = old.shape[:2]
    free = torch.zeros(height * width, dtype=torch.bool, device=old.device)
    free[texels.index[weight > 0.0]] = True
    shown = texels.foreign.clone().reshape(-1)
    shown[texels.index] = True
    stays = (shown & ~free).reshape(height, width)
    changed = (new != old).any(-1)
    rows, columns = (torch.nonzero(changed.any(axis))[:, 0] for axis in (1, 0))
    if not len(rows):
        return new
    window = tuple(
        slice(max(int(found[0]) - reach, 0), min(int(found[-1]) + reach + 1, most))
        for found, most in ((rows, height), (columns, width))
    )
    covered = shown.reshape(height, width)[window]
    between = ~covered & _grown(changed[window], reach) & ~_grown(stays[window], 1)
    change = pad_texture(new[window].float() - old[window].float(), covered)
    moved = (old[window].float() + change).round().clamp(0.0, 255.0).to(torch.uint8)
    result = new.clone()
    result[window] = torch.where(between[..., None], moved, new[window])
    return result


def _grown(mask: torch.Tensor, reach: int) -> torch.Tensor:
    """``mask`` (H, W) and all within ``reach`` texels of it."""
    rows = max_pool2d(mask[None].float(), (2 * reach + 1, 1), 1, (reach, 0))
    return max_pool2d(rows, (1, 2 * reach + 1), 1, (0, reach))[0] > 0.0


def enlarged(texture: torch.Tensor, factor: int, repeat: bool) -> torch.Tensor:
    """A uint8 texture (H, W, C) with ``factor`` times as many texels each way: what bilinear lookups in it give."""
    if factor == 1:
        return texture
    height, width = texture.shape[:2]
    planes = pad(texture.permute(2, 0, 1)[None].float(), (1, 1, 1, 1), mode="circular" if repeat else "replicate")
    larger = interpolate(planes, scale_factor=factor, mode="bilinear", align_corners=False)
    inner = larger[0, :, factor : factor * (height + 1), factor : factor * (width + 1)]
    return inner.permute(1, 2, 0).round().to(torch.uint8).contiguous()


def refuse(mesh: Mesh, material: Material, reason: str) -> Bundle3DError:
    """The refusal to paint ``material`` for ``reason``."""
    return Bundle3DError(
        f"Expected texture coordinates of their own for all that changes, but the material {material.name!r} of "
        f"{mesh.name} {reason}; switch new_uv on, so that what changes gets new ones."
    )
