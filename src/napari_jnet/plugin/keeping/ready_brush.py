"""A brush that damages no cell: labels that hold cells already get a free number, and protection."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from napari_jnet.data.stack import LabelKind
from napari_jnet.plugin.background import Background
from napari_jnet.plugin.layers import kind_of, pixels
from napari_jnet.plugin.session import Session, result_of, unwrap

__all__ = ["ReadyBrush", "free_number"]

_AT_ONCE = 16 * 2**20  # bytes of a layer that are searched without a thread
_DEFAULT = 1  # napari's number of a labels layer that nobody has chosen one for


class ReadyBrush:
    """Readies the brush of each labels layer of cells when it is first chosen or activated.

    A number that the user has chosen stays, as does the protection once it was set.

    Parameters
    ----------
    session
        Of the viewer.
    background
        Where large layers are searched for their highest number.
    """

    def __init__(self, session: Session, background: Background) -> None:
        self._session, self._background = session, background
        self._given: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        session.annotation_changed.connect(self._ready)
        if session.viewer is not None:
            session.viewer.layers.selection.events.active.connect(self._activated)
            self._activated()
        self._ready(session.annotation)

    def _activated(self, _event: Any = None) -> None:
        self._ready(self._session.viewer.layers.selection.active)

    def _ready(self, layer: Any | None) -> None:
        layer = unwrap(layer)
        if not hasattr(layer, "brush_size") or not isinstance(pixels(layer), np.ndarray):
            return
        if kind_of(layer) not in (None, LabelKind.INSTANCES) or result_of(layer) not in (
            "",
            "cells",
        ):
            return
        if layer in self._given and not result_of(layer):  # predicted cells may be new ones
            return
        if layer.selected_label != self._given.setdefault(layer, _DEFAULT):
            return
        data = pixels(layer)
        if data.nbytes <= _AT_ONCE:
            self._take(layer, free_number(data))
        else:
            layer.preserve_labels = True
            self._background.submit(lambda: free_number(data), lambda n: self._take(layer, n))

    def _take(self, layer: Any, number: int) -> None:
        if layer.selected_label != self._given.get(layer) or number == _DEFAULT:  # nothing painted
            return
        layer.preserve_labels = True
        if number:
            layer.selected_label = self._given[layer] = number


def free_number(labels: NDArray[Any]) -> int:
    """Return a number that no pixel has: one more than the highest; 0 where the type has none left.

    Parameters
    ----------
    labels
        Of any shape, integers or bool.
    """
    if labels.dtype == bool:
        return 0
    frames = labels if labels.ndim > 2 else labels[np.newaxis]
    number = max((int(frame.max(initial=0)) for frame in frames), default=0) + 1
    most = int(np.iinfo(labels.dtype).max)
    if number <= most:
        return number
    if most > np.iinfo(np.uint16).max:
        return 0
    there = np.zeros(most + 1, bool)
    for frame in frames:
        there[frame[frame >= 0]] = True
    free = np.flatnonzero(~there[1:])
    return int(free[0]) + 1 if free.size else 0
