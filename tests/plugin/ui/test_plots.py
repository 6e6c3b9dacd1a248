"""The curves of a training: what is drawn, and over what."""

import pytest

pytest.importorskip("napari")

from pyqtgraph import PlotWidget
from qtpy.QtCore import QEvent, QObject

from napari_jnet.events import EpochEnd
from napari_jnet.plugin.ui.plots import TrainingPlots


def epoch(number, seg=None):
    return EpochEnd(number, 1 / number, 0.5, 0.4, seg, 1e-3, 10.0, 60.0 * number, False)


@pytest.fixture
def plots(qtbot):
    plots = TrainingPlots()
    qtbot.addWidget(plots)
    return plots


def test_what_has_no_value_is_left_out(plots):
    for number in (1, 2):
        plots.add_epoch(epoch(number))
    plots.add_epoch(epoch(3, seg=0.7))
    plots.add_batch(2.5, None)
    plots.add_batch(2.5, float("nan"))
    assert plots.points("training") == ([1, 2, 3], [1, 1 / 2, 1 / 3])
    assert plots.points("seg") == ([3], [0.7])
    assert plots.points("batch") == ([], [])


def curve(plots, title):
    """Return what is drawn of a curve, by its name in the legend."""
    items = [i for view in plots.findChildren(PlotWidget) for i in view.listDataItems()]
    return next(item for item in items if item.name() == title)


def drawn(plots, name):
    return [[] if v is None else list(v) for v in curve(plots, name).getData()]


def test_it_is_drawn_later(qtbot, plots):
    plots.add_epoch(epoch(1))
    plots.add_epoch(epoch(2))
    assert not plots.findChildren(PlotWidget), "they take long to make"
    qtbot.waitUntil(lambda: bool(plots.findChildren(PlotWidget)))
    assert drawn(plots, "training") == [[1, 2], [1, 0.5]]


def test_nothing_is_drawn_without_points(plots):
    plots.draw()
    assert not plots.findChildren(PlotWidget)
    assert plots.isHidden()


def test_another_training_begins_with_empty_curves(plots):
    plots.add_epoch(epoch(1, seg=0.5))
    plots.draw()
    plots.clear()
    assert drawn(plots, "SEG") == [[], []]
    plots.add_epoch(epoch(1, seg=0.25))
    plots.draw()
    assert drawn(plots, "SEG") == [[1], [0.25]]


def test_many_batches_are_thinned_out(plots):
    for number in range(5000):
        plots.add_batch(number / 24, 0.5)
    assert len(plots.points("batch")[0]) <= 2001


class Paints(QObject):
    """Counts how often a widget is painted."""

    def __init__(self, widget):
        super().__init__()
        self.count = 0
        widget.installEventFilter(self)

    def eventFilter(self, watched, event):
        self.count += event.type() == QEvent.Type.Paint
        return False


def test_ten_batches_are_painted_once_in_all_plots(qtbot, plots):
    for number in (1, 2, 3):
        plots.add_epoch(epoch(number, seg=0.6))
    plots.draw()
    plots.resize(380, 500)
    with qtbot.waitExposed(plots):
        plots.show()
    views = plots.findChildren(PlotWidget)
    assert len(views) == 3
    qtbot.waitUntil(lambda: all(view.updatesEnabled() for view in views))
    qtbot.wait(50)  # what showing it paints
    paints = [Paints(view.viewport()) for view in views]
    for drawing in (1, 2, 3):
        for number in range(10):
            plots.add_batch(drawing + 2 + number / 10, 0.1 * number + drawing)
        plots.draw()
        qtbot.waitUntil(lambda n=drawing: all(p.count >= n for p in paints))
    assert [p.count for p in paints] == [3, 3, 3]
