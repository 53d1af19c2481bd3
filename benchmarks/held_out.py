"""Objects that no training of the demo models has seen, and the pictures that are given of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.normalise import normalise
from bundle3d.pipelines.metrics.alignment import turn
from bundle3d.pipelines.rendering.render_views import render_views
from bundle3d.pipelines.training.captions import held_out_subjects
from bundle3d.pipelines.training.multiview_dataset import ELEVATIONS, EXTENT, FRONTAL_SHARE, RIG_ELEVATION
from bundle3d.pipelines.training.shapes import Subject, build
from bundle3d.pipelines.views.camera import Camera
from bundle3d.pipelines.views.masks import unmix_white
from bundle3d.pipelines.views.rig import Rig

# Of random numbers. Trainings take 0, 2, 3 and, for objects of other subjects, 4; the choice of the subjects takes 1.
STREAM = 4


@dataclass(frozen=True)
class HeldOutObject:
    """A subject that training never draws, as ``mesh`` in the frame of its views, and the ``camera`` of its picture."""

    subject: Subject
    mesh: Mesh
    camera: Camera


def held_out_objects(count: int, seed: int = 0, varied: bool = False) -> list[HeldOutObject]:
    """``count`` of them, of the size that the multi-view model draws, three in five facing the camera, the others
    turned, as in training.

    Pictures are taken at the elevation of the drawn views; if ``varied``, at any that training had.
    """
    return [_object(subject, generator(index, seed), varied) for index, subject in enumerate(held_out_subjects(count))]


def generator(index: int, seed: int) -> np.random.Generator:
    """The generator of the object with a number, which no training has."""
    return np.random.default_rng((seed, STREAM, index))


def photo_of(shown: HeldOutObject, size: int) -> torch.Tensor:
    """A square photo of the object with alpha, (size, size, 4) in [0, 1]: its shaded colours, unmixed from the rim."""
    seen = render_views(shown.mesh, Rig((shown.camera,)), size)
    return torch.cat((unmix_white(seen.rgb, seen.mask), seen.mask[..., None]), dim=-1)[0]


def _object(subject: Subject, numbers: np.random.Generator, varied: bool) -> HeldOutObject:
    mesh = normalise(build(subject, numbers), EXTENT)
    if numbers.random() >= FRONTAL_SHARE:
        rotation = turn(float(numbers.uniform(0.0, 2.0 * np.pi)))
        normals = None if mesh.normals is None else mesh.normals @ rotation.T
        mesh = mesh.with_(vertices=mesh.vertices @ rotation.T, normals=normals)
    elevation = float(numbers.uniform(*ELEVATIONS)) if varied else RIG_ELEVATION
    return HeldOutObject(subject, mesh, Camera(0.0, elevation, 4.5, fov=30.0))
