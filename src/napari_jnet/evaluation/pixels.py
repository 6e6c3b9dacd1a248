"""Scores of pixels, all read from one confusion table; unknown pixels never enter it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.labels import same_shape


def confusion(reference: NDArray[Any], result: NDArray[Any], classes: int = 2) -> NDArray[np.int64]:
    """Count pixels by their class, 0 to ``classes - 1``, in the reference (rows) and in the result.

    Negative pixels of the reference are unknown and do not count.  Tables of frames add up.  Raises
    `ValueError` if the shapes differ or a class is out of range.
    """
    same_shape(reference, result)
    known = reference >= 0
    rows = reference[known].astype(np.int64)
    columns = result[known].astype(np.int64)
    for name, values in (("reference", rows), ("result", columns)):
        if values.size and (values.min() < 0 or values.max() >= classes):
            raise ValueError(
                f"The {name} holds classes {values.min()} to {values.max()}; with {classes} "
                f"classes they run from 0 to {classes - 1}. For instances, compare labels > 0."
            )
    counts = np.bincount(rows * classes + columns, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def iou(table: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the Jaccard index of each class, 0 to 1; NaN for a class that occurs in neither image."""
    shared = np.diagonal(table).astype(np.float64)
    union = table.sum(axis=0) + table.sum(axis=1) - shared
    scores = np.full(len(shared), np.nan)
    np.divide(shared, union, out=scores, where=union > 0)
    return scores


def mean_iou(table: NDArray[np.integer]) -> float:
    """Return the mean Jaccard index over the classes that occur; NaN if none does."""
    scores = iou(table)
    present = scores[~np.isnan(scores)]
    return float(present.mean()) if present.size else float("nan")


def cell_iou(table: NDArray[np.integer]) -> float:
    """Return the Jaccard index of cell pixels, whatever their class; NaN without any."""
    union = table.sum() - table[0, 0]
    return float(table[1:, 1:].sum() / union) if union else float("nan")


def pixel_accuracy(table: NDArray[np.integer]) -> float:
    """Return the fraction of the pixels that have the correct class; NaN without pixels."""
    total = int(table.sum())
    return int(np.trace(table)) / total if total else float("nan")
