"""Training by several processes, as torchrun starts them: the same steps, and no process waits for ever."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from napari_jnet.cli import main
from napari_jnet.config import Config
from napari_jnet.io.stack import AnnotatedFrame
from napari_jnet.labels import UNKNOWN, LabelKind
from napari_jnet.synthetic import touching_cells, write_cells_sequence
from napari_jnet.training.distributed import process, process_group, processes
from napari_jnet.training.loop import train

BASE = {
    "network.channels": 4,
    "network.resolution_levels": (-2, -1, 0),
    "training.patch_size": 32,
    "training.batch_size": 3,  # which two processes cannot halve
    "training.batches_per_epoch": 1,
    "training.epochs": 1,
    "training.optimizer": "sgd",
    "training.schedule": "constant",
    "training.learning_rate": 0.1,
    "training.precision": "float32",
    "training.device": "cpu",
    "training.threads": 1,
    "targets.dt_bound": 5.0,
}
CASES: dict[str, dict[str, Any]] = {
    "unet": {},
    "jnet": {"network.name": "jnet", "network.structure": [[4, 8, 3], [2, 4, 3], [2, 4, 3]]},
    "dice": {"training.loss": "dice+smooth_l1"},
    "weighted": {"training.class_balance": True, "training.border_weight": 2.0},
    "bce alone": {"training.loss": "bce", "network.distance": False},
    "three steps": {
        "training.batches_per_epoch": 3,
        "training.epochs": 2,
        "training.learning_rate": 0.002,  # else rounding grows from step to step
    },
}
REFUSED = {"training.batch_size": 1}  # of two processes
RESUMED = "begun where the memory held one patch"


def frames() -> list[AnnotatedFrame]:
    """Touching cells; one frame is half unknown, so that shares differ in their known pixels."""
    stack, labels = touching_cells(3, (64, 64), cells=6, diameter=16.0)
    labels = labels.astype(np.int32)
    labels[0, :, 20:] = UNKNOWN
    return [
        AnnotatedFrame(f"t{n}", stack[n], labels[n], LabelKind.INSTANCES) for n in range(len(stack))
    ]


def run_all(folder: Path) -> None:
    """Train every case in this process, and in those that torchrun started with it; then resume one."""
    with process_group():
        for name, changes in CASES.items():
            list(train(frames(), folder / name, Config().replace(BASE | changes)))
        longer = Config().replace(BASE | {"training.epochs": 2})
        list(train(frames(), folder / RESUMED, longer, resume=True))
        if processes() == 2:
            try:
                list(train(frames(), folder / "refused", Config().replace(BASE | REFUSED)))
            except ValueError as error:  # in both, or one would wait for the other for ever
                (folder / f"error{process()}.txt").write_text(str(error), encoding="utf-8")


def gloo_threads() -> list[str]:
    """The threads of process groups, where the system names them: one that is left may abort the process."""
    names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
    return [name for name in names if "gloo" in name]


if __name__ == "__main__":
    run_all(Path(sys.argv[1]))
    assert not gloo_threads(), "the group is gone with its last training"


def torchrun(*command: str) -> subprocess.Popen[str]:
    """Start two processes of a module or file, with one thread each."""
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", *command],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The runs of one process, and those of two."""
    folder = tmp_path_factory.mktemp("runs")
    for name, at_once in (("one", 0), ("two", 1)):
        run = folder / name / RESUMED
        list(train(frames(), run, Config().replace(BASE)))
        saved = torch.load(run / "last.pt")
        saved["training"]["patches_at_once"] = at_once
        torch.save(saved, run / "last.pt")
    with torchrun(__file__, str(folder / "two")) as launched:
        run_all(folder / "one")
        output, _ = launched.communicate()
    assert launched.returncode == 0, output
    return folder / "one", folder / "two"


@pytest.mark.parametrize("case", [*CASES, RESUMED])
def test_two_processes_step_as_one_does(both: tuple[Path, Path], case: str) -> None:
    one, two = (torch.load(folder / case / "last.pt") for folder in both)
    for part in ("network", "training"):
        weights, others = (saved[part].get("network", saved[part]) for saved in (one, two))
        assert weights.keys() == others.keys()
        for name, weight in weights.items():
            assert torch.allclose(weight.float(), others[name].float(), rtol=1e-5, atol=1e-5), name
    losses = [[epoch["train_loss"] for epoch in saved["history"]] for saved in (one, two)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """An annotated sequence of the Cell Tracking Challenge."""
    write_cells_sequence(tmp_path / "cells", frames=(3, 1), shape=(64, 64), cells=6, diameter=16.0)
    return tmp_path / "cells" / "01"


def options(stack: Path, run: Path, *more: str) -> list[str]:
    """The command line of a training of tiny epochs."""
    settings = ("network.channels=4", "training.patch_size=32", "training.batches_per_epoch=2")
    return [
        *("-m", "napari_jnet", "train", str(stack), "-o", str(run), "--device", "cpu", *more),
        *(word for setting in settings for word in ("--set", setting)),
    ]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "terminated"])
def test_a_process_that_ends_ends_all_and_the_training_resumes(
    stack: Path, tmp_path: Path, number: int
) -> None:
    with torchrun(*options(stack, tmp_path / "run", "--epochs", "100000")) as launched:
        assert launched.stdout is not None
        before = list(itertools.takewhile(lambda line: "epoch    2" not in line, launched.stdout))
        children = psutil.Process(launched.pid).children()
        second = next(child for child in children if child.environ().get("RANK") == "1")
        second.send_signal(number)
        output = "".join(before) + launched.communicate()[0]
    assert launched.returncode != 0
    assert "--resume" in output
    assert not any(child.is_running() for child in children)

    done = torch.load(tmp_path / "run" / "last.pt")["training"]["epoch"]
    assert done >= 1
    more = ["--resume", "--epochs", str(done + 1)]
    with pytest.raises(SystemExit) as left:
        main(options(stack, tmp_path / "run", *more)[2:])
    assert not left.value.code
    assert torch.load(tmp_path / "run" / "last.pt")["training"]["epoch"] == done + 1


def test_more_processes_than_images_in_a_batch(both: tuple[Path, Path]) -> None:
    _, two = both
    for number in range(2):
        text = (two / f"error{number}.txt").read_text(encoding="utf-8")
        assert "training.batch_size is 1, and 2 processes train" in text
    assert not (two / "refused").exists()
