"""Short tasks in a queue and long jobs with events, each in threads of their own."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from napari.qt.threading import FunctionWorker, create_worker
from qtpy.QtCore import QObject, Qt, QTimer, Signal

from napari_jnet.events import FramePrediction
from napari_jnet.hardware import available_cores

JobMaker = Callable[[], Generator[Any, None, Any]]
_EVENTS_EVERY_MS = 66
_FRAMES_WAITING = 8  # whole frames are large
_PATIENCE_S = 0.2  # a job that ends sooner is waited for without a message
_CLOSE_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Progress:
    """How far a job is."""

    done: int
    count: int
    text: str


def window_threads() -> int:
    """Return how many threads torch may take, so that one core is left to the window."""
    return max(1, available_cores() - 1)


class _Deliverer(QObject):
    """Calls `_deliver` in the window's thread after any thread has called `wake`."""

    _woken = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._woken.connect(self._deliver, Qt.ConnectionType.QueuedConnection)

    def wake(self) -> None:
        """Deliver soon; raises `RuntimeError` where the window is gone with its Qt objects."""
        self._woken.emit()

    def _deliver(self) -> None:
        raise NotImplementedError


class TaskQueue(_Deliverer):
    """Runs short tasks in order; for long jobs with events there is `JobRunner`.

    Its thread ends when no task is left.  napari does not ask about tasks when its window closes:
    whoever submits a task that must not be lost waits for it.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._tasks: deque[tuple[Callable[[], Any], Any, Any]] = deque()
        self._results: deque[tuple[Callable[[Any], None] | None, Any]] = deque()
        self._change = threading.Condition()
        self._working = self._closed = False

    @property
    def busy(self) -> bool:
        """Whether a task is under way, or its result not delivered yet."""
        return not self._closed and bool(self._working or self._results)

    def submit(
        self,
        task: Callable[[], Any],
        then: Callable[[Any], None] | None = None,
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        """Run a task after those submitted before; after `close` it is not run.

        ``then`` or ``failed`` is called in the window's thread with what the task returned or raised.
        """
        if self._closed:
            return
        with self._change:
            self._tasks.append((task, then, failed))
            idle, self._working = not self._working, True
        if idle:  # no daemon: Python waits for it at its end, so that no save is cut short
            threading.Thread(target=self._work, name=self._name, daemon=False).start()

    def wait(self, timeout_s: float = 30.0) -> None:
        """Wait for all tasks and deliver their results; raises `TimeoutError`; for the window's thread."""
        while self.busy:
            with self._change:
                if not self._change.wait_for(lambda: not self._working, timeout_s):
                    raise TimeoutError(
                        f"The tasks of {self._name!r} take longer than {timeout_s:g} s; wait again."
                    )
            self._deliver()

    def close(self) -> None:
        """Drop the tasks that wait, and let the one under way end; nothing is delivered any more."""
        self._closed = True
        with self._change:
            self._tasks.clear()
        self._results.clear()

    def _work(self) -> None:
        while True:
            with self._change:
                if not self._tasks:
                    self._working = False
                    self._change.notify_all()
                    return
                task, then, failed = self._tasks.popleft()
            try:
                result = (then, task())
            except Exception as error:  # noqa: BLE001 - the boundary of the thread: see `failed`
                result = (failed, error)
            self._results.append(result)
            try:
                self.wake()
            except RuntimeError:
                self._closed = True

    def _deliver(self) -> None:
        while self._results and not self._closed:
            call, value = self._results.popleft()
            if call is not None:
                call(value)


class _Job:
    """What both threads share: the queue of events, the flags and how it ended."""

    def __init__(self, make: JobMaker, wake: Callable[[], None]) -> None:
        self._make: JobMaker | None = make
        self._wake = wake
        self._events: deque[Any] = deque()
        self._lock = threading.Lock()
        self._emptied = threading.Event()
        self.stop_requested, self.ended = threading.Event(), threading.Event()
        self.unpaused = threading.Event()
        self.unpaused.set()
        self.outcome = "failed"
        self.result: tuple[Any, ...] = ()

    def run(self) -> None:
        """Run the job to one of its ends; called in its thread."""
        try:
            self.outcome, self.result = self._run()
        except Exception as error:  # noqa: BLE001 - the boundary of the thread: shown in the window
            self.result = (error,)
        finally:
            self._make = None  # with all that the job was made of
            self.ended.set()
            with suppress(RuntimeError):
                self._wake()

    def _run(self) -> tuple[str, tuple[Any, ...]]:
        assert self._make is not None
        events = self._make()
        while True:
            self.unpaused.wait()
            if self.stop_requested.is_set():
                events.close()  # in the thread that runs it: the training saves here
                return "stopped", ()
            try:
                event = next(events)
            except StopIteration as end:
                return "done", (end.value,)
            self._put(event)

    def _put(self, event: Any) -> None:
        with self._lock:
            self._events.append(event)
            crowded = isinstance(event, FramePrediction) and len(self._events) > _FRAMES_WAITING
            self._emptied.clear()
        # wait for the window, so that memory stays bounded
        while crowded and not self.stop_requested.is_set() and not self._emptied.wait(0.1):
            pass

    def take(self) -> list[Any]:
        """Take the waiting events; called in the window's thread."""
        with self._lock:
            events = list(self._events)
            self._events.clear()
            self._emptied.set()
        return events

    def stop(self) -> None:
        """Ask for the end; a paused job ends too."""
        self.stop_requested.set()
        self.unpaused.set()


class _Announced(FunctionWorker):
    """A job as napari lists it while it runs, and stops it when the window closes.

    napari keeps this for as long as its window lives, so it keeps nothing of the job alive.
    """

    close: Callable[[], None] | None = None

    def quit(self) -> None:
        if self.close is not None:
            self.close()


class JobRunner(_Deliverer):
    """Runs one job at a time in a thread of its own and hands its events to the window's thread.

    Exactly one of ``on_done``, ``on_stopped`` and ``on_error`` is called for each job, after the
    last event and when the runner is free again; none after `close`.  ``on_wait`` is called before the
    window waits for a job whose step takes a moment.
    """

    def __init__(self) -> None:
        super().__init__()
        self._job: _Job | None = None
        self._announced: _Announced | None = None
        self._on_event: Callable[[Any], None] | None = None
        self._on_end: dict[str, Callable[..., None] | None] = {}
        self.on_wait: Callable[[], None] | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(_EVENTS_EVERY_MS)
        self._timer.timeout.connect(self._deliver_events)

    @property
    def running(self) -> bool:
        """Whether a job is under way."""
        return self._job is not None

    @property
    def stopping(self) -> bool:
        """Whether the job under way was asked to stop."""
        return self._job is not None and self._job.stop_requested.is_set()

    @property
    def paused(self) -> bool:
        """Whether the job under way pauses; it does once the event it works on is there."""
        return self._job is not None and not self._job.unpaused.is_set()

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
        """Start a job; raises `ValueError` if one is under way.

        The functions are called in the window's thread: with each event, the generator's return value,
        the exception, nothing.  ``title``, such as "training on movie", is what napari shows when the
        window is closed meanwhile; None for a job so short that nobody is asked.
        """
        if self.running:
            raise ValueError("A job is still running; stop it or wait for its end.")
        self._on_event = on_event
        self._on_end = {"done": on_done, "failed": on_error, "stopped": on_stopped}
        self._job = _Job(job, self._weakly("wake"))
        if title is not None:
            named: Any = title  # napari shows what it takes for the function
            self._announced = create_worker(named, _worker_class=_Announced, _start_thread=False)
            self._announced.close = self._weakly("_stop_and_wait")
            self._announced.started.emit()
        self._timer.start()
        threading.Thread(target=self._job.run, name="napari-jnet job", daemon=True).start()

    def _weakly(self, method: str) -> Callable[[], None]:
        """Return a call of a method that does not keep the runner alive."""
        runner = weakref.ref(self)

        def call() -> None:
            if (living := runner()) is not None:
                getattr(living, method)()

        return call

    def stop(self) -> None:
        """Ask the job to end at its next event; returns at once."""
        if self._job is not None:
            self._job.stop()

    def set_paused(self, paused: bool) -> None:
        """Pause the job after its next event, or let it go on; returns at once.

        The generator stays where it is, in its thread; a paused job can be stopped and closed.
        """
        if self._job is None or (paused and self.stopping):
            return
        (self._job.unpaused.clear if paused else self._job.unpaused.set)()

    def close(self) -> None:
        """Stop the job and wait for the end of its step; nothing is called any more."""
        self._on_event, self._on_end = None, {}
        self._stop_and_wait()

    def _stop_and_wait(self) -> None:
        job = self._job
        if job is None:
            return
        job.stop()
        if not job.ended.wait(_PATIENCE_S):
            if self.on_wait is not None:
                self.on_wait()
            job.ended.wait(_CLOSE_TIMEOUT_S)

    def _deliver_events(self) -> None:
        errors = []
        for event in self._job.take() if self._job is not None else ():
            try:
                if self._on_event is not None:
                    self._on_event(event)
            except Exception as error:  # noqa: BLE001 - raised below: the other events come first
                errors.append(error)
        if errors:
            raise errors[0]

    def _deliver(self) -> None:
        job, on_end = self._job, self._on_end
        if job is None or not job.ended.is_set():
            return
        self._timer.stop()
        try:
            self._deliver_events()
        finally:
            announced, self._announced = self._announced, None
            self._job, self._on_event, self._on_end = None, None, {}
            if announced is not None:
                announced.close = None
                announced.returned.emit(None)
                announced.finished.emit()
            call = on_end.get(job.outcome)
            if call is not None:
                call(*job.result)
