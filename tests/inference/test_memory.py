"""Prediction in little memory: tiles that do not fit are halved, with the same maps."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from napari_jnet.config import Config, PredictionConfig
from napari_jnet.events import FramePrediction, Message
from napari_jnet.inference.image import predict_maps
from napari_jnet.inference.predict import predict
from napari_jnet.io.axes import array_stack
from napari_jnet.model import Model
from napari_jnet.networks import build_network


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    config = Config().replace(
        {
            "network.channels": 4,
            "network.resolution_levels": (-1, 0),
            "targets.dt_bound": 5.0,
            "prediction.backend": "torch",
        }
    )
    network = build_network(config.network).eval()
    return Model(network, config, Path("model.pt"), torch.device("cpu"))


def limit(patch: pytest.MonkeyPatch, most: int, error: Exception) -> None:
    """Let each convolution fail for an image of more pixels than these."""
    real = torch.nn.Conv2d.forward

    def forward(self: torch.nn.Conv2d, images: torch.Tensor) -> torch.Tensor:
        if images.shape[-2] * images.shape[-1] > most:
            raise error
        return real(self, images)

    patch.setattr(torch.nn.Conv2d, "forward", forward)


STACK = array_stack(
    np.random.default_rng(0).integers(0, 255, (2, 160, 240)).astype(np.uint8), name="cells"
)


def results(model: Model, **changes: Any) -> tuple[list[FramePrediction], list[str]]:
    settings = model.config.prediction.changed(**changes)
    events = list(predict(model, STACK, prediction=settings))
    return (
        [event for event in events if isinstance(event, FramePrediction)],
        [event.text for event in events if isinstance(event, Message)],
    )


@pytest.mark.parametrize(
    ("error", "tta"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), 8),
        (MemoryError(), 1),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 1),
    ],
    ids=["cuda", "python", "cpu"],
)
def test_tiles_that_do_not_fit_are_halved_and_that_is_said_once(
    monkeypatch: pytest.MonkeyPatch, model: Model, error: Exception, tta: int
) -> None:
    expected, _ = results(model, tta=tta)
    limit(monkeypatch, 160 * 160, error)
    found, said = results(model, tta=tta)
    assert said == [
        "The memory does not hold larger tiles: cells is predicted in tiles of 120 x 120 pixels from now "
        "on, with the same maps."
    ]
    for before, after in zip(expected, found, strict=True):
        np.testing.assert_allclose(after.segmentation, before.segmentation, atol=1e-5)
        np.testing.assert_allclose(after.distance, before.distance, atol=1e-4)
    assert results(model, tta=tta)[1] == [], "the model keeps it"


@pytest.mark.parametrize("changes", [{}, {"overlap": 0.5, "tile": 256}], ids=["tiles", "windows"])
def test_where_no_tile_fits_or_smaller_windows_would_differ_the_error_stays(
    monkeypatch: pytest.MonkeyPatch, model: Model, changes: dict[str, Any]
) -> None:
    limit(monkeypatch, 50 * 50, MemoryError("no memory"))
    with pytest.raises(MemoryError, match="no memory"):
        results(model, **changes)


def test_another_error_is_not_taken_for_a_full_memory(
    monkeypatch: pytest.MonkeyPatch, model: Model
) -> None:
    limit(monkeypatch, 50 * 50, RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        list(predict(model, STACK, prediction=PredictionConfig(tta=1)))
    assert model.largest_tile is None


class Held(TorchDispatchMode):
    """The most bytes that the results of torch's operations held at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, tuple[Any, int]] = {}
        self.most = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        for part in tree_leaves(result):
            if isinstance(part, torch.Tensor):
                storage = part.untyped_storage()
                self.alive[storage.data_ptr()] = weakref.ref(part), storage.nbytes()
        self.alive = {place: held for place, held in self.alive.items() if held[0]() is not None}
        self.most = max(self.most, sum(size for _, size in self.alive.values()))
        return result


def test_a_unet_holds_its_maps_no_longer_than_it_needs_them() -> None:
    config = Config().replace({"network.resolution_levels": (-4, -3, -2, -1, 0)})
    network = build_network(config.network).folded()
    with torch.inference_mode(), Held() as held:
        network([torch.zeros(1, 1, 128, 128)])
    one_map = 128 * 128 * 4 * config.network.channels
    # where the encoder's map and the decoder's are joined: these two, and both once more
    assert held.most < 4.2 * one_map


def test_a_frame_of_2048_pixels_is_predicted_in_tiles_by_default(
    monkeypatch: pytest.MonkeyPatch, model: Model
) -> None:
    seen = []

    def run(levels: list[torch.Tensor]) -> torch.Tensor:
        seen.append(levels[-1].shape[-2:].numel())
        return torch.zeros(1, 2, *levels[-1].shape[-2:])

    monkeypatch.setattr(model, "run", run)
    for side, most in ((2048, 1100**2), (1024, 1024**2)):
        seen.clear()
        predict_maps(model, np.random.default_rng(0).random((side, side), np.float32))
        assert max(seen) <= most
