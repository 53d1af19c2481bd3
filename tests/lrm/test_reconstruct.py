"""From views to a mesh that stands where the views show it."""

from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.lrm.held_model import HeldModel, activation_bytes, held
from bundle3d.pipelines.lrm.inputs import model_input
from bundle3d.pipelines.lrm.model import LargeReconstructionModel
from bundle3d.pipelines.lrm.reconstruct import LrmOptions, preview, reconstruct_views
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.rendering.fit_scale import WIDE_RANGE
from bundle3d.pipelines.rendering.render_views import render_views
from bundle3d.pipelines.views.rig import named_rig
from bundle3d.pipelines.views.view_set import ViewSet
from bundle3d.tests.lrm.make_field import known_field, zero
from bundle3d.tests.lrm.make_small import put_surface, small_model
from bundle3d.tests.rendering.shapes import sphere

RADII = torch.tensor((0.6, 0.45, 0.3))


@pytest.fixture(scope="module")
def views() -> ViewSet:
    """An ellipsoid seen from the cameras of bundles."""
    vertices, faces = sphere(24, 1.0)
    return render_views(Mesh(vertices.float() * RADII, faces), named_rig("kiss3dgen"), 96, "unlit")


def ellipsoid(size: float) -> tuple[LargeReconstructionModel, torch.Tensor]:
    """The same times ``size``: x is our z, y our x, and z our y."""
    y, z, x = (RADII * size).tolist()
    return known_field(lambda u, v: (u / x) ** 2 + (v / y) ** 2 - 1, lambda u, v: (v / z) ** 2, zero)


def reconstruction_of(size: float, monkeypatch: pytest.MonkeyPatch) -> HeldModel:
    """A model that answers every view with the ellipsoid."""
    model, planes = ellipsoid(size)
    monkeypatch.setattr(LargeReconstructionModel, "planes", lambda self, images, cameras, progress: planes[None])
    return held(model)


def test_networks_and_decoders_share_the_weights_of_the_model(views: ViewSet) -> None:
    model = small_model()
    parts = held(model)
    network = parts.network.module
    assert not hasattr(network, "synthesizer") and not hasattr(parts.reader, "encoder")
    assert network.transformer is model.transformer and parts.reader.decoder is model.decoder
    assert model.synthesizer is parts.reader.synthesizer and model.encoder is network.encoder
    given = model_input(views, parts.config)
    assert torch.equal(network.planes(*given), model.planes(*given))
    small = activation_bytes(parts.config, 4, torch.bfloat16)
    assert 2 * small == activation_bytes(parts.config, 4, torch.float32) and small > 0


@pytest.mark.parametrize("size", [0.75, 0.9])
def test_the_mesh_has_the_size_of_the_views(size: float, views: ViewSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is told 3.5 of cameras at 4.5; what it makes is too small or too large for either."""
    result = reconstruct_views(reconstruction_of(size, monkeypatch), views)
    told = reconstruct_views(reconstruction_of(size, monkeypatch), views, LrmOptions(fit=False))
    torch.testing.assert_close(told.mesh.bounds[1], RADII * (size * 4.5 / 3.5), atol=0.015, rtol=0)
    torch.testing.assert_close(result.mesh.bounds[1], RADII, atol=0.015, rtol=0)
    assert told.scale == 1.0 and min(result.overlaps) > 0.95 > max(told.overlaps)
    torch.testing.assert_close(result.mesh.vertices * result.scale, told.mesh.vertices)


def test_a_textured_mesh_is_simplified_and_stands_in_the_same_place(
    views: ViewSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = reconstruction_of(0.8, monkeypatch)
    plain = reconstruct_views(model, views)
    options = LrmOptions(texture=128, target_faces=1000)
    textured = reconstruct_views(model, views, options)
    assert len(plain.mesh.faces) > 2000 >= 2 * len(textured.mesh.faces) - 100
    (material,) = textured.mesh.materials
    assert material.base_color_texture is not None and material.base_color_texture.shape == (128, 128, 3)
    for ours, theirs in zip(textured.mesh.bounds, plain.mesh.bounds):
        torch.testing.assert_close(ours, theirs, atol=0.02, rtol=0)
    pictures = [preview(result.mesh, views.rig) for result in (plain, textured)]
    assert float((pictures[0] - pictures[1]).abs().mean()) < 0.01


def test_progress_rises_and_may_cancel_with_a_picture_of_the_mesh(
    views: ViewSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = reconstruction_of(0.8, monkeypatch)
    steps, pictures = [], []

    def watch(done: int, total: int, preview: object = None) -> None:
        steps.append(done / total)
        if callable(preview):
            pictures.append(preview())

    reconstruct_views(model, views, progress=watch)
    assert steps == sorted(steps) and steps[-1] == 1.0
    assert [picture.shape for picture in pictures] == [(256, 1024, 3)] * 2

    def cancel(done: int, total: int, preview: object = None) -> None:
        if preview is not None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reconstruct_views(model, views, progress=cancel)


def test_random_weights_go_all_the_way_or_say_what_is_missing(views: ViewSet) -> None:
    model = small_model()
    put_surface(model, *model_input(views, model.config))
    parts = held(model)
    result = reconstruct_views(parts, views, LrmOptions(resolution=12))
    assert len(result.mesh.faces) > 0 and len(result.overlaps) == 4
    assert torch.equal(result.mesh.vertices, reconstruct_views(parts, views, LrmOptions(resolution=12)).mesh.vertices)
    with pytest.raises(Bundle3DError, match="cubes per side"):
        reconstruct_views(parts, views, LrmOptions(resolution=4))
    empty = ViewSet(views.rgb, views.normal, views.mask * 0.0, views.rig)
    with pytest.raises(Bundle3DError, match="empty"):
        reconstruct_views(parts, empty)
    assert WIDE_RANGE[0] < 3.5 / 4.5 and WIDE_RANGE[1] > 4.2 / 3.5
