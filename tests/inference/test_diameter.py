"""Frames are rescaled to the diameter of the cells that a network knows, and its maps are brought back."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_jnet.config import Config, PredictionConfig
from napari_jnet.events import FramePrediction, FrameSkipped, Message, TrainingEnd
from napari_jnet.inference import predict as module
from napari_jnet.inference.image import estimate_diameter, predict_image, predict_maps
from napari_jnet.inference.predict import predict
from napari_jnet.io.axes import array_stack
from napari_jnet.io.stack import AnnotatedFrame
from napari_jnet.model import Model, load_model
from napari_jnet.networks import build_network
from napari_jnet.preprocess import rescale_plane
from napari_jnet.synthetic import touching_cells
from napari_jnet.training.loop import train


def a_model(**changes: object) -> Model:
    torch.manual_seed(0)
    config = Config().replace(
        {
            "network.channels": 3,
            "network.resolution_levels": (-1, 0),
            "network.diameter": 20.0,
            "network.distance_scale": 8.0,
            "targets.dt_bound": 8.0,
            "instances.min_size": 40,
            "prediction.backend": "torch",
            **changes,
        }
    )
    network = build_network(config.network).eval()
    return Model(network, config, Path("model.pt"), torch.device("cpu"))


def image(height: int = 70, width: int = 90) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    waves = np.sin(rows / 4) * np.sin(columns / 5)
    return (100 + 80 * waves + np.random.default_rng(0).normal(0, 4, waves.shape)).astype(np.uint8)


def test_all_lengths_of_a_model_follow_the_diameter() -> None:
    config = Config().replace(
        {
            "network.diameter": 20.0,
            "network.scale": 0.5,
            "network.distance_scale": 8.0,
            "targets.dt_bound": 8.0,
            "instances.min_size": 40,
        }
    )
    larger = config.at_diameter(40.0)
    assert larger.network.scale == 0.25 and larger.network.diameter == 40
    assert larger.network.distance_scale == larger.targets.dt_bound == 16
    assert larger.instances.min_size == 160
    assert config.at_diameter(20.0) is config


def test_a_diameter_out_of_range_or_for_a_model_that_does_not_know_its_own_is_refused() -> None:
    with pytest.raises(ValueError, match="diameter is 1; it should be greater than or equal to 3"):
        a_model().at_diameter(1)
    with pytest.raises(ValueError, match="The diameter is 30 px, but the model does not know"):
        a_model(**{"network.diameter": None}).at_diameter(30)
    stack = array_stack(image()[None])
    with pytest.raises(ValueError, match="does not know"):
        list(
            predict(
                a_model(**{"network.diameter": None}),
                stack,
                prediction=PredictionConfig(diameter=30),
            )
        )


@pytest.mark.parametrize("diameter", [11.0, 33.0])
def test_maps_are_those_of_the_rescaled_frame_at_full_size_with_distances_in_its_pixels(
    diameter: float,
) -> None:
    model, frame = a_model(), image()
    scaled = model.at_diameter(diameter)
    assert scaled.scale == pytest.approx(20 / diameter)
    maps = predict_maps(scaled, frame)
    small = predict_maps(model, rescale_plane(frame, scaled.scale))
    assert maps.segmentation.shape == maps.distance.shape == frame.shape
    for found, expected, factor in (
        (maps.segmentation, small.segmentation, 1.0),
        (maps.distance, small.distance, diameter / 20),
    ):
        back = torch.nn.functional.interpolate(
            torch.from_numpy(found)[None, None],
            scale_factor=scaled.scale,
            mode="bilinear",
            antialias=True,
        )[0, 0].numpy()
        assert np.corrcoef(back.ravel(), expected.ravel())[0, 1] > 0.9
        assert found.mean() == pytest.approx(factor * expected.mean(), rel=0.03)
    assert maps.distance.max() <= scaled.dt_bound


def test_a_region_and_blocks_have_the_maps_of_the_whole_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, frame = a_model(), image(190, 150)
    stack = array_stack(frame[None])
    settings = PredictionConfig(diameter=30, backend="torch", tta=8)
    whole = next(predict(model, stack, prediction=settings))
    assert isinstance(whole, FramePrediction)
    region = slice(31, 120), slice(0, 77)
    part = next(predict(model, stack, prediction=settings, region=region))
    assert isinstance(part, FramePrediction)
    np.testing.assert_allclose(part.segmentation, whole.segmentation[region], atol=1e-5)
    np.testing.assert_allclose(part.distance, whole.distance[region], atol=1e-4)
    monkeypatch.setattr(module, "_fit_memory", lambda *_: (64, 1, 0))
    events = predict(model, stack, prediction=settings)
    blocks = next(event for event in events if isinstance(event, FramePrediction))
    np.testing.assert_allclose(blocks.segmentation, whole.segmentation, atol=1e-4)
    np.testing.assert_allclose(blocks.distance, whole.distance, atol=1e-3)


def test_the_smallest_size_of_the_model_follows_the_diameter_but_not_one_that_is_given() -> None:
    """The network is random: only the sizes of what is left count."""
    model, stack = a_model(), array_stack(image(200, 200)[None])
    how = model.config.instances.changed(segmentation_threshold=0.45, seed_threshold=0.9)

    def smallest(min_size: int) -> int:
        config = PredictionConfig(diameter=40, backend="torch")
        instances = how.changed(min_size=min_size)
        frame = next(predict(model, stack, instances=instances, prediction=config))
        assert isinstance(frame, FramePrediction)
        sizes = np.bincount(frame.instances.ravel())[1:]
        return int(sizes.min()) if sizes.size else 10**9

    assert smallest(40) >= 160
    assert smallest(5) >= 5


def test_a_stack_without_cells_is_predicted_as_it_is_and_says_so() -> None:
    model = a_model()
    with torch.no_grad():
        for weight in model.network.parameters():
            weight.zero_()
        model.network.head.bias[0] = -9
    settings = PredictionConfig(diameter=0, backend="torch")
    assert estimate_diameter(model, [image()]) is None
    events = list(predict(model, array_stack(image()[None]), prediction=settings))
    assert [type(event) for event in events] == [Message, FramePrediction]
    assert "No cell was found" in events[0].text
    assert predict_image(model, image())[0].shape == (70, 90)


def test_a_network_for_gray_images_takes_colours_where_it_says_so(tmp_path: Path) -> None:
    gray, frame = a_model(**{"network.gray": True}), image()
    expected = predict_maps(gray, frame)
    for channels in (2, 3, 4):
        colours = np.repeat(frame[..., None], channels, axis=-1)
        found = predict_maps(gray, colours)
        np.testing.assert_allclose(found.segmentation, expected.segmentation, atol=1e-4)
        events = list(predict(gray, array_stack(colours[None], axes="TYXC")))
        assert isinstance(events[0], FramePrediction)
        np.testing.assert_allclose(events[0].segmentation, expected.segmentation, atol=1e-4)
    with pytest.raises(ValueError, match="has 3 channel"):
        predict_maps(a_model(), np.repeat(frame[..., None], 3, axis=-1))
    labels = (frame > 120).astype(np.int32)
    frames = [
        AnnotatedFrame(f"t{n}", np.repeat(frame[..., None], 3, axis=-1), labels) for n in range(2)
    ]
    config = gray.config.replace({"training.epochs": 1, "training.batches_per_epoch": 1})
    events = list(train(frames, tmp_path / "run", config))
    assert isinstance(events[-1], TrainingEnd)
    assert load_model(tmp_path / "run", device="cpu").config.network.in_channels == 1


@pytest.mark.parametrize("diameter", [20.0, 40.0, 80.0])
def test_the_diameter_of_cells_is_found_by_the_starter(diameter: float) -> None:
    cells = max(4, int(0.35 * 320**2 / (np.pi * diameter**2 / 4)))
    images, labels = touching_cells(1, (320, 320), cells=cells, diameter=diameter, seed=5)
    sizes = np.bincount(labels.ravel())[1:]
    found = estimate_diameter(load_model("starter", device="cpu"), [images[0]])
    assert found == pytest.approx(np.median(np.sqrt(4 * sizes / np.pi)), rel=0.3)


def test_an_estimate_is_never_smaller_than_a_diameter_that_is_taken() -> None:
    rng = np.random.default_rng(1)
    specks = rng.normal(100, 5, (2, 64, 64))
    for _ in range(60):
        specks[:, rng.integers(64), rng.integers(64)] += 800
    how = PredictionConfig(tta=1, backend="torch", diameter=0)
    starter = load_model("starter", device="cpu")
    events = list(predict(starter, array_stack(specks), prediction=how))
    assert isinstance(events[0], Message) and "estimated: 3 px" in events[0].text
    assert sum(isinstance(event, FramePrediction) for event in events) == 2


def test_a_frame_with_values_that_are_not_finite_is_left_out_of_the_estimate_and_skipped() -> None:
    images, _ = touching_cells(2, (160, 160), cells=12, diameter=24.0, seed=5)
    damaged = images.astype(np.float32)
    damaged[0, 80, 80] = np.nan
    model = load_model("starter", device="cpu")
    events = list(predict(model, array_stack(damaged), on_error="skip"))
    assert [type(event) for event in events] == [Message, FrameSkipped, FramePrediction]
    assert "estimated" in events[0].text and "NaN" in events[1].reason


def test_settings_of_the_caller_do_not_say_what_the_distance_of_the_model_is() -> None:
    """Also with settings made anew, the depth of the starter is not compared with pixels."""
    images, _ = touching_cells(1, (128, 128), cells=6, diameter=30.0, seed=5)
    starter, stack = load_model("starter", device="cpu"), array_stack(images)
    how = PredictionConfig(diameter=30, tta=1, backend="torch")
    own = starter.at_diameter(30).config.instances
    found = []
    for relative in (True, False):
        settings = own.changed(relative=relative)
        events = predict(starter, stack, instances=settings, prediction=how)
        found.append(next(event for event in events if isinstance(event, FramePrediction)))
    assert found[0].instances.any()
    np.testing.assert_array_equal(found[0].confidence, found[1].confidence)


def test_a_diameter_too_large_for_the_frames_is_refused_with_the_largest_that_fits() -> None:
    images, _ = touching_cells(1, (96, 128), cells=6, diameter=24.0, seed=5)
    starter, stack = load_model("starter", device="cpu"), array_stack(images)

    def run(diameter: float) -> list[object]:
        how = PredictionConfig(diameter=diameter, tta=1, backend="torch")
        return list(predict(starter, stack, prediction=how))

    with pytest.raises(
        ValueError, match="96 x 128 pixels, too few for cells of 9000 px"
    ) as refused:
        run(9000)
    said = str(refused.value)
    assert "level" not in said
    largest = float(re.search(r"at most ([\d.]+) px", said)[1])
    assert isinstance(run(largest)[-1], FramePrediction)
    with pytest.raises(ValueError, match=f"at most {largest:g} px"):
        run(largest + 0.2)
