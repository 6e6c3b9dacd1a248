"""The stroke that the mouse draws over the canvas, seen while it is drawn.

A transparent widget on the canvas, not a layer: napari collects garbage whenever a layer is
removed, which holds the window for a quarter of a second.
"""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QPointF, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QApplication, QWidget

__all__ = ["StrokeOverlay", "overlay_for"]

_WIDTH = 2.0  # of the line; its dark rim is twice as wide, so that it is seen on any image


class StrokeOverlay(QWidget):
    """Draws a line over a widget, and lets the mouse through."""

    def __init__(self, canvas: QWidget) -> None:
        super().__init__(canvas)
        self._points = QPolygonF()
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setGeometry(canvas.rect())
        self.show()

    def add(self, event: Any) -> None:
        """Go on to where the mouse is."""
        point = getattr(event, "pos", None)
        if point is not None:
            self._points.append(QPointF(float(point[0]), float(point[1])))
            self.update()

    def end(self) -> None:
        """Take the line away."""
        self.hide()
        self.deleteLater()

    def paintEvent(self, _event: Any) -> None:
        """Draw the line."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for colour, width in ((QColor(0, 0, 0, 160), 2 * _WIDTH), (QColor("#ffd400"), _WIDTH)):
            pen = QPen(colour, width)
            pen.setCapStyle(Qt.PenCapStyle.RoundCap)
            pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
            painter.setPen(pen)
            painter.drawPolyline(self._points)
        painter.end()


def overlay_for(event: Any) -> StrokeOverlay | None:
    """Return a line over the canvas in which a napari mouse event happened; None without a window."""
    native = getattr(event, "native", None)
    if native is None or QApplication.instance() is None or not hasattr(native, "globalPosition"):
        return None
    canvas = QApplication.widgetAt(native.globalPosition().toPoint())
    if canvas is None:
        return None
    overlay = StrokeOverlay(canvas)
    overlay.add(event)
    return overlay
