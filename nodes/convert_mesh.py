"""Convert Mesh: between the forms in which ComfyUI nodes pass meshes on."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from . import interop
from .sockets import mesh_input, mesh_outputs


class Bundle3D_ConvertMesh(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_ConvertMesh",
            display_name="Convert Mesh",
            category="Bundle3D/meshes",
            description="Turns a 3D file, a core mesh or a trimesh object into a core mesh and a GLB file.",
            search_aliases=["mesh to file", "file to mesh", "trimesh", "bridge", "glb"],
            inputs=[mesh_input("mesh", "A mesh, a batch of meshes, a 3D file or a trimesh object.")],
            outputs=mesh_outputs(),
        )

    @classmethod
    def execute(cls, mesh: Any) -> io.NodeOutput:
        return io.NodeOutput(*interop.emit(interop.accept(mesh)))


NODES = [Bundle3D_ConvertMesh]
