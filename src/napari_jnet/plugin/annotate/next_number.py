"""The number of the cell to paint: one that no cell has, and the next one after each outline."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from napari.settings import get_plugin_settings

from napari_jnet.data.pieces import number_apart
from napari_jnet.plugin.correct.edits import read_plane, replace_plane
from napari_jnet.plugin.layers import pixels, plane
from napari_jnet.plugin.session import unwrap

__all__ = ["Outlines", "next_number", "number_pieces_apart", "remember_next", "wants_next"]

_SEARCHED = 32 * 2**20  # bytes that are searched for the highest number: a few milliseconds
_here: dict[str, bool] = {}  # where napari remembers no settings of the plugin


def wants_next() -> bool:
    """Whether each outline is another cell, as the user said last; at first it is."""
    try:
        return bool(get_plugin_settings("napari-jnet").annotate.next_number)
    except (KeyError, AttributeError):  # the plugin is not installed, as in some tests
        return _here.get("next_number", True)


def remember_next(on: bool) -> None:
    """Remember in napari's settings whether each outline is another cell."""
    try:
        get_plugin_settings("napari-jnet").annotate.next_number = on
    except (KeyError, AttributeError):
        _here["next_number"] = on


def next_number(book: Any, index: tuple[int, ...]) -> int:
    """Return a number for a new cell: one more than all painted ones.

    Where very much is painted, one more than those of the shown plane: cells of two frames may
    share a number.
    """
    highest = int(plane(book.layer)(index).max(initial=0))
    annotated = book.annotated
    if len(annotated) * pixels(book.layer).nbytes <= _SEARCHED * len(book):
        highest = max([highest, *(int(book.frame(p).max(initial=0)) for p in annotated)])
    return max(highest, 0) + 1


def number_pieces_apart(book: Any, position: int) -> int:
    """Give each piece of the cells of a frame a number of its own, as one undo step.

    Parameters
    ----------
    book
        The `FrameBook` of a viewer.
    position
        Of the frame, along the stack.

    Returns
    -------
    int
        How many new cells there are.

    Raises
    ------
    ValueError
        If there is no annotation, or it cannot be painted on.
    """
    layer = book.layer
    index = (position,) if pixels(layer).ndim > 2 else ()
    frame = read_plane(layer, index)
    first = max(next_number(book, (*index, *[0] * (frame.ndim - 2))), int(frame.max(initial=0)) + 1)
    apart = number_apart(frame, first)
    replace_plane(layer, index, apart)
    return max(int(apart.max(initial=0)) + 1 - first, 0)


class Outlines:
    """Tells of each outline that is closed on a labels layer, and each circle of the right button.

    Parameters
    ----------
    layer
        The labels layer.
    closed
        Called when napari tells of the paint: the pixels may be written a moment later.
    """

    def __init__(self, layer: Any, closed: Callable[[], None]) -> None:
        self._layer, self._closed = unwrap(layer), closed
        self._circling = self._dragging = False
        # after napari's own brush, which tells of a stroke at its end
        self._layer.mouse_drag_callbacks.append(self._pressed)
        self._layer.events.paint.connect(self._painted)
        self._layer.events.mode.connect(self._mode_changed)

    def close(self) -> None:
        """Leave the layer alone."""
        if self._pressed in self._layer.mouse_drag_callbacks:
            self._layer.mouse_drag_callbacks.remove(self._pressed)
        self._layer.events.paint.disconnect(self._painted)
        self._layer.events.mode.disconnect(self._mode_changed)

    def _pressed(self, layer: Any, event: Any) -> Iterator[None]:
        if event.button == 2:  # napari paints on while the mouse moves, until it is back
            self._circling = layer.mode == "paint"
            return
        self._dragging = True
        try:
            yield
            while event.type == "mouse_move":
                yield
        finally:
            self._dragging = False

    def _mode_changed(self, _event: Any = None) -> None:
        self._circling = False

    def _painted(self, event: Any) -> None:
        layer = self._layer
        outline = layer.mode == "polygon" or (self._circling and not self._dragging)
        self._circling = False
        # corrections and other edits write many numbers, an outline writes the chosen one
        drawn = any(
            np.ndim(atom[-1]) == 0 and atom[-1] == layer.selected_label for atom in event.value
        )
        if outline and drawn:
            self._closed()
