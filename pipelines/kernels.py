"""What all compiled kernels share: the numba decorator, its cache folder, and the pool of threads that runs them.

Kernels hold no interpreter lock and are single-threaded; parallelism is one job per independent piece of the output in
one pool of threads for the whole process (numba's own parallel layer aborts when two Python threads enter it, see
specs/kernels.md section 8). A missing numba only selects the slower torch twins.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from hashlib import sha1
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, cast

import torch

from .errors import Bundle3DError

try:
    import numba
except ImportError:
    HAVE_NUMBA = False
else:
    HAVE_NUMBA = True

BACKENDS = ("auto", "numba", "torch")
CACHE_FOLDER = Path(__file__).resolve().parents[1] / ".numba_cache"

MOST_AT_ONCE = 8  # large jobs, which hold memory
WAKE_SECONDS = 0.1  # between two looks at whether large jobs are still wanted

Function = TypeVar("Function", bound=Callable[..., Any])
Job = TypeVar("Job")
Result = TypeVar("Result")

_pool: ThreadPoolExecutor | None = None
_pool_lock = threading.Lock()
_worker = threading.local()
_torch_lock = threading.Lock()
_torch_users = 0  # threads that are within one_torch_thread
_torch_threads = 1  # what torch had before the first of them


def kernel(function: Function) -> Function:
    """Compile a plain-loop function on first use, without the interpreter lock, and keep the machine code on disk.

    The machine code goes to ``.numba_cache`` in the pack's folder, to numba's user cache where that folder cannot be
    written, and to NUMBA_CACHE_DIR where the user has set it. Functions that a kernel calls belong into the same file:
    numba notices a change of the kernel's own file only. Constants may be imported. Without numba the function stays
    interpreted.
    """
    if not HAVE_NUMBA:
        return function
    config: Any = numba.config
    # numba chooses the folder while decorating; restoring it keeps other packages' kernels out of ours
    chosen = config.CACHE_DIR
    config.CACHE_DIR = str(Path(chosen or CACHE_FOLDER) / _cache_name(function.__globals__))
    compiler = numba.njit(nogil=True, error_model="numpy")
    try:
        compiled: Any = compiler(function)
        compiled.enable_caching()
    except RuntimeError:  # no folder at all can be written: compile anew in every process
        compiled = compiler(function)
    finally:
        config.CACHE_DIR = chosen
    return cast(Function, compiled)


def _cache_name(names: dict[str, Any]) -> str:
    """The folder for the machine code of a module with those global names.

    Machine code names the module that it was compiled in and loads only beside it, and the pack is one package in
    ComfyUI and another one in scripts; the values of constants are frozen into it, wherever they come from.
    """
    constants = sorted(item for item in names.items() if item[0].isupper() and isinstance(item[1], (int, float)))
    return sha1(repr((__name__, constants)).encode()).hexdigest()[:8]


def resolve_backend(backend: str, tensor: torch.Tensor) -> str:
    """``"numba"`` or ``"torch"``: "auto" takes numba for float32 (or integer) tensors on the CPU where numba is there.

    Raises Bundle3DError for an unknown name, and for "numba" without numba or with a tensor that is not on the CPU.
    """
    if backend not in BACKENDS:
        raise Bundle3DError(f"Expected the backend to be one of {', '.join(BACKENDS)}, but got {backend!r}; use auto.")
    on_cpu = tensor.device.type == "cpu"
    if backend == "auto":
        exact = tensor.dtype == torch.float32 or not tensor.is_floating_point()
        return "numba" if HAVE_NUMBA and on_cpu and exact else "torch"
    if backend == "numba" and not HAVE_NUMBA:
        raise Bundle3DError("Expected numba for the numba backend, but it is not installed; install numba or use auto.")
    if backend == "numba" and not on_cpu:
        raise Bundle3DError(f"Expected CPU tensors for the numba backend, but got {tensor.device.type}; use auto.")
    return backend


def thread_count() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Keep torch's operations on the thread that calls them, and its own number of threads for afterwards.

    Torch's threads wait for each other in a loop, so that where cores are busy an operation takes many times longer
    than alone (specs/kernels.md section 8), too long to be cancelled promptly. May be nested, entered by several
    threads at once, and used as a decorator. Operations on other devices are not affected.
    """
    global _torch_users, _torch_threads
    if getattr(_worker, "one_torch_thread", False):
        yield
        return
    with _torch_lock:
        # Every thread has a number of its own; at its first question it takes over the one that any thread set last,
        # which is ours while others are within.
        before = torch.get_num_threads()
        if not _torch_users:
            _torch_threads = before
        _torch_users += 1
    _worker.one_torch_thread = True
    torch.set_num_threads(1)
    try:
        yield
    finally:
        _worker.one_torch_thread = False
        with _torch_lock:
            _torch_users -= 1
            torch.set_num_threads(_torch_threads)


def lacks_float64(tensor: torch.Tensor) -> bool:
    """Whether the tensor's device cannot compute what the rasteriser needs; its tensors then visit the CPU."""
    return tensor.device.type == "mps"


def run_jobs(function: Callable[..., Result], jobs: Iterable[tuple[Any, ...]]) -> list[Result]:
    """Call ``function(*job)`` for every job in the shared pool and return the results in the order of the jobs.

    Jobs should spend their time in kernels. A job that calls this again runs its own jobs one after the other. Jobs
    may fill tensors that the caller made in inference mode, for they are in it then, too. The first exception of a job
    is raised.
    """
    listed = list(jobs)
    if len(listed) < 2 or getattr(_worker, "busy", False):
        return [function(*job) for job in listed]
    inference = torch.is_inference_mode_enabled()

    def work(job: tuple[Any, ...]) -> Result:
        with torch.inference_mode() if inference else nullcontext():
            return function(*job)

    return list(_shared_pool().map(work, listed))


def run_large_jobs(
    function: Callable[[Job, Callable[[], None]], Result],
    jobs: Sequence[Job],
    take: Callable[[Result], None],
    watch: Callable[[], None],
) -> None:
    """Give ``take`` the results of ``function(job, check)`` in the order of the jobs, at most MOST_AT_ONCE ahead of it.

    Jobs call ``check`` several times a second, and ``watch`` is called as often; like ``take`` in the calling thread.
    Once either raises, ``check`` raises in the jobs. They run in the shared pool and keep torch to one thread each; one
    job alone, or all on a single core, run in the calling thread.
    """
    if len(jobs) < 2 or thread_count() < 2 or getattr(_worker, "busy", False):
        for job in jobs:
            take(function(job, watch))
        return
    unwanted = threading.Event()

    def check() -> None:
        if unwanted.is_set():
            raise CancelledError

    def work(job: Job) -> Result:
        check()
        with one_torch_thread():
            return function(job, check)

    waiting = iter(jobs)
    ahead: deque[Future[Result]] = deque(_shared_pool().submit(work, job) for job in islice(waiting, MOST_AT_ONCE))
    try:
        while ahead:
            while not wait((ahead[0],), WAKE_SECONDS).done:
                watch()
            take(ahead.popleft().result())
            ahead.extend(_shared_pool().submit(work, job) for job in islice(waiting, 1))
    finally:
        unwanted.set()
        wait(ahead)


def bands(views: int, height: int, jobs: int = 8) -> list[tuple[int, int, int]]:
    """(view, first row, end row) of at least ``jobs`` pieces of equal size, where the rows allow for it.

    Jobs whose sums are added up keep the default, so that the result is the same on every machine.
    """
    per_view = max(1, min(-(-jobs // max(views, 1)), height // 16))
    edges = [height * i // per_view for i in range(per_view + 1)]
    return [(view, edges[i], edges[i + 1]) for view in range(views) for i in range(per_view)]


def _shared_pool() -> ThreadPoolExecutor:
    global _pool
    with _pool_lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(thread_count(), thread_name_prefix="kernels", initializer=_mark_worker)
        return _pool


def _mark_worker() -> None:
    _worker.busy = True
