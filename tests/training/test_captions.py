"""Captions name what is shown, and held-out subjects stay out of training."""

from __future__ import annotations

from collections import Counter

import numpy as np
from bundle3d.pipelines.training.captions import caption, draw_subject, held_out_subjects, is_held_out
from bundle3d.pipelines.training.shapes import CLASSES, COLORS, Part, Subject


def test_captions_name_size_proportion_colour_and_shape_in_that_order() -> None:
    assert caption(Subject((Part("torus", "orange", "thin"),), "small")) == "a small thin orange torus"
    assert caption(Subject((Part("cone", "orange"),))) == "an orange cone"
    stack = Subject((Part("star", "red"), Part("cube", "cyan")))
    assert caption(stack) == "a red star on top of a cyan cube"


def test_training_never_draws_a_held_out_subject_and_misses_nothing_else() -> None:
    generator = np.random.default_rng(3)
    drawn = [draw_subject(generator) for _ in range(4000)]
    assert not any(map(is_held_out, drawn))
    singles = {(s.parts[0].shape, s.parts[0].color) for s in drawn if len(s.parts) == 1}
    assert len(singles) == len(CLASSES) * (len(COLORS) - 2)


def test_held_out_subjects_cover_every_class_and_colour() -> None:
    subjects = held_out_subjects(60)
    assert len(set(subjects)) == 60 and all(map(is_held_out, subjects))
    assert subjects == held_out_subjects(60)
    single = Counter(subject.parts[0].shape for subject in subjects if len(subject.parts) == 1)
    assert set(single) == set(CLASSES) and sum(single.values()) == 48
    assert {part.color for subject in subjects for part in subject.parts} == set(COLORS)


def test_no_held_out_caption_can_be_worded_by_training() -> None:
    kept_back = {caption(subject) for subject in held_out_subjects(60)}
    generator = np.random.default_rng(5)
    worded = {caption(draw_subject(generator), generator) for _ in range(3000)}
    assert not kept_back & worded
