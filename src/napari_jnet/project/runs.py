"""The runs of a project, read from their plain files: no torch is needed to list them."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from napari_jnet.files import FolderLock, check_no_link, read_json, reading, writing

_NUMBER = re.compile(r"\d+")
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
    seg: float | None = None  # of that epoch on the validation frames, as `iou`; None without any
    iou: float | None = None
    elapsed_s: float = 0.0  # of training
    budget: str = ""  # "15 min" or "200 epochs"
    training_frames: tuple[str, ...] = ()  # names
    validation_frames: tuple[str, ...] = ()
    when: datetime | None = None  # of the last epoch, local time; None before the first file

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
    rows = _history(path / "history.csv")
    training = _json(path / "config.json").get("training")
    training = training if isinstance(training, dict) else {}
    split = _json(path / "split.json")
    best = next((row for row in reversed(rows) if row.get("best") == "True"), {})
    last = rows[-1] if rows else {}
    elapsed = _number(last.get("elapsed_s")) or 0.0
    trained_by = FolderLock(path).holder
    finished = _finished(training, rows, best, elapsed)
    return RunSummary(
        path=path,
        epochs=len(rows),
        finished=finished,
        resumable=not finished and not trained_by and (path / "last.pt").is_file(),
        trained_by=trained_by,
        has_model=(path / "model.pt").is_file(),
        best_epoch=int(_number(best.get("epoch")) or 0),
        seg=_number(best.get("seg")),
        iou=_number(best.get("iou")),
        elapsed_s=elapsed,
        budget=_budget(training),
        training_frames=_names(split.get("training")),
        validation_frames=_names(split.get("validation")),
        when=_when(path),
    )


def _finished(
    training: Mapping[str, Any],
    rows: list[dict[str, str]],
    best: Mapping[str, str],
    elapsed: float,
) -> bool:
    if not rows:
        return False
    minutes, epochs = _number(training.get("minutes")), _number(training.get("epochs"))
    if minutes is not None:
        # training ends between two epochs: less than a mean epoch and a tenth of the budget, may be left
        left, least = 60 * minutes - elapsed, min(elapsed / len(rows), _UNUSED * 60 * minutes)
        if left < least:
            return True
    if epochs is not None and len(rows) >= epochs:
        return True
    patience = _number(training.get("patience")) or 0
    return 0 < patience <= len(rows) - int(_number(best.get("epoch")) or 0)


def _budget(training: Mapping[str, Any]) -> str:
    for key, unit in (("epochs", "epochs"), ("minutes", "min")):
        number = _number(training.get(key))
        if number is not None:
            return f"{number:g} {unit}"
    return ""


def _history(path: Path) -> list[dict[str, str]]:
    try:
        with reading(path, "a history"), path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError):
        return []


def _json(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        content = read_json(path)
        if isinstance(content, dict):
            return content
    return {}


def _names(values: Any) -> tuple[str, ...]:
    return tuple(str(value) for value in values) if isinstance(values, list) else ()


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _when(path: Path) -> datetime | None:
    for name in ("history.csv", "last.pt", "config.json"):
        with suppress(OSError):
            return datetime.fromtimestamp((path / name).stat().st_mtime).astimezone()
    return None
