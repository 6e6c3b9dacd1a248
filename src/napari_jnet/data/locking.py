"""One writer a folder: a lock that the system takes back when its process ends, however it ends."""

from __future__ import annotations

import errno
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

from napari_jnet.data.storing import in_words

__all__ = ["LOCK_FILE", "FolderInUse", "FolderLock", "sole_writer"]

LOCK_FILE = ".napari-jnet.lock"
_CHANGING = ".project.lock"
_PATIENCE_S = 0.5  # whoever only looks whether a folder is locked holds it for a moment


class FolderInUse(ValueError):
    """Another program, or another window of this one, is writing into a folder.

    Attributes
    ----------
    owner
        Who, in words: "process 123 on lab-7".
    """

    def __init__(self, text: str, owner: str) -> None:
        super().__init__(text)
        self.owner = owner


class FolderLock:
    """The right to write into a folder, for one holder at a time; a context manager.

    It is held from `acquire` to `release` or the end of the process.  The file that carries it is
    removed by `release`; one that a killed process left behind locks nothing.

    Parameters
    ----------
    folder
        Must be there.
    name
        Of the file in it.

    Notes
    -----
    Whoever writes runs or results holds the lock of that folder under the name `LOCK_FILE`.  A second
    `FolderLock` of the same folder is refused in the same process and thread too.
    """

    def __init__(self, folder: Path, name: str = LOCK_FILE) -> None:
        self.file = Path(os.path.realpath(folder)) / name
        self._folder = folder
        # Jobs are closed in other threads than they were begun in.  What a killed program of another
        # user has left can be locked in a folder that both may write.  A lock without the system's help
        # would outlive its process.
        self._lock = FileLock(self.file, mode=0o666, thread_local=False, fallback_to_soft=False)

    def acquire(self, wait_s: float = _PATIENCE_S) -> Self:
        """Take the lock.

        Parameters
        ----------
        wait_s
            How long to wait for another holder.

        Raises
        ------
        FolderInUse
            If another still holds it after that time.
        OSError
            If the folder cannot be written, or its file system has no locks, in words.
        """
        try:
            self._lock.acquire(timeout=wait_s, poll_interval=0.02)
        except Timeout:
            owner = self._owner() or "another program"
            raise FolderInUse(
                f"{self._folder} is in use: {owner} is writing into it. Wait until it has ended, stop it, "
                "or choose another folder.",
                owner,
            ) from None
        except NotImplementedError as error:
            raise _without_locks(self.file) from error
        except OSError as error:
            if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise _without_locks(self.file) from error
            raise in_words(self.file, error) from error
        with suppress(OSError):  # only for the words of whoever is refused
            self._write_owner()
        return self

    def release(self) -> None:
        """Let others write; more calls do nothing."""
        if not self._lock.is_locked:
            return
        if (
            os.name == "posix"
        ):  # elsewhere a file that is open cannot be removed, and it is afterwards
            with suppress(OSError):
                self.file.unlink()
        self._lock.release()

    @property
    def is_held(self) -> bool:
        """Whether this very lock holds the folder."""
        return self._lock.is_locked

    @property
    def holder(self) -> str:
        """Who holds the lock of this folder, in words; "" if nobody does."""
        if self._lock.is_locked:
            return self._owner() or "this program"
        if not self.file.exists():
            return ""
        try:
            FolderLock(self._folder, self.file.name).acquire(0).release()
        except FolderInUse as error:
            return error.owner
        except OSError:
            return ""
        return ""

    def __enter__(self) -> Self:
        return self if self._lock.is_locked else self.acquire()

    def __exit__(self, *exception: object) -> None:
        self.release()

    def _write_owner(self) -> None:
        follow_no_link = getattr(os, "O_NOFOLLOW", 0)
        handle = os.open(self.file, os.O_WRONLY | os.O_TRUNC | follow_no_link)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"host": platform.node(), "pid": os.getpid()}, file)

    def _owner(self) -> str:
        """Say who wrote the file; "" if it cannot be read."""
        try:
            owner = json.loads(self.file.read_text(encoding="utf-8"))
            host, process = str(owner["host"]), int(owner["pid"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return ""
        if host != platform.node():
            return f"process {process} on {host}"
        return "this program" if process == os.getpid() else f"process {process}"


@contextmanager
def sole_writer(project: Path) -> Iterator[None]:
    """Wait until no other program is in such a block for this project; a killed one is in none.

    Where the file system has no locks, it does not wait.

    Raises
    ------
    FolderInUse
        If another program does not leave its block for a minute.
    """
    lock = FolderLock(project, _CHANGING)
    with suppress(OSError):  # what is done in the block will say why
        lock.acquire(60)
    try:
        yield
    finally:
        lock.release()


def _without_locks(file: Path) -> OSError:
    return OSError(
        errno.ENOLCK,
        f"{file.parent} is on a file system without locks, so that two programs could write into "
        "it at once. Choose a folder on another disk.",
    )
