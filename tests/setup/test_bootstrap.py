"""The set-up script: what is refused, what is kept, and what is said."""

from __future__ import annotations

import ast
import importlib.util
import io
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path, PurePosixPath
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / "workflows" / "Text to 3D.json"


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap_under_test", ROOT / "bootstrap_steps.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, value in {
        "CACHE": tmp_path / "cache",
        "LOG": tmp_path / "cache" / "log",
        "OWN_COMFYUI": tmp_path / "comfyui",
    }.items():
        monkeypatch.setattr(module, name, value)
    return module


def make_archive(path: Path, names: dict[str, bytes], link: tuple[str, str] | None = None) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in names.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        if link:
            info = tarfile.TarInfo(link[0])
            info.type, info.linkname = tarfile.SYMTYPE, link[1]
            tar.addfile(info)


def test_only_plain_files_of_the_folder_are_unpacked(bootstrap: ModuleType, tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    names = {
        "p/C/main.py": b"1",
        "p/C/sub/x.py": b"2",
        "p/other.py": b"3",
        "p/C/../../../evil.py": b"4",
        "/p/C/abs.py": b"5",
    }
    make_archive(archive, names, link=("p/C/link", "/etc/passwd"))
    bootstrap.extract(archive, PurePosixPath("p/C"), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == ["main.py", "sub", "x.py"]


def test_a_wrong_hash_is_refused(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def pretend_download(command: list[str], what: str) -> None:
        folder = Path(command[command.index("--dest") + 1])
        folder.mkdir(parents=True)
        (folder / bootstrap.COMFYUI_ARCHIVE).write_bytes(b"something else")

    monkeypatch.setattr(bootstrap, "run", pretend_download)
    with pytest.raises(bootstrap.SetupError, match="should have the SHA-256"):
        bootstrap.fetch_comfyui()
    assert not bootstrap.OWN_COMFYUI.exists()


def test_a_broken_download_is_replaced_and_a_good_one_kept(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = tmp_path / "good.tar.gz"
    make_archive(good, {f"{bootstrap.COMFYUI_FOLDER}/main.py": b"main"})
    monkeypatch.setattr(bootstrap, "COMFYUI_SHA256", bootstrap.sha256(good))
    downloads = []

    def pretend_download(command: list[str], what: str) -> None:
        downloads.append(what)
        folder = Path(command[command.index("--dest") + 1])
        folder.mkdir(parents=True)
        (folder / bootstrap.COMFYUI_ARCHIVE).write_bytes(good.read_bytes())

    monkeypatch.setattr(bootstrap, "run", pretend_download)
    broken = bootstrap.CACHE / "downloads" / bootstrap.COMFYUI_ARCHIVE
    broken.parent.mkdir(parents=True)
    broken.write_bytes(good.read_bytes()[:50])
    for _ in range(2):
        bootstrap.fetch_comfyui()
    assert (bootstrap.OWN_COMFYUI / "main.py").read_bytes() == b"main" and len(downloads) == 1
    (bootstrap.OWN_COMFYUI / ".archive-sha256").unlink()
    bootstrap.fetch_comfyui()
    assert len(downloads) == 1


def test_another_comfyui_leaves_the_users_files(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = bootstrap.CACHE / "downloads" / bootstrap.COMFYUI_ARCHIVE
    archive.parent.mkdir(parents=True)
    names = ("main.py", "comfy/new.py", "models/vae/put_vae_here", "models/new_kind/put_here")
    make_archive(archive, {f"{bootstrap.COMFYUI_FOLDER}/{name}": b"new" for name in names})
    monkeypatch.setattr(bootstrap, "COMFYUI_SHA256", bootstrap.sha256(archive))
    users = (
        "models/vae/own.safetensors",
        "models/own/model.safetensors",
        "custom_nodes/own/__init__.py",
        "user/x.json",
        "extra_model_paths.yaml",
    )
    for name in ("main.py", "comfy/old.py", "models/vae/put_vae_here", *users):
        (bootstrap.OWN_COMFYUI / name).parent.mkdir(parents=True, exist_ok=True)
        (bootstrap.OWN_COMFYUI / name).write_bytes(b"old")
    bootstrap.fetch_comfyui()
    found = {
        path.relative_to(bootstrap.OWN_COMFYUI).as_posix(): path.read_bytes()
        for path in bootstrap.OWN_COMFYUI.rglob("*")
        if path.is_file() and path.name != ".archive-sha256"
    }
    assert found == {
        **dict.fromkeys(("models/vae/put_vae_here", *users), b"old"),
        **dict.fromkeys(("main.py", "comfy/new.py", "models/new_kind/put_here"), b"new"),
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "comfyui"]


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("Retrying ... NewConnectionError('Failed to establish')", r"^Step needs the network, which is not reachable"),
        ("ERROR: no matching wheel", r"^Step failed \(ERROR: no matching wheel\); the whole output is in"),
    ],
)
def test_a_failed_step_is_one_line(bootstrap: ModuleType, output: str, words: str) -> None:
    with pytest.raises(bootstrap.SetupError, match=words) as refusal:
        bootstrap.run([sys.executable, "-c", f"print({output!r}); raise SystemExit(1)"], "Step")
    assert "\n" not in str(refusal.value)


def test_a_wrong_comfyui_path_is_refused_before_anything_is_made(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    monkeypatch.setattr(bootstrap, "make_environment", lambda: made.append("environment"))
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    with pytest.raises(bootstrap.SetupError, match="COMFYUI_PATH should name"):
        bootstrap.set_up()
    assert not made


def test_requirements_are_lower_bounds_without_torch() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    needed = [line for line in lines if line and not line.startswith("#")]
    assert needed and all(re.fullmatch(r"[A-Za-z0-9_.-]+>=[0-9.]+", line) for line in needed)
    assert not any(line.startswith("torch") for line in needed)


def test_the_constraints_are_written_where_they_are_used(bootstrap: ModuleType) -> None:
    lines = bootstrap.torch_constraints().read_text(encoding="utf-8").split()
    assert lines == [bootstrap.TORCH, *bootstrap.TORCH_COMPANIONS]


def test_a_demo_of_an_unknown_workflow_names_those_that_there_are(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bootstrap, "set_up", lambda: pytest.fail("set up for nothing"))
    assert bootstrap.main(["demo", "Nothing"]) == 1
    assert re.search(r"got 'Nothing'; choose one of .*'Text to 3D'", capsys.readouterr().err)


def test_upper_and_lower_case_of_a_workflow_are_the_same(bootstrap: ModuleType) -> None:
    assert bootstrap.find_workflow("text to 3d").name == "Text to 3D.json"


def test_a_prompt_reaches_the_workflow(bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr(bootstrap, "set_up", lambda: tmp_path)
    monkeypatch.setattr(bootstrap, "call", lambda command, **_: called.append([str(word) for word in command]) or 1)
    assert bootstrap.main(["demo", "--prompt", "a blue cube"]) == 1
    assert called[0][-2:] == ["--set", "Prompt.text=a blue cube"]


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "workflows").glob("*.json")))
def test_a_prompt_for_a_recipe_without_one_is_refused_before_anything_starts(
    bootstrap: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    takes = {
        "Bundle image to mesh": ("a picture", "Bundle image.image"),
        "Image to 3D (Pixal3D)": ("a picture", "Load photo.image"),
        "Mesh to bundle and back": ("a mesh file", "Mesh file.model_file"),
        "Multi-view images to 3D": ("a picture", "Multi-view image.image"),
        "Multi-view to 3D (Pixal3D)": ("a picture", "Multi-view image.image"),
    }.get(name)
    started: list[Path] = []
    monkeypatch.setattr(bootstrap, "set_up", lambda: started.append(tmp_path) or tmp_path)
    monkeypatch.setattr(bootstrap, "call", lambda command, **_: 7)
    assert bootstrap.main(["demo", name, "--prompt", "a cube"]) == (1 if takes else 7)
    assert bool(started) == (takes is None)
    if takes:
        said = capsys.readouterr().err
        assert f"'{name}' takes no prompt, it takes {takes[0]}: " in said and f'--set "{takes[1]}=FILE"' in said


def test_comfy_serves_until_ctrl_c(bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[list[str], dict[str, str]]] = []

    def interrupted(command: list[str], **environment: str) -> int:
        called.append(([str(word) for word in command], environment))
        raise KeyboardInterrupt

    monkeypatch.setattr(bootstrap, "set_up", lambda: tmp_path)
    monkeypatch.setattr(bootstrap, "call", interrupted)
    assert bootstrap.main(["comfy"]) == 0
    ((command, environment),) = called
    assert command[1:] == ["-m", "bundle3d.pipelines.runner", "serve"]
    assert environment == {"COMFYUI_PATH": str(tmp_path)}


def test_results_of_one_prompt_stay_when_another_is_drawn(bootstrap: ModuleType) -> None:
    prompts = (None, "a blue cube", "A red / blue: cube?", "x" * 300)
    folders = [bootstrap.results_folder(WORKFLOW, prompt) for prompt in prompts]
    names = [folder.name for folder in folders]
    assert names[:3] == ["text-to-3d", "text-to-3d-a-blue-cube", "text-to-3d-a-red-blue-cube"]
    assert len(names[3]) == 80
    assert {folder.parent for folder in folders} == {bootstrap.OUTPUT}


def test_the_demo_says_what_each_file_is_once(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    files = ["a.png", "a.glb", "a.webp", "previews/b.glb"]
    result = json.dumps({"files": [{"file": name} for name in files]})
    runner = tmp_path / "bundle3d" / "pipelines" / "runner"
    runner.mkdir(parents=True)
    (tmp_path / "bundle3d" / "__init__.py").touch()
    (runner / "__main__.py").write_text(
        "import pathlib, sys\n"
        "out = pathlib.Path(sys.argv[sys.argv.index('--out') + 1])\n"
        "out.mkdir(parents=True)\n"
        f"(out / 'result.json').write_text({result!r})\n"
        "print(out / 'a.glb')\n"
    )
    monkeypatch.setattr(bootstrap, "PYTHON", sys.executable)
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setattr(bootstrap, "OUTPUT", tmp_path / "output")
    assert bootstrap.demo(tmp_path, WORKFLOW, "a cube") == 0
    out = tmp_path / "output" / "text-to-3d-a-cube"
    assert capfd.readouterr().out.splitlines() == [
        "bundle3d: running the workflow 'Text to 3D'",
        f"bundle3d: mesh: {out / 'a.glb'}",
        f"bundle3d: turntable: {out / 'a.webp'}",
        f"bundle3d: picture: {out / 'a.png'}",
        f"bundle3d: seconds, memory, seeds: {out / 'result.json'}",
    ]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_passes_a_prompt_on_but_not_that_of_a_shell() -> None:
    call = ["make", "--no-print-directory", "--dry-run", "demo"]
    shell = {**os.environ, "PROMPT": "%n@%m"}
    for arguments, words in (["PROMPT=a blue cube"], '--prompt "$PROMPT"'), ([], ""):
        done = subprocess.run([*call, *arguments], cwd=ROOT, env=shell, capture_output=True, text=True, check=True)
        assert done.stdout.split("bootstrap.py demo")[1].strip() == words


def test_ctrl_c_is_one_sentence(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bootstrap, "set_up", interrupted)
    assert bootstrap.main(["setup"]) == 130
    assert capsys.readouterr().err.strip() == "bundle3d: Stopped; repeat the call, what is set up is kept."


def test_after_the_network_was_found_away_pip_does_not_wait_for_it_again(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []
    away = "WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by 'NameResolutionError(...)'"

    def pretend(command: list[str], what: str) -> str:
        commands.append([str(word) for word in command])
        return away if len(commands) == 2 else "Successfully installed"

    monkeypatch.setattr(bootstrap, "run", pretend)
    for name in ("a", "b", "c"):
        bootstrap.pip_install(name, what=name)
    assert [command[command.index("--retries") + 1] for command in commands] == ["5", "5", "0"]


def test_a_long_step_shows_a_sign_of_life_and_its_log_grows(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    code = "import time; print('first', flush=True); time.sleep(1.5); print('last')"
    assert bootstrap.run([sys.executable, "-c", code], "Waiting").split() == ["first", "last"]
    assert re.search(r"bundle3d: Waiting: \d s", capsys.readouterr().out)
    assert "first" in bootstrap.LOG.read_text(encoding="utf-8")


def test_an_old_python_is_told_which_one_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 6, 9))
    with pytest.raises(SystemExit, match=r"Python 3\.10 or newer is needed"):
        runpy.run_path(str(ROOT / "bootstrap.py"))


def test_every_python_can_read_what_an_old_one_is_told() -> None:
    source = (ROOT / "bootstrap.py").read_bytes()
    newer = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.ImportFrom, ast.AsyncFunctionDef, ast.FunctionDef)
    assert source.isascii()
    assert not [node for node in ast.walk(ast.parse(source)) if isinstance(node, newer)]


@pytest.mark.parametrize("name", ["Bundle3D", "Bundle3D-main"])
def test_the_lint_accepts_every_name_of_the_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    for file in ("__init__.py", "pyproject.toml"):
        shutil.copyfile(ROOT / file, folder / file)
    call = [sys.executable, "-m", "ruff", "check", "--no-cache", "."]
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
