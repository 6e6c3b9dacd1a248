"""Weights of classes and borders, from the configuration to the loss of training and validation."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_jnet.config import Config
from napari_jnet.events import EpochEnd
from napari_jnet.io.stack import AnnotatedFrame
from napari_jnet.labels import UNKNOWN, LabelKind
from napari_jnet.model import load_model
from napari_jnet.training.loop import train
from napari_jnet.training.losses import border_weights, class_weights, segmentation_loss
from napari_jnet.training.sampler import load_frames
from napari_jnet.training.validate import Validation

WEIGHTED = Config().replace(
    {
        "network.channels": 2,
        "network.resolution_levels": (-1, 0),
        "network.classes": 2,
        "network.distance": False,
        "training.loss": "bce",
        "training.class_balance": True,
        "training.border_weight": 10.0,
        "training.patch_size": 32,
        "training.batch_size": 2,
        "training.batches_per_epoch": 2,
        "training.epochs": 1,
        "training.device": "cpu",
        "training.threads": 1,
        "targets.dt_bound": 5.0,
    }
)


def near_cells(void: bool = False) -> list[AnnotatedFrame]:
    """Two squares with a gap of three pixels; the last columns are void if asked for."""
    frames = []
    for index in range(3):
        labels = np.zeros((48, 49), np.int32)
        labels[10:30, 5:18], labels[10:30, 21:35] = 1, 2
        if void:
            labels[:, 40:] = UNKNOWN
        noise = np.random.default_rng(index).normal(size=labels.shape)
        image = (noise + 2 * (labels > 0)).astype(np.float32)
        frames.append(AnnotatedFrame(f"t{index}", image, labels))
    return frames


def losses_of(run: Path, config: Config) -> tuple[float, float | None]:
    epochs = [e for e in train(near_cells(void=True), run, config) if isinstance(e, EpochEnd)]
    return epochs[-1].train_loss, epochs[-1].validation_loss


@pytest.mark.parametrize("option", ["class_balance", "border_weight"])
def test_each_weight_reaches_both_losses(tmp_path: Path, option: str) -> None:
    both = losses_of(tmp_path / "both", WEIGHTED)
    off = WEIGHTED.training.changed(**{option: type(getattr(WEIGHTED.training, option))()})
    without = losses_of(tmp_path / "without", WEIGHTED.changed(training=off))
    assert both[0] != without[0] and both[1] != without[1]
    assert np.isfinite([*both, *without]).all()


@pytest.mark.parametrize("level", [0, -1])
def test_validation_weighs_with_the_balance_of_the_training_frames(
    tmp_path: Path, level: int
) -> None:
    config = WEIGHTED.replace({"network.resolution_levels": (level - 1, level)})
    list(train(near_cells(), tmp_path / "run", config))
    model = load_model(tmp_path / "run", device="cpu")
    frames = near_cells(void=True)
    balance = class_weights(frames[:2], 2)
    checked = Validation(frames[2:], config, torch.device("cpu"), balance)
    weight = checked.targets(frames[2]).weight
    assert weight is not None
    unit = 2**-level
    labels = frames[2].labels[: 48 // unit * unit, : 49 // unit * unit]
    picked = (slice(unit // 2, None, unit),) * 2
    border = border_weights(torch.from_numpy(frames[2].labels), 10, 5).numpy()
    border = border[: labels.shape[0], : labels.shape[1]][picked]
    expected = balance.numpy()[(labels[picked] > 0).astype(int)] + border
    np.testing.assert_allclose(weight[0], expected, rtol=1e-6)
    assert (
        checked.run(model).loss
        != Validation(frames[2:], config, torch.device("cpu")).run(model).loss
    )


def test_weights_are_of_all_frames_of_the_store() -> None:
    store = load_frames(near_cells(), (0,), torch.device("cpu"), WEIGHTED)
    assert store.borders is not None and store.class_weights is not None
    labels, borders = torch.stack(store.labels), torch.stack(store.borders)
    weight = store.class_weights[(labels > 0).long()] + borders
    gap = weight[:, 20, 18:21]
    assert (gap > weight[:, 2, :1] + 5).all()


def test_a_loss_without_distance_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    config = WEIGHTED.replace({"network.distance": True})
    with pytest.raises(ValueError, match=r"'bce' has no term for the distance"):
        next(train(near_cells(), tmp_path / "run", config))
    assert not list((tmp_path / "run").glob("*.pt"))


def test_two_classes_by_softmax_learn_objects() -> None:
    """The ids of objects are not classes: all are class 1."""
    store = load_frames(near_cells(), (0,), torch.device("cpu"), WEIGHTED)
    assert store.kind is LabelKind.INSTANCES
    checked = Validation(near_cells(), WEIGHTED, torch.device("cpu"))
    for targets in map(checked.targets, checked.frames):
        assert targets.segmentation.unique().tolist() == [0, 1]
        plain = dataclasses.replace(targets, weight=None)
        assert torch.isfinite(segmentation_loss(torch.randn(1, 2, 48, 49), plain))
