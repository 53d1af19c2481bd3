"""The large reconstruction model through the nodes, on random weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle3d.nodes.interop import accept
from bundle3d.pipelines.checkpoints import demo_folder
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.lrm.inputs import image_input
from bundle3d.pipelines.lrm.model import LargeReconstructionModel
from bundle3d.pipelines.training.demo_lrm import CONFIG, new_lrm, save_lrm
from bundle3d.pipelines.views.rig import named_rig
from bundle3d.tests.lrm.make_small import put_surface

from .test_meshes import box, core_mesh
from .test_views import bundle

Run = Callable[..., Any]
TINY = replace(
    CONFIG, image_size=32, encoder_width=32, encoder_hidden=48, encoder_layers=1, encoder_heads=2, width=32, hidden=48,
    layers=1, heads=2, plane_channels=4, grid_resolution=16,
)  # fmt: skip


def tiny_lrm(material: bool = True) -> LargeReconstructionModel:
    """Random, but with a surface."""
    torch.manual_seed(0)
    model = new_lrm(replace(TINY, material=material, linear_color=material)).requires_grad_(False)
    gray = torch.full((4, 32, 32, 3), 0.5)
    put_surface(model, *image_input(gray, named_rig("kiss3dgen"), TINY))
    return model


@pytest.fixture
def reconstruction_file(tiny_folder: Path) -> Path:
    path = tiny_folder / "bundle3d" / "tiny.safetensors"
    save_lrm(tiny_lrm(), path)
    return path


@pytest.fixture
def views(run: Run) -> Any:
    return run("Bundle3D_SplitBundle", bundle=bundle(4))[0]


def load(run: Run, precision: str = "as stored") -> Any:
    return run("Bundle3D_LoadReconstructionModel", reconstruction_model="tiny.safetensors", precision=precision)[0]


def test_files_of_the_folder_are_offered(reconstruction_file: Path, nodes: dict[str, Any]) -> None:
    schema = nodes["Bundle3D_LoadReconstructionModel"].define_schema()
    assert schema.inputs[0].options == ["Bundle3D demo", "tiny.safetensors"]


def test_the_demo_model_is_found_where_it_lies(run: Run, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny_folder / "demo" / "model.safetensors"
    monkeypatch.setattr("bundle3d.nodes.load_reconstruction_model.DEMO_RECONSTRUCTION_MODEL", path)
    with pytest.raises(Bundle3DError, match="train lrm-demo"):
        run("Bundle3D_LoadReconstructionModel")
    save_lrm(tiny_lrm(), path)
    assert run("Bundle3D_LoadReconstructionModel")[0].config.grid_resolution == TINY.grid_resolution
    assert demo_folder.DEMO_RECONSTRUCTION_MODEL.parts[-2:] == ("demo_lrm", "model.safetensors")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_views_become_a_mesh_in_their_place(run: Run, reconstruction_file: Path, views: Any, precision: str) -> None:
    from bundle3d.nodes.sockets import ViewBatch

    model = load(run, precision)
    place = torch.diag(torch.tensor((2.0, 2.0, 2.0, 1.0), dtype=torch.float64))
    moved = ViewBatch(views.items * 2, (torch.eye(4, dtype=torch.float64), place))
    mesh, files, report = run("Bundle3D_ReconstructViews", model=model, views=moved).args
    first, second = accept(mesh)
    assert torch.equal(first.vertices, second.vertices) and torch.equal(second.transform, place)
    assert first.colors is not None and len(files) == 2 and files[0].format == "glb"
    assert report.count("View 4: outline overlap") == 2
    weights = [part.weight for part in model.network.module.modules() if isinstance(part, torch.nn.Linear)]
    assert {weight.dtype for weight in weights} == {torch.float32 if precision == "fp32" else torch.bfloat16}


def test_a_texture_is_read_off_the_model(run: Run, reconstruction_file: Path, views: Any) -> None:
    options = {"texture": "512", "target_faces": 500, "material": True, "fit_size": False}
    mesh = run("Bundle3D_ReconstructViews", model=load(run), views=views, resolution=24, **options)[0]
    (textured,) = accept(mesh)
    material = textured.materials[0]
    assert material.base_color_texture.shape == material.orm_texture.shape == (512, 512, 3)
    save_lrm(tiny_lrm(material=False), reconstruction_file.with_name("colors.safetensors"))
    plain = run("Bundle3D_LoadReconstructionModel", reconstruction_model="colors.safetensors")[0]
    with pytest.raises(Bundle3DError, match="predicts material"):
        run("Bundle3D_ReconstructViews", model=plain, views=views, **options)


def test_the_memory_manager_may_move_the_networks_away(run: Run, reconstruction_file: Path, views: Any) -> None:
    from comfy import model_management

    model = load(run)
    first = accept(run("Bundle3D_ReconstructViews", model=model, views=views)[0])[0]
    model_management.unload_all_models()
    second = accept(run("Bundle3D_ReconstructViews", model=model, views=views)[0])[0]
    assert torch.equal(first.vertices, second.vertices)
    assert all(parameter.dtype == torch.float32 for parameter in model.decoders.parameters())


def test_cancelling_takes_effect(run: Run, reconstruction_file: Path, views: Any) -> None:
    from comfy import model_management

    model = load(run)
    model_management.interrupt_current_processing(True)
    with pytest.raises(model_management.InterruptProcessingException):
        run("Bundle3D_ReconstructViews", model=model, views=views)


def test_a_reference_bundle_has_the_colours_of_the_views_over_the_normals_of_the_mesh(run: Run, views: Any) -> None:
    from bundle3d.nodes.sockets import ViewBatch

    mesh = core_mesh(box())
    plain = run("Bundle3D_RenderBundle", mesh=mesh, tile_size=64, normalise=False)
    output = run("Bundle3D_ReferenceBundle", mesh=mesh, views=plain[1], tile_size=64)
    image, made, report = output.args
    assert report.count("outline overlap") == 4 and "well" not in report and output.ui == {"text": [report]}
    assert torch.equal(image[:, :64], plain[0][:, :64]) and image.shape == (1, 128, 256, 3)
    assert float((image - plain[0]).abs().mean()) < 0.01
    place = torch.diag(torch.tensor((2.0, 2.0, 2.0, 1.0), dtype=torch.float64))
    moved = ViewBatch(plain[1].items, (place,))
    half = core_mesh(box().with_(vertices=box().vertices * 2.0))
    again, made, _ = run("Bundle3D_ReferenceBundle", mesh=half, views=moved, tile_size=64).args
    assert torch.allclose(again, image, atol=0.02) and torch.equal(made.transforms[0], place)
    alone = run("Bundle3D_ReferenceBundle", mesh=mesh, colors="mesh, unlit", tile_size=64, distance=4.5)[0]
    assert torch.allclose(alone, plain[0], atol=1e-5)
    with pytest.raises(Bundle3DError, match="connect them"):
        run("Bundle3D_ReferenceBundle", mesh=mesh)


def test_a_photo_takes_the_place_of_the_front(run: Run) -> None:
    mesh = core_mesh(box())
    views = run("Bundle3D_RenderBundle", mesh=mesh, tile_size=64, normalise=False)[1]
    photo = torch.zeros(1, 96, 96, 3) + torch.tensor((1.0, 0.0, 0.0))
    mask = torch.zeros(1, 96, 96)
    mask[:, 40:56, 20:60] = 1.0
    inputs = {"mesh": mesh, "views": views, "tile_size": 64}
    plain = run("Bundle3D_ReferenceBundle", **inputs)[0]
    image, _, report = run("Bundle3D_ReferenceBundle", photo=photo, photo_mask=mask, **inputs).args
    assert "Photo: outline overlap" in report and "another side" in report
    assert torch.equal(image[:, :, 64:], plain[:, :, 64:]) and torch.equal(image[:, 64:], plain[:, 64:])
    assert torch.allclose(image[0, 32, 32], torch.tensor((1.0, 0.0, 0.0)), atol=0.02)
    with pytest.raises(Bundle3DError, match="mask for each"):
        run("Bundle3D_ReferenceBundle", photo=photo, **inputs)
    with pytest.raises(Bundle3DError, match="photo for photo_mask"):
        run("Bundle3D_ReferenceBundle", photo_mask=mask, **inputs)


def test_presets_are_plain_numbers(run: Run) -> None:
    values = run("Bundle3D_BundlePreset").args
    assert values[:7] == (0.95, 20, 3.5, 0.6, 0.0, 0.65, 0.5) and isinstance(values[1], int)
    assert run("Bundle3D_BundlePreset", preset="mesh to 3D, repository").args[3:6] == (0.1, 0.0, 0.2)


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("text to 3D, repository example", (4.2, 0, 50)),
        ("text to 3D, repository app", (4.5, 10, 50)),
        ("image to 3D, repository example", (4.15, 0, 50)),
        ("image to 3D, repository app", (4.5, 0, 20)),
        ("mesh to 3D, repository", (4.15, 0, 50)),
    ],
)
def test_presets_have_the_values_of_isomer(run: Run, preset: str, expected: tuple[float, int, int]) -> None:
    """specs/kiss3dgen.md 3.6."""
    assert run("Bundle3D_BundlePreset", preset=preset).args[8:] == expected
