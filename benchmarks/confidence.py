"""How well measures of a cell's confidence rank cells that are wrong: the area under the ROC curve.

    python benchmarks/confidence.py MODEL STACK [--sequence 01] [--truth silver] [--frames 44-83]

A cell is wrong where its Jaccard index with every reference object is below 0.5.  The area is the chance
that a right cell has a higher value than a wrong one, over the cells of all frames together; 0.5 is luck.
`agreement` is the second factor of `cell_confidence`, `sharpness` the fall of the mean probability across
the outline (a third of the truncation distance on either side, background only outside), `valley` 1 minus
the mean distance on the seam with the worst neighbour over the smaller of the two peaks, and `peak` the
largest distance inside over the truncation distance.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from itertools import combinations
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.stats import rankdata

import napari_jnet as nj
from napari_jnet.labels import contingency

Values = NDArray[np.float64]
_WRONG = 0.5
_SINGLE = ("probability", "certainty", "agreement", "sharpness", "valley", "peak")


def measures(found: nj.FramePrediction, dt_bound: float) -> dict[str, Values]:
    """Return each measure of the cells of a frame, by its name."""
    p, distance, cells = found.segmentation, found.distance, found.instances
    numbers = np.arange(1, cells.max() + 1)
    probability = ndimage.mean(p, cells, numbers)
    peak = ndimage.maximum(distance, cells, numbers)
    radius = max(2, int(dt_bound / 3))
    away, nearest = ndimage.distance_transform_edt(cells == 0, return_indices=True)
    owner = np.where(away <= radius, cells[tuple(nearest)], 0)
    deep = np.zeros(cells.shape, bool)  # farther from the outline than the radius
    for number, box in enumerate(ndimage.find_objects(cells), start=1):
        own = np.pad(cells[box] == number, 1)
        deep[box] |= (ndimage.distance_transform_edt(own) > radius)[1:-1, 1:-1]
    rim = ndimage.mean(p, np.where(deep, 0, cells), numbers)
    beyond = np.nan_to_num(ndimage.mean(p, np.where(cells > 0, 0, owner), numbers))
    single = {
        "probability": probability,
        "certainty": ndimage.mean(1 - entropy(p), cells, numbers),
        "agreement": found.confidence / probability,
        "sharpness": np.clip(rim - beyond, 0, 1),
        "valley": 1 - np.clip(seams(distance, cells, peak), 0, 1),
        "peak": peak / dt_bound,
    }
    several = [group for count in (2, 3, 4) for group in combinations(_SINGLE, count)]
    products = {" x ".join(group): prod(single[name] for name in group) for group in several}
    return {**single, **products, "area": ndimage.sum(cells > 0, cells, numbers)}


def entropy(p: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the entropy of each pixel, in bits."""
    return -sum(q * np.log2(np.maximum(q, 1e-9)) for q in (p, 1 - p))


def seams(distance: NDArray[np.float32], cells: NDArray[np.int32], peak: Values) -> Values:
    """Return the mean distance on the seam with a neighbour over the smaller peak of the two; the largest."""
    pairs, values = [], []
    for labels, depth in ((cells, distance), (cells.T, distance.T)):
        touch = (labels[1:] != labels[:-1]) & (labels[1:] > 0) & (labels[:-1] > 0)
        pairs.append(np.sort([labels[1:][touch], labels[:-1][touch]], axis=0))
        values.append((depth[1:][touch] + depth[:-1][touch]) / 2)
    both, which = np.unique(np.concatenate(pairs, axis=1), axis=1, return_inverse=True)
    worst = np.zeros(len(peak))
    if both.size:
        mean = np.bincount(which, np.concatenate(values)) / np.bincount(which)
        relative = mean / np.maximum(peak[both - 1].min(axis=0), 1e-9)
        for side in both:
            np.maximum.at(worst, side - 1, relative)
    return worst


def best_overlap(truth: NDArray[np.int32], cells: NDArray[np.int32]) -> tuple[Values, NDArray]:
    """Return the largest Jaccard index of each cell with a reference object, and whether it is known."""
    table = contingency(truth, cells)
    union = table.row_sizes[table.row] + table.column_sizes[table.column] - table.pixels
    real = (table.rows[table.row] > 0) & (table.columns[table.column] > 0)
    best = np.zeros(cells.max() + 1)
    np.maximum.at(best, table.columns[table.column][real], (table.pixels / union)[real])
    known = ndimage.mean(truth >= 0, cells, np.arange(1, len(best)))
    return best[1:], known > 0.5


def roc_area(values: Values, wrong: NDArray[np.bool_]) -> float:
    """Return the chance that a right cell has a higher value than a wrong one."""
    right = ~wrong
    rank = rankdata(values)[right].sum() - right.sum() * (right.sum() + 1) / 2
    return float(rank / (right.sum() * wrong.sum()))


def main() -> None:
    """Predict the frames and print the areas, the largest first."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("stack", type=Path)
    parser.add_argument("--sequence")
    parser.add_argument("--truth", help="name of the ground truth")
    parser.add_argument("--frames", help="first and last, such as 44-83")
    given = parser.parse_args()
    model, stack = nj.load_model(given.model), nj.open_stack(given.stack, sequence=given.sequence)
    truth, numbers = stack.annotation(given.truth), stack.frame_numbers
    if given.frames:
        first, last = map(int, given.frames.split("-"))
        numbers = tuple(n for n in numbers if first <= n <= last)
    values, overlaps = defaultdict(list), []
    for found in nj.predict(model, stack, frames=numbers):
        if isinstance(found, nj.FramePrediction) and found.instances.any():
            overlap, known = best_overlap(truth.frame(found.number), found.instances)
            overlaps.append(overlap[known])
            for name, value in measures(found, model.dt_bound).items():
                values[name].append(value[known])
    wrong = np.concatenate(overlaps) < _WRONG
    print(f"{len(wrong)} cells in {len(numbers)} frames, {wrong.sum()} of them wrong")
    areas = {name: roc_area(np.concatenate(value), wrong) for name, value in values.items()}
    for name, area in sorted(areas.items(), key=lambda item: -item[1]):
        print(f"{area:.3f}  {name}")


if __name__ == "__main__":
    main()
