"""Files written whole or not at all, locks on folders, and errors of reading in words."""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import secrets
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from napari_jnet.hardware import available_bytes, in_bytes

_TEMPORARY = re.compile(r"\..+\.([0-9a-f]{8})-(\d+)-[0-9a-f]+\.part")


_FIXED = re.compile(  # names of unfinished files in the first version
    r"\.(?:(?:last|model)\.pt|(?:config|split)\.json|history\.csv|res_track\.txt"
    r"|(?:probability|distance|instances|classes|mask\d+)\.tif)\.part"
)


_OLD_S = 3600.0


_LONGEST = 100  # letters of a name that are kept in that of its unfinished file; systems take 255


def write_file(path: Path, content: bytes) -> None:
    """Write a whole file: the name stands for the old content or the new, never for a part.

    Raises
    ------
    OSError
        If it cannot be written, in words; a former file of this name is unchanged.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a new, empty file beside ``path`` that is flushed and takes its name at a good end.

    Its name is hidden and like no other, and what lies at ``path`` is replaced and never followed: a
    link is no way to write elsewhere.

    Raises
    ------
    OSError
        If the file cannot be written, in words; a former file of this name is unchanged.
    """
    unique = f"{_host()}-{os.getpid()}-{secrets.token_hex(4)}"
    temporary = path.with_name(f".{path.name[:_LONGEST]}.{unique}.part")
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
        flush(temporary)
        os.replace(temporary, path)
        flush_folder(path.parent)
    except OSError as error:
        raise in_words(path, error) from error
    finally:  # nothing is left of it after a good end
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_file(path: Path) -> None:
    """Remove a file for good; one that is not there is no error; raises `OSError` in words."""
    try:
        path.unlink(missing_ok=True)
        flush_folder(path.parent)
    except OSError as error:
        raise in_words(path, error, "removed") from error


def quarantine(path: Path) -> Path:
    """Rename a damaged file, so that another may take its name; raises `OSError` in words.

    Returns
    -------
    pathlib.Path
        ``t002.tif.damaged``, numbered where that is taken.
    """
    aside, count = path.with_name(f"{path.name}.damaged"), 2
    while aside.exists():
        aside, count = path.with_name(f"{path.name}.damaged-{count}"), count + 1
    try:
        os.rename(path, aside)
        flush_folder(path.parent)
    except OSError as error:
        raise in_words(path, error, "renamed") from error
    return aside


def make_folder(folder: Path) -> bool:
    """Make a folder and see that files can be made in it; raises `OSError` in words.

    Returns
    -------
    bool
        Whether it was made now.
    """
    try:
        made = not folder.is_dir()
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".napari-jnet-{os.getpid()}-{secrets.token_hex(4)}.part"
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        probe.unlink()
    except OSError as error:
        raise in_words(folder, error) from error
    return made


def refuse_link(folder: Path) -> None:
    """Refuse to write into a folder that is a link: a project of a stranger may point it anywhere.

    Raises
    ------
    OSError
        If it is one, in words.
    """
    if folder.is_symlink():
        raise OSError(
            errno.ELOOP,
            f"{folder} is a link to {os.readlink(folder)}, so files would be written outside the project. "
            "Put the folder itself in its place.",
        )


def clean(folder: Path, *, locked: bool = False) -> None:
    """Remove what killed processes have left unfinished; what cannot be removed stays.

    Parameters
    ----------
    folder
        Only its own files, none in folders in it.
    locked
        Whether the caller holds the folder's lock, so that no file of its own process or under one of
        the fixed names of older versions is being written.  Otherwise, a file of a process that may
        still be writing is left alone.
    """
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        match = _TEMPORARY.fullmatch(name)
        ours = locked and (_FIXED.fullmatch(name) or (match and int(match[2]) == os.getpid()))
        if ours or (match and _abandoned(folder / name, match[1], int(match[2]))):
            with suppress(OSError):
                (folder / name).unlink()


def _abandoned(path: Path, host: str, process: int) -> bool:
    # Signal 0 asks whether a process lives, but on Windows it would end it.
    if host == _host() and os.name == "posix" and process != os.getpid():
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        except OSError:
            pass
    try:
        return time.time() - path.stat().st_mtime > _OLD_S
    except OSError:
        return False


def _host() -> str:
    return f"{zlib.crc32(platform.node().encode()):08x}"


def flush(path: Path) -> None:
    """Let the content of a file reach the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Let new names in a folder survive a power cut too, where the system can do that."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems cannot flush folders; the file itself is flushed already.
        with suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def in_words(path: Path, error: OSError, verb: str = "written") -> OSError:
    """Say of a path what could not be done, why, and what to do; of the same type as ``error``."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        reason = "the disk is full. Free some space, or choose another folder"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        reason = "you may not write there. Change the permissions of the folder, or choose another"
    elif error.errno in (errno.EEXIST, errno.ENOTDIR):
        reason = "a file stands where the folder should be. Choose another folder"
    elif not path.parent.is_dir():
        reason = "its folder is gone. Put the folder back, or choose another"
    else:
        reason = f"{error.strerror or error}. Check the disk, or choose another folder"
    kept = " The file saved before is unchanged." if path.is_file() else ""
    return type(error)(error.errno or errno.EIO, f"{path} cannot be {verb}: {reason}.{kept}")


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
def file_lock(project: Path) -> Iterator[None]:
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


class OutputError(ValueError):
    """A result that cannot be written: where, why, and what to do."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write into an `OutputError` in words."""
    try:
        yield
    except OSError as error:
        raise OutputError(in_words(path, error).strerror) from error


@contextmanager
def output_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that takes its name when the block ends well.

    Raises
    ------
    OutputError
        If the file cannot be written; a former file of this name is still there.
    """
    try:
        with replacing(path) as partial:
            yield partial
    except OSError as error:  # in words already
        raise OutputError(error.strerror) from error


def output_folder(folder: Path) -> bool:
    """Make a folder and see that files can be made in it; see `make_folder`.

    Raises
    ------
    OutputError
        If it cannot be made or written.
    """
    try:
        return make_folder(folder)
    except OSError as error:  # in words already
        raise OutputError(error.strerror) from error


class FileError(ValueError):
    """A file cannot be used, in words that name it."""


class FileTooLarge(FileError):
    """The content of a file needs more memory than there is."""


@contextmanager
def reading(
    path: Path,
    what: str,
    remedy: str = "the file is truncated or damaged. Copy or download it again.",
    error_type: type[FileError] = FileError,
) -> Iterator[None]:
    """Say in words why a file cannot be read, whatever its reader raises.

    Parameters
    ----------
    path
        The file.
    what
        What it should be, with its article: "a TIFF image".
    remedy
        How the sentence goes on where it is none: what that means, and what to do.
    error_type
        What is raised then.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    OSError
        If the system does not let it be read.
    FileTooLarge
        If its content does not fit into the memory.
    FileError
        As ``error_type``, if it is damaged or something else.  One raised within passes unchanged.
    """
    try:
        if not path.is_file():
            if path.exists() or path.is_symlink():
                raise error_type(f"{path} cannot be read as {what} (it is no file); {remedy}")
            raise FileNotFoundError(f"{path} does not exist; check the path, or restore the file.")
        yield
    except FileError:
        raise
    except (MemoryError, OverflowError) as error:
        raise _too_large(path) from error
    except OSError as error:
        if error.errno is not None:
            raise type(error)(f"{path} cannot be read: {error.strerror}.") from error
        if isinstance(error, FileNotFoundError):
            raise
        # Readers raise it for content too, then without a number of the system.
        raise _unreadable(path, what, remedy, error, error_type) from error
    except Exception as error:
        raise _unreadable(path, what, remedy, error, error_type) from error


def _unreadable(
    path: Path, what: str, remedy: str, error: Exception, error_type: type[FileError]
) -> FileError:
    why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
    why = " ".join(why.split())[:300] or type(error).__name__
    return error_type(f"{path} cannot be read as {what} ({why}); {remedy}")


def check_room(path: Path, size: int) -> None:
    """Refuse a file whose content needs more bytes than are free; raises `FileTooLarge`."""
    if size > available_bytes():
        raise _too_large(path, size)


def _too_large(path: Path, size: int | None = None) -> FileTooLarge:
    needed = "more memory than there is" if size is None else f"{in_bytes(size)} of memory"
    return FileTooLarge(
        f"{path} says that its content needs {needed}; {in_bytes(available_bytes())} are free. Copy it "
        "again if it should not be that large, or use a part of it."
    )


def read_json(
    path: Path, remedy: str = "the file is truncated or damaged. Put back a copy of it."
) -> Any:
    """Read a JSON file; ``remedy`` and errors as of `reading`."""
    with reading(path, "a JSON file", remedy):
        return json.loads(path.read_text(encoding="utf-8-sig"))
