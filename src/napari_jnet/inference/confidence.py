"""How sure a prediction is of each of its cells, and of a frame."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_jnet.files import release_pages
from napari_jnet.labels import same_shape

_ROWS = 512  # that are looked at together


def cell_confidence(
    segmentation: NDArray[np.floating],
    distance: NDArray[np.floating],
    instances: NDArray[np.integer],
    dt_bound: float,
    *,
    relative: bool = False,
) -> NDArray[np.float32]:
    """Return how sure a prediction is of each of its objects.

    Parameters
    ----------
    segmentation
        (H, W) or (Z, H, W), probability of cell, 0 to 1.
    distance
        Same shape, pixels to the nearest boundary, truncated at ``dt_bound``; zeros where the network
        predicts none.
    instances
        Same shape, integers; 0 = background, objects from 1.
    dt_bound
        Truncation distance, in pixels.
    relative
        Whether the distance is in each object's own unit (`targets.relative`), and not in pixels.

    Returns
    -------
    ndarray of float32
        (n,), 0 to 1, of the objects 1 to n, the largest number; NaN where no pixel has a number.

    Raises
    ------
    ValueError
        If the shapes differ, or ``dt_bound`` is not above 0.

    Notes
    -----
    The mean probability inside the object, times the agreement of two distances to its outline, that
    which the network predicts and the city-block distance to the outline that the object was given: the
    sum of the smaller of the two plus 1 pixel, divided by the sum of the larger plus 1.  A cell that is
    really two has a valley of distance inside, one that was cut in two has none at the cut, and where the
    network sees no clear outline the predicted distance rises slowly: all three agree badly.  Without a
    distance in pixels it is the mean probability.  `docs/experiments.md` compares it with other measures.
    """
    for name, array in (("segmentation", segmentation), ("distance", distance)):
        same_shape(instances, array, ("instances", name))
    if not (np.isfinite(dt_bound) and dt_bound > 0):
        raise ValueError(f"dt_bound is {dt_bound}; it is a number of pixels above 0.")
    sums = np.zeros((4, 1))
    for plane in np.ndindex(instances.shape[:-2]):  # distances are those in a plane
        for top in range(0, instances.shape[-2], _ROWS):
            maps = segmentation[plane], distance[plane], instances[plane]
            found = _strip_sums(*maps, dt_bound, top)
            sums = np.pad(sums, ((0, 0), (0, max(found.shape[1] - sums.shape[1], 0))))
            sums[:, : found.shape[1]] += found
            release_pages(segmentation)
            release_pages(distance)
            release_pages(instances)
    area, probability, smaller, larger = sums[:, 1:]
    area[area == 0] = np.nan
    agreement = (smaller + area) / (larger + area) if smaller.any() and not relative else 1.0
    confidence: NDArray[np.float64] = np.clip(probability / area * agreement, 0, 1)
    return confidence.astype(np.float32)


def _strip_sums(
    segmentation: NDArray[np.floating],
    distance: NDArray[np.floating],
    instances: NDArray[np.integer],
    dt_bound: float,
    top: int,
) -> NDArray[np.float64]:
    """Return area, probability, smaller and larger distance of each object in some rows of a plane."""
    first = max(top - math.ceil(dt_bound) - 1, 0)  # from where a boundary is near enough to count
    around = np.asarray(instances[first : top + _ROWS + math.ceil(dt_bound) + 1])
    to_outline = _distance_to_outline(around, dt_bound)[top - first :][:_ROWS]
    numbers = around[top - first :][:_ROWS]
    inside = numbers > 0
    numbers = numbers[inside]
    predicted, drawn = distance[top : top + _ROWS][inside], to_outline[inside]
    values = (
        None,
        segmentation[top : top + _ROWS][inside],
        np.minimum(predicted, drawn),
        np.maximum(predicted, drawn),
    )
    return np.array([np.bincount(numbers, weights, 1) for weights in values], np.float64)


def _distance_to_outline(instances: NDArray[np.integer], dt_bound: float) -> NDArray[np.float32]:
    """Return the distance that the network learns: to the nearest pixel beside another number, (H, W)."""
    apart = np.ones(instances.shape, bool)
    for numbers, free in ((instances, apart), (instances.T, apart.T)):
        same = numbers[1:] == numbers[:-1]
        free[1:] &= same
        free[:-1] &= same
    if apart.all():
        return np.full(instances.shape, dt_bound, np.float32)
    city_block: NDArray[np.int32] = ndimage.distance_transform_cdt(apart, "taxicab")
    return np.minimum(city_block, np.float32(dt_bound), dtype=np.float32)


def frame_uncertainty(probability: NDArray[np.floating], *, pixels: int = 1 << 17) -> float:
    """Return the mean entropy of a frame's pixels, in bits: how uncertain the network is of it.

    0 is sure of every pixel, 1 is 0.5 in every one.  It is over all pixels and not over objects, so that
    frames without objects compare too, and highest where outlines are many: in crowded frames.
    Neighbouring pixels are similar, so about `pixels` of them on a regular grid are enough: 1 ms for any
    size of frame.  A frame without pixels has 0.
    """
    if not probability.size:
        return 0.0
    step = max(1, int((probability.size / pixels) ** (1 / probability.ndim)))
    grid = probability[(slice(None, None, step),) * probability.ndim].astype(np.float32)
    # 0 log 0 is 0
    inside, outside = np.maximum(grid, 1e-30), np.maximum(1 - grid, 1e-30)
    entropy = -(grid * np.log2(inside) + (1 - grid) * np.log2(outside))
    return float(np.clip(entropy.mean(dtype=np.float64), 0.0, 1.0))
