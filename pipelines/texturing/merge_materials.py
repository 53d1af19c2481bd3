"""Several materials and their textures into one."""

from __future__ import annotations

import numpy as np
import torch

from ..meshes.mesh import Material, Mesh
from ..meshes.topology import components, unique_keys
from .material_images import merged_material, needed_slots, resized, slot_image
from .rebake import rebake
from .shelves import shelf_pack

PADDING = 8  # texels of true continuation around every tile, enough for three mip levels
LARGEST_ATLAS = 4096 * 4096  # texels; repeated textures that would unroll beyond it are baked anew


def merge_materials(mesh: Mesh, resolution: int = 2048) -> Mesh:
    """The same surface with one material whose textures hold the tiles that the old ones show.

    Texels are copied, not resampled: each material contributes the rectangle that its faces use, unrolled where the
    texture repeats. If that needs more than 4096 x 4096 texels, the mesh is unwrapped anew and all materials are baked
    into ``resolution`` x ``resolution`` texels. Vertices shared by materials are doubled, faces keep their order.
    Unused materials go; a mesh that uses one material keeps it as it is.
    """
    if not mesh.materials:
        return mesh.with_(face_material=None)
    index = _face_material(mesh)
    used = torch.unique(index)
    if used.numel() < 2:
        only = mesh.materials[int(used[0])] if used.numel() else mesh.materials[0]
        return mesh.with_(materials=(only,), face_material=None)
    materials = tuple(mesh.materials[i] for i in used.tolist())
    mesh = mesh.with_(materials=materials, face_material=torch.searchsorted(used, index))
    slots = needed_slots(materials)
    if not slots:
        return mesh.with_(materials=(merged_material(materials, {}),), face_material=None)
    split, tiles = _split_by_material(mesh)
    windows = [_window(split, material, number, tiles) for number, material in enumerate(materials)]
    sizes = np.array([[right - left, bottom - top] for left, top, right, bottom, _, _ in windows], dtype=np.int64)
    if sizes.max() > 8192 or sizes.prod(1).sum() > LARGEST_ATLAS:
        return rebake(mesh, slots, resolution)
    origins, width, height = shelf_pack(sizes)
    if width * height > LARGEST_ATLAS:
        return rebake(mesh, slots, resolution)
    images = {slot: _atlas(materials, slot, windows, origins, width, height) for slot in slots}
    uv = torch.zeros((split.vertices.shape[0], 2), dtype=torch.float64, device=split.vertices.device)
    owner = _vertex_values(split, split.face_material)
    for number, (left, top, right, bottom, across, down) in enumerate(windows):
        rows = owner == number
        if materials[number].textures and split.uv is not None:
            place = (split.uv[rows].double() - tiles[rows]) * uv.new_tensor((across, down)) - uv.new_tensor((left, top))
        else:
            place = uv.new_tensor((right - left, bottom - top)) / 2
        uv[rows] = (place + uv.new_tensor(origins[number])) / uv.new_tensor((width, height))
    return split.with_(
        uv=uv.float(),
        materials=(merged_material(materials, images),),
        face_material=None,
        tangents=split.tangents if mesh.uv is not None else None,
    )


def _face_material(mesh: Mesh) -> torch.Tensor:
    if mesh.face_material is None:
        return torch.zeros(mesh.faces.shape[0], dtype=torch.int64, device=mesh.faces.device)
    return mesh.face_material.clamp(0, len(mesh.materials) - 1)


def _split_by_material(mesh: Mesh) -> tuple[Mesh, torch.Tensor]:
    """The mesh with its vertices doubled between materials, and the whole tiles (N, 2) that each part of a texture's
    surface can be moved by, so that it starts in the first tile."""
    assert mesh.face_material is not None
    count = len(mesh.materials)
    values, inverse = unique_keys((mesh.faces * count + mesh.face_material[:, None]).reshape(-1))
    source = values // count

    def pick(attribute: torch.Tensor | None) -> torch.Tensor | None:
        return None if attribute is None else attribute.index_select(0, source)

    split = mesh.with_(
        vertices=mesh.vertices.index_select(0, source),
        faces=inverse.reshape(-1, 3),
        uv=pick(mesh.uv),
        normals=pick(mesh.normals),
        tangents=pick(mesh.tangents),
        colors=pick(mesh.colors),
    )
    if split.uv is None:
        return split, torch.zeros((len(source), 2), dtype=torch.float64, device=source.device)
    part = _vertex_values(split, components(split.faces, len(source)))
    low = torch.full((int(part.max()) + 1, 2), torch.inf, dtype=torch.float64, device=source.device)
    low = low.scatter_reduce(0, part[:, None].expand(-1, 2), split.uv.double(), reduce="amin")
    # a hair below a whole number is that number, or a texture that starts at -1e-7 would be unrolled twice
    tiles = torch.floor(low + 1e-4).index_select(0, part)
    repeats = torch.tensor([material.repeat for material in mesh.materials], device=source.device)
    owner = _vertex_values(split, split.face_material)
    return split, tiles * repeats.index_select(0, owner)[:, None]


def _vertex_values(mesh: Mesh, face_values: torch.Tensor | None) -> torch.Tensor:
    """(N,) the value of the faces at each vertex; all of them have the same."""
    assert face_values is not None
    values = torch.zeros(mesh.vertices.shape[0], dtype=torch.int64, device=mesh.faces.device)
    return values.scatter(0, mesh.faces.reshape(-1), face_values.repeat_interleave(3))


def _window(mesh: Mesh, material: Material, number: int, tiles: torch.Tensor) -> tuple[int, int, int, int, int, int]:
    """Left, top, right, bottom texel that a material's faces need, in textures of the given width and height."""
    assert mesh.face_material is not None
    height = max((image.shape[0] for image in material.textures.values()), default=0)
    width = max((image.shape[1] for image in material.textures.values()), default=0)
    if mesh.uv is None or width == 0:
        return 0, 0, PADDING, PADDING, 1, 1
    vertices = torch.unique(mesh.faces[mesh.face_material == number])
    uv = mesh.uv[vertices].double().nan_to_num().clamp(-1e6, 1e6)
    place = (uv - tiles[vertices]) * torch.tensor((width, height), device=mesh.uv.device)
    left, top = (place.amin(0).floor().long() - PADDING).tolist()
    right, bottom = (place.amax(0).ceil().long() + PADDING).tolist()
    return left, top, right, bottom, width, height


def _atlas(
    materials: tuple[Material, ...],
    slot: str,
    windows: list[tuple[int, int, int, int, int, int]],
    origins: np.ndarray,
    width: int,
    height: int,
) -> torch.Tensor:
    """uint8 (height, width, C) with the window of every material at its origin."""
    atlas = None
    for material, (left, top, right, bottom, across, down), (x, y) in zip(materials, windows, origins.tolist()):
        image = resized(slot_image(material, slot), down, across)
        if atlas is None:
            atlas = torch.zeros((height, width, image.shape[-1]), dtype=torch.uint8)
        rows, columns = _wrapped(top, bottom, down, material.repeat), _wrapped(left, right, across, material.repeat)
        atlas[y : y + bottom - top, x : x + right - left] = image[rows][:, columns]
    assert atlas is not None
    return atlas


def _wrapped(start: int, stop: int, size: int, repeat: bool) -> torch.Tensor:
    texels = torch.arange(start, stop)
    return texels % size if repeat else texels.clamp(0, size - 1)
