"""V_rand and V_info of ISBI-2012: foreground-restricted scores of clusters, after thinning.

The proposal's borders are thinned to lines one pixel wide, so that only topology counts, not the
width of a membrane.  Sums of sections add up; the score is the best over the thresholds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import skimage
from numpy.typing import NDArray

from napari_jnet.labels import contingency, same_shape

THRESHOLDS: tuple[float, ...] = tuple(n / 10 for n in range(10))
"""Probabilities at which a map of "inside" is cut, as the challenge's script does."""


def thin(objects: NDArray[np.integer]) -> NDArray[np.int32]:
    """Grow objects (H, W) until only lines one pixel wide, 0, are left between them."""
    if not objects.any():
        return np.zeros(objects.shape, dtype=np.int32)
    border = (objects == 0).astype(np.uint8)
    seeds = objects.astype(np.int32)
    grown = skimage.segmentation.watershed(border, seeds, connectivity=1, watershed_line=True)  # type: ignore[no-untyped-call]
    return np.asarray(grown, dtype=np.int32)


def section_sums(reference: NDArray[np.integer], proposal: NDArray[Any]) -> NDArray[np.float64]:
    """Return what the scores of one section (H, W) are made of, a row for each of the `THRESHOLDS`.

    The columns are numerator and denominator of V_rand, numerator and denominator of V_info.  In the
    reference 0 is membrane, and touching ids stay apart; only pixels above 0 count.  The proposal is the
    probability of "inside" (floating point), or objects (integers, 0 = border), which give one row.

    Arganda-Carreras et al., "Crowdsourcing the creation of image segmentation algorithms for
    connectomics", Frontiers in Neuroanatomy 2015.  V_rand is the sum of squared overlaps over the mean
    of the sums of squared sizes, V_info the mutual information over the mean of the entropies.  Pixels
    on the proposal's lines are clusters of their own.
    """
    same_shape(reference, proposal)
    if reference.ndim != 2:
        raise ValueError(
            f"A section has axes (H, W); this one has shape {reference.shape}. "
            "Score section by section."
        )
    cells = _connected(np.where(reference > 0, reference, 0))
    if not np.issubdtype(proposal.dtype, np.floating):
        return np.array([_sums(cells, thin(proposal))])
    return np.array([_sums(cells, thin(_connected(proposal > cut))) for cut in THRESHOLDS])


def best_scores(sums: NDArray[np.float64]) -> tuple[float, float]:
    """Return V_rand and V_info, each 0 to 1 and at its own best threshold, of added `section_sums`.

    NaN if no pixel of the reference is inside a cell.
    """
    if not sums[:, 1].all():
        return float("nan"), float("nan")
    # Two single clusters share all the information there is: none.
    information = np.ones(len(sums))
    np.divide(sums[:, 2], sums[:, 3], out=information, where=sums[:, 3] > 0)
    return float((sums[:, 0] / sums[:, 1]).max()), float(information.max())


def _connected(labels: NDArray[Any]) -> NDArray[np.integer]:
    """Give each 4-connected region of one value its own number; 0 stays 0."""
    found: NDArray[np.integer] = skimage.measure.label(labels, connectivity=1)  # type: ignore[no-untyped-call]
    return found


def _sums(cells: NDArray[np.integer], objects: NDArray[np.integer]) -> tuple[float, ...]:
    inside = cells > 0
    if not inside.any():
        return 0.0, 0.0, 0.0, 0.0
    table = contingency(cells[inside], objects[inside])
    on_line = table.columns[table.column] == 0
    singles = int(table.pixels[on_line].sum())
    shared = table.pixels[~on_line].astype(np.float64)
    references = table.row_sizes.astype(np.float64)
    proposed = table.column_sizes[table.columns > 0].astype(np.float64)

    overlap = (shared**2).sum() + singles
    mean_size = 0.5 * (references**2).sum() + 0.5 * ((proposed**2).sum() + singles)

    count = references.sum()
    joint = _entropy(shared, singles, count)
    entropies = _entropy(references, 0, count), _entropy(proposed, singles, count)
    return overlap, mean_size, sum(entropies) - joint, 0.5 * sum(entropies)


def _entropy(sizes: NDArray[np.float64], singles: int, count: float) -> float:
    """Entropy, in bits, of clusters of these sizes and of clusters of one pixel."""
    part = sizes / count
    return float(-(part * np.log2(part)).sum() + singles / count * np.log2(count))
