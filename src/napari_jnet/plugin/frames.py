"""What is known of a frame: counts, role, score and uncertainty."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.labels import LabelKind, cells_in_pieces

_SPARSE = 0.08  # part of a frame that is cell; with less, some cells may not be painted yet


@dataclass(frozen=True)
class FrameInfo:
    """What is known of one frame."""

    position: int  # along the stack
    number: int  # in the names of files
    annotated: bool = False  # can be learned from
    objects: int = 0  # painted cells; 0 for classes and scribbles
    in_pieces: tuple[tuple[int, int], ...] = ()  # (cell, its pieces) of cells in two or more
    pixels: tuple[int, ...] = ()  # known pixels of each class from 0; of background and cells
    unknown: int = 0  # pixels
    size: int = 0  # pixels
    role: str = ""  # "training", "validation", "unused" or "" (the split decides)
    empty: bool = False  # annotated by being marked as without objects: all is background
    score: float | None = None  # the last one, by this name
    score_name: str = ""
    uncertainty: float | None = None  # mean entropy of the last prediction, bits a pixel
    counted: bool = True  # False while the frame is still being counted

    @property
    def sparse(self) -> bool:
        """Whether so few cells are painted that some may be missing: they would count as background."""
        background, cells = (*self.pixels, 0, 0)[:2]
        return bool(self.objects and background and cells < _SPARSE * (background + cells))


@dataclass(frozen=True)
class FrameTotals:
    """What all annotated frames hold together."""

    frames: int = 0
    objects: int = 0
    pixels: tuple[int, ...] = ()  # of each class, as in `FrameInfo`
    whole: int = 0  # frames in which every pixel is known
    sparse: int = 0  # frames in which few cells are painted, see `FrameInfo.sparse`
    score: float | None = None  # the mean of the last ones, by this name
    score_name: str = ""


_DENSE = 2**22  # up to this label, counting all at once is faster than sorting


@dataclass(frozen=True)
class FrameCounts:
    """How often each label is painted in a frame."""

    labels: dict[int, int]  # label -> pixels, ascending; only those that are there
    size: int  # pixels
    in_pieces: dict[int, int]  # label -> its pieces, where two or more

    @property
    def painted(self) -> bool:
        """Whether there is anything but 0."""
        return any(label != 0 for label in self.labels)

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
    flat = labels.reshape(-1)
    if not flat.any():
        return FrameCounts({0: flat.size}, flat.size, {})
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
