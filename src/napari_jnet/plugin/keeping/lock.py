"""One window a project: a lock file that says which process has it open."""

from __future__ import annotations

import json
import os
import platform
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]

__all__ = ["LOCK_FILE", "ProjectLock", "locked_by"]

LOCK_FILE = ".open"
_held: set[Path] = set()  # by this process


class ProjectLock:
    """Holds a project for one viewer; the lock of a process that is gone is taken over.

    Parameters
    ----------
    project
        The project's folder.

    Raises
    ------
    ValueError
        If another viewer has the project open, in words.
    OSError
        If the folder cannot be written.
    """

    def __init__(self, project: Path) -> None:
        self._file = Path(os.path.realpath(project)) / LOCK_FILE
        if self._file in _held:
            raise ValueError(
                f"The project {project} is open in another window of this napari. Close it there first."
            )
        if not self._make():
            owner = _alive(self._file)
            if owner:
                raise ValueError(
                    f"The project {project} is open in another window ({owner}). Close it there; if "
                    f"nobody has it open, delete the file {self._file}."
                )
            self._file.unlink(missing_ok=True)
            if not self._make():
                raise ValueError(f"The project {project} was opened elsewhere just now.")
        _held.add(self._file)

    def release(self) -> None:
        """Let others open the project; more calls do nothing."""
        if self._file in _held:
            _held.discard(self._file)
            with suppress(OSError):
                self._file.unlink(missing_ok=True)

    def _make(self) -> bool:
        try:
            handle = os.open(self._file, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            return False
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(_myself(), file)
        return True


def locked_by(project: Path) -> str:
    """Return who has a project open, in words; "" if nobody has."""
    file = Path(os.path.realpath(project)) / LOCK_FILE
    return "another window of this napari" if file in _held else _alive(file)


def _myself() -> dict[str, object]:
    process = psutil.Process()
    return {"host": platform.node(), "pid": process.pid, "started": process.create_time()}


def _alive(file: Path) -> str:
    """Return who holds a lock, in words; "" if that process is gone or the file says nothing."""
    try:
        owner = json.loads(file.read_text(encoding="utf-8"))
        host, pid, started = str(owner["host"]), int(owner["pid"]), float(owner["started"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    if host != platform.node():
        return f"process {pid} on {host}"
    try:
        # a number is given again to other processes: the start tells them apart
        same = abs(psutil.Process(pid).create_time() - started) < 1
    except psutil.Error:
        return ""
    return f"process {pid}" if same and pid != os.getpid() else ""
