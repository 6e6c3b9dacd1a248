"""What all commands share: how they print, and how Ctrl-C and other signals stop them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


def console() -> Console:
    """Return the console of this run; made anew, so that it follows a redirected stdout.

    It prints texts as they are: brackets in names of files are not markup.
    """
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True, markup=False, emoji=False)


def progress_bar(out: Console) -> Progress:
    """Return a bar that is gone at the end, and that is not shown outside a terminal."""
    from rich.progress import BarColumn, Progress, TextColumn

    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %")
    return Progress(*columns, console=out, transient=True, disable=not out.is_terminal)


def fail(line: str, status: int = 2) -> NoReturn:
    """Print one line on stderr and exit."""
    print(" ".join(line.split()), file=sys.stderr)
    sys.exit(status)


def message_of(error: Exception) -> str:
    """Return the message of an error, without the system's number before it."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}."
    return str(error)


def score(value: float | None) -> str:
    """Format a score with three digits, or a dash."""
    return "–" if value is None else f"{value:.3f}"


def duration(seconds: float) -> str:
    """Format a time: "4:05", "1:02:03"."""
    if not seconds < 360000:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@dataclass
class Stop:
    """Whether the user, or the system, has requested a stop, and the exit status for it."""

    requested: bool = False
    status: int = 130  # after Ctrl-C; else 128 and the number of the signal


@contextmanager
def stop_signal() -> Iterator[Stop]:
    """Make the first signal request a stop at the next good moment; the second one interrupts.

    The signals are Ctrl-C, SIGTERM (a batch system ends the job) and SIGHUP (the terminal is closed); one
    that this program was told to ignore, as by nohup, stays ignored.
    """
    stop = Stop()
    hang_up = getattr(signal, "SIGHUP", signal.SIGTERM)  # Windows has none
    numbers = (signal.SIGINT, signal.SIGTERM, hang_up)
    former = {number: signal.getsignal(number) for number in numbers}
    former = {n: handler for n, handler in former.items() if handler not in (signal.SIG_IGN, None)}

    def request(number: int, frame: object) -> None:
        stop.requested, stop.status = True, 128 + number
        for other in former:
            signal.signal(other, signal.default_int_handler)
        for stream in ("stdout", "stderr"):  # printing to a closed terminal would be an error
            if number == hang_up != signal.SIGTERM and getattr(sys, stream).isatty():
                setattr(sys, stream, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        print("\nStopping; press Ctrl-C again to stop at once.", file=sys.stderr)

    for number in former:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
