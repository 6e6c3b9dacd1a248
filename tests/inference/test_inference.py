"""Prediction of stacks: what comes, in which order, and what a bad frame does."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_jnet.config import Config, InstanceConfig, PredictionConfig
from napari_jnet.events import FramePrediction, Message
from napari_jnet.inference.image import predict_image, predict_maps
from napari_jnet.inference.predict import predict
from napari_jnet.inference.tiling import run_network, windows
from napari_jnet.io.axes import array_stack
from napari_jnet.model import Model
from napari_jnet.networks import build_network
from napari_jnet.networks.base import SegmentationNetwork
from napari_jnet.preprocess import frame_tensor, standardized_pyramid


def a_model(**changes: object) -> Model:
    torch.manual_seed(0)
    config = Config().replace(
        {
            "network.name": "jnet",
            "network.structure": ((2, 4, 3), (1, 2, 3)),
            "network.resolution_levels": (-1, 0),
            "targets.dt_bound": 5.0,
            "prediction.tta": 1,
            **changes,
        }
    )
    network = build_network(config.network).eval()
    return Model(network, config, Path("model.pt"), torch.device("cpu"))


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)


def test_a_frame_that_the_stack_does_not_have_is_refused_before_any_is_read() -> None:
    stack = array_stack(noise(3, 21, 30), name="cells")
    with pytest.raises(ValueError, match="cells has no frame 7; its 3 frames run from 0 to 2"):
        next(predict(a_model(), stack, frames=[0, 7]))


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


def test_a_constant_frame_is_reported_and_stays_empty() -> None:
    data = noise(2, 20, 20)
    data[0] = 9
    notice, first, second = predict(a_model(), array_stack(data))
    assert isinstance(notice, Message) and "frame 0" in notice.text
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


class TestSettings:
    """Tiles, overlap and test-time augmentation of the model, and of the caller."""

    def test_the_model_has_them_and_the_caller_wins(self) -> None:
        image = noise(40, 40)
        trained = a_model(**{"prediction.tta": 8})
        plain = predict_maps(trained, image, prediction=PredictionConfig(tta=1))
        np.testing.assert_array_equal(plain.segmentation, predict_maps(a_model(), image)[0])
        assert not np.allclose(plain.segmentation, predict_maps(trained, image)[0])

    def test_results_are_averaged_over_all_transforms_by_default(self) -> None:
        image, model = noise(24, 32), a_model()
        expected = predict_maps(model, image, prediction=PredictionConfig(tta=8))
        found = predict_maps(model, image, prediction=PredictionConfig())
        np.testing.assert_array_equal(found.segmentation, expected.segmentation)

    @pytest.mark.parametrize("count", [4, 8])
    def test_transforms_of_a_frame_give_transforms_of_its_maps(self, count: int) -> None:
        """The average over all transforms is one more symmetric function."""
        model, settings = a_model(), PredictionConfig(tta=count)
        image = noise(24, 32 if count == 4 else 24)
        turn = np.flipud if count == 4 else np.rot90
        maps = predict_maps(model, image, prediction=settings)
        turned = predict_maps(model, turn(image), prediction=settings)
        np.testing.assert_allclose(turned.segmentation, turn(maps.segmentation), atol=1e-5)
        np.testing.assert_allclose(turned.distance, turn(maps.distance), atol=1e-4)

    @pytest.mark.parametrize("shape", [(21, 30), (24, 24)])
    def test_what_does_not_care_for_symmetry_stays_as_it_is(self, shape: tuple[int, int]) -> None:
        image = noise(*shape)
        model = pixelwise_model()
        expected = predict_maps(model, image)
        maps = predict_maps(model, image, prediction=PredictionConfig(tta=8))
        np.testing.assert_allclose(maps.segmentation, expected.segmentation, atol=1e-6)
        np.testing.assert_allclose(maps.distance, expected.distance, atol=1e-5)
        assert maps.classes is not None and expected.classes is not None
        np.testing.assert_array_equal(maps.classes, expected.classes)

    def test_probabilities_are_averaged_not_logits(self) -> None:
        image, model = noise(24, 32), a_model()
        turns = (np.asarray, np.fliplr, np.flipud, lambda a: a[::-1, ::-1])
        parts = [turn(predict_maps(model, turn(image)).segmentation) for turn in turns]
        mean = np.mean(parts, axis=0)
        found = predict_maps(model, image, prediction=PredictionConfig(tta=4))
        np.testing.assert_allclose(found.segmentation, mean, atol=1e-6)

    def test_windows_of_a_pixelwise_network_change_nothing(self) -> None:
        image, model = noise(37, 50), pixelwise_model()
        expected = predict_maps(model, image)
        settings = PredictionConfig(tile=16, overlap=0.5)
        maps = predict_maps(model, image, prediction=settings)
        np.testing.assert_allclose(maps.segmentation, expected.segmentation, atol=1e-6)

    def test_windows_are_seen_alone_and_averaged(self) -> None:
        image, model = noise(16, 24), a_model()
        image[0, :2] = 0, 255
        parts = [slice(0, 16), slice(8, 24)]
        levels = standardized_pyramid(frame_tensor(image, "x")[None], model.network.levels)
        total, count = np.zeros((16, 24)), np.zeros((16, 24))
        for part in parts:
            half = slice(part.start // 2, part.stop // 2)
            logits = run_network(model.network, [levels[0][..., half], levels[1][..., part]])
            total[:, part] += logits[0, 0].sigmoid().numpy()
            count[:, part] += 1
        found = predict_maps(model, image, prediction=PredictionConfig(tile=16, overlap=0.5, tta=1))
        np.testing.assert_allclose(found.segmentation, total / count, atol=1e-6)

    @pytest.mark.parametrize("side", [16, 17, 31, 32, 33, 50])
    @pytest.mark.parametrize("overlap", [0.1, 0.5, 0.9])
    def test_windows_cover_a_frame(self, side: int, overlap: float) -> None:
        seen = np.zeros((side, 20), int)
        for rows, columns in windows((side, 20), 16, overlap, stride=4):
            assert rows.start % 4 == columns.start % 4 == 0
            assert 16 <= rows.stop - rows.start < 20
            seen[rows, columns] += 1
        assert seen.min() >= 1

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"tta": 3}, r"tta is 3; it should be 1, 4 or 8"),
            ({"overlap": 0.5, "tile": 0}, r"overlap is 0.5 and tile is 0"),
        ],
    )
    def test_settings_that_make_no_sense(self, changes: dict[str, object], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            PredictionConfig(**changes)  # type: ignore[arg-type]


def pixelwise_model() -> Model:
    """Return a model of three classes whose output for a pixel depends on that pixel alone."""

    class Pixelwise(SegmentationNetwork):
        levels, stride, halo = (0,), 1, 0

        def features(self, pyramid: Sequence[torch.Tensor]) -> torch.Tensor:
            image = pyramid[-1]
            return torch.cat([image, -image, 2 * image**2 - 1, 2 + image], dim=1)

    config = Config().replace(
        {"network.classes": 3, "network.resolution_levels": (0,), "targets.dt_bound": 5.0}
    )
    return Model(Pixelwise(config.network), config, Path("model.pt"), torch.device("cpu"))


class TestRegions:
    """A region is predicted as within the whole frame."""

    @pytest.mark.parametrize(
        "settings",
        [
            PredictionConfig(tile=0),
            PredictionConfig(tile=16),
            PredictionConfig(tile=0, tta=4),
            PredictionConfig(tile=16, tta=8),
            PredictionConfig(tile=32, overlap=0.5),
        ],
    )
    @pytest.mark.parametrize(
        "region",
        [
            (slice(17, 38), slice(25, 61)),
            (slice(0, 9), slice(40, 75)),
            (slice(70, 71), slice(0, 1)),
            (slice(0, 71), slice(0, 75)),
        ],
    )
    @pytest.mark.parametrize("levels", [(-1, 0), (-3, -2)])
    def test_it_is_the_same_part_of_the_whole(
        self, settings: PredictionConfig, region: tuple[slice, slice], levels: tuple[int, int]
    ) -> None:
        model = a_model(**{"network.resolution_levels": levels})
        image = noise(71, 75)
        plain = PredictionConfig(
            tile=32 if settings.overlap else 0,
            overlap=settings.overlap,
            tta=settings.tta,
        )
        whole = predict_maps(model, image, prediction=plain)
        maps = predict_maps(model, image, prediction=settings, region=region)
        np.testing.assert_allclose(maps.segmentation, whole.segmentation[region], atol=1e-5)
        np.testing.assert_allclose(maps.distance, whole.distance[region], atol=1e-4)

    def test_only_what_it_needs_is_computed(self) -> None:
        model = a_model()
        seen: list[torch.Size] = []
        model.network.register_forward_pre_hook(lambda _, args: seen.append(args[0][-1].shape))
        predict_maps(model, noise(400, 400), region=(slice(200, 210), slice(100, 110)))
        assert len(seen) == 1
        assert max(seen[0][-2:]) < 10 + 2 * (model.network.halo + 2 * model.network.stride) + 1

    def test_a_stack_says_which_region_its_maps_are_of(self) -> None:
        stack = array_stack(noise(2, 3, 20, 24), axes="TZYX")
        region = (slice(5, 15), slice(10, 40))
        found = list(predict(a_model(), stack, region=region))
        assert len(found) == 2
        whole = next(predict(a_model(), stack))
        first = found[0]
        assert isinstance(first, FramePrediction) and isinstance(whole, FramePrediction)
        assert first.region == (slice(5, 15), slice(10, 24))
        assert first.segmentation.shape == first.instances.shape == (3, 10, 14)
        np.testing.assert_allclose(first.segmentation, whole.segmentation[:, 5:15, 10:], atol=1e-5)
        assert whole.region is None

    def test_a_constant_frame_is_empty_there_too(self) -> None:
        notice, frame = predict(
            a_model(), array_stack(np.ones((1, 20, 24))), region=(slice(5, 9), slice(0, 8))
        )
        assert isinstance(notice, Message) and isinstance(frame, FramePrediction)
        assert frame.segmentation.shape == (4, 8)

    @pytest.mark.parametrize(
        "region",
        [
            (slice(5, 5), slice(0, 9)),
            (slice(30, 40), slice(0, 9)),
            (slice(0, 9, 2), slice(0, 9)),
        ],
    )
    def test_a_region_without_pixels_is_refused(self, region: tuple[slice, slice]) -> None:
        with pytest.raises(ValueError, match="the frame has 20 rows and 24 columns"):
            predict_maps(a_model(), noise(20, 24), region=region)


class TestFramesThatDoNotFitIntoTheMemory:
    def test_they_are_refused_before_the_first_is_read(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read = []
        stack = array_stack(noise(2, 400, 500))
        whole = dataclasses.replace(stack, read=lambda number: read.append(number))
        monkeypatch.setattr("napari_jnet.inference.predict.available_bytes", lambda: 10_000_000)
        with pytest.raises(
            ValueError, match=r"400 x 500 pixels .* 10 MB are free. About \d+ x \d+"
        ) as e:
            next(predict(a_model(), whole))
        assert not read
        side = int(re.findall(r"About (\d+) x", str(e.value))[0])
        fitting = array_stack(noise(1, side, side))
        assert len(list(predict(a_model(), fitting))) == 1

    def test_a_part_of_them_may_fit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stack = array_stack(noise(1, 400, 500))
        monkeypatch.setattr("napari_jnet.inference.predict.available_bytes", lambda: 12_000_000)
        with pytest.raises(ValueError, match="are free"):
            next(predict(a_model(), stack))
        assert next(predict(a_model(), stack, region=(slice(0, 64), slice(0, 64))))

    def test_all_planes_of_a_volume_count(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("napari_jnet.inference.predict.available_bytes", lambda: 1_000_000)
        assert next(predict(a_model(), array_stack(noise(1, 1, 64, 64), axes="TZYX")))
        with pytest.raises(ValueError, match=r"9 x 64 x 64 pixels .* a plane would fit"):
            next(predict(a_model(), array_stack(noise(1, 9, 64, 64), axes="TZYX")))


def test_what_is_available_is_bounded_by_the_limit_of_the_process() -> None:
    resource = pytest.importorskip("resource")
    code = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, resource.RLIM_INFINITY))\n"
        "from napari_jnet.hardware import available_bytes\n"
        "print(available_bytes())"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert 0 < int(result.stdout) < 3 * 2**30 and resource


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_maps_that_are_not_finite_are_refused(value: float) -> None:
    model = a_model()
    with torch.no_grad():
        for weights in model.network.parameters():
            weights.fill_(value)
    with pytest.raises(
        ValueError, match=r"frame 0: model.pt predicts values that are NaN or infinite"
    ):
        list(predict(model, array_stack(noise(1, 20, 24))))
