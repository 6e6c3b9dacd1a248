"""A brush that leaves other cells alone, but paints over what is unknown.

napari's "preserve labels" protects everything but background: a brush could not paint a cell on
unknown pixels, one of background would paint over the cell before, and the eraser erases the selected
cell only.  Outlines, however they are closed, and circles of the right button end in napari's
``paint_polygon``, which is guarded too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from napari_jnet.data.stack import UNKNOWN
from napari_jnet.plugin.layers import pixels
from napari_jnet.plugin.session import unwrap

__all__ = ["KeepCells"]


class KeepCells:
    """Guards the strokes on one labels layer while its "preserve labels" is on."""

    def __init__(self, layer: Any) -> None:
        self._layer = unwrap(layer)
        # before napari's own brush: what is put back at the end then belongs to the stroke's undo step
        self._layer.mouse_drag_callbacks.insert(0, self._stroke)
        self._layer.paint_polygon = self._fill_polygon

    def close(self) -> None:
        """Leave the layer alone."""
        if self._stroke in self._layer.mouse_drag_callbacks:
            self._layer.mouse_drag_callbacks.remove(self._stroke)
        if vars(self._layer).get("paint_polygon") == self._fill_polygon:
            del self._layer.paint_polygon

    def _stroke(self, layer: Any, event: Any) -> Iterator[None]:
        index = self._painted_index(event, ("paint", "erase", "fill"))
        if index is None:
            return
        if layer.mode == "fill":  # spreads over the clicked label only
            if layer.get_value(event.position, world=True) == UNKNOWN:
                layer.preserve_labels = False
                yield
                layer.preserve_labels = True
            return
        erases = layer.mode == "erase"
        background = layer.selected_label == layer.colormap.background_value
        data = pixels(layer)
        before = data[index]
        if not erases and not background and not (before == UNKNOWN).any():
            return  # napari does it right
        before = None if erases else before.copy()
        layer.preserve_labels = False
        try:
            yield
            while event.type == "mouse_move":
                yield
            if before is not None:
                self._put_back(index, before)
        finally:
            layer.preserve_labels = True

    def _fill_polygon(self, points: Any, new_label: int) -> None:
        """Fill an outline: over unknown pixels, and in one undo step with what is put back."""
        layer = self._layer
        paint = type(layer).paint_polygon
        data = pixels(layer)
        places = np.unique(np.array(points, dtype=int)[:, : layer.ndim - 2], axis=0)
        index = tuple(int(at) for at in places[0])
        ours = (
            layer.preserve_labels and layer.n_edit_dimensions == 2 and isinstance(data, np.ndarray)
        )
        if not ours or len(places) > 1 or not (data[index] == UNKNOWN).any():
            paint(layer, points, new_label)
            return
        before = data[index].copy()
        layer.preserve_labels = False
        try:
            with layer.block_history():
                paint(layer, points, new_label)
                self._put_back(index, before)
        finally:
            layer.preserve_labels = True

    def _painted_index(self, event: Any, modes: tuple[str, ...]) -> tuple[int, ...] | None:
        """Return where the plane lies that this stroke paints on, or None where it is not ours."""
        layer = self._layer
        ours = layer.mode in modes and layer.preserve_labels and event.button == 1
        if not ours or len(event.dims_displayed) != 2 or layer.n_edit_dimensions != 2:
            return None
        if not isinstance(pixels(layer), np.ndarray):
            return None
        displayed = [d - (len(event.position) - layer.ndim) for d in event.dims_displayed]
        if displayed != [layer.ndim - 2, layer.ndim - 1]:
            return None
        at = layer.world_to_data(event.position)[: layer.ndim - 2]
        index = tuple(round(float(a)) for a in at)
        inside = all(0 <= i < n for i, n in zip(index, pixels(layer).shape, strict=False))
        return index if inside else None

    def _put_back(self, index: tuple[int, ...], before: np.ndarray) -> None:
        layer = self._layer
        lost = np.nonzero((before > 0) & (pixels(layer)[index] != before))
        if lost[0].size:
            leading = tuple(np.full(lost[0].size, i) for i in index)
            layer.data_setitem((*leading, *lost), before[lost])
