"""Loaders run again where their files have changed, and only there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from bundle3d.nodes.fingerprints import states_of
from bundle3d.tests.support.tiny_pixal3d import copy_flow_files, save_tiny_pixal3d
from bundle3d.tests.support.tiny_pixal3d_d import ENCODER, FOLDER, UPSAMPLER, save_tiny_pixal3d_d


def later(file: Path) -> None:
    state = file.stat()
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns + 10**9))


def test_what_is_linked_is_no_reason_to_run_again(nodes: dict[str, Any], folders: Path) -> None:
    """ComfyUI gives None for inputs of nodes that have not run, and runs at every queue what raises then."""
    own = {name: node for name, node in nodes.items() if "fingerprint_inputs" in vars(node)}
    assert len(own) > 10
    for name, node in own.items():
        linked = dict.fromkeys(widget.id for widget in node.define_schema().inputs)
        first = node.fingerprint_inputs(**linked)
        assert name == "Bundle3D_CheckModels" or first == node.fingerprint_inputs(**linked), name


@pytest.mark.parametrize("linked", ["base", "decoders", "upsampler", "precision", "fine_shape_flow"])
def test_pixal3d_notices_the_files_that_are_chosen_beside_a_linked_one(
    nodes: dict[str, Any], tiny_folder: Path, linked: str
) -> None:
    base = save_tiny_pixal3d(tiny_folder / "bundle3d" / "Pixal3D")
    names = copy_flow_files(base, tiny_folder / "diffusion_models")
    node = nodes["Bundle3D_LoadPixal3D"]
    chosen = {widget.id: widget.default for widget in node.define_schema().inputs}
    chosen |= {"base": "Pixal3D", "shape_flow": names["shape"], linked: None}
    first = node.fingerprint_inputs(**chosen)
    assert first == node.fingerprint_inputs(**chosen)
    later(tiny_folder / "diffusion_models" / names["shape"])
    assert first != node.fingerprint_inputs(**chosen)


@pytest.mark.parametrize("linked", ["folder", "image_encoder", "precision"])
def test_pixal3d_d_notices_the_files_that_are_chosen_beside_a_linked_one(
    nodes: dict[str, Any], tiny_folder: Path, linked: str
) -> None:
    save_tiny_pixal3d_d(tiny_folder / "bundle3d")
    chosen = {"folder": FOLDER, "image_encoder": ENCODER, "upsampler": UPSAMPLER, "precision": "bf16", linked: None}
    node = nodes["Bundle3D_LoadPixal3DD"]
    first = node.fingerprint_inputs(**chosen)
    assert first == node.fingerprint_inputs(**chosen)
    later(tiny_folder / "bundle3d" / UPSAMPLER)
    assert first != node.fingerprint_inputs(**chosen)


def test_states_are_those_of_what_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"abc")
    [(name, _, size)] = states_of(lambda choice: tmp_path / choice, "a.bin")
    assert (name, size) == ("a.bin", 3)
    assert states_of(lambda choice: None, "none") == states_of(lambda choice: tmp_path, None) == []
