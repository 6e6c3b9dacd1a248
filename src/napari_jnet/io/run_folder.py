"""The epochs that a checkpoint tells of, read without torch and without its tensors."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from napari_jnet.config import Config
from napari_jnet.events import EpochEnd
from napari_jnet.files import FolderLock, clean, write_file, writing


class RunFolder:
    """``config.json``, ``split.json``, ``history.csv``, ``model.pt`` (best) and ``last.pt``.

    It is locked until `close`: a run has one writer.

    Raises
    ------
    OSError
        If the folder cannot be made or written, in words.
    FileExistsError
        If a new training would overwrite an earlier one, or files of something else.
    FileNotFoundError
        If there is no training to resume.
    FolderInUse
        If the run is being trained already.
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
        with writing(self.path):
            self._made = not self.path.exists()
            self.path.mkdir(parents=True, exist_ok=True)
        self._lock = FolderLock(self.path).acquire()
        clean(self.path, locked=True)
        try:
            if not resume:
                self._refuse_overwriting()
        except BaseException:
            self.close()
            raise

    def _refuse_overwriting(self) -> None:
        if self.last.exists():
            raise FileExistsError(
                f"{self.path} holds a trained model already; a new training would overwrite it. "
                "Choose another folder, or resume."
            )
        # Only what a training has left that ended before its first checkpoint is written anew.
        ours = {"config.json": ("network", "training"), "split.json": ("training", "validation")}
        known = {name: _has_sections(self.path / name, keys) for name, keys in ours.items()}
        # So may be its model: versions before wrote that before last.pt.
        known["model.pt"] = all(known.values())
        for file in (self.path / name for name in ("history.csv", *known)):
            if not file.exists() or known.get(file.name):
                continue
            raise FileExistsError(
                f"{self.path} holds a {file.name} already; a new training would overwrite it. "
                "Choose another folder, or move that file away."
            )

    def keep_leftover(self, read: Sequence[Path | str | None] = ()) -> str:
        """Rename a model from which no training can go on, so that a new one can begin.

        Parameters
        ----------
        read
            What the training begins with; a model among it is refused, since it would be overwritten.

        Returns
        -------
        str
            What was done, in words; "" if there is none.
        """
        if self.last.exists() or not self.model.exists():
            return ""
        for path in (Path(path) for path in read if path):
            file = path / self.model.name if path.is_dir() else path
            if file.exists() and file.samefile(self.model):
                raise FileExistsError(
                    f"{self.model} would be overwritten by the training that begins with {path}. Choose "
                    "another folder."
                )
        aside = self.model.with_name("model-before.pt")
        if aside.exists():
            raise FileExistsError(
                f"{self.path} holds a model.pt and a {aside.name} already, and no last.pt to go on from. "
                "Choose another folder, or move one of them away."
            )
        with writing(aside):
            self.model.rename(aside)
        return (
            f"{self.path} had a model.pt, but no last.pt and no history to go on from; it is {aside.name} "
            "now, and the training begins anew."
        )

    def close(self) -> None:
        """Let others write into the run."""
        self._lock.release()

    def remove_unused(self) -> None:
        """Close, and remove the folder if it was made for this training and nothing was written."""
        self.close()
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
        writer = csv.DictWriter(text, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows({k: _cell(v) for k, v in row.items()} for row in history)
        write_file(self.history, text.getvalue().encode())


def _cell(value: Any) -> Any:
    """Write scores of classes as "0.91 0.85"; "-" for a class that does not occur."""
    if not isinstance(value, tuple):
        return value
    return " ".join("-" if score is None else f"{score:.6g}" for score in value)


def _write_json(path: Path, content: Any) -> None:
    write_file(path, (json.dumps(content, indent=2) + "\n").encode())


def _has_sections(path: Path, names: Sequence[str]) -> bool:
    """Whether a file is a JSON object with all of these names, and they are asked for at all."""
    with suppress(OSError, ValueError, RecursionError):
        content = json.loads(path.read_text(encoding="utf-8"))
        return bool(names) and isinstance(content, dict) and set(names) <= content.keys()
    return False


_LARGEST = 64 * 2**20  # bytes of a checkpoint without its tensors


class _Nothing:
    """Stands for whatever a checkpoint holds besides plain values; can be called, and does nothing."""

    def __new__(cls, *_: object) -> _Nothing:
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        pass


class _Dict(dict[Any, Any]):
    """An ordered dict, which may have attributes too."""


class _PlainValues(pickle.Unpickler):
    """Reads dicts, lists, texts and numbers; imports nothing and calls nothing that a file names."""

    def find_class(self, module: str, name: str) -> Any:
        return _Dict if (module, name) == ("collections", "OrderedDict") else _Nothing

    def persistent_load(self, pid: object) -> None:
        return None


def checkpoint_history(path: Path) -> list[dict[str, Any]]:
    """Return the finished epochs of a checkpoint of ours, a dict each; none if it cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            member = next(m for m in archive.infolist() if m.filename.endswith("/data.pkl"))
            if member.file_size > _LARGEST:
                return []
            content = _PlainValues(io.BytesIO(archive.read(member))).load()
        history = content["history"]
        return [dict(row) for row in history]
    # Whatever a damaged file does: it tells nothing.
    except Exception:  # noqa: BLE001
        return []
