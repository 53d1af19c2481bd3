from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.texturing.texel_map import rasterise_uv, uv_overlap
from bundle3d.tests.meshes.shapes import box, sphere


def plane(cells: int = 4, low: float = 0.25, high: float = 0.75) -> Mesh:
    """A square in the plane z = 0 whose uv span low..high."""
    line = torch.linspace(0, 1, cells + 1)
    v, u = torch.meshgrid(line, line, indexing="ij")
    index = torch.arange((cells + 1) ** 2).reshape(cells + 1, cells + 1)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    faces = torch.cat((torch.stack((a, c, b), -1).reshape(-1, 3), torch.stack((b, c, d), -1).reshape(-1, 3)))
    uv = torch.stack((u, v), -1).reshape(-1, 2)
    vertices = torch.cat((uv, torch.zeros(uv.shape[0], 1)), 1)
    return Mesh(vertices=vertices, faces=faces, uv=low + uv * (high - low))


def test_texels_lie_where_their_uv_says() -> None:
    mesh = plane()
    texels = rasterise_uv(mesh, 64, border=0)
    assert int(texels.mask.sum()) == 32 * 32
    row, column = torch.nonzero(texels.mask, as_tuple=True)
    assert int(row.min()) == 16 and int(row.max()) == 47
    uv = texels.interpolate(mesh.uv, mesh.faces)
    expected = (torch.stack((column, row), -1) + 0.5) / 64
    assert torch.allclose(uv, expected, atol=1e-3)
    assert torch.allclose(texels.barycentric[texels.mask].sum(-1), torch.ones(1024), atol=1e-5)
    assert not texels.barycentric[~texels.mask].any()


def test_border_adds_one_ring_with_points_of_the_rim() -> None:
    mesh = plane()
    texels = rasterise_uv(mesh, 64, border=1)
    assert int(texels.mask.sum()) == 34 * 34
    positions = texels.interpolate(mesh.vertices, mesh.faces)
    assert float(positions.min()) > -1e-6 and float(positions.max()) < 1 + 1e-6
    ring = texels.mask & ~rasterise_uv(mesh, 64, border=0).mask
    faces = mesh.faces[texels.face[ring].long()]
    points = (texels.barycentric[ring][..., None] * mesh.vertices[faces]).sum(1)[:, :2]
    distance = torch.minimum(points, 1 - points).amin(1)
    assert float(distance.max()) < 1e-3


def test_faces_smaller_than_a_texel_get_one() -> None:
    mesh = plane(1, 0.501, 0.502)
    assert int(rasterise_uv(mesh, 64, border=0).mask.sum()) == 1


@pytest.mark.parametrize("resolution", [32, 257])
def test_backends_agree(resolution: int) -> None:
    mesh = sphere().with_(uv=sphere().vertices[:, :2] * 0.4 + 0.5)
    compiled, plain = (rasterise_uv(mesh, resolution, backend=backend) for backend in ("numba", "torch"))
    assert float((compiled.face != plain.face).float().mean()) < 1e-3


def test_overlap_counts_the_second_layer_only() -> None:
    once = plane()
    assert uv_overlap(once.uv, once.faces, 128).overlapped == 0
    faces = torch.cat((once.faces, once.faces + once.uv.shape[0]))
    twice = uv_overlap(torch.cat((once.uv, once.uv + 0.25)), faces, 128)
    assert twice.covered == 64 * 64 * 2 - 32 * 32 and twice.overlapped == 32 * 32
    assert bool((twice.pairs[:, 0] < 32).all()) and bool((twice.pairs[:, 1] >= 32).all())


def test_mesh_without_uv_is_refused() -> None:
    with pytest.raises(Bundle3DError, match="unwrap"):
        rasterise_uv(box(), 64)
