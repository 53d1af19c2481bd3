"""Damaged, lying and hostile mesh files, made by code; every one of them must be refused."""

from __future__ import annotations

from functools import lru_cache

from bundle3d.tests.malformed.glb_cases import glb_containers, glb_contents, glb_fields
from bundle3d.tests.malformed.plain_cases import foreign, obj, ply, stl
from bundle3d.tests.malformed.texture_cases import embedded, textures
from bundle3d.tests.malformed.whole_files import Case


@lru_cache(maxsize=1)
def cases() -> list[Case]:
    """All cases, always the same, with unique names."""
    sources = (glb_containers, glb_fields, glb_contents, embedded, textures, obj, ply, stl, foreign)
    made = [case for source in sources for case in source()]
    assert len({case.name for case in made}) == len(made)
    return made
