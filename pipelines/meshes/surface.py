"""A mesh for surgery: one point per place, with the attributes kept at the corners of the faces."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from .mesh import Mesh, vertex_normals
from .topology import unique_keys
from .weld import position_ids, weld

Array = np.ndarray


@dataclass(frozen=True)
class Surface:
    """Welded geometry that remembers where its attributes come from.

    ``points`` (P, 3) float64; ``faces`` (M, 3) int64 into the points; ``corners`` (M, 3) int64 the vertex of ``source``
    whose uv, colour and normal each corner carries; ``material`` (M,) int64; ``flipped`` (M,) bool, faces turned over
    since; ``patch`` (M,) int64, 0 for faces of the source and k for those that fill the k-th hole.
    """

    source: Mesh
    points: Array
    faces: Array
    corners: Array
    material: Array
    flipped: Array
    patch: Array

    @property
    def tensor(self) -> torch.Tensor:
        """The faces as a tensor, for the functions of topology.py."""
        return torch.from_numpy(self.faces)

    def keep(self, mask: Array) -> Surface:
        """The surface of the faces chosen by a boolean mask (M,)."""
        names = ("faces", "corners", "material", "flipped", "patch")
        return replace(self, **{name: getattr(self, name)[mask] for name in names})

    def flip(self, mask: Array) -> Surface:
        """The surface with the chosen faces (M,) turned over."""
        turned = mask[:, None]
        return replace(
            self,
            faces=np.where(turned, self.faces[:, ::-1], self.faces),
            corners=np.where(turned, self.corners[:, ::-1], self.corners),
            flipped=self.flipped ^ mask,
        )

    def add(self, points: Array, faces: Array, corners: Array, material: Array, patch: Array) -> Surface:
        """The surface with more points (K, 3) and faces (L, 3)."""
        return replace(
            self,
            points=np.concatenate((self.points, points)),
            faces=np.concatenate((self.faces, faces)),
            corners=np.concatenate((self.corners, corners)),
            material=np.concatenate((self.material, material)),
            flipped=np.concatenate((self.flipped, np.zeros(len(faces), dtype=bool))),
            patch=np.concatenate((self.patch, patch)),
        )


def surface_of(mesh: Mesh, tolerance: float) -> Surface:
    """Weld a mesh (tolerance in its units); faces that collapse are dropped."""
    source = weld(mesh.to("cpu"), tolerance)
    ids = position_ids(source.vertices, tolerance)
    points = np.zeros((int(ids.max()) + 1 if ids.numel() else 0, 3))
    # written backwards, so that the first vertex of a place decides
    points[ids.flip(0).numpy()] = source.vertices.flip(0).double().numpy()
    corners = source.faces.numpy().copy()
    count = len(corners)
    material = np.zeros(count, dtype=np.int64) if source.face_material is None else source.face_material.numpy().copy()
    return Surface(
        source=source,
        points=points,
        faces=ids.numpy()[corners],
        corners=corners,
        material=material,
        flipped=np.zeros(count, dtype=bool),
        patch=np.zeros(count, dtype=np.int64),
    )


def mesh_of(surface: Surface, like: Mesh) -> Mesh:
    """The surface as a mesh with the attributes of its source, on the device of ``like``.

    Vertices are doubled where corners of one point carry different attributes. Normals of faces turned over are
    reversed; filled holes get flat-free normals of their own.
    """
    source, count = surface.source, max(len(surface.points), 1)
    bare = source.uv is None and source.colors is None and source.normals is None
    corner = np.zeros_like(surface.corners) if bare else surface.corners
    side = np.zeros(len(surface.faces), dtype=np.int64)
    if source.normals is not None:
        side = surface.patch * 2 + surface.flipped
    stride = int(corner.max()) + 1 if corner.size else 1
    keys = (side[:, None] * stride + corner) * count + surface.faces
    values, inverse = unique_keys(torch.from_numpy(keys.reshape(-1)))
    faces = inverse.reshape(-1, 3)
    point = values % count
    origin = torch.from_numpy(surface.corners.reshape(-1))
    first = torch.zeros(values.numel(), dtype=torch.int64).scatter_(0, inverse, origin)
    vertices = torch.from_numpy(surface.points).index_select(0, point).float()

    def pick(attribute: torch.Tensor | None) -> torch.Tensor | None:
        return None if attribute is None else attribute.index_select(0, first)

    normals, tangents = pick(source.normals), pick(source.tangents)
    state = values // count // stride
    turned, patched = state % 2 == 1, state >= 2
    if normals is not None:
        normals = torch.where(turned[:, None], -normals, normals)
        if bool(patched.any()):
            own = vertex_normals(vertices, faces[torch.from_numpy(surface.patch) > 0])
            normals = torch.where(patched[:, None], own, normals)
            tangents = None
    if tangents is not None:
        sign = torch.where(turned, -1.0, 1.0)
        tangents = torch.cat((tangents[:, :3], tangents[:, 3:] * sign[:, None]), dim=1)
    mesh = source.with_(
        vertices=vertices,
        faces=faces,
        uv=pick(source.uv),
        normals=normals,
        tangents=tangents,
        colors=pick(source.colors),
        face_material=None if source.face_material is None else torch.from_numpy(surface.material),
    )
    return mesh.to(like.vertices.device)
