from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from bundle3d.pipelines import kernels
from bundle3d.pipelines.errors import Bundle3DError


def run_python(code: str, **environment: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    inherited["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    finished = subprocess.run(
        [sys.executable, "-c", code], env={**inherited, **environment}, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


def test_results_keep_the_order_of_the_jobs() -> None:
    first_may_end = threading.Event()

    def work(index: int) -> int:
        if index == 0 and kernels.thread_count() > 1:
            first_may_end.wait(5)
        first_may_end.set()
        return index * index

    assert kernels.run_jobs(work, [(i,) for i in range(20)]) == [i * i for i in range(20)]


def test_jobs_may_run_jobs() -> None:
    def inner(value: int) -> int:
        return value + 1

    def outer(value: int) -> int:
        return sum(kernels.run_jobs(inner, [(value,)] * 4))

    assert kernels.run_jobs(outer, [(i,) for i in range(32)]) == [4 * (i + 1) for i in range(32)]


def test_jobs_fill_what_the_caller_made_in_inference_mode(two_workers: None) -> None:
    def work(index: int) -> bool:
        filled[index] = index
        return torch.is_inference_mode_enabled()

    with torch.inference_mode():
        filled = torch.zeros(8)
        assert all(kernels.run_jobs(work, [(index,) for index in range(8)]))
    assert filled.tolist() == list(range(8))
    filled = torch.zeros(8)
    assert not any(kernels.run_jobs(work, [(index,) for index in range(8)]))


def test_the_first_exception_is_raised() -> None:
    def work(index: int) -> None:
        if index:
            raise ValueError(f"job {index}")

    with pytest.raises(ValueError, match="job 1"):
        kernels.run_jobs(work, [(0,), (1,), (2,)])


@pytest.fixture
def two_workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The shared pool with two threads, whatever the machine has."""
    with ThreadPoolExecutor(2, initializer=kernels._mark_worker) as pool:
        monkeypatch.setattr(kernels, "thread_count", lambda: 2)
        monkeypatch.setattr(kernels, "_pool", pool)
        yield


def test_large_jobs_overlap_and_keep_their_order(two_workers: None) -> None:
    both = threading.Barrier(2)

    def work(job: int, check: Callable[[], None]) -> tuple[int, int]:
        both.wait(10)
        return job, torch.get_num_threads()

    taken: list[tuple[int, int]] = []
    kernels.run_large_jobs(work, range(6), taken.append, lambda: None)
    assert taken == [(i, 1) for i in range(6)]


def test_few_large_jobs_are_ahead_of_what_is_taken(two_workers: None) -> None:
    begun, most = [], []

    def take(job: int) -> None:
        time.sleep(0.01)
        most.append(len(begun) - job)

    def work(job: int, check: Callable[[], None]) -> int:
        begun.append(job)
        return job

    kernels.run_large_jobs(work, range(40), take, lambda: None)
    assert max(most) <= kernels.MOST_AT_ONCE + 1


@pytest.mark.parametrize("cores", [1, 2])
def test_large_jobs_end_soon_when_they_are_not_wanted(
    cores: int, two_workers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "thread_count", lambda: cores)

    def work(job: int, check: Callable[[], None]) -> None:
        for _ in range(1000):
            time.sleep(0.01)
            check()

    def cancel() -> None:
        raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        kernels.run_large_jobs(work, range(20), lambda result: None, cancel)
    assert time.monotonic() - start < 2.0


def test_a_large_job_that_fails_ends_the_others(two_workers: None) -> None:
    begun, ended = threading.Event(), threading.Event()

    def work(job: int, check: Callable[[], None]) -> None:
        if job == 0:
            begun.wait(10)
            raise ValueError("job 0")
        begun.set()
        try:
            while True:
                time.sleep(0.01)
                check()
        finally:
            ended.set()

    with pytest.raises(ValueError, match="job 0"):
        kernels.run_large_jobs(work, range(2), lambda result: None, lambda: None)
    assert ended.is_set()


@pytest.mark.parametrize(("views", "height"), [(1, 512), (4, 512), (24, 512), (3, 7), (1, 1), (2, 100)])
def test_bands_cover_every_row_once(views: int, height: int) -> None:
    rows = [(view, row) for view, top, end in kernels.bands(views, height) for row in range(top, end)]
    assert rows == [(view, row) for view in range(views) for row in range(height)]


def test_backend_choice() -> None:
    assert kernels.resolve_backend("torch", torch.zeros(1)) == "torch"
    assert kernels.resolve_backend("auto", torch.zeros(1, dtype=torch.float64)) == "torch"
    assert kernels.resolve_backend("auto", torch.zeros(1, device="meta")) == "torch"
    with pytest.raises(Bundle3DError, match="use auto"):
        kernels.resolve_backend("cuda", torch.zeros(1))


@pytest.mark.skipif(not kernels.HAVE_NUMBA, reason="numba is not installed")
def test_numba_needs_the_cpu() -> None:
    assert kernels.resolve_backend("auto", torch.zeros(1)) == "numba"
    with pytest.raises(Bundle3DError, match="CPU"):
        kernels.resolve_backend("numba", torch.zeros(1, device="meta"))


def test_torch_keeps_to_one_thread_and_gets_its_own_number_back() -> None:
    code = """
import torch
from bundle3d.pipelines.kernels import one_torch_thread
torch.set_num_threads(3)
try:
    with one_torch_thread():
        print(torch.get_num_threads())
        raise ValueError
except ValueError:
    print(torch.get_num_threads())
"""
    assert run_python(code).split() == ["1", "3"]


def test_one_thread_may_be_asked_for_within_itself() -> None:
    code = """
import torch
from bundle3d.pipelines.kernels import one_torch_thread
torch.set_num_threads(3)
with one_torch_thread():
    with one_torch_thread():
        print(torch.get_num_threads())
    print(torch.get_num_threads())
print(torch.get_num_threads())
"""
    assert run_python(code).split() == ["1", "1", "3"]


def test_two_threads_at_once_leave_torch_as_it_was() -> None:
    """The second has never used torch before, enters while the first is within, and leaves last."""
    code = """
import threading, torch
from bundle3d.pipelines.kernels import one_torch_thread
torch.set_num_threads(3)
within, left = threading.Event(), threading.Event()
def second():
    with one_torch_thread():
        within.set()
        left.wait()
        print(torch.get_num_threads())
    print(torch.get_num_threads())
other = threading.Thread(target=second)
with one_torch_thread():
    other.start()
    within.wait()
print(torch.get_num_threads())
left.set()
other.join()
third = threading.Thread(target=lambda: print(torch.get_num_threads()))
third.start()
third.join()
print(torch.get_num_threads())
"""
    assert run_python(code).split() == ["3", "1", "3", "3", "3"]


CACHE = """
import numba
from bundle3d.pipelines.meshes.half_edges import counting_sorts
print(counting_sorts._cache.cache_path)
print(numba.config.CACHE_DIR)
"""


@pytest.mark.skipif(not kernels.HAVE_NUMBA, reason="numba is not installed")
def test_machine_code_lies_in_the_pack_and_other_packages_are_left_alone() -> None:
    path, setting = [*run_python(CACHE).split("\n"), ""][:2]
    assert Path(path).parents[1] == kernels.CACHE_FOLDER
    assert setting == ""


@pytest.mark.skipif(not kernels.HAVE_NUMBA, reason="numba is not installed")
def test_the_users_cache_folder_is_kept(tmp_path: Path) -> None:
    path, setting = run_python(CACHE, NUMBA_CACHE_DIR=str(tmp_path)).split("\n")
    assert Path(path).parents[1] == tmp_path
    assert setting == str(tmp_path)


@pytest.mark.skipif(not kernels.HAVE_NUMBA, reason="numba is not installed")
def test_a_changed_constant_of_another_file_is_noticed(tmp_path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from scaled import scaled; print(scaled(1.0))"
    (tmp_path / "scaled.py").write_text(
        "from bundle3d.pipelines.kernels import kernel\nfrom factor import FACTOR\n\n\n"
        "@kernel\ndef scaled(value):\n    return FACTOR * value\n"
    )
    for factor in (2.0, 3.0):
        (tmp_path / "factor.py").write_text(f"FACTOR = {factor}  # {'.' * int(factor)}\n")
        assert float(run_python(code, NUMBA_CACHE_DIR=str(tmp_path / "cache"))) == factor


def test_without_numba_everything_still_renders() -> None:
    code = """
import sys
sys.modules["numba"] = None
import torch
from bundle3d.pipelines.kernels import HAVE_NUMBA, resolve_backend
from bundle3d.pipelines.rendering.render import render_attributes
from bundle3d.pipelines.errors import Bundle3DError
clip = torch.tensor([[[-1.0, -1, 0, 1], [1, -1, 0, 1], [0, 1, 0, 1]]], requires_grad=True)
image = render_attributes(torch.ones(3, 1), clip, torch.tensor([[0, 1, 2]]), 16, 16)
image.sum().backward()
try:
    resolve_backend("numba", clip)
except Bundle3DError:
    print(HAVE_NUMBA, float(image.sum()) > 0, float(clip.grad.norm()) > 0)
"""
    assert run_python(code) == "False True True"
