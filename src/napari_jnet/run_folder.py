"""A run on disk: plain files that the command line and the window both read and write."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_jnet.config import Config
from napari_jnet.events import EpochEnd

__all__ = ["RunFolder"]


class RunFolder:
    """``config.json``, ``split.json``, ``history.csv``, ``model.pt`` (best) and ``last.pt``.

    Raises
    ------
    OSError
        If the folder cannot be made or written, in words.
    FileExistsError
        If a new training would overwrite an earlier one.
    """

    def __init__(self, path: Path | str, *, resume: bool) -> None:
        self.path = Path(path)
        self.model = self.path / "model.pt"
        self.last = self.path / "last.pt"
        self.history = self.path / "history.csv"
        if resume and not self.last.is_file():
            raise FileNotFoundError(
                f"{self.path} has no last.pt, so there is no training to resume. "
                "Start a new one, or name the folder of the run."
            )
        if not resume and (self.last.exists() or self.model.exists()):
            raise FileExistsError(
                f"{self.path} holds a trained model already; a new training would overwrite it. "
                "Choose another folder, or resume."
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise OSError(
                error.errno,
                f"The run folder {self.path} cannot be written ({error.strerror}). Choose another folder.",
            ) from error

    def write_start(self, config: Config, split: Mapping[str, Sequence[str]]) -> None:
        """Write configuration and split."""
        _write_json(self.path / "config.json", config.to_dict())
        _write_json(self.path / "split.json", {key: list(value) for key, value in split.items()})

    def write_history(self, history: Sequence[dict[str, Any]]) -> None:
        """Write all epochs so far; a reader never sees half a file."""
        names = [f.name for f in dataclasses.fields(EpochEnd)]
        temporary = self.history.with_suffix(".csv.part")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows({k: _cell(v) for k, v in row.items()} for row in history)
        os.replace(temporary, self.history)


def _cell(value: Any) -> Any:
    """Write scores of classes as "0.91 0.85"; "-" for a class that does not occur."""
    if not isinstance(value, tuple):
        return value
    return " ".join("-" if score is None else f"{score:.6g}" for score in value)


def _write_json(path: Path, content: Any) -> None:
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)
