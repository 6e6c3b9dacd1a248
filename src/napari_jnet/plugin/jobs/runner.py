"""Long jobs in threads of their own, and short tasks in a queue."""

from __future__ import annotations

import dataclasses
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any

from napari.qt.threading import FunctionWorker, create_worker
from qtpy.QtCore import QObject, Qt, QTimer, Signal

from napari_jnet.events import BatchEnd, FramePrediction, Preview
from napari_jnet.hardware import available_cores

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


class TaskQueue:
    """Runs short tasks in order; for long jobs with events there is `JobRunner`.

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


_INTERVAL_MS = 66


_FRAMES_WAITING = 8


_PATIENCE_S = 0.2


"""A job that ends sooner than this is waited for without a word."""


_CLOSE_TIMEOUT_S = 30.0


JobMaker = Callable[[], Generator[Any, None, Any]]


def window_threads() -> int:
    """Return how many threads torch may take, so that one core is left to the window."""
    return max(1, available_cores() - 1)


class _Job:
    """What both threads share: the queue of events, the stop flag and how it ended."""

    def __init__(self, make: JobMaker, ring: Callable[[], None]) -> None:
        self._make: JobMaker | None = make
        self._ring = ring
        self._events: deque[Any] = deque()
        self._lock = threading.Lock()
        self._emptied = threading.Event()
        self.stop_requested = threading.Event()
        self._going = threading.Event()
        self._going.set()
        self.ended = threading.Event()
        self.outcome = "failed"
        self.value: Any = None
        self.error: Exception | None = None

    def run(self) -> None:
        """Run the job to one of its ends; called in its thread."""
        try:
            self._run()
        except Exception as error:  # noqa: BLE001 - the boundary of the thread: shown in the window
            self.error = error
            self.outcome = "failed"
        finally:
            self._make = None  # with all that the job was made of
            self.ended.set()
            with suppress(RuntimeError):  # the window is gone, and its Qt objects with it
                self._ring()

    @property
    def paused(self) -> bool:
        return not self._going.is_set()

    def pause(self, paused: bool) -> None:
        if paused and not self.stop_requested.is_set():
            self._going.clear()
        else:
            self._going.set()

    def stop(self) -> None:
        """Ask for the end; a paused job ends too."""
        self.stop_requested.set()
        self._going.set()

    def wait(self, told: Callable[[], None] | None = None) -> None:
        """Wait for the end, but not for ever; ``told`` is called where it takes a moment."""
        if not self.ended.wait(_PATIENCE_S):
            if told is not None:
                told()
            self.ended.wait(_CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        assert self._make is not None
        events = self._make()
        while True:
            self._going.wait()
            if self.stop_requested.is_set():
                break
            try:
                event = next(events)
            except StopIteration as end:
                self.outcome, self.value = "done", end.value
                return
            self._put(event)
        # closed here, in the thread that runs it: this is where the engine saves
        events.close()
        self.outcome = "stopped"

    def _put(self, event: Any) -> None:
        with self._lock:
            merged = _merge(self._events[-1], event) if self._events else None
            if merged is not None:
                self._events[-1] = merged
            else:
                self._events.append(event)
            crowded = isinstance(event, FramePrediction) and len(self._events) > _FRAMES_WAITING
            self._emptied.clear()
        # whole frames are large: wait for the window, so that memory stays bounded
        while crowded and not self.stop_requested.is_set() and not self._emptied.wait(0.1):
            pass

    def take(self) -> list[Any]:
        """Take the waiting events; called in the window's thread."""
        with self._lock:
            events = list(self._events)
            self._events.clear()
            self._emptied.set()
        return events


def _merge(last: Any, event: Any) -> Any:
    """Return one event that stands for both, or None where both are needed."""
    if isinstance(last, BatchEnd) and isinstance(event, BatchEnd):
        loss = last.loss if event.loss is None else event.loss
        return dataclasses.replace(event, loss=loss)
    if isinstance(last, Preview) and isinstance(event, Preview):
        return event
    return None


class _Title:
    """What napari calls a job when it asks whether to close a busy window."""

    def __init__(self, title: str) -> None:
        self._title = title

    def __str__(self) -> str:
        return self._title

    def __call__(self) -> None:
        """Do nothing: the job has a thread of its own."""


class _Announced(FunctionWorker):  # type: ignore[misc]
    """A job as napari knows it: listed while it runs, stopped and waited for when the window closes.

    napari keeps this for as long as its window lives, so it keeps nothing of the job alive.
    """

    def __init__(self, title: _Title) -> None:
        super().__init__(title)
        self.close: Callable[[], None] | None = None

    def quit(self) -> None:
        if self.close is not None:
            self.close()


class JobRunner(QObject):
    """Runs one job at a time in a thread of its own and hands its events to the window's thread.

    Exactly one of ``on_done``, ``on_stopped`` and ``on_error`` is called for each job, after the
    last event and when the relay is free again; none after `close`.

    Attributes
    ----------
    on_wait
        Called in the window's thread before it waits for a job whose step takes a moment.
    """

    _rung = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._job: _Job | None = None
        self._announced: _Announced | None = None
        self._calls: dict[str, Callable[..., None] | None] = {}
        self.on_wait: Callable[[], None] | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(_INTERVAL_MS)
        self._timer.timeout.connect(self._deliver)
        self._rung.connect(self._finish, Qt.ConnectionType.QueuedConnection)

    @property
    def running(self) -> bool:
        """Whether a job is under way."""
        return self._job is not None

    @property
    def stopping(self) -> bool:
        """Whether the job under way was asked to stop."""
        return self._job is not None and self._job.stop_requested.is_set()

    def start(
        self,
        job: JobMaker,
        on_event: Callable[[Any], None] | None = None,
        on_done: Callable[[Any], None] | None = None,
        on_error: Callable[[Exception], None] | None = None,
        on_stopped: Callable[[], None] | None = None,
        *,
        title: str | None = None,
    ) -> None:
        """Start a job.

        Parameters
        ----------
        job
            Makes the generator; called in the worker thread.
        on_event, on_done, on_error, on_stopped
            Called in the window's thread: with each event, the generator's return value, the
            exception, nothing.
        title
            What napari shows when the window is closed meanwhile, such as "Training on movie"; None
            for a job so short that nobody is asked.

        Raises
        ------
        ValueError
            If a job is under way.
        """
        if self.running:
            raise ValueError("A job is still running; stop it or wait for its end.")
        self._calls = {
            "event": on_event,
            "done": on_done,
            "failed": on_error,
            "stopped": on_stopped,
        }
        relay = weakref.ref(self)

        def ring() -> None:
            if (living := relay()) is not None:
                living._rung.emit()

        self._job = _Job(job, ring)
        self._announced = None if title is None else self._announce(title)
        self._timer.start()
        threading.Thread(target=self._job.run, name="napari-jnet job", daemon=True).start()

    def _announce(self, title: str) -> _Announced:
        announced: _Announced = create_worker(
            _Title(title), _worker_class=_Announced, _start_thread=False
        )
        relay = weakref.ref(self)

        def close() -> None:
            if (living := relay()) is not None:
                living._stop_and_wait()

        announced.close = close
        announced.started.emit()
        return announced

    def stop(self) -> None:
        """Ask the job to end at its next event; returns at once."""
        if self._job is not None:
            self._job.stop()

    @property
    def paused(self) -> bool:
        """Whether the job under way rests; it does once the event it works on is there."""
        return self._job is not None and self._job.paused

    def pause(self) -> None:
        """Let the job rest after its next event; returns at once.

        The generator stays where it is, in its thread; stopping and closing work as ever.
        """
        if self._job is not None:
            self._job.pause(True)

    def unpause(self) -> None:
        """Let a resting job go on."""
        if self._job is not None:
            self._job.pause(False)

    def close(self) -> None:
        """Stop the job and wait for the end of its step; nothing is called any more."""
        self._calls = {}
        self._stop_and_wait()

    def _stop_and_wait(self) -> None:
        if self._job is not None:
            self._job.stop()
            self._job.wait(self.on_wait)

    def _deliver(self) -> None:
        job, on_event = self._job, self._calls.get("event")
        if job is None:
            return
        errors = []
        for event in job.take():
            if on_event is not None:
                try:
                    on_event(event)
                except Exception as error:  # noqa: BLE001 - raised below: the others come first
                    errors.append(error)
        if errors:
            raise errors[0]

    def _finish(self) -> None:
        job, calls = self._job, self._calls
        if job is None or not job.ended.is_set():
            return
        self._timer.stop()
        try:
            self._deliver()
        finally:
            announced, self._announced = self._announced, None
            self._job, self._calls = None, {}
            if announced is not None:
                announced.close = None
                announced.returned.emit(None)
                announced.finished.emit()
            call = calls.get(job.outcome)
            arguments = {"done": (job.value,), "failed": (job.error,), "stopped": ()}
            if call is not None:
                call(*arguments[job.outcome])
