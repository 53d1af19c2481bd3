"""Load Mesh: from a file in ComfyUI's input folder to a mesh."""

from __future__ import annotations

from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ..pipelines.errors import Bundle3DError
from ..pipelines.kernels import one_torch_thread
from ..pipelines.meshes.read import read_mesh
from . import interop
from .sockets import mesh_outputs

SUFFIXES = (".glb", ".gltf", ".obj", ".ply", ".stl")
MATERIAL_SUFFIXES = (".mtl", ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tga")
UPLOAD_FOLDER = "3d"  # where ComfyUI's own 3D nodes upload to


def mesh_files() -> list[str]:
    """Names of the mesh files in the input folder and anywhere below its folder for 3D files, with forward slashes."""
    root = Path(folder_paths.get_input_directory())
    found = [*root.glob("*"), *(root / UPLOAD_FOLDER).rglob("*")]
    return sorted(
        path.relative_to(root).as_posix() for path in found if path.suffix.lower() in SUFFIXES and path.is_file()
    )


def _companions(path: Path) -> list[Path]:
    """The material libraries and images that an OBJ may name: those in its folder and one level below it."""
    if path.suffix.lower() != ".obj":
        return []
    near = [*path.parent.glob("*"), *path.parent.glob("*/*")]
    return sorted(file for file in near if file.suffix.lower() in MATERIAL_SUFFIXES and file.is_file())


class Bundle3D_LoadMesh(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_LoadMesh",
            display_name="Load Mesh",
            category="Bundle3D/meshes",
            description="Reads a GLB, glTF, OBJ, PLY or STL file with its materials.",
            search_aliases=["open mesh", "import mesh", "load 3d", "glb", "gltf", "obj", "ply", "stl"],
            inputs=[
                io.Combo.Input(
                    "model_file",
                    options=mesh_files(),
                    tooltip="A file in ComfyUI's input folder or in its subfolder 3d. A name with [output] or [temp] "
                    "after it is read from that folder.",
                    extra_dict={"mesh_upload": True, "upload_subfolder": UPLOAD_FOLDER},
                ),
            ],
            outputs=mesh_outputs(),
        )

    @classmethod
    def validate_inputs(cls, model_file: str | None) -> bool | str:
        if model_file is None:  # linked: known only when the node runs
            return True
        if not model_file:
            return "Expected a mesh file, but none is chosen; upload one or put it into the input folder."
        if Path(folder_paths.annotated_filepath(model_file)[0]).suffix.lower() not in SUFFIXES:
            return f"Expected a file of type {', '.join(SUFFIXES)}, but got {model_file!r}; export the mesh as GLB."
        if not folder_paths.exists_annotated_filepath(model_file):
            return f"Expected a file in ComfyUI's input folder, but {model_file!r} is not there; upload it."
        return True

    @classmethod
    def fingerprint_inputs(cls, model_file: str | None) -> list[tuple[str, int, int]]:
        if model_file is None:  # linked: known only when the node runs
            return []
        path = Path(folder_paths.get_annotated_filepath(model_file))
        stamps = []
        for file in (path, *_companions(path)):
            status = file.stat()
            stamps.append((file.relative_to(path.parent).as_posix(), status.st_mtime_ns, status.st_size))
        return stamps

    @classmethod
    @one_torch_thread()
    def execute(cls, model_file: str) -> io.NodeOutput:
        valid = cls.validate_inputs(model_file)
        if isinstance(valid, str):
            raise Bundle3DError(valid)
        return io.NodeOutput(*interop.emit([read_mesh(folder_paths.get_annotated_filepath(model_file))]))


NODES = [Bundle3D_LoadMesh]
