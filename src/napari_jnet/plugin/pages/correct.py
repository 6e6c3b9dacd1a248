"""The tools that correct cells by a click, a stroke or a shortcut, and their row of buttons."""

from __future__ import annotations

import weakref
from collections.abc import Generator, Sequence
from functools import partial
from typing import Any, NamedTuple

from psygnal import Signal
from qtpy.QtCore import QPointF, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QApplication, QHBoxLayout, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_jnet.plugin.layers.edit import correct, labels_under
from napari_jnet.plugin.layers.read import result_of
from napari_jnet.plugin.ui.widgets import MessageLine, lay_out, push_button
from napari_jnet.plugin.workspace import Lifetime, Workspace


class Tool(NamedTuple):
    """One way to correct cells, by the command of the same name."""

    title: str  # on its narrow button
    hint: str  # what to do with the mouse
    drag: bool = False  # takes a stroke rather than a point


TOOLS = {
    "delete": Tool("Delete", "Click a cell to delete it"),
    "merge": Tool("Merge", "Drag from one cell over those that belong to it", drag=True),
    "split": Tool("Split", "Drag across the cell from outside to outside", drag=True),
    "fill": Tool("Fill holes", "Click a cell to fill its holes"),
    "smooth": Tool("Smooth", "Click a cell to smooth its outline"),
}


class StrokeOverlay(QWidget):
    """A line drawn over the canvas; the mouse goes through it."""

    def __init__(self, canvas: QWidget) -> None:
        super().__init__(canvas)
        self._points = QPolygonF()
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setGeometry(canvas.rect())
        self.show()

    @classmethod
    def over(cls, event: Any) -> StrokeOverlay | None:
        """Return a line over the canvas where a napari mouse event happened; None without a window."""
        native = getattr(event, "native", None)
        if native is None or not hasattr(native, "globalPosition"):
            return None
        canvas = QApplication.widgetAt(native.globalPosition().toPoint())
        return None if canvas is None else cls(canvas)

    def add(self, event: Any) -> None:
        """Continue the line to the position of a mouse event."""
        self._points.append(QPointF(*map(float, event.pos)))
        self.update()

    def paintEvent(self, _event: Any) -> None:
        """Draw the line, with a dark rim, so that it is seen on any image."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for color, width in ((QColor(0, 0, 0, 160), 4), (QColor("#ffd400"), 2)):
            painter.setPen(QPen(color, width))
            painter.drawPolyline(self._points)
        painter.end()


class Corrections:
    """The correction tools of one viewer; every bar of buttons shows these.

    They act on the active layer where it numbers cells, else on the annotation, else on predicted
    cells: the first of those that has a cell where the mouse is.
    """

    tool_changed = Signal(str)  # the tool that has the mouse, "" for none
    said = Signal(str, bool)  # a text, and whether it is about something that could not be done

    def __init__(self, workspace: Workspace) -> None:
        self._workspace: Workspace = weakref.proxy(workspace)
        self._using = Lifetime()
        self.tool = ""

    def correct_here(self, name: str) -> bool:
        """Correct the cell under the pointer; return False if that was not possible, see `said`."""
        return self.correct(name, [self._workspace.viewer.cursor.position])

    def correct(self, name: str, points: Sequence[Sequence[float]]) -> bool:
        """Correct at a point or along a stroke, in world coordinates; see `correct_here`."""
        try:
            layer = self._target(points)
            done = correct(layer, name, points)
        except ValueError as error:
            self._say(str(error), failed=True)
            return False
        self._workspace.viewer.layers.selection.active = layer  # Ctrl+Z is for the active one
        self._say(f"{done} in {layer.name!r}. Undo with Ctrl+Z.")
        return True

    def use(self, name: str) -> bool:
        """Give the mouse to a tool; the same tool again gives it back.  Return whether a tool has it now."""
        again = name == self.tool
        self.leave()
        if again:
            return False
        try:
            layer = self._target([])
        except ValueError as error:
            self._say(str(error), failed=True)
            return False
        self._workspace.viewer.layers.selection.active = layer
        self._take_mouse(layer, TOOLS[name])
        self.tool = name
        self.tool_changed.emit(name)
        self._say(f"{TOOLS[name].hint}. Esc to leave.")
        return True

    def leave(self, _event: Any = None) -> None:
        """Give the mouse back; painting goes on as before."""
        if self.tool:
            self.tool = ""
            self._using.end()
            self.tool_changed.emit("")
            self._say("")

    def _take_mouse(self, layer: Any, tool: Tool) -> None:
        viewer, using = self._workspace.viewer, self._using
        mode, pan, text = layer.mode, layer.mouse_pan, layer.help
        layer.mode = "pan_zoom"
        layer.mouse_pan = False
        layer.help = viewer.help = f"{tool.hint}, <Esc> to leave"

        def give_back() -> None:
            if str(layer.mode) == "pan_zoom":  # else the user has taken another one
                layer.mode, layer.mouse_pan, layer.help = mode, pan, text

        using.at_end(give_back)
        layer.mouse_drag_callbacks.append(self._drag)
        using.at_end(lambda: layer.mouse_drag_callbacks.remove(self._drag))
        before = layer.bind_key("Escape", lambda _: self.leave(), overwrite=True)
        using.at_end(lambda: layer.bind_key("Escape", before, overwrite=True))
        using.connect(layer.events.mode, self.leave)
        using.connect(viewer.layers.selection.events.active, self.leave)
        using.connect(viewer.dims.events.ndisplay, self.leave)

    def _drag(self, _layer: Any, event: Any) -> Generator[None, None, None]:
        """Take a click or a stroke of the left button."""
        if event.button != 1:
            return
        name, points = self.tool, list[Any]()
        line = StrokeOverlay.over(event) if TOOLS[name].drag else None
        while not points or event.type == "mouse_move":
            points.append(event.position)
            if line is not None:
                line.add(event)
            yield
        points.append(event.position)
        if line is not None:
            line.hide()
            line.deleteLater()
        if self.tool == name:  # Esc while the button was down: no stroke
            self.correct(name, points if TOOLS[name].drag else points[:1])

    def _target(self, points: Sequence[Sequence[float]]) -> Any:
        """Return the layer to correct: the first one with a cell at the points."""
        workspace, viewer = self._workspace, self._workspace.viewer
        if viewer.dims.ndisplay != 2:
            raise ValueError("Cells are corrected in the 2-D view; switch 3-D off first (Ctrl+Y).")
        if {*viewer.dims.displayed} != {viewer.dims.ndim - 1, viewer.dims.ndim - 2}:
            raise ValueError(
                "Cells are corrected in the view of rows and columns; "
                "roll the axes back first (Ctrl+E)."
            )
        labels, active = workspace.labels(), viewer.layers.selection.active
        first = [layer for layer in labels if layer is active]
        first += [layer for layer in labels if layer is workspace.annotation]
        first += [layer for layer in labels if result_of(layer) == "cells"]
        seen = [layer for layer in first if layer.visible]
        if not seen:
            raise ValueError(
                f"The labels {first[0].name!r} are hidden; show them first (the eye in the list)."
                if first
                else "There are no cells to correct; predict a frame or paint some first."
            )
        return next((layer for layer in seen if points and labels_under(layer, points)), seen[0])

    def _say(self, text: str, *, failed: bool = False) -> None:
        if text:
            self._workspace.viewer.status = text  # where one looks while the mouse is on the canvas
        self.said.emit(text, failed)


_corrections: weakref.WeakKeyDictionary[Workspace, Corrections] = weakref.WeakKeyDictionary()


def corrections_of(workspace: Workspace) -> Corrections:
    """Return the correction tools of a viewer; the same for every bar in it."""
    if workspace not in _corrections:
        _corrections[workspace] = Corrections(workspace)
    return _corrections[workspace]


class CorrectionBar(QWidget):
    """Buttons to delete, merge, split, fill and smooth cells, and a line of what to do and what was done."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._commands = workspace.commands
        self.corrections = corrections = corrections_of(workspace)
        self.message = message = MessageLine()
        self.buttons = {name: self._button(name) for name in TOOLS}
        row = lay_out(QHBoxLayout(), *self.buttons.values(), spacing=2)
        lay_out(QVBoxLayout(self), row, self.message, spacing=3)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        lifetime = Lifetime()
        self.destroyed.connect(lambda *_: lifetime.end())
        lifetime.at_end(corrections.leave)
        lifetime.connect(corrections.tool_changed, self._show_tool)
        lifetime.connect(corrections.said, lambda t, failed: message.say(t, is_error=failed))
        lifetime.connect(self._commands.changed, self._show_shortcuts)
        actions = {
            name: partial(corrections.use if tool.drag else corrections.correct_here, name)
            for name, tool in TOOLS.items()
        }
        lifetime.at_end(self._commands.attach(actions))
        self._show_shortcuts()
        self._show_tool(corrections.tool)

    def _button(self, name: str) -> QPushButton:
        title = TOOLS[name].title
        button = push_button(title, "", lambda: self._use(name))
        button.setCheckable(True)
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # so that Esc stays the canvas'
        # as wide as its word, so that five share one row of a dock; wider where there is room
        button.setMinimumWidth(button.fontMetrics().horizontalAdvance(title) + 12)
        return button

    def _use(self, name: str) -> None:
        self.corrections.use(name)
        self._show_tool(self.corrections.tool)

    def _show_tool(self, name: str) -> None:
        for key, button in self.buttons.items():
            button.setChecked(key == name)

    def _show_shortcuts(self) -> None:
        for name, button in self.buttons.items():
            button.setToolTip(
                f"{self._commands.tooltip(name)}<br>{TOOLS[name].hint}; Esc to leave."
            )
