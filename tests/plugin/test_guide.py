"""The guide: opens by itself until it is closed, explains each step, blocks nothing."""

from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QPoint
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from napari_jnet.plugin.open_workspace import open_workspace
from napari_jnet.plugin.workbench import Workbench

LATER = 3000


class Page(QWidget):
    """A step with one button, called like the one that makes labels."""

    def __init__(self, _step, _viewer):
        super().__init__()
        self.button = QPushButton("New annotation")
        QHBoxLayout(self).addWidget(self.button)


@pytest.fixture
def settings(monkeypatch):
    """What is remembered, away from the user's own settings."""
    remembered = SimpleNamespace(show=True)
    monkeypatch.setattr("napari_jnet.plugin.workbench.plugin_settings", lambda _: remembered)
    monkeypatch.setattr("napari_jnet.plugin.workbench.make_widget", Page)
    return remembered


@pytest.fixture
def workbench(make_napari_viewer, settings, qtbot):
    viewer = make_napari_viewer()
    widget = Workbench(viewer)
    qtbot.addWidget(widget)
    return widget


def test_the_guide_opens_until_it_is_closed_and_that_is_remembered(workbench, settings):
    assert not workbench.guide.isHidden()
    workbench.guide.close_button.click()
    assert workbench.guide.isHidden()
    assert not settings.show
    workbench.hint_line.help_button.click()
    assert not workbench.guide.isHidden()
    assert settings.show


def test_a_guide_closed_once_stays_closed_next_time(make_napari_viewer, settings, qtbot):
    settings.show = False
    widget = Workbench(make_napari_viewer())
    qtbot.addWidget(widget)
    assert widget.guide.isHidden()


def test_it_says_what_each_step_is_for(workbench):
    assert "Open the images" in workbench.guide.label.text()
    workbench.show_step("train")
    assert "3. Train" in workbench.guide.label.text()


def test_show_me_brings_cells_without_their_truth(workbench, qtbot):
    shared = open_workspace(workbench._viewer)
    assert not workbench.guide.sample_button.isHidden()
    workbench.guide.sample_button.click()
    assert shared.image.name == "touching cells"
    assert shared.labels() == []
    qtbot.waitUntil(workbench.guide.sample_button.isHidden, timeout=LATER)


def test_where_napari_has_no_settings_of_the_plugin_it_is_remembered_in_memory(monkeypatch, qtbot):
    def missing(_name):
        raise KeyError("napari-jnet")

    monkeypatch.setattr("napari_jnet.plugin.settings.get_plugin_settings", missing)
    for shown in (False, True):
        bench = Workbench(ViewerModel())
        qtbot.addWidget(bench)
        bench.show_guide(shown)
        again = Workbench(ViewerModel())
        qtbot.addWidget(again)
        assert again.guide.isHidden() is not shown


def test_the_guide_explains_the_kind_that_is_painted(settings, qtbot):
    viewer = ViewerModel()
    viewer.add_image(np.zeros((3, 32, 32)))
    workbench = Workbench(viewer)
    qtbot.addWidget(workbench)
    workbench.show_step("annotate")
    assert "own number" in workbench.guide.label.text()
    open_workspace(viewer).new_annotation("scribbles")
    qtbot.waitUntil(lambda: "Draw a few strokes" in workbench.guide.label.text(), timeout=LATER)
    assert "own number" not in workbench.guide.label.text()
    open_workspace(viewer).new_annotation("classes")
    qtbot.waitUntil(lambda: "classes in two frames" in workbench.guide.label.text(), timeout=LATER)


def test_measure_is_ticked_when_cells_are_measured(settings, qtbot):
    viewer = ViewerModel()
    workbench = Workbench(viewer)
    qtbot.addWidget(workbench)
    assert workbench.steps_row.states["measure"] == "open"
    open_workspace(viewer).measured = 3
    qtbot.waitUntil(lambda: workbench.steps_row.states["measure"] == "done", timeout=LATER)


def test_the_steps_take_all_the_height_of_the_dock(workbench, qtbot):
    from napari._qt.widgets.qt_viewer_dock_widget import QtViewerDockWidget

    parent = QWidget()
    qtbot.addWidget(parent)
    dock = QtViewerDockWidget(parent, workbench, name="Workbench", area="right")
    qtbot.addWidget(dock)
    dock.resize(420, 900)
    dock.show()
    qtbot.waitExposed(dock)
    assert workbench.page.mapTo(workbench, QPoint(0, workbench.page.height())).y() > 860 - 40
