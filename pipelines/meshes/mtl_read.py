"""Material libraries (MTL) with the usual PBR additions."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np
import torch

from ..errors import Bundle3DError
from .folder import inside
from .images import TextureReader, resize
from .limits import Limits
from .mesh import Material
from .srgb import linear_from_srgb

log = logging.getLogger(__name__)
OPTION = re.compile(r"^-(?:s|o|t)(?:\s+[-+.\deE]+){1,3}\s+|^-mm(?:\s+[-+.\deE]+){2}\s+|^-\w+\s+\S+\s+")
Statements = dict[str, str]


class MaterialLibrary:
    """Materials by name, from one or more MTL files within one folder; textures share one pixel budget."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.folder = folder
        self.limits = limits
        self.reader = TextureReader(limits)
        self.statements: dict[str, tuple[Statements, Path]] = {}
        self.bytes = 0
        self.images: dict[Path, np.ndarray] = {}

    def read(self, path: Path) -> None:
        """Adds the materials of an MTL file; texture names count from its own folder, or from that of the OBJ."""
        data = self._load(path, "json_bytes")
        current: Statements | None = None
        for line in data.decode("utf-8", "replace").splitlines():
            keyword, _, rest = line.partition("#")[0].strip().partition(" ")
            if keyword == "newmtl":
                current = {}
                self.statements.setdefault(rest.strip(), (current, path.parent))
            elif keyword and current is not None:
                current[keyword.lower()] = rest.strip()

    def material(self, name: str) -> Material:
        """The material called ``name``; a plain one where no library has it."""
        if name not in self.statements:
            return Material(name or "default")
        statements, folder = self.statements[name]
        base = self._texture(statements, folder, "map_kd")
        alpha = self._texture(statements, folder, "map_d")
        opacity = _number(statements, "d", 1.0 - _number(statements, "tr", 0.0))
        default = (1.0, 1.0, 1.0) if base is not None else (0.8, 0.8, 0.8)
        kd = linear_from_srgb(np.array(_numbers(statements, "kd", default)))
        orm, has_occlusion = self._orm(statements, folder)
        emissive = self._texture(statements, folder, "map_ke")
        normal = self._texture(statements, folder, "norm")
        if alpha is not None:
            base = _with_alpha(base, alpha)
        mode = "BLEND" if opacity < 1.0 or (base is not None and base.shape[2] == 4) else "OPAQUE"
        glow = linear_from_srgb(np.array(_numbers(statements, "ke", (0.0, 0.0, 0.0), 1e6)))
        shine = _number(statements, "ns", 0.0, 1e6)
        roughness = 1.0 if orm is not None else float(np.sqrt(2.0 / (shine + 2.0)))
        return Material(
            name=name,
            base_color_factor=(float(kd[0]), float(kd[1]), float(kd[2]), opacity),
            metallic_factor=_number(statements, "pm", 0.0 if orm is None else 1.0),
            roughness_factor=_number(statements, "pr", roughness),
            emissive_factor=(float(glow[0]), float(glow[1]), float(glow[2])),
            base_color_texture=_tensor(base),
            orm_texture=_tensor(orm),
            has_occlusion=has_occlusion,
            normal_texture=_tensor(None if normal is None else normal[..., :3]),
            emissive_texture=_tensor(None if emissive is None else emissive[..., :3]),
            alpha_mode=mode,
            repeat="-clamp on" not in statements.get("map_kd", ""),
        )

    def _orm(self, statements: Statements, folder: Path) -> tuple[np.ndarray | None, bool]:
        """Occlusion, roughness and metallic from one map each."""
        bands = [self._texture(statements, folder, name) for name in ("map_ao", "map_pr", "map_pm")]
        present = [band for band in bands if band is not None]
        if not present:
            return None, False
        height, width = (max(band.shape[axis] for band in present) for axis in (0, 1))
        orm = np.full((height, width, 3), 255, np.uint8)
        for channel, band in enumerate(bands):
            if band is not None:
                orm[..., channel] = resize(band, height, width)[..., 0]
        return orm, bands[0] is not None

    def _texture(self, statements: Statements, folder: Path, keyword: str) -> np.ndarray | None:
        name = statements.get(keyword, "")
        while name.startswith("-") and (match := OPTION.match(name)):
            name = name[match.end() :]
        if not name:
            return None
        path = inside(self.folder, name, folder)
        if path is None and ".." not in name:
            path = inside(self.folder, name)
        if path is None:
            log.warning("The texture %s is missing and left out.", name[:200])
            return None
        if path not in self.images:
            self.images[path] = self.reader.decode(self._load(path, "file_bytes"), path.name).numpy()
        return self.images[path]

    def _load(self, path: Path, bound: str) -> bytes:
        try:
            self.limits.check(bound, path.stat().st_size, f"bytes in {path.name!r}")
            self.bytes += path.stat().st_size
            self.limits.check("file_bytes", self.bytes, "bytes of material files")
            return path.read_bytes()
        except OSError as error:
            raise Bundle3DError(f"Expected a readable {path.name!r}, but it cannot be opened; check it.") from error


def _numbers(statements: Statements, name: str, default: tuple[float, ...], high: float = 1.0) -> tuple[float, ...]:
    """As many numbers in 0..high as ``default`` has; the default where the statement is absent or not of numbers."""
    try:
        values = tuple(float(word) for word in statements.get(name, "").split()[: len(default)])
    except ValueError:
        return default
    if len(values) < len(default) or not all(np.isfinite(values)):
        return default
    return tuple(min(max(value, 0.0), high) for value in values)


def _number(statements: Statements, name: str, default: float, high: float = 1.0) -> float:
    return _numbers(statements, name, (default,), high)[0]


def _with_alpha(base: np.ndarray | None, alpha: np.ndarray) -> np.ndarray:
    """RGBA of a colour image and an opacity image (its alpha if it has one, else its red)."""
    opacity = alpha[..., -1:] if alpha.shape[2] == 4 else alpha[..., :1]
    if base is None:
        base = np.full((*alpha.shape[:2], 3), 255, np.uint8)
    height, width = (max(base.shape[axis], alpha.shape[axis]) for axis in (0, 1))
    return np.concatenate([resize(base[..., :3], height, width), resize(opacity, height, width)], axis=-1)


def _tensor(image: np.ndarray | None) -> torch.Tensor | None:
    return None if image is None else torch.from_numpy(np.ascontiguousarray(image))
