"""One window a project."""

from __future__ import annotations

from pathlib import Path

from napari_jnet.data.locking import FolderInUse, FolderLock

__all__ = ["LOCK_FILE", "ProjectLock", "locked_by"]

LOCK_FILE = ".open"


class ProjectLock:
    """Holds a project for one viewer; the lock of a process that is gone holds nothing.

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
        self._lock = FolderLock(project, LOCK_FILE)
        try:
            self._lock.acquire()
        except FolderInUse as error:
            here = error.owner == "this program"
            where = "window of this napari" if here else f"window ({error.owner})"
            raise ValueError(
                f"The project {project} is open in another {where}. Close it there first."
            ) from error

    def release(self) -> None:
        """Let others open the project; more calls do nothing."""
        self._lock.release()


def locked_by(project: Path) -> str:
    """Return who has a project open, in words; "" if nobody has."""
    holder = FolderLock(project, LOCK_FILE).holder
    return "another window of this napari" if holder == "this program" else holder
