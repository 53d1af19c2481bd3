"""The way from a photo to a textured GLB with one family of models, every stage kept and measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from bundle3d.benchmarks.kept import Kept
from bundle3d.pipelines.bundle.reference import ReferenceOptions, bundle_order, reference_views
from bundle3d.pipelines.diffusion.draw import BundleRequest, draw_bundle
from bundle3d.pipelines.diffusion.holder import Resident
from bundle3d.pipelines.diffusion.models import BundleModels
from bundle3d.pipelines.isomer.reconstruct import IsomerOptions, reconstruct
from bundle3d.pipelines.kernels import one_torch_thread
from bundle3d.pipelines.lrm.held_model import HeldModel, held
from bundle3d.pipelines.lrm.load import load_lrm
from bundle3d.pipelines.lrm.reconstruct import LrmOptions, reconstruct_views
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.multiview.draw import ViewRequest, draw_views
from bundle3d.pipelines.multiview.loading import load_multiview
from bundle3d.pipelines.multiview.models import MultiviewModels
from bundle3d.pipelines.multiview.view_grid import named_grid
from bundle3d.pipelines.multiview.view_images import views_from_images
from bundle3d.pipelines.photo.frame import Framed, frame_object
from bundle3d.pipelines.photo.matte import cut_out
from bundle3d.pipelines.photo.read_photo import read_photo
from bundle3d.pipelines.rendering.fit_camera import fit_camera
from bundle3d.pipelines.texturing.bake_views import BakeOptions, bake_views
from bundle3d.pipelines.texturing.project_photo import project_photo
from bundle3d.pipelines.texturing.unwrap import unwrap
from bundle3d.pipelines.training.base import BaseFiles, native_tile, open_base
from bundle3d.pipelines.views.bundle import join_bundle, split_bundle
from bundle3d.pipelines.views.view_set import ViewSet

ROUTES = ("lrm", "isomer", "full")
# How the colours of a route's assets are shown: the model's are without light, those of views have it in them.
SHOWN_AS = {"lrm": "matte", "isomer": "unlit", "full": "unlit"}
LAYOUT = "flexgen"
PHOTO = 512  # pixels of the framed photo


@dataclass(frozen=True)
class RouteOptions:
    """``route``: lrm ends with the reconstruction model's own mesh and texture; isomer takes the reference bundle, with
    the photo as its front, through ISOMER and projects the photo into the texture; full draws a bundle from it first.
    """

    route: str = "isomer"
    seed: int = 0
    steps: int = ViewRequest.steps
    guidance: float = ViewRequest.guidance
    tile: int = 256
    faces: int = 20_000
    integration_steps: int = IsomerOptions.integration_steps
    stage_two_steps: int = IsomerOptions.stage_two_steps
    texture: int = 1024
    strength: float = BundleRequest.strength


@dataclass(frozen=True)
class Family:
    """The models of a route; ``bundles`` only where it draws any, with the side of their tiles."""

    views: MultiviewModels
    reconstruction: HeldModel
    bundles: BundleModels | None = None
    bundle_tile: int = 0


def open_family(multiview: Path, reconstruction: Path, bundles: Path | None, device: torch.device) -> Family:
    """The models in their folders and file, in float32 on ``device``."""

    def resident(module: torch.nn.Module) -> Resident:
        return Resident(module, device)

    return Family(
        load_multiview(multiview, dtype=torch.float32).held(resident, resident, resident),
        held(load_lrm(reconstruction, torch.float32), resident),
        None if bundles is None else open_base(BaseFiles(bundles), device, torch.float32),
        0 if bundles is None else native_tile(bundles),
    )


def prepared(path: Path, kept: Kept) -> Framed:
    """The object of a photo, cut out and framed."""

    def prepare() -> Framed:
        photo = read_photo(path)
        matte = cut_out(photo.rgb, photo.alpha)
        framed = frame_object(matte.rgb, matte.alpha, PHOTO)
        return Framed(framed.rgb, framed.alpha, framed.square, framed.kept, (*photo.notes, *matte.notes, *framed.notes))

    return kept.measured("prepare", prepare)


def drawn(family: Family, photo: Framed, options: RouteOptions) -> torch.Tensor:
    """The picture of all views that the multi-view model draws from the photo."""
    request = ViewRequest(
        photo.rgb, named_grid(LAYOUT), steps=options.steps, guidance=options.guidance, seed=options.seed
    )
    return draw_views(family.views, request)


def asset(
    family: Family,
    photo: Framed,
    draw: Callable[[], torch.Tensor],
    prompt: str,
    options: RouteOptions,
    kept: Kept,
) -> Mesh:
    """The GLB of the object in ``photo`` from the picture of views that ``draw`` makes, as it is read back."""
    grid = named_grid(LAYOUT)
    views = views_from_images(grid.split(kept.picture("views", draw)), grid.rig)
    texture = options.texture if options.route == "lrm" else 0
    mesh = kept.mesh("lrm", lambda: _reconstructed(family, views, texture))
    if options.route == "lrm":
        return mesh
    rig = bundle_order(views).rig
    reference = kept.picture("reference", lambda: join_bundle(_reference(mesh, views, photo, options.tile)))
    bundle, initial = reference, mesh
    if options.route == "full":
        bundle = kept.picture("bundle", lambda: _drawn_bundle(family, prompt, reference, options))
        initial = kept.mesh("lrm_of_bundle", lambda: _reconstructed(family, split_bundle(bundle, rig), 0))
    shown = split_bundle(bundle, rig)
    surface = kept.mesh("isomer", lambda: _refined(shown, initial, options))
    return kept.mesh("asset", lambda: _textured(surface, shown, photo, options.texture))


def _reconstructed(family: Family, views: ViewSet, texture: int) -> Mesh:
    return reconstruct_views(family.reconstruction, views, LrmOptions(texture=texture)).mesh


def _reference(mesh: Mesh, views: ViewSet, photo: Framed, tile: int) -> ViewSet:
    # The mesh has the views' size already: the reconstruction fits it.
    options = ReferenceOptions(tile=tile, distance=views.rig[0].distance, outlines="views")
    return reference_views(mesh, views, options, (photo.rgb, photo.alpha))


def _drawn_bundle(family: Family, prompt: str, reference: torch.Tensor, options: RouteOptions) -> torch.Tensor:
    assert family.bundles is not None
    tile = family.bundle_tile
    request = BundleRequest(
        prompt, 2 * tile, 4 * tile, seed=options.seed, initial_image=reference, strength=options.strength
    )
    return draw_bundle(family.bundles, request)


def _refined(views: ViewSet, initial: Mesh, options: RouteOptions) -> Mesh:
    chosen = IsomerOptions(
        seed=options.seed,
        faces=options.faces,
        integration_steps=options.integration_steps,
        stage_two_steps=options.stage_two_steps,
        fit_distance=False,
        colors=False,
    )
    return reconstruct(views, chosen, initial).mesh


@one_torch_thread()
def _textured(mesh: Mesh, views: ViewSet, photo: Framed, resolution: int) -> Mesh:
    plain, _ = unwrap(mesh, resolution)
    baked = bake_views(plain, views, resolution, BakeOptions(normal_map=False))
    camera, _ = fit_camera(baked, photo.alpha, views.rig[0])
    return project_photo(baked, photo.rgb, photo.alpha, camera, resolution)
