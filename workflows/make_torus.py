"""Makes the example of the workflows that change a mesh; `python workflows/make_torus.py`.

inputs/3d/bundle3d_torus.glb is a red torus, 12 cm wide, with a coarse texture that is faded and stained.
inputs/bundle3d_painted.png is a mask for its bundle with tiles of 512 pixels: the half toward -X, in all views.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from bundle3d.pipelines.meshes.mesh import Material, Mesh
from bundle3d.pipelines.meshes.padding import pad_texture
from bundle3d.pipelines.meshes.write import write_mesh
from bundle3d.pipelines.texturing.texel_map import rasterise_uv
from bundle3d.pipelines.texturing.unwrap import unwrap
from bundle3d.pipelines.training.solids import revolve
from PIL import Image, ImageDraw

INPUTS = Path(__file__).parent / "inputs"
WIDTH = 0.12  # metres
TUBE, AROUND, RING = 0.285, 56, 20  # radius of the tube, the torus' own being 1; quads along and across it
TEXTURE = 128  # texels a side
TILE = 512  # pixels of a view
RED, FADED, STAIN = torch.tensor(((0.72, 0.14, 0.12), (0.80, 0.45, 0.40), (0.33, 0.17, 0.12)))
WAVES, SEED = 60, 4


def noise(points: torch.Tensor, length: float, seed: int) -> torch.Tensor:
    """A smooth random value (P,) of about -1 to 1 at ``points`` (P, 3), which changes over ``length``."""
    generator = torch.Generator().manual_seed(seed)
    direction = torch.nn.functional.normalize(torch.randn(WAVES, 3, generator=generator), dim=1)
    phase = torch.rand(WAVES, generator=generator) * 2.0 * math.pi
    wave = points @ direction.T * (2.0 * math.pi / length) + phase
    return wave.sin().sum(1) * math.sqrt(2.0 / WAVES) / 2.0


def worn(points: torch.Tensor) -> torch.Tensor:
    """sRGB colours (P, 3) of ``points`` (P, 3) within -1 to 1: red that faded, with stains."""
    faded = (noise(points, 0.9, SEED) * 1.5).clamp(0.0, 1.0)[:, None]
    stained = (noise(points, 0.45, SEED + 1) * 3.0 - 1.2).clamp(0.0, 1.0)[:, None]
    return torch.lerp(torch.lerp(RED, FADED, 0.8 * faded), STAIN, 0.8 * stained)


def torus() -> Mesh:
    """The torus with its texture."""
    angles = np.radians(np.arange(RING) * 360.0 / RING)
    vertices, faces = revolve(
        [(1.0 - TUBE + TUBE * math.cos(a), TUBE * math.sin(a)) for a in angles], AROUND, ring=True
    )
    upright = torch.from_numpy(vertices[:, [0, 2, 1]] * (1.0, -1.0, 1.0)).float()
    solid = Mesh(upright, torch.from_numpy(faces).long())
    flat = unwrap(solid.with_(normals=solid.vertex_normals()), TEXTURE)[0]
    texels = rasterise_uv(flat, TEXTURE)
    image = torch.zeros(TEXTURE, TEXTURE, 3, dtype=torch.uint8)
    colors = worn(texels.interpolate(flat.vertices, flat.faces))
    image[texels.mask] = (colors.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
    paint = Material("paint", roughness_factor=0.7, base_color_texture=pad_texture(image, texels.mask), repeat=False)
    return flat.with_(vertices=flat.vertices * (WIDTH / 2.0), materials=(paint,), name="torus")


def painted() -> Image.Image:
    """Strokes over the half of the object toward -X in the front view, the same in the view from behind."""
    mask = Image.new("L", (4 * TILE, 2 * TILE))
    draw = ImageDraw.Draw(mask)
    for left, sides in ((0, (0.0, 0.5)), (1, (0.0, 0.0)), (2, (0.5, 1.0)), (3, (0.0, 1.0))):
        low, high = ((left + side) * TILE for side in sides)
        if high > low:
            wave = [(6.0 * math.sin(y / 17.0), y) for y in range(0, TILE, 4)]
            outline = [(low + (x if sides[0] else 0.0), y) for x, y in wave]
            outline += [(high + (x if sides[1] < 1.0 else 0.0), y) for x, y in reversed(wave)]
            draw.polygon(outline, fill=255)
    return mask.convert("1")


def main() -> None:
    write_mesh(torus(), INPUTS / "3d" / "bundle3d_torus.glb")
    painted().save(INPUTS / "bundle3d_painted.png", optimize=True)


if __name__ == "__main__":
    main()
