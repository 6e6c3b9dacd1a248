"""The curves of a training: what is drawn, and over what."""

import pytest

pytest.importorskip("napari")

from pyqtgraph import PlotWidget
from qtpy.QtCore import QEvent, QObject

from napari_jnet.events import EpochEnd
from napari_jnet.plugin.jobs.train import read_history
from napari_jnet.plugin.ui.plots import TrainingPlots


def epoch(number, seg=None):
    return EpochEnd(number, 1 / number, 0.5, 0.4, seg, 1e-3, 10.0, 60.0 * number, False)


@pytest.fixture
def plots(qtbot):
    plots = TrainingPlots()
    qtbot.addWidget(plots)
    return plots


def history():
    return tuple(epoch(number, seg=0.1 * number) for number in (1, 2, 3))


def test_what_has_no_value_is_left_out(plots):
    for number in (1, 2):
        plots.add_epoch(epoch(number))
    plots.add_epoch(epoch(3, seg=0.7))
    plots.add_batch(2.5, 150.0, None)
    plots.add_batch(2.5, 150.0, float("nan"))
    assert plots.points("training") == ([1, 2, 3], [1, 1 / 2, 1 / 3])
    assert plots.points("seg") == ([3], [0.7])
    assert plots.points("batch") == ([], [])


def drawn(plots, name):
    return [[] if v is None else list(v) for v in plots.curve(name).getData()]


def test_it_is_drawn_later_and_over_minutes_when_asked(qtbot, plots):
    plots.add_epoch(epoch(1))
    plots.add_epoch(epoch(2))
    qtbot.waitUntil(lambda: drawn(plots, "training") == [[1, 2], [1, 0.5]])
    plots.axis_combo.setCurrentIndex(1)
    assert drawn(plots, "training")[0] == [1, 2]  # minutes, 60 s an epoch
    plots.add_epoch(EpochEnd(3, 0.3, None, None, None, 1e-3, 1.0, 240.0, False))
    plots.draw()
    assert drawn(plots, "training")[0] == [1, 2, 4]


def test_earlier_runs_are_drawn_in_grey_until_switched_off(plots, tmp_path):
    assert plots.earlier() == []
    plots.show_earlier({"001": history(), "002": history()})
    assert plots.earlier() == ["001", "002"]
    plots.earlier_box.setChecked(False)
    assert plots.earlier() == []
    plots.clear()
    plots.earlier_box.setChecked(True)
    assert plots.earlier() == ["001", "002"]


def test_a_resumed_run_begins_with_its_past(plots, tmp_path):
    for past in history():
        plots.add_epoch(past)
    plots.add_epoch(epoch(4))
    assert plots.points("training")[0] == [1, 2, 3, 4]


def test_many_batches_are_thinned_out(plots):
    for number in range(5000):
        plots.add_batch(number / 24, number, 0.5)
    assert len(plots.points("batch")[0]) <= 2001


def test_a_history_is_read_from_its_file_and_damage_tells_nothing(trained_run, tmp_path):
    read = read_history(trained_run)
    assert [epoch.epoch for epoch in read] == [1, 2]
    assert read[0].train_loss > 0
    (tmp_path / "history.csv").write_text("epoch,elapsed_s\n1,nonsense\n")
    assert read_history(tmp_path) == read_history(tmp_path / "none") == ()


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
            plots.add_batch(drawing + 2 + number / 10, 180 + 6 * number, 0.1 * number + drawing)
        plots.draw()
        qtbot.waitUntil(lambda n=drawing: all(p.count >= n for p in paints))
    assert [p.count for p in paints] == [3, 3, 3]
