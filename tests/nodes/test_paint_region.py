"""Paint Region: the mask that a painted file gives, and the picture that the browser is shown."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from PIL import Image

Run = Callable[..., Any]
SENTENCE = r"^Expected .*; .*\.$"
NODE = "Bundle3D_PaintRegion"


def pictures(count: int = 1, height: int = 32, width: int = 64) -> torch.Tensor:
    return torch.rand(count, height, width, 3, generator=torch.Generator().manual_seed(0))


def write(folders: Path, values: np.ndarray, name: str = "bundle3d/region.png") -> str:
    (folders / "input" / name).parent.mkdir(exist_ok=True)
    Image.fromarray((values * 255).astype(np.uint8)).save(folders / "input" / name)
    return name


def test_nothing_painted_gives_an_empty_mask_and_the_picture_to_paint_on(run: Run, folders: Path) -> None:
    image = pictures()
    output = run(NODE, image=image)
    assert torch.equal(output[0], torch.zeros(1, 32, 64))
    assert output.ui["text"] == ["Nothing is painted: the mask is empty."]
    (shown,) = output.ui["bundle3d_picture"]
    assert shown["size"] == [64, 32] and shown["grid"] == [1, 1]
    file = folders / "temp" / shown["picture"]["filename"]
    assert np.array_equal(np.asarray(Image.open(file)), (image[0] * 255).round().byte().numpy())


def test_the_painted_file_is_the_mask(run: Run, folders: Path) -> None:
    painted = np.zeros((32, 64))
    painted[4:12, 8:24] = 1
    output = run(NODE, image=pictures(), mask_file=write(folders, painted))
    assert torch.equal(output[0][0], torch.from_numpy(painted).float())
    assert output[0].dtype == torch.float32 and output.ui["text"] == ["6.2% of the picture is painted."]


def test_the_pictures_of_a_batch_have_masks_of_their_own(run: Run, folders: Path) -> None:
    batch = pictures(3, 16, 16)
    (shown,) = run(NODE, image=batch).ui["bundle3d_picture"]
    assert shown["size"] == [32, 32] and shown["grid"] == [2, 2]
    sheet = np.asarray(Image.open(folders / "temp" / shown["picture"]["filename"]))
    assert np.array_equal(sheet[16:, :16], (batch[2] * 255).round().byte().numpy())
    painted = np.zeros((32, 32))
    painted[2, 20], painted[20, 5], painted[20, 20] = 1, 1, 1  # the last one beside the pictures
    mask = run(NODE, image=batch, mask_file=write(folders, painted))[0]
    assert mask.nonzero().tolist() == [[1, 2, 4], [2, 4, 5]]
    (wide,) = run(NODE, image=pictures(2, 16, 32)).ui["bundle3d_picture"]
    assert wide["size"] == [32, 32]


def test_the_tiles_of_a_bundle_are_outlined(run: Run) -> None:
    bundle = torch.ones(1, 32, 64, 3)
    bundle[:, 4:12, 4:12] = 0.3
    assert run(NODE, image=bundle).ui["bundle3d_picture"][0]["grid"] == [4, 2]
    assert run(NODE, image=bundle.repeat(2, 1, 1, 1)).ui["bundle3d_picture"][0]["grid"] == [4, 4]


def test_a_mask_of_another_size_a_missing_one_and_one_elsewhere_are_refused(run: Run, folders: Path) -> None:
    name = write(folders, np.zeros((16, 16)))
    with pytest.raises(Bundle3DError, match=r"64 x 32 pixels, but region\.png has 16 x 16"):
        run(NODE, image=pictures(), mask_file=name)
    write(folders, np.zeros((32, 64)), "../outside.png")
    for outside in ("bundle3d/gone.png", "../outside.png", str(folders / "outside.png")):
        with pytest.raises(Bundle3DError, match=SENTENCE) as refusal:
            run(NODE, image=pictures(), mask_file=outside)
        assert "is not there" in str(refusal.value) or "cannot" in str(refusal.value)


def test_too_large_a_picture_is_refused(run: Run) -> None:
    with pytest.raises(Bundle3DError, match=SENTENCE):
        run(NODE, image=torch.zeros(1, 1, 1, 3).expand(2, 8192, 8192, 3))


def test_a_mask_that_is_painted_anew_is_read_again(nodes: dict[str, Any], folders: Path) -> None:
    fingerprint = nodes[NODE].fingerprint_inputs
    name = write(folders, np.zeros((32, 64)))
    before = fingerprint(image=None, mask_file=name)
    assert fingerprint(image=None, mask_file=name) == before
    write(folders, np.eye(32, 64))
    os.utime(folders / "input" / name, ns=(1, before[0] + 1))
    assert fingerprint(image=None, mask_file=name) != before
    assert fingerprint(image=None, mask_file="") == fingerprint(image=None, mask_file=None) == []


def test_the_file_is_looked_for_before_the_run_but_not_where_it_is_linked(nodes: dict[str, Any], folders: Path) -> None:
    check = nodes[NODE].validate_inputs
    assert check(None) is True and check("") is True and check(write(folders, np.zeros((2, 2)))) is True
    assert "bundle3d/gone.png" in check("bundle3d/gone.png")
