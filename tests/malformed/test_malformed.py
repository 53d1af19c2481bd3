from __future__ import annotations

import re
import tracemalloc
from pathlib import Path

import pytest
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.read import read_mesh
from bundle3d.tests.malformed.cases import cases
from bundle3d.tests.malformed.whole_files import Case, valid_files
from hypothesis import given, settings
from hypothesis import strategies as st

SENTENCE = re.compile(r"Expected [^\n]{10,400}[;,] [^\n]+\.")
ONE_MISTAKE_COSTS = 200 << 20  # bytes: no refused case may allocate more than this


def test_there_are_enough_cases() -> None:
    assert len(cases()) >= 200


def test_valid_files_are_read() -> None:
    for format, data in valid_files().items():
        assert read_mesh(data, format).faces.shape[0] >= 1, format


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name[:60])
def test_every_case_is_refused_in_one_sentence(case: Case, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, data in {case.file: case.data, **case.beside}.items():
        (folder / name).write_bytes(data)
    before = sorted(tmp_path.rglob("*"))
    tracemalloc.start()
    try:
        with pytest.raises(Bundle3DError) as refusal:
            read_mesh(folder / case.file)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert SENTENCE.fullmatch(str(refusal.value)), str(refusal.value)
    assert str(tmp_path) not in str(refusal.value)
    assert sorted(tmp_path.rglob("*")) == before
    assert peak < ONE_MISTAKE_COSTS + 4 * len(case.data)


@pytest.mark.parametrize("name", ["", "missing.glb", "folder", "a\0b.glb", "x" * 5000 + ".glb", "loop.glb"])
def test_paths_that_are_no_files(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop.glb").symlink_to(tmp_path / "loop.glb")
    with pytest.raises(Bundle3DError) as refusal:
        read_mesh(tmp_path / name)
    assert SENTENCE.fullmatch(str(refusal.value)), str(refusal.value)


FORMATS = sorted(valid_files())


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    format=st.sampled_from(FORMATS),
    start=st.floats(0, 1),
    removed=st.integers(0, 40),
    inserted=st.binary(max_size=12),
    flips=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), max_size=4),
    keep=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_damaged_bytes_give_a_mesh_or_a_refusal(
    format: str, start: float, removed: int, inserted: bytes, flips: list[tuple[float, int]], keep: float
) -> None:
    data = bytearray(valid_files()[format])
    for place, mask in flips:
        data[int(place * (len(data) - 1))] ^= mask
    position = int(start * len(data))
    data[position : position + removed] = inserted
    try:
        mesh = read_mesh(bytes(data[: int(keep * len(data))]), format)
    except Bundle3DError as refusal:
        assert "\n" not in str(refusal)
    else:
        assert isinstance(mesh, Mesh) and mesh.faces.shape[0] > 0


@settings(max_examples=200, deadline=None, derandomize=True)
@given(data=st.binary(max_size=300), format=st.sampled_from([None, *FORMATS]))
def test_random_bytes_give_a_mesh_or_a_refusal(data: bytes, format: str | None) -> None:
    try:
        mesh = read_mesh(data, format)
    except Bundle3DError:
        return
    assert mesh.faces.shape[0] > 0
