"""Progress, cancellation, memory and gradients inside nodes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from bundle3d.nodes.batch import halved, lowered, map_batch, paired
from bundle3d.nodes.compute import gradients, is_out_of_memory, thaw, within_memory
from bundle3d.nodes.progress import NodeProgress
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Material, Mesh

Event = tuple[int, int, object]


@pytest.fixture
def events() -> Iterator[list[Event]]:
    """What reaches ComfyUI's progress hook, as (done, total, preview)."""
    import comfy.utils

    seen: list[Event] = []
    before = comfy.utils.PROGRESS_BAR_HOOK
    comfy.utils.set_progress_bar_global_hook(
        lambda done, total, preview, node_id=None: seen.append((done, total, preview))
    )
    yield seen
    comfy.utils.set_progress_bar_global_hook(before)


def test_progress_reaches_the_bar_with_a_picture(events: list[Event]) -> None:
    progress = NodeProgress()
    progress(1, 10, lambda: torch.full((4, 6, 3), 0.5))
    progress(10, 10)
    assert [(done, total) for done, total, _ in events] == [(1, 10), (10, 10)]
    kind, picture, size = events[0][2]  # type: ignore[misc]
    assert kind == "JPEG" and picture.size == (6, 4) and picture.getpixel((0, 0)) == (128, 128, 128) and size == 512


def test_pictures_are_made_only_now_and_then() -> None:
    made = []
    progress = NodeProgress()
    for i in range(50):
        progress(i, 50, lambda: made.append(1) or torch.zeros(2, 2, 3))
    assert len(made) == 1


def test_cancelling_stops_at_the_next_report() -> None:
    from comfy import model_management

    model_management.interrupt_current_processing(True)
    with pytest.raises(model_management.InterruptProcessingException):
        NodeProgress()(1, 2)


def test_items_of_a_batch_share_one_bar(events: list[Event]) -> None:
    map_batch("ab", lambda item, setting, progress: [progress(i, 2) for i in (1, 2)], [0], "")
    assert [done for done, _, _ in events] == [500, 2000]  # the bar drops what follows too quickly
    assert {total for _, total, _ in events} == {2000}


def test_less_is_tried_when_memory_runs_out() -> None:
    def attempt(size: int) -> int:
        if size > 10:
            raise MemoryError
        return size

    assert within_memory(attempt, [100, 50, 10, 5], "") == 10
    with pytest.raises(Bundle3DError, match=r"even with 50; lower the size\.$"):
        within_memory(attempt, [100, 50], "lower the size")
    with pytest.raises(Bundle3DError, match=r"but it did not; use less\.$"):
        within_memory(lambda setting: attempt(100), [None], "use less")


def test_a_setting_is_halved_once_within_its_bound_and_said_to_be_lower() -> None:
    def work(item: int, size: int, progress: object) -> list[str]:
        if size > item:
            raise MemoryError
        return lowered("resolution", 1024, size)

    roomy, tight = map_batch([4096, 600], work, halved(1024), "")
    assert roomy == [] and tight == ["Memory ran out with resolution 1,024, so this was made with 512."]
    assert halved(12, least=8) == [12, 8] and halved(8, least=8) == [8]


def test_other_errors_pass_through() -> None:
    def attempt(size: int) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        within_memory(attempt, [2, 1], "")


def test_a_refused_allocation_counts_as_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    "message",
    [
        "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
        "allocate 8 bytes. Error code 12 (Cannot allocate memory)",
        "[enforce fail at alloc_cpu.cpp:116] data. DefaultCPUAllocator: not enough memory: you tried to allocate 8 "
        "bytes.",
        "MPS backend out of memory (MPS allocated: 8 GB, max allowed: 9 GB).",
        "not enough memory: you tried to allocate 8 bytes.",
    ],
)
def test_refusals_of_every_system_count(message: str) -> None:
    assert is_out_of_memory(RuntimeError(message))
    assert not is_out_of_memory(ValueError(message))


def test_other_failures_do_not_count() -> None:
    assert not is_out_of_memory(RuntimeError("shape mismatch"))


def test_gradients_flow_through_thawed_inputs_in_inference_mode() -> None:
    with torch.inference_mode():
        texture = torch.zeros(2, 2, 3, dtype=torch.uint8)
        mesh = Mesh(torch.rand(3, 3), torch.tensor([[0, 1, 2]]), materials=(Material(base_color_texture=texture),))
        with gradients():
            copy = thaw(mesh)
            vertices = copy.vertices.requires_grad_()
            (vertices**2).sum().backward()
            assert torch.equal(vertices.grad, 2 * mesh.vertices)  # type: ignore[arg-type]
            assert not copy.materials[0].base_color_texture.is_inference()  # type: ignore[union-attr]
        assert copy.vertices.data_ptr() != mesh.vertices.data_ptr()


def test_batches_pair_up_or_are_refused() -> None:
    assert paired("abc", "xyz", "") == [("a", "x"), ("b", "y"), ("c", "z")]
    assert paired("abc", "x", "") == [("a", "x"), ("b", "x"), ("c", "x")]
    assert paired("a", "xy", "") == [("a", "x"), ("a", "y")]
    assert paired("ab", None, "") == [("a", None), ("b", None)]
    with pytest.raises(Bundle3DError, match="2 and 3"):
        paired("ab", "xyz", "views and meshes")
