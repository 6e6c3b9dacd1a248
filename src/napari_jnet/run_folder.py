"""A run on disk: plain files that the command line and the window both read and write."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from napari_jnet.checkpoint import write_error
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
        self._made = not self.path.exists()
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

    def remove_unused(self) -> None:
        """Remove the folder if it was made for this training and nothing has been written."""
        if self._made:
            with suppress(OSError):
                self.path.rmdir()

    def write_start(self, config: Config, split: Mapping[str, Sequence[str]]) -> None:
        """Write configuration and split."""
        _write_json(self.path / "config.json", config.to_dict())
        _write_json(self.path / "split.json", {key: list(value) for key, value in split.items()})

    def write_history(self, history: Sequence[dict[str, Any]]) -> None:
        """Write all epochs so far; a reader never sees half a file."""
        names = [f.name for f in dataclasses.fields(EpochEnd)]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, names)
        writer.writeheader()
        writer.writerows({k: _cell(v) for k, v in row.items()} for row in history)
        _write_text(self.history, text.getvalue())


def _cell(value: Any) -> Any:
    """Write scores of classes as "0.91 0.85"; "-" for a class that does not occur."""
    if not isinstance(value, tuple):
        return value
    return " ".join("-" if score is None else f"{score:.6g}" for score in value)


def _write_json(path: Path, content: Any) -> None:
    _write_text(path, json.dumps(content, indent=2) + "\n")


def _write_text(path: Path, text: str) -> None:
    """Write a whole file or, in words, none; an earlier one stays."""
    partial = path.with_name(f".{path.name}.part")
    try:
        partial.write_text(text, encoding="utf-8", newline="")
        os.replace(partial, path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:  # nothing is left of it after a good end
        with suppress(OSError):
            partial.unlink(missing_ok=True)
