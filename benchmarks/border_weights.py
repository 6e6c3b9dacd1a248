"""How long the border weights of a frame take, beside one distance map for each object (the usual way).

    python benchmarks/border_weights.py [--size 512] [--cells 12 40 300] [--sigma 5] [--threads 1]

Prints, for each number of cells, both times, their ratio and the largest difference of the two maps.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from napari_jnet.training.losses import border_weights

W0 = 10.0


def cells(count: int, size: int) -> np.ndarray:
    """Fill a frame with cells, the Voronoi cells of random points, and gaps of two pixels."""
    random = np.random.default_rng(0)
    points = np.zeros((size, size), np.int32)
    points[tuple(random.integers(0, size, (2, count)))] = np.arange(1, count + 1)
    nearest = ndimage.distance_transform_edt(
        points == 0, return_distances=False, return_indices=True
    )
    labels = points[tuple(nearest)]
    edges = ndimage.maximum_filter(labels, 3) != ndimage.minimum_filter(labels, 3)
    return np.where(edges, 0, labels)


def one_map_an_object(labels: np.ndarray, sigma: float) -> np.ndarray:
    """Compute the weights as they are usually computed: every object's distance map, then the two least."""
    nearest = np.full(labels.shape, np.inf)
    second = nearest.copy()
    for number in np.unique(labels[labels > 0]):
        distance = ndimage.distance_transform_edt(labels != number)
        second = np.minimum(second, np.maximum(nearest, distance))
        nearest = np.minimum(nearest, distance)
    return np.where(labels == 0, W0 * np.exp(-((nearest + second) ** 2) / (2 * sigma**2)), 0)


def timed(work: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Return the shortest of some times, in milliseconds, and the result."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        times.append(1000 * (time.perf_counter() - start))
    return min(times), result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--cells", type=int, nargs="+", default=[12, 40, 300])
    parser.add_argument("--sigma", type=float, default=5.0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for count in arguments.cells:
        labels = cells(count, arguments.size)
        tensor = torch.from_numpy(labels)
        ours, weights = timed(lambda t=tensor: border_weights(t, W0, arguments.sigma), 7)
        usual, expected = timed(lambda n=labels: one_map_an_object(n, arguments.sigma), 1)
        difference = np.abs(weights.numpy() - expected).max()
        print(
            f"{arguments.size} x {arguments.size}, {count} cells: {ours:.0f} ms; one map an object "
            f"{usual:.0f} ms, {usual / ours:.0f} times as long; largest difference {difference:.1e}"
        )


if __name__ == "__main__":
    main()
