"""A run on disk: one writer, nothing overwritten, and it resumes after any kill."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_jnet import files as storing_module
from napari_jnet.config import Config
from napari_jnet.events import BatchEnd, EpochEnd, Message
from napari_jnet.files import FolderInUse
from napari_jnet.io.stack import AnnotatedFrame
from napari_jnet.model import read_checkpoint
from napari_jnet.project.runs import read_run
from napari_jnet.training import loop as training_module
from napari_jnet.training import run as run_module
from napari_jnet.training.loop import train

TINY = Config().replace(
    {
        "network.channels": 4,
        "network.resolution_levels": (-1, 0),
        "training.patch_size": 32,
        "training.batch_size": 2,
        "training.batches_per_epoch": 3,
        "training.epochs": 2,
        "training.best_by": "loss",
        "training.learning_rate": 0.01,  # so that both epochs are the best so far
        "training.device": "cpu",
        "training.precision": "float32",
        "training.threads": 1,
        "targets.dt_bound": 5.0,
    }
)


def cells() -> list[AnnotatedFrame]:
    frames = []
    for index in range(3):
        labels = np.zeros((48, 48), np.int32)
        labels[4 + 9 * index : 20 + 9 * index, 6:22] = 1
        labels[8:24, 26:42] = 2
        noise = np.random.default_rng(index).normal(0, 8, labels.shape)
        image = (20 + 100 * (labels > 0) + noise).astype(np.float32)
        frames.append(AnnotatedFrame(f"t{index:03d}", image, labels))
    return frames


def assert_same_weights(first: Path, second: Path) -> None:
    other = read_checkpoint(second)["network"]
    for name, value in read_checkpoint(first)["network"].items():
        torch.testing.assert_close(value, other[name], atol=0, rtol=0, msg=name)


class Killed(BaseException):
    """Stands for SIGKILL: what the program would still do afterwards is undone by the test."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run that nothing has stopped."""
    run = tmp_path_factory.mktemp("whole") / "run"
    list(train(cells(), run, TINY))
    return run


def killed_run(folder: Path, monkeypatch: pytest.MonkeyPatch, before: str, count: int) -> Path:
    """Train until a file would take its name for the n-th time; return what a kill there leaves."""
    replace, copy, seen = os.replace, folder / "copy", 0

    def replacing(source: Path, target: Path) -> None:
        nonlocal seen
        if Path(target).is_relative_to(folder):
            seen += Path(target).name == before
            if seen == count:
                shutil.copytree(folder / "run", copy, dirs_exist_ok=True)
                raise Killed
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(storing_module.os, "replace", replacing)
        with pytest.raises(Killed):
            list(train(cells(), folder / "run", TINY))
    assert [path for path in copy.iterdir() if path.name.endswith(".part")]
    return copy


@pytest.mark.parametrize(
    ("before", "count"),
    [("model.pt", 1), ("history.csv", 1), ("last.pt", 2), ("model.pt", 2), ("history.csv", 2)],
)
def test_killed_inside_a_write_it_resumes_as_if_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Path, before: str, count: int
) -> None:
    run = killed_run(tmp_path, monkeypatch, before, count)
    assert read_run(run).resumable
    assert read_run(run).epochs == count - 1
    list(train(cells(), run, TINY, resume=True))
    for name in ("model.pt", "last.pt"):
        assert_same_weights(run / name, whole / name)
    assert read_run(run).epochs == 2 and read_run(run).finished
    expected = ["config.json", "history.csv", "last.pt", "model.pt", "split.json"]
    assert sorted(path.name for path in run.iterdir()) == expected


def test_killed_before_the_first_checkpoint_it_starts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Path
) -> None:
    run = killed_run(tmp_path, monkeypatch, "last.pt", 1)
    list(train(cells(), run, TINY))
    assert_same_weights(run / "last.pt", whole / "last.pt")


def test_a_model_without_a_training_to_resume_is_not_overwritten(
    tmp_path: Path, whole: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in ("config.json", "split.json", "model.pt"):
        shutil.copy(whole / name, run / name)
    with pytest.raises(FileNotFoundError, match="no training to resume"):
        next(train(cells(), run, TINY, resume=True))
    for start in (None, run):
        with pytest.raises(FileExistsError, match=r"holds a model\.pt already.*would overwrite it"):
            next(train(cells(), run, TINY, start_from=start))
    assert (run / "model.pt").read_bytes() == (whole / "model.pt").read_bytes()


def test_a_long_epoch_is_saved_in_between_and_resumes_as_if_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Path
) -> None:
    monkeypatch.setattr(training_module, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(run_module, "SAVE_SHARE", float("inf"))
    job = train(cells(), tmp_path / "run", TINY)
    for event in job:
        if isinstance(event, BatchEnd) and (event.epoch, event.batch) == (2, 2):
            shutil.copytree(tmp_path / "run", tmp_path / "killed")
            break
    job.close()
    state = read_checkpoint(tmp_path / "killed/last.pt")["training"]
    assert (state["epoch"], state["batch"]) == (1, 2)
    list(train(cells(), tmp_path / "killed", TINY, resume=True))
    for name in ("model.pt", "last.pt"):
        assert_same_weights(tmp_path / "killed" / name, whole / name)


@pytest.mark.parametrize("step", [1, 2, 5])
def test_interrupted_inside_a_step_it_resumes_as_if_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """The batch was drawn, and the network has seen it."""
    config = TINY.replace({"network.dropout": 0.3})
    list(train(cells(), tmp_path / "whole", config))
    real, seen = torch.nn.functional.smooth_l1_loss, 0

    def interrupted(*arguments: Any, **named: Any) -> torch.Tensor:
        nonlocal seen
        seen += torch.is_grad_enabled()
        if seen == step:
            raise KeyboardInterrupt
        return real(*arguments, **named)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("torch.nn.functional.smooth_l1_loss", interrupted)
        list(train(cells(), tmp_path / "run", config))
    saved = (tmp_path / "run/last.pt").is_file()
    assert saved == (step > 1), "nothing is saved before the first step"
    list(train(cells(), tmp_path / "run", config, resume=saved))
    for name in ("model.pt", "last.pt"):
        assert_same_weights(tmp_path / "run" / name, tmp_path / "whole" / name)


class Clock:
    """A clock on which only steps and checkpoints take time, so many seconds each."""

    def __init__(self, patch: pytest.MonkeyPatch, step_s: float, save_s: float) -> None:
        self.now = 0.0
        self.saves: list[tuple[str, float]] = []  # file, end
        run_step, save = run_module.run_step, run_module.save_checkpoint

        def step(*arguments: Any, **named: Any) -> torch.Tensor:
            self.now += step_s
            return run_step(*arguments, **named)

        def saving(path: Path, content: dict[str, Any]) -> None:
            self.now += save_s
            save(path, content)
            self.saves.append((path.name, self.now))

        patch.setattr(run_module, "run_step", step)
        patch.setattr(run_module, "save_checkpoint", saving)
        patch.setattr("time.monotonic", lambda: self.now)


@pytest.mark.parametrize(
    ("step_s", "save_s", "expected"),
    [
        (10.0, 0.1, 40),  # cheap: after each epoch
        (1.0, 1.0, 2),  # short epochs: each save costs as much as a step
        (1000.0, 0.1, 120),  # long epochs: after each step
        (1000.0, 25.0, 27),  # a network so large that 1.2 % allow more than two minutes
    ],
)
def test_saving_takes_little_of_the_time_and_a_kill_loses_two_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step_s: float, save_s: float, expected: int
) -> None:
    clock = Clock(monkeypatch, step_s, save_s)
    list(train(cells(), tmp_path / "run", TINY.replace({"training.epochs": 40})))
    times = [at for name, at in clock.saves if name == "last.pt"]
    assert clock.saves[1][0] == "model.pt", "there is a model after the first epoch"
    on_the_way = [at for _, at in clock.saves if at < times[-1]]
    assert save_s * len(on_the_way) <= 0.0125 * clock.now + 2 * save_s
    longest = max(120.0, 2 * save_s / 0.012) + step_s + 2 * save_s
    assert max(np.diff([0.0, *times])) <= longest
    assert len(times) == pytest.approx(expected, rel=0.2, abs=1)


def test_a_network_that_takes_long_to_save_is_not_saved_after_a_short_first_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, 1.0, 0.5)
    monkeypatch.setattr(run_module, "WRITING_SPEED", 2e3)  # this network in tens of seconds
    list(train(cells(), tmp_path / "run", TINY))
    assert [name for name, _ in clock.saves] == ["last.pt", "model.pt"]


def test_killed_at_any_time_it_resumes_as_if_never_stopped_and_has_the_best_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the best epoch is neither the last one nor saved when it ended."""
    config = TINY.replace(
        {"training.epochs": 6, "training.learning_rate": 1.0, "training.optimizer": "sgd"}
        | {"training.schedule": "constant", "training.momentum": 0.0}
    )
    list(train(cells(), tmp_path / "whole", config))
    history = read_checkpoint(tmp_path / "whole/last.pt")["history"]
    assert not history[3]["best"], "after four epochs the best is an earlier one"
    killed: list[Path] = []  # copies of the folder
    with monkeypatch.context() as patch:
        clock = Clock(patch, 5.0, 0.5)
        patch.setattr(training_module, "SAVE_EVERY_S", 40.0)
        patch.setattr(run_module, "SAVE_SHARE", 0.02)
        for _ in train(cells(), tmp_path / "run", config):
            if sum(name == "last.pt" for name, _ in clock.saves) > len(killed):
                killed.append(Path(shutil.copytree(tmp_path / "run", tmp_path / str(len(killed)))))
    saved = [read_checkpoint(run / "last.pt")["training"] for run in killed]
    assert [(state["epoch"], state["batch"]) for state in saved] == [(1, 0), (4, 1), (6, 0)]
    assert ["best" in state for state in saved[:2]] == [False, True]
    (killed[1] / "model.pt").unlink()  # killed before it was written, which resuming does
    for run in killed[:2]:
        list(train(cells(), run, config, resume=True))
        for name in ("model.pt", "last.pt"):
            assert_same_weights(run / name, tmp_path / "whole" / name)


class FullDisk:
    """A disk on which no file takes its name while it is full, below a folder; the home is elsewhere."""

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path) -> None:
        self.full = self.home_full = False
        self.home = folder / "home"
        self.home.mkdir()
        for name in ("HOME", "USERPROFILE"):
            patch.setenv(name, str(self.home))
        patch.setattr("tempfile.tempdir", str(self.home))
        patch.setattr(training_module, "SAVE_EVERY_S", 0.0)
        patch.setattr(run_module, "SAVE_SHARE", float("inf"))
        replace = os.replace

        def replacing(source: Path, target: Path) -> None:
            at_home = Path(target).is_relative_to(self.home)
            if self.home_full if at_home else self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            replace(source, target)

        patch.setattr(storing_module.os, "replace", replacing)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FullDisk:
    """A disk that can be full."""
    return FullDisk(monkeypatch, tmp_path)


def test_a_disk_that_is_full_for_a_while_costs_nothing(
    tmp_path: Path, whole: Path, disk: FullDisk
) -> None:
    """It is said once, and once that it is over; with new annotations too, whose split is saved then."""
    told = []
    job = train(cells(), tmp_path / "run", TINY, new_frames=lambda: cells() if disk.full else None)
    for event in job:
        match event:
            case BatchEnd(epoch=1, batch=2):
                disk.full = True
                (tmp_path / "run/split.json").unlink()
            case BatchEnd(epoch=2, batch=2):
                disk.full = False
            case Message(topic="saving"):
                told.append(event)
    assert [event.is_problem for event in told] == [True, False]
    assert "last.pt cannot be written: the disk is full. Free some space" in told[0].text
    for name in ("model.pt", "last.pt"):
        assert_same_weights(tmp_path / "run" / name, whole / name)
    assert read_run(tmp_path / "run").finished
    assert read_run(tmp_path / "run").training_frames == read_run(whole).training_frames
    assert not list(disk.home.iterdir())


@pytest.mark.parametrize("stopped", [False, True], ids=["at its end", "stopped"])
def test_a_disk_that_stays_full_has_the_training_saved_elsewhere(
    tmp_path: Path, whole: Path, disk: FullDisk, stopped: bool
) -> None:
    job = train(cells(), tmp_path / "run", TINY)
    while not isinstance(next(job), EpochEnd):
        pass
    disk.full = True
    where = (
        r"disk is full.*saved before is unchanged.*saved in .*home.napari-jnet-rescued-.* instead"
    )
    with pytest.raises(OSError, match=where):
        if stopped:
            next(job)
            job.close()
        list(job)
    assert read_checkpoint(tmp_path / "run/last.pt")["training"]["epoch"] == 1
    (saved,) = disk.home.iterdir()
    expected = ["config.json", "history.csv", "last.pt", "model.pt", "split.json"]
    assert sorted(path.name for path in saved.iterdir()) == expected
    if stopped:
        list(train(cells(), saved, TINY, resume=True))
    for name in ("model.pt", "last.pt"):
        assert_same_weights(saved / name, whole / name)


def test_without_any_room_the_error_is_that_of_the_run(tmp_path: Path, disk: FullDisk) -> None:
    job = train(cells(), tmp_path / "run", TINY)
    while not isinstance(next(job), EpochEnd):
        pass
    disk.full = disk.home_full = True
    before = (tmp_path / "run/last.pt").read_bytes()
    with pytest.raises(OSError, match=r"last\.pt cannot be written.*saved before is unchanged\.$"):
        list(job)
    assert (tmp_path / "run/last.pt").read_bytes() == before
    assert not list(disk.home.iterdir())


def test_where_only_the_small_model_fits_it_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Path, disk: FullDisk
) -> None:
    replace = os.replace

    def little_room(source: Path, target: Path) -> None:
        if Path(target).name == "last.pt":
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(storing_module.os, "replace", little_room)
    with pytest.raises(OSError, match=r"last\.pt cannot be written: the disk is full"):
        list(train(cells(), tmp_path / "run", TINY))
    assert_same_weights(tmp_path / "run/model.pt", whole / "model.pt")


def test_weights_that_are_no_numbers_are_not_kept_within_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_module, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(run_module, "SAVE_SHARE", float("inf"))
    real = torch.optim.AdamW.step

    def spoil(self: torch.optim.Optimizer, *arguments: object) -> None:
        real(self, *arguments)
        self.param_groups[0]["params"][0].data.fill_(float("nan"))

    job = train(cells(), tmp_path / "run", TINY)
    while not isinstance(next(job), EpochEnd):
        pass
    before = (tmp_path / "run/last.pt").read_bytes()
    monkeypatch.setattr(torch.optim.AdamW, "step", spoil)
    with pytest.raises(
        ArithmeticError, match=r"epoch 2\. .*from the second epoch on, model\.pt has"
    ):
        list(job)
    assert (tmp_path / "run/last.pt").read_bytes() == before


def test_a_loss_that_explodes_in_the_first_epoch_names_what_can_be_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exploding = torch.tensor(float("nan"), requires_grad=True)
    monkeypatch.setattr("torch.nn.functional.smooth_l1_loss", lambda *_, **__: exploding)
    with pytest.raises(ArithmeticError, match=r"another folder, with a smaller learning"):
        list(train(cells(), tmp_path / "run", TINY))
    assert not (tmp_path / "run/model.pt").exists()


HOLDING = """
import sys
from napari_jnet.io.run_folder import RunFolder

run = RunFolder(sys.argv[1], resume=False)
print("training", flush=True)
sys.stdin.readline()
"""


def test_a_run_has_one_writer(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(run)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "training\n"
        before = {path: path.read_bytes() for path in run.iterdir()}
        with pytest.raises(FolderInUse, match=f"process {other.pid} on .* is writing"):
            next(train(cells(), run, TINY))
        assert {path: path.read_bytes() for path in run.iterdir()} == before
        other.kill()
    job = train(cells(), run, TINY)
    next(job)
    with pytest.raises(FileNotFoundError, match="no training to resume"):
        next(train(cells(), run, TINY, resume=True))
    for event in job:
        if isinstance(event, EpochEnd):
            break
    with pytest.raises(FolderInUse, match="this program is writing"):
        next(train(cells(), run, TINY, resume=True))
    job.close()
    list(train(cells(), run, TINY, resume=True))


@pytest.mark.parametrize("name", ["model.pt", "history.csv", "config.json", "split.json"])
def test_no_file_of_anything_else_is_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"mine": 1}')
    with pytest.raises(FileExistsError, match=rf"holds a {name} already.*move that file away"):
        next(train(cells(), tmp_path, TINY))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == '{"mine": 1}'


def test_links_in_a_run_folder_are_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "run").mkdir()
    for name in ("last.pt", "config.json", "model.pt", "history.csv"):
        (tmp_path / "run" / f".{name}.0a1b2c3d.part").symlink_to(victim)
    list(train(cells(), tmp_path / "run", TINY))
    assert victim.read_text() == "mine"
    assert not list((tmp_path / "run").glob(".*"))


def test_a_training_that_cannot_begin_lets_go_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(ValueError, match="at least one"):
        next(train([], tmp_path / "run", Config()))
    next(train(cells(), tmp_path / "run", TINY))
