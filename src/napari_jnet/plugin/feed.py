"""Annotations made while a training runs: put by the window, taken by the worker after an epoch."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterable
from typing import Any

import numpy as np

from napari_jnet.data.stack import AnnotatedFrame
from napari_jnet.plugin.layers import PaintedPlanes, TrainingInput

__all__ = ["FrameFeed"]


class FrameFeed:
    """What a training learns from; frames are replaced while it runs.

    Parameters
    ----------
    data
        The frames as they were when it began.
    """

    def __init__(self, data: TrainingInput) -> None:
        self._lock = threading.Lock()
        self._data = data
        self._new = False

    @property
    def data(self) -> TrainingInput:
        """The frames as they were put last."""
        with self._lock:
            return self._data

    def put(self, book: Any, positions: Iterable[int]) -> None:
        """Copy the frames at these positions, and all roles; called in the window's thread.

        Parameters
        ----------
        book
            The `FrameBook` of the annotation that is learned from.
        positions
            Of frames whose pixels are new; none where only roles are.
        """
        data = self.data
        labels = data.labels
        before = labels if isinstance(labels, PaintedPlanes) else PaintedPlanes(labels, {})
        new = {position: np.array(book.frame(position)) for position in positions}
        planes = PaintedPlanes(
            before.source, {**before.copied, **new}, before.empty - frozenset(new)
        )
        numbers = book.numbers
        roles = {numbers[p]: role for p in range(len(book)) if (role := book.role(p))}
        with self._lock:
            self._data = dataclasses.replace(data, labels=planes, roles=roles)
            self._new = True

    def take(self) -> list[AnnotatedFrame] | None:
        """Read all frames where something is new; called in the worker thread.

        None also where nothing can be learned from what is left: the training then goes on with
        the frames it has.
        """
        with self._lock:
            data, new = self._data, self._new
            self._new = False
        if not new:
            return None
        try:
            return data.frames()
        except ValueError:
            return None
