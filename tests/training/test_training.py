"""Training: it learns, it stops anywhere, it resumes as if it had never stopped."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import re
import shutil
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.measure import label

from napari_jnet.config import Config, preset
from napari_jnet.evaluation.evaluate import evaluate_labels
from napari_jnet.events import (
    BatchEnd,
    EpochEnd,
    Message,
    NewFrames,
    Preview,
    TrainEvent,
    TrainingEnd,
    TrainingStart,
)
from napari_jnet.inference.image import predict_image
from napari_jnet.inference.predict import predict
from napari_jnet.io.axes import array_stack
from napari_jnet.io.stack import AnnotatedFrame
from napari_jnet.labels import UNKNOWN, LabelKind
from napari_jnet.model import load_model, read_checkpoint, save_checkpoint
from napari_jnet.synthetic import touching_cells
from napari_jnet.training import run
from napari_jnet.training.loop import train
from napari_jnet.training.validate import Validation, ValidationScores

AUTO = Config().replace(
    {
        "network.channels": 4,
        "network.resolution_levels": (-2, -1, 0),
        "training.patch_size": 32,
        "training.batch_size": 2,
        "training.batches_per_epoch": 3,
        "training.epochs": 2,
        "training.device": "cpu",
        "training.threads": 1,
        "targets.dt_bound": 5.0,
    }
)
TINY = AUTO.replace({"training.precision": "float32"})  # not measured, so that numbers compare


def cells(count: int = 3, size: int = 48) -> list[AnnotatedFrame]:
    """Bright discs on a dark ground, with noise."""
    rng = np.random.default_rng(0)
    rows, columns = np.ogrid[:size, :size]
    frames = []
    for index in range(count):
        labels = np.zeros((size, size), np.int32)
        for value in range(1, 5):
            y, x = rng.integers(8, size - 8, 2)
            labels[((rows - y) ** 2 + (columns - x) ** 2) < 49] = value
        image = 20 + 100 * (labels > 0) + rng.normal(0, 8, labels.shape)
        frames.append(AnnotatedFrame(f"t{index:03d}", image.astype(np.float32), labels))
    return frames


def weights(path: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(path)["network"]


def assert_same_weights(first: Path, second: Path) -> None:
    other = weights(second)
    for name, value in weights(first).items():
        torch.testing.assert_close(value, other[name], atol=0, rtol=0, msg=name)


def of(kind: type, events: Sequence[TrainEvent]) -> list:
    return [event for event in events if isinstance(event, kind)]


def test_a_run_tells_all_and_leaves_its_files(tmp_path: Path) -> None:
    run = tmp_path / "run"
    events = list(train(cells(), run, TINY))
    assert isinstance(events[0], TrainingStart) and isinstance(events[-1], TrainingEnd)
    assert len(of(BatchEnd, events)) == 6
    epochs = of(EpochEnd, events)
    assert [event.epoch for event in epochs] == [1, 2]
    assert all(event.validation_loss > 0 and 0 <= event.iou <= 1 for event in epochs)
    with (run / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["train_loss"]) for row in rows] == [event.train_loss for event in epochs]
    split = json.loads((run / "split.json").read_text())
    assert sorted(split["training"] + split["validation"]) == ["t000", "t001", "t002"]
    assert len(split["validation"]) == 1
    assert Config.from_dict(json.loads((run / "config.json").read_text())).targets.dt_bound == 5
    assert load_model(run).dt_bound == 5
    assert not list(run.glob("*.part")) and not list(run.glob(".*"))


def test_it_learns(tmp_path: Path) -> None:
    config = TINY.replace(
        {"training.epochs": 12, "training.batches_per_epoch": 6, "training.learning_rate": 0.01}
    )
    epochs = of(EpochEnd, list(train(cells(4), tmp_path / "run", config)))
    assert epochs[-1].iou > 0.8
    assert epochs[-1].validation_loss < 0.75 * epochs[0].validation_loss


def test_before_the_first_step_cells_are_as_rare_as_they_are_annotated(tmp_path: Path) -> None:
    """From even odds, a training first forgets what is rare, such as thin lines."""
    labels = np.zeros((64, 64), np.int32)
    labels[30:33] = 1  # a line, 5 % of the pixels
    image = labels + np.random.default_rng(0).normal(0, 0.5, labels.shape)
    frame = AnnotatedFrame("t000", image.astype(np.float32), labels, LabelKind.CLASSES)
    slow = TINY.replace({"training.learning_rate": 1e-8, "training.epochs": 1})
    list(train([frame], tmp_path / "run", slow))
    predicted, _ = predict_image(load_model(tmp_path / "run"), image)
    assert 0.01 < predicted.mean() < 0.15


def test_it_separates_cells_that_touch(tmp_path: Path) -> None:
    """A threshold joins them, and a distance in another unit leaves them joined or in pieces."""
    images, labels = touching_cells(7, (96, 96), cells=12, diameter=20.0, seed=4)
    labels = labels.astype(np.int32)
    frames = [AnnotatedFrame(f"t{n}", images[n], labels[n]) for n in range(5)]
    config = preset("jnet").replace(
        {
            "network.channels": 8,
            "network.resolution_levels": (-2, -1, 0),
            "training.patch_size": 64,
            "training.batch_size": 4,
            "training.batches_per_epoch": 12,
            "training.epochs": 6,
            "training.learning_rate": 0.01,
            "training.device": "cpu",
            "training.threads": 1,
        }
    )
    list(train(frames, tmp_path / "run", config))
    found = list(predict(load_model(tmp_path / "run"), array_stack(images[5:])))
    *_, scores = evaluate_labels(
        (n, labels[n + 5], frame.instances) for n, frame in enumerate(found)
    )
    *_, joined = evaluate_labels((n, truth, label(truth > 0)) for n, truth in enumerate(labels[5:]))
    assert joined.seg is not None and joined.seg < 0.3
    assert scores.seg is not None and scores.seg > 0.6


def test_bfloat16_learns_and_says_what_it_computed_in(tmp_path: Path) -> None:
    """Weights stay float32, and those of coarser arithmetic are near those of the exact one."""
    for precision in ("float32", "bfloat16"):
        config = TINY.replace({"training.precision": precision})
        epochs = of(EpochEnd, list(train(cells(), tmp_path / precision, config)))
        assert all(np.isfinite(epoch.train_loss) for epoch in epochs)
    exact = weights(tmp_path / "float32/last.pt")
    coarse = weights(tmp_path / "bfloat16/last.pt")
    assert {value.dtype for value in coarse.values()} == {v.dtype for v in exact.values()}
    assert any(not torch.equal(exact[name], coarse[name]) for name in exact)
    for name, value in exact.items():
        torch.testing.assert_close(coarse[name], value, atol=0.05, rtol=0.05, msg=name)


@pytest.mark.parametrize(
    ("exact_s", "coarse_s", "chosen"),
    [
        (0.4, 0.2, "bfloat16"),
        (0.4, 0.38, "float32"),
        (0.2, 0.4, "float32"),
        (0.01, 0.001, "float32"),
    ],
)
def test_the_faster_precision_is_measured_said_recorded_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exact_s: float, coarse_s: float, chosen: str
) -> None:
    """Bfloat16 has to be a tenth faster, and a step long enough to be measured."""
    now = [0.0]

    def timed(network: torch.nn.Module, levels: Sequence[torch.Tensor], *, bfloat16: bool):
        now[0] += coarse_s if bfloat16 else exact_s
        return real(network, levels, bfloat16=bfloat16)

    real = run.run_step
    monkeypatch.setattr(run, "run_step", timed)
    monkeypatch.setattr(run.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(run, "has_bfloat16", lambda device: True)
    events = list(train(cells(), tmp_path / "run", AUTO))
    said = [notice.text for notice in of(Message, events) if "Trains in" in notice.text]
    assert said == (
        []
        if exact_s < 0.02
        else [f"Trains in {chosen}: bfloat16 is {exact_s / coarse_s:.1f} times as fast here."]
    )
    for file in ("config.json", "last.pt"):
        config = (
            json.loads((tmp_path / "run/config.json").read_text())
            if file == "config.json"
            else read_checkpoint(tmp_path / "run/last.pt")["config"]
        )
        assert config["training"]["precision"] == chosen
    exact_s, coarse_s = coarse_s, exact_s  # another computer
    more = AUTO.replace({"training.epochs": 3})
    events = list(train(cells(), tmp_path / "run", more, resume=True))
    assert not [notice for notice in of(Message, events) if "Trains in" in notice.text]
    kept = json.loads((tmp_path / "run/config.json").read_text())["training"]["precision"]
    assert kept == chosen


def test_measuring_the_precision_changes_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "has_bfloat16", lambda device: True)
    dropout = AUTO.replace({"network.dropout": 0.3})
    list(train(cells(), tmp_path / "measured", dropout))
    precision = json.loads((tmp_path / "measured/config.json").read_text())["training"]["precision"]
    list(train(cells(), tmp_path / "told", dropout.replace({"training.precision": precision})))
    assert_same_weights(tmp_path / "measured/last.pt", tmp_path / "told/last.pt")


def test_what_is_kept_is_the_moving_average_of_all_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After step n weights and statistics move by 4 / (n + 4) of the way towards the present ones."""
    monkeypatch.setattr(run, "SAVE_SHARE", float("inf"))
    config = TINY.replace(
        {"training.batches_per_epoch": 1, "training.epochs": 4, "training.learning_rate": 0.05}
    )
    seen = []
    for event in train(cells(), tmp_path / "run", config):
        if isinstance(event, EpochEnd):
            content = read_checkpoint(tmp_path / "run/last.pt")
            seen.append((content["training"]["network"], content["network"]))
    assert len(seen) == 4
    for step in (2, 3, 4):
        (_, before), (present, kept) = seen[step - 2 : step]
        for name, value in kept.items():
            if "num_batches" not in name:
                expected = before[name].lerp(present[name], 4 / (step + 4))
                torch.testing.assert_close(value, expected, msg=name)
        for part in ("weight", "running_var"):
            changed = [not torch.equal(kept[n], present[n]) for n in kept if n.endswith(part)]
            assert all(changed) and changed, part


def test_the_same_seed_gives_the_same_network_and_another_another(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        list(train(cells(), tmp_path / name, TINY.replace({"training.seed": seed})))
    assert_same_weights(tmp_path / "a/last.pt", tmp_path / "b/last.pt")
    with pytest.raises(AssertionError):
        assert_same_weights(tmp_path / "a/last.pt", tmp_path / "c/last.pt")


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
@pytest.mark.parametrize("batches", [2, 3, 4])
def test_resumed_is_as_if_never_stopped(tmp_path: Path, batches: int, schedule: str) -> None:
    """Stopped within the first epoch, at its end, and within the second."""
    config = TINY.replace({"training.schedule": schedule})
    list(train(cells(), tmp_path / "whole", config))
    stopped = train(cells(), tmp_path / "parts", config)
    seen = 0
    while seen < batches:
        seen += isinstance(next(stopped), BatchEnd)
    stopped.close()
    rest = list(train(cells(), tmp_path / "parts", config, resume=True))
    assert len(of(BatchEnd, rest)) == 6 - batches
    assert_same_weights(tmp_path / "whole/last.pt", tmp_path / "parts/last.pt")
    assert_same_weights(tmp_path / "whole/model.pt", tmp_path / "parts/model.pt")
    histories = [
        [
            (row["epoch"], row["train_loss"], row["validation_loss"])
            for row in read_checkpoint(path)["history"]
        ]
        for path in (tmp_path / "whole/last.pt", tmp_path / "parts/last.pt")
    ]
    assert histories[0] == histories[1]


def test_stopped_at_the_first_batch_there_is_a_model(tmp_path: Path) -> None:
    job = train(cells(), tmp_path / "run", TINY)
    while not isinstance(next(job), BatchEnd):
        pass
    job.close()
    assert load_model(tmp_path / "run/model.pt").network is not None
    assert read_checkpoint(tmp_path / "run/last.pt")["training"]["batch"] == 1


def test_a_failure_keeps_what_was_learnt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = train(cells(), tmp_path / "run", TINY)
    while not isinstance(next(job), BatchEnd):
        pass

    def fail(*_: object) -> None:
        raise MemoryError("no memory")

    monkeypatch.setattr("napari_jnet.training.loop.draw_batch", fail)
    with pytest.raises(MemoryError):
        list(job)
    assert read_checkpoint(tmp_path / "run/last.pt")["training"]["step"] == 1


def test_a_loss_that_explodes_leaves_the_last_good_epoch(tmp_path: Path) -> None:
    job = train(cells(), tmp_path / "run", TINY.replace({"training.epochs": 9}))
    while not isinstance(next(job), EpochEnd):
        pass
    before = (tmp_path / "run/last.pt").read_bytes()
    exploding = torch.tensor(float("nan"), requires_grad=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.nn.functional.smooth_l1_loss", lambda *_, **__: exploding)
        with pytest.raises(ArithmeticError, match=r"not finite in epoch 2.*smaller learning rate"):
            list(job)
    assert (tmp_path / "run/last.pt").read_bytes() == before


def test_weights_that_explode_at_the_end_of_an_epoch_are_never_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, step = [0], torch.optim.AdamW.step

    def exploding(optimizer: torch.optim.AdamW) -> None:
        step(optimizer)
        steps[0] += 1
        if steps[0] == 6:  # the last one of epoch 2, whose loss is finite and the best
            with torch.no_grad():
                optimizer.param_groups[0]["params"][0].fill_(np.inf)

    monkeypatch.setattr(torch.optim.AdamW, "step", exploding)
    # without validation frames the loss decides
    job = train(cells(1), tmp_path / "run", TINY.replace({"training.epochs": 9}))
    with pytest.raises(ArithmeticError, match="not finite in epoch 3"):
        list(job)
    assert len(load_model(tmp_path / "run/model.pt").config.network.resolution_levels) == 3
    with (tmp_path / "run/history.csv").open() as file:
        assert [row["best"] for row in csv.DictReader(file)] == ["True", "False"]


def test_stopping_with_weights_that_exploded_keeps_the_earlier_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = torch.optim.AdamW.step

    def exploding(optimizer: torch.optim.AdamW) -> None:
        step(optimizer)
        with torch.no_grad():
            optimizer.param_groups[0]["params"][0].fill_(np.inf)

    job = train(cells(), tmp_path / "run", TINY.replace({"training.epochs": 9}))
    while not isinstance(next(job), EpochEnd):
        pass
    before = (tmp_path / "run/last.pt").read_bytes()
    monkeypatch.setattr(torch.optim.AdamW, "step", exploding)
    next(job)  # the loss is that of the step before
    job.close()
    assert (tmp_path / "run/last.pt").read_bytes() == before


def test_more_epochs_can_be_added(tmp_path: Path) -> None:
    list(train(cells(), tmp_path / "run", TINY))
    more = list(train(cells(), tmp_path / "run", TINY.replace({"training.epochs": 3}), resume=True))
    assert [event.epoch for event in of(EpochEnd, more)] == [3]


def test_a_time_budget_ends_the_training(tmp_path: Path) -> None:
    config = TINY.replace({"training.epochs": None, "training.minutes": 0.01})
    events = list(train(cells(), tmp_path / "run", config))
    assert isinstance(events[-1], TrainingEnd) and of(EpochEnd, events)
    assert of(BatchEnd, events)[-1].progress <= 1


def test_fine_tuning_starts_from_the_weights_and_the_shape_of_a_model(tmp_path: Path) -> None:
    list(train(cells(), tmp_path / "first", TINY))
    config = Config(training=TINY.training).replace(
        {"training.learning_rate": 1e-8, "training.epochs": 1}
    )
    list(train(cells(), tmp_path / "second", config, start_from=tmp_path / "first"))
    first, second = weights(tmp_path / "first/model.pt"), weights(tmp_path / "second/last.pt")
    assert first.keys() == second.keys()
    torch.testing.assert_close(first["head.weight"], second["head.weight"], atol=1e-5, rtol=1e-4)


class TestWhatIsGiven:
    """Which settings a resumed run, or a start model, accepts and refuses."""

    @pytest.fixture(scope="class")
    @staticmethod
    def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A run of 5 epochs, stopped after the first."""
        run = tmp_path_factory.mktemp("given") / "run"
        events = train(cells(), run, TINY.replace({"training.epochs": 5}))
        next(event for event in events if isinstance(event, EpochEnd))
        events.close()
        return run

    @pytest.fixture
    def run(self, stopped: Path, tmp_path: Path) -> Path:
        return Path(shutil.copytree(stopped, tmp_path / "copy"))

    @staticmethod
    def saved(run: Path) -> Config:
        saved = Config.from_dict(json.loads((run / "config.json").read_text()))
        assert saved == Config.from_dict(read_checkpoint(run / "last.pt")["config"])
        return saved

    @pytest.mark.parametrize(
        "given",
        [
            {},
            {"training.threads": 2},
            {"training.device": "cpu", "training.precision": "float32", "training.patience": 9},
            {"training.device": "auto", "prediction.tile": 64},
            {"network.channels": 4, "network.resolution_levels": (), "targets.dt_bound": None},
            {"network.in_channels": 3, "network.distance_scale": 2.0},
            {"training.minutes": None, "training.epochs": None},
        ],
    )
    def test_the_budget_stays_whatever_else_is_given(
        self, run: Path, given: dict[str, object]
    ) -> None:
        before = self.saved(run)
        rest = list(train(cells(), run, Config().replace(given), resume=True))
        assert len(of(BatchEnd, rest)) == 4 * 3 and not of(Message, rest)
        decided = ("network.in_channels", "network.distance_scale")  # by frames and loss
        taken = {key: v for key, v in given.items() if v and key not in decided}
        assert self.saved(run) == before.replace(taken)
        assert (before.training.epochs, before.training.minutes) == (5, None)

    @pytest.mark.parametrize(
        ("given", "epochs", "minutes"),
        [
            ({"training.epochs": 2}, 2, None),
            ({"training.epochs": 7, "training.threads": 1}, 7, None),
            ({"training.minutes": 300.0}, None, 300.0),
        ],
    )
    def test_another_budget_takes_the_place_of_the_first(
        self, run: Path, given: dict[str, object], epochs: int | None, minutes: float | None
    ) -> None:
        events = train(cells(), run, Config().replace(given), resume=True)
        next(event for event in events if isinstance(event, BatchEnd))
        events.close()
        training = self.saved(run).training
        assert (training.epochs, training.minutes) == (epochs, minutes)

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"training.batch_size": 4}, "training.batch_size=2, not training.batch_size=4"),
            ({"training.seed": 7}, "training.seed=0, not training.seed=7"),
            ({"network.name": "jnet"}, "network.name=unet, not network.name=jnet"),
            ({"network.resolution_levels": (-1, 0)}, r"levels=[-2, -1, 0], not network"),
            ({"targets.dt_bound": 9.0}, "targets.dt_bound=5.0, not targets.dt_bound=9.0"),
            ({"network.classes": 3}, "network.classes=1, not network.classes=3"),
            ({"network.distance": False}, "network.distance=true, not network.distance=false"),
            ({"instances.seed_threshold": 0.3}, "not instances.seed_threshold=0.3"),
            ({"training.epochs": 1}, "training.epochs is 1, but the run"),
        ],
    )
    def test_what_a_run_cannot_take_is_refused(
        self, run: Path, given: dict[str, object], said: str
    ) -> None:
        before = {path.name: path.read_bytes() for path in run.glob("*.*")}
        with pytest.raises(ValueError, match=re.escape(said)) as caught:
            next(train(cells(), run, Config().replace(given), resume=True))
        assert "eave " in str(caught.value) and "\n" not in str(caught.value)
        assert before == {path.name: path.read_bytes() for path in run.glob("*.*")}

    def test_settings_that_were_not_asked_for_by_name_are_counted(self, run: Path) -> None:
        paper = preset("unet-paper").replace({"training.threads": 1})
        with pytest.raises(
            ValueError, match=r"\.\.\., not .*; a training that continues from it keeps"
        ):
            next(train(cells(), run, paper, resume=True))

    def test_the_whole_configuration_of_the_run_is_no_other(self, run: Path) -> None:
        again = list(train(cells(), run, self.saved(run), resume=True))
        assert len(of(BatchEnd, again)) == 4 * 3

    def test_a_finished_training_sends_a_notice(self, tmp_path: Path) -> None:
        list(train(cells(), tmp_path / "run", TINY))
        for config in (None, TINY, Config().replace({"training.threads": 1})):
            again = list(train(cells(), tmp_path / "run", config, resume=True))
            assert not of(BatchEnd, again)
            (notice,) = of(Message, again)
            assert "has used its budget after 2 epochs" in notice.text
        assert self.saved(tmp_path / "run").training.epochs == 2

    def test_a_run_of_a_gpu_resumes_without_one(
        self, run: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        content = read_checkpoint(run / "last.pt")
        content["config"]["training"]["device"] = "cuda"
        save_checkpoint(run / "last.pt", content)
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        with pytest.raises(ValueError, match="Use auto or cpu"):
            next(train(cells(), run, resume=True))
        cpu = Config().replace({"training.device": "cpu"})
        assert len(of(BatchEnd, list(train(cells(), run, cpu, resume=True)))) == 4 * 3
        assert self.saved(run).training.device == "cpu"

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"network.channels": 8}, "network.channels=4, not network.channels=8"),
            ({"network.channels": 16}, "network.channels=4, not network.channels=16"),
            ({"network.name": "jnet"}, "network.name=unet, not network.name=jnet"),
            ({"network.resolution_levels": (0,)}, "not network.resolution_levels=[0]"),
            ({"targets.dt_bound": 3.0}, "targets.dt_bound=5.0, not targets.dt_bound=3.0"),
            ({"targets.distance_metric": "euclidean"}, "not targets.distance_metric=euclidean"),
        ],
    )
    def test_what_a_start_model_cannot_take_is_refused(
        self, stopped: Path, tmp_path: Path, given: dict[str, object], said: str
    ) -> None:
        config = Config(training=TINY.training).replace(given)
        with pytest.raises(ValueError, match=re.escape(said)):
            next(train(cells(), tmp_path / "run", config, start_from=stopped))
        assert not (tmp_path / "run").exists()

    def test_a_start_model_takes_what_is_of_the_training(
        self, stopped: Path, tmp_path: Path
    ) -> None:
        before = self.saved(stopped)
        config = TINY.replace({"training.batch_size": 3, "training.loss": "bce+mse"})
        events = train(cells(), tmp_path / "run", config, start_from=stopped)
        assert isinstance(next(events), TrainingStart)
        events.close()
        settled = json.loads((tmp_path / "run" / "config.json").read_text())
        assert settled["training"]["batch_size"] == 3
        assert settled["network"] == before.network.to_dict(), "its weights are those of this head"

    def test_strokes_teach_a_start_model_with_a_distance(
        self, stopped: Path, tmp_path: Path
    ) -> None:
        strokes = []
        for frame in cells():
            labels = np.full(frame.labels.shape, UNKNOWN, np.int32)
            labels[10:13, 5:30], labels[30:33, 5:30] = 1, 0
            strokes.append(dataclasses.replace(frame, labels=labels, kind=LabelKind.CLASSES))
        one = Config(training=TINY.training).replace({"training.epochs": 1})
        list(train(strokes, tmp_path / "run", one, start_from=stopped))
        assert load_model(tmp_path / "run").config.network.distance


def test_a_training_that_cannot_begin_leaves_no_folder(tmp_path: Path) -> None:
    broken, run = tmp_path / "model.pt", tmp_path / "runs" / "001"
    broken.write_bytes(b"half a model")
    with pytest.raises(ValueError, match=r"model\.pt"):
        next(train(cells(), run, TINY, start_from=broken))
    assert not run.exists()
    run.mkdir(parents=True)
    with pytest.raises(ValueError, match=r"model\.pt"):
        next(train(cells(), run, TINY, start_from=broken))
    assert run.exists()  # not made by this run


def test_preview_is_given_for_the_image_that_is_looked_at(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (37, 41)).astype(np.uint8)
    events = list(train(cells(), tmp_path / "run", TINY, preview=lambda: image))
    previews = of(Preview, events)
    assert previews and previews[0].segmentation.shape == (37, 41)
    assert previews[0].distance.max() <= 5


def test_a_long_epoch_is_previewed_before_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_jnet.training.loop.PREVIEW_WITHIN_EPOCH_S", 0.0)
    image = np.random.default_rng(0).integers(0, 255, (37, 41)).astype(np.uint8)
    seen = {}
    for name, preview in (("seen", lambda: image), ("alone", None)):
        config = TINY.replace({"training.epochs": 1, "training.batches_per_epoch": 4})
        seen[name] = list(train(cells(), tmp_path / name, config, preview=preview))
    kinds = [type(event) for event in seen["seen"]]
    assert kinds.index(Preview) < kinds.index(EpochEnd)
    first, second = (weights(tmp_path / name / "last.pt") for name in seen)
    assert all(torch.equal(first[key], second[key]) for key in first), "a look changes nothing"


def test_one_frame_trains_and_says_what_that_means(tmp_path: Path) -> None:
    events = list(train(cells(1), tmp_path / "run", TINY))
    assert "Annotate another frame" in of(Message, events)[0].text
    assert of(EpochEnd, events)[0].validation_loss is None
    assert isinstance(events[-1], TrainingEnd)


def test_roles_are_kept(tmp_path: Path) -> None:
    frames = [
        AnnotatedFrame(f.name, f.image, f.labels, f.kind, role)
        for f, role in zip(cells(), ("training", "validation", "training"), strict=True)
    ]
    start = next(train(frames, tmp_path / "run", TINY))
    assert isinstance(start, TrainingStart)
    assert start.validation_frames == ("t001",)


def test_the_memory_in_use_is_reported(tmp_path: Path) -> None:
    ends = of(EpochEnd, list(train(cells(), tmp_path / "run", TINY)))
    assert all(end.memory_mb is not None and end.memory_mb > 1 for end in ends)
    assert "memory_mb" in (tmp_path / "run/history.csv").read_text(encoding="utf-8")


def test_time_between_two_events_is_no_training_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    elapsed = []
    for event in train(cells(), tmp_path / "run", TINY):
        clock[0] += 60.0  # the caller pauses for a minute
        if isinstance(event, EpochEnd):
            elapsed.append(event.elapsed_s)
    assert elapsed == [0.0, 0.0]


class TestNewFrames:
    """Annotations change while a training runs."""

    def given(self, *updates: list[AnnotatedFrame] | None):
        waiting = list(updates)
        return lambda: waiting.pop(0) if waiting else None

    def test_what_is_painted_meanwhile_is_learned_from(self, tmp_path: Path) -> None:
        config = TINY.replace({"training.epochs": 3})
        before, after = cells(3), cells(5)
        events = list(
            train(before, tmp_path / "run", config, new_frames=self.given(None, after, None))
        )
        (update,) = of(NewFrames, events)
        assert update.added == ("t003", "t004")
        (start,) = of(TrainingStart, events)
        assert update.validation_frames == start.validation_frames  # nothing leaks
        assert {*update.training_frames} == {*start.training_frames, "t003", "t004"}
        assert read_checkpoint(tmp_path / "run/last.pt")["split"]["training"] == [
            *update.training_frames
        ]
        ends = [type(event) for event in events if isinstance(event, (EpochEnd, NewFrames))]
        assert ends == [EpochEnd, EpochEnd, NewFrames, EpochEnd]

    def test_it_is_the_new_labels_that_count(self, tmp_path: Path) -> None:
        """From the second epoch on, the weights are those of a training on the other labels."""
        config = TINY.replace({"training.epochs": 3})
        changed = cells(3)
        for frame in changed:
            frame.labels[:] = frame.labels[::-1]
        list(train(cells(3), tmp_path / "same", config))
        list(train(cells(3), tmp_path / "given", config, new_frames=self.given(cells(3))))
        assert_same_weights(tmp_path / "same/last.pt", tmp_path / "given/last.pt")
        list(train(cells(3), tmp_path / "other", config, new_frames=self.given(changed)))
        with pytest.raises(AssertionError):
            assert_same_weights(tmp_path / "same/last.pt", tmp_path / "other/last.pt")

    def test_a_frame_that_gets_a_role_changes_side(self, tmp_path: Path) -> None:
        moved = cells(4)
        moved[3] = dataclasses.replace(moved[3], role="validation")
        (update,) = of(
            NewFrames, list(train(cells(3), tmp_path / "run", TINY, new_frames=self.given(moved)))
        )
        assert "t003" in update.validation_frames and len(update.validation_frames) == 2

    def test_a_resumed_run_learns_from_more_frames_too(self, tmp_path: Path) -> None:
        list(train(cells(3), tmp_path / "run", TINY))
        longer = TINY.replace({"training.epochs": 3})
        start = next(train(cells(4), tmp_path / "run", longer, resume=True))
        assert isinstance(start, TrainingStart) and start.start_epoch == 2
        assert "t003" in start.training_frames

    def test_a_frame_that_shows_nothing_is_skipped_and_said(self, tmp_path: Path) -> None:
        more = cells(5)
        more[3] = dataclasses.replace(more[3], image=np.full((48, 48), 7.0))
        events = list(train(cells(3), tmp_path / "run", TINY, new_frames=self.given(more)))
        (update,) = of(NewFrames, events)
        assert update.added == ("t004",)
        assert any("t003 (the value 7 in every pixel" in n.text for n in of(Message, events))

    @pytest.mark.parametrize("fault", ["empty", "class"])
    def test_annotations_that_cannot_be_used_end_no_training(
        self, tmp_path: Path, fault: str
    ) -> None:
        def classes(count: int) -> list[AnnotatedFrame]:
            return [
                dataclasses.replace(f, kind=LabelKind.CLASSES, labels=np.minimum(f.labels, 1))
                for f in cells(count)
            ]

        wrong = [] if fault == "empty" else classes(4)
        if fault == "class":
            wrong[3].labels[:9] = 3
        events = list(train(classes(3), tmp_path / "run", TINY, new_frames=self.given(wrong)))
        assert isinstance(events[-1], TrainingEnd)
        assert not of(NewFrames, events)
        said = {"empty": "no annotated frame", "class": "4 classes"}
        assert any(said[fault] in notice.text for notice in of(Message, events))


class TestBadInput:
    def test_no_frames(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"no annotated frame.*at least one"):
            next(train([], tmp_path / "run", TINY))

    def test_empty_labels(self, tmp_path: Path) -> None:
        frame = AnnotatedFrame("t0", cells(1)[0].image, np.zeros((48, 48), np.int32))
        with pytest.raises(ValueError, match=r"training frames \(t0\) hold no object.*Paint"):
            next(train([frame], tmp_path / "run", TINY))

    def test_sizes_differ(self) -> None:
        with pytest.raises(ValueError, match=r"t0.*\(40, 48\).*\(48, 48\)"):
            AnnotatedFrame("t0", np.zeros((48, 48)), np.zeros((40, 48), np.int32))

    def test_nan(self, tmp_path: Path) -> None:
        frames = cells()
        frames[0].image[3, 4] = np.nan
        frames[1].image[3, 4] = np.nan
        with pytest.raises(ValueError, match=r"t00. has 1 pixel\(s\) that are NaN"):
            next(train(frames, tmp_path / "run", TINY))

    def test_a_run_is_not_overwritten(self, tmp_path: Path) -> None:
        list(train(cells(), tmp_path / "run", TINY))
        before = (tmp_path / "run/model.pt").read_bytes()
        with pytest.raises(FileExistsError, match=r"holds a trained model already"):
            next(train(cells(), tmp_path / "run", TINY))
        assert (tmp_path / "run/model.pt").read_bytes() == before

    def test_nothing_to_resume(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"no training to resume"):
            next(train(cells(), tmp_path / "run", TINY, resume=True))

    def test_resumed_with_other_frames(self, tmp_path: Path) -> None:
        list(train(cells(3), tmp_path / "run", TINY))
        with pytest.raises(ValueError, match=r"missing now: t002. Resume with these"):
            next(train(cells(2), tmp_path / "run", TINY, resume=True))

    def test_resumed_from_a_damaged_state(self, tmp_path: Path) -> None:
        """Torch takes nearly any state, and fails with it in the middle of the training."""
        run = tmp_path / "run"
        list(train(cells(3), run, TINY))
        damages: list[tuple[str, Callable[[dict], object]]] = [
            ("exp_avg", lambda state: state["optimizer"]["state"][0].update(exp_avg=torch.ones(2))),
            ("lr", lambda state: state["optimizer"]["param_groups"][0].update(lr="x")),
            ("step", lambda state: state["optimizer"]["state"][0].update(step="x")),
            ("schedule", lambda state: state["schedule"].update(best="x")),
            ("schedule", lambda state: state.update(schedule=None)),
            ("training", lambda state: state.update(generator=torch.ones(3).byte())),
            ("elapsed_s", lambda state: state.update(elapsed_s=float("nan"))),
            ("epoch", lambda state: state.update(epoch=-1)),
            ("history", lambda state: state.update(history=[1, 2])),
        ]
        for named, damage in damages:
            content = read_checkpoint(run / "last.pt")
            damage(content["training"])
            torch.save(content, run / "bad.pt")
            files = {path: path.read_bytes() for path in run.glob("*.csv")}
            os.replace(run / "last.pt", run / "kept.pt")
            os.replace(run / "bad.pt", run / "last.pt")
            more = TINY.replace({"training.epochs": 3})
            with pytest.raises(ValueError, match=rf"last\.pt cannot be read .*{named}.*damaged"):
                list(train(cells(3), run, more, resume=True))
            assert files == {path: path.read_bytes() for path in run.glob("*.csv")}
            os.replace(run / "kept.pt", run / "last.pt")

    def test_a_file_where_the_folder_should_be(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(OSError, match=r"cannot be written.*Choose another folder"):
            next(train(cells(), tmp_path / "file" / "run", TINY))

    @pytest.mark.parametrize("name", ["config.json", "history.csv"])
    def test_no_space_left_for_the_small_files_is_reported(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        replace = os.replace

        def full(source: Path, target: Path) -> None:
            if Path(target).name == name:
                raise OSError(28, "No space left on device")
            replace(source, target)

        monkeypatch.setattr("napari_jnet.files.os.replace", full)
        with pytest.raises(
            OSError, match=rf"{name} cannot be written: the disk is full.*Free some"
        ):
            list(train(cells(), tmp_path / "run", TINY))
        assert not list((tmp_path / "run").glob("*.part"))
        assert not list((tmp_path / "run").glob(".*"))

    def test_no_space_left_keeps_the_earlier_checkpoint(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = train(cells(), tmp_path / "run", TINY)
        while not isinstance(next(job), EpochEnd):
            pass
        before = (tmp_path / "run/last.pt").read_bytes()

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("napari_jnet.files.os.fsync", full)
        with pytest.raises(OSError, match=r"disk is full.*saved before is unchanged"):
            list(job)
        assert (tmp_path / "run/last.pt").read_bytes() == before
        assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
            "config.json",
            "history.csv",
            "last.pt",
            "model.pt",
            "split.json",
        ]


def coloured(count: int = 3) -> list[AnnotatedFrame]:
    """Three classes: ground, bright discs and dark discs."""
    frames = []
    for frame in cells(count):
        labels = np.where(frame.labels > 2, 2, np.minimum(frame.labels, 1)).astype(np.int32)
        image = frame.image - 200 * (labels == 2)
        legend = (("background", "#000000"), ("bright", "#ff0000"), ("dark", "#00ff00"))
        frames.append(AnnotatedFrame(frame.name, image, labels, LabelKind.CLASSES, classes=legend))
    return frames


SOFTMAX = TINY.replace({"network.classes": 2, "network.distance": False})


class TestReferenceSystems:
    """Settings of the reference systems."""

    def test_classes_are_as_many_as_the_labels_have_and_each_is_scored(
        self, tmp_path: Path
    ) -> None:
        events = list(train(coloured(), tmp_path / "run", SOFTMAX))
        epoch = of(EpochEnd, events)[-1]
        assert len(epoch.class_iou) == len(epoch.class_accuracy) == 3
        assert epoch.mean_iou == pytest.approx(np.mean(epoch.class_iou))
        assert 0 < epoch.pixel_accuracy <= 1
        saved = load_model(tmp_path / "run").config
        assert saved.network.classes == 3
        assert saved.targets.classes[2] == ("dark", "#00ff00")
        with (tmp_path / "run/history.csv").open() as file:
            row = list(csv.DictReader(file))[-1]
        assert [float(v) for v in row["class_iou"].split()] == pytest.approx(
            epoch.class_iou, abs=1e-5
        )

    def test_two_classes_by_softmax_learn_objects(self, tmp_path: Path) -> None:
        config = SOFTMAX.replace(
            {
                "training.epochs": 12,
                "training.batches_per_epoch": 6,
                "training.learning_rate": 0.01,
            }
        )
        epochs = of(EpochEnd, list(train(cells(4), tmp_path / "run", config)))
        assert epochs[-1].class_iou[1] == pytest.approx(epochs[-1].iou)
        assert epochs[-1].iou > 0.8 and epochs[-1].seg is not None

    def test_patience_ends_a_training_that_gets_no_better(self, tmp_path: Path) -> None:
        config = TINY.replace({"training.patience": 2, "training.epochs": 50})
        config = config.replace({"training.learning_rate": 1.0, "training.optimizer": "sgd"})
        config = config.replace({"training.schedule": "constant", "training.momentum": 0.0})
        events = list(train(cells(), tmp_path / "run", config))
        end = events[-1]
        assert isinstance(end, TrainingEnd) and end.epochs == end.best_epoch + 2 < 50
        assert "not improved since epoch" in of(Message, events)[-1].text
        again = list(train(cells(), tmp_path / "run", config, resume=True))
        assert not of(BatchEnd, again), "resumed as if never stopped: it is over"

    @pytest.mark.parametrize("best_by", ["iou", "mean_iou", "seg", "class:0"])
    def test_the_best_epoch_is_the_best_by_its_score(self, tmp_path: Path, best_by: str) -> None:
        config = TINY.replace({"training.best_by": best_by, "training.epochs": 4})
        events = list(train(cells(), tmp_path / "run", config))
        scores = [
            (e.class_iou[0] if best_by == "class:0" else getattr(e, best_by), -e.validation_loss)
            for e in of(EpochEnd, events)
        ]
        assert events[-1].best_epoch == 1 + scores.index(max(scores))

    def test_the_last_epoch_is_kept(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also where the scores of the validation frames get worse."""
        left = [0.9, 0.8, 0.7, 0.6]
        monkeypatch.setattr(
            Validation, "run", lambda *_: ValidationScores(loss=1 - left[0], seg=left.pop(0))
        )
        events = list(train(cells(), tmp_path / "run", TINY.replace({"training.epochs": 4})))
        assert events[-1].best_epoch == 4
        assert all(epoch.best for epoch in of(EpochEnd, events))
        assert_same_weights(tmp_path / "run/last.pt", tmp_path / "run/model.pt")

    def test_with_patience_seg_chooses_for_objects_and_the_mean_iou_for_classes(
        self, tmp_path: Path
    ) -> None:
        for name, frames, by in (("objects", cells(), "seg"), ("classes", coloured(), "mean_iou")):
            config = SOFTMAX if name == "classes" else TINY
            more = config.replace({"training.epochs": 4, "training.patience": 4})
            events = list(train(frames, tmp_path / name, more))
            assert not [m for m in of(Message, events) if "best_by" in m.text]
            scores = [(getattr(e, by), -e.validation_loss) for e in of(EpochEnd, events)]
            assert events[-1].best_epoch == 1 + scores.index(max(scores))

    @pytest.mark.parametrize("losses", [(3.0, 2.0, 2.5), (1.0, 2.0, 3.0)])
    def test_of_epochs_that_score_the_same_the_one_with_the_smallest_loss_is_best(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, losses: tuple[float, ...]
    ) -> None:
        left = list(losses)
        monkeypatch.setattr(
            Validation, "run", lambda *_: ValidationScores(loss=left.pop(0), seg=1.0)
        )
        config = TINY.replace({"training.epochs": 3, "training.best_by": "seg"})
        events = list(train(cells(), tmp_path / "run", config))
        assert events[-1].best_epoch == 1 + losses.index(min(losses))

    def test_scores_on_new_frames_do_not_compare_with_losses_on_the_old_ones(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A SEG of 1 on all of them, and a loss that is larger on the new frames, and falls."""
        left = [0.1, 4.9, 4.8, 4.7, 4.6]  # the second: the epoch that is kept, on the new frames
        monkeypatch.setattr(
            Validation, "run", lambda *_: ValidationScores(loss=left.pop(0), seg=1.0)
        )
        first, *others = (dataclasses.replace(frame, role="training") for frame in cells(3))
        checked = [dataclasses.replace(frame, role="validation") for frame in others]
        added = iter([[first, *checked]])
        config = TINY.replace({"training.epochs": 4, "training.patience": 3})
        events = train(
            [first, checked[0]], tmp_path / "run", config, new_frames=lambda: next(added, None)
        )
        assert list(events)[-1].best_epoch == 4

    def test_patience_without_validation_frames_looks_at_the_training_loss(
        self, tmp_path: Path
    ) -> None:
        frames = [dataclasses.replace(frame, role="training") for frame in cells()]
        config = TINY.replace({"training.patience": 1, "training.epochs": 50})
        config = config.replace({"training.learning_rate": 1.0, "training.optimizer": "sgd"})
        config = config.replace({"training.schedule": "constant", "training.momentum": 0.0})
        events = list(train(frames, tmp_path / "run", config))
        assert events[-1].epochs < 50
        assert "loss has not improved since epoch" in of(Message, events)[-1].text

    def test_a_network_saved_with_an_option_that_it_did_not_have_is_read(
        self, tmp_path: Path
    ) -> None:
        """U-Nets of November 2026 had the losses of the levels in their settings, but no such layers."""
        config = TINY.replace({"network.deep_supervision": False})
        list(train(cells(), tmp_path / "run", config))
        for name in ("model.pt", "last.pt"):
            content = read_checkpoint(tmp_path / "run" / name)
            content["config"]["network"]["deep_supervision"] = True
            save_checkpoint(tmp_path / "run" / name, content)
        assert not load_model(tmp_path / "run").config.network.deep_supervision
        more = TINY.replace({"training.epochs": 3})
        resumed = list(train(cells(), tmp_path / "run", more, resume=True))
        assert resumed[-1].epochs == 3
        tuned = list(train(cells(), tmp_path / "tuned", TINY, start_from=tmp_path / "run"))
        assert isinstance(tuned[-1], TrainingEnd)

    def test_without_averaging_the_last_weights_are_kept(self, tmp_path: Path) -> None:
        config = TINY.replace({"training.average_weights": False})
        list(train(cells(), tmp_path / "run", config))
        content = read_checkpoint(tmp_path / "run/last.pt")
        for name, value in content["training"]["network"].items():
            torch.testing.assert_close(content["network"][name], value, atol=0, rtol=0)

    @pytest.mark.parametrize("optimizer", ["adam", "sgd"])
    def test_weight_decay_pulls_weights_down(self, tmp_path: Path, optimizer: str) -> None:
        norms = []
        for name, decay in (("none", 0.0), ("much", 0.5)):
            config = TINY.replace(
                {
                    "training.optimizer": optimizer,
                    "training.weight_decay": decay,
                    "training.learning_rate": 0.02,
                    "training.epochs": 3,
                }
            )
            list(train(cells(), tmp_path / name, config))
            norms.append(float(weights(tmp_path / name / "last.pt")["head.weight"].norm()))
        assert norms[1] < 0.98 * norms[0]

    def test_the_step_schedule_falls_every_so_many_epochs(self, tmp_path: Path) -> None:
        config = TINY.replace(
            {
                "training.schedule": "step",
                "training.step_epochs": 2,
                "training.step_factor": 0.5,
                "training.learning_rate": 0.01,
                "training.epochs": 3,
            }
        )
        job = train(cells(), tmp_path / "run", config)
        while not isinstance(next(job), EpochEnd):
            pass
        job.close()
        more = config.replace({"training.epochs": 5})
        list(train(cells(), tmp_path / "run", more, resume=True))
        rates = [
            row["learning_rate"] for row in read_checkpoint(tmp_path / "run/last.pt")["history"]
        ]
        assert rates == pytest.approx([0.01, 0.01, 0.005, 0.005, 0.0025])

    def test_sgd_resumed_is_as_if_never_stopped(self, tmp_path: Path) -> None:
        config = TINY.replace({"training.optimizer": "sgd", "training.average_weights": False})
        list(train(cells(), tmp_path / "whole", config))
        job = train(cells(), tmp_path / "parts", config)
        while not isinstance(next(job), EpochEnd):
            pass
        job.close()
        list(train(cells(), tmp_path / "parts", config, resume=True))
        assert_same_weights(tmp_path / "whole/last.pt", tmp_path / "parts/last.pt")

    def test_tensorboard_gets_every_number(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written: dict[str, float] = {}

        class Writer:
            def __init__(self, folder: str) -> None:
                assert folder == str(tmp_path / "run" / "tensorboard")

            def add_scalar(self, name: str, value: float, epoch: int) -> None:
                written[f"{name}@{epoch}"] = value

            def flush(self) -> None: ...
            def close(self) -> None: ...

        board = types.ModuleType("torch.utils.tensorboard")
        board.SummaryWriter = Writer  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", board)
        events = list(
            train(cells(), tmp_path / "run", TINY.replace({"training.tensorboard": True}))
        )
        last = of(EpochEnd, events)[-1]
        assert written["train_loss@2"] == last.train_loss
        assert written["class_iou/1@2"] == last.class_iou[1]

    @pytest.mark.parametrize("best_by", ["seg", "class:7"])
    def test_where_a_score_cannot_be_had_the_loss_decides(
        self, tmp_path: Path, best_by: str
    ) -> None:
        config = SOFTMAX.replace({"training.best_by": best_by, "training.epochs": 3})
        events = list(train(coloured(), tmp_path / "run", config))
        said = [notice.text for notice in of(Message, events)]
        assert any(f"best_by is {best_by}" in text and "the loss decides" in text for text in said)
        losses = [epoch.validation_loss for epoch in of(EpochEnd, events)]
        assert events[-1].best_epoch == 1 + int(np.argmin(losses))

    def test_many_classes_for_objects(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"classes is 4, but the labels are objects"):
            next(train(cells(), tmp_path / "run", TINY.replace({"network.classes": 4})))

    def test_relative_depth_needs_objects(self, tmp_path: Path) -> None:
        classes = [
            dataclasses.replace(f, kind=LabelKind.CLASSES, labels=np.minimum(f.labels, 1))
            for f in cells()
        ]
        relative = TINY.replace({"targets.relative": True})
        with pytest.raises(
            ValueError, match=r"targets\.relative is true, but the labels are classes"
        ):
            next(train(classes, tmp_path / "run", relative))
        list(train(cells(), tmp_path / "objects", relative))
        model = load_model(tmp_path / "objects")
        assert model.config.targets.relative
        list(train(classes, tmp_path / "finer", TINY, start_from=tmp_path / "objects"))  # no error

    def test_a_start_model_of_other_classes(self, tmp_path: Path) -> None:
        list(train(cells(), tmp_path / "first", SOFTMAX))
        with pytest.raises(ValueError, match=r"labels have 3 classes.*was trained on 2"):
            next(train(coloured(), tmp_path / "run", SOFTMAX, start_from=tmp_path / "first"))

    def test_tensorboard_that_is_not_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
        with pytest.raises(ValueError, match=r"tensorboard is not installed"):
            next(train(cells(), tmp_path / "run", TINY.replace({"training.tensorboard": True})))
