"""The curves of a training: losses, scores and learning rate, with those of earlier runs in grey."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from operator import attrgetter

import pyqtgraph as pg
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QVBoxLayout, QWidget
from superqt.utils import qdebounced, qthrottled

from napari_jnet.events import EpochEnd
from napari_jnet.plugin.ui.theme import color, palette, when_themed

_DRAW_EVERY_MS = 1000  # each drawing makes Qt compose the whole window again, canvas included
_SETTLED_MS = 30
_BATCHES_KEPT = 2000
_DOTTED = 80  # points that get a dot each: dots are slow to paint
_EARLIER_OPACITY = (0.9, 0.7, 0.55, 0.4)

# curve: (plot, width, symbol, name in the legend, field of `EpochEnd`)
_CURVES: dict[str, tuple[str, float, str | None, str | None, str]] = {
    "batch": ("loss", 1, None, None, ""),
    "training": ("loss", 2, None, "training", "train_loss"),
    "validation": ("loss", 2, "o", "validation", "validation_loss"),
    "iou": ("score", 2, "o", "IoU", "iou"),
    "seg": ("score", 2, "o", "SEG", "seg"),
    "rate": ("rate", 1.5, None, None, "learning_rate"),
}
_HEIGHTS = {"loss": 165, "score": 130, "rate": 80}
_EARLIER = {"loss": ("validation", "training"), "score": ("seg", "iou")}  # the first that a run has


class TrainingPlots(QWidget):
    """Three plots on one axis, drawn at most once a second, all at once."""

    def __init__(self) -> None:
        super().__init__()
        # of each curve: epochs, minutes, values
        self._points: dict[str, tuple[list[float], list[float], list[float]]] = {}
        self._changed: set[str] = set()
        self._earlier: dict[str, Sequence[EpochEnd]] = {}
        self._grey: list[tuple[pg.PlotItem, pg.PlotDataItem]] = []
        self._plots = {name: _plot(name) for name in _HEIGHTS}
        for plot in (self._plots["score"], self._plots["rate"]):
            plot.setXLink(self._plots["loss"])
        self._curves = {name: self._curve(name) for name in _CURVES}
        self._draw_soon = qthrottled(self.draw, timeout=_DRAW_EVERY_MS, leading=False, parent=self)
        self._paint_soon = qdebounced(self._paint, timeout=_SETTLED_MS, parent=self)
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
        where, _, symbol, title, _ = _CURVES[name]
        dots = {"symbolSize": 4, "symbolPen": None} if symbol else {}
        curve = self._plots[where].plot(name=title, symbol=symbol, **dots)
        curve.setZValue(10)
        return curve

    def _take_colours(self) -> None:
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
        for name, (*_, value) in _CURVES.items():
            if value:
                self._add(name, event.epoch, event.elapsed_s, getattr(event, value))

    def show_earlier(self, runs: Mapping[str, Sequence[EpochEnd]]) -> None:
        """Show other runs in grey, the last one brightest."""
        self._earlier = dict(runs)
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
        return list(self._earlier) if self._grey else []

    def _add(self, name: str, epoch: float, elapsed_s: float, value: float | None) -> None:
        if value is None or not math.isfinite(value):
            return
        for kept, new in zip(self._points[name], (epoch, elapsed_s / 60, value), strict=True):
            kept.append(new)
        self._changed.add(name)
        self._draw_soon()

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
        # Let ranges, axes and legends find their places, then paint all plots in one go: pyqtgraph does
        # this while it paints, and paints again, six times for one new point.
        for _ in range(2):  # a range that changes changes those linked to it
            for plot in self._plots.values():
                plot.scene().prepareForPaint()
        self._paint_soon()

    def _paint(self) -> None:
        for plot in self._plots.values():
            plot.setUpdatesEnabled(True)

    def _draw_earlier(self, *_: object) -> None:
        for plot, curve in self._grey:
            plot.removeItem(curve)
        self._grey = []
        if not self.earlier_box.isChecked():
            return
        for (run, epochs), opacity in zip(
            reversed(self._earlier.items()), _EARLIER_OPACITY, strict=False
        ):
            colour = QColor(color("muted"))
            colour.setAlphaF(opacity)
            for where, names in _EARLIER.items():
                drawn = next((points for n in names if (points := self._values(epochs, n))), None)
                if drawn is not None:
                    plot = self._plots[where].getPlotItem()
                    curve = plot.plot(*zip(*drawn, strict=True), pen=pg.mkPen(colour), name=run)
                    curve.setZValue(0)
                    self._grey.append((plot, curve))

    def _values(self, epochs: Sequence[EpochEnd], name: str) -> list[tuple[float, float]]:
        """Return the points of a curve of an earlier run, over epochs or minutes."""
        by_epoch, value = self.axis_combo.currentIndex() == 0, attrgetter(_CURVES[name][4])
        points = [(e.epoch if by_epoch else e.elapsed_s / 60, value(e)) for e in epochs]
        return [(x, y) for x, y in points if y is not None and math.isfinite(y)]


def _plot(name: str) -> pg.PlotWidget:
    plot = pg.PlotWidget()
    plot.setFixedHeight(_HEIGHTS[name])
    plot.setMenuEnabled(False)
    plot.setMouseEnabled(x=False, y=False)
    plot.hideButtons()
    plot.setLabel("left", name)
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
