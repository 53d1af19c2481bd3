"""Photos of objects that are known, painted back on them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.isomer.initial import sphere
from bundle3d.pipelines.meshes.mesh import Material, Mesh
from bundle3d.pipelines.metrics.image import psnr
from bundle3d.pipelines.rendering.color import srgb_to_linear
from bundle3d.pipelines.rendering.render_mesh import render_mesh
from bundle3d.pipelines.rendering.view_confidence import depth_buffer
from bundle3d.pipelines.texturing.paintable import paintable
from bundle3d.pipelines.texturing.project_photo import PhotoOptions, project_photo
from bundle3d.pipelines.texturing.texel_map import rasterise_uv
from bundle3d.pipelines.texturing.unwrap import unwrap
from bundle3d.pipelines.views.camera import Camera
from bundle3d.pipelines.views.rig import Rig
from bundle3d.tests.rendering.scenes import box

SIZE = 384
FRONT = Camera(0.0, 5.0, 4.5, fov=30.0)
SHIFT = torch.tensor((0.12, -0.08, 0.1))  # what the object's own texture is wrong by


def pattern(points: torch.Tensor) -> torch.Tensor:
    """sRGB colours with detail everywhere."""
    return 0.5 + 0.25 * torch.sin(points * 11.0 + torch.tensor((0.0, 1.0, 2.0)))


def textured(mesh: Mesh, size: int = 512, wrong: bool = False) -> Mesh:
    flat = mesh if mesh.uv is not None else unwrap(mesh, size)[0]
    texels = rasterise_uv(flat, size)
    colors = pattern(texels.interpolate(flat.vertices, flat.faces)) + (SHIFT if wrong else 0.0)
    image = torch.zeros(size, size, 3, dtype=torch.uint8)
    image[texels.mask] = (colors.clamp(0, 1) * 255).round().to(torch.uint8)
    return flat.with_(materials=(Material(base_color_texture=image, repeat=False),), colors=None)


def photo_of(mesh: Mesh, camera: Camera = FRONT) -> tuple[torch.Tensor, torch.Tensor]:
    rgb, alpha = render_mesh(mesh, Rig((camera,)), SIZE, SIZE, "unlit", supersample=2)
    return rgb[0], alpha[0]


def errors(mesh: Mesh) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Positions (R, R, 3) of the texels, what they differ by from the object's true colours, which are covered."""
    image = mesh.materials[0].base_color_texture
    assert image is not None
    texels = rasterise_uv(mesh, len(image), border=0)
    points = torch.zeros(*image.shape[:2], 3)
    points[texels.mask] = texels.interpolate(mesh.vertices, mesh.faces)
    return points, (image.float() / 255 - pattern(points)) * texels.mask[..., None], texels.mask


def largest_step(values: torch.Tensor, mask: torch.Tensor) -> float:
    """The largest difference of texels that lie side by side in a chart."""
    across = (values[:, 1:] - values[:, :-1]).abs().amax(-1) * (mask[:, 1:] & mask[:, :-1])
    down = (values[1:] - values[:-1]).abs().amax(-1) * (mask[1:] & mask[:-1])
    return max(float(across.max()), float(down.max()))


@pytest.fixture(scope="module")
def ball() -> Mesh:
    return unwrap(sphere(0.8, 4), 512)[0]


@pytest.fixture(scope="module")
def painted(ball: Mesh) -> Mesh:
    return project_photo(textured(ball, wrong=True), *photo_of(textured(ball)), FRONT, 512)


def test_a_render_from_the_camera_shows_the_photo(ball: Mesh, painted: Mesh) -> None:
    photo, mask = photo_of(textured(ball))
    again, _ = photo_of(painted)
    before, _ = photo_of(textured(ball, wrong=True))
    assert psnr(again, photo, mask > 0.99) > 34.0 > 22.0 > psnr(before, photo, mask > 0.99)
    assert psnr(again, photo) > 34.0


@pytest.mark.parametrize(("azimuth", "elevation"), [(90.0, 20.0), (-140.0, -10.0)])
def test_a_photo_from_elsewhere_lands_there(ball: Mesh, azimuth: float, elevation: float) -> None:
    camera = replace(FRONT, azimuth=azimuth, elevation=elevation)
    photo, mask = photo_of(textured(ball), camera)
    result = project_photo(textured(ball, wrong=True), photo, mask, camera, 512)
    assert psnr(photo_of(result, camera)[0], photo, mask > 0.99) > 34.0
    opposite = replace(camera, azimuth=azimuth + 180.0, elevation=-elevation)
    there = [photo_of(mesh, opposite) for mesh in (result, textured(ball, wrong=True))]
    assert psnr(there[0][0], there[1][0], centre(there[0][1])) > 34.0, "the far side keeps its colours"


def centre(mask: torch.Tensor) -> torch.Tensor:
    """Pixels (H, W) well inside ``mask`` (H, W)."""
    return -torch.nn.functional.max_pool2d(-mask[None, None], 81, 1, 40)[0, 0] > 0.99


def test_detail_beside_the_seam_leaves_no_dark_band() -> None:
    """Stripes that the photo shows elsewhere than the texture: the colours beyond it shift by their mean, by none."""
    ball = unwrap(sphere(0.8, 5), 512)[0]
    photo, mask = photo_of(striped(ball, 0.0))
    before = striped(ball, 0.08)
    result = project_photo(before, photo, mask, FRONT, 512)
    images = [mesh.materials[0].base_color_texture for mesh in (before, result)]
    assert images[0] is not None and images[1] is not None
    texels = rasterise_uv(ball, 512, border=0)
    points = texels.interpolate(ball.vertices, ball.faces)
    changed = (images[1].float() - images[0].float())[texels.mask].abs().amax(-1) / 255.0
    beyond = (points[:, 2] < -0.1) & (points[:, 2] > -0.2)
    # 0.067 where every vertex of the border is levelled alone.
    assert float(changed[beyond].quantile(0.95)) < 0.04


def striped(mesh: Mesh, shift: float) -> Mesh:
    """Grey with dark stripes across, ``shift`` higher."""
    texels = rasterise_uv(mesh, 512)
    height = texels.interpolate(mesh.vertices, mesh.faces)[:, 1] - shift
    image = torch.zeros(512, 512, 3, dtype=torch.uint8)
    image[texels.mask] = torch.where(torch.sin(height * 40.0) > 0.5, 30, 200).to(torch.uint8)[:, None]
    return mesh.with_(materials=(Material(base_color_texture=image, repeat=False),))


def test_it_can_be_cancelled_at_every_report(ball: Mesh) -> None:
    repeated = textured(ball).with_(uv=ball.uv * 2.0 - 0.5)  # type: ignore[operator]
    told: list[float] = []
    paintable(repeated, 256, lambda done, total, preview=None: told.append(done / total))
    assert len(told) > 5 and told == sorted(told) and told[-1] == 1.0


def test_nothing_steps_at_the_seam_and_what_is_far_from_it_stays(ball: Mesh, painted: Mesh) -> None:
    points, wrong, mask = errors(painted)
    _, before, _ = errors(textured(ball, wrong=True))
    far = mask & (points[..., 2] < -0.55)
    assert float((wrong - before)[far].abs().max()) < 0.02
    # 0.004 in the object's own 8-bit texture, 0.03 where nothing is levelled.
    assert largest_step(wrong, mask) < 0.015
    alone = project_photo(textured(ball, wrong=True), *photo_of(textured(ball)), FRONT, 512, PhotoOptions(reach=1e-3))
    assert largest_step(errors(alone)[1], mask) > 0.02
    bands = [mask & (points[..., 2] > low) & (points[..., 2] < low + 0.1) for low in (0.4, 0.1, -0.2, -0.5)]
    left = [float(wrong[band].abs().mean()) for band in bands]
    assert left == sorted(left) and left[0] < 0.02 and left[1] < 0.07 < 0.09 < left[3]


def test_hidden_surfaces_do_not_get_the_photo() -> None:
    """A small box in front of a wall: what it hides of the wall keeps the wall's own colours near."""
    front = box(0.25, 0.25, 0.1)
    front = front.with_(vertices=front.vertices + torch.tensor((0.0, 0.0, 0.8)))
    wall = box(0.8, 0.8, 0.05)
    faces = torch.cat((wall.faces, front.faces + len(wall.vertices)))
    scene = unwrap(Mesh(torch.cat((wall.vertices, front.vertices)), faces), 512)[0]
    result = project_photo(textured(scene), *photo_of(textured(scene)), FRONT, 512)
    points, wrong, mask = errors(result)
    behind = mask & (points[..., 2] > 0.04) & (points[..., 2] < 0.06)
    assert float(wrong[behind].abs().amax(-1).quantile(0.99)) < 0.06
    depth = depth_buffer(FRONT, scene, SIZE, SIZE)
    assert float(depth.min()) < 3.7
    assert psnr(photo_of(result)[0], photo_of(textured(scene))[0]) > 34.0


def test_sides_seen_edge_on_are_not_smeared() -> None:
    scene = unwrap(box(0.6, 0.6, 0.6), 512)[0]
    result = project_photo(textured(scene), *photo_of(textured(scene)), FRONT, 512)
    points, wrong, mask = errors(result)
    side = mask & (points[..., 0].abs() > 0.59) & (points[..., 2] < 0.55)
    assert float(wrong[side].abs().max()) < 0.03


def test_colours_of_vertices_become_a_texture_and_finer_textures_stay_fine(ball: Mesh) -> None:
    colored = sphere(0.8, 4)
    colored = colored.with_(colors=srgb_to_linear(pattern(colored.vertices)))
    photo, mask = photo_of(textured(ball))
    result = project_photo(colored, photo, mask, FRONT, 256)
    _, wrong, covered = errors(result)
    assert result.colors is None and result.materials[0].base_color_texture is not None
    assert float(wrong[covered].abs().mean()) < 0.03
    fine = project_photo(textured(ball), photo, mask, FRONT, 128).materials[0].base_color_texture
    assert fine is not None and fine.shape == (512, 512, 3)


def test_shared_and_repeated_texture_coordinates_are_made_anew(ball: Mesh) -> None:
    assert ball.uv is not None
    good = textured(ball)
    assert paintable(good, 256)[0] is good
    repeated = good.with_(uv=ball.uv * 2.0 - 0.5, materials=(replace(good.materials[0], repeat=True),))
    folded = good.with_(uv=torch.stack((ball.uv[:, 0], (ball.uv[:, 1] - 0.5).abs()), dim=1))
    for mesh in (repeated, folded):
        own, size = paintable(mesh, 256)
        assert own.uv is not None and float(own.uv.min()) >= 0.0 and float(own.uv.max()) <= 1.0 and size == 512
        before, after = (photo_of(item)[0] for item in (mesh, own))
        assert psnr(before, after) > 27.0


def test_the_mesh_and_the_photo_are_left_as_they_were_and_refusals_are_clear(ball: Mesh) -> None:
    mesh = textured(ball, wrong=True)
    photo, mask = photo_of(textured(ball))
    copies = photo.clone(), mask.clone(), mesh.materials[0].base_color_texture.clone()  # type: ignore[union-attr]
    options = PhotoOptions(reach=0.2)
    first, second = (project_photo(mesh, photo, mask, FRONT, 512, options) for _ in range(2))
    now = photo, mask, mesh.materials[0].base_color_texture
    assert all(torch.equal(*pair) for pair in zip(now, copies))
    textures = [item.materials[0].base_color_texture for item in (first, second)]
    assert torch.equal(*textures)
    with pytest.raises(Bundle3DError, match="prepare the photo"):
        project_photo(mesh, photo, mask * 0.0, FRONT)
    with pytest.raises(Bundle3DError, match="NaN or infinite"):
        project_photo(mesh, photo * float("nan"), mask, FRONT)
