"""Pictures of what Pixal3D's stages foresee, on the bar of the node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from bundle3d.nodes.pixal3d_sockets import ObjectBatch
from bundle3d.pipelines.pixal3d.pictured_object import PicturedObject
from bundle3d.tests.pixal3d.make_small import disc
from bundle3d.tests.support.tiny_pixal3d import full_models
from PIL import Image

Run = Callable[..., Any]
Shown = list[tuple[int, Any]]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """The pictures on the bar, with how far it was."""
    import comfy.utils

    found: Shown = []

    def hook(value: int, total: int, preview: Any, node_id: str | None = None) -> None:
        if preview is not None:
            found.append((value, preview))

    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", hook)
    return found


def draw(run: Run) -> None:
    seen = disc()
    pictures = ObjectBatch((PicturedObject(seen, torch.ones(seen.images.shape[:3])),))
    call = {"models": full_models(), "pictures": pictures, "steps": 2}
    structure = run("Bundle3D_Pixal3DStructure", **call)[0]
    shape = run("Bundle3D_Pixal3DShape", structure=structure, **call)[0]
    run("Bundle3D_Pixal3DTexture", shape=shape, **call)


def choose(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """ComfyUI's setting Live preview method."""
    from comfy.cli_args import LatentPreviewMethod, args

    monkeypatch.setattr(args, "preview_method", LatentPreviewMethod(method))


def test_every_stage_shows_a_picture_where_comfyui_shows_its_own(
    run: Run, monkeypatch: pytest.MonkeyPatch, shown: Shown
) -> None:
    choose(monkeypatch, "auto")
    draw(run)
    assert len(shown) >= 3
    for value, (kind, picture, size) in shown:
        assert value > 0 and kind == "JPEG" and isinstance(picture, Image.Image) and size == 512
        assert picture.size == (256, 256) and picture.getextrema() != ((0, 0),) * 3


def test_no_stage_shows_one_where_comfyui_does_not(run: Run, monkeypatch: pytest.MonkeyPatch, shown: Shown) -> None:
    choose(monkeypatch, "none")
    draw(run)
    assert not shown
