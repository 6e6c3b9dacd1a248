"""What is always in sight in Train: buttons, message, and how many problems there are."""

import numpy as np
import pytest

pytest.importorskip("napari")
pytest.importorskip("pytestqt")

from qtpy.QtWidgets import QScrollArea

from napari_jnet.plugin.pages.train import TrainWidget


def test_problems_are_counted_and_a_click_leads_there(viewer_model, qtbot):
    labels = np.zeros((4, 64, 64), np.int32)
    labels[0, 2:30, 2:30] = labels[1, 2:6, 2:6] = labels[1, 20:24, 20:24] = 1
    viewer_model.layers["truth"].data = labels
    widget = TrainWidget(viewer_model)
    qtbot.addWidget(widget)
    widget.resize(400, 300)
    with qtbot.waitExposed(widget):
        widget.show()
    qtbot.waitUntil(lambda: widget.problems_button.text() == "2 warnings ›")
    assert widget.problems.visibleRegion().isEmpty()
    widget.problems_button.click()
    qtbot.waitUntil(lambda: not widget.problems.visibleRegion().isEmpty())
    viewer_model.layers.remove("truth")
    widget.check()
    assert widget.problems_button.text() == "1 problem ›"
    viewer_model.add_labels(np.ones((4, 64, 64), np.int32))
    widget.check()
    assert not widget.problems_button.isVisible()


def test_buttons_and_message_do_not_scroll_away(viewer_model, qtbot):
    widget = TrainWidget(viewer_model)
    qtbot.addWidget(widget)
    area = widget.findChild(QScrollArea)
    for part in (widget.train_button, widget.stop_button, widget.progress, widget.message):
        assert widget.isAncestorOf(part)
        assert not area.isAncestorOf(part)
    assert area.isAncestorOf(widget.problems)
