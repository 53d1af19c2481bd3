"""The graphs of Pixal3D in a running ComfyUI, on a family of random weights that has a fine flow, as the published one.

The demo family, which `test_workflows` runs them with, has none.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.read import read_mesh
from bundle3d.tests.support.server import TINY_PIXAL3D, Finished, RunGraph
from bundle3d.tests.support.tiny_pixal3d import RESOLUTION

from .test_workflows import SETTINGS, WORKFLOWS, load

PHOTO, VIEWS = "Image to 3D (Pixal3D)", "Multi-view to 3D (Pixal3D)"
TINY = {"Load Pixal3D.base": TINY_PIXAL3D}


def graph(name: str) -> dict[str, Any]:
    return load(WORKFLOWS / "api" / f"{name}.json")


def saved(done: Finished) -> Mesh:
    [path] = [path for path in done.files(".glb") if path.parent == done.folder]
    return read_mesh(path)


@pytest.mark.parametrize(("name", "shown"), [(PHOTO, "Prepare"), (VIEWS, "Back-project")])
def test_a_shape_is_drawn_finely_and_painted(name: str, shown: str, run_graph: RunGraph) -> None:
    done = run_graph(graph(name), {**SETTINGS[name], **TINY})
    mesh = saved(done)
    assert len(mesh.faces) > 100 and mesh.materials[0].base_color_texture is not None
    texts = done.result["texts"]
    assert shown in texts and [path for path in done.files(".png") if path.parent != done.folder]
    assert any(line.startswith(f"Resolution {RESOLUTION},") for lines in texts.values() for line in lines)


def test_stages_go_through_comfyuis_latents_and_come_out_alike(run_graph: RunGraph) -> None:
    plain = graph(PHOTO)
    ids = {node["_meta"]["title"]: id for id, node in plain.items()}
    models, structure, shape, texture = (
        [ids[title], 0] for title in ("Load Pixal3D", "Sample structure", "Sample shape", "Sample texture")
    )
    # A structure keeps no noise as a VOXEL, so the shape is drawn with a seed of its own.
    settings = {**SETTINGS[PHOTO], **TINY, "Sample shape.seed": 7}
    detour = {
        "voxel": ("Bundle3D_Pixal3DToVoxel", {"models": models, "structure": structure}),
        "structure": ("Bundle3D_Pixal3DVoxelToStructure", {"models": models, "voxel": ["voxel", 0], "seed": 0}),
        "shape out": ("Bundle3D_Pixal3DToLatent", {"models": models, "latents": shape}),
        "core shape": ("LatentMultiply", {"samples": ["shape out", 0], "multiplier": 1.0}),
        "shape": ("Bundle3D_Pixal3DLatentToShape", {"models": models, "latent": ["core shape", 0], "seed": 0}),
        "texture out": ("Bundle3D_Pixal3DToLatent", {"models": models, "latents": texture}),
        "core texture": ("LatentMultiply", {"samples": ["texture out", 0], "multiplier": 1.0}),
        "texture": ("Bundle3D_Pixal3DLatentToTexture", {"models": models, "latent": ["core texture", 0]}),
    }
    longer = copy.deepcopy(plain)
    longer |= {id: {"class_type": kind, "inputs": inputs} for id, (kind, inputs) in detour.items()}
    for title, name in (
        ("Sample shape", "structure"), ("Sample texture", "shape"), ("Decode", "shape"), ("Decode", "texture")
    ):  # fmt: skip
        longer[ids[title]]["inputs"][name] = [name, 0]
    first, second = (saved(run_graph(one, settings)) for one in (plain, longer))
    assert len(first.faces) > 100
    assert torch.equal(first.vertices, second.vertices) and torch.equal(first.faces, second.faces)
    textures = [mesh.materials[0].base_color_texture for mesh in (first, second)]
    assert textures[0] is not None and textures[1] is not None and torch.equal(textures[0], textures[1])
