"""How the network runs: a faster way is taken where the cells stay the same, and refused where not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_jnet.config import Config, PredictionConfig
from napari_jnet.events import FramePrediction, Message
from napari_jnet.inference import backend
from napari_jnet.inference.image import predict_maps
from napari_jnet.inference.predict import predict
from napari_jnet.inference.tiling import run_network
from napari_jnet.io.axes import array_stack
from napari_jnet.model import Model
from napari_jnet.networks import build_network

JNET = {
    "network.name": "jnet",
    "network.structure": ((2, 4, 3), (1, 2, 3)),
    "network.resolution_levels": (-1, 0),
}
UNET = {"network.channels": 4, "network.resolution_levels": (-2, -1, 0)}


def a_model(changes: dict[str, Any]) -> Model:
    torch.manual_seed(0)
    config = Config().replace({"targets.dt_bound": 5.0, "prediction.tta": 1, **changes})
    network = build_network(config.network).eval()
    return Model(network, config, Path("model.pt"), torch.device("cpu"))


class CellsWhereBright(torch.nn.Module):
    """In the place of a network: a bright pixel is cell, far from any boundary."""

    def forward(self, levels: list[Tensor]) -> Tensor:
        return torch.cat([50 * levels[-1], 5 * (levels[-1] > 0)], dim=1)


def bright_squares(frames: int) -> np.ndarray:
    """Return frames with four squares that do not touch, and noise."""
    film = np.random.default_rng(0).integers(0, 20, (frames, 64, 64))
    for row, column in ((5, 5), (5, 40), (40, 5), (40, 40)):
        film[:, row : row + 15, column : column + 15] += 200
    return film.astype(np.uint8)


@pytest.fixture
def film_model(monkeypatch: pytest.MonkeyPatch) -> Model:
    model = a_model(UNET)
    levels = CellsWhereBright()
    monkeypatch.setattr(type(model.network), "forward", lambda _, pyramid: levels(pyramid))
    return model


class Clock:
    """A clock that only the ways to run the network move."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """Let torch in float32 take 10 s a frame, and offer the ways of `offer` only."""
    made = Clock()
    monkeypatch.setattr(backend.time, "perf_counter", made)
    monkeypatch.setattr(backend, "BACKENDS", {})
    offered = "available_backends", lambda model: [*backend.BACKENDS][1:]
    for place in ("backend", "predict"):
        monkeypatch.setattr(f"napari_jnet.inference.{place}.{offered[0]}", offered[1])
    offer(made, "torch", 10.0, lambda output: output)
    yield made


def offer(clock: Clock, name: str, seconds: float, change: Callable[[Tensor], Tensor]) -> None:
    """Offer a way that takes so long and gives these outputs."""

    def make(network: torch.nn.Module) -> backend.Run:
        def run(levels: list[Tensor]) -> Tensor:
            clock.now += seconds
            return change(run_network(network, levels))

        return run

    backend.BACKENDS[name] = make


def notices(model: Model, film: np.ndarray) -> list[str]:
    events = list(predict(model, array_stack(film)))
    assert sum(isinstance(event, FramePrediction) for event in events) == len(film)
    return [event.text for event in events if isinstance(event, Message)]


def test_the_fastest_way_with_the_same_cells_is_taken_and_named(
    film_model: Model, clock: Clock
) -> None:
    offer(clock, "fast", 4.0, lambda output: output)
    offer(clock, "faster", 2.0, lambda output: output + 1e-3)
    (text,) = notices(film_model, bright_squares(9))
    assert "faster, 5.0 times as fast" in text and "SEG of 1.0000" in text
    before = clock.now
    assert notices(film_model, bright_squares(9)) == []  # it is measured once for a model
    assert clock.now - before == pytest.approx(9 * 2)


@pytest.mark.parametrize(
    ("seconds", "change"),
    [
        (1.0, lambda output: output * 0 - 5),  # no cells
        (1.0, lambda output: output.roll(3, dims=-1)),  # all cells moved
        (9.5, lambda output: output),  # hardly faster
    ],
)
def test_a_way_that_changes_cells_or_saves_little_is_refused(
    film_model: Model, clock: Clock, seconds: float, change: Callable[[Tensor], Tensor]
) -> None:
    offer(clock, "other", seconds, change)
    assert notices(film_model, bright_squares(9)) == []
    before = clock.now
    assert notices(film_model, bright_squares(9)) == []  # it is measured once for a model
    assert clock.now - before == pytest.approx(9 * 10)


def test_a_way_that_fails_is_refused(film_model: Model, clock: Clock) -> None:
    def fail(output: Tensor) -> Tensor:
        raise RuntimeError("no such layer")

    offer(clock, "fast", 4.0, lambda output: output)
    offer(clock, "broken", 1.0, fail)
    (text,) = notices(film_model, bright_squares(9))
    assert "fast, 2.5 times as fast" in text


def test_few_frames_and_frames_without_cells_are_not_measured(
    film_model: Model, clock: Clock
) -> None:
    offer(clock, "fast", 1.0, lambda output: output)
    assert notices(film_model, bright_squares(3)) == []
    assert clock.now == 30
    noise = np.random.default_rng(0).integers(0, 20, (9, 64, 64)).astype(np.uint8)
    film_model.config = film_model.config.replace({"instances.min_size": 5000})
    before = clock.now
    assert notices(film_model, noise) == []
    assert clock.now - before == pytest.approx(10 + 9 * 10)  # one to see that it is empty


def test_a_way_that_is_asked_for_is_used_without_a_measurement(
    film_model: Model, clock: Clock
) -> None:
    offer(clock, "torch-bfloat16", 1.0, lambda output: output)
    settings = PredictionConfig(backend="torch-bfloat16", tta=1)
    list(predict(film_model, array_stack(bright_squares(2)), prediction=settings))
    assert clock.now == 2
    settings = PredictionConfig(backend="torch", tta=1)
    list(predict(film_model, array_stack(bright_squares(2)), prediction=settings))
    assert clock.now == 22


def test_openvino_without_the_package_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    model = a_model(UNET)
    assert not any(name.startswith("openvino") for name in backend.available_backends(model))
    with pytest.raises(ValueError, match=r"OpenVINO is not installed.*napari-jnet\[openvino\]"):
        backend.use_backend(model, "openvino")


@pytest.mark.parametrize("changes", [UNET, JNET, {**UNET, "network.padding": "valid"}])
@pytest.mark.parametrize("size", [(64, 64), (37, 50)])
def test_openvino_gives_the_maps_of_torch(changes: dict[str, Any], size: tuple[int, int]) -> None:
    pytest.importorskip("openvino")
    model = a_model(changes)
    image = np.random.default_rng(1).integers(0, 255, size).astype(np.uint8)
    expected = predict_maps(model, image)
    backend.use_backend(model, "openvino")
    found = predict_maps(model, image)
    np.testing.assert_allclose(found.segmentation, expected.segmentation, atol=1e-5)
    np.testing.assert_allclose(found.distance, expected.distance, atol=1e-4)


def test_tiles_of_many_shapes_equal_the_whole_frame_with_openvino() -> None:
    pytest.importorskip("openvino")
    model = a_model(JNET)
    image = np.random.default_rng(1).integers(0, 255, (70, 90)).astype(np.uint8)
    expected = predict_maps(model, image)
    backend.use_backend(model, "openvino")
    found = predict_maps(model, image, tile=32)
    np.testing.assert_allclose(found.segmentation, expected.segmentation, atol=1e-5)


@pytest.mark.parametrize("changes", [UNET, JNET])
def test_bfloat16_is_near_to_float32(changes: dict[str, Any]) -> None:
    model = a_model(changes)
    image = np.random.default_rng(1).integers(0, 255, (64, 64)).astype(np.uint8)
    expected = predict_maps(model, image)
    backend.use_backend(model, "torch-bfloat16")
    found = predict_maps(model, image)
    assert not np.array_equal(found.segmentation, expected.segmentation)
    np.testing.assert_allclose(found.segmentation, expected.segmentation, atol=0.02)


INTERRUPTED = """
import os, signal, sys
sys.path.insert(0, os.path.dirname(sys.argv[1]))
import torch
from test_backend import UNET, a_model
from napari_jnet.inference.backend import use_backend

models = [a_model(UNET), a_model(UNET)]
for model in models:
    use_backend(model, "openvino")
    for height in (32, 64):
        model.run([torch.zeros(1, 1, height, 32)])
del models[0], models, model
received = []
signal.signal(signal.SIGTERM, lambda *_: received.append(1))
os.kill(os.getpid(), signal.SIGTERM)
assert received
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_signal_after_openvino_does_not_crash() -> None:
    pytest.importorskip("openvino")
    command = [sys.executable, "-c", INTERRUPTED, __file__]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
