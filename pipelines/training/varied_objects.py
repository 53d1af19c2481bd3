"""Procedural objects whose captions do not tell their pose, size or proportions: only a control picture does."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from ..meshes.mesh import Mesh
from ..meshes.normalise import normalise
from .captions import caption, draw_subject
from .dataset import ProceduralObject
from .shapes import PLAIN, Subject, build

LYING_SHARE = 1 / 3
STRETCH = 0.25  # by which sides are longer or shorter, as a power of e
EXTENTS = (1.0, 2.0)  # of the longest side


def varied_object(index: int, seed: int = 0) -> ProceduralObject:
    """The object with a number, of a generator of its own: stretched, of any size, lying perhaps, and turned.

    It is called by shape and colour alone. Those that training must not see are not among them.
    """
    generator = np.random.default_rng((seed, 5, index))
    subject = draw_subject(generator)
    text = caption(plain(subject), generator)
    state = generator.bit_generator.state

    def mesh() -> Mesh:
        generator.bit_generator.state = state
        shape = build(subject, generator)
        stretch = np.exp(generator.uniform(-STRETCH, STRETCH, 3))
        pose = _turn(generator.uniform(0.0, 2.0 * math.pi), 0, 2)
        if generator.random() < LYING_SHARE:
            pose = pose @ _turn(math.pi / 2, 1, 2)
        return normalise(_moved(shape, pose * stretch), float(generator.uniform(*EXTENTS)))

    return ProceduralObject(text, mesh)


def plain_caption(index: int, seed: int = 0) -> str:
    """What ``procedural_object`` of that number is called by shape and colour alone."""
    generator = np.random.default_rng((seed, 0, index))
    return caption(plain(draw_subject(generator)), generator)


def plain(subject: Subject) -> Subject:
    """The subject without its size and proportions."""
    return Subject(tuple(replace(part, proportion=PLAIN) for part in subject.parts))


def _turn(angle: float, first: int, second: int) -> np.ndarray:
    """(3, 3) rotation by ``angle`` radians in the plane of two axes."""
    matrix = np.eye(3)
    matrix[[first, second], [first, second]] = math.cos(angle)
    matrix[first, second], matrix[second, first] = math.sin(angle), -math.sin(angle)
    return matrix


def _moved(mesh: Mesh, matrix: np.ndarray) -> Mesh:
    """The mesh with its vertices multiplied by ``matrix`` (3, 3), and its normals as that turns them."""
    forward = torch.from_numpy(matrix).float()
    normals = None if mesh.normals is None else torch.nn.functional.normalize(mesh.normals @ forward.inverse(), dim=-1)
    return mesh.with_(vertices=mesh.vertices @ forward.T, normals=normals)
