from __future__ import annotations

import math

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.thickness import mean_thickness
from bundle3d.pipelines.meshes.topology import components, euler_characteristic
from bundle3d.pipelines.meshes.triangle_tree import TriangleTree
from bundle3d.pipelines.volumes.offset_shell import ShellOptions, offset_shell
from bundle3d.pipelines.volumes.outer_parts import hollow_parts, outer_parts
from bundle3d.pipelines.volumes.sparse_surface_nets import sparse_surface_nets
from bundle3d.pipelines.volumes.surface_nets import surface_nets

from .fields import assert_closed_manifold, signed_volume

CELL = 1.0 / 48


def ball(radius: float = 0.4, size: int = 65, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Mesh:
    axis = torch.linspace(-0.5, 0.5, size)
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    return surface_nets(radius - (grid - torch.tensor(centre)).norm(dim=-1), (-0.5,) * 3, 1.0 / (size - 1))


def ring(size: int = 65) -> Mesh:
    axis = torch.linspace(-0.5, 0.5, size)
    x, y, z = torch.meshgrid(axis, axis, axis, indexing="ij")
    return surface_nets(0.12 - torch.hypot(torch.hypot(x, z) - 0.3, y), (-0.5,) * 3, 1.0 / (size - 1))


def joined(*meshes: Mesh) -> Mesh:
    starts = torch.tensor([0, *(mesh.vertices.shape[0] for mesh in meshes)]).cumsum(0)
    faces = [mesh.faces + int(start) for mesh, start in zip(meshes, starts)]
    return Mesh(torch.cat([mesh.vertices for mesh in meshes]), torch.cat(faces))


def shell(mesh: Mesh, cell: float = CELL, **options: object) -> Mesh:
    found = offset_shell(TriangleTree(mesh.vertices, mesh.faces), cell, ShellOptions(**options))  # type: ignore[arg-type]
    assert_closed_manifold(found.vertices.shape[0], found.faces)
    return found


def parts(mesh: Mesh) -> int:
    return int(components(mesh.faces, mesh.vertices.shape[0]).max()) + 1


def test_the_released_shell_of_a_ball_is_double_and_one_band_away() -> None:
    found = shell(ball())
    assert parts(found) == 2
    radius = found.vertices.norm(dim=1)
    outer = radius > 0.4
    assert (radius[outer] - 0.4 - CELL).abs().max() < 0.1 * CELL
    assert (radius[~outer] - 0.4 + CELL).abs().max() < 0.1 * CELL
    expected = 4 / 3 * math.pi * ((0.4 + CELL) ** 3 - (0.4 - CELL) ** 3)
    assert signed_volume(found.vertices, found.faces) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(("mesh", "euler"), [(ball(), 2), (ring(), 0)])
def test_the_outer_shell_drawn_back_is_single_and_has_volume_and_genus(mesh: Mesh, euler: int) -> None:
    found = shell(mesh, outer_only=True, project_back=1.0)
    assert parts(found) == 1 and euler_characteristic(found.faces) == euler
    assert signed_volume(found.vertices, found.faces) == pytest.approx(
        signed_volume(mesh.vertices, mesh.faces), rel=0.01
    )


@pytest.mark.parametrize("seed", range(3))
def test_any_soup_gives_a_closed_manifold_around_it(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    soup = Mesh(torch.rand(30, 3, generator=generator) - 0.5, torch.randint(0, 30, (14, 3), generator=generator))
    found = shell(soup)
    distance = TriangleTree(soup.vertices, soup.faces).closest(found.vertices).distance
    # concave creases are cut off by up to the size of a cell
    assert distance.max() < 1.9 * CELL and distance.min() > 0.5 * CELL
    outside = shell(soup, outer_only=True)
    assert signed_volume(outside.vertices, outside.faces) >= signed_volume(found.vertices, found.faces) - 1e-6


def test_a_thin_sheet_keeps_two_sides() -> None:
    sheet = Mesh(
        torch.tensor([[-0.3, -0.3, 0.0], [0.3, -0.3, 0.0], [0.3, 0.3, 0.0], [-0.3, 0.3, 0.0]]),
        torch.tensor([[0, 1, 2], [0, 2, 3]]),
    )
    found = shell(sheet, outer_only=True, project_back=0.9)
    middle = found.vertices[(found.vertices[:, :2].abs() < 0.28).all(1)]
    assert torch.allclose(middle[:, 2].abs(), torch.tensor(0.1 * CELL), rtol=0.03)
    assert signed_volume(found.vertices, found.faces) == pytest.approx(0.6 * 0.6 * 0.2 * CELL, rel=0.1)


def leaky_ball(opening: float) -> Mesh:
    mesh = ball(size=97)
    centre = mesh.vertices[mesh.faces].mean(1)
    hole = (centre[:, 2] > 0) & (centre[:, :2].norm(dim=1) < opening)
    return Mesh(mesh.vertices, mesh.faces[~hole])


def test_an_opening_is_sealed_up_to_the_chosen_size_only() -> None:
    leaky = leaky_ball(2.2 * CELL)
    assert signed_volume(*mesh_parts(shell(leaky, outer_only=True))) < 0.5 * 4 / 3 * math.pi * 0.4**3
    sealed = shell(leaky, outer_only=True, seal=3.5, project_back=0.9)
    assert parts(sealed) == 1 and euler_characteristic(sealed.faces) == 2
    assert signed_volume(*mesh_parts(sealed)) == pytest.approx(4 / 3 * math.pi * 0.4**3, rel=0.03)
    too_wide = shell(leaky_ball(6 * CELL), outer_only=True, seal=3.5)
    assert signed_volume(*mesh_parts(too_wide)) < 0.5 * 4 / 3 * math.pi * 0.4**3


def test_a_shell_that_the_outside_reaches_into_is_sealed_wider() -> None:
    leaky = leaky_ball(6.5 * CELL)
    assert mean_thickness(shell(leaky, outer_only=True, seal=3.0)) < 3 * CELL
    sealed = shell(leaky, outer_only=True, seal=3.0, widest_seal=12.0, project_back=0.9)
    assert parts(sealed) == 1
    assert signed_volume(*mesh_parts(sealed)) == pytest.approx(4 / 3 * math.pi * 0.4**3, rel=0.05)


def test_what_no_seal_makes_solid_stays_as_it_was() -> None:
    bowl = leaky_ball(14 * CELL)
    narrow, wide = (shell(bowl, outer_only=True, seal=3.0, widest_seal=widest) for widest in (0.0, 7.0))
    assert torch.equal(narrow.vertices, wide.vertices) and torch.equal(narrow.faces, wide.faces)


def mesh_parts(mesh: Mesh) -> tuple[torch.Tensor, torch.Tensor]:
    return mesh.vertices, mesh.faces


def test_parts_within_hollows_go_and_parts_outside_stay() -> None:
    inside, beside = ball(0.15), ball(0.05, centre=(0.43, 0.43, 0.43))
    found = shell(joined(ball(), inside, beside), outer_only=True)
    assert parts(found) == 2
    assert (found.vertices.norm(dim=1) > 0.39).all()
    everything = shell(joined(ball(), inside, beside))
    assert parts(everything) == 6
    assert parts(outer_parts(everything)) == 2 and parts(hollow_parts(everything)) == 3


def test_the_search_from_coarse_to_fine_finds_what_a_full_grid_finds() -> None:
    def field(points: torch.Tensor, reach: float) -> torch.Tensor:
        wave = points.norm(dim=1) - 0.3037 + 0.02 * torch.sin(12 * points[:, 0]) * torch.sin(12 * points[:, 1])
        return wave / 1.4

    low, cell = torch.full((3,), -0.5), 1 / 80
    sparse = sparse_surface_nets(field, low, -low, cell)
    axis = torch.arange(81) * cell - 0.5
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    dense = surface_nets(-field(grid.reshape(-1, 3), 1.0).reshape(grid.shape[:3]), (-0.5,) * 3, cell)
    assert sparse.faces.shape == dense.faces.shape
    distance = TriangleTree(dense.vertices, dense.faces).closest(sparse.vertices).distance
    assert distance.max() < 1e-5


def test_both_backends_give_one_shell() -> None:
    mesh = ball(size=25)
    one, two = (
        offset_shell(TriangleTree(mesh.vertices, mesh.faces, backend), 1 / 24, ShellOptions(outer_only=True))
        for backend in ("numba", "torch")
    )
    assert torch.equal(one.faces, two.faces) and torch.allclose(one.vertices, two.vertices, atol=1e-6)


def test_a_field_of_one_sign_gives_an_empty_mesh_and_too_many_cells_are_refused() -> None:
    low = torch.full((3,), -0.5)
    for cell in (0.1, 0.01):
        assert sparse_surface_nets(lambda points, reach: points[:, 0] + 9.0, low, -low, cell).faces.shape == (0, 3)
    with pytest.raises(Bundle3DError, match="4096 cells"):
        sparse_surface_nets(lambda points, reach: points[:, 0], low, -low, 1e-4)


def test_a_remesh_can_be_cancelled() -> None:
    calls = 0

    def cancel(done: int, total: int, preview: object = None) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        offset_shell(TriangleTree(ball().vertices, ball().faces), CELL, progress=cancel)
    assert calls == 3


@pytest.mark.parametrize(
    "change", [{"band": 0.1}, {"seal": -1.0}, {"project_back": 1.5}, {"seal": 3.0}, {"widest_seal": 65.0}]
)
def test_options_out_of_range_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(Bundle3DError, match="Expected"):
        ShellOptions(**change)  # type: ignore[arg-type]
