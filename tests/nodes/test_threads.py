"""How many threads torch has while nodes work, and afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle3d.pipelines.meshes.write import write_mesh
from bundle3d.tests.nodes.test_meshes import box, core_mesh
from bundle3d.tests.nodes.test_views import bundle
from PIL import Image

Run = Callable[..., Any]
THREADS = 3

# What each node that works on the CPU calls to do its work.
WORK = {
    "Bundle3D_BakeTexture": "bake_texture.simplify",
    "Bundle3D_ConvertMesh": "interop.emit",
    "Bundle3D_InspectBundle": "inspect_bundle.inspect_bundle",
    "Bundle3D_JoinBundle": "join_bundle.join_bundle",
    "Bundle3D_LoadMesh": "load_mesh.read_mesh",
    "Bundle3D_LoadPhoto": "load_photo.read_photo",
    "Bundle3D_MeshReport": "mesh_report.mesh_report",
    "Bundle3D_PreparePhoto": "prepare_photo.cut_photo",
    "Bundle3D_ReferenceBundle": "reference_bundle.reference_bundle",
    "Bundle3D_RenderBundle": "render_bundle.render_views",
    "Bundle3D_SaveMesh": "save_mesh.write_mesh",
    "Bundle3D_SplitBundle": "split_bundle.split_bundle",
    "Bundle3D_Turntable": "turntable.turntable",
    "Bundle3D_ViewsFromImages": "views_from_images.chosen_rig",
}


@pytest.fixture
def threads() -> Iterator[int]:
    """Torch with more threads than one."""
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield THREADS
    torch.set_num_threads(before)


@pytest.fixture
def inputs(run: Run, folders: Path) -> dict[str, Any]:
    """A small value for every socket of the nodes in ``WORK``."""
    write_mesh(box(), folders / "input" / "box.glb")
    Image.new("RGB", (32, 32)).save(folders / "input" / "photo.png")
    image = bundle(4, 16)
    views = run("Bundle3D_SplitBundle", bundle=image)[0]
    return {
        "mesh": core_mesh(box()),
        "views": views,
        "bundle": image,
        "image": image,
        "images": image,
        "model_file": "box.glb",
    }


@pytest.mark.parametrize("node", WORK)
def test_work_on_the_cpu_keeps_to_one_thread_even_where_it_fails(
    node: str, run: Run, nodes: Any, inputs: dict[str, Any], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def work(*args: Any, **options: Any) -> None:
        seen.append(torch.get_num_threads())
        raise ZeroDivisionError

    monkeypatch.setattr(f"bundle3d.nodes.{WORK[node]}", work)
    taken = {socket.id for socket in nodes[node].GET_SCHEMA().inputs}
    if node == "Bundle3D_LoadPhoto":
        inputs["image"] = "photo.png"
    with pytest.raises(ZeroDivisionError):
        run(node, **{name: value for name, value in inputs.items() if name in taken})
    assert seen == [1]
    assert torch.get_num_threads() == threads


def test_all_threads_are_back_after_a_node(run: Run, threads: int) -> None:
    assert run("Bundle3D_Turntable", mesh=core_mesh(box()), frames=1, size=64)[0].shape == (1, 64, 64, 3)
    assert torch.get_num_threads() == threads


def test_drawing_has_all_threads(run: Run, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from bundle3d.tests.support.tiny_flux import tiny_models

    seen = []

    def draw(*args: Any) -> torch.Tensor:
        seen.append(torch.get_num_threads())
        return torch.zeros(32, 64, 3)

    monkeypatch.setattr("bundle3d.nodes.generate_bundle.draw_bundle", draw)
    run("Bundle3D_GenerateBundle", models=tiny_models(), prompt="a cube")
    assert seen == [threads]
