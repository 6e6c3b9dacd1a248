"""Short tasks beside the window: their threads end with them, and so do those of a viewer."""

from __future__ import annotations

import threading

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel

from napari_jnet.plugin.jobs.runner import TaskQueue
from napari_jnet.plugin.open_workspace import open_workspace


def ours():
    return [t for t in threading.enumerate() if t.name.startswith("napari-jnet")]


def test_answers_come_in_order_and_in_the_thread_of_the_window(qtbot):
    queue, told = TaskQueue("napari-jnet test"), []

    def then(value):
        told.append((value, threading.current_thread() is threading.main_thread()))

    def fails():
        raise ValueError("3 is too many.")

    queue.submit(lambda: threading.current_thread().name, then)
    queue.submit(fails, then, lambda error: told.append(str(error)))
    qtbot.waitUntil(lambda: len(told) == 2)
    assert told == [("napari-jnet test", True), "3 is too many."]
    assert not queue.busy


def test_a_task_that_takes_too_long_is_told_and_waited_for_again(qapp):
    queue, go, told = TaskQueue("napari-jnet test"), threading.Event(), []
    queue.submit(go.wait, told.append)
    try:
        with pytest.raises(TimeoutError, match="napari-jnet test"):
            queue.wait(0.0)
    finally:
        go.set()
    queue.wait()
    assert told == [True]


def test_closing_drops_what_waits(qapp):
    queue, go, told = TaskQueue("napari-jnet test"), threading.Event(), []
    queue.submit(go.wait, told.append)
    queue.submit(lambda: told.append("run"))
    queue.close()
    go.set()
    for thread in ours():
        thread.join()
    queue.submit(lambda: told.append("late"))
    assert told == [] and not queue.busy and not ours()


def test_a_viewer_leaves_no_thread_behind(qtbot, qapp, tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_JNET_PROJECTS", str(tmp_path))
    before, kept = ours(), []
    for _ in range(5):
        viewer = ViewerModel()
        viewer.add_image(np.zeros((2, 16, 16), np.uint8))
        layer = viewer.add_labels(np.zeros((2, 16, 16), np.int32))
        state = open_workspace(viewer)
        layer.data_setitem((np.array([0]), np.array([1]), np.array([2])), 3)
        state.autosave.flush()
        qapp.processEvents()
        assert state.project is not None
        kept.append(viewer)  # a script may hold on to it
    qtbot.waitUntil(lambda: set(ours()) <= set(before), timeout=10_000)
