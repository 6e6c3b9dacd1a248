"""The one place that turns what a reader raises into a sentence about the file.

A damaged file makes readers and codecs raise nearly anything, and one that says it is huge makes them
ask for more memory than there is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from napari_jnet.memory import available_bytes, in_bytes

__all__ = ["FileError", "FileTooLarge", "check_room", "read_json", "reading"]


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
