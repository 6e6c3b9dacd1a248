"""Scores of objects: SEG and DET of the Cell Tracking Challenge, and average precision (AP).

All are read from the overlaps of a reference and a result, see `napari_jnet.labels.contingency`.
Tables of frames do not add up, scores do: SEG by object, DET and AP by their counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_jnet.labels import Contingency, contingency

DETECTION_WEIGHTS = 5, 10, 1
"""Cost in AOGM_D of a split, of a missed object, and of a false positive."""
THRESHOLDS: tuple[float, ...] = tuple(n / 100 for n in range(50, 100, 5))
"""IoU of 0.5, 0.55 ... 0.95, over which "AP" without a number is the mean."""


@dataclass(frozen=True, eq=False)
class ObjectPairs:
    """The pairs of a reference and a result object that share pixels, one entry each."""

    row: NDArray[np.intp]  # position in the `rows` of the table
    column: NDArray[np.intp]
    shared: NDArray[np.int64]  # pixels of both
    row_size: NDArray[np.int64]  # pixels of the reference object
    column_size: NDArray[np.int64]

    @property
    def iou(self) -> NDArray[np.float64]:
        """Jaccard index of each pair."""
        union = self.row_size + self.column_size - self.shared
        return np.asarray(self.shared / union, np.float64)

    @property
    def matched(self) -> NDArray[np.bool_]:
        """Whether the result object covers more than half of the reference object.

        At most one result object matches a reference object, while one may match several.
        """
        return np.asarray(2 * self.shared > self.row_size, bool)


def object_pairs(table: Contingency) -> ObjectPairs:
    """Return the pairs of objects of a table, without background."""
    pair = (table.rows[table.row] > 0) & (table.columns[table.column] > 0)
    row, column = table.row[pair], table.column[pair]
    return ObjectPairs(
        row, column, table.pixels[pair], table.row_sizes[row], table.column_sizes[column]
    )


def seg_frame(table: Contingency) -> NDArray[np.float64]:
    """Return the Jaccard index of each reference object of one frame, by label; 0 without a match.

    Ulman et al., "An objective comparison of cell-tracking algorithms", Nature Methods 2017.
    SEG is the mean over all objects of all frames together; false positives cost nothing.
    """
    pairs = object_pairs(table)
    scores = np.zeros(len(table.rows))
    scores[pairs.row[pairs.matched]] = pairs.iou[pairs.matched]
    return scores[table.rows > 0]


def det_frame(table: Contingency) -> NDArray[np.int64]:
    """Count what must be corrected in the detection of one frame; frames add up.

    The reference of the table are tracking markers.  The counts are splits (markers beyond the first in
    a result object, NS), missed markers (FN), result objects that match nothing (FP), and all markers.
    """
    pairs = object_pairs(table)
    found = np.count_nonzero(pairs.matched)
    results_found = len(np.unique(pairs.column[pairs.matched]))
    objects = np.count_nonzero(table.rows > 0)
    false = np.count_nonzero(table.columns > 0) - results_found
    return np.array([found - results_found, objects - found, false, objects], np.int64)


def det_score(counts: NDArray[np.int64]) -> float:
    """Return DET, 0 to 1, of the counts of `det_frame`; NaN without any marker.

    Matula et al., "Cell tracking accuracy measurement based on comparison of acyclic oriented
    graphs", PLoS ONE 2015: the cost of correcting the detection, over that of making it from
    nothing.
    """
    cost = int(counts[:3] @ DETECTION_WEIGHTS)
    from_nothing = DETECTION_WEIGHTS[1] * int(counts[3])
    return 1.0 - min(cost, from_nothing) / from_nothing if from_nothing else float("nan")


def ap_frame(table: Contingency, unknown: NDArray[np.float64]) -> NDArray[np.int64]:
    """Count the objects of one frame that have a partner, one to one, and those that have none.

    The rows are true positives, false positives and false negatives, with a column for each of the
    `THRESHOLDS`; frames add up.  The table is of a reference with 0 in place of unknown pixels, and
    `unknown` the `unknown_share` of each result label.

    A pair must exceed the threshold strictly (Cellpose and StarDist also take one that equals it).
    An annotated object is annotated whole, so that a result object that reaches onto unknown pixels is
    too large; one that lies on them by more than half and has no partner is not a false positive.
    """
    pairs = object_pairs(table)
    matched = pairs.iou[:, None] > np.array(THRESHOLDS)
    found = matched.sum(axis=0)
    has_partner = np.zeros((len(table.columns), len(THRESHOLDS)), bool)
    np.logical_or.at(has_partner, pairs.column, matched)
    counted = (table.columns > 0) & (unknown <= 0.5)
    false = (counted[:, None] & ~has_partner).sum(axis=0)
    return np.stack([found, false, np.count_nonzero(table.rows > 0) - found]).astype(np.int64)


def average_precision(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return AP = TP / (TP + FP + FN) at each threshold, 0 to 1; NaN where there is no object."""
    total = counts.sum(axis=0)
    scores = np.full(len(total), np.nan)
    np.divide(counts[0], total, out=scores, where=total > 0)
    return scores


def unknown_share(
    reference: NDArray[np.integer], result: NDArray[np.integer], table: Contingency
) -> NDArray[np.float64]:
    """Return which part of each result label, a column of their table, lies on unknown pixels."""
    share = np.zeros(len(table.columns))
    unknown = reference < 0
    if unknown.any():
        hidden = contingency(unknown.astype(np.int8), result)  # has the same columns
        pair = hidden.rows[hidden.row] == 1
        column = hidden.column[pair]
        share[column] = hidden.pixels[pair] / hidden.column_sizes[column]
    return share
