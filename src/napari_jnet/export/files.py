"""Writing files so that a name always stands for a whole file, and failures say what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["OutputError", "make_folder", "partial_path", "replacing", "writing"]


class OutputError(ValueError):
    """A result that cannot be written: where, why, and what to do."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write into an `OutputError` in words."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {_reason(error)}") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that takes its name when the block ends well.

    Raises
    ------
    OutputError
        If the file cannot be written; a former file of this name is still there.
    """
    partial = partial_path(path)
    with writing(path):
        try:
            yield partial
            os.replace(partial, path)
        finally:  # nothing is left of it after a good end
            # The cause matters to the user; that its remains could not be removed does not.
            with suppress(OSError):
                partial.unlink(missing_ok=True)


def partial_path(path: Path) -> Path:
    """Name the unfinished file of a path; hidden, so that no reader takes it for a result."""
    return path.with_name(f".{path.name}.part")


def make_folder(folder: Path) -> None:
    """Make a folder and see that files can be made in it; raises `OutputError`."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".napari-jnet-{os.getpid()}"
        probe.touch()
        probe.unlink()


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no space is left on the disk. Free some or choose another output folder."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "you may not write there. Choose another output folder or change its permissions."
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return "a file stands where the folder should be. Choose another output folder."
    return f"{error.strerror or error}. Choose another output folder."
