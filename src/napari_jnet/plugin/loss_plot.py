"""The loss curves of a training."""

from __future__ import annotations

import math

import pyqtgraph as pg
from qtpy.QtWidgets import QVBoxLayout, QWidget

__all__ = ["LossPlot"]

_BACKGROUND = "#1e2126"


class LossPlot(QWidget):
    """Training loss, batch by batch and as the mean of each epoch, and validation loss."""

    def __init__(self) -> None:
        super().__init__()
        self._points: dict[str, tuple[list[float], list[float]]] = {}
        self._graph = pg.PlotWidget(background=_BACKGROUND)
        self._graph.setFixedHeight(190)
        self._graph.setMenuEnabled(False)
        self._graph.setMouseEnabled(x=False, y=False)
        self._graph.hideButtons()
        self._graph.setLabel("bottom", "epoch")
        self._graph.setLabel("left", "loss")
        self._graph.showGrid(x=True, y=True, alpha=0.15)
        self._graph.addLegend(offset=(-8, 4), labelTextSize="8pt")
        self._curves = {
            "batch": self._graph.plot(pen=pg.mkPen("#56657a", width=1)),
            "training": self._graph.plot(pen=pg.mkPen("#4fb3ff", width=2), name="training"),
            "validation": self._graph.plot(
                pen=pg.mkPen("#ffb347", width=2),
                name="validation",
                symbol="o",
                symbolSize=4,
                symbolPen=None,
                symbolBrush="#ffb347",
            ),
        }
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._graph)
        self.clear()

    def clear(self) -> None:
        """Forget all points."""
        for name, curve in self._curves.items():
            self._points[name] = ([], [])
            curve.setData([], [])

    def add(self, name: str, epoch: float, loss: float | None) -> None:
        """Add a point to "batch", "training" or "validation"; None and nan are left out."""
        if loss is None or not math.isfinite(loss):
            return
        epochs, losses = self._points[name]
        epochs.append(epoch)
        losses.append(loss)
        if name == "batch" and len(epochs) > 2000:
            del epochs[::2], losses[::2]
        self._curves[name].setData(epochs, losses)

    def points(self, name: str) -> tuple[list[float], list[float]]:
        """Return the epochs and losses of one curve."""
        return self._points[name]
