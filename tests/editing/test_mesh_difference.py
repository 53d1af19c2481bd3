"""What is said and shown of two states of a mesh."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from bundle3d.pipelines.editing.difference_pictures import DifferencePictures, difference_pictures, heated
from bundle3d.pipelines.editing.mesh_difference import MeshDifference, mesh_difference, surface_distance
from bundle3d.pipelines.editing.texture_space import enlarged
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.tests.meshes.shapes import box, merge, sphere

from .cases import BLUE, SIZE, ring, texture_of

PLACE = torch.diag(torch.tensor((0.02, 0.02, 0.02, 1.0), dtype=torch.float64))
PLACE[:3, 3] = torch.tensor((3.0, -2.0, 1.0))


def measured(before: Mesh, after: Mesh) -> MeshDifference:
    return mesh_difference(before, after, surface_distance(before, after))


def painted(mesh: Mesh, texels: int) -> Mesh:
    """``mesh`` with the first ``texels`` of its texture in blue."""
    texture = texture_of(mesh).clone()
    texture.view(-1, 3)[:texels] = (BLUE * 255).to(torch.uint8)
    return mesh.with_(materials=(replace(mesh.materials[0], base_color_texture=texture),))


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    return ring().with_(transform=PLACE)


def test_copies_are_identical(mesh: Mesh) -> None:
    copy = mesh.with_(vertices=mesh.vertices.clone(), materials=painted(mesh, 0).materials)
    found = measured(mesh, copy)
    assert found.is_identical and found.moved == 0 and found.largest_distance == 0.0
    assert found.same == (
        "vertices",
        "triangles",
        "texture coordinates",
        "place and scale",
        "materials",
        "textures",
        "name",
        "units",
    )
    assert "nothing changed" in found.to_text()


def test_texels_are_counted_and_all_else_is_said_to_be_the_same(mesh: Mesh) -> None:
    found = measured(mesh, painted(mesh, 100))
    assert found.changed == ("textures",)
    (texture,) = found.textures
    assert (texture.material, texture.slot, texture.changed) == ("paint", "base colour", 100)
    assert texture.before == texture.after == (SIZE, SIZE)
    assert "paint, base colour: 100 of 16,384 texels changed" in found.to_text()


def test_a_finer_texture_is_compared_with_the_old_one_enlarged(mesh: Mesh) -> None:
    finer = enlarged(texture_of(mesh), 2, repeat=False)
    finer[:3, :5] = 255 - finer[:3, :5]
    found = measured(mesh, mesh.with_(materials=(replace(mesh.materials[0], base_color_texture=finer),)))
    assert found.textures[0].changed == 15 and "128 x 128 before" in found.to_text()
    other = torch.zeros(100, 60, 3, dtype=torch.uint8)
    found = measured(mesh, mesh.with_(materials=(replace(mesh.materials[0], base_color_texture=other),)))
    assert found.textures[0].changed is None and "another one, 128 x 128 before, 60 x 100 after" in found.to_text()


def test_textures_that_come_and_go_are_named(mesh: Mesh) -> None:
    bare = replace(mesh.materials[0], orm_texture=None, normal_texture=torch.zeros(4, 4, 3, dtype=torch.uint8))
    text = measured(mesh, mesh.with_(materials=(bare,))).to_text()
    assert "roughness and metal: gone" in text and "normal map: new, 4 x 4" in text


def test_moved_vertices_are_counted_in_units_of_the_world(mesh: Mesh) -> None:
    vertices = mesh.vertices.clone()
    vertices[:7, 1] += 0.5
    found = measured(mesh, mesh.with_(vertices=vertices, name="other", units="inch"))
    assert found.changed == ("vertices", "name", "units") and found.moved == 7
    assert found.largest_distance == pytest.approx(0.5 * 0.02)
    assert 0.0 < found.mean_distance < found.largest_distance
    assert "7 of" in found.to_text() and "0.01 centimeter apart at most" in found.to_text()


def test_a_change_of_place_moves_all_vertices(mesh: Mesh) -> None:
    place = PLACE.clone()
    place[0, 3] += 0.25
    found = measured(mesh, mesh.with_(transform=place))
    assert found.changed == ("place and scale",) and found.moved == len(mesh.vertices)
    assert found.largest_distance == pytest.approx(0.25)


def test_other_triangles_are_compared_by_their_surfaces() -> None:
    small, large = sphere(1.0, 4), sphere(1.1, 3)
    found = measured(small, large)
    assert found.moved is None and "vertices: 2,562 before, 642 after" in found.to_text()
    assert found.largest_distance == pytest.approx(0.1, abs=0.01)
    assert found.mean_distance == pytest.approx(0.1, abs=0.02)


def test_what_is_missing_afterwards_counts_as_distance() -> None:
    both = Mesh(
        torch.cat((box().vertices, box((0.2, 0.2, 0.2), (2.0, 0.0, 0.0)).vertices)),
        torch.cat((box().faces, box().faces + 8)),
    )
    assert measured(both, box()).largest_distance == pytest.approx(1.6, abs=0.05)


def test_a_mesh_without_faces_is_refused() -> None:
    with pytest.raises(Bundle3DError, match="is empty"):
        surface_distance(box(), Mesh(torch.zeros(3, 3), torch.zeros(0, 3, dtype=torch.int64)))


def pictures(before: Mesh, after: Mesh) -> DifferencePictures:
    apart = surface_distance(before, after)
    return difference_pictures(before, after, apart.surface, apart.distance, "meter", 2, 64)


def colored(picture: torch.Tensor) -> torch.Tensor:
    """(H, W) bool: what is not grey."""
    return picture.amax(-1) - picture.amin(-1) > 0.2


def test_pictures_show_where_the_change_is() -> None:
    mesh = ring()
    vertices = mesh.vertices.clone()
    vertices[:, 1] += (vertices[:, 0] > 0.5).float() * 0.1
    shown = pictures(mesh, painted(mesh, SIZE * SIZE).with_(vertices=vertices))
    assert shown.frames.shape == shown.heat.shape == (2, 64 + 24, 128, 3)
    old, new, color, distance = (
        image[0, :64, half] for image in (shown.frames, shown.heat) for half in (slice(64), slice(64, None))
    )
    middle = (old[..., 0] > old[..., 2] + 0.2, new[..., 2] > new[..., 0] + 0.2)
    assert bool(middle[0].any()) and bool(middle[1].any())
    both = middle[0] & middle[1]
    assert float(colored(color)[both].float().mean()) > 0.99
    columns = colored(distance).nonzero()[:, 1]
    assert columns.min() >= 32, "what moved is on the right of the picture"
    assert shown.colors_changed > 0.9 and shown.mean_change > 0.4


def test_what_is_gone_counts_as_changed() -> None:
    left, right = (box((0.8, 0.8, 0.8), (place, 0.0, 0.0)) for place in (-1.0, 1.0))
    both, one = (mesh.with_(colors=BLUE.expand(len(mesh.vertices), 3)) for mesh in (merge(left, right), left))
    for before, after in ((both, one), (one, both)):
        assert pictures(before, after).colors_changed == pytest.approx(0.5, abs=0.1)


def test_pictures_of_the_same_are_grey() -> None:
    shown = pictures(ring(), ring())
    assert not bool(colored(shown.heat[:, :64]).any())
    assert shown.colors_changed == shown.mean_change == 0.0


def test_heat_grows_from_grey_to_red() -> None:
    line = heated(torch.full((1, 1, 5, 3), 0.6), torch.tensor([[[0.0, 0.1, 0.5, 1.0, 7.0]]]))[0, 0]
    assert line[0].tolist() == pytest.approx([0.6, 0.6, 0.6])
    yellow, red = line[2].tolist(), line[3].tolist()
    assert yellow[0] > yellow[1] > 0.7 and red[0] > 0.7 and max(red[1:]) < 0.3
    assert 0.3 < float(line[1].amax() - line[1].amin()) < 0.5 and torch.equal(line[3], line[4])
