"""What is known of a frame: counts, role, score and uncertainty."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.labels import LabelKind, cells_in_pieces

_SPARSE = 0.08  # part of a frame that is cell; with less, some cells may not be painted yet


@dataclass(frozen=True)
class FrameInfo:
    """What is known of one frame.

    Attributes
    ----------
    position, number
        Index along the stack; frame number of the file names.
    annotated
        Whether it can be learned from.
    objects
        Painted cells; 0 for classes and scribbles.
    in_pieces
        (cell, count of its pieces) of cells that are in two or more; none for classes and scribbles.
    pixels
        Known pixels of each class from 0; of background and cells where cells are numbered.
    unknown
        Pixels that are unknown.
    size
        Pixels of the frame.
    role
        "training", "validation", "unused" or "" (the split decides).
    empty
        Whether it is annotated by being marked as without objects: all is background.
    score, score_name
        The last score and what it is, such as SEG; None where there is none.
    uncertainty
        Mean entropy of the last prediction in bits a pixel; None where there is none.
    counted
        False while the frame is still being counted.
    """

    position: int
    number: int
    annotated: bool = False
    objects: int = 0
    in_pieces: tuple[tuple[int, int], ...] = ()
    pixels: tuple[int, ...] = ()
    unknown: int = 0
    size: int = 0
    role: str = ""
    empty: bool = False
    score: float | None = None
    score_name: str = ""
    uncertainty: float | None = None
    counted: bool = True

    @property
    def sparse(self) -> bool:
        """Whether so few cells are painted that some may be missing: they would count as background."""
        background, cells = (*self.pixels, 0, 0)[:2]
        return bool(self.objects and background and cells < _SPARSE * (background + cells))


@dataclass(frozen=True)
class FrameTotals:
    """What all annotated frames hold together.

    Attributes
    ----------
    frames
        Annotated ones.
    objects
        Painted cells; 0 for classes and scribbles.
    pixels
        Known pixels of each class from 0, as in `FrameInfo`.
    whole
        Frames in which every pixel is known.
    sparse
        Frames in which few cells are painted; see `FrameInfo.sparse`.
    score, score_name
        The mean of the last scores, and what it is; None where there is none.
    """

    frames: int = 0
    objects: int = 0
    pixels: tuple[int, ...] = ()
    whole: int = 0
    sparse: int = 0
    score: float | None = None
    score_name: str = ""


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
