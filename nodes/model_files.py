"""Which model files and folders the nodes offer, and where they lie."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import folder_paths

from ..pipelines.checkpoints.demo_folder import DEMO_FOLDER
from ..pipelines.errors import Bundle3DError
from ..pipelines.multiview.loading import is_multiview
from ..pipelines.photo.caption import is_captioner
from ..pipelines.pixal3d.direct3d_s2.settings import STAGES
from ..pipelines.pixal3d.settings import SEVERAL, SINGLE

NONE = "none"
DEMO = "Bundle3D demo"
PIPELINE = "model_index.json"  # what makes a folder a diffusers pipeline
SINGLE_MODEL = "config.json"  # what makes a folder one model of diffusers or transformers
LANGUAGE_MODELS = "LLM"  # the folder under models/ where other packs put language models, too
RECONSTRUCTION_MODELS = BUNDLE3D = "bundle3d"
PIXAL3D = (SINGLE, SEVERAL)  # what makes a folder one of Pixal3D
STRUCTURE_STAGE = STAGES["structure"]  # a folder within one of Pixal3D-D
NO_FOLDERS_OF_COMFYUI = (LANGUAGE_MODELS, BUNDLE3D)
WEIGHTS = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin")


def pipelines() -> list[str]:
    """The demo family that comes with Bundle3D, and the diffusers pipelines in ComfyUI's folder ``diffusers``."""
    return [DEMO, *_names("diffusers", PIPELINE)]


def multiview_pipelines() -> list[str]:
    """The demo multi-view model that comes with Bundle3D, and those of the diffusers pipelines that are Zero123++."""
    roots = _roots("diffusers")
    names = _names("diffusers", PIPELINE)
    return [DEMO, *(name for name in names if any(is_multiview(root / name) for root in roots))]


def pixal3d_folders() -> list[str]:
    """The demo Pixal3D family that comes with Bundle3D, and the folders of Pixal3D in models/bundle3d."""
    return [DEMO, *sorted({name for marker in PIXAL3D for name in _names(BUNDLE3D, marker)})]


def pixal3d_d_folders() -> list[str]:
    """The folders of Pixal3D-D in models/bundle3d."""
    own = f"/{STRUCTURE_STAGE}/dit"
    return [name.removesuffix(own) for name in _names(BUNDLE3D, SINGLE_MODEL) if name.endswith(own)]


def models(kind: str) -> list[str]:
    """The weight files of a folder of ComfyUI's and the diffusers or transformers folders in it."""
    parts = tuple(f"{name}/" for name in pixal3d_d_folders()) if kind == BUNDLE3D else ()
    return sorted({*files(kind), *(name for name in _names(kind, SINGLE_MODEL) if not name.startswith(parts))})


def models_of(kinds: Sequence[str]) -> list[str]:
    """What `models` says of several folders, each name once."""
    return list(dict.fromkeys(name for kind in kinds for name in models(kind)))


def files(kind: str) -> list[str]:
    """The weight files of a folder of ComfyUI's, but not those that are parts of a folder model."""
    markers = (SINGLE_MODEL, PIPELINE, *PIXAL3D)
    parts = tuple(f"{name}/" for marker in markers for name in _names(kind, marker))
    names = (name.replace(os.sep, "/") for name in folder_paths.get_filename_list(kind))
    return [name for name in names if name.lower().endswith(WEIGHTS) and not name.startswith(parts)]


def language_models() -> list[str]:
    """The transformers folders in models/LLM."""
    return _names(LANGUAGE_MODELS, SINGLE_MODEL)


def captioners() -> list[str]:
    """Those of them that are Florence-2."""
    roots = _roots(LANGUAGE_MODELS)
    return [name for name in language_models() if any(is_captioner(root / name) for root in roots)]


def find_of(kinds: Sequence[str], name: str) -> Path:
    """The first file or folder called ``name`` among those of several kinds; raises Bundle3DError as `find`."""
    return find(next((kind for kind in kinds if name in models(kind)), kinds[0]), name)


def find(kind: str, name: str) -> Path:
    """The file or folder called ``name`` among those of ``kind``; raises Bundle3DError where there is none."""
    if kind == "diffusers" and name == DEMO:
        if not (DEMO_FOLDER / PIPELINE).is_file():
            raise Bundle3DError(
                f"Expected the demo family in {DEMO_FOLDER}, but its weights are not there; make them with "
                "'bundle3d train demo', or choose FLUX.1-dev."
            )
        return DEMO_FOLDER
    for root in _roots(kind):
        path = root / name
        if ".." not in Path(name).parts and path.exists() and path.resolve() != root.resolve():
            return path
    raise Bundle3DError(
        f"Expected {name!r} in ComfyUI's folder models/{kind}, but it is not there; put it there or choose another one."
    )


def _names(kind: str, marker: str) -> list[str]:
    """Folders of ``kind``, at any depth, that hold a file called ``marker``, with forward slashes."""
    return sorted({path.relative_to(root).as_posix() for root in _roots(kind) for path in _marked(root, marker)})


def _roots(kind: str) -> list[Path]:
    """Where ComfyUI looks for models of ``kind``; for some it has no folder of its own."""
    if kind in NO_FOLDERS_OF_COMFYUI:
        folder_paths.add_model_folder_path(kind, os.path.join(folder_paths.models_dir, kind))
    return [Path(root) for root in folder_paths.get_folder_paths(kind)]


def _marked(root: Path, marker: str) -> Iterator[Path]:
    for folder, inner, names in os.walk(root, followlinks=True):
        if marker in names and Path(folder) != root:
            inner.clear()  # its parts are no models of their own
            yield Path(folder)
