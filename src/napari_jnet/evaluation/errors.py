"""What is wrong in a segmentation, cell by cell: missed, false, split and merged ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from napari_jnet.evaluation.objects import object_pairs, unknown_share
from napari_jnet.labels import contingency, same_shape

Labels = NDArray[np.integer]
_CORRECT = 0.5  # IoU above which a cell is correct, as in AP50
_SPECK = 0.1  # of the largest part; a smaller one is not a part of a split or of a merge
_LARGEST_BOXED = 1 << 20  # a table of boxes has an entry for each number


class ErrorKind(IntEnum):
    """The numbers of an error map; 0 is correct."""

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
        0 = correct, else an `ErrorKind`: the reference cell where it is missed or split, the result
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
    the others a cell is correct with an IoU above 0.5, otherwise *missed*; a result object without
    such a partner is *false*, unless it lies on unknown pixels by more than half.
    """
    same_shape(reference, result)
    known = np.maximum(reference, 0)
    table = contingency(known, result)
    pairs = object_pairs(table)
    shared, row, column = pairs.shared, table.rows[pairs.row], table.columns[pairs.column]
    splits = {
        label: tuple(column[parts].tolist())
        for label, parts in _groups(row, shared, 2 * shared > pairs.column_size)
        if 2 * shared[parts].sum() > pairs.row_size[parts][0]
    }
    merges = {
        label: tuple(row[parts].tolist())
        for label, parts in _groups(column, shared, 2 * shared > pairs.row_size)
    }
    correct = pairs.iou > _CORRECT
    rows = {0, *row[correct].tolist(), *splits, *chain(*merges.values())}
    columns = {0, *column[correct].tolist(), *merges, *chain(*splits.values())}
    unknown = unknown_share(reference, result, table)
    entries: list[tuple[ErrorKind, tuple[int, ...], tuple[int, ...]]] = [
        *((ErrorKind.MISSED, (r,), ()) for r in table.rows.tolist() if r not in rows),
        *(
            (ErrorKind.FALSE, (), (c,))
            for c in table.columns[unknown <= 0.5].tolist()
            if c not in columns
        ),
        *((ErrorKind.SPLIT, (r,), parts) for r, parts in splits.items()),
        *((ErrorKind.MERGED, parts, (c,)) for c, parts in merges.items()),
    ]
    plane = np.zeros(reference.shape, np.uint8)
    boxes = {True: _boxes(known), False: _boxes(result)}
    errors = []
    for kind, in_reference, in_result in entries:  # a split or merge is written over the others
        marks_reference = kind in (ErrorKind.MISSED, ErrorKind.SPLIT)
        image, label = (known, in_reference[0]) if marks_reference else (result, in_result[0])
        box = boxes[marks_reference].get(label, (slice(0, None),) * plane.ndim)
        where = np.nonzero(image[box] == label)
        plane[box][where] = kind
        centroid = tuple(float(s.start + at.mean()) for s, at in zip(box, where, strict=True))
        errors.append(CellError(kind, in_reference, in_result, centroid, len(where[0])))
    return plane, sorted(errors, key=lambda error: -error.pixels)


def pixel_error_map(reference: NDArray[Any], result: NDArray[Any]) -> NDArray[np.uint8]:
    """Mark the pixels that have the wrong class; for labels that are classes and not cells.

    Parameters
    ----------
    reference, result
        Classes of the same shape, 0 = background; where the reference is negative it is unknown.

    Returns
    -------
    ndarray of uint8, same shape
        MISSED where a class is taken for background, FALSE where background is taken for a class,
        WRONG_CLASS where one class is taken for another; 0 = correct or unknown.

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


def _groups(
    whole: NDArray[np.int64], shared: NDArray[np.int64], lies_in: NDArray[np.bool_]
) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Yield the label of each object that several others lie in, and which pairs are those."""
    for label in np.unique(whole[lies_in]).tolist():
        parts = lies_in & (whole == label)
        parts &= shared >= _SPECK * shared[parts].max()
        if np.count_nonzero(parts) > 1:
            yield label, parts


def _boxes(labels: Labels) -> dict[int, tuple[slice, ...]]:
    """Return where each object lies; nothing where the numbers are too large for a table of them."""
    if labels.max(initial=0) > _LARGEST_BOXED:
        return {}
    found = find_objects(labels.astype(np.int32, copy=False))
    return {label: box for label, box in enumerate(found, start=1) if box is not None}
