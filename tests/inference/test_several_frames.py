"""Several frames go through the network at the same time, each with its part of the threads."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_jnet.config import Config
from napari_jnet.device import use_own_threads
from napari_jnet.events import FramePrediction
from napari_jnet.inference.parts import predict_part
from napari_jnet.inference.predict import predict
from napari_jnet.io.axes import array_stack
from napari_jnet.io.stack import Stack
from napari_jnet.model import Model
from napari_jnet.networks import build_network


@pytest.fixture(autouse=True)
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def a_model() -> Model:
    torch.manual_seed(0)
    config = Config().replace(
        {
            "network.resolution_levels": (-1, 0),
            "network.channels": 4,
            "targets.dt_bound": 5.0,
            "prediction.tta": 1,
        }
    )
    return Model(
        build_network(config.network).eval(), config, Path("model.pt"), torch.device("cpu")
    )


def a_stack(frames: int = 8, side: int = 32) -> Stack:
    images = np.random.default_rng(0).integers(0, 255, (frames, side, side)).astype(np.uint8)
    return array_stack(images)


def watched(model: Model, waits_for: int) -> tuple[Model, list[int]]:
    """Let so many runs of the network wait for each other, and no more; also return the threads of each."""
    meeting, places, threads = (
        threading.Barrier(waits_for, timeout=10),
        threading.BoundedSemaphore(waits_for),
        [],
    )
    network = model.network.folded()

    def run(levels: list[Tensor]) -> Tensor:
        assert places.acquire(blocking=False), "more frames run at the same time"
        threads.append(torch.get_num_threads())
        with suppress(threading.BrokenBarrierError):
            meeting.wait()
        with torch.inference_mode():
            output: Tensor = network(levels)
        places.release()
        return output

    return replace(model, run=run, measured=True), threads


def maps_of(events: Any) -> list[np.ndarray]:
    return [event.segmentation for event in events if isinstance(event, FramePrediction)]


def kept_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_jnet.inference.predict._set_backend", lambda *_: "")


def test_frames_run_together_and_come_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    kept_backend(monkeypatch)
    model, threads = watched(a_model(), 4)
    stack = a_stack()
    events = [event for event in predict(model, stack) if isinstance(event, FramePrediction)]
    assert [event.number for event in events] == list(range(8))
    assert threads == [1] * 8
    alone, threads = watched(a_model(), 1)
    for event in events:
        (expected,) = maps_of(predict(alone, stack, frames=[event.number]))
        np.testing.assert_allclose(event.segmentation, expected, atol=1e-5)
    assert threads == [4] * 8
    assert torch.get_num_threads() == 4


def test_back_ends_are_compared_with_as_many_frames_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A way that is fast for one frame alone need not be for several, each with its part of the threads."""
    monkeypatch.setattr("napari_jnet.inference.backend._WORTH_S", 0.0)
    model, threads = watched(a_model(), 4)
    run = model.run
    assert run is not None
    ways = {"torch": lambda _: run, "torch-bfloat16": lambda _: run}
    monkeypatch.setattr("napari_jnet.inference.backend.BACKENDS", ways)
    monkeypatch.setattr("napari_jnet.inference.backend.has_bfloat16", lambda _: True)
    monkeypatch.setattr("napari_jnet.inference.backend.find_spec", lambda _: None)
    maps_of(predict(replace(model, measured=False), a_stack(8)))
    assert set(threads) == {1}


def test_large_frames_run_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    kept_backend(monkeypatch)
    monkeypatch.setattr("napari_jnet.inference.predict._NETWORK_PIXELS", 32 * 32)
    model, threads = watched(a_model(), 1)
    assert len(maps_of(predict(model, a_stack(3)))) == 3
    assert threads == [4] * 3


def test_little_memory_holds_one_frame_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    kept_backend(monkeypatch)
    monkeypatch.setattr("napari_jnet.inference.predict.available_bytes", lambda: 300_000)
    model, threads = watched(a_model(), 1)
    assert len(maps_of(predict(model, a_stack(3)))) == 3
    assert threads == [4] * 3


@pytest.mark.parametrize(
    ("cores", "frames", "at_once", "each"), [(4, 2, 2, 2), (7, 6, 3, 2), (7, 7, 7, 1)]
)
def test_as_few_threads_as_possible_are_idle(
    monkeypatch: pytest.MonkeyPatch, cores: int, frames: int, at_once: int, each: int
) -> None:
    kept_backend(monkeypatch)
    torch.set_num_threads(cores)
    model, threads = watched(a_model(), at_once)
    assert len(maps_of(predict(model, a_stack(frames)))) == frames
    assert threads == [each] * frames


def test_a_part_of_one_frame_rounds_as_the_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kept_backend(monkeypatch)
    model, threads = watched(a_model(), 1)
    file = tmp_path / "model.pt"
    file.write_bytes(b"weights")  # which the mark of the parts names
    model = replace(model, path=file)
    assert len(maps_of(predict_part(model, a_stack(), tmp_path / "out", 3, 8))) == 1
    assert threads == [1]


def test_one_thread_reads_at_a_time() -> None:
    busy, stack, noise = threading.Lock(), a_stack(), np.random.default_rng(0).random(500_000)
    read = stack.frame

    def frame(number: int) -> np.ndarray:
        assert busy.acquire(blocking=False), "two frames are read at the same time"
        try:
            np.sort(noise)  # other threads run meanwhile
            return read(number)
        finally:
            busy.release()

    assert len(maps_of(predict(a_model(), replace(stack, read=frame)))) == 8


def test_threads_of_one_thread_are_not_those_of_others() -> None:
    together = threading.Barrier(6, timeout=10)

    def own_threads(_: int) -> int:
        together.wait()
        use_own_threads(2)
        return torch.get_num_threads()

    with ThreadPoolExecutor(6) as own:
        assert list(own.map(own_threads, range(6))) == [2] * 6
    with ThreadPoolExecutor(1) as other:
        assert other.submit(torch.get_num_threads).result() == 4
    assert torch.get_num_threads() == 4


def test_a_frame_is_let_go_before_its_cells_are_separated(monkeypatch: pytest.MonkeyPatch) -> None:
    images, held, stack = [], [], a_stack(3)
    read = stack.frame

    def frame(number: int) -> np.ndarray:
        image = read(number).copy()
        images.append(weakref.ref(image))
        return image

    def separated(segmentation: np.ndarray, *_: object) -> np.ndarray:
        held.append(images[0]() is not None)
        return np.zeros(segmentation.shape, np.int32)

    monkeypatch.setattr("napari_jnet.inference.predict.separate", separated)
    monkeypatch.setattr("napari_jnet.inference.predict._AHEAD", 0)
    torch.set_num_threads(1)
    assert len(maps_of(predict(a_model(), replace(stack, read=frame)))) == 3
    assert held == [False] * 3
