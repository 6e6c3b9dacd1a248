"""What is wrong in a segmentation, cell by cell: missed, false, split and merged ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from napari_jnet.labels import Contingency, contingency, same_shape

Labels = NDArray[np.integer]


_FOUND = 0.5  # IoU above which a cell is right, as in AP50


_SPECK = 0.1  # of the largest part; a smaller one is no part of a split or of a merge


_LARGEST_BOXED = 1 << 20


class ErrorKind(IntEnum):
    """The numbers of an error map; 0 is right."""

    MISSED = 1
    FALSE = 2
    SPLIT = 3
    MERGED = 4
    WRONG_CLASS = 5


@dataclass(frozen=True)
class CellError:
    """One cell, or one group of cells, that is wrong.

    Attributes
    ----------
    kind
        What is wrong.
    reference, result
        Labels of the objects concerned: one reference and several results for a split, several
        and one for a merge.
    centroid
        Pixels, an entry for each axis of the frame.
    pixels
        Size of what is marked in the map.
    """

    kind: ErrorKind
    reference: tuple[int, ...]
    result: tuple[int, ...]
    centroid: tuple[float, ...]
    pixels: int


def error_map(reference: Labels, result: Labels) -> tuple[NDArray[np.uint8], list[CellError]]:
    """Mark the cells of one frame that are wrong.

    Parameters
    ----------
    reference
        Integers (H, W) or (Z, H, W): 0 = background, objects from 1; negative pixels are unknown.
    result
        Integers of the same shape, 0 = background, objects from 1.

    Returns
    -------
    plane : ndarray of uint8, same shape
        0 = right, else an `ErrorKind`: the reference cell where it is missed or split, the result
        where it is false or holds several cells.
    errors : list of CellError
        Largest first.

    Raises
    ------
    ValueError
        If the shapes differ or the result holds negative labels.

    Notes
    -----
    A reference cell is *split* if several result objects lie in it by more than half of themselves
    and cover more than half of it; cells are *merged* if several lie in one result object by more
    than half of themselves.  Parts below a tenth of the largest are specks, and do not count.  Of
    the others a cell is right with an IoU above 0.5, otherwise *missed*; a result object without
    such a partner is *false*, unless it lies on unknown pixels by more than half.
    """
    same_shape(reference, result)
    table = contingency(np.maximum(reference, 0), result)
    found = _Groups.of(table)
    unknown = _unknown_part(reference, result, found)
    rows = [r for r in found.row_labels if r not in found.good_rows]
    columns = [c for c in found.column_labels if c not in found.good_columns and unknown[c] <= 0.5]
    entries = [
        *((ErrorKind.MISSED, (r,), ()) for r in rows),
        *((ErrorKind.FALSE, (), (c,)) for c in columns),
        *((ErrorKind.SPLIT, (r,), parts) for r, parts in found.splits.items()),
        *((ErrorKind.MERGED, parts, (c,)) for c, parts in found.merges.items()),
    ]
    plane = np.zeros(reference.shape, np.uint8)
    errors = list(_mark(plane, np.maximum(reference, 0), result, entries))
    return plane, sorted(errors, key=lambda error: -error.pixels)


def pixel_error_map(reference: NDArray[Any], result: NDArray[Any]) -> NDArray[np.uint8]:
    """Mark the pixels that have the wrong class; for labels that are classes and not cells.

    Parameters
    ----------
    reference, result
        Classes of the same shape, 0 = background; where the reference is negative nobody knows.

    Returns
    -------
    ndarray of uint8, same shape
        MISSED where a class is taken for background, FALSE where background is taken for a class,
        WRONG_CLASS where one class is taken for another; 0 = right or unknown.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    same_shape(reference, result)
    plane = np.zeros(reference.shape, np.uint8)
    plane[(reference > 0) & (result == 0)] = ErrorKind.MISSED
    plane[(reference == 0) & (result > 0)] = ErrorKind.FALSE
    plane[(reference > 0) & (result > 0) & (reference != result)] = ErrorKind.WRONG_CLASS
    return plane


@dataclass(frozen=True, eq=False)
class _Groups:
    """Which objects belong together, by label."""

    row_labels: list[int]
    column_labels: list[int]
    good_rows: set[int]  # right, or said otherwise (split, merged)
    good_columns: set[int]
    splits: dict[int, tuple[int, ...]]
    merges: dict[int, tuple[int, ...]]

    @classmethod
    def of(cls, table: Contingency) -> _Groups:
        pair = (table.rows[table.row] > 0) & (table.columns[table.column] > 0)
        row, column = table.row[pair], table.column[pair]
        shared = table.pixels[pair].astype(np.float64)
        row_size, column_size = table.row_sizes[row], table.column_sizes[column]
        r, c = table.rows[row], table.columns[column]
        splits = {
            label: parts
            for label, parts, covered, size in _several(
                r, c, shared, row_size, 2 * shared > column_size
            )
            if 2 * covered > size
        }
        merges = {
            label: parts
            for label, parts, *_ in _several(c, r, shared, column_size, 2 * shared > row_size)
        }
        right = shared / (row_size + column_size - shared) > _FOUND
        good_rows = {*r[right].tolist(), *splits, *_all(merges.values())}
        good_columns = {*c[right].tolist(), *merges, *_all(splits.values())}
        return cls(
            table.rows[table.rows > 0].tolist(),
            table.columns[table.columns > 0].tolist(),
            good_rows,
            good_columns,
            splits,
            merges,
        )


def _all(groups: Iterable[tuple[int, ...]]) -> Iterator[int]:
    return (label for group in groups for label in group)


def _several(
    whole: NDArray[np.int64],
    part: NDArray[np.int64],
    shared: NDArray[np.float64],
    whole_size: NDArray[np.int64],
    lies_in: NDArray[np.bool_],
) -> Iterator[tuple[int, tuple[int, ...], float, float]]:
    """Yield each object that several others lie in: its label, theirs, their overlap and its size."""
    for label in np.unique(whole[lies_in]):
        mine = lies_in & (whole == label)
        mine &= shared >= _SPECK * shared[mine].max()
        if np.count_nonzero(mine) > 1:
            parts = tuple(int(p) for p in part[mine])
            yield int(label), parts, float(shared[mine].sum()), float(whole_size[mine][0])


def _unknown_part(reference: Labels, result: Labels, found: _Groups) -> dict[int, float]:
    """Return which part of each result object lies on unknown pixels."""
    unknown = reference < 0
    part = dict.fromkeys(found.column_labels, 0.0)
    if unknown.any():
        sizes = contingency(np.zeros(result.shape, np.int8), result)
        hidden = contingency(np.zeros(int(unknown.sum()), np.int8), result[unknown])
        whole = dict(zip(sizes.columns.tolist(), sizes.column_sizes.tolist(), strict=True))
        for label, pixels in zip(
            hidden.columns.tolist(), hidden.column_sizes.tolist(), strict=True
        ):
            if label:
                part[label] = pixels / whole[label]
    return part


def _mark(
    plane: NDArray[np.uint8],
    reference: Labels,
    result: Labels,
    entries: list[tuple[ErrorKind, tuple[int, ...], tuple[int, ...]]],
) -> Iterator[CellError]:
    """Write errors into the plane, missed and false cells first: the others say more."""
    whole = (slice(None),) * plane.ndim
    boxes = {True: _boxes(reference), False: _boxes(result)}
    for kind, rows, columns in entries:
        by_reference = kind in (ErrorKind.MISSED, ErrorKind.SPLIT)
        image, label = (reference, rows[0]) if by_reference else (result, columns[0])
        box = boxes[by_reference].get(label, whole)
        where = np.nonzero(image[box] == label)
        plane[box][where] = kind
        starts = (part.start or 0 for part in box)
        centroid = tuple(float(n + axis.mean()) for n, axis in zip(starts, where, strict=True))
        yield CellError(kind, rows, columns, centroid, len(where[0]))


def _boxes(labels: Labels) -> dict[int, tuple[slice, ...]]:
    """Return where each object lies; nothing where the numbers are too large for a table of them."""
    if labels.max(initial=0) > _LARGEST_BOXED:
        return {}
    found = find_objects(labels.astype(np.int32, copy=False))
    return {label: box for label, box in enumerate(found, start=1) if box is not None}
