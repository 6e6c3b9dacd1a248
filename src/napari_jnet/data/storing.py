"""Files of a project: a name always stands for a whole file, also after a killed process."""

from __future__ import annotations

import errno
import itertools
import os
import platform
import re
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["clean", "keep_aside", "remove_file", "replacing", "sole_writer", "write_file"]

_count = itertools.count()
_TEMPORARY = re.compile(r"\..+\.([0-9a-f]{8})-(\d+)-\d+\.part")
_OLD_S = 3600.0


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
    """Give a temporary path beside ``path`` that is flushed and takes its name at a good end.

    Raises
    ------
    OSError
        If the file cannot be written, in words; a former file of this name is unchanged.
    """
    temporary = path.with_name(f".{path.name}.{_host()}-{os.getpid()}-{next(_count)}.part")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _flush_folder(path.parent)
    except OSError as error:
        raise _in_words(path, error) from error
    finally:  # nothing is left of it after a good end
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_file(path: Path) -> None:
    """Remove a file for good; one that is not there is no error; raises `OSError` in words."""
    try:
        path.unlink(missing_ok=True)
        _flush_folder(path.parent)
    except OSError as error:
        raise _in_words(path, error, "removed") from error


def keep_aside(path: Path) -> Path:
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
        _flush_folder(path.parent)
    except OSError as error:
        raise _in_words(path, error, "renamed") from error
    return aside


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Wait until no other program is in such a block for this folder; a killed one is in none.

    Where the system or the file system knows no locks, it does not wait.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # what is done in the block will say why
        yield
        return
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def clean(folder: Path) -> None:
    """Remove what killed processes have left unfinished; what cannot be removed stays.

    A file of a process that may still be writing is left alone.
    """
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        match = _TEMPORARY.fullmatch(name)
        if match and _abandoned(folder / name, match[1], int(match[2])):
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


def _flush_folder(folder: Path) -> None:
    """Let the new name survive a power cut too, where the system can do that."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems cannot flush folders; the file itself is flushed already.
        with suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def _in_words(path: Path, error: OSError, verb: str = "written") -> OSError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        reason = "the disk is full. Free some space, then save again"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        reason = "you may not write there. Change the permissions of the folder"
    elif not path.parent.is_dir():
        reason = "its folder is gone. Put the folder back, or start a new project"
    else:
        reason = f"{error.strerror or error}. Check the disk"
    kept = " The file saved before is unchanged." if path.exists() else ""
    return type(error)(error.errno or errno.EIO, f"{path} cannot be {verb}: {reason}.{kept}")
