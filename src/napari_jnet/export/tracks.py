"""Give the objects of consecutive frames the same number where they overlap.

A segmentation has no tracks, but a CTC result must list some; a viewer shows an object in one
colour as long as its number stays.  This is no tracking: divisions are not found.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_jnet.metrics.contingency import contingency

__all__ = ["OverlapTracks"]


class OverlapTracks:
    """Link objects frame by frame, keeping only the frame before.

    Parameters
    ----------
    minimum_iou
        Smallest Jaccard index at which an object is taken for the one of the frame before.
    """

    def __init__(self, minimum_iou: float = 0.3) -> None:
        self._minimum = minimum_iou
        self._last_number: int | None = None
        self._last: NDArray[np.int32] | None = None
        self._spans: dict[int, tuple[int, int]] = {}
        self._continued: dict[int, tuple[int, int] | None] = {}

    @property
    def count(self) -> int:
        """Tracks so far, which is also the largest number given."""
        return len(self._spans)

    def add(self, number: int, instances: NDArray[np.integer]) -> NDArray[np.int32]:
        """Return the instances of the next frame, numbered by track.

        Parameters
        ----------
        number
            Frame number; only a frame that follows at once continues tracks.
        instances
            Integers (H, W) or (Z, H, W), 0 = background.
        """
        found = np.unique(instances)
        found = found[found > 0]
        links = self._links(number, instances)
        tracks = np.zeros(len(found), dtype=np.int32)
        self._continued = {}
        for position, label in enumerate(found):
            track = links.get(int(label), self.count + 1)
            span = self._continued[track] = self._spans.get(track)
            self._spans[track] = (span[0] if span else number, number)
            tracks[position] = track
        numbered = np.zeros(instances.shape, dtype=np.int32)
        inside = instances > 0
        numbered[inside] = tracks[np.searchsorted(found, instances[inside])]
        self._last_number, self._last = number, numbered
        return numbered

    def undo(self) -> None:
        """Forget the last frame: it could not be written."""
        for track, span in self._continued.items():
            if span is None:
                del self._spans[track]
            else:
                self._spans[track] = span
        self._continued = {}
        self._last = None

    def lines(self) -> str:
        """Return the tracks as ``res_track.txt`` holds them: label, first, last, parent 0."""
        spans = self._spans.items()
        return "".join(f"{track} {first} {last} 0\n" for track, (first, last) in spans)

    def _links(self, number: int, instances: NDArray[np.integer]) -> dict[int, int]:
        """Pair objects with those of the frame before: best overlap first, each only once."""
        if self._last is None or self._last_number != number - 1:
            return {}
        if self._last.shape != instances.shape:
            return {}
        table = contingency(self._last, instances)
        union = table.row_sizes[table.row] + table.column_sizes[table.column] - table.pixels
        iou = table.pixels / union
        before, now = table.rows[table.row], table.columns[table.column]
        good = (before > 0) & (now > 0) & (iou >= self._minimum)
        links: dict[int, int] = {}
        taken: set[int] = set()
        for pair in np.flatnonzero(good)[np.argsort(-iou[good], kind="stable")]:
            track, label = int(before[pair]), int(now[pair])
            if track not in taken and label not in links:
                links[label] = track
                taken.add(track)
        return links
