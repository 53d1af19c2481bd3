"""The ComfyUI face of Bundle3D: thin V3 nodes, one file per stage."""

from __future__ import annotations

import importlib
import logging

from comfy_api.latest import ComfyExtension, io

from . import examples

logger = logging.getLogger(__name__)

NODE_FILES = (
    "load_mesh",
    "convert_mesh",
    "render_bundle",
    "split_bundle",
    "join_bundle",
    "inspect_bundle",
    "isomer",
    "bake_texture",
    "project_photo",
    "mesh_report",
    "turntable",
    "save_mesh",
    "load_bundle_models",
    "load_control_net",
    "load_redux",
    "load_photo",
    "prepare_photo",
    "caption_photo",
    "load_multiview_models",
    "generate_views",
    "views_from_images",
    "load_reconstruction_model",
    "reconstruct_views",
    "load_pixal3d",
    "pixal3d_image_to_3d",
    "pixal3d_prepare",
    "pixal3d_camera",
    "load_view_folder",
    "pixal3d_back_project",
    "pixal3d_structure",
    "pixal3d_shape",
    "pixal3d_texture",
    "pixal3d_decode",
    "pixal3d_latent",
    "pixal3d_voxel",
    "finish_asset",
    "load_pixal3d_d",
    "pixal3d_d_image_to_3d",
    "reference_bundle",
    "bundle_preset",
    "bundle_prompt",
    "bundle_control",
    "keep_shape_and_look",
    "generate_bundle",
    "bundle_schedule",
    "bundle_latent",
    "models_to_core",
    "paint_region",
    "mesh_region",
    "edit_mesh",
    "compare_meshes",
    "check_models",
)


def load_nodes(file: str) -> list[type[io.ComfyNode]]:
    """The nodes that a file of this folder lists in ``NODES``, each with its schema checked."""
    nodes: list[type[io.ComfyNode]] = list(importlib.import_module(f".{file}", __name__).NODES)
    for node in nodes:
        node.GET_SCHEMA()
    return nodes


class Bundle3DExtension(ComfyExtension):
    """Registers the nodes; a file that fails to load costs its own nodes only."""

    async def on_load(self) -> None:
        examples.install()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        nodes: list[type[io.ComfyNode]] = []
        for file in NODE_FILES:
            try:
                nodes += load_nodes(file)
            except Exception:
                logger.exception("Bundle3D: the nodes of nodes/%s.py are not available", file)
        return nodes
