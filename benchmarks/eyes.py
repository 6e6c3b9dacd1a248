"""What a person who knows the truth sees in labels: outlines, middles, cuts, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, distance_transform_edt

from napari_jnet.labels import contingency

GOOD = 0.8  # IoU from which a person leaves a cell as it is

Labels = NDArray[np.int32]
Mask = NDArray[np.bool_]
Point = tuple[float, float]  # (row, column)


class Problem(NamedTuple):
    """Something that is wrong in a frame.

    Attributes
    ----------
    kind
        "delete", "split", "merge", "redraw" or "missing".
    pixels
        How many are wrong by it.
    labels
        The painted cells.
    truth
        The true cells.
    """

    kind: str
    pixels: int
    labels: tuple[int, ...]
    truth: tuple[int, ...]


def problems(plane: Labels, truth: Labels) -> list[Problem]:
    """Return what a person would mend in a frame, the most pixels first."""
    table = contingency(np.maximum(truth, 0), np.maximum(plane, 0))
    sizes = dict(zip(table.columns.tolist(), table.column_sizes.tolist(), strict=True))
    true_sizes = dict(zip(table.rows.tolist(), table.row_sizes.tolist(), strict=True))
    on_cells = dict.fromkeys(sizes, 0)
    covered: dict[int, list[tuple[int, int]]] = {}
    pieces: dict[int, list[tuple[int, int]]] = {}
    best: dict[int, tuple[float, int, int]] = {}
    rows, columns = table.rows[table.row].tolist(), table.columns[table.column].tolist()
    for true, label, pixels in zip(rows, columns, table.pixels.tolist(), strict=True):
        if not true or not label:
            continue
        whole, of = true_sizes[true], sizes[label]
        on_cells[label] += pixels
        iou = pixels / (whole + of - pixels)
        best[true] = max(best.get(true, (0.0, 0, 0)), (iou, label, pixels))
        if pixels > 0.5 * whole:
            covered.setdefault(label, []).append((pixels, true))
        if pixels > 0.6 * of:
            pieces.setdefault(true, []).append((pixels, label))
    found: list[Problem] = []
    known: set[int] = set()  # true cells whose problem is found
    for label, of in sizes.items():
        if not label:
            continue
        if on_cells[label] < 0.5 * of:
            found.append(Problem("delete", of, (label,), ()))
        elif len(parts := sorted(covered.get(label, ()), reverse=True)) > 1:
            cells = tuple(true for _, true in parts)
            found.append(Problem("split", sum(p for p, _ in parts[1:]), (label,), cells))
            known.update(cells)
    for true, parts in pieces.items():
        if len(parts) > 1 and true not in known:
            parts.sort(reverse=True)
            wrong = sum(pixels for pixels, _ in parts[1:])
            found.append(Problem("merge", wrong, tuple(label for _, label in parts), (true,)))
            known.add(true)
    for true, whole in true_sizes.items():
        iou, label, pixels = best.get(true, (0.0, 0, 0))
        if not true or true in known or iou >= GOOD:
            continue
        if label and pixels > 0.5 * max(whole, sizes[label]):
            wrong = whole + sizes[label] - 2 * pixels
            found.append(Problem("redraw", wrong, (label,), (true,)))
        else:
            found.append(Problem("missing", whole, (), (true,)))
    return sorted(found, key=lambda problem: -problem.pixels)


def agreement(painted: Labels, truth: Labels) -> dict[str, float]:
    """Return the IoU of all that is painted, and the mean of the best IoU of each true cell."""
    both, either = (painted > 0) & (truth > 0), (painted > 0) | (truth > 0)
    each = [best_iou(truth == number, painted) for number in np.unique(truth[truth > 0])]
    return {
        "iou": round(float(both.sum() / max(either.sum(), 1)), 4),
        "mean_cell_iou": round(float(np.mean(each)) if each else 1.0, 4),
        "cells": len(each),
    }


def best_iou(cell: Mask, labels: Labels) -> float:
    """Return the IoU of a cell with the one that overlaps it most."""
    there = labels[cell]
    there = there[there > 0]
    if not there.size:
        return 0.0
    other = labels == np.bincount(there).argmax()
    return float((cell & other).sum() / (cell | other).sum())


def inside(mask: Mask) -> Point:
    """Return the point deepest in a mask."""
    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    return float(row), float(column)


def outlines(mask: Mask, tolerance: float = 0.7) -> Iterator[list[Point]]:
    """Yield the corners to click around each part of a mask.

    Parameters
    ----------
    mask
        bool, (H, W).
    tolerance
        How far the polygon may leave the border, in pixels.
    """
    from skimage.measure import approximate_polygon, find_contours

    padded = np.pad(mask, 1)
    for contour in find_contours(padded.astype(float), 0.5):
        corners = approximate_polygon(contour - 1, tolerance)[:-1]
        if len(corners) > 2:
            limit = np.array(mask.shape) - 0.51
            yield [(float(r), float(c)) for r, c in np.clip(corners, -0.49, limit)]


def line(ends: Sequence[Point], steps: int = 12) -> list[Point]:
    """Return points on the straight lines between these."""
    path: list[Point] = []
    for a, b in pairwise(ends):
        for f in np.linspace(0, 1, steps):
            path.append((a[0] + f * (b[0] - a[0]), a[1] + f * (b[1] - a[1])))
    return path


def cut(cell: Mask, one: Mask, other: Mask) -> list[Point] | None:
    """Return a straight stroke through a cell, between two parts of it, or None.

    It goes through the middle of the border where they touch, else of their middles.
    """
    a, b = np.array(inside(one)), np.array(inside(other))
    border = np.argwhere(binary_dilation(one, iterations=2) & other & cell)
    middle, along = border.mean(axis=0) if border.size else (a + b) / 2, b - a
    length = float(np.hypot(*along))
    if length < 1:
        return None
    across = np.array([-along[1], along[0]]) / length
    rows, columns = np.nonzero(cell)
    reach = (rows - middle[0]) * across[0] + (columns - middle[1]) * across[1]
    low, high = middle + (reach.min() - 4) * across, middle + (reach.max() + 4) * across
    limit = np.array(cell.shape) - 1.0
    low, high = np.clip(low, 0, limit), np.clip(high, 0, limit)
    return line([(float(low[0]), float(low[1])), (float(high[0]), float(high[1]))], 24)
