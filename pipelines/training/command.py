"""``bundle3d train``: the demo family, a dataset from a folder of meshes, a LoRA, a ControlNet.

Only what parses the arguments is imported at once; torch takes seconds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

STOPPED = 130
EXAMPLES = """a LoRA and a ControlNet from a folder of meshes:
  bundle3d train render my_meshes --out my_bundles
  bundle3d train lora my_bundles --out runs/my_lora
  bundle3d train controlnet my_bundles --out runs/my_controlnet --modes tile,normal

with FLUX.1-dev instead of the small demo family: --base path/to/FLUX.1-dev
(a diffusers folder, or a checkpoint with all parts)

exit codes:
  0    finished
  1    it failed; the same call fails again
  2    the call is wrong: arguments, files, folders
  130  stopped; the same call goes on
"""


@dataclass(frozen=True)
class Subcommand:
    """A part of ``bundle3d train``: its line of help, its arguments, and what it does; that returns the exit code."""

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands and their arguments."""
    commands = parser.add_subparsers(dest="training", required=True)
    for name, command in SUBCOMMANDS.items():
        own = commands.add_parser(
            name, help=command.help, description=command.help, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        command.add_arguments(own)


def train(options: argparse.Namespace) -> int:
    """Runs the chosen subcommand; returns the exit code. Raises Bundle3DError where the call is wrong."""
    try:
        return SUBCOMMANDS[options.training].run(options)
    except KeyboardInterrupt:
        print("Stopped; the same call goes on from what is saved.", file=sys.stderr)
        return STOPPED


def _render_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("meshes", type=Path, help="folder of meshes (GLB, glTF, OBJ, PLY, STL), +Y up, facing +Z")
    parser.add_argument("--out", type=Path, required=True, help="folder for the bundles; goes on where it broke off")
    _add_render_options(parser)
    _add_base(parser)


def _add_render_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tile", type=int, default=argparse.SUPPRESS, help="side of a view in pixels (default: what the base draws)"
    )
    parser.add_argument(
        "--shading", default="matte", choices=("matte", "shaded", "unlit", "clay"),
        help="matte: in studio light without gloss, as the published LoRA was shown",
    )  # fmt: skip
    parser.add_argument(
        "--size", type=float, default=2.0,
        help="longest side of the meshes; 2 as the published data, 1.8 keeps bulky ones whole in the pictures",
    )  # fmt: skip
    parser.add_argument(
        "--captions", type=Path, default=argparse.SUPPRESS,
        help="lines 'chair.glb; a red chair', or a .json table (default: chair.txt beside chair.glb, or its name)",
    )  # fmt: skip


def _add_base(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("base model")
    group.add_argument(
        "--base", type=Path, default=argparse.SUPPRESS,
        help="diffusers folder of a FLUX.1 model, or a file (default: the demo family)",
    )  # fmt: skip
    for name, what in (("vae", "VAE"), ("clip", "CLIP-L"), ("t5", "T5-XXL")):
        group.add_argument(
            f"--{name}", type=Path, default=argparse.SUPPRESS, help=f"{what}, where the base is a file without it"
        )
    group.add_argument(
        "--tokenizers", type=Path, default=argparse.SUPPRESS,
        help="folder with tokenizer and tokenizer_2, where the base is a file (default: ComfyUI's)",
    )  # fmt: skip


def _add_training(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, help="dataset from `bundle3d train render`, or a folder of meshes")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; goes on where it broke off")
    parser.add_argument("--steps", type=int, default=1000, help="training steps in all")
    by_base = argparse.SUPPRESS
    parser.add_argument("--batch", type=int, default=by_base, help="bundles per step (default: 4; 8 for small bases)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same run")
    parser.add_argument("--warmup", type=int, default=0, help="steps over which the learning rate rises")
    parser.add_argument(
        "--guidance", type=float, default=by_base,
        help="what the base is told while it learns (default: 1, as its trainers do; 3.5 for small bases)",
    )  # fmt: skip
    parser.add_argument("--validate-every", type=int, default=250, help="steps between drawings, which also save")
    parser.add_argument("--validation-steps", type=int, default=20, help="sampler steps of a drawing")
    parser.add_argument("--save-every", type=int, default=100, help="steps between states to go on from")
    parser.add_argument("--log-every", type=int, default=10, help="steps between lines of the log")
    parser.add_argument("--no-checkpointing", action="store_true", help="a third faster, for several times the memory")
    parser.add_argument("--device", default=argparse.SUPPRESS, help="cuda, mps or cpu (default: the best there is)")
    parser.add_argument(
        "--precision", choices=("bf16", "fp32"), default=argparse.SUPPRESS,
        help="what the base computes in (default: bf16 on a GPU, else the file's type)",
    )  # fmt: skip
    _add_render_options(parser.add_argument_group("if a folder of meshes is given"))  # type: ignore[arg-type]
    _add_base(parser)


def _lora_arguments(parser: argparse.ArgumentParser) -> None:
    _add_training(parser)
    group = parser.add_argument_group("LoRA")
    by_base = argparse.SUPPRESS
    group.add_argument("--rank", type=int, default=by_base, help="its rank (default: 128; 16 for small bases)")
    group.add_argument("--alpha", type=float, default=by_base, help="its strength times its rank (default: 1; 16)")
    group.add_argument(
        "--targets", default="blocks", help="blocks, attention, or endings of layer names such as to_q,to_k,to_v"
    )
    group.add_argument("--rate", type=float, default=by_base, help="learning rate (default: 8e-4; 1e-3)")
    group.add_argument(
        "--prompt", action="append", default=argparse.SUPPRESS,
        help="what to draw for validation; several times for several (default: the first two captions)",
    )  # fmt: skip


def _controlnet_arguments(parser: argparse.ArgumentParser) -> None:
    _add_training(parser)
    group = parser.add_argument_group("ControlNet")
    by_base = argparse.SUPPRESS
    group.add_argument("--modes", default="tile,canny,depth,normal", help="what it is shown, separated by commas")
    group.add_argument("--double-blocks", type=int, default=by_base, help="how many (default: a quarter of the base's)")
    group.add_argument("--single-blocks", type=int, default=by_base, help="how many (default: a quarter of the base's)")
    group.add_argument(
        "--rate", type=float, default=by_base, help="learning rate (default: 1e-5; 5e-4 for small bases)"
    )
    group.add_argument(
        "--lora", type=Path, default=by_base, help="LoRA that is on the base while the ControlNet learns"
    )


def _add_demo(parser: argparse.ArgumentParser, out: str, counts: dict[str, str]) -> None:
    """The folders of a demo model, how much it is shown (options with their help), and the seed."""
    parser.add_argument("--out", type=Path, required=True, help=out)
    parser.add_argument(
        "--work",
        type=Path,
        required=True,
        help="folder of the run, one for all demo models; goes on where it broke off",
    )
    for name, what in {**counts, "--seed": "the same seed gives the same run"}.items():
        parser.add_argument(name, type=int, default=argparse.SUPPRESS, help=what)


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    counts = {
        "--bundles": "procedural bundles to render",
        "--vae-steps": "training steps of the autoencoder",
        "--flow-steps": "training steps of the transformer",
    }
    _add_demo(parser, "folder for the demo family, as diffusers reads it", counts)


def _lrm_demo_arguments(parser: argparse.ArgumentParser) -> None:
    counts = {
        "--bundles": "objects to learn as bundles show them",
        "--objects": "objects to learn as multi-view models show them",
        "--steps": "training steps",
    }
    _add_demo(parser, "folder for the model", counts)


def _multiview_demo_arguments(parser: argparse.ArgumentParser) -> None:
    counts = {
        "--objects": "procedural objects to render",
        "--vae-steps": "training steps of the autoencoder",
        "--unet-steps": "training steps of the UNet",
    }
    _add_demo(parser, "folder for the model, as Zero123++'s", counts)
    parser.add_argument(
        "--vae", type=Path, default=argparse.SUPPRESS, help="autoencoder to begin with (default: the demo family's)"
    )


def _controlnet_demo_arguments(parser: argparse.ArgumentParser) -> None:
    counts = {
        "--bundles": "bundles to learn from as the demo family's",
        "--varied": "bundles to learn from of stretched and turned objects",
        "--steps": "training steps",
    }
    _add_demo(parser, "folder for the ControlNet, as diffusers reads it", counts)
    parser.add_argument(
        "--base",
        type=Path,
        default=argparse.SUPPRESS,
        help="folder of the model that it is for (default: the demo family)",
    )


def _pixal3d_demo_arguments(parser: argparse.ArgumentParser) -> None:
    counts = {
        "--objects": "procedural objects to render",
        "--structure-decoder-steps": "training steps of the structure decoder",
        "--picture-steps": "training steps of what sees pictures",
        "--structure-steps": "training steps of the structure flow",
        "--shape-decoder-steps": "training steps of the shape decoder",
        "--shape-steps": "training steps of the shape flow",
        "--texture-decoder-steps": "training steps of the texture decoder",
        "--texture-steps": "training steps of the texture flow",
        "--fine-shape-steps": "training steps of the fine shape flow",
    }
    _add_demo(parser, "folder for the family, as Pixal3D's", counts)


def _demo(options: argparse.Namespace) -> int:
    from .run_demo import demo

    return demo(options)


def _lrm_demo(options: argparse.Namespace) -> int:
    from .run_demo import lrm_demo

    return lrm_demo(options)


def _multiview_demo(options: argparse.Namespace) -> int:
    from .run_demo import multiview_demo

    return multiview_demo(options)


def _controlnet_demo(options: argparse.Namespace) -> int:
    from .run_demo import controlnet_demo

    return controlnet_demo(options)


def _pixal3d_demo(options: argparse.Namespace) -> int:
    from .run_demo import pixal3d_demo

    return pixal3d_demo(options)


def _render(options: argparse.Namespace) -> int:
    from .run_training import render

    return render(options)


def _lora(options: argparse.Namespace) -> int:
    from .run_training import lora

    return lora(options)


def _controlnet(options: argparse.Namespace) -> int:
    from .run_training import controlnet

    return controlnet(options)


SUBCOMMANDS = {
    "demo": Subcommand("make the demo family from nothing", _demo_arguments, _demo),
    "lrm-demo": Subcommand("make the demo reconstruction model from nothing", _lrm_demo_arguments, _lrm_demo),
    "multiview-demo": Subcommand(
        "make the demo multi-view model from an autoencoder", _multiview_demo_arguments, _multiview_demo
    ),
    "controlnet-demo": Subcommand(
        "make the demo ControlNet from the demo family", _controlnet_demo_arguments, _controlnet_demo
    ),
    "pixal3d-demo": Subcommand("make the small Pixal3D family from nothing", _pixal3d_demo_arguments, _pixal3d_demo),
    "render": Subcommand("render a folder of meshes to captioned bundles", _render_arguments, _render),
    "lora": Subcommand("train a LoRA on bundles", _lora_arguments, _lora),
    "controlnet": Subcommand("train a ControlNet on bundles", _controlnet_arguments, _controlnet),
}
