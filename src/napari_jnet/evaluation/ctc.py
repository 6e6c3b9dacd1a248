"""SEG and DET of the Cell Tracking Challenge.

A result object S matches a reference object R if it covers more than half of it, strictly:
``|R and S| > 0.5 |R|``; so at most one S matches an R, while one S may match several R.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_jnet.labels import Contingency, contingency

Labels = NDArray[np.integer]


SPLIT, MISSED, ADDED = 5, 10, 1


"""Weights of the three kinds of detection errors in AOGM_D."""


@dataclass(frozen=True)
class DetectionErrors:
    """What must be corrected in a detection; frames add up with ``+``.

    Attributes
    ----------
    splits
        Reference objects beyond the first in a result object (NS).
    missed
        Reference objects without a match (FN).
    added
        Result objects that match nothing (FP).
    objects
        Reference objects.
    """

    splits: int = 0
    missed: int = 0
    added: int = 0
    objects: int = 0

    def __add__(self, other: DetectionErrors) -> DetectionErrors:
        """Return the errors of both together."""
        return DetectionErrors(
            self.splits + other.splits,
            self.missed + other.missed,
            self.added + other.added,
            self.objects + other.objects,
        )


def seg_frame(reference: Labels, result: Labels) -> NDArray[np.float64]:
    """Return the Jaccard index of each reference object of one frame.

    Parameters
    ----------
    reference
        Integers, 0 = background, objects from 1; negative pixels are unknown and count nowhere.
    result
        Integers of the same shape, 0 = background, objects from 1.

    Returns
    -------
    ndarray of float64, shape (objects,)
        In the order of the reference labels; 0 for an object without a match.

    Raises
    ------
    ValueError
        If the shapes differ or the result holds negative labels.

    Notes
    -----
    Ulman et al., "An objective comparison of cell-tracking algorithms", Nature Methods 2017.
    SEG averages over all objects of all frames together; false positives cost nothing.
    """
    table = contingency(reference, result)
    scores = np.zeros(len(table.rows))
    matched = _matches(table)
    row, column, shared = table.row[matched], table.column[matched], table.pixels[matched]
    scores[row] = shared / (table.row_sizes[row] + table.column_sizes[column] - shared)
    return scores[table.rows > 0]


def seg(pairs: Iterable[tuple[Labels, Labels]]) -> float:
    """Return SEG, 0 to 1, of (reference, result) frames; all objects count alike.

    Raises
    ------
    ValueError
        If there is no reference object at all, or shapes differ.
    """
    scores = [seg_frame(reference, result) for reference, result in pairs]
    if not sum(len(frame) for frame in scores):
        raise ValueError("The reference has no object; SEG needs at least one annotated object.")
    return float(np.concatenate(scores).mean())


def det_frame(markers: Labels, result: Labels) -> DetectionErrors:
    """Compare the objects of one frame with its tracking markers.

    Parameters and errors are those of `seg_frame`.  Result objects wholly on unknown pixels do not
    count as added.
    """
    table = contingency(markers, result)
    matched = _matches(table)
    objects = int(np.count_nonzero(table.rows > 0))
    found = int(np.count_nonzero(matched))
    results_found = len(np.unique(table.column[matched]))
    return DetectionErrors(
        splits=found - results_found,
        missed=objects - found,
        added=int(np.count_nonzero(table.columns > 0)) - results_found,
        objects=objects,
    )


def det(pairs: Iterable[tuple[Labels, Labels]]) -> float:
    """Return DET, 0 to 1, of (markers, result) frames.

    Raises
    ------
    ValueError
        If there is no marker at all, or shapes differ.
    """
    errors = DetectionErrors()
    for markers, result in pairs:
        errors = errors + det_frame(markers, result)
    return det_score(errors)


def det_score(errors: DetectionErrors) -> float:
    """Return DET, 0 to 1, of the errors of all frames together.

    Raises
    ------
    ValueError
        If there is no marker at all.

    Notes
    -----
    Matula et al., "Cell tracking accuracy measurement based on comparison of acyclic oriented
    graphs", PLoS ONE 2015: the cost of correcting the detection, over that of making it from
    nothing.
    """
    if not errors.objects:
        raise ValueError("The reference has no marker; DET needs at least one.")
    cost = SPLIT * errors.splits + MISSED * errors.missed + ADDED * errors.added
    from_nothing = MISSED * errors.objects
    return 1.0 - min(cost, from_nothing) / from_nothing


def _matches(table: Contingency) -> NDArray[np.bool_]:
    """Say for each pair whether its result object matches its reference object."""
    objects = (table.rows[table.row] > 0) & (table.columns[table.column] > 0)
    matched: NDArray[np.bool_] = objects & (2 * table.pixels > table.row_sizes[table.row])
    return matched
