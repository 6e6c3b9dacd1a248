"""Tools that correct cells in the window: delete, merge, split, fill, smooth.

With its key a tool acts on the cell under the pointer at once; merging and splitting want a stroke,
so their keys (and all buttons) take the mouse until Esc or the key again.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator, Sequence
from typing import Any

from psygnal import Signal

from napari_jnet.data.stack import LabelKind
from napari_jnet.plugin.correct.apply import correct, labels_under
from napari_jnet.plugin.correct.stroke import overlay_for
from napari_jnet.plugin.correct.tools import TOOLS, Tool
from napari_jnet.plugin.layers import kind_of
from napari_jnet.plugin.session import Lifetime, Session, result_of, same

__all__ = ["TOOLS", "Corrections", "corrections_of"]


class Corrections:
    """The tools of one viewer; every bar of buttons shows these.

    They act on the active layer where it numbers cells, else on the annotation, else on predicted
    cells: the first of those that has a cell where the mouse is.
    """

    tool_changed = Signal(str)
    said = Signal(str, bool)  # words, and whether they tell of something that could not be done

    def __init__(self, session: Session) -> None:
        self._session = weakref.ref(session)
        self._tool = ""
        self._using = Lifetime()
        self._switching = False

    @property
    def tool(self) -> str:
        """The tool that has the mouse, "" for none."""
        return self._tool

    def actions(self) -> dict[str, Callable[[], Any]]:
        """Return what the keys do, by the names of `KEYS`."""

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
        if not same(before, self._active()):
            self._using.end()
            self._take_mouse(self._active(), tool)

    def _target(self, points: Sequence[Sequence[float]]) -> Any:
        """Return the layer to correct: the first one with a cell at the points."""
        viewer, session = self._viewer(), self._session()
        if viewer is None or session is None:
            raise ValueError("The window is gone.")
        if viewer.dims.ndisplay != 2:
            raise ValueError("Cells are corrected in the 2-D view; switch 3-D off first (Ctrl+Y).")
        if {*viewer.dims.displayed} != {viewer.dims.ndim - 1, viewer.dims.ndim - 2}:
            raise ValueError(
                "Cells are corrected in the view of rows and columns; "
                "roll the axes back first (Ctrl+E)."
            )
        labels = session.labels()
        active = viewer.layers.selection.active
        first = [layer for layer in labels if active is not None and same(layer, active)]
        first += [layer for layer in labels if same(layer, session.annotation)]
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
        if not same(self._active(), layer):
            self._viewer().layers.selection.active = layer

    def _active(self) -> Any:
        return self._viewer().layers.selection.active

    def _viewer(self) -> Any:
        session = self._session()
        return None if session is None else session.viewer


def _kind(layer: Any) -> LabelKind:
    return kind_of(layer) or LabelKind.INSTANCES


_corrections: dict[int, Corrections] = {}


def corrections_of(session: Session) -> Corrections:
    """Return the tools of a session; the same for every bar in it."""
    key = id(session)
    if key not in _corrections:
        _corrections[key] = Corrections(session)
        weakref.finalize(session, _corrections.pop, key, None)
    return _corrections[key]
