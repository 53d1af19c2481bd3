"""Generate Views: from one picture of an object to the views around it."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..pipelines.multiview.draw import ViewRequest, draw_views
from ..pipelines.multiview.models import MultiviewModels
from ..pipelines.multiview.view_grid import NAMED_GRIDS, named_grid
from ..pipelines.multiview.view_images import empty_views, views_from_images
from ..pipelines.progress import Progress
from ..pipelines.views.masks import flattened
from ..pipelines.views.view_set import ViewSet
from .batch import map_batch
from .compute import as_output
from .seeds import LARGEST_SEED, seed_input, seed_of
from .sockets import ViewBatch, ViewModels, Views


class Bundle3D_GenerateViews(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_GenerateViews",
            display_name="Generate Views",
            category="Bundle3D/multi-view",
            description="Draws what an object looks like from the sides and from behind, from one picture of it.",
            search_aliases=[
                "zero123plus",
                "zero123++",
                "flexgen",
                "multi view",
                "novel view",
                "image to 3d",
                "ksampler",
            ],
            inputs=[
                ViewModels.Input("models", tooltip="The models, from Load Multi-view Models."),
                io.Image.Input(
                    "image",
                    tooltip="Pictures of one object each, in the middle of a square on white, as Prepare Photo makes "
                    "them. A fourth channel is taken as alpha.",
                ),
                seed_input(
                    "Every seed draws the unseen sides anew; a batch takes this seed and those after it.", LARGEST_SEED
                ),
                io.Int.Input(
                    "steps",
                    default=ViewRequest.steps,
                    min=1,
                    max=200,
                    tooltip="Steps from noise to picture; 30 to 75.",
                ),
                io.Float.Input(
                    "guidance",
                    default=ViewRequest.guidance,
                    min=1.0,
                    max=20.0,
                    step=0.1,
                    tooltip="How strongly to follow the picture. 1 takes half the time and follows it less.",
                ),
                io.Combo.Input(
                    "layout",
                    options=list(NAMED_GRIDS),
                    default="flexgen",
                    tooltip="The views that the model was trained for. flexgen, and the demo model: front, left, back "
                    "and right. zero123plus, and InstantMesh: six views, from above and below by turns.",
                ),
                io.Int.Input(
                    "tile",
                    default=0,
                    min=0,
                    max=1024,
                    step=8,
                    tooltip="Side of a view in pixels; 0 is what the model was made for.",
                    advanced=True,
                ),
            ],
            outputs=[
                Views.Output("views", display_name="views", tooltip="The views with their cameras."),
                io.Image.Output("images", display_name="images", tooltip="The views as an image batch, on white."),
                io.Image.Output(
                    "grid", display_name="grid", tooltip="The views in one picture each, as the model drew them."
                ),
                io.String.Output(
                    "report", display_name="report", tooltip="What was drawn, and what to look at before going on."
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        models: MultiviewModels,
        image: torch.Tensor,
        seed: int,
        steps: int,
        guidance: float,
        layout: str,
        tile: int,
    ) -> io.NodeOutput:
        grid = named_grid(layout)

        def draw(item: tuple[int, torch.Tensor], setting: None, progress: Progress) -> torch.Tensor:
            index, picture = item
            own = seed_of(seed, index)
            request = ViewRequest(flattened(picture), grid, tile or None, steps, guidance, own)
            return draw_views(models, request, progress)

        grids = map_batch(list(enumerate(image)), draw, [None], "choose smaller views")
        items = tuple(views_from_images(grid.split(picture), grid.rig) for picture in grids)
        square = image.shape[1] == image.shape[2]
        text = "\n\n".join(report_text(views, seed_of(seed, i), models.demo, square) for i, views in enumerate(items))
        return io.NodeOutput(
            ViewBatch(items),
            as_output(torch.cat([views.rgb for views in items])),
            as_output(torch.stack(grids)),
            text,
            ui={"text": [text]},
        )


def report_text(views: ViewSet, seed: int, demo: bool, square: bool) -> str:
    """What was drawn, for people; ``square``: whether the picture is."""
    height, width = views.size
    lines = [f"{len(views.rig)} views of {width} x {height} pixels, seed {seed}"]
    if not square:
        lines.append("The picture is not square: the model saw the square in its middle alone; use Prepare Photo.")
    empty = empty_views(views)
    if empty:
        lines.append(f"{empty.capitalize()} nothing but the background; draw with another seed.")
    if demo:
        lines.append("Drawn by the demo model, only simple procedural shapes are in its domain.")
    return "\n".join(lines)


NODES = [Bundle3D_GenerateViews]
