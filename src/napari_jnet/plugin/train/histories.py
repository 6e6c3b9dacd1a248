"""The past of runs, from their plain files: history.csv and split.json."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from napari_jnet.data.readable import read_json, reading

__all__ = ["RunHistory", "read_histories", "read_history", "read_split"]

_COLUMNS = {
    "training": "train_loss",
    "validation": "validation_loss",
    "iou": "iou",
    "seg": "seg",
    "rate": "learning_rate",
}


@dataclass(frozen=True)
class RunHistory:
    """The curves of one run; None where an epoch has no such value."""

    path: Path  # of the run folder
    epochs: tuple[float, ...]
    elapsed_s: tuple[float, ...]
    values: dict[str, tuple[float | None, ...]]  # by curve: training, validation, iou, seg, rate

    @property
    def name(self) -> str:
        """Name of the run folder."""
        return self.path.name

    @property
    def minutes(self) -> tuple[float, ...]:
        """Training time at the end of each epoch, in minutes."""
        return tuple(seconds / 60 for seconds in self.elapsed_s)


def read_history(run: Path) -> RunHistory | None:
    """Read the history of a run; None where there is none that can be read."""
    try:
        path = run / "history.csv"
        with reading(path, "a history"), path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row.get("epoch")]
        return RunHistory(
            run,
            tuple(float(row["epoch"]) for row in rows),
            tuple(float(row["elapsed_s"]) for row in rows),
            {
                name: tuple(float(row[c]) if row.get(c) else None for row in rows)
                for name, c in _COLUMNS.items()
            },
        )
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return None


def read_histories(runs: Iterable[Path]) -> list[RunHistory]:
    """Read the histories of those runs that have at least one epoch."""
    found = (read_history(run) for run in runs)
    return [history for history in found if history is not None and history.epochs]


def read_split(run: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the training and validation frames of a run; empty where not known."""
    try:
        split = read_json(run / "split.json")
        return tuple(split["training"]), tuple(split["validation"])
    except (OSError, ValueError, KeyError, TypeError):
        return (), ()
