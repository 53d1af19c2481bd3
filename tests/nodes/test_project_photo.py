"""Project Photo: the mesh looks like the photo from where it was taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from bundle3d.nodes.interop import accept
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.metrics.image import psnr

from .test_meshes import box, core_mesh

Run = Callable[..., Any]
SIZE = 256


@pytest.fixture
def photo(run: Run) -> tuple[Any, torch.Tensor, torch.Tensor]:
    """A box with a painted front, and its photo at another scale than that of bundles."""
    bent = box().with_(vertices=box().vertices + torch.tensor((0.0, 0.1, 0.0)))
    options = {"tile_size": SIZE, "shading": "clay", "normalise": False, "rig": "orbit", "orbit_views": 4}
    bundle, views, *_ = run("Bundle3D_RenderBundle", mesh=core_mesh(bent), orbit_distance=3.6, **options).args
    mask = views.items[0].mask[:1]
    red = bundle[:, :SIZE, :SIZE] * torch.tensor((1.0, 0.6, 0.4))
    return core_mesh(bent), torch.where(mask[..., None] > 0.5, red, 1.0), mask


def front(run: Run, mesh: Any, distance: float) -> torch.Tensor:
    options = {"tile_size": SIZE, "normalise": False, "rig": "orbit", "orbit_views": 4, "orbit_distance": distance}
    return run("Bundle3D_RenderBundle", mesh=mesh, **options)[0][0, :SIZE, :SIZE]


def test_the_mesh_looks_like_the_photo(run: Run, photo: tuple[Any, torch.Tensor, torch.Tensor]) -> None:
    mesh, image, mask = photo
    output = run("Bundle3D_ProjectPhoto", mesh=mesh, image=image, mask=mask, resolution="512")
    inner = -torch.nn.functional.max_pool2d(-(mask[:, None] > 0.99).float(), 5, 1, 2)[0, 0] > 0.5
    assert psnr(front(run, output[0], 3.6), image[0], inner) > 30.0
    assert "outline overlap 0.9" in output[3] and output[2].shape == (1, 512, 512, 3)
    assert accept(output[0])[0].materials[0].base_color_texture is not None
    fixed = run("Bundle3D_ProjectPhoto", mesh=mesh, image=image, mask=mask, resolution="512", fit_camera=False)
    assert "that of the views" in fixed[3]
    # The photo was not taken from 4.5: without the fit its colours lie elsewhere.
    assert psnr(front(run, fixed[0], 3.6), image[0], inner) < psnr(front(run, output[0], 3.6), image[0], inner)


def test_the_place_of_the_views_is_kept(run: Run, photo: tuple[Any, torch.Tensor, torch.Tensor]) -> None:
    from bundle3d.nodes.sockets import ViewBatch

    mesh, image, mask = photo
    item = run("Bundle3D_RenderBundle", mesh=mesh, tile_size=64, normalise=False)[1].items[0]
    place = torch.diag(torch.tensor((3.0, 3.0, 3.0, 1.0), dtype=torch.float64))
    (large,) = accept(mesh)
    moved = core_mesh(large.with_(vertices=large.vertices * 3.0))
    inputs = {"image": image, "mask": mask, "resolution": "512"}
    there = run("Bundle3D_ProjectPhoto", mesh=moved, views=ViewBatch((item,), (place,)), **inputs)
    here = run("Bundle3D_ProjectPhoto", mesh=mesh, **inputs)
    (far,), (near,) = accept(there[0]), accept(here[0])
    assert torch.equal(far.transform, place)
    assert torch.allclose(far.vertices, near.vertices, atol=1e-5)
    assert float((there[2] - here[2]).abs().mean()) < 0.01


def test_meshes_of_any_scale_are_painted(run: Run, photo: tuple[Any, torch.Tensor, torch.Tensor]) -> None:
    mesh, image, mask = photo
    (small,) = accept(mesh)
    inputs = {"image": image, "mask": mask, "resolution": "512"}
    here = run("Bundle3D_ProjectPhoto", mesh=core_mesh(small.with_(vertices=small.vertices * 2.0)), **inputs)
    away = core_mesh(small.with_(vertices=small.vertices * 0.01 + 7.0))
    there = run("Bundle3D_ProjectPhoto", mesh=away, **inputs)
    assert float((there[2] - here[2]).abs().mean()) < 0.01
    (item,) = accept(there[0])
    world = item.vertices.double() @ item.transform[:3, :3].T + item.transform[:3, 3]
    assert float(world.min()) == pytest.approx(float((small.vertices * 0.01 + 7.0).min()), abs=1e-4)
    far = core_mesh(small.with_(vertices=small.vertices * 20.0))
    views = run("Bundle3D_RenderBundle", mesh=mesh, tile_size=64, normalise=False)[1]
    with pytest.raises(Bundle3DError, match="views that it was made of"):
        run("Bundle3D_ProjectPhoto", mesh=far, views=views, **inputs)


def test_a_photo_of_another_lens_from_higher_up(run: Run, photo: tuple[Any, torch.Tensor, torch.Tensor]) -> None:
    mesh, _, _ = photo
    options = {"tile_size": SIZE, "normalise": False, "rig": "orbit", "orbit_views": 4, "shading": "normal"}
    options |= {"shading": "clay", "orbit_elevation": 18.0, "orbit_distance": 2.6, "orbit_fov": 55.0}
    bundle, views, *_ = run("Bundle3D_RenderBundle", mesh=mesh, **options).args
    image, mask = bundle[:, :SIZE, :SIZE] * torch.tensor((1.0, 0.6, 0.4)), views.items[0].mask[:1]
    inputs = {"mesh": mesh, "image": image, "mask": mask, "resolution": "512", "fov": 55.0}
    overlaps = []
    for tilts in (True, False):
        output = run("Bundle3D_ProjectPhoto", fit_elevation=tilts, **inputs)
        overlaps.append(float(output[3].split("overlap ")[1][:6]))
    assert overlaps[0] > 0.99 > overlaps[1]


def test_a_photo_is_fitted_in_perspective_to_a_mesh_of_orthographic_views(
    run: Run, photo: tuple[Any, torch.Tensor, torch.Tensor]
) -> None:
    mesh, image, mask = photo
    views = run("Bundle3D_RenderBundle", mesh=mesh, tile_size=64, normalise=False, rig="unique3d")[1]
    inputs = {"mesh": mesh, "image": image, "mask": mask, "resolution": "512"}
    with_views = run("Bundle3D_ProjectPhoto", views=views, **inputs)
    assert torch.equal(with_views[2], run("Bundle3D_ProjectPhoto", **inputs)[2])


def test_the_setting_that_was_used_and_a_poor_fit_are_reported(
    run: Run, photo: tuple[Any, torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bundle3d.nodes import project_photo as node

    mesh, image, mask = photo
    work, sizes = node.project_photo, []

    def once(surface: Any, photo: Any, mask: Any, camera: Any, size: int, *rest: Any) -> Any:
        sizes.append(size)
        if size == 512:
            raise MemoryError
        return work(surface, photo, mask, camera, size, *rest)

    monkeypatch.setattr(node, "project_photo", once)
    half = mask.clone()
    half[:, : SIZE // 2, : SIZE // 2] = half[:, SIZE // 2 :, SIZE // 2 :] = 0.0
    report = run("Bundle3D_ProjectPhoto", mesh=mesh, image=image, mask=half, resolution="512")[3]
    assert sizes == [512, 256] and "made with 256" in report and "another shape" in report


def test_refusals_and_cancelling(run: Run, photo: tuple[Any, torch.Tensor, torch.Tensor]) -> None:
    from comfy import model_management

    mesh, image, mask = photo
    with pytest.raises(Bundle3DError, match="Prepare Photo"):
        run("Bundle3D_ProjectPhoto", mesh=mesh, image=image, mask=mask[:, :-1])
    with pytest.raises(Bundle3DError, match="empty"):
        run("Bundle3D_ProjectPhoto", mesh=mesh, image=image, mask=mask * 0.0)
    model_management.interrupt_current_processing(True)
    with pytest.raises(model_management.InterruptProcessingException):
        run("Bundle3D_ProjectPhoto", mesh=mesh, image=image, mask=mask)


def test_work_on_the_cpu_keeps_to_one_thread(
    run: Run, photo: tuple[Any, torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh, image, mask = photo
    seen = []

    def work(*args: Any, **options: Any) -> None:
        seen.append(torch.get_num_threads())
        raise ZeroDivisionError

    monkeypatch.setattr("bundle3d.nodes.project_photo.find_camera", work)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with pytest.raises(ZeroDivisionError):
            run("Bundle3D_ProjectPhoto", mesh=mesh, image=image, mask=mask)
        assert seen == [1] and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
