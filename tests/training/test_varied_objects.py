"""Objects for ControlNets: their captions keep quiet about what pictures show, and their normals follow their shape."""

from __future__ import annotations

import numpy as np
import torch
from bundle3d.pipelines.training.captions import draw_subject, is_held_out
from bundle3d.pipelines.training.dataset import procedural_object
from bundle3d.pipelines.training.shapes import CLASSES, COLORS, SIZES
from bundle3d.pipelines.training.varied_objects import EXTENTS, plain, plain_caption, varied_object

COUNT = 40
UNSAID = {*SIZES, *(name for proportions in CLASSES.values() for name in proportions)} - {""}


def test_captions_tell_shape_and_colour_alone() -> None:
    for index in range(COUNT):
        for text in (varied_object(index).caption, plain_caption(index)):
            words = text.split()
            assert not UNSAID & set(words) and set(COLORS) & set(words)
        of_family = set(procedural_object(index).caption.split())
        assert set(COLORS) & of_family == set(COLORS) & set(plain_caption(index).split())


def test_plain_subjects_stay_within_what_training_may_see() -> None:
    generator = np.random.default_rng(3)
    assert not any(is_held_out(plain(draw_subject(generator))) for _ in range(200))


def test_meshes_are_of_any_size_and_pose_and_the_same_at_every_call() -> None:
    sides = []
    for index in range(COUNT):
        made = varied_object(index)
        mesh = made.mesh()
        assert torch.equal(mesh.vertices, made.mesh().vertices)
        low, high = mesh.bounds
        sides.append((high - low).tolist())
    longest = np.array(sides).max(1)
    assert longest.min() >= EXTENTS[0] - 1e-4 and longest.max() <= EXTENTS[1] + 1e-4 and np.ptp(longest) > 0.5
    assert len(set(np.array(sides).argmax(1))) == 3  # some lie, some stand


def test_normals_stay_upright_on_the_stretched_and_turned_surface() -> None:
    for index in range(8):
        mesh = varied_object(index).mesh()
        assert mesh.normals is not None
        corners = mesh.vertices[mesh.faces]
        faces = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        area = faces.norm(dim=-1)
        smooth = torch.nn.functional.normalize(mesh.normals[mesh.faces].sum(1), dim=-1)
        agree = (smooth * faces / area[:, None].clamp_min(1e-9)).sum(-1)
        assert float((agree * area).sum() / area.sum()) > 0.97
        torch.testing.assert_close(mesh.normals.norm(dim=-1), torch.ones(len(mesh.normals)))
