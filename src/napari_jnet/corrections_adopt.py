"""What a network predicted becomes annotation, without touching what somebody painted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_jnet.data.stack import LabelKind

__all__ = ["Adopted", "adopt", "adopt_classes", "adopted"]

_EIGHT = np.ones((3, 3), dtype=bool)
_SAME_CELL = 0.5  # part of a painted cell under a predicted one, above which both are one cell


@dataclass(frozen=True, eq=False)
class Adopted:
    """What came of copying predicted cells.

    Attributes
    ----------
    plane
        (H, W) int32, the new annotation.
    copied
        Number of cells that were copied.
    left_out
        Number of predicted cells that were not, because their place is painted.
    unknown
        How many of those lie on pixels painted as unknown rather than on painted cells.
    """

    plane: NDArray[np.int32]
    copied: int
    left_out: int
    unknown: int


def adopt(
    annotation: NDArray[np.integer],
    cells: NDArray[np.integer],
    *,
    overwrite: bool = False,
    overlap: float = 0.25,
) -> NDArray[np.int32]:
    """Copy predicted cells into an annotation of cells; see `adopted`, of which this is the plane."""
    return adopted(annotation, cells, overwrite=overwrite, overlap=overlap).plane


def adopted(
    annotation: NDArray[np.integer],
    cells: NDArray[np.integer],
    *,
    overwrite: bool = False,
    overlap: float = 0.25,
) -> Adopted:
    """Copy predicted cells into an annotation of cells, and say how many were copied.

    Parameters
    ----------
    annotation
        (H, W), what is painted: 0 = background, each cell its own number, -1 = unknown.
    cells
        (H, W), predicted: 0 = background, each cell its own number.
    overwrite
        Replace what is painted where a predicted cell lies.
    overlap
        Largest part of a predicted cell, 0 to 1, that may lie on painted pixels.

    Returns
    -------
    Adopted
        The new plane, and what was copied.

    Raises
    ------
    ValueError
        If the two have different shapes.

    Notes
    -----
    Copied cells get new numbers from the largest painted one + 1.  Nothing painted is changed: a
    predicted cell that lies on painted pixels by more than `overlap`, or that covers more than half
    of a painted cell (so is that cell), is left out; any other gets its free pixels, the largest
    connected part of them.  Pixels painted as unknown count as painted.  Predicted background is
    not copied.

    With `overwrite` every predicted cell is copied whole.  A painted cell of which more than half
    is covered goes; of any other the uncovered pixels stay, with their number.  Painted cells and
    unknown pixels that no predicted cell reaches stay in any case.
    """
    _same_shape(annotation, cells)
    plane = annotation.astype(np.int32)
    first = max(int(plane.max(initial=0)), 0) + 1
    count, places = _compact(cells)
    if overwrite:
        plane[np.isin(plane, _covered(plane, places)[0])] = 0
        plane[places > 0] = places[places > 0] + (first - 1)
        return Adopted(plane, count, 0, 0)
    refused, unknown = _refused(plane, places, count, overlap)
    copied = 0
    for place, box in enumerate(ndimage.find_objects(places), start=1):
        if refused[place]:
            continue
        part = plane[box]
        free = _largest((places[box] == place) & (part == 0))
        if free.any():
            part[free] = first + copied
            copied += 1
    return Adopted(plane, copied, count - copied, unknown)


def adopt_classes(
    annotation: NDArray[np.integer],
    classes: NDArray[np.integer],
    kind: LabelKind,
    *,
    overwrite: bool = False,
) -> NDArray[np.int32]:
    """Copy predicted classes into an annotation of classes or scribbles.

    Parameters
    ----------
    annotation
        (H, W), what is painted.
    classes
        (H, W), predicted: 0 = background, 1, 2 ... = the classes (1 = cell, where there is one).
    kind
        CLASSES, where the annotation has these very numbers, or SCRIBBLES, where each is one
        larger (1 = background) and 0 is not painted.
    overwrite
        Replace what is painted, unknown pixels included; else only pixels that are 0 are filled.

    Returns
    -------
    ndarray of int32
        (H, W), the new annotation.

    Raises
    ------
    ValueError
        If the shapes differ, or the annotation numbers cells.
    """
    _same_shape(annotation, classes)
    if kind is LabelKind.INSTANCES:
        raise ValueError(
            "Classes cannot be copied into labels that number cells; copy cells, or choose "
            "the kind classes or scribbles for the annotation."
        )
    offset = 1 if kind is LabelKind.SCRIBBLES else 0
    plane = annotation.astype(np.int32)
    free = np.ones(plane.shape, bool) if overwrite else plane == 0
    plane[free] = classes[free].astype(np.int32) + offset
    return plane


def _same_shape(annotation: NDArray[np.integer], predicted: NDArray[np.integer]) -> None:
    if annotation.ndim != 2 or annotation.shape != predicted.shape:
        raise ValueError(
            f"The annotation has shape {annotation.shape}, the prediction {predicted.shape}; "
            "both are planes of one shape. Choose the annotation of the image that was predicted."
        )


def _compact(cells: NDArray[np.integer]) -> tuple[int, NDArray[np.int32]]:
    """Return how many cells there are, and the plane with 1, 2, 3 ... in their order."""
    present = np.unique(cells[cells > 0])
    places = np.zeros(cells.shape, np.int32)
    places[cells > 0] = np.searchsorted(present, cells[cells > 0]) + 1
    return len(present), places


def _covered(
    plane: NDArray[np.int32], places: NDArray[np.int32]
) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Return the painted cells that one predicted cell covers by more than half, and which one."""
    painted, sizes = np.unique(plane[plane > 0], return_counts=True)
    both = (plane > 0) & (places > 0)
    row = np.searchsorted(painted, plane[both])
    columns = int(places.max(initial=0)) + 1
    pairs, shared = np.unique(row * columns + places[both], return_counts=True)
    row, column = pairs // columns, pairs % columns
    same = shared > _SAME_CELL * sizes[row]
    return painted[row[same]], column[same]


def _refused(
    plane: NDArray[np.int32], places: NDArray[np.int32], count: int, overlap: float
) -> tuple[NDArray[np.bool_], int]:
    """Say of each predicted cell whether its place is taken; and of how many only by unknown."""
    sizes = np.maximum(np.bincount(places.ravel(), minlength=count + 1), 1)
    painted = np.bincount(places[plane > 0], minlength=count + 1)
    taken = np.bincount(places[plane != 0], minlength=count + 1)
    by_cells = painted > overlap * sizes
    by_cells[_covered(plane, places)[1]] = True
    refused = by_cells | (taken > overlap * sizes)
    return refused, int((refused & ~by_cells)[1:].sum())


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    parts, count = ndimage.label(mask, _EIGHT)
    if count < 2:
        return mask
    largest: NDArray[np.bool_] = parts == np.argmax(np.bincount(parts.ravel())[1:]) + 1
    return largest
