"""The runs of a project, read from their plain files: no torch is needed to list them."""

from __future__ import annotations

import csv
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from napari_jnet.config import Config, TrainingConfig
from napari_jnet.files import FolderLock, check_no_link, read_json, reading, writing

_NUMBER = re.compile(r"\d+")
_SPLIT = TypeAdapter(dict[str, tuple[str, ...]])
_UNUSED = 0.1  # part of the budget that may be left


@dataclass(frozen=True)
class RunSummary:
    """The plain files of a run folder."""

    path: Path
    epochs: int = 0  # finished ones
    finished: bool = False  # its time (but for less than an epoch), epochs or patience was used up
    resumable: bool = False  # unfinished, with ``last.pt``, and not being trained now
    trained_by: str = ""  # the process that trains it now
    has_model: bool = False
    best_epoch: int = 0  # that ``model.pt`` holds; 0 before the first
    scored_epoch: int = 0  # the last one up to it that was scored; 0 without validation frames
    seg: float | None = None  # of that epoch on the validation frames, as `iou`; None without any
    iou: float | None = None
    elapsed_s: float = 0.0  # of training
    budget: str = ""  # "15 min" or "200 epochs"
    training_frames: tuple[str, ...] = ()  # names
    validation_frames: tuple[str, ...] = ()
    when: datetime | None = None  # of the last epoch, local time; None before the first

    @property
    def name(self) -> str:
        """Name of the folder: "001"."""
        return self.path.name


def list_runs(folder: Path) -> tuple[RunSummary, ...]:
    """List the runs in a folder by their number; other folders are skipped."""
    return tuple(
        read_run(path)
        for path in _numbered(folder)
        if any((path / name).is_file() for name in ("config.json", "model.pt", "last.pt"))
    )


def next_run(folder: Path) -> Path:
    """Return the next free name: ``001``, ``002``, ...; does not make it, see `reserve_run`."""
    numbers = [int(path.name) for path in _numbered(folder)]
    return folder / f"{max(numbers, default=0) + 1:03d}"


def reserve_run(folder: Path) -> Path:
    """Make and return the next run's folder, exclusively; raises `OSError`."""
    check_no_link(folder)
    with writing(folder):
        folder.mkdir(exist_ok=True)
    while True:
        run = next_run(folder)
        with writing(run), suppress(FileExistsError):
            run.mkdir()
            return run


def _numbered(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if _NUMBER.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=lambda path: int(path.name))


def read_run(path: Path) -> RunSummary:
    """Read a run folder; missing and damaged files are ignored."""
    history, rows = path / "history.csv", list[dict[str, str]]()
    training, split = TrainingConfig(), dict[str, tuple[str, ...]]()
    when = None
    with suppress(OSError, ValueError), reading(history, "a history"):
        rows = list(csv.DictReader(history.read_text(encoding="utf-8").splitlines()))
        when = datetime.fromtimestamp(history.stat().st_mtime).astimezone()
    with suppress(OSError, ValueError):
        training = Config.from_dict(read_json(path / "config.json")).training
    with suppress(OSError, ValueError):
        split = _SPLIT.validate_python(read_json(path / "split.json"))
    best = next((row for row in reversed(rows) if row.get("best") == "True"), {})
    best_epoch = int(_number(best.get("epoch")) or 0)
    scored: dict[str, str] = {}
    for row in rows[:best_epoch]:
        if any(_number(row.get(name)) is not None for name in ("seg", "iou")):
            scored = row
    elapsed = _number(rows[-1].get("elapsed_s")) or 0.0 if rows else 0.0
    trained_by = FolderLock(path).holder
    finished = _is_finished(training, len(rows), best_epoch, elapsed)
    return RunSummary(
        path=path,
        epochs=len(rows),
        finished=finished,
        resumable=not finished and not trained_by and (path / "last.pt").is_file(),
        trained_by=trained_by,
        has_model=(path / "model.pt").is_file(),
        best_epoch=best_epoch,
        scored_epoch=int(_number(scored.get("epoch")) or 0),
        seg=_number(scored.get("seg")),
        iou=_number(scored.get("iou")),
        elapsed_s=elapsed,
        budget=_budget(training),
        training_frames=split.get("training", ()),
        validation_frames=split.get("validation", ()),
        when=when,
    )


def _is_finished(training: TrainingConfig, epochs: int, best_epoch: int, elapsed: float) -> bool:
    if not epochs:
        return False
    if training.minutes is not None:
        # training ends between two epochs: less than a mean epoch and a tenth of the budget, may be left
        budget = 60 * training.minutes
        if budget - elapsed < min(elapsed / epochs, _UNUSED * budget):
            return True
    if training.epochs is not None and epochs >= training.epochs:
        return True
    return 0 < training.patience <= epochs - best_epoch


def _budget(training: TrainingConfig) -> str:
    if training.epochs is not None:
        return f"{training.epochs} epochs"
    return "" if training.minutes is None else f"{training.minutes:g} min"


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
