"""``bundle3d train`` from a folder of meshes to files that load, through the command's own entry."""

from __future__ import annotations

import io
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from bundle3d.pipelines.diffusion.loading.controlnet import controlnet_modes, load_controlnet
from bundle3d.pipelines.diffusion.loading.lora import load_lora
from bundle3d.pipelines.runner.command import main
from bundle3d.pipelines.training.dataset import read_dataset
from bundle3d.pipelines.training.watch import Watch, stoppable
from bundle3d.tests.training.conftest import Workshop
from safetensors import safe_open

SHORT = ["--steps", "2", "--batch", "2", "--validation-steps", "1", "--log-every", "1"]


def test_render(workshop: Workshop, capsys: pytest.CaptureFixture[str]) -> None:
    out = workshop.folder / "own"
    call = ["train", "render", str(workshop.meshes), "--out", str(out), "--base", str(workshop.base)]
    assert main(call) == 0
    said = capsys.readouterr().out
    assert "broken.glb is left out" in said and "2 rendered, 0 were there, 1 left out" in said
    assert read_dataset(out)[0].image().shape == (32, 64, 3)  # the base's VAE states 32
    assert main([*call, "--tile", "64"]) == 2
    assert "'tile': 16" in capsys.readouterr().err


def test_lora_from_meshes(workshop: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    call = ["train", "lora", str(workshop.meshes), "--out", str(run), "--base", str(workshop.base), *SHORT]
    assert main([*call, "--rank", "2", "--prompt", "a cup", "--precision", "bf16", "--device", "cpu"]) == 0
    said = capsys.readouterr()
    assert "LoRA of rank 2 and alpha 16" in said.out and "memory on cpu" in said.out
    assert said.out.splitlines()[-1] == str(run / "lora.safetensors")
    assert "step 2 of 2" in said.err
    state = load_lora(run / "lora.safetensors")
    assert {tensor.shape[0] for name, tensor in state.items() if name.endswith("lora_A.weight")} == {2}
    assert (run / "validation" / "step_000002_00.png").is_file() and (run / "loss.png").is_file()


def test_controlnet_beside_a_lora(workshop: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["--base", str(workshop.base), *SHORT]
    assert main(["train", "lora", str(workshop.dataset), "--out", str(tmp_path / "lora"), *base]) == 0
    lora = tmp_path / "lora" / "lora.safetensors"
    call = ["train", "controlnet", str(workshop.dataset), "--out", str(tmp_path / "net"), *base, "--lora", str(lora)]
    assert main([*call, "--modes", "normal, tile"]) == 0
    network = load_controlnet(tmp_path / "net" / "controlnet")
    assert network.config.num_mode == 10
    with safe_open(str(tmp_path / "net" / "controlnet" / "diffusion_pytorch_model.safetensors"), "pt") as file:
        assert file.metadata()["modes"] == '{"normal": 7, "tile": 1}'
    assert controlnet_modes(tmp_path / "net" / "controlnet", network) == {"normal": 7, "tile": 1}
    assert "ControlNet of 3 blocks for normal, tile" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lora", "{data}", "--base", "{out}/nowhere"], "correct --base"),
        (["lora", "{data}", "--targets", "nothing"], "correct --targets"),
        (["lora", "{data}", "--steps", "0"], "Expected steps to be at least 1"),
        (["controlnet", "{data}", "--modes", "pose"], "correct --modes"),
        (["render", "{out}/nowhere"], "Expected a folder of meshes"),
    ],
)
def test_wrong_calls(
    workshop: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    call = [text.format(data=workshop.dataset, out=tmp_path) for text in arguments]
    base = [] if "--base" in call else ["--base", str(workshop.base)]
    assert main(["train", *call, "--out", str(tmp_path / "run"), *base]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("render", "lora", "controlnet"):
        with pytest.raises(SystemExit) as stop:
            main(["train", name, "--help"])
        assert stop.value.code == 0
        assert "==SUPPRESS==" not in capsys.readouterr().out


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """Tests that run in the background of a shell ignore Ctrl-C otherwise."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_watch_ends_between_steps_and_estimates() -> None:
    stream = io.StringIO()
    watch = Watch("step", stream)
    with stoppable(watch):
        for done in range(1, 6):
            watch(done, 10)
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            watch(6, 10)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("step 4 of 10, ") and lines[0].endswith(" left")
    assert "Ending after this step" in lines[-1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
