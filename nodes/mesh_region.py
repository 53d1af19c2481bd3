"""Mesh Region: which part of a mesh may change."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..pipelines.editing.face_part import face_part
from ..pipelines.editing.painted_views import painted_views, shows_tiles
from ..pipelines.editing.region import COMBINATIONS, Part, Region
from ..pipelines.editing.region_picture import region_picture
from ..pipelines.editing.uv_part import uv_part
from ..pipelines.editing.view_part import view_part
from ..pipelines.errors import Bundle3DError
from ..pipelines.kernels import one_torch_thread
from ..pipelines.meshes.mesh import Mesh
from ..pipelines.meshes.normalise import require_normalised
from ..pipelines.progress import Progress, Stage
from ..pipelines.views.view_set import ViewSet
from . import interop
from .batch import map_batch, paired
from .compute import as_output
from .frames import in_frame
from .sockets import Regions, ViewBatch, Views, mesh_input
from .viewer_data import save_picture

TILE = 384  # pixels of a view in the preview
STEPS = 100
PAINTED, FOUND = 20, 70  # of the steps

# A mesh with what was painted on it: masks (V, H, W) of views in their frame, and a mask (H, W) of the texture.
Painted = tuple[Mesh, tuple[ViewSet, torch.Tensor] | None, torch.Tensor | None, torch.Tensor | None]


class Bundle3D_MeshRegion(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_MeshRegion",
            display_name="Mesh Region",
            category="Bundle3D/editing",
            description="Says which part of a mesh may change: painted on its views, painted on its texture, or named.",
            search_aliases=["mask mesh", "inpaint mesh", "select faces", "face set", "protect", "partial retexture"],
            is_output_node=True,
            inputs=[
                mesh_input("mesh", "The mesh that is to be edited. A batch gives a batch of regions."),
                Views.Input(
                    "views",
                    optional=True,
                    tooltip="The views of this mesh that were painted on, as Render Bundle gives them.",
                ),
                io.Mask.Input(
                    "painted",
                    optional=True,
                    tooltip="What is painted on the views: one mask of the whole bundle image, as Paint Region gives "
                    "it, or one for each view, as segmentation of the tiles gives them.",
                ),
                io.Mask.Input(
                    "uv_mask",
                    optional=True,
                    tooltip="What is painted on the texture, in its layout; any size. It repeats where the texture "
                    "does.",
                ),
                io.String.Input(
                    "faces",
                    default="",
                    tooltip="Faces by name, separated by commas: numbers from 0 such as 3-20 or 44, material:NAME, or "
                    "part:1 for connected parts, the largest being 1. Empty: none are named.",
                ),
                io.Combo.Input(
                    "combine",
                    options=list(COMBINATIONS),
                    default="any",
                    tooltip="any: the region is all that is painted or named at all. all: only what is painted and "
                    "named in every connected way.",
                ),
                io.Boolean.Input("invert", default=False, tooltip="Let everything else change instead."),
                io.Float.Input(
                    "border",
                    default=0.02,
                    min=0.0,
                    max=0.5,
                    step=0.005,
                    tooltip="Width around the region in which changes fade out, in shares of the mesh's longest side. "
                    "Beyond it nothing changes. 0: a hard edge.",
                ),
                io.String.Input(
                    "uv_material",
                    default="",
                    tooltip="The name of the material whose texture uv_mask is painted on. Empty: it holds for the "
                    "textures of all materials.",
                    advanced=True,
                ),
            ],
            outputs=[
                Regions.Output(
                    "region", display_name="region", tooltip="Where the mesh may change, for the nodes that edit it."
                ),
                io.Image.Output(
                    "preview",
                    display_name="preview",
                    tooltip="The mesh with the region in colour, one row of views per mesh.",
                ),
            ],
        )

    @classmethod
    @one_torch_thread()
    def execute(
        cls,
        mesh: Any,
        faces: str,
        combine: str,
        invert: bool,
        border: float,
        uv_material: str,
        views: ViewBatch | None = None,
        painted: torch.Tensor | None = None,
        uv_mask: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        if painted is not None and views is None:
            raise Bundle3DError(
                "Expected the views that the mask was painted on beside it, but got none; connect the views of Render "
                "Bundle."
            )
        shown = None if views is None else views.framed()
        pairs = paired(interop.accept(mesh), shown, "meshes and views")
        items: list[Painted] = [
            (item, frame, _of_item(painted, index, len(pairs), frame), _uv_mask(uv_mask, index, len(pairs)))
            for index, (item, frame) in enumerate(pairs)
        ]

        def make(item: Painted, _: None, progress: Progress) -> tuple[Region, torch.Tensor]:
            parts = _parts(item, faces.strip(), uv_material.strip(), Stage(progress, 0, PAINTED, STEPS))
            region = Region(item[0], parts, combine, invert, border, Stage(progress, PAINTED, FOUND, STEPS))
            rig, to_views = (None, None) if item[1] is None else (item[1][0].rig, _to_views(item[0], item[1][1]))
            pictures = region_picture(region, TILE, rig, to_views, Stage(progress, FOUND, STEPS, STEPS))
            return region, torch.cat(pictures.unbind(0), dim=1)

        made = map_batch(items, make, [None], "simplify the mesh")
        pictures = [picture for _, picture in made]
        text = "\n".join(_report(region) for region, _ in made)
        files = [save_picture((picture * 255.0).round().to(torch.uint8), "region") for picture in pictures]
        return io.NodeOutput(
            tuple(region for region, _ in made), as_output(_batch(pictures)), ui={"images": files, "text": [text]}
        )


def _parts(item: Painted, faces: str, uv_material: str, progress: Progress) -> list[Part]:
    mesh, frame, painted, uv_mask = item
    parts = []
    if frame is not None and painted is not None:
        shown, transform = frame
        require_normalised(in_frame(mesh, transform), "connect the views that Render Bundle made of this mesh")
        parts.append(view_part(mesh, painted.cpu(), shown.rig, _to_views(mesh, transform), progress))
    if uv_mask is not None:
        parts.append(uv_part(mesh, uv_mask.cpu(), uv_material or None))
    if faces:
        parts.append(face_part(mesh, faces))
    return parts


def _to_views(mesh: Mesh, transform: torch.Tensor) -> torch.Tensor:
    """(4, 4) from the mesh's local frame to the one that ``transform`` takes to the world."""
    return torch.linalg.inv(transform) @ mesh.transform


def _of_item(
    painted: torch.Tensor | None, index: int, count: int, frame: tuple[ViewSet, torch.Tensor] | None
) -> torch.Tensor | None:
    """The masks (V, H, W) of one item of a batch, in which all items may share theirs."""
    if painted is None or frame is None:
        return None
    own = len(frame[0].rig) if shows_tiles(painted, frame[0]) else 1
    chosen = painted[index * own : (index + 1) * own] if len(painted) == own * count else painted
    return painted_views(chosen, frame[0])


def _uv_mask(mask: torch.Tensor | None, index: int, count: int) -> torch.Tensor | None:
    if mask is None:
        return None
    if len(mask) not in (1, count):
        raise Bundle3DError(
            f"Expected one uv_mask, or one for each of the {count} meshes, but got {len(mask)}; give as many as meshes."
        )
    return mask[index % len(mask)]


def _report(region: Region) -> str:
    reached = int(region.faces().sum())
    return (
        f"{region.mesh.name}: {region.share:.1%} of the surface may change; with the border that concerns {reached:,} "
        f"of {len(region.mesh.faces):,} triangles."
    )


def _batch(pictures: list[torch.Tensor]) -> torch.Tensor:
    """(B, H, W, 3) of pictures (H, w, 3), white to the right of narrower ones."""
    width = max(picture.shape[1] for picture in pictures)
    return torch.stack([torch.nn.functional.pad(p, (0, 0, 0, width - p.shape[1]), value=1.0) for p in pictures])


NODES = [Bundle3D_MeshRegion]
