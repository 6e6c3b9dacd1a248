"""Scoring while training: in tiles, within a tenth of the work, the same frames every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_jnet.config import Config
from napari_jnet.events import EpochEnd, Message
from napari_jnet.io.stack import AnnotatedFrame
from napari_jnet.labels import UNKNOWN, LabelKind
from napari_jnet.model import load_model, read_checkpoint, save_checkpoint
from napari_jnet.training.loop import train
from napari_jnet.training.sampler import epoch_pixels, load_frames
from napari_jnet.training.validate import Validation

CPU = torch.device("cpu")
TINY = Config().replace(
    {
        "network.channels": 4,
        "network.resolution_levels": (-1, 0),
        "training.patch_size": 32,
        "training.batch_size": 2,
        "training.batches_per_epoch": 2,
        "training.epochs": 5,
        "training.device": "cpu",
        "training.threads": 1,
        "targets.dt_bound": 5.0,
    }
)


def cells(count: int, size: int = 48, role: str = "") -> list[AnnotatedFrame]:
    rows, columns = np.mgrid[:size, :size]
    frames = []
    for n in range(count):
        inside = (rows % 24 - 12) ** 2 + (columns % 24 - 12) ** 2 <= 36
        labels = np.where(inside, 1 + rows // 24 + 100 * (columns // 24), 0).astype(np.int32)
        image = 20 + 100.0 * inside + np.random.default_rng(n).normal(0, 8, labels.shape)
        frames.append(AnnotatedFrame(f"{role}{n:03d}", image, labels, role=role))
    return frames


def test_frames_are_scored_within_a_tenth_of_the_work() -> None:
    """57 frames after each short epoch would take most of the time."""
    store = load_frames(cells(6, 128), (0,), CPU)
    config = TINY.replace(
        {"training.patch_size": 128, "training.batches_per_epoch": 24, "training.batch_size": 4}
    )
    trained = epoch_pixels(store, config)
    assert trained == 24 * 4 * 128**2
    frames = cells(57, 128)
    checked = Validation(frames, config, CPU, trained=trained)
    pixels = sum(frame.labels.size for frame in checked.frames)
    # a trained pixel costs three predicted ones: forward, and backward twice
    assert 5 < len(checked.frames) < 57 and checked.interval == 1
    assert pixels < 0.1 * 3.5 * trained
    assert np.diff([frames.index(frame) for frame in checked.frames]).max() < 12, "spread evenly"
    again = Validation(cells(57, 128), config, CPU, trained=trained)
    assert [f.name for f in again.frames] == [f.name for f in checked.frames]
    assert len(Validation(frames, config, CPU).frames) == 57


def test_a_frame_with_objects_and_every_class_are_among_them() -> None:
    frames = cells(30)
    for n, frame in enumerate(frames):
        frame.labels[:] = 0
        if n in (7, 22):
            frame.labels[9:20] = 1 + (n == 22)
    made = [AnnotatedFrame(f.name, f.image, f.labels, LabelKind.CLASSES) for f in frames]
    config = TINY.replace({"network.classes": 3, "training.best_by": "class:2"})
    checked = Validation(made, config, CPU, trained=40_000)
    assert {"007", "022"} <= {frame.name for frame in checked.frames} and len(checked.frames) < 9
    assert checked.best_by == "class:2"


def test_a_training_says_how_it_is_scored(tmp_path: Path) -> None:
    frames = [*cells(2, 48, "training"), *cells(20, 48, "validation")]
    events = list(train(frames, tmp_path / "run", TINY.replace({"training.epochs": 1})))
    said = [event.text for event in events if isinstance(event, Message)]
    assert any("each epoch is scored on 1 of 20 validation frames" in text for text in said)
    assert events[-2].validation_loss is not None


def test_a_large_frame_is_scored_in_some_epochs_the_first_and_the_last(tmp_path: Path) -> None:
    frames = [*cells(2, 48, "training"), *cells(1, 288, "validation")]
    run, config = tmp_path / "whole", TINY.replace({"training.best_by": "loss"})
    events = list(train(frames, run, config))
    epochs = [event for event in events if isinstance(event, EpochEnd)]
    scored = [epoch.validation_loss is not None for epoch in epochs]
    assert scored == [True, False, False, False, True]
    assert not any(epoch.best for epoch in epochs[1:4])
    job = train(frames, tmp_path / "parts", config)
    while not (isinstance(event := next(job), EpochEnd) and event.epoch == 3):
        pass
    job.close()
    list(train(frames, tmp_path / "parts", config, resume=True))
    histories = [
        [row["validation_loss"] for row in read_checkpoint(tmp_path / name / "last.pt")["history"]]
        for name in ("whole", "parts")
    ]
    assert histories[0] == histories[1]


def test_patience_waits_for_a_score(tmp_path: Path) -> None:
    frames = [*cells(2, 48, "training"), *cells(1, 288, "validation")]
    config = TINY.replace({"training.patience": 1, "training.epochs": 4})
    events = list(train(frames, tmp_path / "run", config))
    assert events[-1].epochs == 4


def test_with_minutes_the_clock_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A score that takes as long as an epoch is made in one epoch of ten or so."""
    clock, run = [0.0], Validation.run

    def slow(*args: object) -> object:
        clock[0] += 0.1
        return run(*args)

    def tick() -> float:
        clock[0] += 0.01
        return clock[0]

    monkeypatch.setattr(Validation, "run", slow)
    monkeypatch.setattr("time.monotonic", tick)
    config = TINY.replace({"training.epochs": None, "training.minutes": 0.05})
    events = list(train(cells(3), tmp_path / "run", config))
    epochs = [event for event in events if isinstance(event, EpochEnd)]
    scored = [epoch.validation_loss is not None for epoch in epochs]
    assert scored[0] and scored[-1]
    assert 0.1 * sum(scored) < 0.2 * epochs[-1].elapsed_s


def test_scores_in_tiles_are_those_of_whole_frames(tmp_path: Path) -> None:
    """The network sees no more than a tile and its halo at once, as in prediction."""
    list(train(cells(3), tmp_path / "run", TINY.replace({"training.epochs": 1})))
    model = load_model(tmp_path / "run", device="cpu")
    frames = cells(1, 144)
    frames[0].labels[:, 100:110] = UNKNOWN
    whole = Validation(frames, model.config, CPU).run(model)
    tiled_config = model.config.replace({"prediction.tile": 32})
    model.config = tiled_config
    seen: list[int] = []
    hook = model.network.register_forward_pre_hook(
        lambda _, args: seen.append(args[0][-1].shape[-1])
    )
    tiled = Validation(frames, tiled_config, CPU).run(model)
    hook.remove()
    assert max(seen) <= 32 + 2 * model.network.halo < 144 and len(seen) == 25
    assert tiled.loss == pytest.approx(whole.loss, rel=1e-4)
    assert tiled.seg == pytest.approx(whole.seg, abs=1e-3)
    assert tiled.iou == pytest.approx(whole.iou, abs=1e-3)


def test_a_best_score_of_other_frames_is_scored_again_on_resume(tmp_path: Path) -> None:
    """The best of a run that scored all frames, or by another score, does not compare with later epochs."""
    frames = [*cells(2, 48, "training"), *cells(9, 48, "validation")]
    config = TINY.replace({"training.epochs": 1, "training.best_by": "loss"})
    list(train(frames, tmp_path / "run", config))
    content = read_checkpoint(tmp_path / "run" / "last.pt")
    assert content["training"]["scored"] == ["loss", "validation000"]
    content["training"].pop("scored")  # as runs had it before
    content["training"]["best_score"] = 1e9
    save_checkpoint(tmp_path / "run" / "last.pt", content)
    list(train(frames, tmp_path / "run", config.replace({"training.epochs": 2}), resume=True))
    assert read_checkpoint(tmp_path / "run" / "last.pt")["training"]["best_score"] < 0
