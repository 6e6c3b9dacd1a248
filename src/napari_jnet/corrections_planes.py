"""What the corrections of a plane of labels have in common: cells, boxes, the pixels of a stroke."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from skimage.draw import line

__all__ = ["EIGHT", "Plane", "box_of", "mask_of", "next_label", "stroke_pixels"]

EIGHT = np.ones((3, 3), dtype=bool)
"""Pixels that touch at a corner are connected."""

Plane = NDArray[np.int32]


def next_label(plane: NDArray[np.integer]) -> int:
    """Return the number of a new cell: the largest one + 1."""
    return max(int(plane.max(initial=0)), 0) + 1


def mask_of(plane: NDArray[np.integer], label: int) -> NDArray[np.bool_]:
    """Return where a cell is; raises `ValueError` if there is no such cell."""
    mask: NDArray[np.bool_] = plane == label
    if label <= 0 or not mask.any():
        raise ValueError(f"There is no cell {label} in this frame; point at a cell.")
    return mask


def box_of(mask: NDArray[np.bool_], margin: int) -> tuple[slice, slice]:
    """Return the rows and columns of what is set, with a margin where the plane has room."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        slice(max(int(rows[0]) - margin, 0), int(rows[-1]) + 1 + margin),
        slice(max(int(columns[0]) - margin, 0), int(columns[-1]) + 1 + margin),
    )


def stroke_pixels(
    stroke: Sequence[tuple[float, float]], shape: tuple[int, ...]
) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Return the pixels of a stroke that lie in the plane, in its order."""
    points = [(round(float(row)), round(float(column))) for row, column in stroke]
    pieces = [line(*a, *b) for a, b in zip(points, points[1:] or points, strict=False)]  # type: ignore[no-untyped-call]
    rows = np.concatenate([piece[0] for piece in pieces])
    columns = np.concatenate([piece[1] for piece in pieces])
    inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    return rows[inside], columns[inside]
