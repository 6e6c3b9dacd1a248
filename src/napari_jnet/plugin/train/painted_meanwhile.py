"""Hands what is painted during a training to it, a moment after the strokes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from qtpy.QtCore import QObject, QTimer

from napari_jnet.plugin.session import Lifetime
from napari_jnet.plugin.train.feed import FrameFeed

__all__ = ["PaintedMeanwhile"]

_LATER_MS = 1500  # of the first stroke: a stroke seldom comes alone


class PaintedMeanwhile(QObject):
    """Copies changed frames of the annotation that is learned from, and of no other.

    Parameters
    ----------
    book
        The `FrameBook` of the viewer.
    """

    def __init__(self, book: Any, lifetime: Lifetime) -> None:
        super().__init__()
        self._book = book
        self._feed: FrameFeed | None = None
        self._layer: Any = None
        self._positions: set[int] = set()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_LATER_MS)
        self._timer.timeout.connect(self.hand_over)
        lifetime.connect(book.edited, self._edited)
        lifetime.connect(book.roles_changed, self._roles_changed)
        lifetime.connect(book.kind_changed, self._kind_changed)
        lifetime.at_end(self._timer.stop)

    def begin(self, feed: FrameFeed) -> None:
        """Feed this training from now on."""
        self._feed, self._layer = feed, self._book.layer
        self._positions = set()

    def end(self) -> None:
        """Feed nothing more."""
        self._timer.stop()
        self._feed = None

    def hand_over(self) -> None:
        """Give what is new to the training now."""
        self._timer.stop()
        if self._feed is not None and self._book.layer is self._layer:
            self._feed.put(self._book, sorted(self._positions))
            self._positions.clear()

    def _edited(self, positions: Iterable[int]) -> None:
        if self._feed is None or self._book.layer is not self._layer:
            return
        self._positions.update(positions)
        self._later()

    def _roles_changed(self, _positions: Iterable[int]) -> None:
        if self._feed is not None and self._book.layer is self._layer:
            self._later()

    def _kind_changed(self, _kind: Any) -> None:
        if self._feed is not None and self._book.kind is not self._feed.data.kind:
            self._roles_changed(())

    def _later(self) -> None:
        if not self._timer.isActive():
            self._timer.start()
