"""Structures of Pixal3D as the VOXEL of ComfyUI's own nodes for it, and back."""

from __future__ import annotations

import torch
from comfy_api.latest import Types, io

from ..pipelines.errors import Bundle3DError
from ..pipelines.pixal3d.core_latents import core_structure, structure_voxels
from ..pipelines.pixal3d.models import Pixal3DModels
from .compute import as_output
from .pixal3d_sampling import fresh_noise
from .pixal3d_sockets import ObjectBatch, Pixal3DModelSet, Pixal3DStructure, StructureVoxels
from .seeds import LARGEST_SEED, seed_input


class Bundle3D_Pixal3DToVoxel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_Pixal3DToVoxel",
            display_name="Pixal3D to Voxel",
            category="Bundle3D/pixal3d",
            description="Hands a structure to ComfyUI's own nodes for Pixal3D, as their VOXEL.",
            search_aliases=["trellis2 structure", "convert voxel", "shape stage", "occupancy"],
            inputs=[
                Pixal3DModelSet.Input("models", tooltip="The models, from Load Pixal3D, that drew the structure."),
                Pixal3DStructure.Input("structure", tooltip="The voxels, from Pixal3D Sample Structure."),
            ],
            outputs=[
                io.Voxel.Output(
                    "voxel",
                    display_name="voxel",
                    tooltip="The same for Trellis2 Shape Stage of ComfyUI 0.34 and newer: 1 inside, along x, y and z. "
                    "Voxel to Mesh wants the occupancy of Pixal3D Sample Structure instead.",
                )
            ],
        )

    @classmethod
    def execute(cls, models: Pixal3DModels, structure: ObjectBatch[StructureVoxels]) -> io.NodeOutput:
        data = core_structure([one.coords for one in structure], _resolution(models))
        return io.NodeOutput(Types.VOXEL(as_output(data)))


class Bundle3D_Pixal3DVoxelToStructure(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_Pixal3DVoxelToStructure",
            display_name="Voxel to Pixal3D Structure",
            category="Bundle3D/pixal3d",
            description="Takes a structure that ComfyUI's own nodes drew for Pixal3D Sample Shape.",
            search_aliases=["trellis2 structure", "convert voxel", "vae decode structure", "occupancy"],
            inputs=[
                Pixal3DModelSet.Input("models", tooltip="The models, from Load Pixal3D, that are to draw the shape."),
                io.Voxel.Input(
                    "voxel",
                    tooltip="What VaeDecodeStructureTrellis2 decoded of what KSampler drew with a conditioning of "
                    "Pixal3D, or Pixal3D to Voxel made.",
                ),
                seed_input(
                    "The noise that the later stages go on with; a batch takes this seed and those after it.",
                    LARGEST_SEED,
                ),
            ],
            outputs=[
                Pixal3DStructure.Output(
                    "structure", display_name="structure", tooltip="The voxels, for Pixal3D Sample Shape."
                )
            ],
        )

    @classmethod
    def execute(cls, models: Pixal3DModels, voxel: Types.VOXEL, seed: int) -> io.NodeOutput:
        data = getattr(voxel, "data", None)
        if not isinstance(data, torch.Tensor):
            raise Bundle3DError(
                f"Expected a VOXEL of ComfyUI, but got {type(voxel).__name__}; connect VaeDecodeStructureTrellis2."
            )
        objects = structure_voxels(data, _resolution(models))
        found = [StructureVoxels(*pair) for pair in zip(objects, fresh_noise(seed, len(objects)))]
        return io.NodeOutput(ObjectBatch(tuple(found)))


def _resolution(models: Pixal3DModels) -> int:
    """The side of the lattice of structures."""
    return int(models.shape.flow.module.config.resolution)


NODES = [Bundle3D_Pixal3DToVoxel, Bundle3D_Pixal3DVoxelToStructure]
