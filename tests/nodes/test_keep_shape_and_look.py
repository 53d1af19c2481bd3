"""Keep Shape and Look: two sliders become a strength and controls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from bundle3d.nodes.interop import accept
from bundle3d.pipelines.diffusion.control_image import control_image
from bundle3d.pipelines.diffusion.models import ControlNet
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.tests.support.tiny_flux import tiny_control_network, tiny_models

from .test_edit_mesh import TILE, crate
from .test_meshes import core_mesh

Run = Callable[..., Any]
BUNDLE = torch.rand(2, 32, 64, 3, generator=torch.Generator().manual_seed(0))
MODES = {"tile": 1, "canny": 0, "normal": 7}


@pytest.fixture(scope="module")
def net() -> ControlNet:
    """A union network that knows normals, as ours do."""
    return replace(tiny_control_network(), union_modes=MODES)


def test_presets_become_controls_for_every_bundle(run: Run, net: ControlNet) -> None:
    output = run("Bundle3D_KeepShapeAndLook", bundle=BUNDLE, control_net=net, preset="edit")
    strength, controls, *numbers, note = output.args
    assert strength == 0.95 and numbers == [0.3, 0.5, 0.0, 1.0]
    assert [[control.mode for control in batch] for batch in controls] == [["canny"] * 2, ["normal"] * 2]
    assert all((c.scale, c.start, c.end) == (0.3, 0.0, 0.5) for batch in controls for c in batch)
    for batch in controls:
        for control, picture in zip(batch, BUNDLE):
            assert torch.equal(control.image, picture) and control.make_map
    assert note.splitlines() == [
        "Redraws with a strength of 0.95.",
        "Holds the shape by canny and normal at 0.3 up to 50% of the drawing.",
        "No ControlNet holds the look.",
    ]


def test_they_are_those_of_bundle_control(run: Run, net: ControlNet) -> None:
    _, controls, *numbers, _ = run("Bundle3D_KeepShapeAndLook", bundle=BUNDLE, control_net=net).args
    wired: Any = ()
    for mode, (scale, end) in (("normal", numbers[:2]), ("tile", numbers[2:])):
        wired = run("Bundle3D_BundleControl", control_net=net, image=BUNDLE, mode=mode, strength=scale, start=0.0,
                    end=end, controls=wired)[0]  # fmt: skip
    for ours, theirs in zip(controls, wired):
        for a, b in zip(ours, theirs):
            assert replace(a, image=b.image) == b
            assert torch.equal(*(control_image(c.image, c.mode, 32, 64, make_map=c.make_map) for c in (a, b)))
    assert len(controls) == len(wired) == 2


def test_controls_are_chained_and_sliders_at_0_leave_theirs_out(run: Run, net: ControlNet) -> None:
    first = run("Bundle3D_KeepShapeAndLook", bundle=BUNDLE, control_net=net, keep_shape=0.0)
    assert [batch[0].mode for batch in first[1]] == ["tile"] and first[2] == 0.0
    both = run("Bundle3D_KeepShapeAndLook", bundle=BUNDLE, control_net=net, preset="edit", controls=first[1])
    assert [batch[0].mode for batch in both[1]] == ["tile", "canny", "normal"]


def test_without_a_network_the_strength_alone_is_left(run: Run) -> None:
    output = run("Bundle3D_KeepShapeAndLook", bundle=BUNDLE, keep_look=0.75)
    assert output[0] == pytest.approx(0.475) and output[1] == ()
    assert "No ControlNet holds the shape" in output[6] and "No ControlNet holds the look" in output[6]


def test_modes_that_a_network_lacks_are_left_out_and_named(run: Run) -> None:
    published = tiny_control_network()
    output = run("Bundle3D_KeepShapeAndLook", bundle=BUNDLE, control_net=published)
    assert [batch[0].mode for batch in output[1]] == ["tile"]
    assert "The ControlNet has no mode normal, so that is left out." in output[6]
    of_one_use = tiny_control_network(num_mode=None)
    assert len(run("Bundle3D_KeepShapeAndLook", bundle=BUNDLE, control_net=of_one_use)[1]) == 2
    only_canny = replace(published, union_modes={"canny": 0})
    with pytest.raises(Bundle3DError, match="a mode of normal, tile, but it has canny; choose"):
        run("Bundle3D_KeepShapeAndLook", bundle=BUNDLE, control_net=only_canny)


@pytest.mark.parametrize("mode", ["texture", "texture and normal map", "geometry and texture"])
def test_keeping_the_whole_look_gives_the_very_same_mesh(run: Run, net: ControlNet, mode: str) -> None:
    core = core_mesh(crate())
    (mesh,) = accept(core)
    bundle, views, *_ = run("Bundle3D_RenderBundle", mesh=core, tile_size=TILE).args
    strength, controls, *_ = run(
        "Bundle3D_KeepShapeAndLook", bundle=bundle, control_net=net, keep_shape=0.0, keep_look=1.0
    ).args
    drawn = run(
        "Bundle3D_GenerateBundle", models=tiny_models(), prompt="a blue cube", width=256, initial_image=bundle,
        strength=strength, controls=controls,
    )[0]  # fmt: skip
    after = run("Bundle3D_SplitBundle", bundle=drawn, like=views)[0]
    larger = core_mesh(mesh.with_(vertices=mesh.vertices * 1.03))
    output = run("Bundle3D_EditMesh", mesh=core, before=views, after=after, mode=mode, reconstruction=larger)
    assert strength == 0.0 and accept(output[0])[0] is mesh
