"""What is painted in each frame of a labels layer, and which frames were changed.

What takes long is counted in a thread of its own.  A stroke says which frames it touched; undo and
redo only say that something was drawn anew, so frames are told apart by checksums.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_jnet.plugin.background import Background
from napari_jnet.plugin.keeping.frame_counts import FrameCounts, checksum, count_labels
from napari_jnet.plugin.layers import pixels, stroke_positions
from napari_jnet.plugin.session import METADATA_KEY

__all__ = ["LayerWatch"]

_QUICK = 8 * 2**20  # bytes of a frame that the window may count itself: a few milliseconds
_AT_ONCE = 16 * 2**20  # bytes of a layer that are counted as soon as it is watched
_CHUNK = 16  # frames that are counted before the window is told
_UNDONE = 200  # strokes whose frames are compared after an undo; napari keeps 100


class LayerWatch:
    """Counts the frames of one labels layer, and says which of them change.

    Attributes
    ----------
    painted
        Positions that somebody has painted on.
    partial
        Positions where 0 is unknown.
    said_empty
        Positions of which somebody, or the truth, says that nothing is there.
    counted
        Emitted with the positions that were counted in the background.
    edited
        Emitted with the positions whose pixels are new: painted, taken back, replaced.

    Parameters
    ----------
    layer
        The labels layer.
    shown
        Gives the position that the viewer shows.
    background
        Where the counting is done.
    """

    counted = Signal(object)
    edited = Signal(object)

    def __init__(self, layer: Any, shown: Callable[[], int], background: Background) -> None:
        self.layer = layer
        self.partial: frozenset[int] = frozenset()
        self.said_empty: frozenset[int] = frozenset()
        self._shown, self._background = shown, background
        self._counts: dict[int, FrameCounts] = {}
        self._stale: set[int] = set()  # changed since they were counted
        self._sums: dict[int, int] = {}
        self.painted: set[int] = set()
        self._strokes: deque[set[int]] = deque(maxlen=_UNDONE)  # that undo can reach
        self._looks: Counter[int] = Counter()  # what was read before the last is out of date
        self._doubted: set[int] = set()  # waiting to be compared in the background
        self._last_shown = shown()
        self._shape = tuple(pixels(layer).shape)
        self._open = True
        events = layer.events
        self._slots = (
            (events.paint, self._on_paint),
            (events.set_data, self._on_refresh),
            (events.data, self._on_data),
        )
        for emitter, slot in self._slots:
            emitter.connect(slot)
        self._look_through()

    def close(self) -> None:
        """Watch no longer."""
        self._open = False
        for emitter, slot in self._slots:
            emitter.disconnect(slot)

    def __len__(self) -> int:
        data = pixels(self.layer)
        return 1 if data.ndim < 3 else int(data.shape[0])

    @property
    def in_memory(self) -> bool:
        """Whether the labels are a numpy array, so that reading them takes no time."""
        return isinstance(pixels(self.layer), np.ndarray)

    def frame(self, position: int) -> NDArray[Any]:
        """Read the labels of a frame, (H, W) or (Z, H, W); a view where they are in memory."""
        return self._reader()(position)

    def counts(self, position: int) -> FrameCounts | None:
        """Return what is painted in a frame; None while it is still to be counted."""
        missing = position in self._stale or position not in self._counts
        if missing and self._quick():
            self._counts[position] = count_labels(self.frame(position))
            self._stale.discard(position)
        return self._counts.get(position)

    @property
    def empty(self) -> frozenset[int]:
        """The positions where nothing is painted, as far as they are counted."""
        fresh = {p: c for p, c in self._counts.items() if p not in self._stale}
        return frozenset(p for p, counts in fresh.items() if not counts.painted)

    def is_hopeful(self, position: int) -> bool:
        """Say whether a frame may be annotated: painted, said to be empty, or changed since counted."""
        if position in self._stale or position in self.said_empty:
            return True
        counts = self._counts.get(position)
        return counts is not None and counts.painted

    # what is told

    def note_stroke(self, event: Any) -> None:
        """Take the stroke that was painted just before the layer was watched."""
        self._on_paint(event)

    def _on_paint(self, event: Any) -> None:
        # Outside of `block_history`, napari tells of a stroke before it is in the data.
        positions = stroke_positions(event.value, len(self))
        if positions:
            self.painted |= positions
            if not self._strokes or self._strokes[-1] != positions:
                self._strokes.append(positions)
            self._forget(positions)
            self._background.submit(_nothing, lambda _: self._after_paint(positions))
            self.edited.emit(tuple(sorted(positions)))

    def _after_paint(self, positions: set[int]) -> None:
        frames = range(len(self))
        positions = {p for p in positions if p in frames}  # other labels may be in the layer now
        if not self._open or not positions:
            return
        self._forget(positions)
        if self._quick():
            self._sums |= {p: checksum(self.frame(p)) for p in positions}
            self.counted.emit(tuple(sorted(positions)))
        else:
            self._count_later(sorted(positions))

    def _forget(self, positions: set[int]) -> None:
        """Let go of what is known of these frames, or is just being read."""
        self._stale |= positions
        self._looks.update(positions)
        for position in positions:
            self._sums.pop(position, None)

    def _on_refresh(self, _event: Any = None) -> None:
        """Compare the shown frame; where the slider did not move, undo may be in any frame."""
        shown = self._shown()
        moved, self._last_shown = shown != self._last_shown, shown
        doubtful = set() if moved else set().union(*self._strokes)
        if self.in_memory:
            doubtful.add(shown)
        if self._quick():
            self._looks[shown] += 1
            self._compare(shown, checksum(self.frame(shown)))
            doubtful.discard(shown)
        self._compare_later(doubtful)

    def _on_data(self, _event: Any = None) -> None:
        shape = tuple(pixels(self.layer).shape)
        if shape != self._shape:  # other frames: nothing that is known is of them
            self._shape = shape
            self._looks.update(set(self._looks) | set(self._counts))
            self._counts, self._sums = {}, {}
            self.painted, self._doubted = set(), set()
            self._strokes.clear()
            told = self.layer.metadata.get(METADATA_KEY, {})
            self.layer.metadata[METADATA_KEY] = {k: v for k, v in told.items() if k != "empty"}
        self._stale = set(range(len(self)))
        self._looks.update(self._stale)
        self._last_shown = self._shown()
        self._look_through()

    # comparing

    def _compare(self, position: int, found: int) -> None:
        before = self._sums.get(position)
        self._sums[position] = found
        if before is not None and before != found:
            self._stale.add(position)
            if not self._quick():
                self._count_later([position])
            self.edited.emit((position,))

    def _compare_later(self, positions: set[int]) -> None:
        read, new = self._reader(), sorted(positions - self._doubted)
        if not new:
            return
        self._doubted.update(new)
        looks = {p: self._looks[p] for p in new}

        def sums() -> dict[int, int]:
            # a change from here on is a doubt of its own
            self._doubted.difference_update(new)
            return {p: checksum(read(p)) for p in new}

        def told(found: dict[int, int]) -> None:
            for position, total in found.items():
                if self._open and self._looks[position] == looks[position]:
                    self._compare(position, total)

        self._background.submit(sums, told)

    # counting

    def _look_through(self) -> None:
        """Count all frames and their checksums, at once where that takes no time."""
        data, frames = pixels(self.layer), range(len(self))
        if isinstance(data, np.ndarray) and data.nbytes <= _AT_ONCE:
            self._take([(p, self._looks[p], *_look_at(self.frame(p))) for p in frames])
        else:
            for start in frames[::_CHUNK]:
                self._count_later(frames[start : start + _CHUNK])
        self.find_said()

    def _count_later(self, positions: Iterable[int]) -> None:
        read = self._reader()
        wanted = {position: self._looks[position] for position in positions}

        def look() -> list[tuple[int, int, FrameCounts, int]]:
            return [(p, n, *_look_at(read(p))) for p, n in wanted.items() if self._open]

        self._background.submit(look, self._take)

    def _take(self, found: list[tuple[int, int, FrameCounts, int]]) -> None:
        """Keep what was counted, except of frames that were changed meanwhile; tell."""
        if not self._open:
            return
        fresh = [one for one in found if self._looks[one[0]] == one[1]]
        for position, _, counts, _ in fresh:
            self._counts[position] = counts
            self._stale.discard(position)
        before = {p: self._sums.get(p) for p, *_ in fresh}
        self._sums |= {position: total for position, _, _, total in fresh}
        edited = tuple(p for p, _, _, total in fresh if before[p] not in (None, total))
        if edited:
            self.edited.emit(edited)
        if fresh:
            self.counted.emit(tuple(position for position, *_ in fresh))

    def find_said(self) -> None:
        """Find out in which frames 0 is unknown, and which are said to be empty; that may read files."""
        told = self.layer.metadata.get(METADATA_KEY, {})
        said = [told.get(what, ()) for what in ("partial", "empty")]
        numbers = told.get("frame_numbers") or range(len(self))

        def look() -> list[frozenset[int]]:
            return [frozenset(p for p, n in enumerate(numbers) if n in some) for some in said]

        def take(found: list[frozenset[int]]) -> None:
            new = frozenset().union(*found, self.said_empty)
            self.partial, self.said_empty = found
            if new and self._open:
                self.counted.emit(tuple(sorted(new)))

        if all(isinstance(some, (tuple, list, set, frozenset)) for some in said):
            take(look())
        else:
            self._background.submit(look, take)

    # small things

    def _reader(self) -> Callable[[int], NDArray[Any]]:
        data = pixels(self.layer)
        return lambda position: np.asarray(data[position] if data.ndim > 2 else data)

    def _quick(self) -> bool:
        return self.in_memory and pixels(self.layer).nbytes <= _QUICK * len(self)


def _nothing() -> None:
    """Come back to the window's thread, when it has done what it was doing."""


def _look_at(labels: NDArray[Any]) -> tuple[FrameCounts, int]:
    return count_labels(labels), checksum(labels)
