"""The workbench: one step at a time, made when it is shown; hint, marks, saving and training."""

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtWidgets import QLabel, QWidget

from napari_jnet.labels import LabelKind
from napari_jnet.plugin.guidance import Hint
from napari_jnet.plugin.open_workspace import open_workspace
from napari_jnet.plugin.ui.page import JobWidget
from napari_jnet.plugin.ui.widgets import WrappedLabel
from napari_jnet.plugin.workbench import STEPS, Workbench
from napari_jnet.plugin.workspace import SaveStatus, TrainingStatus

LATER = 3000  # ms: more than the workbench waits before it looks again


class Page(QWidget):
    """Stands for the widget of a step."""

    made: ClassVar[list[str]] = []

    def __init__(self, name):
        super().__init__()
        self.name = name
        Page.made.append(name)


@pytest.fixture(autouse=True)
def no_guide(monkeypatch):
    """Keep the guide closed, and the user's settings as they are."""
    closed = SimpleNamespace(show=False)
    monkeypatch.setattr("napari_jnet.plugin.workbench.plugin_settings", lambda _: closed)


@pytest.fixture
def pages(monkeypatch):
    Page.made.clear()
    monkeypatch.setattr(
        "napari_jnet.plugin.workbench.make_widget", lambda step, _viewer: Page(step.name)
    )
    return Page


@pytest.fixture
def workbench(viewer, pages, qtbot):
    _, widget = viewer.window.add_plugin_dock_widget("napari-jnet", "Workbench")
    return widget


def test_a_step_is_made_when_it_is_first_shown_and_once_only(workbench, pages):
    assert pages.made == ["stack"]
    workbench.steps_row.buttons["train"].click()
    assert open_workspace(workbench._viewer).page == "train"
    assert workbench.page.name == "train"
    workbench.steps_row.buttons["stack"].click()
    workbench.steps_row.buttons["train"].click()
    assert pages.made == ["stack", "train"]


def test_the_session_and_the_workbench_say_the_same_step(workbench, viewer):
    open_workspace(viewer).page = "predict"
    assert open_workspace(workbench._viewer).page == "predict"
    assert workbench.steps_row.buttons["predict"].isChecked()
    workbench.steps_row.buttons["annotate"].click()
    assert open_workspace(viewer).page == "annotate"


def test_the_hint_leads_to_its_step_and_its_button_goes_when_one_is_there(workbench, viewer, qtbot):
    assert not workbench.hint_line.go_button.isHidden()
    workbench.hint_line.go_button.click()
    assert open_workspace(workbench._viewer).page == workbench.hint_line.hint.step
    assert workbench.hint_line.go_button.isHidden()


def test_the_hint_follows_the_session(workbench, viewer, qtbot):
    open_workspace(viewer).training = TrainingStatus("running", Path("run"), 3, 0.25)
    qtbot.waitUntil(lambda: "preview" in workbench.hint_line.label.text(), timeout=LATER)
    assert workbench.steps_row.states["train"] == "next"
    open_workspace(viewer).training = TrainingStatus("idle", outcome="stopped")
    viewer.layers.clear()
    qtbot.waitUntil(lambda: "Open a stack" in workbench.hint_line.label.text(), timeout=LATER)
    assert workbench.steps_row.states["stack"] == "next"


def test_training_and_saving_are_seen_from_every_step(workbench, viewer, qtbot):
    shared, row = open_workspace(viewer), workbench.status_row
    assert row.training.isHidden()
    shared.training = TrainingStatus("running", Path("run"), 3, 0.25)
    assert not row.training.isHidden()
    assert row.training.value() == 250
    assert "epoch 3" in row.training.format()
    row.show_button.click()
    assert open_workspace(workbench._viewer).page == "train"
    assert row.training.isHidden()  # the step has a bar of its own
    workbench.show_step("annotate")
    assert not row.training.isHidden()
    shared.training = TrainingStatus("idle", outcome="done")
    assert row.training.isHidden()
    shared.saving = SaveStatus("saved 12:03")
    assert row.saved.text() == "saved 12:03"
    shared.saving = SaveStatus("not saved: the disk is full", saved=False, failed=True)
    assert row.saved.text() == "not saved"
    assert "disk is full" in row.saved.toolTip()
    qtbot.waitUntil(
        lambda: "Not saved: the disk" in workbench.hint_line.label.text(), timeout=LATER
    )


def job_that_lasts(stop_asked):
    while True:
        stop_asked.append("next event")
        time.sleep(0.001)
        yield "event"


def test_closing_the_dock_stops_the_jobs_of_its_steps(viewer, qtbot, monkeypatch):
    class Working(JobWidget):
        def begin(self):
            self._start(partial(job_that_lasts, []), "a long job")

        def _on_event(self, event):
            pass

    monkeypatch.setattr(
        "napari_jnet.plugin.workbench.make_widget", lambda _step, viewer: Working(viewer)
    )
    _, workbench = viewer.window.add_plugin_dock_widget("napari-jnet", "Workbench")
    page = workbench.show_step("train")
    page.begin()
    workbench.show_step("predict")
    assert page.running
    with qtbot.waitSignal(page.finished, timeout=LATER) as ended:
        viewer.window.remove_dock_widget(workbench)
    assert ended.args == ["stopped"]
    assert not page.running


def test_docked_again_the_workbench_has_its_steps(workbench, viewer, pages):
    workbench.show_step("train")
    viewer.window.remove_dock_widget(workbench)
    viewer.window.add_dock_widget(workbench)
    assert workbench.page.name == "train"
    assert workbench.show_step("stack").name == "stack"
    assert pages.made == ["stack", "train"]


def test_a_broken_step_raises_and_the_others_work_on(viewer, qtbot, monkeypatch):
    def make(step, _viewer):
        if step.name == "train":
            raise RuntimeError("no such thing")
        return Page(step.name)

    monkeypatch.setattr("napari_jnet.plugin.workbench.make_widget", make)
    workbench = Workbench(viewer)
    qtbot.addWidget(workbench)
    with pytest.raises(RuntimeError, match="no such thing"):
        workbench.show_step("train")
    assert open_workspace(workbench._viewer).page == "stack"
    assert workbench.show_step("predict").name == "predict"


def test_an_unknown_step_is_refused_in_words(workbench):
    with pytest.raises(ValueError, match="the steps are stack"):
        workbench.show_step("paint")
    assert open_workspace(workbench._viewer).page == "stack"


def test_frames_painted_since_the_last_epoch_are_to_be_learned(
    workbench, viewer, qtbot, trained_run
):
    shared = open_workspace(viewer)
    layer, run = shared.annotation, trained_run

    def paint(frame):
        with layer.block_history():
            layer.data_setitem((np.array([frame]), np.array([1]), np.array([1])), 77)

    shared.set_model(run, shared.annotation, shared.project)
    qtbot.waitUntil(lambda: workbench.hint_line.hint.step == "predict", timeout=LATER)
    paint(1)
    qtbot.waitUntil(lambda: "1 frame is new" in workbench.hint_line.label.text(), timeout=LATER)
    for epoch in (0, 1, 2):
        shared.training = TrainingStatus("running", run, epoch, 0.3 * epoch)
    shared.training = TrainingStatus("idle", run, 2, 1.0, "done")
    qtbot.waitUntil(lambda: workbench.hint_line.hint.command == "predict", timeout=LATER)
    assert "Shift+R" in workbench.hint_line.toolTip()
    paint(2)
    qtbot.waitUntil(lambda: "Fine-tune" in workbench.hint_line.hint.text, timeout=LATER)
    other = viewer.layers["movie"]  # any layer that is not painted on
    for epoch in (0, 1, 2):
        shared.training = TrainingStatus("running", run, epoch, labels=lambda: other)
    shared.training = TrainingStatus("idle", run, 2, 1.0, "done", labels=lambda: other)
    workbench.refresh()
    assert "Fine-tune" in workbench.hint_line.hint.text  # another training has not learned it


@pytest.mark.parametrize("step", STEPS.values(), ids=lambda step: step.name)
def test_every_step_opens_in_the_workbench(step, viewer, qtbot):
    workbench = Workbench(viewer)
    qtbot.addWidget(workbench)
    page = workbench.show_step(step.name)
    assert type(page).__name__ == step.widget.partition(":")[2]


def test_opening_the_workbench_and_all_steps_imports_nothing_slow():
    code = """
import sys
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication
app = QApplication([])
from napari.components import ViewerModel
viewer = ViewerModel()
before = set(sys.modules)  # what napari needs itself
from napari_jnet.plugin.workbench import STEPS, Workbench
workbench = Workbench(viewer)
for step in STEPS:
    workbench.show_step(step)
slow = {"torch", "scipy.ndimage", "skimage.morphology", "pyqtgraph", "typer", "rich"}
found = slow & set(sys.modules) - before
assert not found, found
workbench.deleteLater()  # before the application, as napari does: Qt would crash at the end
app.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
"""
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("step", ["stack", "annotate"])
def test_that_all_is_saved_is_said_once(viewer, qtbot, step):
    _, widget = viewer.window.add_plugin_dock_widget("napari-jnet", "Workbench")
    page = widget.show_step(step)
    open_workspace(viewer).saving = SaveStatus("saved 12:03")
    seen = [label for label in widget.findChildren(QLabel) if label.isVisibleTo(widget)]
    assert [label.text() for label in seen if "12:03" in label.text()] == ["saved 12:03"]
    assert page.isVisibleTo(widget)


class TestTheDockStaysAsWideAsItIs:
    """What is shown in it, errors included, never takes width from the image."""

    WIDTH = 372  # of the row of steps, and less than a third of a window of 1200

    @pytest.fixture
    def bench(self, qtbot):
        viewer = ViewerModel()
        bench = Workbench(viewer)
        qtbot.addWidget(bench)
        bench.open_sample()
        return bench

    def width(self, bench):
        bench.layout().activate()
        return bench.minimumSizeHint().width()

    @pytest.mark.parametrize("kind", ["instances", "classes", "scribbles"])
    def test_in_every_step_and_kind_of_labels(self, bench, kind):
        open_workspace(bench._viewer).new_annotation(LabelKind(kind))
        for step in STEPS:
            bench.show_step(step)
            assert self.width(bench) <= self.WIDTH, step

    def test_when_a_training_begins_or_ends(self, bench):
        """The buttons of both states show for a moment, and the dock would stay as wide as that."""
        page = bench.show_step("train")
        page.train_button.setText("Train from scratch")
        page.stop_button.setText("Skip comparison")
        for button in (page.train_button, page.fine_tune_button, page.stop_button):
            button.setVisible(True)
        assert self.width(bench) <= self.WIDTH

    @pytest.mark.parametrize(
        "text",
        [
            "/a/path/without/any/space/"
            + "x" * 200
            + "/model.pt is not a model file. Choose another.",
            "'" + "name_of_a_layer_" * 12 + "' has 3 channels.",
        ],
    )
    def test_when_an_error_comes_and_goes(self, bench, text):
        for step in STEPS:
            page = bench.show_step(step)
            before = self.width(bench)
            page.show_error(ValueError(text))
            assert self.width(bench) == before, step
            assert page.message.text == text
            page.message.say("")
            assert self.width(bench) == before

    def test_a_message_makes_no_window_of_a_laptop_higher(self, bench):
        bench.show_guide(True)
        open_workspace(bench._viewer).new_annotation(LabelKind.INSTANCES)
        for step in STEPS:
            page = bench.show_step(step)
            page.message.say("A sentence that takes more than one line of this dock to say. " * 2)
            bench.layout().activate()
            assert bench.minimumSizeHint().height() <= 450, step
            page.message.say("")

    def test_when_the_hint_names_something_long(self, bench):
        before = self.width(bench)
        bench.hint_line.show_hint(
            Hint("The folder /" + "runs_" * 60 + " is gone.", "train"), "stack"
        )
        assert self.width(bench) == before


def test_a_label_that_wraps_anywhere_gives_its_text_as_it_was(qtbot):
    text = 'See <a href="file:///a/very/long/link/' + "x" * 60 + '">the page</a> of ' + "y" * 60
    label = WrappedLabel(text)
    qtbot.addWidget(label)
    assert label.text() == text
    assert "x" * 60 in QLabel.text(label)  # a tag is not broken
    assert label.minimumSizeHint().width() < 100
