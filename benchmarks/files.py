"""Speed and peak memory of reading and writing mesh files, against trimesh on the same bytes.

    python benchmarks/files.py [--quick]

``read_ratio`` and ``write_ratio`` are trimesh's time over ours (above 1: ours is faster). trimesh checks no bounds.
"""

from __future__ import annotations

import argparse
import io
from typing import Any

import measure
import numpy as np
import torch
import trimesh
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.read import read_mesh
from bundle3d.pipelines.meshes.write import mesh_to_bytes


def wavy_sheet(faces: int) -> Mesh:
    """A square sheet with normals and UVs."""
    side = round((faces / 2) ** 0.5) + 1
    steps = torch.linspace(-1.0, 1.0, side)
    x, z = torch.meshgrid(steps, steps, indexing="xy")
    vertices = torch.stack((x, 0.1 * torch.sin(9 * x) * torch.cos(7 * z), z), dim=-1).reshape(-1, 3)
    corner = torch.arange(side * side).reshape(side, side)
    a, b, c, d = (part.reshape(-1) for part in (corner[:-1, :-1], corner[:-1, 1:], corner[1:, :-1], corner[1:, 1:]))
    triangles = torch.cat((torch.stack((a, c, b), 1), torch.stack((b, c, d), 1)))
    mesh = Mesh(vertices, triangles, uv=(vertices[:, [0, 2]] + 1) / 2)
    return mesh.with_(normals=mesh.vertex_normals())


def row(faces: int, format: str, runs: int) -> dict[str, Any]:
    """One format at one size."""
    mesh = wavy_sheet(faces)
    data = mesh_to_bytes(mesh, format)
    uv = mesh.uv.numpy() * np.array((1.0, -1.0)) + np.array((0.0, 1.0)) if mesh.uv is not None else None
    other = trimesh.Trimesh(
        mesh.vertices.numpy(),
        mesh.faces.numpy(),
        vertex_normals=mesh.normals.numpy() if mesh.normals is not None else None,
        visual=trimesh.visual.TextureVisuals(uv=uv),
        process=False,
    )
    read = measure.compare(
        {
            "ours": lambda: read_mesh(data, format),
            "trimesh": lambda: trimesh.load_scene(io.BytesIO(data), file_type=format, process=False),
        },
        runs,
    )
    with measure.track_peak() as peak:
        read_mesh(data, format)
    write = measure.compare(
        {"ours": lambda: mesh_to_bytes(mesh, format), "trimesh": lambda: other.export(file_type=format)}, runs
    )
    return {
        "format": format,
        "faces": len(mesh.faces),
        "megabytes": round(len(data) / 1e6, 1),
        **read["ours"].row("read"),
        "read_peak_megabytes": round(peak["growth"] / 1e6, 1),
        "read_ratio": round(read["trimesh"].median / read["ours"].median, 2),
        **write["ours"].row("write"),
        "write_ratio": round(write["trimesh"].median / write["ours"].median, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer faces and runs")
    quick = parser.parse_args().quick
    sizes = (5_000, 50_000) if quick else (5_000, 50_000, 500_000)
    rows: list[dict[str, Any]] = []
    for faces in sizes:
        for format in ("glb", "obj", "ply", "stl"):
            rows.append(row(faces, format, 3 if quick else 5))
            found = rows[-1]
            print(
                f"{found['faces']:>7} faces {format} {found['megabytes']:6.1f} MB  "
                f"read {found['read_ms']:8.1f} ms, trimesh x {found['read_ratio']:5.2f}, "
                f"peak {found['read_peak_megabytes']:6.1f} MB  "
                f"write {found['write_ms']:8.1f} ms, trimesh x {found['write_ratio']:5.2f}",
                flush=True,
            )
    print(measure.write("files-quick" if quick else "files", rows))


if __name__ == "__main__":
    main()
