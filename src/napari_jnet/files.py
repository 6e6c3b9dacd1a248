"""Files written whole or not at all, locks on folders, and one sentence for a file that cannot be used."""

from __future__ import annotations

import errno
import json
import math
import mmap
import os
import platform
import re
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from napari_jnet.hardware import available_bytes, format_bytes

LOCK_FILE = ".napari-jnet.lock"
RECOVERY = "napari-jnet-rescued-"  # folders of recovery copies
_UNFINISHED = re.compile(r"\..+\.[0-9a-f-]+\.part")
_OLD_S = 3600.0
_LONGEST = 100  # characters of a name kept in that of its unfinished file; the limit is 255
_PATIENCE_S = 0.5  # who only checks whether a folder is locked holds the lock for a moment
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class OutputError(OSError):
    """A file or folder that cannot be written: where, why, and what to do."""


@contextmanager
def writing(path: Path, verb: str = "written") -> Iterator[None]:
    """Turn the system's refusal to write a path into an `OutputError`."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise _refusal(path, error, verb) from error


def _refusal(path: Path, error: OSError | NotImplementedError, verb: str) -> OutputError:
    if isinstance(error, NotImplementedError) or error.errno in _NO_LOCKS:
        reason = (
            "it is on a file system without locks, so that two programs could write there at once. Choose a "
            "folder on another disk"
        )
    elif error.errno in (errno.ENOSPC, errno.EDQUOT):
        reason = "the disk is full. Free some space, or choose another folder"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        reason = "you have no permission to write there. Change that, or choose another folder"
    elif error.errno in (errno.EEXIST, errno.ENOTDIR):
        reason = "a file is where the folder should be. Choose another folder"
    elif not path.parent.is_dir():
        reason = "its folder does not exist any more. Put it back, or choose another"
    else:
        reason = f"{error.strerror or error}. Check the disk, or choose another folder"
    kept = " The file saved before is unchanged." if path.is_file() else ""
    return OutputError(f"{path} cannot be {verb}: {reason}.{kept}")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a new, empty file that is flushed and renamed to ``path`` when the block succeeds.

    A reader sees the old content or the new one, never a part of it.  The name of the new file is hidden and
    unique, and a link at ``path`` is replaced, not followed.  Raises `OutputError`.
    """
    temporary = path.with_name(f".{path.name[:_LONGEST]}.{secrets.token_hex(4)}.part")
    try:
        with writing(path):
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            yield temporary
            flush(temporary)
            os.replace(temporary, path)
            flush_folder(path.parent)
    finally:  # nothing is left of it after a good end
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_file(path: Path, content: bytes) -> None:
    """Write a whole file; see `atomic_write`."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def remove_file(path: Path) -> None:
    """Remove a file for good, if it is there; raises `OutputError`."""
    with writing(path, "removed"):
        path.unlink(missing_ok=True)
        flush_folder(path.parent)


def free_path(folder: Path, name: str, suffix: str = "") -> Path:
    """Return a path in a folder that does not exist: the name, or ``NAME-2``, ..., with a suffix."""
    path, count = folder / f"{name}{suffix}", 2
    while path.exists():
        path, count = folder / f"{name}-{count}{suffix}", count + 1
    return path


def quarantine(path: Path) -> Path:
    """Rename a damaged file to ``NAME.damaged`` (or ``-2``, ...), and return its new path."""
    aside = free_path(path.parent, f"{path.name}.damaged")
    with writing(path, "renamed"):
        os.rename(path, aside)
        flush_folder(path.parent)
    return aside


def make_folder(folder: Path) -> None:
    """Make a folder that files can be made in, unless it is there; raises `OutputError`."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".napari-jnet-{os.getpid()}-{secrets.token_hex(4)}.part"
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        probe.unlink()


def check_no_link(folder: Path) -> None:
    """Raise `OutputError` for a folder that is a link: a project from elsewhere may point it anywhere."""
    if folder.is_symlink():
        raise OutputError(
            f"{folder} is a link to {os.readlink(folder)}, so files would be written outside the project. "
            "Put the folder itself in its place."
        )


def clean(folder: Path, *, locked: bool = False) -> None:
    """Remove the unfinished files of killed processes in a folder; what cannot be removed stays.

    Files of the last hour may be those of a process that is writing now, and stay too, unless the caller
    has the folder `locked`.
    """
    for path in folder.glob(".*.part"):
        with suppress(OSError):
            old = locked or time.time() - path.stat().st_mtime > _OLD_S
            if old and _UNFINISHED.fullmatch(path.name):
                path.unlink()


def recovery_places() -> Iterator[Path]:
    """Yield where recovery copies are written: the home folder, and the temporary folder."""
    for find in (Path.home, tempfile.gettempdir):
        with suppress(OSError, RuntimeError):  # there is none
            yield Path(find())


def write_recovery_copy(write: Callable[[Path], Path]) -> Path:
    """Write into a new folder in the home, else in the temporary folder; return what ``write`` does.

    Raises the error of ``write`` where both are full.
    """
    name = f"{RECOVERY}{datetime.now():%Y-%m-%d-%H%M%S-%f}"
    failure: Exception = OSError("neither the home folder nor a temporary folder exists")
    for place in recovery_places():
        try:
            (place / name).mkdir(mode=0o700)  # others may read in the temporary folder
            return write(place / name)
        except (OSError, ValueError) as error:
            failure = error
            with suppress(OSError):
                (place / name).rmdir()
    raise failure


def flush(path: Path) -> None:
    """Wait until the content of a file is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Wait until new names in a folder are on the disk too, where the system can do that."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems cannot flush folders; the file itself is flushed already.
        with suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


class FolderInUse(ValueError):
    """Another program, or another window of this one, is writing into a folder; `owner` names it."""

    def __init__(self, text: str, owner: str) -> None:
        super().__init__(text)
        self.owner = owner


class FolderLock:
    """The exclusive right to write into a folder; a context manager.

    It is held from `acquire` to `release` or the end of the process; a lock file that a killed process has
    left locks nothing.  A second `FolderLock` of the same folder fails in the same process and thread too.
    """

    def __init__(self, folder: Path, name: str = LOCK_FILE) -> None:
        self.file = Path(os.path.realpath(folder)) / name
        self._folder = folder
        # Jobs may be closed in another thread than they were started in.  A file that a killed program of
        # another user has left can be locked in a folder that both may write.  A lock without the
        # system's help would outlive its process.
        self._lock = FileLock(self.file, mode=0o666, thread_local=False, fallback_to_soft=False)

    def acquire(self, wait_s: float = _PATIENCE_S) -> Self:
        """Take the lock, waiting so long for another holder; raises `FolderInUse` or `OutputError`."""
        try:
            self._lock.acquire(timeout=wait_s, poll_interval=0.02)
        except Timeout:
            owner = self._owner() or "another program"
            raise FolderInUse(
                f"{self._folder} is in use: {owner} is writing into it. Wait until it has ended, stop it, "
                "or choose another folder.",
                owner,
            ) from None
        except (NotImplementedError, OSError) as error:
            raise _refusal(self.file, error, "written") from error
        with suppress(OSError):  # only for the message to other programs
            handle = os.open(self.file, os.O_WRONLY | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0))
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(_this_process())
        return self

    def release(self) -> None:
        """Release the lock; further calls do nothing."""
        if not self._lock.is_locked:
            return
        if os.name == "posix":  # elsewhere an open file cannot be removed now, but afterwards
            with suppress(OSError):
                self.file.unlink()
        self._lock.release()

    @property
    def is_held(self) -> bool:
        """Whether this very lock holds the folder."""
        return self._lock.is_locked

    @property
    def holder(self) -> str:
        """Who else holds the lock of this folder, for messages; "" if it is free."""
        if self.file.exists():
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

    def _owner(self) -> str:
        with suppress(OSError, UnicodeError):
            owner = self.file.read_text(encoding="utf-8")
            return "this program" if owner == _this_process() else owner
        return ""


def _this_process() -> str:
    return f"process {os.getpid()} on {platform.node()}"


@contextmanager
def file_lock(project: Path) -> Iterator[None]:
    """Wait until no other program is in such a block for this project; raises `FolderInUse` after a minute.

    Where the file system has no locks, it does not wait.
    """
    lock = FolderLock(project, ".project.lock")
    with suppress(OSError):  # writing in the block will fail for the same reason
        lock.acquire(60)
    try:
        yield
    finally:
        lock.release()


class FileError(ValueError):
    """A file cannot be used, in a sentence that names it."""


@contextmanager
def reading(
    path: Path,
    what: str,
    remedy: str = "the file is truncated or damaged. Copy or download it again.",
    error_type: type[FileError] = FileError,
) -> Iterator[None]:
    """Turn any error of a reader into one sentence about the file.

    It is an `error_type` for a file that is damaged or something else than `what`, a text with its article;
    the sentence ends with the `remedy`.  `FileNotFoundError`, other errors of the system, and `FileError` for
    content that does not fit into the memory, or raised within, stay what they are.
    """
    try:
        if not path.is_file():
            if path.exists() or path.is_symlink():
                raise error_type(f"{path} cannot be read as {what} (it is not a file); {remedy}")
            raise FileNotFoundError(f"{path} does not exist; check the path, or restore the file.")
        yield
    except FileError:
        raise
    except (MemoryError, OverflowError) as error:
        raise _too_large(path) from error
    except Exception as error:
        # Readers raise OSError for damaged content too, then without errno.
        if isinstance(error, OSError) and error.errno is not None:
            raise type(error)(f"{path} cannot be read: {error.strerror}.") from error
        if isinstance(error, FileNotFoundError):
            raise
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        why = " ".join(why.split())[:300] or type(error).__name__
        raise error_type(f"{path} cannot be read as {what} ({why}); {remedy}") from error


def scratch_array(shape: tuple[int, ...], dtype: type) -> NDArray[Any]:
    """Return zeros in a memory-mapped temporary file, which goes with them; `OSError` if the disk is full."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    with tempfile.TemporaryFile(prefix="napari-jnet-") as file:
        try:
            if hasattr(os, "posix_fallocate"):  # else a full disk would kill the process later
                os.posix_fallocate(file.fileno(), 0, size)
            return np.memmap(file, dtype, "w+", shape=shape)
        except OSError as error:
            raise OSError(
                f"{format_bytes(size)} do not fit into the folder of temporary files, "
                f"{tempfile.gettempdir()}: {error.strerror}. Free some space, or set TMPDIR."
            ) from error


def release_pages(array: NDArray[Any]) -> None:
    """Take the pages of a memory-mapped file, of which the array is a part, out of the memory."""
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def check_memory(path: Path, size: int) -> None:
    """Raise `FileError` for a file whose content needs more bytes than are free."""
    if size > available_bytes():
        raise _too_large(path, size)


def _too_large(path: Path, size: int | None = None) -> FileError:
    needed = "more memory than there is" if size is None else f"{format_bytes(size)} of memory"
    return FileError(
        f"The content of {path} needs {needed} according to its header; {format_bytes(available_bytes())} "
        "are free. Copy it again if it should not be that large, or use a part of it."
    )


def read_json(
    path: Path, remedy: str = "the file is truncated or damaged. Put back a copy of it."
) -> Any:
    """Read a JSON file; ``remedy`` and errors as of `reading`."""
    with reading(path, "a JSON file", remedy):
        return json.loads(path.read_text(encoding="utf-8-sig"))
