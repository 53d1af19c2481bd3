"""Convert Mesh: between the forms in which ComfyUI nodes pass meshes on."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..pipelines.kernels import one_torch_thread
from . import interop
from .sockets import mesh_input, mesh_outputs


class Bundle3D_ConvertMesh(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_ConvertMesh",
            display_name="Convert Mesh",
            category="Bundle3D/meshes",
            description="Turns a 3D file, a core mesh or a trimesh object into a core mesh, a GLB file and a trimesh "
            "object.",
            search_aliases=["mesh to file", "file to mesh", "trimesh", "bridge", "glb"],
            inputs=[mesh_input("mesh", "A mesh, a batch of meshes, a 3D file or a trimesh object.")],
            outputs=[
                *mesh_outputs(),
                io.Custom("TRIMESH").Output(
                    "trimesh",
                    display_name="trimesh",
                    tooltip="The same as trimesh objects, one per mesh, for the nodes of other packs.",
                    is_output_list=True,
                ),
            ],
        )

    @classmethod
    @one_torch_thread()
    def execute(cls, mesh: Any) -> io.NodeOutput:
        meshes = interop.accept(mesh)
        return io.NodeOutput(*interop.emit(meshes), [interop.to_trimesh(item) for item in meshes])


NODES = [Bundle3D_ConvertMesh]
