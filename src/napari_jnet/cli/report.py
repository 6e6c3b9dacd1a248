"""What all commands share: how they talk, and how Ctrl-C stops them."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Stop", "console", "duration", "fail", "score", "stop_signal", "words_of"]


def console() -> Console:
    """Return the console of this run; made anew, so that it follows a redirected stdout."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


def fail(line: str, status: int = 2) -> NoReturn:
    """Say one line on stderr and leave."""
    print(" ".join(line.split()), file=sys.stderr)
    sys.exit(status)


def words_of(error: Exception) -> str:
    """Return the sentence of an error, without the system's number before it."""
    if isinstance(error, OSError) and error.strerror and error.filename is None:
        return error.strerror
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}."
    return str(error)


def score(value: float | None) -> str:
    """Write a score with three digits, or a dash."""
    return "–" if value is None else f"{value:.3f}"


def duration(seconds: float) -> str:
    """Write a time as people read it: "4:05", "1:02:03"."""
    if not seconds < 360000:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Stop:
    """Whether the user has asked to stop."""

    def __init__(self) -> None:
        self.asked = False


@contextmanager
def stop_signal() -> Iterator[Stop]:
    """Let the first Ctrl-C ask for a stop at the next good moment, and the second one interrupt."""
    stop = Stop()
    former = signal.getsignal(signal.SIGINT)

    def ask(number: int, frame: object) -> None:
        stop.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        print("\nStopping; press Ctrl-C again to stop at once.", file=sys.stderr)

    signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, former)
