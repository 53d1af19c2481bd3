"""Save Mesh: from meshes to files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import Types, io

from ..pipelines.errors import Bundle3DError
from ..pipelines.kernels import one_torch_thread
from ..pipelines.meshes.write import write_mesh
from . import interop
from .sockets import mesh_input

FORMATS = ("glb", "obj", "ply", "stl")


class Bundle3D_SaveMesh(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_SaveMesh",
            display_name="Save Mesh",
            category="Bundle3D/meshes",
            description="Writes meshes as GLB, OBJ, PLY or STL into ComfyUI's output folder and hands the files on.",
            search_aliases=["mesh to file", "export mesh", "save glb", "save 3d", "obj", "ply", "stl"],
            is_output_node=True,
            inputs=[
                mesh_input("mesh", "The meshes to save. A batch gives one file per mesh."),
                io.Combo.Input(
                    "file_format",
                    options=list(FORMATS),
                    default="glb",
                    tooltip="glb keeps all materials in one file. obj writes its material and textures beside it. "
                    "ply keeps vertex colours. stl keeps the shape only.",
                ),
                io.String.Input(
                    "filename_prefix",
                    default="3d/Bundle3D",
                    tooltip="Start of the file names, below the output folder; a number follows. Takes %year%, "
                    "%month%, %day%, %hour%, %minute% and %second%.",
                ),
            ],
            outputs=[
                io.File3DAny.Output(
                    "model_3d",
                    display_name="model_3d",
                    tooltip="The saved files, one per mesh, for Preview 3D.",
                    is_output_list=True,
                )
            ],
        )

    @classmethod
    @one_torch_thread()
    def execute(cls, mesh: Any, file_format: str, filename_prefix: str) -> io.NodeOutput:
        meshes = interop.accept(mesh)
        folder, name, counter, subfolder = _destination(filename_prefix)
        paths = [folder / f"{name}_{counter + index:05}_.{file_format}" for index in range(len(meshes))]
        written = [file for item, path in zip(meshes, paths) for file in write_mesh(item, path)]
        results: dict[str, list[dict[str, str]]] = {"3d": [], "files": []}
        for file in written:
            key = "3d" if file in paths else "files"  # beside an OBJ lie its material and textures
            results[key].append({"filename": file.name, "subfolder": subfolder, "type": "output"})
        return io.NodeOutput(
            [Types.File3D(str(path)) for path in paths], ui={key: results[key] for key in results if results[key]}
        )


def _destination(prefix: str) -> tuple[Path, str, int, str]:
    """Folder, name, next number and subfolder of files whose names start with ``prefix``."""
    path = Path(prefix.replace("\\", "/"))
    if not path.name or path.is_absolute() or path.drive or ".." in path.parts or not prefix.isprintable():
        raise Bundle3DError(
            f"Expected a file name below ComfyUI's output folder, but got {prefix!r}; use a relative name such as "
            "3d/chair, without '..'."
        )
    folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
        path.as_posix(), folder_paths.get_output_directory()
    )
    os.makedirs(folder, exist_ok=True)
    return Path(folder), name, counter, subfolder


NODES = [Bundle3D_SaveMesh]
