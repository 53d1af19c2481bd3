"""Typed access to JSON that nobody has checked."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from ..errors import Bundle3DError


def parse_json(text: bytes) -> Fields:
    """The object in UTF-8 JSON ``text``; raises Bundle3DError for anything else, NaN and infinity included."""

    def refuse_constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is not a JSON number")

    try:
        value = json.loads(text.decode("utf-8"), parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Bundle3DError(
            f"Expected glTF JSON, but it does not parse ({str(error)[:80]}); the file is damaged, export it again."
        ) from error
    if not isinstance(value, dict):
        raise Bundle3DError(f"Expected a glTF JSON object, but got {type(value).__name__}; export the file again.")
    return Fields(value, "glTF")


class Fields:
    """A JSON object whose members are checked as they are read; ``where`` names it in refusals."""

    def __init__(self, values: dict[str, Any], where: str) -> None:
        self.values, self.where = values, where

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def refuse(self, name: str, expected: str) -> NoReturn:
        """Raises the Bundle3DError that says what ``name`` should have been."""
        got = repr(self.values[name])[:40] if name in self.values else "nothing"
        raise Bundle3DError(
            f"Expected {self.where}.{name} to be {expected}, but got {got}; the file is damaged, export it again."
        )

    def integer(self, name: str, default: int | None = None, below: int | None = None) -> int:
        """A whole number in 0..below-1."""
        value = self.values.get(name, default)
        if type(value) is not int or value < 0 or (below is not None and value >= below):
            self.refuse(name, "a whole number from 0" if below is None else f"a whole number from 0 below {below}")
        return value

    def index(self, name: str, below: int) -> int | None:
        """A whole number in 0..below-1, or None where the member is absent."""
        return self.integer(name, below=below) if name in self.values else None

    def number(self, name: str, default: float, low: float = -math.inf, high: float = math.inf) -> float:
        """A finite number, clamped to low..high."""
        return self.vector(name, (default,), low, high, scalar=True)[0]

    def vector(
        self,
        name: str,
        default: tuple[float, ...],
        low: float = -math.inf,
        high: float = math.inf,
        scalar: bool = False,
    ) -> tuple[float, ...]:
        """As many finite numbers as ``default`` has, clamped to low..high."""
        if name not in self.values:
            return default
        value = [self.values[name]] if scalar else self.values[name]
        if not isinstance(value, list) or len(value) != len(default):
            self.refuse(name, f"{len(default)} numbers")
        if not all(type(item) in (int, float) and abs(item) < 1e30 for item in value):
            self.refuse(name, "a finite number" if scalar else "finite numbers")
        return tuple(min(max(float(item), low), high) for item in value)

    def text(self, name: str, default: str = "") -> str:
        """A string."""
        value = self.values.get(name, default)
        if not isinstance(value, str):
            self.refuse(name, "text")
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean."""
        value = self.values.get(name, default)
        if not isinstance(value, bool):
            self.refuse(name, "true or false")
        return value

    def table(self, name: str) -> Fields:
        """An object; empty where the member is absent."""
        value = self.values.get(name, {})
        if not isinstance(value, dict):
            self.refuse(name, "an object")
        return Fields(value, f"{self.where}.{name}")

    def tables(self, name: str) -> list[Fields]:
        """A list of objects; empty where the member is absent."""
        value = self.values.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self.refuse(name, "a list of objects")
        return [Fields(item, f"{name}[{i}]") for i, item in enumerate(value)]

    def indices(self, name: str, below: int) -> list[int]:
        """A list of whole numbers in 0..below-1; empty where the member is absent."""
        value = self.values.get(name, [])
        if not isinstance(value, list) or not all(type(item) is int and 0 <= item < below for item in value):
            self.refuse(name, f"a list of whole numbers from 0 below {below}")
        return value

    def extension(self, name: str) -> Fields | None:
        """The extension object called ``name``, or None."""
        extensions = self.table("extensions")
        return extensions.table(name) if name in extensions else None
