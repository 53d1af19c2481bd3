"""Linear blend skinning of a glTF mesh in the pose that its file stands in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import Bundle3DError
from .assemble import Part, cofactors, unit
from .gltf_document import Document, as_float
from .json_fields import Fields

CHUNK = 1 << 16  # vertices whose 4 x 4 matrices are held at a time


def posed(part: Part, document: Document, node: Fields, attributes: Fields, worlds: dict[int, np.ndarray]) -> Part:
    """The part in world coordinates. As glTF rules, the node's own transform does not count, only its joints'."""
    skins = document.root.tables("skins")
    skin = skins[node.integer("skin", below=len(skins))]
    matrices = _joint_matrices(document, skin, worlds)
    joints, weights = _influences(document, attributes, part.positions.shape[0], len(matrices))
    positions = np.empty_like(part.positions)
    normals = None if part.normals is None else np.empty(part.normals.shape)
    tangents = None if part.tangents is None else part.tangents.astype(np.float64)
    mirrored = 0
    for start in range(0, len(positions), CHUNK):
        rows = slice(start, start + CHUNK)
        blended = np.einsum("nk,nkij->nij", weights[rows], matrices[joints[rows]])
        linear = blended[:, :3, :3]
        positions[rows] = np.einsum("nij,nj->ni", linear, part.positions[rows]) + blended[:, :3, 3]
        sign = np.where(np.linalg.det(linear) < 0, -1.0, 1.0)[:, None]
        mirrored += int((sign < 0).sum())
        if normals is not None and part.normals is not None:
            normals[rows] = unit(np.einsum("nij,nj->ni", cofactors(linear), part.normals[rows])) * sign
        if tangents is not None:
            tangents[rows, :3] = unit(np.einsum("nij,nj->ni", linear, tangents[rows, :3]))
            tangents[rows, 3:] *= sign
    faces = part.faces[:, ::-1] if 2 * mirrored > len(positions) else part.faces
    return replace(part, positions=positions, normals=normals, tangents=tangents, faces=faces)


def _joint_matrices(document: Document, skin: Fields, worlds: dict[int, np.ndarray]) -> np.ndarray:
    """(J, 4, 4) float64: from the mesh's bind frame to the world."""
    joints = skin.indices("joints", len(document.root.tables("nodes")))
    if not joints or any(joint not in worlds for joint in joints):
        raise Bundle3DError(
            f"Expected the joints of {skin.where} in the scene, but some are missing; "
            "export the file again, or without its skeleton."
        )
    matrices = np.stack([worlds[joint] for joint in joints])
    index = skin.index("inverseBindMatrices", len(document.accessors))
    if index is None:
        return matrices
    accessor = document.accessor(index)
    if accessor.width != 16 or accessor.dtype.kind != "f" or accessor.count < len(joints):
        accessor.fields.refuse("count", f"{len(joints)} float MAT4 for {skin.where}")
    inverse = document.read(index)[: len(joints)].astype(np.float64).reshape(-1, 4, 4).transpose(0, 2, 1)
    if not np.isfinite(inverse).all():
        raise Bundle3DError(f"Expected finite bind matrices in {skin.where}, but some are not; export the file again.")
    return matrices @ inverse


def _influences(document: Document, attributes: Fields, count: int, joints: int) -> tuple[np.ndarray, np.ndarray]:
    """Joint indices (N, K) and weights (N, K) that sum to one."""
    indices: list[np.ndarray] = []
    weights: list[np.ndarray] = []
    for number in range(8):
        names = (f"JOINTS_{number}", f"WEIGHTS_{number}")
        if names[0] not in attributes or names[1] not in attributes:
            break
        for name, rows in zip(names, (indices, weights)):
            index = attributes.integer(name, below=len(document.accessors))
            accessor = document.accessor(index)
            if accessor.width != 4 or accessor.count != count:
                accessor.fields.refuse("count", f"{count} VEC4 for {name}")
            rows.append(document.read(index))
        if indices[-1].dtype.kind != "u" or (count and int(indices[-1].max()) >= joints):
            raise Bundle3DError(
                f"Expected joint indices below {joints} in {names[0]}, but got others; export the file again."
            )
    if not weights:
        raise Bundle3DError("Expected JOINTS_0 and WEIGHTS_0 on a skinned mesh, but got none; export it unskinned.")
    amounts = np.concatenate([as_float(row, True) for row in weights], axis=1).astype(np.float64)
    places = np.concatenate([row.astype(np.int64) for row in indices], axis=1)
    if not np.isfinite(amounts).all():
        raise Bundle3DError("Expected finite skin weights, but some are NaN or infinite; export the file again.")
    total = amounts.sum(1, keepdims=True)
    amounts[total[:, 0] <= 0, 0] = 1.0
    return places, amounts / np.where(total > 0, total, 1.0)
