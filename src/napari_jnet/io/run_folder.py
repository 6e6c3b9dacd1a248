"""The folder of a run: its plain files, written without torch, and its lock."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from napari_jnet.config import Config
from napari_jnet.events import EpochEnd
from napari_jnet.files import FolderLock, clean, write_file, writing

PACKAGED = {"starter": Path(__file__).parents[1] / "data" / "starter.pt"}
"""Models that come with the package, by the names that stand for a path."""


def packaged_name(path: Path | None) -> str:
    """Return the name in `PACKAGED` of a model file, "" for another."""
    return next((name for name, file in PACKAGED.items() if file == path), "")


def model_file(path: Path) -> Path:
    """Return the model file of a path: of a run folder, its ``model.pt``; of a name, that of `PACKAGED`.

    Such a name is never a file or folder: one that is called so is meant by a longer path.
    """
    return PACKAGED.get(str(path)) or (path / "model.pt" if path.is_dir() else path)


class RunFolder:
    """``config.json``, ``split.json``, ``history.csv``, ``model.pt`` (kept) and ``last.pt``.

    It is locked until `close`: a run has one writer; the other processes of a training only read
    (``writes`` off).  Raises `OutputError`, `FolderInUse`,
    `FileExistsError` if a new training would overwrite an earlier one, or files of something else, and
    `FileNotFoundError` if no training can be resumed.
    """

    def __init__(self, path: Path | str, *, resume: bool, writes: bool = True) -> None:
        self.path = Path(path)
        self.model = self.path / "model.pt"
        self.last = self.path / "last.pt"
        self.history = self.path / "history.csv"
        if resume and not self.last.is_file():
            raise FileNotFoundError(
                f"{self.path} has no last.pt, so there is no training to resume. "
                "Start a new one, or choose the folder of the run."
            )
        self._writes, self._made = writes, False
        if not writes:
            return
        with writing(self.path):
            self._made = not self.path.exists()
            self.path.mkdir(parents=True, exist_ok=True)
        self._lock = FolderLock(self.path).acquire()
        clean(self.path, locked=True)
        try:
            if not resume:
                self._check_overwriting()
        except BaseException:
            self.close()
            raise

    def _check_overwriting(self) -> None:
        """Raise for files of an earlier training, unless it ended before its first checkpoint."""
        if self.last.exists():
            raise FileExistsError(
                f"{self.path} holds a trained model already; a new training would overwrite it. "
                "Choose another folder, or resume."
            )
        known = {"config.json": {"network", "training"}, "split.json": {"training", "validation"}}
        for name in ("history.csv", "config.json", "split.json", "model.pt"):
            file = self.path / name
            if file.exists() and not (name in known and _has_keys(file, known[name])):
                raise FileExistsError(
                    f"{self.path} holds a {name} already; a new training would overwrite it. "
                    "Choose another folder, or move that file away."
                )

    def close(self) -> None:
        """Release the lock of the run."""
        if self._writes:
            self._lock.release()

    def remove_unused(self) -> None:
        """Close, and remove the folder if it was made for this training and nothing was written."""
        self.close()
        if self._made:
            with suppress(OSError):
                self.path.rmdir()

    def write_start(self, config: Config, split: Mapping[str, Sequence[str]]) -> None:
        """Write configuration and split."""
        if not self._writes:
            return
        for name, content in (("config.json", config.to_dict()), ("split.json", dict(split))):
            write_file(self.path / name, (json.dumps(content, indent=2) + "\n").encode())

    def write_history(self, history: Sequence[dict[str, Any]]) -> None:
        """Write all epochs so far; the file is replaced at once."""
        names = [f.name for f in dataclasses.fields(EpochEnd)]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows({k: _cell(v) for k, v in row.items()} for row in history)
        write_file(self.history, text.getvalue().encode())


def _cell(value: Any) -> Any:
    """Write scores of classes as "0.91 0.85"; "-" for a class that does not occur."""
    if not isinstance(value, tuple):
        return value
    return " ".join("-" if score is None else f"{score:.6g}" for score in value)


def _has_keys(path: Path, names: set[str]) -> bool:
    """Return whether a file is a JSON object with all of these names."""
    with suppress(OSError, ValueError, RecursionError):
        content = json.loads(path.read_text(encoding="utf-8"))
        return isinstance(content, dict) and names <= content.keys()
    return False
