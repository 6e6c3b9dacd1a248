"""What the buttons of Annotate do to one frame, as functions of its labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_jnet.data.stack import UNKNOWN, LabelKind

__all__ = ["background_label", "copy_labels", "rest_is_background", "rest_is_unknown"]

Plane = NDArray[np.int32]

_LEFT_OUT = 0.5  # of a cell already painted over: then the painted one is meant to be this cell


def background_label(kind: LabelKind) -> int:
    """Return the number that says background: 1 for scribbles, else 0."""
    return 1 if kind is LabelKind.SCRIBBLES else 0


def rest_is_unknown(plane: Plane, kind: LabelKind) -> Plane:
    """Say that nobody knows what the background of a frame is.

    Parameters
    ----------
    plane
        (H, W), labels as painted.
    kind
        What they mean; not scribbles, where all that is not painted is unknown.

    Returns
    -------
    ndarray of int32
        (H, W), with `UNKNOWN` in place of background.

    Raises
    ------
    ValueError
        If the kind is scribbles, or nothing is painted.
    """
    if kind is LabelKind.SCRIBBLES:
        raise ValueError("What is not painted is unknown already: these labels are scribbles.")
    if not (plane > 0).any():
        raise ValueError("Nothing is painted in this frame; paint a cell first.")
    return np.where(plane == 0, UNKNOWN, plane).astype(np.int32)


def rest_is_background(plane: Plane, kind: LabelKind) -> Plane:
    """Say that everything in a frame that is no cell or class is background.

    Parameters
    ----------
    plane
        (H, W), labels as painted.
    kind
        What they mean.

    Returns
    -------
    ndarray of int32
        (H, W), with background in place of `UNKNOWN` and, for scribbles, of what is not painted.
    """
    rest = plane <= 0 if kind is LabelKind.SCRIBBLES else plane == UNKNOWN
    return np.where(rest, background_label(kind), plane).astype(np.int32)


def copy_labels(
    plane: Plane, before: Plane, kind: LabelKind, *, overwrite: bool = False
) -> tuple[Plane, int]:
    """Copy the labels of another frame to where nothing is painted.

    Parameters
    ----------
    plane
        (H, W), labels as painted.
    before
        (H, W), labels of the other frame.
    kind
        What they mean.
    overwrite
        Replace what is painted.

    Returns
    -------
    plane : ndarray of int32
        (H, W).
    count : int
        Cells, or for classes and scribbles pixels, that were copied.

    Notes
    -----
    A cell keeps its number unless the frame has another cell of this number.  A cell that is
    painted over by half is left out: the painted one is this cell, a little further on.
    """
    if overwrite:
        # where the other frame has nothing, what is painted stays
        plane = np.where(before != 0, 0, plane).astype(np.int32)
    if kind is LabelKind.INSTANCES:
        return _copy_cells(plane, before)
    free = (plane == 0) & (before != 0)
    return np.where(free, before, plane).astype(np.int32), int(free.sum())


def _copy_cells(plane: Plane, before: Plane) -> tuple[Plane, int]:
    free = plane == 0
    sizes = np.bincount(before[before > 0])
    free_sizes = np.bincount(before[(before > 0) & free], minlength=sizes.size)
    taken = set(np.unique(plane[plane > 0]).tolist())
    spare = max(int(plane.max(initial=0)), sizes.size - 1, 0) + 1
    numbers = np.zeros(sizes.size, np.int32)
    for number in np.flatnonzero(sizes).tolist():
        if free_sizes[number] <= _LEFT_OUT * sizes[number]:
            continue
        if number in taken:
            numbers[number], spare = spare, spare + 1
        else:
            numbers[number] = number
    copied = np.where(before > 0, numbers[np.maximum(before, 0)], before) if sizes.size else before
    result = np.where(free, copied, plane).astype(np.int32)
    return result, int((numbers > 0).sum())
