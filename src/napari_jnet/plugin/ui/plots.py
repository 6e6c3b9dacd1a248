"""The curves of a training: losses, scores and learning rate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from qtpy.QtGui import QColor
from qtpy.QtWidgets import QVBoxLayout, QWidget
from superqt.utils import qdebounced, qthrottled

from napari_jnet.events import EpochEnd
from napari_jnet.plugin.ui.theme import palette, when_themed
from napari_jnet.plugin.ui.widgets import lay_out

if TYPE_CHECKING:
    from pyqtgraph import PlotDataItem, PlotWidget

_DRAW_EVERY_MS = 1000  # each drawing makes Qt compose the whole window again, canvas included
_SETTLED_MS = 30
_BATCHES_KEPT = 2000
_DOTTED = 80  # points that get a dot each: dots are slow to paint

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


class TrainingPlots(QWidget):
    """Three plots over epochs, drawn at most once a second, all at once.

    They are made when there is something to draw, since pyqtgraph takes long to load.
    """

    def __init__(self) -> None:
        super().__init__()
        self._points: dict[str, tuple[list[float], list[float]]] = {}  # epochs and values
        self._changed: set[str] = set()
        self._plots: dict[str, PlotWidget] = {}
        self._curves: dict[str, PlotDataItem] = {}
        self._draw_soon = qthrottled(self.draw, timeout=_DRAW_EVERY_MS, leading=False, parent=self)
        self._paint_soon = qdebounced(self._paint, timeout=_SETTLED_MS, parent=self)
        self._column = lay_out(QVBoxLayout(self), spacing=2)
        self.clear()
        self.setVisible(False)  # until there is something to see

    def _make_plots(self) -> None:
        self._plots = {name: _plot(name) for name in _HEIGHTS}
        for name, plot in self._plots.items():
            self._column.addWidget(plot)
            if name != "loss":
                plot.setXLink(self._plots["loss"])
        self._curves = {name: self._curve(name) for name in _CURVES}
        when_themed(self, self._take_colours)

    def _curve(self, name: str) -> PlotDataItem:
        where, _, symbol, title, _ = _CURVES[name]
        dots = {"symbolSize": 4, "symbolPen": None} if symbol else {}
        return self._plots[where].plot(name=title, symbol=symbol, **dots)

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
            curve.setPen(colours[name], width=_CURVES[name][1])
            if _CURVES[name][2]:
                curve.setSymbolBrush(colours[name])

    def clear(self) -> None:
        """Forget all points."""
        self._points = {name: ([], []) for name in _CURVES}
        self._changed = set(_CURVES)
        self.draw()

    def add_batch(self, epoch: float, loss: float | None) -> None:
        """Add the loss of a batch; ``epoch`` counts parts of epochs."""
        self._add("batch", epoch, loss)
        for values in self._points["batch"]:
            if len(values) > _BATCHES_KEPT:
                del values[::2]

    def add_epoch(self, event: EpochEnd) -> None:
        """Add an epoch to every curve that has a value for it."""
        for name, (*_, value) in _CURVES.items():
            if value:
                self._add(name, event.epoch, getattr(event, value))

    def points(self, name: str) -> tuple[list[float], list[float]]:
        """Return the epochs and values of one curve: batch, training, validation, iou, seg, rate."""
        return self._points[name]

    def _add(self, name: str, epoch: float, value: float | None) -> None:
        if value is None or not math.isfinite(value):
            return
        epochs, values = self._points[name]
        epochs.append(epoch)
        values.append(value)
        self._changed.add(name)
        self._draw_soon()

    def draw(self) -> None:
        """Draw what is new now."""
        if not self._plots:
            if not any(values for values, _ in self._points.values()):
                return
            self._make_plots()
        for plot in self._plots.values():
            plot.setUpdatesEnabled(False)
        for name in self._changed:
            epochs, values = self._points[name]
            dotted = _CURVES[name][2] if len(values) <= _DOTTED else None
            self._curves[name].setData(epochs, values, symbol=dotted)
        rates = self._points["rate"][1]
        if rates and "rate" in self._changed:
            top = max(rates)
            self._plots["rate"].getAxis("left").setTicks([[(top, f"{top:.1g}")]])
            self._plots["rate"].setYRange(0, top, padding=0.2)
        self._changed.clear()
        self._plots["score"].setVisible(any(self._points[name][1] for name in ("iou", "seg")))
        if rates or self._points["batch"][1]:
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


def _plot(name: str) -> PlotWidget:
    from pyqtgraph import PlotWidget

    plot = PlotWidget()
    plot.setFixedHeight(_HEIGHTS[name])
    plot.setMenuEnabled(False)
    plot.setMouseEnabled(x=False, y=False)
    plot.hideButtons()
    plot.setLabel("left", name)
    plot.getAxis("left").setWidth(54)  # one above the other, so that times agree
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
