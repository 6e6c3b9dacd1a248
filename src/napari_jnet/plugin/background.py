"""Small tasks in a thread of their own, one after another; their answers in the window's thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from qtpy.QtCore import QObject, Qt, Signal

__all__ = ["Background"]


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

    napari asks nothing about them when its window closes: whoever submits a task that must not be
    lost waits for it.

    Parameters
    ----------
    name
        Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._answers: deque[tuple[Callable[[Any], None] | None, Any]] = deque()
        self._waiting: set[Future[None]] = set()
        self._closed = threading.Event()
        self._bell = _Bell(self._deliver)

    @property
    def busy(self) -> bool:
        """Whether a task is under way, or its answer not told yet."""
        return bool(self._waiting or self._answers)

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

        def run() -> None:
            if self._closed.is_set():
                return
            try:
                answer = (then, task())
            except Exception as error:  # noqa: BLE001 - the boundary of the thread: told by `failed`
                answer = (failed, error)
            self._answers.append(answer)
            self._ring()

        future = self._pool.submit(run)
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)

    def wait(self, timeout_s: float = 30.0) -> None:
        """Wait for all tasks and tell their answers; called in the window's thread.

        Raises
        ------
        TimeoutError
            If they take longer.
        """
        while self.busy:
            for future in list(self._waiting):
                future.result(timeout_s)
            self._deliver()

    def close(self) -> None:
        """Drop the tasks that wait, and let the one under way end; nothing is told any more."""
        self._closed.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._waiting.clear()
        self._answers.clear()

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
