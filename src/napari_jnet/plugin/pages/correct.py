"""A row of buttons for the tools that correct cells; part of other widgets."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any

from psygnal import Signal
from qtpy.QtCore import QPointF, QSize, Qt
from qtpy.QtCore import Signal as QtSignal
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QApplication, QHBoxLayout, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_jnet.labels import LabelKind
from napari_jnet.plugin.command import COMMANDS
from napari_jnet.plugin.layers.edit import TOOLS, Tool, correct, labels_under
from napari_jnet.plugin.layers.read import kind_of, result_of
from napari_jnet.plugin.ui.widgets import MessageLine
from napari_jnet.plugin.workspace import Lifetime, Workspace

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


class Corrections:
    """The tools of one viewer; every bar of buttons shows these.

    They act on the active layer where it numbers cells, else on the annotation, else on predicted
    cells: the first of those that has a cell where the mouse is.
    """

    tool_changed = Signal(str)
    said = Signal(str, bool)  # words, and whether they tell of something that could not be done

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = weakref.ref(workspace)
        self._tool = ""
        self._using = Lifetime()
        self._switching = False

    @property
    def tool(self) -> str:
        """The tool that has the mouse, "" for none."""
        return self._tool

    def actions(self) -> dict[str, Callable[[], Any]]:
        """Return what the shortcuts do, by the ids of `COMMANDS`."""

        def action(tool: Tool) -> Callable[[], Any]:
            return lambda: self.use(tool.name) if tool.drag else self.correct_here(tool.name)

        return {name: action(tool) for name, tool in TOOLS.items()}

    def correct_here(self, name: str) -> bool:
        """Correct the cell under the pointer; False if that was not possible, which is said."""
        viewer = self._viewer()
        return viewer is not None and self.correct(name, [viewer.cursor.position])

    def correct(self, name: str, points: Sequence[Sequence[float]]) -> bool:
        """Correct at a point or along a stroke, as one undo step.

        Parameters
        ----------
        name
            One of `TOOLS`.
        points
            In world coordinates, one value for each axis of the viewer.

        Returns
        -------
        bool
            False if that was not possible; `said` tells why.
        """
        tool = TOOLS[name]
        try:
            layer = self._target(points)
            done = correct(layer, _kind(layer), tool.name, points)
        except ValueError as error:
            self._say(str(error), True)
            return False
        self._activate(layer)
        self._say(f"{done} in {layer.name!r}. Ctrl+Z takes it back.", False)
        return True

    def use(self, name: str) -> bool:
        """Let a tool have the mouse; the same tool again, or "", gives it back.

        Returns
        -------
        bool
            Whether a tool has the mouse now; where none can, `said` tells why.
        """
        again = name in ("", self._tool)
        self.leave()
        if again:
            return False
        tool = TOOLS[name]
        try:
            layer = self._target([])
        except ValueError as error:
            self._say(str(error), True)
            return False
        self._activate(layer)
        self._take_mouse(layer, tool)
        self._tool = name
        self.tool_changed.emit(name)
        self._say(f"{tool.hint}. Esc to leave.", False)
        return True

    def leave(self, _event: Any = None) -> None:
        """Give the mouse back; painting goes on as before."""
        if not self._tool or self._switching:
            return
        self._tool = ""
        self._using.end()
        self.tool_changed.emit("")
        self._say("", False)

    def _take_mouse(self, layer: Any, tool: Tool) -> None:
        viewer, using = self._viewer(), self._using
        mode, pan, text = layer.mode, layer.mouse_pan, layer.help
        layer.mode = "pan_zoom"
        layer.mouse_pan = False
        layer.help = viewer.help = f"{tool.hint}, <Esc> to leave"

        def give_back() -> None:
            if str(layer.mode) == "pan_zoom":  # else the user has taken another one
                layer.mode = mode
                layer.mouse_pan = pan
                layer.help = text

        using.at_end(give_back)
        layer.mouse_drag_callbacks.append(self._drag)
        using.at_end(lambda: layer.mouse_drag_callbacks.remove(self._drag))
        before = layer.bind_key("Escape", self._escape, overwrite=True)
        using.at_end(lambda: layer.bind_key("Escape", before, overwrite=True))
        using.connect(layer.events.mode, self.leave)
        using.connect(viewer.layers.selection.events.active, self.leave)
        using.connect(viewer.dims.events.ndisplay, self.leave)

    def _escape(self, _layer: Any) -> None:
        self.leave()

    def _drag(self, _layer: Any, event: Any) -> Generator[None, None, None]:
        """Take a click or a stroke of the left button."""
        if event.button != 1:
            return
        tool, points, line = TOOLS[self._tool], [event.position], None
        if tool.drag:
            line = overlay_for(event)
        yield
        while event.type == "mouse_move":
            points.append(event.position)
            if line is not None:
                line.add(event)
            yield
        points.append(event.position)
        if line is not None:
            line.end()
        if self._tool == tool.name:  # Esc while the button was down: no stroke
            self._finish(tool, points if tool.drag else points[:1])

    def _finish(self, tool: Tool, points: list[Any]) -> None:
        # the stroke may lie in another layer than the one that has the mouse: go on there
        self._switching = True
        try:
            before = self._active()
            self.correct(tool.name, points)
        finally:
            self._switching = False
        if before is not self._active():
            self._using.end()
            self._take_mouse(self._active(), tool)

    def _target(self, points: Sequence[Sequence[float]]) -> Any:
        """Return the layer to correct: the first one with a cell at the points."""
        viewer, workspace = self._viewer(), self._workspace()
        if viewer is None or workspace is None:
            raise ValueError("The window is gone.")
        if viewer.dims.ndisplay != 2:
            raise ValueError("Cells are corrected in the 2-D view; switch 3-D off first (Ctrl+Y).")
        if {*viewer.dims.displayed} != {viewer.dims.ndim - 1, viewer.dims.ndim - 2}:
            raise ValueError(
                "Cells are corrected in the view of rows and columns; "
                "roll the axes back first (Ctrl+E)."
            )
        labels = workspace.labels()
        active = viewer.layers.selection.active
        first = [layer for layer in labels if active is not None and layer is active]
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

    def _say(self, text: str, failed: bool) -> None:
        viewer = self._viewer()
        if viewer is not None and text:
            viewer.status = text  # where one looks while the mouse is on the canvas
        self.said.emit(text, failed)

    def _activate(self, layer: Any) -> None:
        """Make Ctrl+Z, which is the active layer's, take the correction back."""
        if self._active() is not layer:
            self._viewer().layers.selection.active = layer

    def _active(self) -> Any:
        return self._viewer().layers.selection.active

    def _viewer(self) -> Any:
        workspace = self._workspace()
        return None if workspace is None else workspace.viewer


def _kind(layer: Any) -> LabelKind:
    return kind_of(layer) or LabelKind.INSTANCES


_corrections: dict[int, Corrections] = {}


def corrections_of(workspace: Workspace) -> Corrections:
    """Return the tools of a session; the same for every bar in it."""
    key = id(workspace)
    if key not in _corrections:
        _corrections[key] = Corrections(workspace)
        weakref.finalize(workspace, _corrections.pop, key, None)
    return _corrections[key]


class _Narrow(QPushButton):
    """As wide as its word, so that five share one row of a dock; wider where there is room."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        width = self.fontMetrics().horizontalAdvance(self.text()) + 12
        return QSize(width, super().sizeHint().height())

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()


class CorrectionBar(QWidget):
    """Delete, merge, split, fill, smooth.

    Parameters
    ----------
    workspace
        Of the viewer.
    with_message
        Whether to say below the buttons what to do and what was done; `said` tells it in any case.
    """

    said = QtSignal(str, bool)  # words, and whether they tell of something that could not be done

    def __init__(self, workspace: Workspace, *, with_message: bool = True) -> None:
        super().__init__()
        self._workspace = workspace
        self.corrections = corrections_of(workspace)
        self._lifetime = lifetime = Lifetime()
        self.destroyed.connect(lambda *_: lifetime.end())
        self.buttons = {name: self._button(name) for name in TOOLS}
        self.message = MessageLine()
        self._with_message = with_message
        self._lay_out()
        corrections = self.corrections
        lifetime.at_end(corrections.leave)
        lifetime.connect(corrections.tool_changed, self._show_tool)
        lifetime.connect(corrections.said, self._say)
        lifetime.connect(workspace.commands.changed, self._show_keys)
        lifetime.at_end(workspace.commands.attach(corrections.actions()))
        self._show_keys()
        self._show_tool(corrections.tool)

    def _button(self, name: str) -> QPushButton:
        button = _Narrow(TOOLS[name].title)
        button.setCheckable(True)
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # so that Esc stays the canvas'
        button.clicked.connect(partial(self._use, name))
        return button

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(2)
        for button in self.buttons.values():
            row.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        column.addLayout(row)
        column.addWidget(self.message)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)

    def _use(self, name: str, _checked: bool = False) -> None:
        self.corrections.use(name)
        self._show_tool(self.corrections.tool)

    def _show_tool(self, name: str) -> None:
        for key, button in self.buttons.items():
            button.setChecked(key == name)

    def _say(self, text: str, failed: bool) -> None:
        if self._with_message:
            (self.message.fail if failed else self.message.say)(text)
        self.said.emit(text, failed)

    def _show_keys(self) -> None:
        for name, button in self.buttons.items():
            tool, key = TOOLS[name], self._workspace.commands.shortcut(name)
            how = "press it over a cell" if not tool.drag else "press it, then drag"
            words = f"<b>{tool.title}</b>" + (f" – key {key}: {how}" if key else "")
            button.setToolTip(f"{words}<br>{COMMANDS[name].tooltip}<br>{tool.hint}; Esc to leave.")
