"""A hand for the window: mouse and keys on the real canvas and the real widgets, and eyes.

Everything is found through Qt's and napari's public API, as a user finds it on the screen: the
canvas is the largest visible OpenGL widget, a button is found by the words on it.  It works in the
window's own process and thread, between two turns of the event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from qtpy.QtCore import QEvent, QEventLoop, QPoint, QPointF, Qt, QTimer
from qtpy.QtGui import QMouseEvent
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractButton, QApplication, QWidget

from eyes import Point

__all__ = ["Hand"]

LEFT, NONE = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
PLAIN = Qt.KeyboardModifier.NoModifier
SHIFT = Qt.KeyboardModifier.ShiftModifier


class Hand:
    """Moves the mouse and presses keys in one napari window.

    Parameters
    ----------
    viewer
        The viewer; its window is shown.

    Attributes
    ----------
    layer
        Points are (row, column) in pixels of this layer; where it is None, in the world.
    """

    def __init__(self, viewer: Any) -> None:
        self.viewer = viewer
        self.layer: Any = None
        self.moves = 0

    # waiting and looking

    def wait(self, seconds: float) -> None:
        """Let the window live for a while."""
        turn = QEventLoop()
        QTimer.singleShot(max(1, round(1000 * seconds)), turn.quit)
        turn.exec()

    def wait_until(self, true: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
        """Let the window live until something holds.

        Raises
        ------
        TimeoutError
            If it does not hold after that many seconds.
        """
        end = time.monotonic() + seconds
        while not (value := true()):
            if time.monotonic() > end:
                raise TimeoutError(f"waited {seconds:g} s in vain: {what}")
            self.wait(0.02)
        return value

    def picture(self, path: Path) -> None:
        """Write a screenshot of the whole window, in few colours: pages load faster."""
        from PIL import Image

        path.parent.mkdir(parents=True, exist_ok=True)
        self.wait(0.4)
        pixels = self.viewer.screenshot(canvas_only=False, flash=False)
        picture = Image.fromarray(pixels[..., :3])
        picture.thumbnail((1280, 1280))
        picture.quantize(256, Image.Quantize.FASTOCTREE).save(path, optimize=True)

    # widgets

    def button(self, words: str, within: QWidget) -> QAbstractButton:
        """Return the visible button with these words on it, or one that begins with them.

        Raises
        ------
        LookupError
            If there is none; it says which there are.
        """
        seen = [b for b in within.findChildren(QAbstractButton) if b.isVisible() and b.text()]
        titles = [button.text().replace("&", "").rstrip("… ›") for button in seen]
        for wanted in (words.__eq__, lambda title: title.startswith(words)):
            for button, title in zip(seen, titles, strict=True):
                if wanted(title):
                    return button
        there = ", ".join(sorted({button.text() for button in seen}))
        raise LookupError(f"there is no button {words!r}; there are {there}")

    def press(self, words: str, within: QWidget, *, wait: float = 20.0) -> None:
        """Click the button with these words, once it is there and can be clicked.

        Raises
        ------
        LookupError
            If it does not come.
        """
        end = time.monotonic() + wait
        while True:
            try:
                button = self.button(words, within)
                break
            except LookupError:
                if time.monotonic() > end:
                    raise
                self.wait(0.1)
        self.wait_until(button.isEnabled, f"{words!r} can be pressed", wait)
        self.into_view(button)
        QTest.mouseClick(button, LEFT)
        self.wait(0.1)

    def into_view(self, widget: QWidget) -> None:
        """Scroll to a widget, as one must before one can click it."""
        from qtpy.QtWidgets import QScrollArea

        parent = widget.parentWidget()
        while parent is not None:
            if isinstance(parent, QScrollArea):
                parent.ensureWidgetVisible(widget)
            parent = parent.parentWidget()
        QApplication.processEvents()

    def write(self, field: QWidget, text: str) -> None:
        """Replace the text of a field by typing."""
        self.into_view(field)
        QTest.mouseClick(field, LEFT)
        QTest.keyClick(field, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
        QTest.keyClicks(field, text)
        QApplication.processEvents()

    # the canvas

    @property
    def canvas(self) -> QWidget:
        """The widget that the layers are drawn in."""
        drawn = [w for w in QApplication.allWidgets() if isinstance(w, QOpenGLWidget)]
        visible = [w for w in drawn if w.isVisible()]
        return max(visible, key=lambda w: w.width() * w.height())

    def place(self, point: Point) -> QPointF:
        """Return where on the canvas a point (row, column) is."""
        camera, canvas = self.viewer.camera, self.canvas
        world = point
        if self.layer is not None:
            leading = (0,) * (self.layer.ndim - 2)
            world = self.layer.data_to_world((*leading, *point))[-2:]
        row, column = camera.center[-2:]
        return QPointF(
            (world[1] - column) * camera.zoom + canvas.width() / 2,
            (world[0] - row) * camera.zoom + canvas.height() / 2,
        )

    def move(self, point: Point, held: Qt.MouseButton = NONE) -> None:
        """Move the mouse to a point, with a button held down or not."""
        canvas, at = self.canvas, self.place(point)
        event = QMouseEvent(
            QEvent.Type.MouseMove, at, QPointF(canvas.mapToGlobal(at.toPoint())), NONE, held, PLAIN
        )
        QApplication.sendEvent(canvas, event)
        self.moves += 1
        if self.moves % 4 == 0:
            QApplication.processEvents()

    def click(self, point: Point) -> None:
        """Click the left button at a point."""
        at = self._pixel(point)
        self.move(point)
        QTest.mouseClick(self.canvas, LEFT, PLAIN, at)
        QApplication.processEvents()

    def drag(self, path: Iterable[Point], pause: float = 0.0) -> None:
        """Press the left button at the first point, move along the path, and let go.

        With a pause in seconds the moves come one by one, as those of a mouse; without, they come
        as fast as the window takes them.
        """
        points = list(path)
        self.move(points[0])
        QTest.mousePress(self.canvas, LEFT, PLAIN, self._pixel(points[0]))
        for point in points[1:]:
            self.move(point, LEFT)
            if pause:
                self.wait(pause)
        QTest.mouseRelease(self.canvas, LEFT, PLAIN, self._pixel(points[-1]))
        QApplication.processEvents()

    def key(self, key: str | Qt.Key, modifiers: Any = PLAIN) -> None:
        """Press a key over the canvas: a letter, or a key of Qt."""
        code = getattr(Qt.Key, f"Key_{key.upper()}") if isinstance(key, str) else key
        QTest.keyClick(self.canvas, code, modifiers)
        QApplication.processEvents()

    def _pixel(self, point: Point) -> QPoint:
        return self.place(point).toPoint()

    # painting

    def outline(self, contour: Iterable[Point]) -> None:
        """Paint one area with napari's polygon tool: a click a corner, Enter at the end."""
        for point in contour:
            self.click(point)
        self.key(Qt.Key.Key_Return)

    def strokes(self, paths: Iterable[Iterable[Point]]) -> None:
        """Paint brush strokes, each with the button held down."""
        for path in paths:
            self.drag(path)
