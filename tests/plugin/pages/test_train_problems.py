"""What is always in sight in Train: buttons, message, and a line for problems that are out of sight."""

import pytest

pytest.importorskip("napari")
pytest.importorskip("pytestqt")

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QScrollArea, QVBoxLayout, QWidget

from napari_jnet.plugin.guidance import Problem
from napari_jnet.plugin.pages.train import ProblemLine, ProblemList, TrainWidget

PROBLEMS = [
    Problem("Nothing is painted."),
    Problem("Wide.", blocking=False),
    Problem("Slow.", blocking=False),
]


@pytest.fixture
def window(qtbot):
    """Return a window, as low as asked, with a tall form, the list, and the line below all."""
    window, content = QWidget(), QWidget()
    window.area, window.list = QScrollArea(), ProblemList()
    column = QVBoxLayout(content)
    form = QLabel("form")
    form.setFixedHeight(300)
    column.addWidget(form)
    column.addWidget(window.list)
    window.area.setWidget(content)
    window.area.setWidgetResizable(True)
    outer = QVBoxLayout(window)
    outer.addWidget(window.area)
    window.line = ProblemLine(window.list, window.area)
    outer.addWidget(window.line)
    qtbot.addWidget(window)
    window.resize(300, 250)
    with qtbot.waitExposed(window):
        window.show()
    return window


def test_problems_out_of_sight_are_counted_and_a_click_leads_there(qtbot, window):
    assert not window.line.isVisible()
    window.list.show_problems(PROBLEMS)
    qtbot.waitUntil(window.line.isVisible)
    assert window.line.text() == "1 problem, 2 warnings ›"
    qtbot.mouseClick(window.line, Qt.LeftButton)
    qtbot.waitUntil(lambda: not window.line.isVisible())
    assert window.list.visibleRegion().boundingRect().height() == window.list.height()
    window.list.show_problems([])
    qtbot.waitUntil(lambda: not window.list.isVisible())
    assert not window.line.isVisible()


def test_what_can_be_read_needs_no_line(qtbot, window):
    window.resize(300, 700)
    window.list.show_problems(PROBLEMS[1:2])
    qtbot.waitUntil(window.list.isVisible)
    window.line.refresh()
    assert not window.line.isVisible()
    window.list.fold(True)
    qtbot.waitUntil(window.line.isVisible)
    assert window.line.text() == "1 warning ›"
    assert not window.list.isVisible()
    window.list.show_problems(PROBLEMS)  # checked again while it is folded
    assert not window.list.isVisible()
    qtbot.waitUntil(lambda: "2 warnings" in window.line.text())


def test_buttons_and_message_do_not_scroll_away(viewer_model, qtbot):
    widget = TrainWidget(viewer_model)
    qtbot.addWidget(widget)
    area = widget.findChild(QScrollArea)
    for part in (widget.train_button, widget.stop_button, widget.progress, widget.message):
        assert widget.isAncestorOf(part)
        assert not area.isAncestorOf(part)
    assert area.isAncestorOf(widget.problems)
