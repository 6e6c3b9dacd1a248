"""Segmentation and boundary distance -> separate objects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from napari_jnet.config import InstanceConfig

__all__ = ["separate"]


def separate(
    segmentation: NDArray[np.floating],
    distance: NDArray[np.floating],
    config: InstanceConfig,
    dt_bound: float,
) -> NDArray[np.int32]:
    """Separate touching objects by their boundary distance.

    Parameters
    ----------
    segmentation
        (H, W) or (Z, H, W), probability of cell, 0 to 1.
    distance
        Same shape, pixels to the nearest boundary, cut at ``dt_bound``.
    config
        Thresholds, minimum size, holes.
    dt_bound
        Bound of the distance, in pixels; ``seed_threshold`` is a part of it.

    Returns
    -------
    ndarray of int32
        Same shape; 0 = background, objects from 1 without gaps.

    Notes
    -----
    A seed is a connected part of the cell pixels farther from any boundary than
    ``seed_threshold * dt_bound``.  A watershed on the negative distance grows the seeds inside the
    segmentation.  A connected part of the segmentation without a seed is one object of its own: a
    cell too small to reach the threshold is not lost.
    """
    if segmentation.shape != distance.shape:
        raise ValueError(
            f"The segmentation has shape {segmentation.shape}, the distance {distance.shape}; "
            "both maps come from one prediction and have one shape."
        )
    cells = segmentation > config.segmentation_threshold
    seeds, count = ndimage.label(cells & (distance > config.seed_threshold * dt_bound))
    parts, _ = ndimage.label(cells)
    seeded = np.zeros(parts.max() + 1, dtype=bool)
    seeded[parts[seeds > 0]] = True
    alone = cells & ~seeded[parts]
    markers = np.where(alone, parts + count, seeds)
    objects: NDArray[np.integer] = watershed(-distance, markers, mask=cells)  # type: ignore[no-untyped-call]
    if config.fill_holes:
        objects = _fill_holes(objects)
    return _without_small(objects, config.min_size)


def _fill_holes(objects: NDArray[np.integer]) -> NDArray[np.integer]:
    filled = objects.copy()
    boxes: list[tuple[slice, ...] | None] = [*ndimage.find_objects(objects)]
    for index, box in enumerate(boxes, start=1):
        if box is None:  # no object has this number
            continue
        # Parts of the complement, the one around the object first.  (`binary_fill_holes` gives the
        # same but holds the interpreter for as long as it works, which the window would feel.)
        apart, _ = ndimage.label(np.pad(objects[box] != index, 1, constant_values=True))
        enclosed = apart[(slice(1, -1),) * objects.ndim] > 1
        filled[box][enclosed & (objects[box] == 0)] = index
    return filled


def _without_small(objects: NDArray[np.integer], min_size: int) -> NDArray[np.int32]:
    sizes = np.bincount(objects.ravel())
    keep = sizes >= max(min_size, 1)
    keep[0] = False
    numbers = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    kept: NDArray[np.int32] = numbers[objects]
    return kept
