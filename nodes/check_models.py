"""Check Models: which model files are there, which are missing, and what fits."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ..pipelines.checkpoints.plan import plan
from ..pipelines.checkpoints.presence import Folders, model_folders
from ..pipelines.checkpoints.registry import REGISTRY
from ..pipelines.checkpoints.report import plan_json, plan_text
from .progress import NodeProgress

STAGES = {stage.title: stage.id for stage in REGISTRY.stages.values()}


class Bundle3D_CheckModels(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_CheckModels",
            display_name="Check Models",
            category="Bundle3D/generation",
            description="Says which model files a stage needs, which are there, where the missing ones come from "
            "and go to, and what will fit into this machine's memory. Downloads nothing.",
            search_aliases=["missing models", "model files", "download models", "vram", "checkpoints", "will it fit"],
            is_output_node=True,
            inputs=[
                io.Combo.Input(
                    "stage",
                    options=list(STAGES),
                    default="Text to 3D",
                    tooltip="What you want to do. Stages that this version has no nodes for yet are listed, too.",
                ),
                io.Boolean.Input(
                    "verify",
                    default=False,
                    tooltip="Read the files whole and compare their SHA-256 with the published ones. Takes a minute or "
                    "more for each big file.",
                ),
            ],
            outputs=[
                io.String.Output("report", display_name="report", tooltip="What was found, as text."),
                io.Boolean.Output(
                    "ready", display_name="ready", tooltip="Whether everything that the stage needs is there and whole."
                ),
                io.String.Output("figures", display_name="figures", tooltip="The same as JSON."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(cls, stage: str, verify: bool) -> float:
        return time.time()  # files come and go between runs

    @classmethod
    def execute(cls, stage: str, verify: bool) -> io.NodeOutput:
        result = plan(STAGES[stage], comfy_folders(), verify=verify, progress=NodeProgress())
        text = plan_text(result)
        show_on_node(text, cls.hidden.unique_id)
        return io.NodeOutput(text, result.ready, json.dumps(plan_json(result), indent=1), ui={"text": [text]})


def comfy_folders() -> Folders:
    """Where ComfyUI looks for the models of each kind, extra model paths included."""
    folders = model_folders([Path(folder_paths.models_dir)])
    known = folder_paths.folder_names_and_paths
    extra = {kind: tuple(Path(path) for path in known[kind][0]) for kind in folders if kind in known}
    return {kind: tuple(dict.fromkeys((*extra.get(kind, ()), *paths))) for kind, paths in folders.items()}


def show_on_node(text: str, node_id: str | None) -> None:
    """Shows text on a node in the browser; without a running server there is none."""
    running = getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)
    if node_id is not None and running is not None:
        running.send_progress_text(text, node_id)


NODES = [Bundle3D_CheckModels]
