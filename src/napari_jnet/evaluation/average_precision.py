"""Average precision of objects at thresholds of their overlap (IoU), as nuclei are usually scored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_jnet.labels import contingency, same_shape

Labels = NDArray[np.integer]


THRESHOLDS: tuple[float, ...] = tuple(n / 100 for n in range(50, 100, 5))


"""0.5, 0.55 ... 0.95, over which "AP" without a number is the mean."""


@dataclass(frozen=True, eq=False)
class Matches:
    """How many objects match at each threshold; frames add up with ``+``.

    Attributes
    ----------
    thresholds
        IoU that a pair must exceed.
    found
        Pairs of a reference and a result object above the threshold, int64 (thresholds,).
    added
        Result objects without a partner.
    missed
        Reference objects without a partner.
    """

    thresholds: tuple[float, ...]
    found: NDArray[np.int64]
    added: NDArray[np.int64]
    missed: NDArray[np.int64]

    def __add__(self, other: Matches) -> Matches:
        """Return the matches of both together; raises `ValueError` for other thresholds."""
        if self.thresholds != other.thresholds:
            raise ValueError(
                f"Matches at the thresholds {self.thresholds} and {other.thresholds} do not add "
                "up; score all frames at the same ones."
            )
        return Matches(
            self.thresholds,
            self.found + other.found,
            self.added + other.added,
            self.missed + other.missed,
        )

    @property
    def precision(self) -> NDArray[np.float64]:
        """AP at each threshold, 0 to 1, float64 (thresholds,); NaN where no object is at all."""
        total = self.found + self.added + self.missed
        scores = np.full(len(self.thresholds), np.nan)
        np.divide(self.found, total, out=scores, where=total > 0)
        return scores

    def at(self, threshold: float) -> float | None:
        """Return AP at one of the thresholds; None where no object is at all."""
        value = float(self.precision[self.thresholds.index(threshold)])
        return None if np.isnan(value) else value

    @property
    def mean(self) -> float | None:
        """Mean of AP over the thresholds; None where no object is at all."""
        value = float(self.precision.mean())
        return None if np.isnan(value) else value


def match_frame(
    reference: Labels, result: Labels, thresholds: Sequence[float] = THRESHOLDS
) -> Matches:
    """Pair the objects of one frame, one to one, by their overlap.

    Parameters
    ----------
    reference
        Integers, 0 = background, objects from 1; negative pixels are unknown.
    result
        Integers of the same shape, 0 = background, objects from 1.
    thresholds
        Each from 0.5 to below 1; a pair must exceed it strictly, so that nothing has two partners.

    Raises
    ------
    ValueError
        If the shapes differ, the result holds negative labels, or a threshold is out of range.

    Notes
    -----
    AP = found / (found + added + missed), as in the 2018 Data Science Bowl, StarDist and Cellpose
    (which also take a pair that overlaps by just the threshold).  An annotated object is annotated
    whole, so that a result object that reaches onto unknown pixels is too large; one that lies on
    them by more than half and has no partner is not counted as added: nobody knows what is there.
    """
    cuts = np.asarray(thresholds, np.float64)
    if cuts.size and (cuts.min() < 0.5 or cuts.max() >= 1):
        raise ValueError(
            f"The thresholds run from {cuts.min():g} to {cuts.max():g}; they lie from 0.5 to below 1, "
            "where each object has one partner at most."
        )
    same_shape(reference, result)
    table = contingency(np.maximum(reference, 0), result)
    pair = (table.rows[table.row] > 0) & (table.columns[table.column] > 0)
    row, column, shared = table.row[pair], table.column[pair], table.pixels[pair]
    iou = shared / (table.row_sizes[row] + table.column_sizes[column] - shared)
    matched = iou[:, None] > cuts
    found = matched.sum(axis=0, dtype=np.int64)

    counted = table.columns > 0
    has_partner = np.zeros((len(table.columns), len(cuts)), bool)
    np.logical_or.at(has_partner, column, matched)
    known = ~_mostly_unknown(reference, result, table.columns)
    added = (counted & known)[:, None] & ~has_partner
    objects = np.count_nonzero(table.rows > 0)
    return Matches(
        tuple(float(cut) for cut in cuts), found, added.sum(axis=0, dtype=np.int64), objects - found
    )


def average_precision(
    pairs: Iterable[tuple[Labels, Labels]], thresholds: Sequence[float] = THRESHOLDS
) -> NDArray[np.float64]:
    """Return AP at each threshold, 0 to 1, of (reference, result) frames; all objects count alike.

    Raises
    ------
    ValueError
        If there is no frame or no object at all, or as `match_frame`.
    """
    total: Matches | None = None
    for reference, result in pairs:
        matches = match_frame(reference, result, thresholds)
        total = matches if total is None else total + matches
    if total is None or np.isnan(total.precision).any():
        raise ValueError("There is no object; average precision needs at least one.")
    return total.precision


def _mostly_unknown(
    reference: Labels, result: Labels, labels: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Say for each of these result labels whether more than half of it is on unknown pixels."""
    unknown = reference < 0
    if not unknown.any():
        return np.zeros(len(labels), bool)
    size = contingency(unknown.astype(np.int8), result)
    inside = np.zeros(len(size.columns), np.int64)
    on = size.rows[size.row] == 1
    np.add.at(inside, size.column[on], size.pixels[on])
    mostly: NDArray[np.bool_] = 2 * inside > size.column_sizes
    # both tables list the labels of the same result, ascending
    return mostly
