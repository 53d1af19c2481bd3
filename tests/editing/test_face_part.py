"""Faces that are named: numbers, materials, connected parts, and what is said of names that do not exist."""

from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.editing.face_part import face_part
from bundle3d.pipelines.editing.region import points_on
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Material, Mesh
from bundle3d.tests.meshes.shapes import box, merge, soup

NAMES = ("glass", "wood, dark", "glass")


def three_boxes() -> Mesh:
    """Boxes of sides 1, 3 and 2, their triangles doubled at every vertex, each with a material of its own."""
    boxes = [soup(box((side, side, side), (5.0 * side, 0.0, 0.0))) for side in (1.0, 3.0, 2.0)]
    return merge(*boxes).with_(
        materials=tuple(Material(name=name) for name in NAMES), face_material=torch.arange(36) // 12
    )


def named(mesh: Mesh, text: str) -> list[int]:
    """The faces whose centroid lies in the part."""
    count = len(mesh.faces)
    points = points_on(mesh, torch.arange(count), torch.full((count, 3), 1.0 / 3.0))
    return face_part(mesh, text)(points).nonzero()[:, 0].tolist()


@pytest.mark.parametrize(
    ("text", "faces"),
    [
        ("3", [3]),
        ("3-5, 30 ;0", [0, 3, 4, 5, 30]),
        (" 34 - 35\n7，7", [7, 34, 35]),
        ("material:glass", [*range(12), *range(24, 36)]),
        ('Material: "wood, dark", 0', [0, *range(12, 24)]),
        ("part:1", list(range(12, 24))),
        ("part:2-3,20", [*range(12), 20, *range(24, 36)]),
        ("part: 2", list(range(24, 36))),
    ],
)
def test_what_is_named_is_in(text: str, faces: list[int]) -> None:
    assert named(three_boxes(), text) == faces


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the text is empty"),
        (" , ;", "the text is empty"),
        ("36", "within 0-35"),
        ("30-36", "within 0-35"),
        ("9-3", "within 0-35"),
        ("-3", "got '-3'"),
        ("glass", "got 'glass'"),
        ("material:brass", "those that the mesh has: glass, wood, dark."),
        ("material:", "those that the mesh has"),
        ("part:0", "within 1-3"),
        ("part:4", "within 1-3"),
        ("part:big", "got 'part:big'"),
        ("layer:1", "got 'layer:1'"),
        ("99999999999999999999", "got '99999999999999999999'"),
        ('"3', "got"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(text: str, said: str) -> None:
    with pytest.raises(Bundle3DError, match=r"^Expected [^\n]*; [^\n]*\.$") as refusal:
        named(three_boxes(), text)
    assert said in str(refusal.value)


@pytest.mark.parametrize("text", ["3", "part:1", "material:material"])
def test_a_mesh_without_faces_is_refused(text: str) -> None:
    points = Mesh(torch.rand(4, 3), torch.zeros(0, 3, dtype=torch.int64), name="cloud")
    with pytest.raises(Bundle3DError, match=r"^Expected a mesh with faces to name, but cloud has none; .*\.$"):
        face_part(points, text)


def test_many_materials_are_not_all_listed() -> None:
    mesh = box().with_(materials=tuple(Material(name=f"m{i}") for i in range(40)))
    with pytest.raises(Bundle3DError, match="m10, m11 and 28 more"):
        face_part(mesh, "material:x")


def test_a_mesh_without_materials_has_one() -> None:
    assert named(box(), "material:material") == list(range(12))
