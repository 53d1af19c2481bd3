"""What the procedural subjects are called, which of them training sees, and which are kept for judging it."""

from __future__ import annotations

import numpy as np

from .shapes import BASES, CLASSES, COLORS, PLAIN, SIZES, TOPS, Part, Subject

SYNONYMS = {
    "sphere": ("ball",),
    "cube": ("box",),
    "torus": ("donut",),
    "octahedron": ("diamond",),
    "dome": ("half sphere",),
    "cross": ("plus sign",),
    "tube": ("pipe",),
}
OPENINGS = ("{}", "{}", "{}", "{} on a white background", "a 3D model of {}")
STACKINGS = ("{} on top of {}", "{} on {}", "{} standing on {}")
STACK_SHARE = 0.45
SYNONYM_SHARE = 0.2


def caption(subject: Subject, generator: np.random.Generator | None = None) -> str:
    """One line of English for ``subject``; with a ``generator`` in varying words."""
    names = [_name(part, subject.size if index == 0 else PLAIN, generator) for index, part in enumerate(subject.parts)]
    if len(names) == 2:
        stacking = STACKINGS[0] if generator is None else str(generator.choice(STACKINGS))
        return stacking.format(*names)
    return names[0] if generator is None else str(generator.choice(OPENINGS)).format(names[0])


def is_held_out(subject: Subject) -> bool:
    """Whether no training caption may name ``subject``.

    Kept back are two colours of every shape class, whatever the size and proportion, and one stack in seven.
    """
    shapes, colors = list(CLASSES), list(COLORS)
    ids = [(shapes.index(part.shape), colors.index(part.color)) for part in subject.parts]
    if len(ids) == 1:
        ((shape, color),) = ids
        return (3 * shape + color) % 5 == 0
    (top, top_color), (base, base_color) = ids
    return (top + 2 * top_color + 3 * base + 5 * base_color) % 7 == 0


def draw_subject(generator: np.random.Generator) -> Subject:
    """A random subject that training may see."""
    while True:
        subject = _any_subject(generator)
        if not is_held_out(subject):
            return subject


def held_out_subjects(count: int, seed: int = 0) -> list[Subject]:
    """``count`` different subjects that training never sees, a fifth of them stacks, the rest of every class."""
    generator = np.random.default_rng((seed, 1))
    stacks = count // 5
    found: list[Subject] = []
    shapes = list(CLASSES)
    while len(found) < count:
        shape = None if len(found) < stacks else shapes[(len(found) - stacks) % len(shapes)]
        subject = _any_subject(generator, stacked=shape is None, shape=shape)
        if is_held_out(subject) and subject not in found:
            found.append(subject)
    return found


def _any_subject(generator: np.random.Generator, stacked: bool | None = None, shape: str | None = None) -> Subject:
    if stacked is None:
        stacked = bool(generator.random() < STACK_SHARE)
    if stacked:
        first, second = generator.choice(list(COLORS), 2, replace=False)
        top = Part(str(generator.choice(TOPS)), str(first))
        return Subject((top, Part(str(generator.choice(BASES)), str(second))))
    shape = shape or str(generator.choice(list(CLASSES)))
    proportion = str(generator.choice(list(CLASSES[shape])))
    part = Part(shape, str(generator.choice(list(COLORS))), proportion)
    return Subject((part,), str(generator.choice(list(SIZES))))


def _name(part: Part, size: str, generator: np.random.Generator | None) -> str:
    shape = part.shape
    if generator is not None and shape in SYNONYMS and generator.random() < SYNONYM_SHARE:
        shape = str(generator.choice(SYNONYMS[shape]))
    words = " ".join(word for word in (size, part.proportion, part.color, shape) if word)
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
