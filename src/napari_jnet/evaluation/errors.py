"""What is wrong in a segmentation, cell by cell: missed, false, split and merged ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from napari_jnet.evaluation.objects import object_pairs, unknown_share
from napari_jnet.labels import contingency, same_shape

Labels = NDArray[np.integer]
_CORRECT = 0.5  # IoU above which a cell is correct, as in AP50
_SPECK = 0.1  # of the largest part; a smaller one is not a part of a split or of a merge


class ErrorKind(IntEnum):
    """The numbers of an error map; 0 is correct."""

    MISSED = 1
    FALSE = 2
    SPLIT = 3
    MERGED = 4
    WRONG_CLASS = 5


@dataclass(frozen=True)
class CellError:
    """One cell, or one group of cells, that is wrong."""

    kind: ErrorKind
    reference: tuple[int, ...]  # one for a split, several for a merge, none for a false cell
    result: tuple[int, ...]
    centroid: tuple[float, ...]  # pixels, an entry for each axis of the frame
    pixels: int  # of what is marked in the map


def error_map(reference: Labels, result: Labels) -> tuple[NDArray[np.uint8], list[CellError]]:
    """Mark the cells of one frame, (H, W) or (Z, H, W), that are wrong; largest errors first.

    The map is 0 where all is correct, else an `ErrorKind`: the reference cell where it is missed or
    split, the result where it is false or holds several cells.

    A reference cell is *split* if several result objects lie in it by more than half of themselves
    and cover more than half of it; cells are *merged* if several lie in one result object by more
    than half of themselves.  Parts below a tenth of the largest are specks, and do not count.  Of
    the others a cell is correct with an IoU above 0.5, otherwise *missed*; a result object without
    such a partner is *false*, unless it lies on unknown (negative) pixels by more than half.
    """
    same_shape(reference, result)
    known = np.maximum(reference, 0)
    table = contingency(known, result)
    pairs = object_pairs(table)
    row, column, shared = pairs.row, pairs.column, pairs.shared
    splits = {
        position: column[parts]
        for position, parts in _groups(row, shared, 2 * shared > pairs.column_size)
        if 2 * shared[parts].sum() > pairs.row_size[parts][0]
    }
    merges = {
        position: row[parts]
        for position, parts in _groups(column, shared, 2 * shared > pairs.row_size)
    }
    correct = pairs.iou > _CORRECT
    unknown = unknown_share(reference, result, table)
    row_kinds = np.where(table.rows > 0, ErrorKind.MISSED, 0).astype(np.uint8)
    known_columns = (table.columns > 0) & (unknown <= 0.5)
    column_kinds = np.where(known_columns, ErrorKind.FALSE, 0).astype(np.uint8)
    row_kinds[np.concatenate([row[correct], *merges.values()])] = 0
    column_kinds[np.concatenate([column[correct], *splits.values()])] = 0
    row_kinds[list(splits)] = ErrorKind.SPLIT
    column_kinds[list(merges)] = ErrorKind.MERGED
    plane, errors = np.zeros(reference.shape, np.uint8), []
    for image, labels, kinds, partners, others in (
        (known, table.rows, row_kinds, splits, table.columns),
        (result, table.columns, column_kinds, merges, table.rows),
    ):
        ranks = np.searchsorted(labels, image)
        np.maximum(plane, kinds[ranks], out=plane)  # a split or merge is seen where others lie too
        sizes = np.bincount(ranks.reshape(-1), minlength=len(labels))
        wrong = np.flatnonzero(kinds).tolist()
        centroids = (
            scipy.ndimage.center_of_mass(np.ones(image.shape, np.uint8), ranks, wrong)
            if wrong
            else []
        )
        for position, centroid in zip(wrong, centroids, strict=True):
            own, partner = (int(labels[position]),), others[partners.get(position, [])].tolist()
            in_reference, in_result = (own, partner) if image is known else (partner, own)
            errors.append(
                CellError(
                    ErrorKind(kinds[position]),
                    tuple(in_reference),
                    tuple(in_result),
                    tuple(float(c) for c in centroid),
                    int(sizes[position]),
                )
            )
    return plane, sorted(errors, key=lambda error: -error.pixels)


def pixel_error_map(reference: NDArray[Any], result: NDArray[Any]) -> NDArray[np.uint8]:
    """Mark the pixels that have the wrong class; for labels that are classes and not cells.

    MISSED where a class is taken for background, FALSE where background is taken for a class,
    WRONG_CLASS where one class is taken for another; 0 where the reference is negative (unknown).
    """
    same_shape(reference, result)
    plane = np.zeros(reference.shape, np.uint8)
    plane[(reference > 0) & (result == 0)] = ErrorKind.MISSED
    plane[(reference == 0) & (result > 0)] = ErrorKind.FALSE
    plane[(reference > 0) & (result > 0) & (reference != result)] = ErrorKind.WRONG_CLASS
    return plane


def _groups(
    whole: NDArray[np.intp], shared: NDArray[np.int64], lies_in: NDArray[np.bool_]
) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Yield each object that several others lie in, and which pairs are those, ascending."""
    inside = np.flatnonzero(lies_in)
    inside = inside[np.argsort(whole[inside], kind="stable")]
    positions, starts = np.unique(whole[inside], return_index=True)
    bounds = pairwise([*starts, inside.size])
    for position, (start, end) in zip(positions.tolist(), bounds, strict=True):
        parts = inside[start:end]
        if parts.size > 1:
            parts = parts[shared[parts] >= _SPECK * shared[parts].max()]
        if parts.size > 1:
            yield position, parts
