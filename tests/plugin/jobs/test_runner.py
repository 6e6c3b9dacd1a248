"""The runner between a generator of events and the window: every end, and what lies between."""

import gc
import threading
import weakref

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel
from qtpy.QtCore import QRunnable, QThreadPool

from napari_jnet.events import BatchEnd, FramePrediction
from napari_jnet.plugin.jobs.runner import JobRunner


class Record:
    def __init__(self):
        self.events, self.ends, self.threads = [], [], set()

    def calls(self):
        return {
            "on_event": self._event,
            "on_done": lambda value: self.ends.append(("done", value)),
            "on_error": lambda error: self.ends.append(("failed", error)),
            "on_stopped": lambda: self.ends.append(("stopped", None)),
        }

    def _event(self, event):
        self.events.append(event)
        self.threads.add(threading.current_thread())


@pytest.fixture
def runner(qapp):
    runner = JobRunner()
    yield runner
    runner.close()


def run(qtbot, runner, job):
    record = Record()
    runner.start(job, **record.calls())
    qtbot.waitUntil(lambda: bool(record.ends), timeout=5000)
    assert not runner.running
    return record


def batch(number, loss=None):
    return BatchEnd(1, number, loss, 0.5, 1.0, 1.0)


def test_events_arrive_in_order_in_the_window_thread(qtbot, runner):
    worker_threads = []

    def job():
        worker_threads.append(threading.current_thread())
        yield "a"
        yield "b"
        return 7

    record = run(qtbot, runner, job)
    assert record.events == ["a", "b"]
    assert record.ends == [("done", 7)]
    assert record.threads == {threading.main_thread()}
    assert worker_threads[0] is not threading.main_thread()


@pytest.mark.parametrize("error", [ValueError("bad value"), RuntimeError("torch says no")])
def test_any_error_ends_as_failed_and_the_runner_is_free_again(qtbot, runner, error):
    def job():
        yield "a"
        raise error

    record = run(qtbot, runner, job)
    assert record.ends == [("failed", error)]
    assert run(qtbot, runner, lambda: iter_of("again")).ends == [("done", None)]


def iter_of(*events):
    yield from events


def test_an_error_before_the_first_event_is_reported(qtbot, runner):
    def job():
        raise ImportError("no torch")

    assert run(qtbot, runner, job).ends[0][0] == "failed"


def test_stop_closes_the_generator_in_its_own_thread(qtbot, runner):
    closed = []

    def job():
        started = threading.current_thread()
        try:
            while True:
                yield batch(1)
        finally:
            closed.append(started is threading.current_thread())

    record = Record()
    runner.start(job, **record.calls())
    qtbot.waitUntil(lambda: bool(record.events), timeout=5000)
    runner.stop()
    assert runner.stopping
    qtbot.waitUntil(lambda: bool(record.ends), timeout=5000)
    assert record.ends == [("stopped", None)]
    assert closed == [True]


def test_close_waits_and_calls_nothing(qtbot, runner):
    closed = []

    def job():
        try:
            while True:
                yield batch(1)
        finally:
            closed.append(True)

    record = Record()
    runner.start(job, **record.calls())
    qtbot.waitUntil(lambda: bool(record.events), timeout=5000)
    runner.close()
    assert closed == [True]
    qtbot.waitUntil(lambda: not runner.running, timeout=5000)
    assert record.ends == []


def test_whole_frames_wait_for_the_window(qtbot, runner):
    made, ahead = [], []
    blank = np.zeros((2, 2), np.float32)
    crowded = threading.Event()

    def job():
        for number in range(40):
            made.append(number)
            if number == 8:
                crowded.set()
            yield FramePrediction(number, number, 40, blank, blank, blank.astype(np.int32))

    record = Record()
    calls = record.calls()

    def take(event):
        ahead.append(len(made) - event.number)
        record.events.append(event)

    runner.start(job, **{**calls, "on_event": take})
    assert crowded.wait(5)  # and the window has not looked yet
    qtbot.waitUntil(lambda: bool(record.ends), timeout=10000)
    assert [event.number for event in record.events] == list(range(40))
    assert max(ahead) <= 20


def test_a_second_job_is_refused_while_one_runs(qtbot, runner):
    release = threading.Event()

    def job():
        yield "a"
        release.wait(5)

    record = Record()
    runner.start(job, **record.calls())
    with pytest.raises(ValueError, match="still running"):
        runner.start(job)
    release.set()
    qtbot.waitUntil(lambda: bool(record.ends), timeout=5000)


def counting(asked):
    while True:
        asked.append(len(asked))
        yield len(asked)


def test_a_paused_job_is_asked_for_nothing_and_goes_on_where_it_was(qtbot, runner):
    asked, gate = [], threading.Semaphore(3)

    def job():
        for event in counting(asked):
            gate.acquire()
            yield event

    record = Record()
    runner.start(job, **record.calls())
    qtbot.waitUntil(lambda: len(record.events) == 3 and len(asked) == 4, timeout=5000)
    runner.set_paused(True)  # the job now waits for the fourth event
    assert runner.paused and runner.running
    gate.release(10)
    qtbot.waitUntil(lambda: len(record.events) == 4, timeout=5000)
    assert len(asked) == 4
    runner.set_paused(False)
    assert not runner.paused
    qtbot.waitUntil(lambda: len(record.events) == 13, timeout=5000)
    gate.release()
    runner.stop()
    qtbot.waitUntil(lambda: bool(record.ends), timeout=5000)
    assert record.events[:13] == list(range(1, 14))


@pytest.mark.parametrize("end", ["stop", "close"])
def test_a_paused_job_stops_and_closes(qtbot, runner, end):
    closed, asked = [], []

    def job():
        try:
            yield from counting(asked)
        finally:
            closed.append(True)

    record = Record()
    runner.start(job, **record.calls())
    runner.set_paused(True)
    getattr(runner, end)()
    qtbot.waitUntil(lambda: not runner.running, timeout=5000)
    assert closed == [True] or not asked  # closed where it had begun
    assert record.ends == ([("stopped", None)] if end == "stop" else [])
    assert not runner.paused
    runner.set_paused(True)  # without a job: nothing
    assert not runner.paused


def test_a_resting_job_keeps_no_thread_from_others(qtbot, runner):
    """Nor does it matter how many jobs of others fill Qt's own pool."""
    pool, release = QThreadPool.globalInstance(), threading.Event()
    others = [QRunnable.create(lambda: release.wait(10)) for _ in range(pool.maxThreadCount() + 1)]
    for other in others:
        pool.start(other)
    resting = [JobRunner() for _ in range(4)]
    try:
        for one in resting:
            one.start(lambda: counting([]))
            one.set_paused(True)
        assert run(qtbot, runner, lambda: iter_of("a")).ends == [("done", None)]
    finally:
        release.set()
        for one in resting:
            one.close()
        pool.waitForDone()


def test_nothing_of_a_job_outlives_it(qtbot, viewer, runner):
    class Payload:
        pass

    def start(title):
        payload = Payload()
        kept = weakref.ref(payload)

        def job():
            yield Payload() if payload else None
            return payload

        record = Record()
        runner.start(job, **record.calls(), title=title)
        qtbot.waitUntil(lambda: bool(record.ends), timeout=5000)
        assert record.ends[0][0] == "done"
        return kept

    kept = [start(title) for title in (None, "Training on movie")]
    gc.collect()
    assert [payload() for payload in kept] == [None, None]


def test_napari_lists_a_job_by_its_title_until_it_ends(qtbot, viewer, runner):
    release = threading.Event()

    def job():
        yield "a"
        release.wait(5)

    def listed():
        return list(viewer.window._task_status_manager.get_status())

    record = Record()
    runner.start(job, **record.calls(), title="Training on movie")
    assert any("Training on movie" in line for line in listed())
    release.set()
    qtbot.waitUntil(lambda: bool(record.ends), timeout=5000)
    assert not listed()
    runner.start(lambda: counting([]))  # without a title
    assert not listed()


def test_a_slot_that_raises_loses_no_other_event(qtbot, runner):
    seen = []

    def take(event):
        if event == "b":
            raise ValueError("a bad slot")
        seen.append(event)

    record = Record()
    with qtbot.captureExceptions() as raised:
        runner.start(lambda: iter_of("a", "b", "c"), **{**record.calls(), "on_event": take})
        qtbot.waitUntil(lambda: bool(record.ends), timeout=5000)
    assert seen == ["a", "c"] and record.ends == [("done", None)]
    assert [str(error) for _, error, _ in raised] == ["a bad slot"]


def test_closing_says_so_while_it_waits_for_a_long_step(qtbot, runner):
    said, begun = threading.Event(), threading.Event()

    def job():
        begun.set()
        said.wait(10)  # the step ends when the word was said
        yield "a"

    runner.on_wait = said.set
    runner.start(job)
    assert begun.wait(5)
    runner.close()
    assert said.is_set()


@pytest.mark.parametrize("touch", ["name", "data", "visible"])
def test_a_layer_touched_from_a_job_is_noticed_by_every_test(
    qtbot, runner, touched_elsewhere, touch
):
    layer = ViewerModel().add_image(np.zeros((4, 4)))
    values = {"name": "other", "data": layer.data + 1, "visible": False}

    def job():
        setattr(layer, touch, values[touch])
        yield "a"

    assert run(qtbot, runner, job).ends == [("done", None)]
    assert touched_elsewhere and all("napari-jnet job" in told for told in touched_elsewhere)
    touched_elsewhere.clear()
