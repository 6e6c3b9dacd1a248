"""The curves of a training: losses, scores and learning rate, with those of earlier runs in grey."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pyqtgraph as pg
from qtpy.QtCore import QTimer
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QVBoxLayout, QWidget

from napari_jnet.events import EpochEnd
from napari_jnet.plugin.jobs.train import RunHistory
from napari_jnet.plugin.ui.theme import color, palette, when_themed

# each drawing makes Qt compose the whole window anew, canvas included
_DRAW_EVERY_MS = 1000


_SETTLED_MS = 30


_BATCHES_KEPT = 2000


_DOTTED = 80  # points that get a dot each: dots are slow to paint


_EARLIER_OPACITY = (0.9, 0.7, 0.55, 0.4)


# curve: (plot, width, symbol, name in the legend)
_CURVES: dict[str, tuple[str, float, str | None, str | None]] = {
    "batch": ("loss", 1, None, None),
    "training": ("loss", 2, None, "training"),
    "validation": ("loss", 2, "o", "validation"),
    "iou": ("score", 2, "o", "IoU"),
    "seg": ("score", 2, "o", "SEG"),
    "rate": ("rate", 1.5, None, None),
}


_HEIGHTS = {"loss": 165, "score": 130, "rate": 80}


_TITLES = {"loss": "loss", "score": "score", "rate": "rate"}


_EARLIER = {"loss": ("validation", "training"), "score": ("seg", "iou")}


class TrainingPlots(QWidget):
    """Three plots on one axis, drawn at most once a second, all at once."""

    def __init__(self) -> None:
        super().__init__()
        # of each curve: epochs, minutes, values
        self._points: dict[str, tuple[list[float], list[float], list[float]]] = {}
        self._changed: set[str] = set()
        self._earlier: list[RunHistory] = []
        self._grey: list[tuple[pg.PlotItem, pg.PlotDataItem]] = []
        self._plots = {name: _plot(name) for name in _HEIGHTS}
        for plot in (self._plots["score"], self._plots["rate"]):
            plot.setXLink(self._plots["loss"])
        self._curves = {name: self._curve(name) for name in _CURVES}
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_DRAW_EVERY_MS)
        self._timer.timeout.connect(self.draw)
        self._thaw = QTimer(self)
        self._thaw.setSingleShot(True)
        self._thaw.setInterval(_SETTLED_MS)
        self._thaw.timeout.connect(self._paint)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(self._switches())
        for plot in self._plots.values():
            column.addWidget(plot)
        when_themed(self, self._take_colours)
        self.clear()
        self.setVisible(False)  # until there is something to see

    def _switches(self) -> QHBoxLayout:
        self.axis_combo = QComboBox()
        self.axis_combo.addItems(["by epoch", "by minute"])
        self.axis_combo.setToolTip("What the curves run over. Minutes compare fast and slow runs.")
        self.axis_combo.currentIndexChanged.connect(self._axis_changed)
        self.earlier_box = QCheckBox("earlier runs")
        self.earlier_box.setToolTip("Show the curves of the last runs of this project in grey.")
        self.earlier_box.setChecked(True)
        self.earlier_box.setVisible(False)
        self.earlier_box.toggled.connect(self._draw_earlier)
        row = QHBoxLayout()
        row.addWidget(self.axis_combo)
        row.addStretch(1)
        row.addWidget(self.earlier_box)
        return row

    def _curve(self, name: str) -> pg.PlotDataItem:
        where, _, symbol, title = _CURVES[name]
        dots = {"symbolSize": 4, "symbolPen": None} if symbol else {}
        curve = self._plots[where].plot(name=title, symbol=symbol, **dots)
        curve.setZValue(10)
        return curve

    def _take_colours(self) -> None:
        """Take the colours of napari's theme."""
        colours = palette()
        for plot in self._plots.values():
            plot.setBackground(colours["background"])
            item = plot.getPlotItem()
            for side in ("left", "bottom"):
                axis = item.getAxis(side)
                axis.setPen(colours["muted"])
                axis.setTextPen(colours["text"])
            if item.legend is not None:
                behind = QColor(colours["background"])
                behind.setAlpha(190)
                item.legend.setBrush(behind)
                item.legend.setLabelTextColor(colours["text"])
        for name, curve in self._curves.items():
            curve.setPen(pg.mkPen(colours[name], width=_CURVES[name][1]))
            if _CURVES[name][2]:
                curve.setSymbolBrush(colours[name])
        self._draw_earlier()

    def clear(self) -> None:
        """Forget all points of the present run; earlier runs stay."""
        self._points = {name: ([], [], []) for name in _CURVES}
        self._changed = set(_CURVES)
        self.draw()

    def add_batch(self, epoch: float, elapsed_s: float, loss: float | None) -> None:
        """Add the loss of a batch; ``epoch`` counts parts of epochs."""
        self._add("batch", epoch, elapsed_s, loss)
        for values in self._points["batch"]:
            if len(values) > _BATCHES_KEPT:
                del values[::2]

    def add_epoch(self, event: EpochEnd) -> None:
        """Add an epoch to every curve that has a value for it."""
        values = {
            "training": event.train_loss,
            "validation": event.validation_loss,
            "iou": event.iou,
            "seg": event.seg,
            "rate": event.learning_rate,
        }
        for name, value in values.items():
            self._add(name, event.epoch, event.elapsed_s, value)

    def go_on_from(self, history: RunHistory) -> None:
        """Begin with the curves that a resumed run has already."""
        self.clear()
        for name in history.values:
            for epoch, seconds, value in zip(
                history.epochs, history.elapsed_s, history.values[name], strict=True
            ):
                self._add(name, epoch, seconds, value)

    def show_earlier(self, runs: Sequence[RunHistory]) -> None:
        """Show other runs in grey, the last one brightest."""
        self._earlier = list(runs)
        self.earlier_box.setVisible(bool(runs))
        if runs:
            self.setVisible(True)
        self._draw_earlier()

    def points(self, name: str) -> tuple[list[float], list[float]]:
        """Return the epochs and values of one curve: batch, training, validation, iou, seg, rate."""
        epochs, _, values = self._points[name]
        return epochs, values

    def curve(self, name: str) -> pg.PlotDataItem:
        """Return what is drawn of one curve."""
        return self._curves[name]

    def earlier(self) -> list[str]:
        """Return the names of the earlier runs that are drawn."""
        return [run.name for run in self._earlier] if self._grey else []

    def _add(self, name: str, epoch: float, elapsed_s: float, value: float | None) -> None:
        if value is None or not math.isfinite(value):
            return
        for kept, new in zip(self._points[name], (epoch, elapsed_s / 60, value), strict=True):
            kept.append(new)
        self._changed.add(name)
        if not self._timer.isActive():
            self._timer.start()

    def _axis_changed(self) -> None:
        self._plots["rate"].setLabel("bottom", ("epoch", "minutes")[self.axis_combo.currentIndex()])
        self._changed = set(_CURVES)
        self.draw()
        self._draw_earlier()

    def draw(self) -> None:
        """Draw what is new now."""
        for plot in self._plots.values():
            plot.setUpdatesEnabled(False)
        axis = self.axis_combo.currentIndex()
        for name in self._changed:
            points = self._points[name]
            dotted = _CURVES[name][2] if len(points[2]) <= _DOTTED else None
            self._curves[name].setData(points[axis], points[2], symbol=dotted)
        rates = self._points["rate"][2]
        if rates and "rate" in self._changed:
            top = max(rates)
            self._plots["rate"].getAxis("left").setTicks([[(top, f"{top:.1g}")]])
            self._plots["rate"].setYRange(0, top, padding=0.2)
        self._changed.clear()
        scored = any(self._points[name][2] for name in ("iou", "seg"))
        self._plots["score"].setVisible(scored)
        if rates or self._points["batch"][2] or self._earlier:
            self.setVisible(True)
        self._settle()

    def _paint(self) -> None:
        for plot in self._plots.values():
            plot.setUpdatesEnabled(True)

    def _settle(self) -> None:
        """Let ranges, axes and legends find their places, then paint all plots in one go.

        pyqtgraph does this while it paints, and paints again: six times for one new point.
        """
        for _ in range(2):  # a range that changes changes those linked to it
            for plot in self._plots.values():
                plot.scene().prepareForPaint()
        self._thaw.start()

    def _draw_earlier(self, *_: object) -> None:
        for plot, curve in self._grey:
            plot.removeItem(curve)
        self._grey = []
        if not self.earlier_box.isChecked():
            return
        newest_first = list(reversed(self._earlier))[: len(_EARLIER_OPACITY)]
        for run, opacity in zip(newest_first, _EARLIER_OPACITY, strict=False):
            colour = QColor(color("muted"))
            colour.setAlphaF(opacity)
            for where, names in _EARLIER.items():
                self._draw_run(self._plots[where].getPlotItem(), run, names, colour)

    def _draw_run(
        self, plot: pg.PlotItem, run: RunHistory, names: tuple[str, ...], colour: QColor
    ) -> None:
        """Draw the first of these curves that the run has."""
        across = run.epochs if self.axis_combo.currentIndex() == 0 else run.minutes
        for name in names:
            points = [
                (x, value)
                for x, value in zip(across, run.values[name], strict=True)
                if value is not None
            ]
            if points:
                xs, ys = zip(*points, strict=True)
                curve = plot.plot(xs, ys, pen=pg.mkPen(colour, width=1), name=run.name)
                curve.setZValue(0)
                self._grey.append((plot, curve))
                return


def _plot(name: str) -> pg.PlotWidget:
    plot = pg.PlotWidget()
    plot.setFixedHeight(_HEIGHTS[name])
    plot.setMenuEnabled(False)
    plot.setMouseEnabled(x=False, y=False)
    plot.hideButtons()
    plot.setLabel("left", _TITLES[name])
    plot.getAxis("left").setWidth(46)  # one above the other, so that times agree
    for side in ("left", "bottom"):
        plot.getAxis(side).enableAutoSIPrefix(False)
    plot.showGrid(x=True, y=True, alpha=0.12)
    if name == "rate":
        plot.setLabel("bottom", "epoch")
        plot.setToolTip("Learning rate: how far the network moves with each batch.")
        return plot
    if name == "score":
        plot.setYRange(0, 1, padding=0.04)
        plot.setToolTip("On the validation frames: 1 is perfect. SEG is strict about every cell.")
    plot.getAxis("bottom").setStyle(showValues=False)
    plot.getAxis("bottom").setHeight(6)
    corner = (-6, 2) if name == "loss" else (-6, -4)
    plot.addLegend(offset=corner, labelTextSize="7pt", colCount=2)
    return plot
