"""Pixal3D-D Image to 3D: a shape of a photo, by the variant of Pixal3D that its paper reports."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from comfy_api.latest import io

from ..pipelines.kernels import one_torch_thread
from ..pipelines.meshes.mesh import Mesh
from ..pipelines.meshes.simplify import simplify
from ..pipelines.meshes.topology import is_watertight
from ..pipelines.pixal3d.direct3d_s2.draw import MeshRequest, draw_mesh
from ..pipelines.pixal3d.direct3d_s2.fit_scale import fit_scale
from ..pipelines.pixal3d.direct3d_s2.models import Pixal3DDModels
from ..pipelines.pixal3d.direct3d_s2.prepare import FOV, fit_on_white, pictured_on_white
from ..pipelines.pixal3d.finish.options import FinishOptions
from ..pipelines.pixal3d.pictured_object import PicturedObject, asset_alignment
from ..pipelines.progress import Progress, Stage
from ..pipelines.volumes.outer_parts import outer_parts
from . import interop
from .batch import map_batch, paired
from .compute import as_output
from .cutting import cut_photo
from .pixal3d_camera import LEAST_FOV, MOST_FOV
from .pixal3d_sampling import chosen_sampling, guidance_input, steps_input
from .pixal3d_sockets import Pixal3DDModelSet
from .seeds import LARGEST_SEED, seed_input, seed_of
from .sockets import mesh_outputs

SCALED, DRAWN, DONE = 30, 90, 100  # of the progress
ADVICE = "load the models in bf16, or close what else is in memory"
FACES = 200_000


class Bundle3D_Pixal3DDImageTo3D(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_Pixal3DDImageTo3D",
            display_name="Pixal3D-D Image to 3D",
            category="Bundle3D/pixal3d",
            description="Makes a closed mesh without textures of a photo, by the variant of Pixal3D that its paper "
            "reports.",
            search_aliases=["pixal3d-d", "pixal3d paper", "direct3d-s2", "image to mesh", "photo to 3d", "sdf"],
            inputs=[
                Pixal3DDModelSet.Input("models", tooltip="The models, from Load Pixal3D-D."),
                io.Image.Input(
                    "image",
                    tooltip="Photos of one object each, which are cut out and fitted into a square on white here. A "
                    "batch gives a batch of meshes.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="1 on the object, from Load Photo or Remove Background. Without it the image's alpha tells "
                    "it, or a plain background.",
                ),
                io.Float.Input(
                    "fov",
                    default=round(math.degrees(FOV), 2),
                    min=LEAST_FOV,
                    max=MOST_FOV,
                    step=0.01,
                    tooltip="Horizontal field of view of the object's square in degrees; the published 11.46 is nearly "
                    "without perspective. MoGe can tell it of the picture.",
                ),
                io.Boolean.Input(
                    "fill_volume",
                    default=False,
                    tooltip="Draw the object as large as fits into the volume, which two to three more structures "
                    "find; otherwise the volume is a little larger than the picture's square, as published.",
                ),
                seed_input(
                    "Every seed draws another object; a batch takes this seed and those after it.", LARGEST_SEED
                ),
                io.Boolean.Input(
                    "fine",
                    default=True,
                    tooltip="Draw the last stage too, on a lattice of 1024, whose mesh needs 6 to 8 GB of RAM; without "
                    "it the mesh is the coarse one of 512.",
                ),
                steps_input("Steps of every stage; 0 takes the published numbers: 50, 30 and 15."),
                guidance_input("How strongly to follow the picture; 0 takes the published 7. 1 needs half the time."),
                io.Boolean.Input(
                    "outer_only",
                    default=True,
                    tooltip="Leave out the walls of hollows and what lies within them, which nobody sees.",
                ),
                io.Int.Input(
                    "faces",
                    default=FACES,
                    min=0,
                    max=10_000_000,
                    step=1000,
                    tooltip="About how many triangles the mesh has at most; 0 keeps all of them.",
                ),
            ],
            outputs=[
                *mesh_outputs(),
                io.Image.Output(
                    "image", display_name="image", tooltip="The object in its square on white, as the models saw it."
                ),
                io.String.Output(
                    "report", display_name="report", tooltip="What was made, and how well it lies on its picture."
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        models: Pixal3DDModels,
        image: torch.Tensor,
        fov: float,
        fill_volume: bool,
        seed: int,
        fine: bool,
        steps: int,
        guidance: float,
        outer_only: bool,
        faces: int,
        mask: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        samplings = {name: chosen_sampling(stage.sampling, steps, guidance) for name, stage in models.stages.items()}
        masks = None if mask is None else mask.unbind(0)
        with one_torch_thread():
            items = [
                _pictured(photo, own, math.radians(fov))
                for photo, own in paired(image.unbind(0), masks, "images and masks")
            ]

        def make(
            numbered: tuple[int, tuple[PicturedObject, str]], setting: None, progress: Progress
        ) -> tuple[Mesh, str]:
            index, (item, cut) = numbered
            own = seed_of(seed, index)
            enlarged = 1.0
            if fill_volume:
                part = Stage(progress, 0, SCALED, DONE)
                fitted = fit_scale(models, item.pictures, own, samplings["structure"], progress=part)
                enlarged = fitted.mesh_scale / item.pictures.mesh_scale
                item = replace(item, pictures=fitted)
            drawing = Stage(progress, SCALED if fill_volume else 0, DRAWN, DONE)
            request = MeshRequest(own, fine and models.fine is not None, tuple(samplings.items()))
            drawn = draw_mesh(models, item.pictures, request, drawing)
            with one_torch_thread():
                mesh = outer_parts(drawn.mesh) if outer_only else drawn.mesh
                mesh = simplify(mesh, faces, Stage(progress, DRAWN, DONE, DONE)) if faces else mesh
                overlap = asset_alignment(mesh, item, FinishOptions()).silhouette_iou
            lines = [
                cut,
                f"Resolution {drawn.resolution}, latents at {' and '.join(f'{n:,}' for n in drawn.voxels)} voxels, "
                f"seed {own}",
                f"Field of view {fov:g} degrees, {enlarged:.3f} times as large in the volume as published",
                f"{len(mesh.faces):,} faces, {len(mesh.vertices):,} vertices, "
                f"{'' if is_watertight(mesh.faces) else 'not '}watertight",
                f"Picture: outline overlap {overlap:.4f}",
            ]
            if fine and models.fine is None:
                lines.append("The models are without sparse1024, the fine stage, so this is the coarse mesh.")
            elif fine and len(drawn.voxels) == 1:
                lines.append("Memory ran out in the fine stage, so this is the coarse mesh.")
            progress(DONE, DONE)
            return mesh, "\n".join(lines)

        made = map_batch(list(enumerate(items)), make, [None], ADVICE)
        text = "\n\n".join(report for _, report in made)
        shown = as_output(torch.cat([item.pictures.images for item, _ in items]))
        return io.NodeOutput(*interop.emit([mesh for mesh, _ in made]), shown, text, ui={"text": [text]})


def _pictured(photo: torch.Tensor, mask: torch.Tensor | None, fov: float) -> tuple[PicturedObject, str]:
    """The object of a photo (H, W, 3 or 4), cut out and fitted into its square on white, and how it was cut out."""
    matte = cut_photo(photo, mask)
    return pictured_on_white(*fit_on_white(matte.rgb, matte.alpha), fov), "\n".join(matte.notes)


NODES = [Bundle3D_Pixal3DDImageTo3D]
