"""Prediction of stacks: what comes, in which order, and what a bad frame does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_jnet.checkpoint import Model
from napari_jnet.config import Config, InstanceConfig
from napari_jnet.data import array_stack
from napari_jnet.events import FramePrediction, Notice
from napari_jnet.inference import predict, predict_image
from napari_jnet.networks import build_network


def a_model(**changes: object) -> Model:
    torch.manual_seed(0)
    config = Config().replace(
        {
            "network.name": "jnet",
            "network.structure": ((2, 4, 3), (1, 2, 3)),
            "network.resolution_levels": (-1, 0),
            "targets.dt_bound": 5.0,
            **changes,
        }
    )
    network = build_network(config.network).eval()
    return Model(network, config, Path("model.pt"), torch.device("cpu"))


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)


def test_each_frame_comes_with_its_number_and_maps() -> None:
    stack = array_stack(noise(3, 21, 30))
    found = list(predict(a_model(), stack))
    assert [frame.position for frame in found] == [0, 1, 2]
    assert all(isinstance(frame, FramePrediction) and frame.count == 3 for frame in found)
    first = found[0]
    assert first.segmentation.shape == first.distance.shape == first.instances.shape == (21, 30)
    assert first.segmentation.min() >= 0 and first.segmentation.max() <= 1
    assert first.distance.min() >= 0 and first.distance.max() <= 5
    assert first.instances.dtype == np.int32 and first.classes is None


def test_only_the_frames_that_are_asked_for_are_read() -> None:
    data = noise(4, 20, 20).astype(np.float32)
    data[0] = np.nan
    found = list(predict(a_model(), array_stack(data), frames=[2]))
    assert [frame.number for frame in found] == [2]


def test_a_volume_is_predicted_by_planes_and_separated_as_one() -> None:
    stack = array_stack(noise(2, 3, 20, 24), axes="TZYX")
    model = a_model()
    first = next(predict(model, stack))
    assert isinstance(first, FramePrediction)
    assert first.segmentation.shape == (3, 20, 24)
    plane, _ = predict_image(model, stack.frame(0)[1])
    np.testing.assert_allclose(first.segmentation[1], plane)


def test_classes_are_the_most_probable_ones() -> None:
    model = a_model(**{"network.classes": 4})
    frame = next(predict(model, array_stack(noise(1, 20, 24))))
    assert isinstance(frame, FramePrediction) and frame.classes is not None
    assert frame.classes.dtype == np.uint8 and frame.classes.max() <= 3
    assert ((frame.classes > 0) <= (frame.segmentation > 0.25)).all()


def test_instance_settings_of_the_caller_count() -> None:
    model, stack = a_model(), array_stack(noise(1, 20, 24))
    nothing = InstanceConfig(segmentation_threshold=1.0)
    frame = next(predict(model, stack, instances=nothing))
    assert isinstance(frame, FramePrediction) and frame.instances.max() == 0


def test_a_constant_frame_is_told_and_stays_empty() -> None:
    data = noise(2, 20, 20)
    data[0] = 9
    notice, first, second = predict(a_model(), array_stack(data))
    assert isinstance(notice, Notice) and "frame 0" in notice.text
    assert isinstance(first, FramePrediction) and first.instances.max() == 0
    assert first.segmentation.max() == 0
    assert isinstance(second, FramePrediction) and second.segmentation.max() > 0


def test_a_frame_with_nan_is_named_after_the_good_ones_came() -> None:
    data = noise(2, 20, 20).astype(np.float32)
    data[1, 3, 3] = np.inf
    job = predict(a_model(), array_stack(data))
    assert isinstance(next(job), FramePrediction)
    with pytest.raises(ValueError, match=r"frame 1 has 1 pixel\(s\) that are NaN or infinite"):
        next(job)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (noise(20, 20, 3), r"3 channel\(s\), the network takes 1"),
        (noise(3, 20), "3 x 20 pixels has 1 pixels left at level -1"),
        (noise(2, 3, 20, 20), r"shape \(2, 3, 20, 20\)"),
    ],
)
def test_images_that_do_not_fit_are_refused(image: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        predict_image(a_model(), image)
