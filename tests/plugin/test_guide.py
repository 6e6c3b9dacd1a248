"""The guide: opens by itself until it is closed, rings the next button, blocks nothing."""

import re
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QPoint, QRect, Qt, QUrl
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFrame, QHBoxLayout, QPushButton, QScrollArea, QWidget

from napari_jnet.plugin import workbench as guide
from napari_jnet.plugin.layers.add import new_annotation
from napari_jnet.plugin.open_workspace import open_workspace
from napari_jnet.plugin.workbench import Spotlight, Workbench, find_button

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
    remembered = {"show": True}
    monkeypatch.setattr("napari_jnet.plugin.workbench.wants_guide", lambda: remembered["show"])
    monkeypatch.setattr(
        "napari_jnet.plugin.workbench.remember_guide",
        lambda show: remembered.update(show=show),
    )
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
    assert settings == {"show": False}
    assert workbench.spotlight.button is None
    workbench.hint_line.help_button.click()
    assert not workbench.guide.isHidden()
    assert settings == {"show": True}


def test_a_guide_closed_once_stays_closed_next_time(make_napari_viewer, settings, qtbot):
    settings["show"] = False
    widget = Workbench(make_napari_viewer())
    qtbot.addWidget(widget)
    assert widget.guide.isHidden()
    assert widget.spotlight.button is None


def test_it_says_what_each_step_is_for_and_where_more_is(workbench):
    assert "Open the images" in workbench.guide.text
    workbench.show_step("train")
    assert "3. Train" in workbench.guide.text
    (link,) = re.findall(r'href="([^"]*)"', workbench.guide.text)
    assert Path(QUrl(link).toLocalFile()).name == "tutorial.md"
    assert Path(QUrl(link).toLocalFile()).is_file()


def test_show_me_brings_cells_without_their_truth(workbench, qtbot):
    shared = open_workspace(workbench._viewer)
    assert not workbench.guide.sample_button.isHidden()
    workbench.guide.sample_button.click()
    assert shared.image.name == "touching cells"
    assert shared.labels() == []
    qtbot.waitUntil(workbench.guide.sample_button.isHidden, timeout=LATER)


def test_the_next_button_is_ringed_here_or_the_step_that_has_it(workbench, qtbot):
    workbench.open_sample()
    step = workbench.steps_row.buttons["annotate"]
    qtbot.waitUntil(lambda: workbench.spotlight.button is step, timeout=LATER)
    page = workbench.show_step("annotate")
    assert workbench.spotlight.button is page.button


def test_a_ringed_button_can_be_clicked_and_the_ring_moves_with_it(qtbot):
    window = QWidget()
    qtbot.addWidget(window)
    button = QPushButton("Train", window)
    button.setGeometry(20, 20, 80, 30)
    window.resize(300, 200)
    spotlight = Spotlight()
    spotlight.move_to(button)
    (ring,) = [child for child in window.children() if child is not button]
    window.show()
    qtbot.waitExposed(window)
    clicks = []
    button.clicked.connect(lambda: clicks.append("Train"))
    QTest.mouseClick(window.childAt(QPoint(60, 35)), Qt.MouseButton.LeftButton)
    assert clicks == ["Train"]
    button.move(100, 100)
    assert ring.geometry().contains(button.geometry())
    spotlight.move_to(None)
    assert ring.isHidden()
    assert spotlight.button is None


def test_a_ringed_button_may_go(qtbot):
    window = QWidget()
    qtbot.addWidget(window)
    page = QWidget(window)
    spotlight = Spotlight()
    spotlight.move_to(QPushButton("Train", page))
    with qtbot.waitSignal(page.destroyed, timeout=LATER):
        page.deleteLater()
    assert spotlight.button is None
    other = QPushButton("Predict", window)
    spotlight.move_to(other)
    assert spotlight.button is other


def test_buttons_are_found_by_their_words():
    pytest.importorskip("pytestqt")
    page = QWidget()
    long = QPushButton("Go on with the training stopped at epoch 3", page)
    exact = QPushButton("Go on", page)
    hidden = QPushButton("Train", page)
    hidden.hide()
    assert find_button(page, "Go on") is exact
    assert find_button(page, "Go on with") is long
    assert find_button(page, "Train") is None
    assert find_button(page, "") is None


def test_where_napari_has_no_settings_of_the_plugin_it_is_remembered_in_memory(monkeypatch):
    def missing(_name):
        raise KeyError("napari-jnet")

    monkeypatch.setattr(guide, "get_plugin_settings", missing)
    assert guide.wants_guide()
    guide.remember_guide(False)
    assert not guide.wants_guide()
    guide.remember_guide(True)
    assert guide.wants_guide()


def test_the_ring_is_cut_and_covered_on_no_side(qtbot):
    window = QWidget()
    qtbot.addWidget(window)
    window.resize(300, 200)
    row = QWidget(window)
    row.setGeometry(20, 20, 200, 30)
    button, neighbour = QPushButton("Train", row), QPushButton("Go on", row)
    button.setGeometry(0, 0, 80, 30)  # it fills the height of its row and begins at the left of it
    neighbour.setGeometry(81, 0, 80, 30)
    spotlight = Spotlight(window)
    spotlight.move_to(button)
    window.show()
    qtbot.waitExposed(window)
    (ring,) = [child for child in window.children() if type(child) is QFrame]
    assert ring.visibleRegion().boundingRect().size() == ring.size()
    assert ring.geometry() == QRect(20, 20, 80, 30).adjusted(-3, -3, 3, 3)
    row.move(40, 60)
    assert ring.geometry() == QRect(40, 60, 80, 30).adjusted(-3, -3, 3, 3)
    row.hide()
    assert ring.isHidden()
    row.show()
    assert not ring.isHidden()


def test_the_ring_scrolls_with_its_button(qtbot):
    window = QWidget()
    qtbot.addWidget(window)
    area = QScrollArea(window)
    content = QWidget()
    content.resize(200, 900)
    button = QPushButton("Train", QWidget(content))
    area.setWidget(content)
    Spotlight(window).move_to(button)
    assert any(type(child) is QFrame for child in content.children())


def test_the_guide_explains_the_kind_that_is_painted(settings, qtbot):
    viewer = ViewerModel()
    viewer.add_image(np.zeros((3, 32, 32)))
    workbench = Workbench(viewer)
    qtbot.addWidget(workbench)
    workbench.show_step("annotate")
    assert "own number" in workbench.guide.text
    new_annotation(open_workspace(viewer), "scribbles")
    qtbot.waitUntil(lambda: "Draw a few strokes" in workbench.guide.text, timeout=LATER)
    assert "own number" not in workbench.guide.text
    new_annotation(open_workspace(viewer), "classes")
    qtbot.waitUntil(lambda: "classes in two frames" in workbench.guide.text, timeout=LATER)


def test_measure_is_ticked_when_cells_are_measured(settings, qtbot):
    viewer = ViewerModel()
    workbench = Workbench(viewer)
    qtbot.addWidget(workbench)
    assert workbench.steps_row.state("measure") == "open"
    open_workspace(viewer).measured = 3
    qtbot.waitUntil(lambda: workbench.steps_row.state("measure") == "done", timeout=LATER)


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
