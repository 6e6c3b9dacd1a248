"""Writing results: each name stands for a whole file, and failures are `OutputError`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_jnet.data import storing

__all__ = ["OutputError", "make_folder", "replacing", "writing"]


class OutputError(ValueError):
    """A result that cannot be written: where, why, and what to do."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write into an `OutputError` in words."""
    try:
        yield
    except OSError as error:
        raise OutputError(storing.in_words(path, error).strerror) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that takes its name when the block ends well.

    Raises
    ------
    OutputError
        If the file cannot be written; a former file of this name is still there.
    """
    try:
        with storing.replacing(path) as partial:
            yield partial
    except OSError as error:  # in words already
        raise OutputError(error.strerror) from error


def make_folder(folder: Path) -> bool:
    """Make a folder and see that files can be made in it; see `storing.make_folder`.

    Raises
    ------
    OutputError
        If it cannot be made or written.
    """
    try:
        return storing.make_folder(folder)
    except OSError as error:  # in words already
        raise OutputError(error.strerror) from error
