"""What is painted in one frame, counted."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.data.pieces import cells_in_pieces
from napari_jnet.data.stack import LabelKind

__all__ = ["FrameCounts", "checksum", "count_labels"]

_DENSE = 2**22  # up to this label, counting all at once is faster than sorting


@dataclass(frozen=True)
class FrameCounts:
    """How often each label is painted in a frame.

    Attributes
    ----------
    labels
        Label -> pixels, ascending; only those that are there.
    size
        Pixels of the frame.
    in_pieces
        Label -> connected pieces, of labels above 0 that are in two or more.
    """

    labels: dict[int, int]
    size: int
    in_pieces: dict[int, int] = field(default_factory=dict)

    @property
    def painted(self) -> bool:
        """Whether there is anything but 0."""
        return any(label != 0 for label in self.labels)

    def objects(self, kind: LabelKind) -> int:
        """Return the number of cells; 0 for classes and scribbles."""
        return sum(label > 0 for label in self.labels) if kind is LabelKind.INSTANCES else 0

    def pixels(self, kind: LabelKind, *, partial: bool = False) -> tuple[int, ...]:
        """Return the known pixels of each class from 0; for cells: background and cells."""
        if kind is LabelKind.INSTANCES:
            cells = sum(n for label, n in self.labels.items() if label > 0)
            return (0 if partial else self.labels.get(0, 0), cells)
        first = 1 if kind is LabelKind.SCRIBBLES else 0
        last = max(self.labels, default=0)
        return tuple(self.labels.get(label, 0) for label in range(first, last + 1))


def count_labels(labels: NDArray[Any]) -> FrameCounts:
    """Count the labels of a frame, (H, W) or (Z, H, W), of any integer type."""
    flat = np.asarray(labels).reshape(-1)
    if flat.dtype == bool:
        flat = flat.view(np.uint8)
    if not flat.size or (flat.dtype.itemsize <= 4 and not flat.any()):
        return FrameCounts({0: flat.size} if flat.size else {}, flat.size)
    low, high = int(flat.min()), int(flat.max())
    if high - low > _DENSE:
        values, counts = np.unique(flat, return_counts=True)
    else:
        shifted = flat.astype(np.int64)
        shifted -= low
        counts = np.bincount(shifted)
        values = np.flatnonzero(counts)
        counts, values = counts[values], values + low
    found = {int(v): int(n) for v, n in zip(values, counts, strict=True)}
    return FrameCounts(found, flat.size, cells_in_pieces(labels) if high > 0 else {})


def checksum(labels: NDArray[Any]) -> int:
    """Return a number that differs, in all likelihood, where any pixel differs; of any integer type."""
    plain = np.ascontiguousarray(labels, np.int32)
    return zlib.crc32(plain.reshape(-1).view(np.uint8).data)
