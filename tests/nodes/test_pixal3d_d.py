"""Pixal3D-D through its nodes, on files of random weights."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle3d.nodes import load_pixal3d_d as loader_module
from bundle3d.nodes import pixal3d_d_image_to_3d as node_module
from bundle3d.nodes.interop import accept
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.topology import is_watertight
from bundle3d.pipelines.pixal3d.conditioning import Pictures
from bundle3d.pipelines.pixal3d.direct3d_s2 import draw as draw_module
from bundle3d.pipelines.pixal3d.direct3d_s2.draw import sample_structure
from bundle3d.pipelines.pixal3d.direct3d_s2.load import LoadedStage, load_stage
from bundle3d.pipelines.pixal3d.direct3d_s2.models import Pixal3DDModels
from bundle3d.pipelines.pixal3d.direct3d_s2.prepare import FOV
from bundle3d.tests.pixal3d.write_files import write_state
from bundle3d.tests.support.tiny_pixal3d_d import ENCODER, FOLDER, RESOLUTION, UPSAMPLER, save_tiny_pixal3d_d
from safetensors.torch import load_file

Run = Callable[..., Any]
FAST: dict[str, Any] = {"steps": 1, "guidance": 1.0, "faces": 2000}


@pytest.fixture
def folder(tiny_folder: Path) -> Path:
    save_tiny_pixal3d_d(tiny_folder / "bundle3d")
    return tiny_folder / "bundle3d"


@pytest.fixture
def models(run: Run, folder: Path) -> Pixal3DDModels:
    found: Pixal3DDModels = run("Bundle3D_LoadPixal3DD", folder=FOLDER, image_encoder=ENCODER, upsampler=UPSAMPLER)[0]
    return found


@pytest.fixture
def photo() -> torch.Tensor:
    """Noise in a rectangle on white."""
    image = torch.ones(1, 60, 60, 3)
    image[0, 10:50, 15:45] = 0.5 * torch.rand(40, 30, 3, generator=torch.Generator().manual_seed(0))
    return image


def differ(first: Mesh, second: Mesh) -> bool:
    """By more than rounding."""
    if first.vertices.shape != second.vertices.shape:
        return True
    return not torch.allclose(first.vertices, second.vertices, atol=1e-4)


def test_the_folder_and_its_companions_are_offered_and_loaded(
    nodes: dict[str, Any], folder: Path, models: Pixal3DDModels
) -> None:
    from bundle3d.nodes.memory import Holder

    folders, encoders, upsamplers, _ = nodes["Bundle3D_LoadPixal3DD"].define_schema().inputs
    assert folders.options == [FOLDER]
    assert encoders.options == [ENCODER, UPSAMPLER] and upsamplers.options == ["none", ENCODER, UPSAMPLER]
    assert upsamplers.default == UPSAMPLER
    assert models.resolution == RESOLUTION and models.fine is not None
    parts = [models.encoder, models.upsampler, models.scale_flow]
    parts += [holder for stage in models.stages.values() for holder in (stage.flow, stage.decoder)]
    assert len(parts) == 9 and all(isinstance(part, Holder) for part in parts)


def test_without_its_last_folder_there_are_coarse_shapes(run: Run, folder: Path) -> None:
    for file in sorted((folder / FOLDER / "sparse1024").rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    (folder / FOLDER / "sparse1024").rmdir()
    models = run("Bundle3D_LoadPixal3DD", folder=FOLDER, image_encoder=ENCODER, upsampler=UPSAMPLER, precision="bf16")[
        0
    ]
    assert models.fine is None and models.resolution == RESOLUTION // 2
    assert models.coarse.flow.compute_dtype != torch.float16


def test_naf_is_asked_for_before_anything_is_loaded_and_only_where_a_stage_wants_it(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    def load(path: Path, stage: str, dtype: torch.dtype | None) -> LoadedStage:
        loaded.append(stage)
        return load_stage(path, stage, dtype)

    monkeypatch.setattr(loader_module, "load_stage", load)
    call = {"folder": FOLDER, "image_encoder": ENCODER}
    with pytest.raises(Bundle3DError, match=r"Expected NAF, which a stage .* none is chosen"):
        run("Bundle3D_LoadPixal3DD", **call, upsampler="none")
    (folder / "not_naf.safetensors").write_bytes((folder / FOLDER / "dense/vae/model.safetensors").read_bytes())
    with pytest.raises(Bundle3DError, match=r"Expected NAF in 'not_naf\.safetensors'"):
        run("Bundle3D_LoadPixal3DD", **call, upsampler="not_naf.safetensors")
    assert not loaded
    file = folder / FOLDER / "sparse512" / "conditioner" / "config.json"
    content = json.loads(file.read_text("utf-8"))
    content["config"]["use_upsample"] = False
    file.write_text(json.dumps(content), encoding="utf-8")
    assert run("Bundle3D_LoadPixal3DD", **call, upsampler="none")[0].upsampler is None
    assert run("Bundle3D_LoadPixal3DD", **call, upsampler="not_naf.safetensors")[0].upsampler is None


@pytest.mark.usefixtures("card")
@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16])
def test_flows_compute_in_the_chosen_precision_on_a_card_that_is_quick_with_16_bits(
    run: Run, folder: Path, stored: torch.dtype
) -> None:
    for name in ("dense/dit", "dense/scale_init"):
        file = folder / FOLDER / name / "model.safetensors"
        write_state(file, load_file(file), stored)
    chosen = {"folder": FOLDER, "image_encoder": ENCODER, "upsampler": UPSAMPLER}
    for precision, expected in (("as stored", torch.bfloat16), ("bf16", torch.bfloat16), ("fp32", torch.float32)):
        models = run("Bundle3D_LoadPixal3DD", **chosen, precision=precision)[0]
        assert {flow.compute_dtype for flow in (models.structure.flow, models.scale_flow)} == {expected}


def test_a_photo_becomes_a_closed_mesh(run: Run, models: Pixal3DDModels, photo: torch.Tensor) -> None:
    before = photo.clone()
    output = run("Bundle3D_Pixal3DDImageTo3D", models=models, image=photo, **FAST)
    mesh, files, image, report = output.args
    assert torch.equal(photo, before) and output.ui == {"text": [report]}
    [own] = accept(mesh)
    assert is_watertight(own.faces) and 0 < len(own.faces) <= 2500 and files[0].format == "glb"
    assert float(own.vertices.abs().max()) < 1.1
    assert image.shape == (1, 518, 518, 3) and image[0, 5, 5].tolist() == [1.0, 1.0, 1.0]
    assert float(image[0, 259, 259].max()) <= 0.6  # the object is in the middle
    assert f"Resolution {RESOLUTION}" in report and "Field of view 11.46 degrees, 1.000 times as large" in report
    assert "watertight" in report and "outline overlap" in report and "Cut out by the background's colour" in report
    again = accept(run("Bundle3D_Pixal3DDImageTo3D", models=models, image=photo, **FAST)[0])[0]
    assert torch.equal(again.vertices, own.vertices)


def test_widgets_do_what_they_say(run: Run, models: Pixal3DDModels, photo: torch.Tensor) -> None:
    def made(**widgets: Any) -> tuple[Any, str]:
        output = run("Bundle3D_Pixal3DDImageTo3D", models=models, image=photo, **(FAST | {"fine": False} | widgets))
        return accept(output[0])[0], output[3]

    plain, report = made(faces=0)
    assert f"Resolution {RESOLUTION // 2}" in report and len(plain.faces) > 2000
    assert len(made(faces=0, outer_only=False)[0].faces) >= len(plain.faces)
    for other in ({"seed": 1}, {"fov": 40.0}, {"steps": 2}, {"guidance": 5.0}):
        assert differ(made(faces=0, **other)[0], plain)


def test_an_object_fills_the_volume_where_it_is_to(
    run: Run, models: Pixal3DDModels, photo: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = {"models": models, "image": photo, **FAST, "fine": False, "faces": 0}
    plain = accept(run("Bundle3D_Pixal3DDImageTo3D", **call)[0])[0]
    output = run("Bundle3D_Pixal3DDImageTo3D", fill_volume=True, **call)
    [found] = re.findall(r"degrees, ([\d.]+) times as large", output[3])
    assert float(found) > 0

    def doubled(models: Pixal3DDModels, pictures: Pictures, *rest: Any, **named: Any) -> Pictures:
        return replace(pictures, mesh_scale=2 * pictures.mesh_scale)

    monkeypatch.setattr(node_module, "fit_scale", doubled)
    output = run("Bundle3D_Pixal3DDImageTo3D", fill_volume=True, **call)
    assert "2.000 times as large" in output[3] and differ(accept(output[0])[0], plain)


def test_every_photo_of_a_batch_is_drawn_alone(run: Run, models: Pixal3DDModels, photo: torch.Tensor) -> None:
    other = photo.clone()
    other[:, 10:20] = 1.0
    call = {"models": models, **FAST, "fine": False}
    batch = run("Bundle3D_Pixal3DDImageTo3D", image=torch.cat([photo, other]), seed=3, **call)
    alone = run("Bundle3D_Pixal3DDImageTo3D", image=other, seed=4, **call)
    assert torch.equal(accept(batch[0])[1].vertices, accept(alone[0])[0].vertices)
    assert len(batch[1]) == len(batch[2]) == 2 and "seed 3" in batch[3] and "seed 4" in batch[3]


def test_a_mask_says_where_the_object_is(run: Run, models: Pixal3DDModels, photo: torch.Tensor) -> None:
    mask = torch.zeros(1, 60, 60)
    mask[0, 10:30, 15:35] = 1.0  # a square, which fills the room from 20 to 498
    image = run("Bundle3D_Pixal3DDImageTo3D", models=models, image=photo, mask=mask, **FAST, fine=False)[2]
    rows, columns = (image[0].amin(-1) < 0.9).nonzero().unbind(1)
    assert abs(int(rows.min()) - 20) < 3 and abs(int(columns.max()) - 497) < 3
    with pytest.raises(Bundle3DError) as refusal:
        run("Bundle3D_Pixal3DDImageTo3D", models=models, image=torch.ones(1, 8, 8, 3), **FAST)
    assert "\n" not in str(refusal.value)


def test_where_memory_runs_out_in_the_fine_stage_the_coarse_mesh_is_given(
    run: Run, models: Pixal3DDModels, photo: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> torch.Tensor:
        raise MemoryError

    structures: list[int] = []

    def structure(*arguments: Any) -> torch.Tensor:
        structures.append(1)
        return sample_structure(*arguments)

    call = {"models": models, "image": photo, **FAST}
    coarse = run("Bundle3D_Pixal3DDImageTo3D", **call, fine=False)
    monkeypatch.setattr(draw_module, "finer_places", full)
    monkeypatch.setattr(draw_module, "sample_structure", structure)
    mesh, _, _, report = run("Bundle3D_Pixal3DDImageTo3D", **call).args
    assert f"Resolution {RESOLUTION // 2}" in report and "Memory ran out in the fine stage" in report
    assert len(structures) == 1 and torch.equal(accept(mesh)[0].vertices, accept(coarse[0])[0].vertices)
    assert "Memory" not in coarse[3] and "sparse1024" not in coarse[3]
    monkeypatch.setattr(draw_module, "sample_structure", full)
    with pytest.raises(Bundle3DError, match=r"fit into memory, but it did not; load the models in bf16"):
        run("Bundle3D_Pixal3DDImageTo3D", **call)


def test_the_report_says_that_there_is_no_fine_stage(run: Run, models: Pixal3DDModels, photo: torch.Tensor) -> None:
    report = run("Bundle3D_Pixal3DDImageTo3D", models=replace(models, fine=None), image=photo, **FAST)[3]
    assert f"Resolution {RESOLUTION // 2}" in report and "without sparse1024" in report and "Memory" not in report


def test_drawing_can_be_cancelled(
    run: Run, models: Pixal3DDModels, photo: torch.Tensor, cancels_at: Callable[..., None]
) -> None:
    call = {"models": models, "image": photo, **FAST}
    for ask in (1, 3, 6):
        cancels_at(ask, lambda: run("Bundle3D_Pixal3DDImageTo3D", **call))


def test_the_default_field_of_view_is_the_published_one(nodes: dict[str, Any]) -> None:
    inputs = {one.id: one for one in nodes["Bundle3D_Pixal3DDImageTo3D"].define_schema().inputs}
    assert inputs["fov"].default == pytest.approx(FOV * 180 / 3.141592653589793, abs=0.005)
