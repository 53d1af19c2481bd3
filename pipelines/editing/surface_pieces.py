"""A surface cut into small pieces, however its triangles are, to look for things on it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..meshes.mesh import Mesh

PER_SQUARE = 6.0  # pieces that halving gives per square of their longest edge, about


@dataclass(frozen=True)
class Pieces:
    """K triangles on the faces of a mesh: ``face`` (K,) int64, and ``corners`` (K, 3, 3) the barycentric coordinates of
    their corners on it."""

    face: torch.Tensor
    corners: torch.Tensor

    def __len__(self) -> int:
        return self.face.shape[0]

    def __getitem__(self, chosen: torch.Tensor | slice) -> Pieces:
        """The pieces chosen by a mask (K,), by indices or by a slice."""
        return Pieces(self.face[chosen], self.corners[chosen])

    @property
    def centres(self) -> torch.Tensor:
        """(K, 3) barycentric coordinates of the centroids."""
        return self.corners.mean(1)

    @property
    def probes(self) -> torch.Tensor:
        """(K, 4, 3) barycentric coordinates of the corners and the centroid of each."""
        return torch.cat((self.corners, self.centres[:, None]), dim=1)


def whole_faces(mesh: Mesh) -> Pieces:
    """Every face as one piece."""
    count, device = mesh.faces.shape[0], mesh.faces.device
    corners = torch.eye(3, dtype=torch.float64, device=device).expand(count, 3, 3)
    return Pieces(torch.arange(count, device=device), corners)


def cut(mesh: Mesh, pieces: Pieces, longest: float) -> Pieces:
    """The same places in pieces with no edge longer than ``longest`` (mesh units).

    Longest edges are halved, so that thin triangles give no more pieces than they need.
    """
    vertices, face, corners = mesh.vertices.double(), pieces.face, pieces.corners
    done = []
    while len(face):
        place = corners @ vertices[mesh.faces[face]]
        length, side = (place.roll(-1, dims=1) - place).norm(dim=2).max(dim=1)
        fine = length <= longest
        done.append(Pieces(face[fine], corners[fine]))
        face, corners, side = face[~fine], corners[~fine], side[~fine]
        order = (side[:, None] + torch.arange(3, device=side.device)) % 3
        a, b, c = corners.gather(1, order[..., None].expand(-1, -1, 3)).unbind(1)
        middle = (a + b) / 2.0
        corners = torch.cat((torch.stack((a, middle, c), dim=1), torch.stack((middle, b, c), dim=1)))
        face = torch.cat((face, face))
    return Pieces(torch.cat([part.face for part in done]), torch.cat([part.corners for part in done]))


def affordable(mesh: Mesh, pieces: Pieces, longest: float, most: int) -> float:
    """``longest``, or a larger length where ``cut`` would add more than about ``most`` pieces with it."""
    place = pieces.corners @ mesh.vertices.double()[mesh.faces[pieces.face]]
    length = (place.roll(-1, dims=1) - place).norm(dim=2).amax(dim=1)
    area = torch.linalg.cross(place[:, 1] - place[:, 0], place[:, 2] - place[:, 0]).norm(dim=1) / 2.0
    while True:
        large = length > longest
        if float((2.0 * length[large] / longest + PER_SQUARE * area[large] / longest**2).sum()) <= most:
            return longest
        longest *= 1.25


def areas(mesh: Mesh, pieces: Pieces) -> torch.Tensor:
    """(K,) float64 areas of the pieces, in square mesh units."""
    whole = mesh.face_normals().double().norm(dim=1) / 2.0
    return whole[pieces.face] * torch.linalg.det(pieces.corners).abs()
