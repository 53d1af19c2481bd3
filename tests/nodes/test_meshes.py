"""Meshes through the nodes: load, convert, render, save."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.read import read_mesh
from bundle3d.pipelines.meshes.write import mesh_to_bytes, write_mesh

Run = Callable[..., Any]


def box(width: float = 1.0, height: float = 0.6, depth: float = 0.4) -> Mesh:
    """A closed box around the origin, with those half extents."""
    corners = torch.tensor([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [triangle for a, b, c, d in quads for triangle in ((a, b, c), (a, c, d))]
    return Mesh(corners * torch.tensor((width, height, depth)), torch.tensor(faces))


@pytest.fixture
def box_file(folders: Path) -> str:
    write_mesh(box(), folders / "input" / "box.glb")
    return "box.glb"


def core_mesh(*meshes: Mesh) -> Any:
    from bundle3d.nodes.interop import emit

    return emit(list(meshes))[0]


def test_load_reads_a_file_of_the_input_folder(run: Run, box_file: str) -> None:
    mesh, files = run("Bundle3D_LoadMesh", model_file=box_file).args
    assert mesh.vertices.shape[0] == 1 and mesh.faces.shape[1] == 12
    assert len(files) == 1 and files[0].format == "glb"


def test_load_lists_the_files_of_the_input_folder(nodes: dict[str, Any], box_file: str, folders: Path) -> None:
    write_mesh(box(), folders / "input" / "3d" / "props" / "crate.stl")
    (folders / "input" / "notes.txt").write_text("no mesh")
    assert nodes["Bundle3D_LoadMesh"].define_schema().inputs[0].options == ["3d/props/crate.stl", "box.glb"]


def test_load_sees_that_a_file_has_changed(nodes: dict[str, Any], box_file: str, folders: Path) -> None:
    load = nodes["Bundle3D_LoadMesh"]
    before = load.fingerprint_inputs(model_file=box_file)
    assert load.fingerprint_inputs(model_file=box_file) == before
    write_mesh(box(0.5), folders / "input" / "box.glb")
    assert load.fingerprint_inputs(model_file=box_file) != before


@pytest.mark.parametrize("name", ["chair.mtl", "wood.png", "maps/wood.jpg"])
def test_load_sees_that_a_material_of_an_obj_has_changed(nodes: dict[str, Any], folders: Path, name: str) -> None:
    load = nodes["Bundle3D_LoadMesh"]
    write_mesh(box(), folders / "input" / "chair.obj")
    beside = folders / "input" / name
    beside.parent.mkdir(exist_ok=True)
    beside.write_bytes(b"old")
    before = load.fingerprint_inputs(model_file="chair.obj")
    assert load.fingerprint_inputs(model_file="chair.obj") == before
    beside.write_bytes(b"newer")
    assert load.fingerprint_inputs(model_file="chair.obj") != before


@pytest.mark.parametrize("name", ["", "missing.glb", "../secret.glb", "/etc/passwd", "box.txt", "3d/../../secret.glb"])
def test_load_refuses_what_is_not_a_mesh_of_the_input_folder(run: Run, nodes: Any, folders: Path, name: str) -> None:
    write_mesh(box(), folders / "secret.glb")
    assert nodes["Bundle3D_LoadMesh"].validate_inputs(model_file=name) is not True
    with pytest.raises(Bundle3DError, match=r"^Expected .*; .*\.$"):
        run("Bundle3D_LoadMesh", model_file=name)


def test_load_takes_a_linked_name(nodes: dict[str, Any]) -> None:
    assert nodes["Bundle3D_LoadMesh"].validate_inputs(model_file=None) is True


def test_render_centres_scales_and_leads_back(run: Run) -> None:
    moved = box().with_(vertices=box().vertices * 30.0 + torch.tensor((5.0, -7.0, 11.0)))
    bundle, views, mask, depth = run("Bundle3D_RenderBundle", mesh=core_mesh(moved), tile_size=64).args
    assert bundle.shape == depth.shape == (1, 128, 256, 3) and mask.shape == (4, 64, 64)
    assert torch.equal(depth[:, :64], depth[:, 64:]) and torch.equal(depth[0, :64, 64:128, 0] > 0, mask[1] > 0)
    plain = run("Bundle3D_RenderBundle", mesh=core_mesh(box()), tile_size=64).args
    assert (bundle - plain[0]).abs().mean() < 1e-3
    corner = views.transform(0) @ torch.tensor((1.0, 0.6, 0.4, 1.0), dtype=torch.float64)
    assert torch.allclose(corner[:3], torch.tensor((35.0, 11.0, 23.0), dtype=torch.float64), atol=1e-4)


def test_a_bundle_is_split_like_the_views_it_was_rendered_as(run: Run) -> None:
    moved = box().with_(vertices=box().vertices * 30.0 + torch.tensor((5.0, -7.0, 11.0)))
    bundle, views, *_ = run("Bundle3D_RenderBundle", mesh=core_mesh(moved), tile_size=64, rig="orbit").args
    again = run("Bundle3D_SplitBundle", bundle=bundle, like=views)[0]
    assert again.items[0].rig == views.items[0].rig
    assert torch.equal(again.transform(0), views.transform(0))


def test_render_turns_the_front_to_the_objects_left(run: Run) -> None:
    straight = run("Bundle3D_RenderBundle", mesh=core_mesh(box()), tile_size=64).args[1].items[0]
    turned = run("Bundle3D_RenderBundle", mesh=core_mesh(box()), tile_size=64, turn=90.0).args[1]
    item = turned.items[0]
    assert (item.mask[1] - straight.mask[0]).abs().mean() < 1e-3
    back = turned.transform(0)[:3, :3] @ torch.tensor((1.0, 0.0, 0.0), dtype=torch.float64)
    assert torch.allclose(back, torch.tensor((0.0, 0.0, 1.0), dtype=torch.float64), atol=1e-6)


def test_render_refuses_a_mesh_out_of_the_picture(run: Run) -> None:
    far = box().with_(vertices=box().vertices + 10.0)
    with pytest.raises(Bundle3DError, match="switch normalise on"):
        run("Bundle3D_RenderBundle", mesh=core_mesh(far), normalise=False)


def test_a_batch_of_meshes_gives_exactly_the_single_bundles(run: Run) -> None:
    meshes = [box(), box(0.4, 1.0, 0.4), box(1.0, 0.4, 0.4)]
    together = run("Bundle3D_RenderBundle", mesh=core_mesh(*meshes), tile_size=64).args
    for i, mesh in enumerate(meshes):
        alone = run("Bundle3D_RenderBundle", mesh=core_mesh(mesh), tile_size=64).args
        assert torch.equal(together[0][i], alone[0][0])
        assert torch.equal(together[1].items[i].normal, alone[1].items[0].normal)


def test_turntable_frames_follow_one_another(run: Run) -> None:
    frames = run("Bundle3D_Turntable", mesh=core_mesh(box(), box(0.3)), frames=3, size=64, shading="clay")[0]
    assert frames.shape == (6, 64, 64, 3)
    alone = run("Bundle3D_Turntable", mesh=core_mesh(box(0.3)), frames=3, size=64, shading="clay")[0]
    assert torch.equal(frames[3:], alone)
    assert frames[0, 0, 0].min() > 0.99 and frames[0, 32, 32].max() < 0.95


@pytest.mark.parametrize("file_format", ["glb", "obj", "ply", "stl"])
def test_save_writes_numbered_files(run: Run, folders: Path, file_format: str) -> None:
    for number in (1, 2):
        output = run("Bundle3D_SaveMesh", mesh=core_mesh(box()), file_format=file_format, filename_prefix="3d/a box")
        name = f"a box_{number:05}_.{file_format}"
        assert output.ui["3d"] == [{"filename": name, "subfolder": "3d", "type": "output"}]
        saved = read_mesh(folders / "output" / "3d" / name)
        assert saved.faces.shape[0] == 12
        assert output[0][0].format == file_format


def test_save_writes_one_file_per_mesh_of_a_batch(run: Run, folders: Path) -> None:
    output = run("Bundle3D_SaveMesh", mesh=core_mesh(box(), box(0.5)), filename_prefix="pair")
    first, second = (read_mesh(folders / "output" / row["filename"]) for row in output.ui["3d"])
    assert float(first.vertices.max()) == 1.0 and float(second.vertices.max()) == pytest.approx(0.6)


@pytest.mark.parametrize(
    "prefix", ["", "../out", "a/../../out", "/tmp/out", "a\\..\\..\\out", "bad\nname", "a\0b", ".."]
)
def test_save_refuses_names_outside_the_output_folder(run: Run, folders: Path, prefix: str) -> None:
    with pytest.raises(Bundle3DError, match=r"^Expected .*; .*\.$"):
        run("Bundle3D_SaveMesh", mesh=core_mesh(box()), filename_prefix=prefix)
    assert [path for path in folders.rglob("*") if path.is_file()] == []


def test_convert_takes_files_and_meshes(run: Run) -> None:
    from io import BytesIO

    from comfy_api.latest import Types

    file = Types.File3D(BytesIO(mesh_to_bytes(box(), "stl")), "stl")
    mesh, files, solids = run("Bundle3D_ConvertMesh", mesh=file).args
    again = run("Bundle3D_ConvertMesh", mesh=mesh).args[0]
    assert mesh.faces.shape[1] == again.faces.shape[1] == 12
    assert files[0].get_bytes()[:4] == b"glTF"
    assert len(solids) == 1 and solids[0].is_watertight
    assert run("Bundle3D_ConvertMesh", mesh=solids[0]).args[0].faces.shape[1] == 12
