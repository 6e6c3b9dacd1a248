"""Segmentation and boundary distance -> separate objects."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components
from skimage.segmentation import watershed

from napari_jnet.config import InstanceConfig
from napari_jnet.files import release_pages
from napari_jnet.inference.confidence import cell_confidence
from napari_jnet.labels import contingency

_ROWS = 512  # that are read at a time to count
_SAME = 0.5  # Jaccard index from which on two blocks see one object


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
        Same shape, pixels to the nearest boundary, truncated at ``dt_bound``.
    config
        Thresholds, minimum size, holes, lowest confidence.
    dt_bound
        Truncation distance, in pixels; ``seed_threshold`` is a fraction of it.

    Returns
    -------
    ndarray of int32
        Same shape; 0 = background, objects from 1 without gaps.

    Raises
    ------
    ValueError
        If the maps differ in shape or are not finite, or ``dt_bound`` is not above 0.

    Notes
    -----
    A seed is a connected part of the cell pixels farther from any boundary than
    ``seed_threshold * dt_bound``, by the distance smoothed with a Gaussian of
    ``smoothing * dt_bound`` pixels.  A watershed on the negative distance grows the seeds inside the
    segmentation.  A connected part of the segmentation without a seed is one object of its own: a
    cell too small to reach the threshold is not lost.  An object smaller than the minimum size goes
    to the neighbours that it touches; without any it is background.  So is an object whose
    `cell_confidence` is below the lowest one to keep.
    """
    if segmentation.shape != distance.shape:
        raise ValueError(
            f"The segmentation has shape {segmentation.shape}, the distance {distance.shape}; "
            "both maps come from one prediction and have one shape."
        )
    if segmentation.ndim not in (2, 3):
        raise ValueError(f"The maps have {segmentation.ndim} axes; maps are (H, W) or (Z, H, W).")
    if not (np.isfinite(segmentation).all() and np.isfinite(distance).all()):
        raise ValueError(
            "The maps have pixels that are NaN or infinite, so cells cannot be separated; every pixel "
            "needs a value. Predict again."
        )
    if not (np.isfinite(dt_bound) and dt_bound > 0):
        raise ValueError(f"dt_bound is {dt_bound}; it is a number of pixels above 0.")
    if not segmentation.size:
        return np.zeros(segmentation.shape, np.int32)
    if distance.dtype == np.float16:  # which scipy does not filter
        distance = distance.astype(np.float32)
    cells = segmentation > config.segmentation_threshold
    sigma = config.smoothing * dt_bound
    sigmas = (0.0,) * (distance.ndim - 2) + (sigma, sigma)  # planes of a volume may be far apart
    relief = ndimage.gaussian_filter(distance, sigmas, truncate=3)
    markers = _markers(cells, relief > config.seed_threshold * dt_bound)
    objects = _flood(relief, markers, cells)
    sizes = np.bincount(objects.ravel())
    small = (sizes > 0) & (sizes < config.min_size)
    if small[1:].any():
        small[0] = False
        objects = _flood(relief, np.where(small[markers], 0, markers), cells)
    if config.fill_holes:
        objects = _fill_holes(objects)
    keep = np.bincount(objects.ravel()) >= max(config.min_size, 1)
    keep[0] = False
    if config.min_confidence:
        sure = cell_confidence(segmentation, distance, objects, dt_bound, relative=config.relative)
        keep[1:] &= sure >= config.min_confidence
    numbers = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    kept: NDArray[np.int32] = numbers[objects]
    return kept


def separate_blocks(
    segmentation: NDArray[np.floating],
    distance: NDArray[np.floating],
    config: InstanceConfig,
    dt_bound: float,
    out: NDArray[np.int32],
    *,
    side: int,
    halo: int,
) -> int:
    """Separate objects as `separate` does, block by block, into `out`.

    Parameters
    ----------
    segmentation, distance, config, dt_bound
        As of `separate`; arrays may be memory-mapped files.
    out
        Zeros of the same shape.
    side
        Of the blocks in pixels; a volume has all planes in each.
    halo
        Pixels around a block that are separated with it.

    Returns
    -------
    int
        Pixels of which two neighbouring blocks do not see the same object, or only one sees an object, of
        those that are compared; summed over the pairs of blocks.

    Notes
    -----
    An object is that of `separate` where it and those that it touches lie within a block and its halo.
    What two neighbouring blocks see in the half of the halo beside their seam is joined where it overlaps
    with a Jaccard index above 0.5; else an object larger than the halo ends at the seam.  Objects are
    numbered by their first pixel.
    """
    height, width = out.shape[-2:]
    links, count, differing = [np.zeros((2, 0), np.intp)], 0, 0
    for top, left in product(range(0, height, side), range(0, width, side)):
        rows, columns = (
            slice(max(top - halo, 0), top + side + halo),
            slice(max(left - halo, 0), left + side + halo),
        )
        window = (..., rows, columns)
        found = separate(segmentation[window], distance[window], config, dt_bound)
        found[found > 0] += count
        bottom, right, near = top + side, left + side, halo // 2
        above, before = slice(top - near, top), slice(left - near, left)
        beside = (before, slice(left, right), slice(right, right + near))
        for band in (*((above, place) for place in beside), (slice(top, bottom), before)):
            if min(band[0].start, band[1].start) < 0 or band[1].start >= width:
                continue
            seen = found[
                ...,
                band[0].start - rows.start : band[0].stop - rows.start,
                band[1].start - columns.start : band[1].stop - columns.start,
            ]
            pairs, apart = _compare_objects(out[(..., *band)], seen)
            links.append(pairs)
            differing += apart
        core = (
            slice(top - rows.start, bottom - rows.start),
            slice(left - columns.start, right - columns.start),
        )
        out[..., top:bottom, left:right] = found[(..., *core)]
        count = max(count, int(found.max(initial=0)))
        for array in (segmentation, distance, out):
            release_pages(array)
    _number(out, np.concatenate(links, axis=1), count, max(config.min_size, 1), side)
    return differing


def count_objects(instances: NDArray[np.int32]) -> int:
    """Return the largest number, which is that of the objects; of a memory-mapped file a strip at a time."""
    most = 0
    for top in range(0, instances.shape[-2], _ROWS):
        most = max(most, int(instances[..., top : top + _ROWS, :].max(initial=0)))
        release_pages(instances)
    return most


def _compare_objects(
    before: NDArray[np.int32], now: NDArray[np.int32]
) -> tuple[NDArray[np.intp], int]:
    """Return pairs of objects that overlap with a Jaccard index above `_SAME`, as two rows of numbers.

    Also return how many pixels are neither of such a pair nor twice background.
    """
    table = contingency(before, now)
    union = table.row_sizes[table.row] + table.column_sizes[table.column] - table.pixels
    pairs = np.stack([table.rows[table.row], table.columns[table.column]])
    same = (pairs > 0).all(axis=0) & (table.pixels > _SAME * union)
    apart = table.pixels[~same & (pairs > 0).any(axis=0)].sum()
    return pairs[:, same].astype(np.intp), int(apart)


def _number(
    out: NDArray[np.int32], links: NDArray[np.intp], count: int, min_size: int, side: int
) -> None:
    """Join linked objects, drop pieces below the smallest size, and number by the first pixel."""
    graph = coo_array((np.ones(links.shape[1], bool), (links[0], links[1])), (count + 1, count + 1))
    groups, group = connected_components(graph, directed=False)
    planes = out.reshape(-1, *out.shape[-2:])
    strips = [plane[top : top + side] for plane in planes for top in range(0, len(plane), side)]
    sizes, order = np.zeros(groups, np.int64), []
    for strip in strips:
        seen = group[strip]
        sizes += np.bincount(seen.ravel(), minlength=groups)
        numbers, first = np.unique(seen, return_index=True)
        order.append(numbers[np.argsort(first)])
        release_pages(out)
    listed = np.concatenate(order)
    numbers, first = np.unique(listed, return_index=True)
    in_order = numbers[np.argsort(first)]
    kept = in_order[(in_order != group[0]) & (sizes[in_order] >= min_size)]
    final = np.zeros(groups, np.int32)
    final[kept] = np.arange(1, len(kept) + 1)
    for strip in strips:
        strip[:] = final[group[strip]]
        release_pages(out)


def _markers(cells: NDArray[np.bool_], deep: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Label the seeds, and the parts of the segmentation without a seed."""
    seeds, count = ndimage.label(cells & deep)
    parts, _ = ndimage.label(cells)
    seeded = np.zeros(parts.max() + 1, dtype=bool)
    seeded[parts[seeds > 0]] = True
    alone = cells & ~seeded[parts]
    markers: NDArray[np.int32] = np.where(alone, parts + count, seeds).astype(np.int32)
    return markers


def _flood(
    relief: NDArray[np.floating], markers: NDArray[np.int32], cells: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """Grow the markers downhill inside the cells, by a watershed.

    A pixel of a marker without an open neighbour floods nothing, and is left out: a third of the time.  The
    objects are the same but for ties: of equal relief, what is met first is flooded first.
    """
    open_cells = cells & (markers == 0)
    beside = open_cells.copy()
    for axis in range(markers.ndim):
        along, near = np.moveaxis(open_cells, axis, 0), np.moveaxis(beside, axis, 0)
        near[1:] |= along[:-1]
        near[:-1] |= along[1:]
    objects = markers.copy()
    if beside.any():
        (box,) = ndimage.find_objects(beside.view(np.uint8))
        mask, rims = (beside & cells)[box], np.where(beside, markers, 0)[box]
        flooded = watershed(-relief[box], rims, mask=mask)  # type: ignore[no-untyped-call]
        np.copyto(objects[box], flooded, where=open_cells[box])
    return objects


def _fill_holes(objects: NDArray[np.int32]) -> NDArray[np.int32]:
    """Give the background that an object encloses to it, also where other objects lie in it.

    Background within several objects goes to the innermost.
    """
    # Parts of the background: 0 is around the image, and those that touch the border are one with it.
    parts, count = ndimage.label(np.pad(objects == 0, 1, constant_values=True))
    if count == 1:
        return objects
    nodes = np.where(parts > 0, parts - 1, np.pad(objects, 1) + (count - 1))
    pairs = []
    for axis in range(nodes.ndim):
        along = np.moveaxis(nodes, axis, 0)
        differ = along[1:] != along[:-1]
        pairs.append(np.stack([along[1:][differ], along[:-1][differ]]))
    ends = np.concatenate(pairs, axis=1)
    owner = _enclosing(ends, count, int(nodes.max()) + 1)[:count] - (count - 1)
    if not (owner > 0).any():
        return objects
    inner = parts[(slice(1, -1),) * objects.ndim]
    return np.where(inner > 0, owner.clip(0)[inner - 1], objects).astype(np.int32)


def _enclosing(ends: NDArray[np.int32], first: int, size: int) -> NDArray[np.intp]:
    """Return the nearest node, from ``first`` on, through which all ways from node 0 lead; else 0.

    ``ends`` (2, E) are the ends of edges, which may occur several times, of a connected graph.

    Tarjan and Vishkin (1985): number the nodes of a spanning tree so that each is followed by all below it.
    Two tree edges lie on a common cycle if another edge leads from below one to below the other.  What is
    connected so is a block, and the node at its top is on all ways to the others.  Sums, least and largest
    numbers of all nodes below, or above, are found by doubling the steps.
    """
    beside = coo_array((np.ones(ends.shape[1], bool), (ends[0], ends[1])), (size, size))
    order, parent = breadth_first_order(beside, 0, directed=False)
    # Below, a node is its place in this order: after its parent, and beside its siblings.
    count, place = len(order), np.zeros(size, np.intp)
    place[order] = np.arange(count)
    links, parent = place[ends], place[parent[order].clip(0)]
    ancestors = [parent]  # 1, 2, 4 ... steps above
    while ancestors[-1].any():
        ancestors.append(ancestors[-1][ancestors[-1]])

    below = np.ones(count)  # with itself
    for above in ancestors:
        below += np.bincount(above, below, count)
    below[0] = 0  # so that its children are in its block
    before = np.cumsum(below) - below
    number = 1 + before - before[np.searchsorted(parent, parent)]
    number[0] = 0
    for above in ancestors:
        number += number[above]
    least, most = number.copy(), number.copy()
    for start, stop in (links, links[::-1]):
        np.minimum.at(least, start, number[stop])
        np.maximum.at(most, start, number[stop])
    for above in ancestors:
        np.minimum.at(least, above, least.copy())
        np.maximum.at(most, above, most.copy())

    crosses = (least < number[parent]) | (most >= (number + below)[parent])
    across = links[:, (parent[links[0]] != links[1]) & (parent[links[1]] != links[0])]
    linked = np.concatenate([across, [np.flatnonzero(crosses), parent[crosses]]], axis=1)
    graph = coo_array((np.ones(linked.shape[1], bool), tuple(linked)), (count, count))
    _, block = connected_components(graph, directed=False)
    top = parent[np.unique(block, return_index=True)[1]][block]
    while (passed := (top > 0) & (order[top] < first)).any():
        top[passed] = top[top[passed]]
    nearest = np.zeros(size, np.intp)
    nearest[order] = order[top]
    return nearest
