"""How large a file may be before it is refused, whatever it claims about itself."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import Bundle3DError

MEGA = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Upper bounds that are checked before anything of that size is allocated.

    ``file_bytes`` of a file or of all files together that belong to one mesh; ``text_bytes`` of a file that is text,
    which needs several times its size to parse; ``json_bytes`` of the JSON part of a GLB; ``vertices`` and ``faces``
    after all instances are counted; ``nodes`` and ``depth`` of the scene graph; ``textures`` per file;
    ``texture_side`` in pixels; ``texture_pixels`` of all textures of a file together.
    """

    file_bytes: int = 1024 * MEGA
    text_bytes: int = 256 * MEGA
    json_bytes: int = 16 * MEGA
    vertices: int = 20_000_000
    faces: int = 20_000_000
    nodes: int = 20_000
    depth: int = 512
    textures: int = 64
    texture_side: int = 16_384
    texture_pixels: int = 256 * MEGA

    def check(self, name: str, value: int, what: str) -> None:
        """Raises Bundle3DError if ``value`` is above the bound called ``name``."""
        bound = getattr(self, name)
        if value > bound:
            raise Bundle3DError(f"Expected at most {bound:,} {what}, but the file has {value:,}; simplify or split it.")


LIMITS = Limits()
