"""What all commands share: how they talk, and how Ctrl-C and other signals stop them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from rich.console import Console


def console() -> Console:
    """Return the console of this run; made anew, so that it follows a redirected stdout.

    It shows texts as they are: brackets in names of files are no markup.
    """
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True, markup=False, emoji=False)


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
    """Whether the user, or the system, has asked to stop.

    Attributes
    ----------
    asked
        Whether anybody has.
    status
        The exit status that says so: 130 after Ctrl-C, else 128 and the number of the signal.
    """

    def __init__(self) -> None:
        self.asked = False
        self.status = 130


@contextmanager
def stop_signal() -> Iterator[Stop]:
    """Let the first signal ask for a stop at the next good moment, and the second one interrupt.

    The signals are Ctrl-C, SIGTERM (a batch system ends the job) and SIGHUP (the terminal is gone);
    one that this program was told to ignore, as by nohup, stays ignored.
    """
    stop = Stop()
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    former = {n: handler for n, handler in before.items() if handler not in (signal.SIG_IGN, None)}

    def ask(number: int, frame: object) -> None:
        stop.asked, stop.status = True, 128 + number
        for other in former:
            signal.signal(other, interrupt)
        if number == getattr(signal, "SIGHUP", None):
            _leave_the_terminal()
        print("\nStopping; press Ctrl-C again to stop at once.", file=sys.stderr)

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    for number in former:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _leave_the_terminal() -> None:
    """Say no more to a terminal that is gone: it would be an error; a file is written as before."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name).isatty():
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
