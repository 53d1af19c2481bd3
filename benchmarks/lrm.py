"""The full-size reconstruction model on this machine: strict loading, one forward pass, mesh and texture.

    python benchmarks/lrm.py [--dtype float32|bfloat16] [--resolution 128] [--texture 1024]
        [--device cuda [--budgets 24 16 12]]

A synthetic checkpoint of the published size, in the form of PRM's training checkpoint, is written to a temporary folder
(1.5 GB). What the model computes is compared with the numbers that the reference modules gave for the same weights
(specs/kiss3dgen.md section 12.2). Those weights put no surface into the grid, so mesh and texture are
those of smooth random planes, with the distances shifted until a fifth of the field is inside.

With ``--budgets``, in GiB, all of it is done once with each of them as the most that torch may take of the GPU.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import measure
import torch
from bundle3d.pipelines.lrm.cameras import camera_vectors
from bundle3d.pipelines.lrm.config import LrmConfig
from bundle3d.pipelines.lrm.field import TriplaneField
from bundle3d.pipelines.lrm.load import PREFIX, load_lrm
from bundle3d.pipelines.lrm.mesh import extract_mesh
from bundle3d.pipelines.lrm.model import LargeReconstructionModel
from bundle3d.pipelines.lrm.texture import texture_from_field
from bundle3d.pipelines.views.rig import named_rig
from bundle3d.tests.lrm.make_small import sine_weights, wave_images, wave_points
from torch.nn import functional

PARAMETERS, TENSORS = 378_681_518, 527
AMPLITUDE = 0.02
COARSE, INSIDE = 4, 0.2  # texels of the smoothed planes, and the share of the field inside, for the mesh
GOLDEN: dict[str, list[float]] = {
    "encoder": [-0.6376001, -1.4094245, -1.5237684, -0.5704767, 0.6126385, -0.2337061],
    "encoder_mean_std": [-0.00012192, 0.99913004],
    "planes": [0.0447323, 0.014112, 0.0429781, 0.0096465, 0.0507456, 0.1126136],
    "planes_mean_std_absmax": [-0.00123512, 0.07039922, 0.12055992],
    "sdf_mean_first": [-1.73946451, -1.675198, -1.7728833, -1.7755938],
    "rgb": [0.9926159, 0.7452527, 0.0087879],
}


def write_checkpoint(path: Path) -> None:
    with torch.device("meta"):
        model = LargeReconstructionModel(LrmConfig())
    state = {PREFIX + name: sine_weights(name, tensor.shape, AMPLITUDE) for name, tensor in model.state_dict().items()}
    assert len(state) == TENSORS and sum(tensor.numel() for tensor in state.values()) == PARAMETERS
    torch.save({"state_dict": state | {"lpips.lin0.model.1.weight": torch.zeros(1, 64, 1, 1)}, "epoch": 0}, path)


def difference(found: torch.Tensor, name: str) -> float:
    """Largest difference from the golden numbers, as a share of the largest of these."""
    golden = torch.tensor(GOLDEN[name])
    return float(f"{float((found.float().cpu() - golden).abs().max() / golden.abs().max()):.2g}")


def ends(tensor: torch.Tensor) -> torch.Tensor:
    flat = tensor.flatten()
    return torch.cat((flat[:5], flat[-1:]))


def compare(model: LargeReconstructionModel, tokens: torch.Tensor, planes: torch.Tensor) -> dict[str, float]:
    field, points = TriplaneField(model.decoder, planes[0]), wave_points().to(planes)
    sdf = field.sdf(points)
    found = {
        "encoder": ends(tokens),
        "encoder_mean_std": torch.stack((tokens.mean(), tokens.std())),
        "planes": ends(planes),
        "planes_mean_std_absmax": torch.stack((planes.mean(), planes.std(), planes.abs().max())),
        "sdf_mean_first": torch.cat((sdf.mean()[None], sdf[:3])),
        "rgb": field.color(points)[0],
    }
    return {name: difference(values, name) for name, values in found.items()}


def smooth_planes(model: LargeReconstructionModel, like: torch.Tensor) -> torch.Tensor:
    """Smooth random planes of the shape and deviation of ``like`` (3, C, h, w), in which ``model`` has a surface.

    The model's distances are shifted for it.
    """
    noise = torch.randn(*like.shape[:2], COARSE, COARSE, generator=torch.Generator().manual_seed(0))
    smooth = functional.interpolate(noise, size=like.shape[-2:], mode="bicubic").to(like)
    smooth = smooth * (like.std() / smooth.std())
    distances = TriplaneField(model.decoder, smooth).sdf_grid(torch.linspace(-0.9, 0.9, 65).to(like))
    model.decoder.net_sdf[-1].bias.sub_(distances.flatten().quantile(INSIDE))
    return smooth


@torch.no_grad()
def stages(
    path: Path, chosen: argparse.Namespace, device: torch.device
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """A row for each stage of the model in the file ``path``, and the differences from the golden numbers."""
    rows: list[dict[str, Any]] = []
    with measure.timed(rows, "load", device) as row:
        model = load_lrm(path, getattr(torch, chosen.dtype)).to(device)
        row |= {"parameters": sum(parameter.numel() for parameter in model.parameters())}
    images, cameras = wave_images(model.config.image_size), camera_vectors(named_rig("lrm"))[None]
    tokens: list[torch.Tensor] = []
    model.encoder.register_forward_hook(lambda module, inputs, output: tokens.append(output.float()))
    with measure.timed(rows, "planes", device) as row:
        planes = model.planes(images.to(device), cameras.to(device))
        row |= {"views": images.shape[1], "size": images.shape[-1]}
    differences = compare(model, tokens[0], planes)
    print(differences, flush=True)
    planes = smooth_planes(model, planes[0])
    with measure.timed(rows, "mesh", device) as row:
        mesh = extract_mesh(model, planes, chosen.resolution)
        row |= {"resolution": chosen.resolution, "faces": len(mesh.faces)}
    with measure.timed(rows, "texture", device) as row:
        texture_from_field(model, planes, mesh, chosen.texture)
        row |= {"resolution": chosen.texture}
    return rows, differences


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--texture", type=int, default=1024)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--budgets", type=float, nargs="+", help="GiB of the GPU, one after the other")
    chosen = parser.parse_args()
    device = torch.device(chosen.device)
    if chosen.budgets and device.type != "cuda":
        parser.error("--budgets needs --device cuda")
    rows: list[dict[str, Any]] = []
    differences: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "final_ckpt.ckpt"
        write_checkpoint(path)
        for budget in chosen.budgets or [None]:
            if budget is not None:
                share = budget * (1 << 30) / torch.cuda.get_device_properties(device).total_memory
                torch.cuda.set_per_process_memory_fraction(min(share, 1.0), device)
            found, differences = stages(path, chosen, device)
            rows += found if budget is None else [{"budget_gib": budget} | row for row in found]
    name = "lrm" if device.type == "cpu" else f"lrm-{device.type}"
    print(measure.write(name, rows, dtype=chosen.dtype, relative_difference_from_reference=differences))


if __name__ == "__main__":
    main()
