"""Base colours from views in studio light."""

from __future__ import annotations

import torch
from bundle3d.pipelines.editing.studio_light import without_studio_light
from bundle3d.pipelines.rendering.render_views import render_views
from bundle3d.pipelines.views.bundle import join_bundle, split_bundle
from bundle3d.pipelines.views.rig import named_rig
from bundle3d.tests.meshes.shapes import torus

from .cases import textured

RIG = named_rig("kiss3dgen")


def test_the_light_of_the_studio_is_undone() -> None:
    mesh = textured(torus(0.65, 0.3, 36, 18))
    lit, unlit = (render_views(mesh, RIG, 96, mode) for mode in ("matte", "unlit"))
    inner = lit.mask == 1.0
    assert float((lit.rgb - unlit.rgb)[inner].abs().mean()) > 0.05
    found = without_studio_light(lit)
    assert float((found.rgb - unlit.rgb)[inner].abs().max()) < 0.04
    assert float((found.rgb - unlit.rgb)[inner].abs().mean()) < 0.004
    assert float((found.rgb - unlit.rgb).abs().max()) < 0.2, "at rims as well"
    assert torch.equal(found.normal, lit.normal) and torch.equal(found.mask, lit.mask)


def test_it_holds_for_bundles_in_eight_bits() -> None:
    mesh = textured(torus(0.65, 0.3, 36, 18))
    lit, unlit = (render_views(mesh, RIG, 96, mode) for mode in ("matte", "unlit"))
    bundle = (join_bundle(lit) * 255).round() / 255
    found = without_studio_light(split_bundle(bundle))
    inner = lit.mask == 1.0
    assert float((found.rgb - unlit.rgb)[inner].abs().mean()) < 0.008


def test_the_background_stays_white_and_the_input_as_it_is() -> None:
    lit = render_views(torus(0.65, 0.3, 36, 18), RIG, 48, "matte")
    before = lit.rgb.clone()
    found = without_studio_light(lit)
    assert torch.equal(found.rgb[lit.mask == 0.0], torch.ones(int((lit.mask == 0.0).sum()), 3))
    assert torch.equal(lit.rgb, before)
