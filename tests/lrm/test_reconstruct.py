"""From views to a mesh that stands where the views show it."""

from __future__ import annotations

import math

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.lrm.held_model import HeldModel, activation_bytes, held
from bundle3d.pipelines.lrm.inputs import model_input
from bundle3d.pipelines.lrm.model import LargeReconstructionModel
from bundle3d.pipelines.lrm.reconstruct import (
    LrmOptions,
    mesh_from_planes,
    preview,
    reconstruct_views,
    view_planes,
)
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.topology import is_watertight
from bundle3d.pipelines.rendering.fit_scale import WIDE_RANGE
from bundle3d.pipelines.rendering.render_views import render_views
from bundle3d.pipelines.views.rig import Rig, named_rig
from bundle3d.pipelines.views.view_set import ViewSet
from bundle3d.tests.lrm.make_field import known_field, zero
from bundle3d.tests.lrm.make_small import SMALL, put_surface, small_model
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
    assert not hasattr(network, "synthesizer") and not hasattr(parts.decoders, "encoder")
    assert network.transformer is model.transformer and parts.decoders.decoder is model.decoder
    assert model.synthesizer is parts.decoders.synthesizer and model.encoder is network.encoder
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


def attentive_model() -> LargeReconstructionModel:
    """Random weights through which cameras and images matter."""
    model = LargeReconstructionModel(SMALL).requires_grad_(False).eval()
    noise = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.copy_(torch.randn(parameter.shape, generator=noise) * 0.3)
    return model


def test_views_count_with_their_cameras_and_in_any_order() -> None:
    """The mesh is that of these images from these cameras; only the pairs of both must stay together."""
    vertices, faces = sphere(12, 1.0)
    colors = (vertices.float() + 1) / 2
    shown = render_views(Mesh(vertices.float() * RADII, faces, colors=colors), named_rig("kiss3dgen"), 96, "unlit")
    parts = held(attentive_model())
    order = [2, 0, 3, 1]
    cameras = Rig(tuple(shown.rig[view] for view in order))
    moved = ViewSet(shown.rgb[order], shown.normal[order], shown.mask[order], cameras)
    swapped = ViewSet(shown.rgb[order], shown.normal[order], shown.mask[order], shown.rig)
    expected, same, other = (view_planes(parts, views) for views in (shown, moved, swapped))
    torch.testing.assert_close(same, expected, atol=1e-4, rtol=0)
    assert float((other - expected).abs().max()) > 0.01
    gray = ViewSet(torch.full_like(shown.rgb, 0.5), shown.normal, shown.mask, shown.rig)
    assert float((view_planes(parts, gray) - expected).abs().max()) > 0.01


@pytest.mark.parametrize("hidden", [None, 1])
def test_without_a_surface_the_mesh_is_the_hull_of_the_views_in_their_colours(
    views: ViewSet, hidden: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, planes = known_field(lambda u, v: u * 0 + 1, zero, zero, resolution=16)
    parts = held(model)
    red = views.rgb * 0 + torch.tensor((1.0, 0.0, 0.0))
    mask = views.mask.clone()
    if hidden is not None:
        mask[hidden] = 0.0
    shown = ViewSet(torch.where(mask[..., None] > 0, red, 1.0), views.normal, mask, views.rig)
    result = mesh_from_planes(parts, planes, shown, LrmOptions(fit=False))
    seen = [overlap for overlap in result.overlaps if not math.isnan(overlap)]
    assert result.from_hull and result.scale == 1.0 and len(seen) == (4 if hidden is None else 3) and min(seen) > 0.95
    assert is_watertight(result.mesh.faces) and result.mesh.colors is not None
    torch.testing.assert_close(
        result.mesh.colors, torch.tensor((1.0, 0.0, 0.0)).expand_as(result.mesh.colors), atol=0.02, rtol=0
    )
    steps: list[float] = []
    textured = mesh_from_planes(
        parts,
        planes,
        shown,
        LrmOptions(texture=64, target_faces=500),
        lambda done, total, preview=None: steps.append(done / total),
    )
    assert textured.from_hull and len(textured.mesh.faces) < 600 and steps == sorted(steps) and steps[-1] == 1.0
    image = textured.mesh.materials[0].base_color_texture
    assert image is not None and image.shape == (64, 64, 3)
    assert float(image.float().mean(dim=(0, 1))[0]) > 250 and float(image.float().mean(dim=(0, 1))[1]) < 5


def test_what_the_model_cannot_do_is_refused_before_it_computes(views: ViewSet) -> None:
    parts = held(small_model(material=False))
    forbidden = HeldModel(parts.network, parts.decoders)
    forbidden.network.module.forward = forbidden.network.module.planes = None
    for options, said in (
        (LrmOptions(material=True), "load prm_final_ckpt"),
        (LrmOptions(resolution=600), "8 to 512"),
    ):
        with pytest.raises(Bundle3DError, match=said):
            reconstruct_views(forbidden, views, options)
    with pytest.raises(Bundle3DError, match=r"material into, but none is asked for; choose"):
        LrmOptions(material=True).check(small_model().config)


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
