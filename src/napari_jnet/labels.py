"""Kinds of labels, unknown pixels, connected pieces, and the overlap of two label images."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNKNOWN = -1
"""The label of a pixel that is not annotated; it counts in no loss and no metric."""
_LARGEST = 2**24  # tables by number grow with the largest one
_SPECK = 0.02  # part of the largest piece of a cell; what is smaller is a slip of the brush
_INT32 = np.iinfo(np.int32).max


class LabelKind(StrEnum):
    """What the numbers of a label image mean."""

    INSTANCES = "instances"  # 0 = background, every object its own id
    CLASSES = "classes"  # a class a pixel
    SCRIBBLES = "scribbles"  # 0 = unlabelled, 1 = background, 2 and up = classes

    @classmethod
    def _missing_(cls, value: object) -> None:
        raise ValueError(f"kind is {str(value)!r}; labels are {', '.join(cls)}.")


def known_labels(
    labels: NDArray[Any], kind: LabelKind, *, partial: bool = False
) -> NDArray[np.int32]:
    """Turn stored labels into int32 labels with `UNKNOWN` where nothing is annotated.

    With `partial`, only some objects are annotated, so that 0 is unknown.  Objects are renumbered where a
    number is above 2^24.  Raises `ValueError` for other types, labels below `UNKNOWN`, and such classes.
    """
    smallest, largest = labels.min(initial=0), labels.max(initial=0)
    if labels.dtype.kind not in "iub" or smallest < UNKNOWN:
        raise ValueError(
            f"Labels are {labels.dtype} from {smallest}; labels are integers, {UNKNOWN} (unknown) or more. "
            "Convert the layer to labels, save the mask as uint8 or uint16, or repaint these pixels."
        )
    if largest > _LARGEST:
        if kind is not LabelKind.INSTANCES:
            raise ValueError(
                f"Labels hold {largest}; classes are small numbers. Number the classes from 0, or use "
                "the kind instances."
            )
        numbers = np.unique(labels[labels > 0])
        labels = np.where(labels > 0, np.searchsorted(numbers, labels) + 1, labels)
    known = labels.astype(np.int32)
    if kind is LabelKind.SCRIBBLES:
        return np.where(known <= 0, UNKNOWN, known - 1).astype(np.int32)
    if partial:
        return np.where(known == 0, UNKNOWN, known).astype(np.int32)
    return known


def check_covers(labels: tuple[int, ...], image: tuple[int, ...], name: Path | str) -> None:
    """Raise `ValueError` unless labels have the shape of their image; the name is for the message."""
    if labels != image:
        raise ValueError(
            f"{name}: the labels have shape {labels}, the image has {image}; both must cover the same "
            "pixels. Check that the labels belong to this image."
        )


# connected pieces


def numbered_pieces(labels: NDArray[Any]) -> NDArray[np.int32]:
    """Return the connected pieces of all cells, numbered from 1; pixels that meet at a corner are connected.

    0 is where there is no cell, or a speck of less than 2 % of the largest piece of its cell.
    """
    return _pieces(labels)[0]


def cells_in_pieces(labels: NDArray[Any]) -> dict[int, int]:
    """Return the cells that are in two or more pieces: number of the cell -> count of its pieces."""
    _, owners = _pieces(labels)
    cells, counts = np.unique(owners[owners > 0], return_counts=True)
    return {int(c): int(n) for c, n in zip(cells, counts, strict=True) if n > 1}


def number_apart(labels: NDArray[Any], first: int) -> NDArray[np.signedinteger[Any]]:
    """Renumber the pieces of each cell from `first` on; the largest piece keeps the number of the cell.

    Specks keep it too.  The type is int32, or int64 where the numbers need it.
    """
    pieces, owners = _pieces(labels)
    areas = np.bincount(pieces.reshape(-1), minlength=owners.size)
    order = np.lexsort((-areas, owners))  # of each cell the largest piece first
    _, largest = np.unique(owners[order], return_index=True)
    apart = np.setdiff1d(np.flatnonzero(owners), order[largest])
    numbers = owners.copy()
    numbers[apart] = np.arange(first, first + len(apart))
    apart_labels = np.where(pieces > 0, numbers[pieces], labels)
    wide = max(int(apart_labels.max(initial=0)), -int(apart_labels.min(initial=0))) > _INT32
    return apart_labels.astype(np.int64 if wide else np.int32)


def _pieces(labels: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the numbered pieces, and the cell of each number; 0 for background and specks."""
    from skimage.measure import label  # here: opening a stack does not need it, and it loads slowly

    cells = np.where(labels > 0, labels, 0)
    pieces = label(cells, background=0, connectivity=cells.ndim).astype(np.int32)  # type: ignore[no-untyped-call]
    areas = np.bincount(pieces.reshape(-1))
    owners = np.zeros(areas.size, np.int64)
    owners[pieces.reshape(-1)] = cells.reshape(-1)
    areas[0] = 0
    _, kinds = np.unique(owners, return_inverse=True)
    largest = np.zeros(kinds.max(initial=0) + 1, areas.dtype)
    np.maximum.at(largest, kinds, areas)
    specks = areas < _SPECK * largest[kinds]
    owners[specks] = 0
    pieces[specks[pieces]] = 0
    return pieces, owners


# the overlap of two label images


@dataclass(frozen=True, eq=False)
class Contingency:
    """The overlaps of two label images, one entry for each pair that shares a pixel.

    `rows` and `columns` are the labels of the reference and of the result, ascending, background included
    where it occurs; `row` and `column` are the positions of a pair in them, `pixels` its shared pixels.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    row: NDArray[np.intp]
    column: NDArray[np.intp]
    pixels: NDArray[np.int64]

    @property
    def row_sizes(self) -> NDArray[np.int64]:
        """Pixels of each reference label, int64."""
        return np.bincount(self.row, self.pixels, len(self.rows)).astype(np.int64)

    @property
    def column_sizes(self) -> NDArray[np.int64]:
        """Pixels of each result label, int64."""
        return np.bincount(self.column, self.pixels, len(self.columns)).astype(np.int64)


def contingency(reference: NDArray[np.integer], result: NDArray[np.integer]) -> Contingency:
    """Count the shared pixels of two label images of the same shape.

    Pixels whose reference is negative (unknown) are skipped.  Raises `ValueError` for other shapes and
    types, and for negative labels of the result.
    """
    from scipy.sparse import coo_matrix
    from skimage.metrics import contingency_table

    reference, result = checked_labels(reference, "reference"), checked_labels(result, "result")
    same_shape(reference, result)
    if result.min(initial=0) < 0:
        raise ValueError(
            f"The result holds label {result.min()}; objects are numbered from 1, background is 0."
        )
    known = reference >= 0
    rows, row = _ranks(reference[known])
    columns, column = _ranks(result[known])
    if not row.size:
        return Contingency(rows, columns, row, column, np.zeros(0, np.int64))
    table = coo_matrix(contingency_table(row, column))  # type: ignore[no-untyped-call]
    row, column = table.row.astype(np.intp), table.col.astype(np.intp)
    return Contingency(rows, columns, row, column, table.data.astype(np.int64))


def _ranks(labels: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """Return the labels that occur and, for each pixel, the position of its label among them."""
    largest = int(labels.max(initial=0))
    if largest > _LARGEST:
        return np.unique(labels.astype(np.int64), return_inverse=True)
    found = np.flatnonzero(np.bincount(labels, minlength=largest + 1))  # faster than sorting
    position = np.zeros(largest + 1, dtype=np.intp)
    position[found] = np.arange(len(found))
    return found.astype(np.int64), position[labels]


def checked_labels(labels: NDArray[Any], name: str) -> NDArray[Any]:
    """Return labels as integers that int64 holds; true is 1, false is 0.

    Others raise `ValueError`; `name` is for the message, such as "reference".
    """
    if labels.dtype == bool:
        return labels.astype(np.uint8)
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"The {name} is of type {labels.dtype}; objects are integers, 0 = background. Convert it, or "
            "choose the objects, such as instances.tif."
        )
    if labels.dtype == np.uint64 and labels.max(initial=0) > np.iinfo(np.int64).max:
        raise ValueError(
            f"The {name} holds label {int(labels.max())}; the largest number that can be compared is "
            f"{np.iinfo(np.int64).max}. Renumber the objects."
        )
    return labels


def same_shape(
    first: NDArray[Any], second: NDArray[Any], names: tuple[str, str] = ("reference", "result")
) -> None:
    """Raise `ValueError` unless both images have the same shape; the names are for the message."""
    if first.shape != second.shape:
        raise ValueError(
            f"The {names[0]} has {first.shape} pixels, the {names[1]} {second.shape}; "
            "both must be of the same frame and at its full size."
        )
