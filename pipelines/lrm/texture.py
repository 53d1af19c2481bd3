"""A texture read off the reconstructed field, texel by texel.

Source: specs/kiss3dgen.md section 5.9.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from ..errors import Bundle3DError
from ..meshes.harmonic_fill import joined_at_seams
from ..meshes.mesh import Material, Mesh
from ..meshes.padding import pad_texture
from ..progress import Progress, Stage, silent
from ..rendering.color import linear_to_srgb
from ..texturing.texel_map import TexelMap, rasterise_uv
from ..texturing.unwrap import unwrap
from .cameras import to_model
from .config import LrmConfig
from .field import TriplaneField
from .model import LargeReconstructionModel

UNWRAPPED, COLORED, DONE = 40, 80, 100  # steps of the progress
ROUGHNESS = 0.9  # of the reference's previews, which show the predicted material nowhere


@torch.no_grad()
def texture_from_field(
    model: LargeReconstructionModel,
    planes: torch.Tensor,
    mesh: Mesh,
    resolution: int = 2048,
    material: bool = False,
    progress: Progress = silent,
    backend: str = "auto",
) -> Mesh:
    """``mesh`` with one material whose base colour is that of the field of ``planes`` (3, C, h, w) at every texel.

    The mesh is that of ``extract_mesh`` or another one in the same place and size; without uv it is unwrapped. With
    ``material``, predicted metallic and roughness are baked too, where the model knows them; otherwise the surface is
    rough and no metal. Normals become smooth across the seams; vertex colours and tangents are dropped.
    ``progress`` may cancel between chunks.

    Raises Bundle3DError for a mesh without faces, and where ``material`` is wanted of a model that has none.
    """
    if material:
        require_material(model.config)
    if mesh.uv is None:
        mesh, _ = unwrap(mesh, resolution, backend=backend, progress=Stage(progress, 0, UNWRAPPED, DONE))
    texels = rasterise_uv(mesh, resolution, backend=backend)
    points = to_model(texels.interpolate(mesh.vertices, mesh.faces)).to(planes)
    field = TriplaneField(model.decoder, planes)
    end = COLORED if material else DONE
    colors = field.color(points, Stage(progress, UNWRAPPED, end, DONE))
    baked = Material(
        name="reconstructed",
        roughness_factor=ROUGHNESS,
        base_color_texture=_image(texels, linear_to_srgb(colors) if model.config.linear_color else colors),
        repeat=False,
    )
    if material:
        baked = _with_material(baked, texels, field.material(points, Stage(progress, COLORED, DONE, DONE)))
    joined, ids = joined_at_seams(mesh)
    return mesh.with_(
        normals=joined.vertex_normals()[ids], tangents=None, colors=None, materials=(baked,), face_material=None
    )


def require_material(config: LrmConfig) -> None:
    """Raise Bundle3DError where the model predicts no material."""
    if not config.material:
        raise Bundle3DError(
            "Expected a model that predicts material, but this checkpoint (InstantMesh) has colours only; switch the "
            "material off, or load prm_final_ckpt.ckpt."
        )


def _with_material(baked: Material, texels: TexelMap, values: torch.Tensor) -> Material:
    """``baked`` with metallic and roughness (K, 2) of the covered texels in the channels that glTF reads."""
    metallic, roughness = values.unbind(-1)
    image = _image(texels, torch.stack((torch.ones_like(metallic), roughness, metallic), dim=-1))
    return replace(baked, orm_texture=image, metallic_factor=1.0, roughness_factor=1.0)


def _image(texels: TexelMap, values: torch.Tensor) -> torch.Tensor:
    """(R, R, 3) uint8 on the CPU of the covered texels' ``values`` (K, 3) in [0, 1], continued between the charts."""
    image = torch.zeros(*texels.mask.shape, 3, dtype=torch.uint8, device=texels.mask.device)
    image[texels.mask] = (values.clamp(0.0, 1.0) * 255.0).round().to(image)
    return pad_texture(image, texels.mask).cpu()
