"""Annotations made while a training runs: put by the window, taken by the worker after an epoch."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterable
from typing import Any

import numpy as np

from napari_jnet.data.stack import AnnotatedFrame
from napari_jnet.plugin.layers import (
    PaintedPlanes,
    TrainingInput,
    pixels,
    said_empty,
    training_input,
)
from napari_jnet.plugin.legend import class_legend
from napari_jnet.plugin.session import Session

__all__ = ["FrameFeed", "labels_now"]


class _Copies:
    """An array that gives copies of its planes: the layer is painted on while they are used."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self.shape, self.dtype = source.shape, source.dtype

    def __getitem__(self, index: Any) -> Any:
        return np.array(self._source[index])


def labels_now(session: Session, positions: Iterable[int] | None = None) -> TrainingInput:
    """Take the annotation for a worker thread, which copies the frames that it reads.

    Copying all of them in the window's thread would hold it.  A stroke that falls into the reading
    comes again, whole, by `FrameFeed.put`.

    Parameters
    ----------
    positions
        Of the frames to take; None for all that are annotated.

    Raises
    ------
    ValueError
        If there is no image or annotation, or their sizes differ.
    """
    image, book = session.image, session.book
    if image is None or book.layer is None:
        what = "image; open one" if image is None else "annotation; press New annotation"
        raise ValueError(f"There is no {what} first.")
    every = range(len(book))
    taken = set(book.annotated if positions is None else positions)
    known = positions is not None or not book.counting
    empty = frozenset(every) - taken if known else frozenset()
    planes = PaintedPlanes(_Copies(pixels(book.layer)), {}, empty)
    return training_input(image, book.layer, book.kind, painted=planes, roles=book.roles)


class FrameFeed:
    """What a training learns from; frames are replaced while it runs.

    Parameters
    ----------
    data
        From `labels_now`, when it begins.
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
        """Copy the frames at these positions, all roles and the kind; called in the window's thread.

        Parameters
        ----------
        book
            The `FrameBook` of the annotation that is learned from.
        positions
            Of frames whose pixels are new; none where only roles are.
        """
        data, before = self.data, self.data.labels
        if tuple(pixels(book.layer).shape) != before.shape:
            return  # other labels were put into the layer: they do not cover the image
        new = {position: np.array(book.frame(position)) for position in positions}
        planes = PaintedPlanes(
            before.source, {**before.copied, **new}, before.empty - frozenset(new)
        )
        with self._lock:
            self._data = dataclasses.replace(
                data,
                labels=planes,
                roles=book.roles,
                empty=said_empty(book.layer),
                kind=book.kind,  # where the network cannot learn it, the training goes on as it was
                legend=class_legend(book.layer, book.kind),
            )
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
