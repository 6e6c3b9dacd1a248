"""The frames of a training: odd ones, volumes, labels that do not suffice, models that do not fit."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from napari_jnet.config import Config
from napari_jnet.events import (
    BatchEnd,
    EpochEnd,
    FramePrediction,
    Message,
    NewFrames,
    TrainEvent,
    TrainingEnd,
    TrainingStart,
)
from napari_jnet.inference.predict import predict
from napari_jnet.io.axes import array_stack
from napari_jnet.io.stack import AnnotatedFrame, annotated_frames
from napari_jnet.labels import UNKNOWN, LabelKind
from napari_jnet.model import load_model, read_checkpoint, save_checkpoint
from napari_jnet.project.open import open_stack
from napari_jnet.training.estimate import adapt, typical_diameter
from napari_jnet.training.loop import train
from napari_jnet.training.sampler import draw_batch, load_frames, reached
from napari_jnet.training.validate import Validation, compare_models

TINY = Config().replace(
    {
        "network.channels": 4,
        "network.resolution_levels": (-2, -1, 0),
        "training.patch_size": 32,
        "training.batch_size": 2,
        "training.batches_per_epoch": 2,
        "training.epochs": 1,
        "training.device": "cpu",
        "training.threads": 1,
        "targets.dt_bound": 5.0,
    }
)

STILL = {
    "augmentation.flip": False,
    "augmentation.rotation": 0.0,
    "augmentation.scale": (1.0, 1.0),
    "augmentation.elastic_alpha": 0.0,
    "augmentation.brightness": 0.0,
    "augmentation.contrast": 0.0,
    "augmentation.noise": 0.0,
}
PYRAMID = TINY.replace(
    {
        "network.name": "jnet",
        "network.structure": ((1, 4, 3), (1, 2, 3), (1, 2, 3)),
        "network.resolution_levels": (-4, -3, -2),
    }
)


def cell_frame(
    name: str, seed: int = 0, size: tuple[int, int] = (48, 48), radius: int = 6
) -> AnnotatedFrame:
    """Bright discs on a dark ground, 4 radii apart."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    step = 4 * radius
    labels = 1 + rows // step + 100 * (columns // step)
    inside = (rows % step - 2 * radius) ** 2 + (columns % step - 2 * radius) ** 2 <= radius**2
    labels = np.where(inside, labels, 0).astype(np.int32)
    noise = np.random.default_rng(seed).normal(0, 8, size)
    return AnnotatedFrame(name, (20 + 100 * (labels > 0) + noise).astype(np.float32), labels)


def cells(count: int = 3) -> list[AnnotatedFrame]:
    return [cell_frame(f"t{n:03d}", n) for n in range(count)]


def of(kind: type, events: Sequence[TrainEvent]) -> list:
    return [event for event in events if isinstance(event, kind)]


def notices(events: Sequence[TrainEvent]) -> str:
    return "\n".join(notice.text for notice in of(Message, events))


def begun(
    frames: Sequence[AnnotatedFrame], run: Path, config: Config = TINY, **options: object
) -> tuple[TrainingStart, str]:
    """Return how a training begins, and what it says before its first batch."""
    events = []
    job = train(frames, run, config, **options)
    for event in job:
        if isinstance(event, BatchEnd):
            break
        events.append(event)
    job.close()
    return events[0], notices(events)


class TestOddFrames:
    """One of many does not decide for all."""

    @pytest.mark.parametrize("network", ["unet", "jnet"])
    def test_a_small_crop_does_not_take_the_depth_of_the_network(self, network: str) -> None:
        config = Config().replace({"network.name": network})
        large = [cell_frame(f"t{n}", n, (256, 256)) for n in range(4)]
        crop = cell_frame("crop", 0, (20, 24), 4)
        levels = adapt(config, large).network.resolution_levels
        assert len(levels) > 1
        for frames in ([*large, crop], [crop, *large]):
            assert adapt(config, frames).network.resolution_levels == levels

    @pytest.mark.parametrize("role", ["training", "validation"])
    def test_a_small_crop_is_used_and_said(self, tmp_path: Path, role: str) -> None:
        frames = [
            dataclasses.replace(f, role=r)
            for f, r in zip(cells(), ("training", "training", "validation"), strict=True)
        ]
        crop = dataclasses.replace(cell_frame("crop", 0, (18, 24), 4), role=role)
        if role == "validation":
            frames.pop()
        events = list(train([*frames, crop], tmp_path / "run", PYRAMID))
        (epoch,) = of(EpochEnd, events)
        assert np.isfinite([epoch.train_loss, epoch.validation_loss]).all()
        assert epoch.seg is not None
        assert "32 pixels a side; smaller frames (crop)" in notices(events)
        assert "mirrored" in notices(events)

    def test_frames_all_too_small_for_the_levels_are_refused(self, tmp_path: Path) -> None:
        small = [cell_frame(f"t{n}", n, (24, 30), 4) for n in range(3)]
        with pytest.raises(ValueError, match=r"needs frames of at least 32 x 32.*has 24"):
            next(train(small, tmp_path / "run", PYRAMID))
        assert not (tmp_path / "run").exists()

    def test_a_frame_with_more_objects_than_all_others_has_one_vote(self) -> None:
        """Specks in one frame, or one frame full of large cells, change no size."""
        usual = [cell_frame(f"t{n}", n, (200, 200), 10) for n in range(5)]
        specks = cell_frame("specks", 9, (400, 400), 1)
        large = cell_frame("large", 9, (3000, 3000), 50)
        plain = adapt(Config(), usual)
        assert typical_diameter([*usual, specks]) == pytest.approx(20, abs=1)
        assert adapt(Config(), [*usual, specks]).targets == plain.targets
        found = adapt(Config(), [*usual, large])
        assert found.targets == plain.targets and found.instances == plain.instances
        assert found.network == plain.network

    def test_one_frame_of_strokes_does_not_measure_whole_cells_by_their_diagonal(self) -> None:
        whole = [
            dataclasses.replace(f, kind=LabelKind.CLASSES, labels=np.minimum(f.labels, 1))
            for f in (cell_frame(f"t{n}", n, (200, 200), 10) for n in range(3))
        ]
        strokes = np.full((200, 200), UNKNOWN, np.int32)
        strokes[10:13, 10:190] = 1
        sparse = dataclasses.replace(whole[0], name="strokes", labels=strokes)
        assert typical_diameter([*whole, sparse]) == typical_diameter(whole)

    @pytest.mark.parametrize("odd", ["constant", "two constant channels", "unknown"])
    @pytest.mark.parametrize("role", ["training", "validation"])
    def test_a_frame_that_cannot_be_used_is_skipped_and_said(
        self, tmp_path: Path, odd: str, role: str
    ) -> None:
        frames = cells(4)
        strange = dataclasses.replace(frames[2], role=role)
        image = strange.image
        changes = {
            "constant": {"image": np.full_like(image, 7)},
            "two constant channels": {"image": np.full_like(image[..., None], 7) * [1, 2]},
            "unknown": {"labels": np.full_like(strange.labels, UNKNOWN)},
        }
        said = {
            "constant": "t002 (the value 7 in every pixel",
            "two constant channels": "t002 (the value 7 in every pixel",
            "unknown": "t002 (no known pixel)",
        }
        frames[2] = dataclasses.replace(strange, **changes[odd])
        events = list(train(frames, tmp_path / "run", TINY))
        start = events[0]
        used = {*start.training_frames, *start.validation_frames}
        assert used == {"t000", "t001", "t003"}
        assert said[odd] in notices(events)
        again = list(train(frames, tmp_path / "run", TINY, resume=True))
        assert isinstance(again[-1], TrainingEnd)

    def test_numbers_of_channels_are_not_mixed(self, tmp_path: Path) -> None:
        frames = cells(4)
        frames[1] = dataclasses.replace(frames[1], image=np.stack([frames[1].image] * 3, -1))
        with pytest.raises(ValueError, match=r"t001 has 3 channel.*Train on frames of one kind"):
            next(train(frames, tmp_path / "run", TINY))

    def test_kinds_of_labels_are_not_mixed(self, tmp_path: Path) -> None:
        frames = cells()
        frames[1] = dataclasses.replace(frames[1], kind=LabelKind.CLASSES)
        with pytest.raises(ValueError, match=r"one kind of labels.*t00. has (instances|classes)"):
            next(train(frames, tmp_path / "run", TINY))

    def test_one_pixel_of_a_wrong_class_is_said(self, tmp_path: Path) -> None:
        frames = of_classes(3)
        frames[1].labels[0, 0] = 6
        _, said = begun(frames, tmp_path / "run")
        assert "class 3, 4, 5" in said and "7 classes from 0 to 6" in said
        frames[1].labels[0, 0] = 60_000
        with pytest.raises(ValueError, match=r"t001 go up to 60000.*at most 64.*instances"):
            next(train(frames, tmp_path / "other", TINY))

    def test_two_frames_of_one_name_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"Two frames are called 't000'"):
            next(train([*cells(2), *cells(1)], tmp_path / "run", TINY))

    def test_nothing_that_shows_anything(self, tmp_path: Path) -> None:
        frames = [dataclasses.replace(f, image=np.zeros((48, 48))) for f in cells()]
        with pytest.raises(ValueError, match=r"No annotated frame can be.*value 0 in every pixel"):
            next(train(frames, tmp_path / "run", TINY))


class TestTruthThatCannotTeach:
    """Labels that one value everywhere would fit."""

    def test_no_frame_has_an_object(self, tmp_path: Path) -> None:
        frames = [dataclasses.replace(f, labels=np.zeros_like(f.labels)) for f in cells()]
        with pytest.raises(ValueError, match=r"training frames \(t00.*hold no object.*Paint"):
            next(train(frames, tmp_path / "run", TINY))

    def test_empty_frames_beside_one_with_cells_are_learned_from(self, tmp_path: Path) -> None:
        """Whatever the seed draws, the only frame with cells is for training."""
        frames = cells(4)
        for n in (0, 1, 3):
            frames[n] = dataclasses.replace(frames[n], labels=np.zeros_like(frames[n].labels))
        for seed in range(4):
            start, _ = begun(frames, tmp_path / f"{seed}", TINY.replace({"training.seed": seed}))
            assert "t002" in start.training_frames and len(start.validation_frames) == 1

    @pytest.mark.parametrize("kind", [LabelKind.INSTANCES, LabelKind.CLASSES])
    def test_no_known_background(self, tmp_path: Path, kind: LabelKind) -> None:
        frames = cells()
        for n, frame in enumerate(frames):
            labels = np.where(frame.labels == 0, UNKNOWN, frame.labels)
            if kind is LabelKind.CLASSES:
                labels = np.minimum(labels, 1)
            frames[n] = dataclasses.replace(frame, labels=labels, kind=kind)
        with pytest.raises(
            ValueError, match=r"no background is known.*everywhere.*save unlabelled"
        ):
            next(train(frames, tmp_path / "run", TINY))

    def test_a_frame_full_of_cells_has_boundaries_to_learn(self, tmp_path: Path) -> None:
        frames = [
            dataclasses.replace(f, labels=(1 + np.indices((48, 48)).sum(0) // 24).astype(np.int32))
            for f in cells()
        ]
        events = list(train(frames, tmp_path / "run", TINY))
        assert "No pixel of the training frames is known to be background" in notices(events)
        (epoch,) = of(EpochEnd, events)
        assert epoch.seg is not None
        assert epoch.iou is epoch.mean_iou is epoch.pixel_accuracy is None

    def test_two_classes_that_fill_the_frame_need_no_background(self, tmp_path: Path) -> None:
        frames = [
            dataclasses.replace(f, labels=1 + np.minimum(f.labels, 1), kind=LabelKind.CLASSES)
            for f in cells()
        ]
        (epoch,) = of(EpochEnd, list(train(frames, tmp_path / "run", TINY)))
        assert epoch.pixel_accuracy is not None and epoch.mean_iou is not None
        assert epoch.iou is None  # every pixel is above background


class TestScoresThatCouldNotBeWrong:
    """They are None, and do not decide which epoch is the best."""

    def frames(self) -> list[AnnotatedFrame]:
        roles = ("training", "training", "validation")
        made = [dataclasses.replace(f, role=r) for f, r in zip(cells(), roles, strict=True)]
        only = np.where(made[2].labels == 0, UNKNOWN, made[2].labels)
        made[2] = dataclasses.replace(made[2], labels=only)
        return made

    def test_validation_without_known_background(self, tmp_path: Path) -> None:
        config = TINY.replace({"training.best_by": "iou", "training.epochs": 3})
        events = list(train(self.frames(), tmp_path / "run", config))
        for epoch in of(EpochEnd, events):
            assert epoch.iou is epoch.seg is epoch.mean_iou is epoch.pixel_accuracy is None
        losses = [epoch.validation_loss for epoch in of(EpochEnd, events)]
        assert events[-1].best_epoch == 1 + int(np.argmin(losses))
        assert "best_by is iou" in notices(events) and "the loss decides" in notices(events)

    def test_models_cannot_be_compared_by_it(self, tmp_path: Path) -> None:
        list(train(cells(), tmp_path / "run", TINY))
        scores = list(compare_models({"new": tmp_path / "run"}, self.frames()[2:], device="cpu"))
        assert scores[0].iou is None and scores[0].seg is None


class TestVolumes:
    """Adjacent sections are similar: they are in one subset of the split."""

    def volume(self, tmp_path: Path, axes: str, shape: tuple[int, ...]) -> list[AnnotatedFrame]:
        """Write a volume with its labels beside it; planes of black pixels are among them."""
        planes = [cell_frame("", n) for n in range(int(np.prod(shape)))]
        image = np.stack([plane.image for plane in planes]).reshape(*shape, 48, 48)
        labels = np.stack([plane.labels for plane in planes]).reshape(*shape, 48, 48)
        for name, array in (("v.tif", image), ("v_mask.tif", labels.astype(np.uint16))):
            tifffile.imwrite(tmp_path / name, array, imagej=True, metadata={"axes": axes})
        stack = open_stack(tmp_path / "v.tif", kind="instances")
        return annotated_frames(stack)

    @pytest.mark.parametrize("seed", range(4))
    def test_one_end_of_a_z_stack_is_kept(self, tmp_path: Path, seed: int) -> None:
        frames = self.volume(tmp_path, "ZYX", (10,))
        config = TINY.replace({"training.seed": seed, "training.validation_fraction": 0.3})
        start, said = begun(frames, tmp_path / "run", config)
        names = [frame.name for frame in frames]
        kept = sorted(names.index(name) for name in start.validation_frames)
        assert kept in ([0, 1, 2], [7, 8, 9])
        assert "plane by plane" in said and "adjacent sections are similar" in said

    def test_the_smallest_object_is_measured_in_voxels(self, tmp_path: Path) -> None:
        """A volume is separated as a whole, so its smallest object is not that of one plane."""
        depth, rows, columns = np.mgrid[:9, :48, :48]
        ball = (rows - 20) ** 2 + (columns - 24) ** 2 + (depth - 4) ** 2 <= 16
        labels = ball.astype(np.uint16)
        image = (labels * 100 + np.random.default_rng(0).integers(0, 9, labels.shape)).astype(
            np.uint8
        )
        two = {"v.tif": image, "v_mask.tif": labels}
        for name, array in two.items():
            both = np.stack([array, array])  # two time points
            tifffile.imwrite(tmp_path / name, both, imagej=True, metadata={"axes": "TZYX"})
        frames = annotated_frames(open_stack(tmp_path / "v.tif", kind="instances"))
        assert len({frame.volume for frame in frames}) == 2, "test invalid"
        found = adapt(TINY, frames).instances.min_size
        assert found == ball.sum() // 2 > ball[4].sum() // 2
        sections = [dataclasses.replace(frame, volume="") for frame in frames]
        assert adapt(TINY, sections).instances.min_size <= ball[4].sum() // 2

    def test_volumes_are_drawn_whole(self, tmp_path: Path) -> None:
        frames = volumes(4, 3)
        config = TINY.replace({"training.validation_fraction": 0.4})
        start, said = begun(frames, tmp_path / "run", config)
        sides = [
            {name.partition(" ")[0] for name in part}
            for part in (start.training_frames, start.validation_frames)
        ]
        assert not sides[0] & sides[1] and len(sides[1]) == 2
        assert len(start.validation_frames) == 6 and "plane by plane" in said

    def test_a_plane_painted_later_joins_its_volume(self, tmp_path: Path) -> None:
        before = [frame for frame in volumes(3, 3) if frame.section != 1]
        start, _ = begun(before, tmp_path / "run")
        (kept,) = {name.partition(" ")[0] for name in start.validation_frames}
        start, _ = begun(
            volumes(3, 3), tmp_path / "run", TINY.replace({"training.epochs": 2}), resume=True
        )
        assert {name.partition(" ")[0] for name in start.validation_frames} == {kept}
        assert len(start.validation_frames) == 3

    def test_planes_that_show_nothing_are_skipped(self, tmp_path: Path) -> None:
        frames = volumes(2, 3)
        for n in (0, 5):
            frames[n] = dataclasses.replace(frames[n], image=np.zeros((48, 48)))
        start, said = begun(frames, tmp_path / "run")
        assert len(start.training_frames) + len(start.validation_frames) == 4
        assert "Skipped: 01/t000 z00, 01/t001 z02 (the value 0" in said


def volumes(count: int, planes: int) -> list[AnnotatedFrame]:
    return [
        dataclasses.replace(
            cell_frame(f"01/t{t:03d} z{z:02d}", t * planes + z), volume=f"01/t{t:03d}", section=z
        )
        for t in range(count)
        for z in range(planes)
    ]


def of_classes(count: int) -> list[AnnotatedFrame]:
    return [
        dataclasses.replace(f, labels=f.labels % count, kind=LabelKind.CLASSES) for f in cells()
    ]


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run on grey frames with cells."""
    run = tmp_path_factory.mktemp("runs") / "grey"
    list(train(cells(), run, TINY))
    return run


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run on four classes."""
    run = tmp_path_factory.mktemp("runs") / "many"
    list(train(of_classes(4), run, TINY))
    return run


class TestModelsThatDoNotFit:
    """Said in words with both numbers, before anything starts: fine-tuning, resuming, comparing."""

    def coloured(self) -> list[AnnotatedFrame]:
        return [dataclasses.replace(f, image=np.stack([f.image] * 3, -1)) for f in cells()]

    @pytest.mark.parametrize("use", ["fine-tune", "resume", "compare"])
    def test_channels(self, grey: Path, tmp_path: Path, use: str) -> None:
        with pytest.raises(ValueError, match=r"images have 3 channels.*trained on 1"):
            self.use(use, grey, self.coloured(), tmp_path)

    @pytest.mark.parametrize("use", ["fine-tune", "resume", "compare"])
    def test_more_classes(self, grey: Path, tmp_path: Path, use: str) -> None:
        with pytest.raises(ValueError, match=r"labels have 3 classes.*trained on 1"):
            self.use(use, grey, of_classes(3), tmp_path)

    @pytest.mark.parametrize("use", ["fine-tune", "resume", "compare"])
    def test_objects_for_a_network_of_classes(self, many: Path, tmp_path: Path, use: str) -> None:
        with pytest.raises(ValueError, match=r"labels have 2 classes.*trained on 3"):
            self.use(use, many, cells(), tmp_path)

    def use(self, use: str, run: Path, frames: list[AnnotatedFrame], tmp_path: Path) -> None:
        if use == "compare":
            next(compare_models({"old": run}, frames, device="cpu"))
        elif use == "resume":
            next(train(frames, run, TINY.replace({"training.epochs": 5}), resume=True))
        else:
            next(train(frames, tmp_path / "new", TINY, start_from=run))
        assert not (tmp_path / "new").exists()

    def test_a_model_with_distance_is_fine_tuned_on_strokes(
        self, grey: Path, tmp_path: Path
    ) -> None:
        """Strokes alone ask for no distance; the start model's network stays what it is."""
        frames = of_classes(2)
        for frame in frames:
            frame.labels[10:] = UNKNOWN
            frame.labels[:2] = 0
        events = list(train(frames, tmp_path / "run", TINY, start_from=grey))
        assert isinstance(events[-1], TrainingEnd)

    def test_the_unit_of_the_distance_stays(self, tmp_path: Path) -> None:
        """A model trained with another loss gives its distance in its own unit."""
        first = TINY.replace({"training.loss": "bce+mse"})
        list(train(cells(), tmp_path / "first", first))
        still = TINY.replace({"training.learning_rate": 1e-8})
        list(train(cells(), tmp_path / "second", still, start_from=tmp_path / "first"))
        from napari_jnet import load_model, predict_image

        image = cells(1)[0].image
        before, after = (
            predict_image(load_model(tmp_path / name, device="cpu"), image)[1]
            for name in ("first", "second")
        )
        np.testing.assert_allclose(before, after, atol=0.05)


@pytest.mark.parametrize("kind", [np.uint16, np.uint8, np.int64, np.uint64])
def test_labels_of_any_integer_type_are_those_of_int32(kind: type) -> None:
    labels = np.zeros((20, 20), np.int32)
    labels[2:9, 2:9], labels[12:18, 4:16] = 1, 2
    image = labels.astype(np.float32)
    held = AnnotatedFrame("a", image, labels.astype(kind)).labels  # type: ignore[arg-type]
    assert held.dtype == np.int32 and np.array_equal(held, labels)


def test_ids_of_many_digits_do_not_become_others_and_what_labels_cannot_be_is_refused() -> None:
    numbers = np.array([[0, 2**32, 2**40]])
    image = np.zeros((1, 3))
    assert np.array_equal(AnnotatedFrame("a", image, numbers).labels, [[0, 1, 2]])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a: Labels are float64"):
        AnnotatedFrame("a", image, numbers + 0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a: Labels are int32 from -7"):
        AnnotatedFrame("a", image, np.array([[0, -7, 1]], np.int32))


def test_a_training_from_a_model_for_cells_of_any_size_rescales_the_frames(tmp_path: Path) -> None:
    """Twice as large cells are seen as before, so that the first epoch is as good as the model was."""
    learned = TINY.replace(
        {"training.epochs": 14, "training.batches_per_epoch": 8, "training.learning_rate": 0.01}
    )
    small = [cell_frame(f"t{n:03d}", n, (96, 96)) for n in range(3)]
    before = [e for e in train(small, tmp_path / "small", learned) if isinstance(e, EpochEnd)]
    content = read_checkpoint(tmp_path / "small" / "model.pt")
    assert content["config"]["network"]["diameter"] == pytest.approx(12, abs=0.6)
    content["config"]["prediction"]["diameter"] = 0
    content["config"]["instances"]["seed_threshold"] = 0.55
    save_checkpoint(tmp_path / "any.pt", content)

    large = [cell_frame(f"t{n:03d}", n, (192, 192), radius=12) for n in range(3)]
    still = Config().replace(
        {"training.epochs": 1, "training.learning_rate": 1e-8, "training.batches_per_epoch": 2}
    )
    events = train(large, tmp_path / "large", still, start_from=tmp_path / "any.pt")
    (epoch,) = (event for event in events if isinstance(event, EpochEnd))
    config = load_model(tmp_path / "large").config
    assert config.network.scale == pytest.approx(0.5, abs=0.02)
    assert config.targets.dt_bound == pytest.approx(10, abs=0.5)
    assert config.prediction.diameter is None and config.instances.seed_threshold == 0.55
    assert config.instances.min_size > 4 * 20  # of the frames, not of the model
    assert epoch.iou is not None and epoch.iou > before[-1].iou - 0.05 > 0.7
    stack = array_stack(np.stack([frame.image for frame in large]))
    found = next(predict(load_model(tmp_path / "large"), stack))
    assert isinstance(found, FramePrediction)
    cells_found = found.segmentation > 0.5
    truth = large[0].labels > 0
    assert (cells_found & truth).sum() > 0.8 * (cells_found | truth).sum()

    given = still.replace({"network.diameter": 48.0})
    list(train(large, tmp_path / "given", given, start_from=tmp_path / "any.pt"))
    assert load_model(tmp_path / "given").config.network.scale == pytest.approx(0.25, abs=0.01)
    list(train(large, tmp_path / "plain", still, start_from=tmp_path / "small"))
    assert load_model(tmp_path / "plain").config.network.scale == 1


def test_labels_are_those_of_the_full_frame_whatever_the_scale() -> None:
    """The targets of a rescaled frame lie where its pixels lie, in validation and in training."""
    frame = cell_frame("t000", 0, (150, 130), radius=10)
    frame = dataclasses.replace(frame, image=100.0 * (frame.labels > 0))
    config = TINY.replace({"network.scale": 0.37, "network.diameter": 20.0, **STILL})
    device = torch.device("cpu")
    store = load_frames([frame], (0,), device, config)
    levels, targets = draw_batch(store, config, 5.0, torch.Generator().manual_seed(0))
    seen = levels[0][:, 0] > 0.15
    assert (seen == (targets.segmentation > 0)).float().mean() > 0.95
    assert targets.distance.max() == 5.0
    whole = Validation([frame], config.replace({"network.resolution_levels": (0,)}), device)
    expected = frame.labels[np.ix_(*(((np.arange(s) + 0.5) / 0.37).astype(int) for s in (55, 48)))]
    assert np.array_equal(whole.targets(frame).segmentation[0].numpy(), expected > 0)


def test_frames_of_one_pixel_at_the_lowest_level_are_trained_on(tmp_path: Path) -> None:
    """Precision is measured with one patch, whose only pixel there has no spread to normalize by."""
    labels = np.zeros((16, 16), np.int32)
    labels[3:12, 3:12] = 1
    frames = [AnnotatedFrame(f"t{n}", labels + np.eye(16) * n, labels) for n in range(2)]
    config = Config().replace(
        {
            "network.channels": 2,
            "network.resolution_levels": (-4, -3, -2, -1, 0),
            "training.epochs": 1,
            "training.batches_per_epoch": 1,
        }
    )
    assert isinstance(list(train(frames, tmp_path / "run", config))[-1], TrainingEnd)


@pytest.mark.parametrize("levels, scale", [((-2, -1), 1.0), ((-2, -1, 0), 0.37), ((-3, -2), 1.6)])
@pytest.mark.parametrize("shape", [(49, 48), (50, 51), (47, 3)])
def test_the_pixels_that_are_reached_are_those_under_the_top_level(
    levels: tuple[int, ...], scale: float, shape: tuple[int, int]
) -> None:
    """A side that is too short for the levels is mirrored, and all of it is reached."""
    frames = [cell_frame("t0", 1, shape, radius=5), cell_frame("t1", 1, (64, 64))]
    config = TINY.replace({"network.resolution_levels": levels, "network.scale": scale})
    store = load_frames(frames, levels, torch.device("cpu"), config)
    covered = np.ceil(np.array(store.images[0].shape[-2:]) * store.unit)
    assert np.array_equal(store.labels[0].shape, covered)
    assert np.array_equal(
        reached(frames[0].labels, levels, scale).shape, np.minimum(covered, shape)
    )


def test_a_frame_whose_strokes_pooling_drops_is_skipped_which_is_said(tmp_path: Path) -> None:
    """The network sees nothing of the last row of 49; also where it is painted while a training runs."""
    config = TINY.replace({"network.resolution_levels": (-2, -1)})
    edge = cell_frame("edge", 1, (49, 48))
    labels = np.full_like(edge.labels, UNKNOWN)
    labels[48, :20], labels[48, 20:] = 0, 1
    edge = dataclasses.replace(edge, labels=labels, role="training")
    good = dataclasses.replace(cell_frame("good"), role="training")
    start, *events = train([good, edge], tmp_path / "both", config)
    assert isinstance(start, TrainingStart) and isinstance(events[-1], TrainingEnd)
    assert start.training_frames == ("good",)
    assert skipped_frames(events) == ["edge"]
    added = iter([[good, edge]])
    longer = config.replace({"training.epochs": 2})
    events = list(train([good], tmp_path / "live", longer, new_frames=lambda: next(added, None)))
    assert isinstance(events[-1], TrainingEnd)
    assert NewFrames(("good",), (), ()) in events
    assert skipped_frames(events) == ["edge"]
    with pytest.raises(ValueError, match="edge"):
        list(train([edge], tmp_path / "none", config))
    ground = dataclasses.replace(good, labels=np.zeros_like(good.labels))
    with pytest.raises(
        ValueError, match=r"All objects of the training frames \(good, edge\) lie in"
    ):
        list(train([ground, edge], tmp_path / "ground", config))


def skipped_frames(events: Iterable[TrainEvent]) -> list[str]:
    """Return the names after "Skipped:" in the messages of a training."""
    found = [re.match(r"Skipped: (\S+) ", e.text) for e in events if isinstance(e, Message)]
    return [match[1] for match in found if match]
