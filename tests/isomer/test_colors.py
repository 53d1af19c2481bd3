from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.isomer.colors import ColorOptions, color_vertices, complete_by_averaging
from bundle3d.pipelines.isomer.initial import sphere
from bundle3d.pipelines.meshes import harmonic_fill as harmonic_fill_module
from bundle3d.pipelines.meshes.harmonic_fill import harmonic_fill
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.rendering.color import srgb_to_linear
from bundle3d.pipelines.rendering.rasterise import rasterise
from bundle3d.pipelines.views.rig import named_rig
from bundle3d.pipelines.views.view_set import ViewSet

BLUE, ORANGE = torch.tensor((0.1, 0.2, 0.9)), torch.tensor((0.9, 0.6, 0.1))


def views_of(mesh: Mesh, face_color: torch.Tensor, size: int = 192) -> ViewSet:
    rig = named_rig("kiss3dgen")
    fragments = rasterise(rig.clip(mesh.vertices), mesh.faces, size, size)
    mask = fragments.mask.float()
    face = fragments.face.long().clamp(min=0)
    normals = torch.nn.functional.normalize(mesh.face_normals(), dim=1)[face] * mask[..., None]
    return ViewSet(face_color[face] * mask[..., None] + (1.0 - mask[..., None]), normals, mask, rig)


def nested() -> Mesh:
    """A sphere with a smaller one hidden inside."""
    outer, inner = sphere(0.8, 4), sphere(0.3, 3)
    return Mesh(
        torch.cat((outer.vertices, inner.vertices)), torch.cat((outer.faces, inner.faces + outer.vertices.shape[0]))
    )


@pytest.mark.parametrize("reference_exact", [False, True])
def test_constant_views_give_constant_linear_colors(reference_exact: bool) -> None:
    mesh = sphere(0.8, 4)
    views = views_of(mesh, BLUE.expand(mesh.faces.shape[0], 3))
    colored = color_vertices(mesh, views, ColorOptions(reference_exact=reference_exact))
    assert colored.colors is not None
    assert torch.allclose(colored.colors, srgb_to_linear(BLUE).expand_as(colored.colors), atol=6e-3)
    assert mesh.colors is None


@pytest.mark.parametrize("reference_exact", [False, True])
def test_two_halves_keep_their_colors(reference_exact: bool) -> None:
    mesh = sphere(0.8, 5)
    left = mesh.vertices[mesh.faces].mean(1)[:, 0] < 0
    views = views_of(mesh, torch.where(left[:, None], BLUE, ORANGE))
    colored = color_vertices(mesh, views, ColorOptions(reference_exact=reference_exact))
    x, y = mesh.vertices[:, 0], mesh.vertices[:, 1]
    side = y.abs() < 0.5
    for color, chosen in ((BLUE, side & (x < -0.06)), (ORANGE, side & (x > 0.06))):
        assert torch.allclose(colored.colors[chosen], srgb_to_linear(color).expand(int(chosen.sum()), 3), atol=0.01)
    gray = (srgb_to_linear(BLUE) + srgb_to_linear(ORANGE)) / 2.0
    if not reference_exact:
        assert torch.all(colored.colors[y.argmax()] > 0.02) and torch.all(colored.colors[y.argmin()] < 2.0 * gray.max())


def test_a_hidden_part_takes_the_nearest_color_and_stays_black_in_the_reference() -> None:
    mesh = nested()
    left = mesh.vertices[mesh.faces].mean(1)[:, 0] < 0
    views = views_of(mesh, torch.where(left[:, None], BLUE, ORANGE))
    hidden = slice(sphere(0.8, 4).vertices.shape[0], None)
    x = mesh.vertices[hidden, 0]
    filled = color_vertices(mesh, views).colors[hidden]
    assert float(filled.max(1).values.min()) > 0.2
    assert float(filled[x < -0.2, 2].min()) > float(filled[x > 0.2, 2].max())
    exact = color_vertices(mesh, views, ColorOptions(reference_exact=True)).colors[hidden]
    assert float(exact.abs().max()) == 0.0


def test_seams_do_not_split_the_completion() -> None:
    mesh = sphere(0.8, 3)
    torn = Mesh(mesh.vertices[mesh.faces].reshape(-1, 3), torch.arange(mesh.faces.numel()).reshape(-1, 3))
    views = views_of(mesh, BLUE.expand(mesh.faces.shape[0], 3))
    whole, pieces = color_vertices(mesh, views).colors, color_vertices(torn, views).colors
    assert torch.allclose(whole[mesh.faces].reshape(-1, 3), pieces, atol=2e-3)


def test_a_harmonic_fill_is_linear_along_a_strip() -> None:
    x = torch.arange(11.0)
    vertices = torch.stack((x.repeat(2), torch.arange(2.0).repeat_interleave(11), torch.zeros(22)), dim=1)
    a = torch.arange(10)
    faces = torch.cat((torch.stack((a, a + 1, a + 12), 1), torch.stack((a, a + 12, a + 11), 1)))
    trust = ((vertices[:, 0] == 0) | (vertices[:, 0] == 10)).float()
    values = (vertices[:, :1] == 10).float()
    filled = harmonic_fill(vertices, faces, values, trust)
    assert torch.allclose(filled[:, 0], vertices[:, 0] / 10.0, atol=0.06)
    assert torch.equal(filled[trust > 0], values[trust > 0])
    assert torch.equal(harmonic_fill(vertices, faces, values, torch.zeros(22)), values)


def test_a_fill_tells_its_steps_and_when_it_ends_early(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mesh = sphere(0.8, 3)
    trust = torch.zeros(mesh.vertices.shape[0])
    trust[:2] = 1.0
    told: list[tuple[int, int]] = []

    def progress(done: int, total: int, preview: object = None) -> None:
        told.append((done, total))

    harmonic_fill(mesh.vertices, mesh.faces, mesh.vertices, trust, progress)
    assert told == sorted(told) and told[0] == (1, 3000) and told[-1][0] > 2000
    assert not caplog.records
    monkeypatch.setattr(harmonic_fill_module, "MOST_ITERATIONS", 3)
    harmonic_fill(mesh.vertices, mesh.faces, mesh.vertices, trust)
    assert len(caplog.records) == 1


def test_a_fill_can_be_cancelled() -> None:
    mesh = sphere(0.8, 3)

    def cancel(done: int, total: int, preview: object = None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        harmonic_fill(mesh.vertices, mesh.faces, mesh.vertices, (mesh.vertices[:, 1] > 0.7).float(), cancel)


def test_averaging_reaches_everything_that_is_connected() -> None:
    mesh = nested()
    seen = mesh.vertices[:, 1] > 0.6
    color = torch.where(seen[:, None], torch.tensor((0.2, 0.4, 0.6)), torch.tensor((9.0, 9.0, 9.0)))
    filled = complete_by_averaging(mesh.faces, color, seen)
    outer = sphere(0.8, 4).vertices.shape[0]
    assert torch.allclose(filled[:outer], torch.tensor((0.2, 0.4, 0.6)).expand(outer, 3), atol=1e-5)
    assert float(filled[outer:].abs().max()) == 0.0


def test_an_empty_mesh_is_refused() -> None:
    mesh = sphere(0.8, 2)
    views = views_of(mesh, BLUE.expand(mesh.faces.shape[0], 3), 32)
    with pytest.raises(Bundle3DError, match="empty"):
        color_vertices(Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64)), views)
