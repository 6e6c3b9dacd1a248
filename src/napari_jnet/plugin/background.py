"""Small tasks in a thread of their own, one after another; their answers in the window's thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, Qt, Signal

__all__ = ["Background"]

_Told = Callable[[Any], None] | None


class _Bell(QObject):
    """Calls in the window's thread, whatever thread rings it."""

    rung = Signal()

    def __init__(self, call: Callable[[], None]) -> None:
        super().__init__()
        self._call = call
        self.rung.connect(self._answer, Qt.ConnectionType.QueuedConnection)

    def _answer(self) -> None:
        self._call()


class Background:
    """Runs short tasks in order; for long jobs with events there is `Relay`.

    Its thread lives as long as there are tasks.  napari asks nothing about them when its window
    closes: whoever submits a task that must not be lost waits for it.

    Parameters
    ----------
    name
        Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: deque[tuple[Callable[[], Any], _Told, _Told]] = deque()
        self._answers: deque[tuple[_Told, Any]] = deque()
        self._change = threading.Condition()
        self._at_work = False
        self._closed = threading.Event()
        self._bell = _Bell(self._deliver)

    @property
    def busy(self) -> bool:
        """Whether a task is under way, or its answer not told yet."""
        return not self._closed.is_set() and bool(self._at_work or self._answers)

    def submit(
        self,
        task: Callable[[], Any],
        then: Callable[[Any], None] | None = None,
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        """Run a task after those submitted before; after `close` it is not run.

        Parameters
        ----------
        task
            Called in the thread.
        then, failed
            Called in the window's thread with what the task returned or raised.
        """
        if self._closed.is_set():
            return
        with self._change:
            self._tasks.append((task, then, failed))
            begins, self._at_work = not self._at_work, True
        if begins:  # no daemon: Python waits for it at its end, so that no save is cut short
            threading.Thread(target=self._work, name=self._name, daemon=False).start()

    def wait(self, timeout_s: float = 30.0) -> None:
        """Wait for all tasks and tell their answers; called in the window's thread.

        Raises
        ------
        TimeoutError
            If they take longer.
        """
        while self.busy:
            with self._change:
                if not self._change.wait_for(lambda: not self._at_work, timeout_s):
                    raise TimeoutError(
                        f"The tasks of {self._name!r} take longer than {timeout_s:g} s; wait again."
                    )
            self._deliver()

    def close(self) -> None:
        """Drop the tasks that wait, and let the one under way end; nothing is told any more."""
        self._closed.set()
        with self._change:
            self._tasks.clear()
        self._answers.clear()

    def _work(self) -> None:
        while True:
            with self._change:
                if not self._tasks:
                    self._at_work = False
                    self._change.notify_all()
                    return
                task, then, failed = self._tasks.popleft()
            try:
                answer = (then, task())
            except Exception as error:  # noqa: BLE001 - the boundary of the thread: told by `failed`
                answer = (failed, error)
            self._answers.append(answer)
            self._ring()

    def _ring(self) -> None:
        try:
            self._bell.rung.emit()
        except RuntimeError:  # the window is gone, and its Qt objects with it
            self._closed.set()

    def _deliver(self) -> None:
        while self._answers and not self._closed.is_set():
            call, value = self._answers.popleft()
            if call is not None:
                call(value)
