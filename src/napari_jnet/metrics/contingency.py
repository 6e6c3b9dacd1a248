"""How many pixels each pair of reference and result objects shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

__all__ = ["Contingency", "checked_labels", "contingency", "same_shape"]

# Above this label a table over all labels costs more memory than sorting the pixels.
_LARGEST_TABLE = 1 << 24


@dataclass(frozen=True, eq=False)
class Contingency:
    """The overlaps of two label images, one entry for each pair that shares a pixel.

    Attributes
    ----------
    rows, columns
        Labels of the reference and of the result, ascending, background included where it occurs.
    row, column
        For each pair: its position in `rows` and in `columns`.
    pixels
        For each pair: shared pixels.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    row: NDArray[np.intp]
    column: NDArray[np.intp]
    pixels: NDArray[np.int64]

    @property
    def row_sizes(self) -> NDArray[np.int64]:
        """Pixels of each reference label, int64."""
        return _sums(self.row, self.pixels, len(self.rows))

    @property
    def column_sizes(self) -> NDArray[np.int64]:
        """Pixels of each result label, int64."""
        return _sums(self.column, self.pixels, len(self.columns))


def contingency(reference: NDArray[np.integer], result: NDArray[np.integer]) -> Contingency:
    """Count the shared pixels of two label images.

    Parameters
    ----------
    reference, result
        Integers of the same shape; pixels whose reference is negative (unknown) are left out.

    Raises
    ------
    ValueError
        If the shapes differ, the result holds negative labels, or `checked_labels` refuses them.
    """
    reference, result = checked_labels(reference, "reference"), checked_labels(result, "result")
    same_shape(reference, result)
    if result.size and result.min() < 0:
        raise ValueError(
            f"The result holds label {result.min()}; objects are numbered from 1, background is 0."
        )
    known = reference >= 0
    rows, row = _compact(reference[known])
    columns, column = _compact(result[known])
    table = sparse.coo_matrix(
        (np.ones(row.size, dtype=np.int64), (row, column)), shape=(len(rows), len(columns))
    )
    table.sum_duplicates()
    return Contingency(
        rows, columns, table.row.astype(np.intp), table.col.astype(np.intp), table.data
    )


def checked_labels(labels: NDArray[Any], name: str) -> NDArray[Any]:
    """Return labels as integers that int64 holds; true is 1, false is 0.

    Parameters
    ----------
    labels
        Any shape.
    name
        "reference" or "result", for messages.

    Raises
    ------
    ValueError
        If they are neither integers nor booleans, or have a number beyond int64.
    """
    if labels.dtype == bool:
        return labels.astype(np.uint8)
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"The {name} is of type {labels.dtype}; objects are integers, 0 = background. Convert it."
        )
    if labels.dtype == np.uint64 and labels.max(initial=0) > np.iinfo(np.int64).max:
        raise ValueError(
            f"The {name} holds label {int(labels.max())}; the largest number that can be compared is "
            f"{np.iinfo(np.int64).max}. Number the objects anew."
        )
    return labels


def same_shape(reference: NDArray[Any], result: NDArray[Any]) -> None:
    """Raise `ValueError` unless both images have the same shape."""
    if reference.shape != result.shape:
        raise ValueError(
            f"The reference has {reference.shape} pixels, the result {result.shape}; "
            "both must be of the same frame and at its full size."
        )


def _compact(labels: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """Return the labels that occur and, for each pixel, the position of its label among them."""
    if labels.size == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.intp)
    flat = labels.ravel()
    largest = int(flat.max())
    if largest >= _LARGEST_TABLE:
        found, inverse = np.unique(flat.astype(np.int64), return_inverse=True)
        return found, inverse
    found = np.flatnonzero(np.bincount(flat, minlength=largest + 1))
    position = np.zeros(largest + 1, dtype=np.intp)
    position[found] = np.arange(len(found))
    return found.astype(np.int64), position[flat]


def _sums(index: NDArray[np.intp], pixels: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    sums = np.zeros(size, dtype=np.int64)
    np.add.at(sums, index, pixels)
    return sums
