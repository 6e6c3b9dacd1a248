"""Corrections of one plane of labels: delete, merge, split, fill, smooth, adopt.

Every function takes a plane (H, W) of integers, 0 = background, each cell its own number, -1 =
unknown, and returns a new one (int32); none changes what it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import disk

from napari_jnet.corrections_adopt import Adopted, adopt, adopt_classes, adopted
from napari_jnet.corrections_planes import (
    EIGHT,
    Plane,
    box_of,
    mask_of,
    next_label,
    stroke_pixels,
)
from napari_jnet.corrections_split import split

__all__ = [
    "Adopted",
    "adopt",
    "adopt_classes",
    "adopted",
    "delete",
    "fill",
    "merge",
    "next_label",
    "on_part",
    "smooth",
    "split",
    "under",
]


def under(plane: NDArray[np.integer], stroke: Sequence[tuple[float, float]]) -> list[int]:
    """Return the cells that a stroke of (row, column) points passes, in its order."""
    rows, columns = stroke_pixels(stroke, plane.shape)
    found = plane[rows, columns]
    return list(dict.fromkeys(int(number) for number in found[found > 0]))


def delete(plane: NDArray[np.integer], label: int) -> Plane:
    """Take a cell away; its pixels become background (in scribbles: not painted).

    Raises
    ------
    ValueError
        If there is no such cell.
    """
    mask = mask_of(plane, label)
    new = plane.astype(np.int32)
    new[mask] = 0
    return new


def merge(plane: NDArray[np.integer], labels: Sequence[int], *, gap: int = 2) -> Plane:
    """Make one cell of several; it has the number of the first.

    Parameters
    ----------
    labels
        Numbers of two or more cells.
    gap
        Cells that nearly touch are joined: free pixels (background or unknown) between them that
        a disc of this radius, in pixels, cannot reach become cell.  Cells farther apart get one
        number all the same.

    Raises
    ------
    ValueError
        If fewer than two cells are given, or one is not there.
    """
    numbers = list(dict.fromkeys(int(label) for label in labels))
    if len(numbers) < 2:
        raise ValueError(
            f"{len(numbers)} cell to merge; merging takes two or more. Drag from one to the next."
        )
    masks = [mask_of(plane, number) for number in numbers]
    together = np.logical_or.reduce(masks)
    box = box_of(together, gap + 1)
    bridge = _closed(together[box], gap)
    for mask in masks:  # bays of one cell are its own
        bridge &= ~_closed(mask[box], gap)
    new = plane.astype(np.int32)
    new[together] = numbers[0]
    part = new[box]
    part[bridge & (part <= 0)] = numbers[0]
    return new


def fill(plane: NDArray[np.integer], label: int) -> Plane:
    """Fill the holes of a cell: background and unknown pixels that it encloses.

    What another cell has there stays; a bay that is open to the frame's border is no hole.

    Raises
    ------
    ValueError
        If there is no such cell.
    """
    box = box_of(mask_of(plane, label), 0)
    new = plane.astype(np.int32)
    part = new[box]
    part[ndimage.binary_fill_holes(part == label) & (part <= 0)] = label
    return new


def smooth(plane: NDArray[np.integer], label: int, radius: float = 3) -> Plane:
    """Smooth the outline of a cell.

    Parameters
    ----------
    radius
        Bumps and bays of about this size, in pixels, go (standard deviation of a Gaussian).

    Returns
    -------
    ndarray of int32
        No pixel of another cell is taken, and a border that two cells share stays as it is; pixels
        that the cell loses become what is free beside them, background or unknown.  Where the
        radius would make the cell vanish or fall apart, a smaller one is taken, at last none.

    Raises
    ------
    ValueError
        If there is no such cell.
    """
    box = box_of(mask_of(plane, label), int(np.ceil(2 * radius)) + 1)
    new = plane.astype(np.int32)
    part = new[box]
    before = part == label
    free = part <= 0
    after = _smoothed(before, before | free, radius)
    around = ndimage.distance_transform_edt(~free, return_distances=False, return_indices=True)
    lost = before & ~after
    if lost.any() and free.any():
        part[lost] = part[tuple(around)][lost]
    part[after] = label
    return new


def on_part(
    plane: NDArray[np.integer],
    point: tuple[int, int],
    change: Callable[[Plane, int], Plane],
) -> Plane:
    """Apply a correction to the connected part under a point, where numbers mean classes.

    Parameters
    ----------
    point
        (row, column) of a pixel of the part.
    change
        Such as `delete`, `fill` or `smooth`; it sees the part as a cell with its own number.

    Raises
    ------
    ValueError
        If nothing is painted at the point.
    """
    label = int(plane[point])
    mask = mask_of(plane, label)
    parts, _ = ndimage.label(mask, EIGHT)
    alone = next_label(plane)
    apart = plane.astype(np.int32)
    apart[parts == parts[point]] = alone
    new = change(apart, alone)
    return np.where(new == alone, label, new).astype(np.int32)


def _closed(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    padded = np.pad(mask, radius + 1)
    inner = (slice(radius + 1, -radius - 1),) * 2
    closed: NDArray[np.bool_] = ndimage.binary_closing(padded, disk(radius))[inner]  # type: ignore[no-untyped-call]
    return closed


def _smoothed(cell: NDArray[np.bool_], own: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """Smooth a mask among the pixels that are its own or free; the others count neither way."""
    _, pieces = ndimage.label(cell, EIGHT)
    while radius >= 0.5:
        weight = ndimage.gaussian_filter(own.astype(np.float32), radius, mode="constant")
        share = ndimage.gaussian_filter(cell.astype(np.float32), radius, mode="constant")
        after: NDArray[np.bool_] = own & (share > 0.5 * weight)
        if after.any() and ndimage.label(after, EIGHT)[1] <= pieces:
            return after
        radius /= 2
    return cell
