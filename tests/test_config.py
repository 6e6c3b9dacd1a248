"""The configuration: checked when made, plain when saved."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_jnet.adaptation import adapt, typical_diameter
from napari_jnet.config import PRESETS, Config, NetworkConfig, TrainingConfig, options, preset
from napari_jnet.data.stack import UNKNOWN, AnnotatedFrame, LabelKind


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json(name: str) -> None:
    config = preset(name)
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_every_option_has_help() -> None:
    for section in (NetworkConfig, TrainingConfig):
        for option in options(section).values():
            assert option.help.endswith((".", ")")), option.name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training.learning_rate": -1.0}, r"learning_rate is -1.0; the smallest is 1e-08"),
        ({"training.epochs": 0}, r"epochs is 0; the smallest is 1"),
        ({"training.epochs": "many"}, r"epochs is 'many'; it must be a number"),
        ({"training.device": "gpu"}, r"device is 'gpu'; it must be one of auto, cpu, cuda, mps"),
        ({"training.learning_rat": 1}, r"did you mean 'learning_rate'"),
        ({"trainin.epochs": 1}, r"did you mean 'training'"),
        ({"network.resolution_levels": [-1, -2]}, r"consecutive and ascending"),
        ({"network.resolution_levels": [0, 1]}, r"the largest is 0"),
        ({"training.seed": None}, r"seed is None; it needs a value such as 0"),
        ({"targets.dt_bound": float("nan")}, r"dt_bound is nan"),
        ({"training.best_by": "clas:2"}, r"best_by is 'clas:2'; it is loss, iou"),
    ],
)
def test_bad_values_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config().replace(changes)


def test_unknown_preset() -> None:
    with pytest.raises(ValueError, match=r"did you mean 'unet'"):
        preset("unett")


def discs(diameter: int, size: int = 256) -> AnnotatedFrame:
    rows, columns = np.ogrid[:size, :size]
    labels = np.zeros((size, size), np.int32)
    labels[(rows - 60) ** 2 + (columns - 60) ** 2 < (diameter / 2) ** 2] = 1
    labels[(rows - 190) ** 2 + (columns - 190) ** 2 < (diameter / 2) ** 2] = 2
    return AnnotatedFrame("t0", labels.astype(np.float32), labels)


def test_the_size_of_the_objects_decides() -> None:
    small, large = (adapt(Config(), [discs(diameter)]) for diameter in (20, 110))
    assert small.network.resolution_levels[-1] == 0
    assert large.network.resolution_levels[-1] < small.network.resolution_levels[-1]
    assert small.targets.dt_bound < large.targets.dt_bound < 55
    assert 0 < small.instances.min_size < 0.5 * np.pi * 10**2


def test_what_is_given_stays() -> None:
    given = Config().replace(
        {
            "targets.dt_bound": 7.0,
            "network.resolution_levels": (-1, 0),
            "instances.min_size": 3,
        }
    )
    found = adapt(given, [discs(110)])
    assert found.targets.dt_bound == 7
    assert found.network.resolution_levels == (-1, 0)
    assert found.instances.min_size == 3


def test_classes_are_measured_by_their_connected_parts() -> None:
    frame = discs(40)
    binary = AnnotatedFrame("t0", frame.image, np.minimum(frame.labels, 1), LabelKind.CLASSES)
    assert adapt(Config(), [binary]).targets == adapt(Config(), [frame]).targets


def test_a_frame_full_of_classes_is_measured_class_by_class() -> None:
    frame = discs(40)
    full = AnnotatedFrame("t0", frame.image, np.where(frame.labels > 0, 2, 1), LabelKind.CLASSES)
    assert typical_diameter([full]) < 100  # not the 256 px of the frame
    assert adapt(Config(), [full]).instances.min_size < 0.5 * np.pi * 20**2


def test_a_network_of_thin_lines_is_as_wide_as_its_lines() -> None:
    labels = np.zeros((256, 256), np.int32)
    labels[::32], labels[:, ::32] = 1, 1
    labels = np.maximum(labels, np.roll(labels, 3, (0, 1)))  # lines of 4 px, all connected
    labels = np.maximum(np.maximum(labels, np.roll(labels, 1, 0)), np.roll(labels, 1, 1))
    lines = AnnotatedFrame("t0", labels.astype(float), labels, LabelKind.CLASSES)
    assert typical_diameter([lines]) < 15
    assert adapt(Config(), [lines]).network.resolution_levels[-1] == 0


def scribbled(length: int) -> AnnotatedFrame:
    """Return a frame with two strokes in cells and one on the background; the rest is unknown."""
    labels = np.full((256, 256), UNKNOWN, np.int32)
    labels[60:63, 20 : 20 + length] = 1
    labels[160 : 160 + length, 120:123] = 1
    labels[120:123, 100:200] = 0
    return AnnotatedFrame("t0", np.zeros((256, 256)), labels, LabelKind.CLASSES)


def test_strokes_are_measured_by_their_length() -> None:
    assert typical_diameter([scribbled(80)]) == pytest.approx(80, abs=1)
    assert typical_diameter([discs(40)]) == pytest.approx(40, abs=1)
    tops = [
        adapt(Config(), [scribbled(length)]).network.resolution_levels[-1]
        for length in (30, 80, 90)
    ]
    assert tops == [0, -1, -1]


def test_strokes_teach_no_distance_but_cells_painted_whole_do() -> None:
    assert not adapt(Config(), [scribbled(60)]).network.distance
    assert adapt(Config(), [scribbled(60)]).instances.min_size == 0  # a stroke is no object
    whole = AnnotatedFrame(
        "t1", np.zeros((256, 256)), np.minimum(discs(40).labels, 1), LabelKind.CLASSES
    )
    assert adapt(Config(), [scribbled(60), whole]).network.distance


def test_colour_frames_have_their_channels() -> None:
    frame = discs(40)
    colour = AnnotatedFrame("t0", np.stack([frame.image] * 3, -1), frame.labels)
    assert adapt(Config(), [colour]).network.in_channels == 3
