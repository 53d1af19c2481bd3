"""What image to 3D is judged on was in no training of the demo models, and is pictured as they know it."""

from __future__ import annotations

import numpy as np
import torch
from bundle3d.benchmarks.held_out import generator, held_out_objects, photo_of
from bundle3d.pipelines.photo.frame import frame_object
from bundle3d.pipelines.training.captions import draw_subject, is_held_out
from bundle3d.pipelines.training.demo_lrm import LrmDemoOptions
from bundle3d.pipelines.training.demo_multiview import MultiviewOptions
from bundle3d.pipelines.training.multiview_dataset import EXTENT, object_generator, picture_of

COUNT = 40


def _trainings() -> list[np.random.Generator]:
    """The generators of all objects that the trainings of both demo models see."""
    reconstruction, views = LrmDemoOptions(), MultiviewOptions()
    pictured = max(reconstruction.objects, views.objects)
    bundles = [np.random.default_rng((reconstruction.seed, 0, index)) for index in range(reconstruction.bundles)]
    return bundles + [
        object_generator(index, seed) for seed in {reconstruction.seed, views.seed} for index in range(pictured)
    ]


def test_no_training_has_their_subjects_or_their_random_numbers() -> None:
    subjects = {shown.subject for shown in held_out_objects(COUNT)}
    assert len(subjects) == COUNT and all(map(is_held_out, subjects))
    own = {generator(index, 0).bytes(16) for index in range(COUNT)}
    trained, numbers = set(), set()
    for training in _trainings():
        state = training.bit_generator.state
        numbers.add(training.bytes(16))
        training.bit_generator.state = state
        trained.add(draw_subject(training))
    assert len(own) == COUNT and not own & numbers
    assert not subjects & trained


def test_they_are_the_same_in_every_run_and_face_the_camera_or_not() -> None:
    first, again = held_out_objects(COUNT), held_out_objects(COUNT)
    assert all(torch.equal(a.mesh.vertices, b.mesh.vertices) for a, b in zip(first, again))
    facing = sum(
        float((shown.mesh.bounds[1] - shown.mesh.bounds[0]).max()) <= EXTENT + 1e-4
        and bool(torch.allclose(shown.mesh.bounds[0], -shown.mesh.bounds[1], atol=1e-4))
        for shown in first
    )
    assert 0.4 * COUNT < facing < COUNT
    assert {shown.camera.elevation for shown in first} == {5.0}
    varied = [shown.camera.elevation for shown in held_out_objects(COUNT, varied=True)]
    assert min(varied) < 0.0 and max(varied) > 25.0


def test_a_framed_photo_is_what_the_multi_view_model_is_shown_in_training() -> None:
    shown = held_out_objects(3)[2]
    photo = (photo_of(shown, 128) * 255.0).round() / 255.0
    framed = frame_object(photo[..., :3], photo[..., 3], 128).rgb
    known = picture_of(shown.mesh, shown.camera.elevation, 128)
    assert float((framed - known).abs().mean()) < 0.003
    assert float((known < 0.9).float().mean()) > 0.05
