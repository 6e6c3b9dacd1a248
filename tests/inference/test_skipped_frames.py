"""One damaged frame does not end the prediction of a stack; one reason is said once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_jnet.config import Config
from napari_jnet.events import FramePrediction, FrameSkipped, summarize_skipped
from napari_jnet.inference.predict import predict
from napari_jnet.io.axes import array_stack
from napari_jnet.io.stack import Stack
from napari_jnet.model import Model
from napari_jnet.networks import build_network


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    config = Config().replace(
        {
            "network.name": "jnet",
            "network.structure": ((2, 4, 3), (1, 2, 3)),
            "network.resolution_levels": (-1, 0),
            "targets.dt_bound": 5.0,
        }
    )
    return Model(
        build_network(config.network).eval(), config, Path("model.pt"), torch.device("cpu")
    )


def a_stack(frames: int = 6, channels: int = 0, broken: tuple[int, ...] = ()) -> Stack:
    shape = (frames, 21, 30) + ((channels,) if channels else ())
    images = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    stack = array_stack(images, axes="TYXC" if channels else "TYX")
    return replace(stack, read=torn(stack.frame, broken))


def torn(read: Callable[[int], np.ndarray], broken: tuple[int, ...]) -> Callable[[int], np.ndarray]:
    def frame(number: int) -> np.ndarray:
        if number in broken:
            raise ValueError(f"/data/t{number:03d}.tif is truncated. Copy it again.")
        return read(number)

    return frame


def test_damaged_frames_are_skipped_and_the_others_are_as_ever(model: Model) -> None:
    events = list(predict(model, a_stack(broken=(0, 3, 4)), on_error="skip"))
    found = [event for event in events if isinstance(event, FramePrediction)]
    left = [event for event in events if isinstance(event, FrameSkipped)]
    assert [(f.number, f.count) for f in found] == [(1, 6), (2, 6), (5, 6)]
    assert [(f.position, f.number, f.count) for f in left] == [(0, 0, 6), (3, 3, 6), (4, 4, 6)]
    plain = list(predict(model, a_stack(), frames=[5]))
    np.testing.assert_array_equal(found[-1].segmentation, plain[0].segmentation)
    assert summarize_skipped(left) == [
        "3 frames skipped (0, 3-4): /data/t000.tif is truncated. Copy it again."
    ]


def test_a_single_frame_says_what_is_wrong_with_it(model: Model) -> None:
    with pytest.raises(ValueError, match=r"^/data/t003\.tif is truncated"):
        list(predict(model, a_stack(broken=(3,)), frames=[3], on_error="skip"))


def test_where_no_frame_can_be_read_that_is_said_once(model: Model) -> None:
    with pytest.raises(ValueError, match=r"None of the 6 frames.*t000\.tif is truncated"):
        list(predict(model, a_stack(broken=tuple(range(6))), on_error="skip"))


def test_frames_that_never_fit_are_said_once(model: Model) -> None:
    events = predict(model, a_stack(5, channels=3), on_error="skip")
    with pytest.raises(
        ValueError, match=r"None of the 5 frames.*3 channel\(s\), the network takes 1"
    ):
        list(events)


def test_words_name_each_reason_once_and_few_frames() -> None:
    left = [FrameSkipped(n, n, 99, f"t{n}.tif is gone.") for n in range(0, 40, 2)]
    left.append(FrameSkipped(50, 50, 99, "t50.tif is of another size."))
    first, second = summarize_skipped(left)
    assert first == "20 frames skipped (0, 2, 4, 6, 8, 10, 12, 14, …): t0.tif is gone."
    assert second == "1 frame skipped (50): t50.tif is of another size."
    assert summarize_skipped([]) == []


@pytest.mark.parametrize("numbers", [(1,), (1, 3)])
def test_damaged_frames_alone_are_reported_on_demand(
    model: Model, numbers: tuple[int, ...]
) -> None:
    events = list(predict(model, a_stack(broken=numbers), frames=numbers, on_error="report"))
    assert [event.number for event in events if isinstance(event, FrameSkipped)] == [*numbers]
    assert len(events) == len(numbers)
