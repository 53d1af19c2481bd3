"""Which package of the pipelines may import which: only those that stand in an earlier row."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PIPELINES = Path(__file__).resolve().parents[1] / "pipelines"
ROWS = (
    ("errors",),
    ("progress", "kernels", "comfyui_folder"),
    ("views",),
    ("meshes",),
    ("rendering",),
    ("texturing", "volumes"),
    ("metrics", "checkpoints"),
    ("diffusion", "isomer"),
    (
        "bundle",
        "lrm",
        "multiview",
        "photo",
        "pixal3d",
        "photo3d",
        "latents25d",
        "selfi",
        "evoscene",
    ),
    ("editing",),
    ("training",),
    ("runner",),
)
ROW = {package: number for number, row in enumerate(ROWS) for package in row}


def parts_of(file: Path) -> tuple[str, ...]:
    """The dotted name of a module below ``pipelines``."""
    return file.relative_to(PIPELINES).with_suffix("").parts


def imports(file: Path) -> list[tuple[int, tuple[str, ...]]]:
    """Line and dotted name below ``pipelines`` of all that a file imports relatively, functions' own imports too.

    A name that starts with ".." lies outside of ``pipelines``.
    """
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            own = parts_of(file)
            above = own[: len(own) - node.level] if node.level <= len(own) else ("..",)
            module = tuple(node.module.split(".")) if node.module else ()
            named = [above + module] if module else [(*above, alias.name) for alias in node.names]
            found += [(node.lineno, name) for name in named]
    return found


FILES = sorted(file for file in PIPELINES.rglob("*.py") if file != PIPELINES / "__init__.py")


@pytest.mark.parametrize("package", sorted({parts_of(file)[0] for file in FILES}))
def test_packages_import_only_what_lies_below_them(package: str) -> None:
    assert package in ROW, f"say in ROWS where {package} stands"
    wrong = []
    for file in FILES:
        if parts_of(file)[0] != package:
            continue
        for line, name in imports(file):
            target = name[0]
            if target != package and not ROW.get(target, len(ROWS)) < ROW[package]:
                wrong.append(f"{file.relative_to(PIPELINES).as_posix()}:{line} imports {'.'.join(name)}")
    assert not wrong, "\n".join(wrong)


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    modules = {parts_of(file): file for file in FILES}
    edges = {module: {name for _, name in imports(file) if name in modules} for module, file in modules.items()}
    done: set[tuple[str, ...]] = set()

    def visit(module: tuple[str, ...], path: tuple[tuple[str, ...], ...]) -> None:
        assert module not in path, " -> ".join(".".join(step) for step in (*path, module))
        if module not in done:
            for target in sorted(edges[module]):
                visit(target, (*path, module))
            done.add(module)

    for module in modules:
        visit(module, ())


def test_the_pipelines_know_nothing_of_comfyui() -> None:
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level and node.module else []
            outside = [name for name in names if name.split(".")[0] in ("comfy", "comfy_api", "folder_paths", "nodes")]
            assert not outside, f"{file.relative_to(PIPELINES).as_posix()}:{node.lineno} imports {outside[0]}"
