"""Writing files: a name always stands for a whole file, also after a killed process or a full disk."""

from __future__ import annotations

import errno
import os
import platform
import re
import secrets
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = [
    "clean",
    "flush",
    "flush_folder",
    "in_words",
    "keep_aside",
    "make_folder",
    "refuse_link",
    "remove_file",
    "replacing",
    "write_file",
]

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
