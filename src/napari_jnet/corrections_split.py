"""Cut a cell along a stroke, without losing a pixel of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from napari_jnet.corrections_planes import EIGHT, Plane, box_of, next_label, stroke_pixels

__all__ = ["split"]

_SLIVER = 0.01  # part of a cell below which what a stroke cuts off is no cell


def split(
    plane: NDArray[np.integer],
    stroke: Sequence[tuple[float, float]],
    label: int | None = None,
) -> Plane:
    """Cut cells along a stroke.

    Parameters
    ----------
    stroke
        Points (row, column) in pixels, at least two; a line is drawn from each to the next, which
        may leave the plane.
    label
        The cell to cut; None cuts every cell that the stroke crosses fully.

    Returns
    -------
    ndarray of int32
        Every pixel of a cell stays cell: those under the stroke go to the nearest side.  The
        largest side keeps the number, the others get new ones, larger first.  Less than a hundredth
        of a cell (or 4 pixels) cut off is no side of its own.

    Raises
    ------
    ValueError
        If the stroke is shorter than two points, or separates nothing.
    """
    if len({(round(float(row)), round(float(column))) for row, column in stroke}) < 2:
        raise ValueError("The stroke is a single point; drag across the cell from side to side.")
    cut = _cut(stroke, plane.shape)
    touched = np.unique(plane[cut & (plane > 0)])
    numbers = touched.tolist() if label is None else [label] if label in touched else []
    if not numbers:
        raise ValueError("The stroke crosses no cell; drag across the cell from side to side.")
    new = plane.astype(np.int32)
    found = False
    for number in numbers:
        box = box_of(plane == number, 0)
        sides, count = _sides(plane[box] == number, cut[box])
        first = next_label(new)
        part = new[box]
        for side in range(2, count + 1):
            part[sides == side] = first + side - 2
        found |= count > 1
    if not found:
        cells = f"cell {numbers[0]}" if len(numbers) == 1 else f"any of {len(numbers)} cells"
        raise ValueError(
            f"The stroke does not separate {cells}; begin and end it outside of the cell."
        )
    return new


def _cut(stroke: Sequence[tuple[float, float]], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Draw a stroke so thick that no two sides of it touch, not even at corners."""
    cut = np.zeros(shape, bool)
    rows, columns = stroke_pixels(stroke, shape)
    cut[rows, columns] = True
    cut[:, 1:] |= cut[:, :-1].copy()
    return cut


def _sides(cell: NDArray[np.bool_], cut: NDArray[np.bool_]) -> tuple[Plane, int]:
    """Give each side of a cell that a cut separates its number, from 1, the largest first."""
    whole, wholes = ndimage.label(cell, EIGHT)
    parts, count = ndimage.label(cell & ~cut, EIGHT)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    sizes[0] = 0
    sizes[sizes < max(4.0, _SLIVER * cell.sum())] = 0
    sides = np.where(cell, 1, 0).astype(np.int32)
    found: list[tuple[int, NDArray[np.bool_]]] = []
    for number in range(1, wholes + 1):  # a cell may have been in pieces before
        piece = whole == number
        mine = [p for p in np.unique(parts[piece]) if p and sizes[p]]
        if len(mine) < 2:
            continue
        kept = np.where(piece & np.isin(parts, mine), parts, 0)
        # grows within the cell, so that no side gets what lies beyond another one
        grown = watershed(np.zeros(cell.shape, np.uint8), kept, connectivity=2, mask=piece)  # type: ignore[no-untyped-call]
        masks = sorted((grown == p for p in mine), key=lambda mask: -int(mask.sum()))
        found += [(int(mask.sum()), mask) for mask in masks[1:]]
    found.sort(key=lambda side: -side[0])
    for number, (_, mask) in enumerate(found, start=2):
        sides[mask] = number
    return sides, len(found) + 1
