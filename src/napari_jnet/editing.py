"""Edits of one plane of labels: merge, split, fill, smooth, and copy predictions to an annotation."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy
import skimage
from numpy.typing import NDArray

from napari_jnet.labels import LabelKind, contingency, same_shape

Plane = NDArray[np.int32]
_EIGHT = np.ones((3, 3), dtype=bool)  # pixels that touch at a corner are connected
_SLIVER = 0.01  # fraction of a cell below which what a stroke cuts off is not a cell
_SAME_CELL = 0.5  # fraction of an annotated cell under a copied one, above which both are one cell


def next_label(plane: NDArray[np.integer]) -> int:
    """Return the number of a new cell: the largest one + 1."""
    return max(int(plane.max(initial=0)), 0) + 1


def _mask(plane: NDArray[np.integer], label: int) -> NDArray[np.bool_]:
    """Return where a cell is; raises `ValueError` if there is no such cell."""
    mask: NDArray[np.bool_] = plane == label
    if label <= 0 or not mask.any():
        raise ValueError(f"There is no cell {label} in this frame; point at a cell.")
    return mask


def _box(mask: NDArray[np.bool_], margin: int = 0) -> tuple[slice, slice]:
    """Return the rows and columns of what is set, with a margin where the plane has room."""
    rows, columns = scipy.ndimage.find_objects(mask.astype(np.uint8))[0]
    return (
        slice(max(rows.start - margin, 0), rows.stop + margin),
        slice(max(columns.start - margin, 0), columns.stop + margin),
    )


def _stroke_pixels(
    stroke: Sequence[tuple[float, float]], shape: tuple[int, ...]
) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Return the pixels of a stroke that lie in the plane, in its order."""
    points = [(round(float(row)), round(float(column))) for row, column in stroke]
    pieces = [skimage.draw.line(*a, *b) for a, b in zip(points, points[1:] or points, strict=False)]  # type: ignore[no-untyped-call]
    rows = np.concatenate([piece[0] for piece in pieces])
    columns = np.concatenate([piece[1] for piece in pieces])
    inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    return rows[inside], columns[inside]


def split(plane: NDArray[np.integer], stroke: Sequence[tuple[float, float]]) -> Plane:
    """Cut every cell that a stroke of (row, column) points crosses fully; `ValueError` if there is none.

    Every pixel of a cell stays cell: those under the stroke go to the nearest side.  The largest side
    keeps the number, the others get new ones, larger first.  Less than a hundredth of a cell (or 4
    pixels) cut off is not a side of its own.
    """
    if len({(round(float(row)), round(float(column))) for row, column in stroke}) < 2:
        raise ValueError("The stroke is a single point; drag across the cell from side to side.")
    cut = _cut(stroke, plane.shape)
    numbers = np.unique(plane[cut & (plane > 0)]).tolist()
    if not numbers:
        raise ValueError("The stroke crosses no cell; drag across the cell from side to side.")
    new = plane.astype(np.int32)
    for number in numbers:
        box = _box(plane == number)
        sides, count = _sides(plane[box] == number, cut[box])
        first = next_label(new)
        part = new[box]
        for side in range(2, count + 1):
            part[sides == side] = first + side - 2
    if (new == plane).all():
        cells = ", ".join(map(str, numbers))
        raise ValueError(
            f"The stroke does not separate cell {cells}; begin and end it outside of the cell."
        )
    return new


def _cut(stroke: Sequence[tuple[float, float]], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Draw a stroke so thick that no two sides of it touch, not even at corners."""
    cut = np.zeros(shape, bool)
    rows, columns = _stroke_pixels(stroke, shape)
    cut[rows, columns] = True
    cut[:, 1:] |= cut[:, :-1].copy()
    return cut


def _sides(cell: NDArray[np.bool_], cut: NDArray[np.bool_]) -> tuple[Plane, int]:
    """Give each side of a cell that a cut separates its number, from 1, the largest first."""
    whole, wholes = scipy.ndimage.label(cell, _EIGHT)
    parts, count = scipy.ndimage.label(cell & ~cut, _EIGHT)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    sizes[0] = 0
    sizes[sizes < max(4.0, _SLIVER * cell.sum())] = 0
    sides = np.where(cell, 1, 0).astype(np.int32)
    found: list[NDArray[np.bool_]] = []
    for number in range(1, wholes + 1):  # a cell may have been in pieces before
        piece = whole == number
        mine = [p for p in np.unique(parts[piece]) if p and sizes[p]]
        if len(mine) < 2:
            continue
        kept = np.where(piece & np.isin(parts, mine), parts, 0)
        # grows within the cell, so that no side gets what lies beyond another one
        grown = skimage.segmentation.watershed(
            np.zeros(cell.shape, np.uint8), kept, connectivity=2, mask=piece
        )  # type: ignore[no-untyped-call]
        found += sorted((grown == p for p in mine), key=np.count_nonzero, reverse=True)[1:]
    found.sort(key=np.count_nonzero, reverse=True)
    for number, mask in enumerate(found, start=2):
        sides[mask] = number
    return sides, len(found) + 1


class CopyResult(NamedTuple):
    """What came of copying cells."""

    plane: Plane  # (H, W), the new annotation
    copied: int
    skipped: int = 0  # because their place is annotated
    unknown: int = 0  # of those, the ones that lie on unknown pixels rather than on cells


def copy_cells(
    annotation: NDArray[np.integer],
    cells: NDArray[np.integer],
    *,
    overwrite: bool = False,
    keep_numbers: bool = False,
    overlap: float = 0.25,
) -> CopyResult:
    """Copy the cells of a prediction or another frame, (H, W), into an annotation of cells.

    No annotated pixel changes: a cell that lies on annotated pixels (unknown ones too) by more than the
    fraction `overlap` of it, or that covers more than half of an annotated cell (so is that cell), is
    skipped; any other gets its free pixels, the largest connected part of them.  Copied cells get new
    numbers from the largest annotated one + 1, or keep theirs where no annotated cell has it.

    With `overwrite` every cell is copied whole.  An annotated cell of which more than half is covered
    goes; of any other the uncovered pixels stay, as do cells and unknown pixels that nothing reaches.
    """
    same_shape(annotation, cells, ("annotation", "prediction"))
    plane = annotation.astype(np.int32)
    values, ranks = np.unique(np.maximum(cells, 0), return_inverse=True)
    numbers = values[values > 0]
    cells = ranks.reshape(plane.shape) + (numbers.size + 1 - values.size)  # 1, 2, 3 ...
    sizes = np.bincount(cells.ravel(), minlength=numbers.size + 1)
    table = contingency(np.maximum(plane, 0), cells)
    same = (table.rows[table.row] > 0) & (table.columns[table.column] > 0)
    same &= table.pixels > _SAME_CELL * table.row_sizes[table.row]
    on_cells = np.bincount(cells[plane > 0], minlength=sizes.size) > overlap * sizes
    on_cells[table.columns[table.column[same]]] = True
    taken = on_cells | (np.bincount(cells[plane != 0], minlength=sizes.size) > overlap * sizes)
    if overwrite:
        plane[np.isin(plane, table.rows[table.row[same]])] = 0
        taken[:] = False
    present = set(np.unique(plane).tolist())
    new_numbers = itertools.count(
        max(next_label(annotation), next_label(numbers) if keep_numbers else 0)
    )
    copied = 0
    for number, box in enumerate(scipy.ndimage.find_objects(cells), start=1):
        part, cell = plane[box], cells[box] == number
        free = cell if overwrite else _largest(cell & (part == 0))
        if not taken[number] and free.any():
            own = int(numbers[number - 1])
            part[free] = own if keep_numbers and own not in present else next(new_numbers)
            copied += 1
    unknown = int(np.count_nonzero((taken & ~on_cells)[1:]))
    return CopyResult(plane, copied, numbers.size - copied, unknown)


def copy_labels(
    labels: Plane, before: Plane, kind: LabelKind, *, overwrite: bool = False
) -> tuple[Plane, int]:
    """Copy the labels of another frame, (H, W) each, to where nothing is painted, or `overwrite`.

    Cells are copied as `copy_cells` does, with their numbers, anything else pixel by pixel.  Returns
    the plane, and how many cells (for classes and scribbles: pixels) were copied.
    """
    free = (before != 0) & ((labels == 0) | overwrite)
    if kind is not LabelKind.INSTANCES:
        return np.where(free, before, labels).astype(np.int32), int(free.sum())
    labels = np.where(free & (before < 0), before, labels)
    result = copy_cells(labels, before, overwrite=overwrite, keep_numbers=True)
    return result.plane, result.copied


def copy_classes(
    annotation: NDArray[np.integer],
    classes: NDArray[np.integer],
    kind: LabelKind,
    *,
    overwrite: bool = False,
) -> Plane:
    """Copy predicted classes (0 = background), (H, W), into an annotation of classes or scribbles.

    In scribbles each number is one larger (1 = background).  Pixels that are 0 are filled; with
    `overwrite` all are, unknown pixels included.  Raises `ValueError` for an annotation of cells.
    """
    same_shape(annotation, classes, ("annotation", "prediction"))
    if kind is LabelKind.INSTANCES:
        raise ValueError(
            "Classes cannot be copied into labels that number cells; copy cells, or choose "
            "the kind classes or scribbles for the annotation."
        )
    plane = annotation.astype(np.int32)
    free = np.ones(plane.shape, bool) if overwrite else plane == 0
    plane[free] = classes[free].astype(np.int32) + (kind is LabelKind.SCRIBBLES)
    return plane


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the largest connected part."""
    parts, _ = scipy.ndimage.label(mask, _EIGHT)
    return np.asarray(parts == np.argmax(np.bincount(parts[mask], minlength=1)), bool) & mask


def under(plane: NDArray[np.integer], stroke: Sequence[tuple[float, float]]) -> list[int]:
    """Return the cells that a stroke of (row, column) points passes, in its order."""
    rows, columns = _stroke_pixels(stroke, plane.shape)
    found = plane[rows, columns]
    return list(dict.fromkeys(int(number) for number in found[found > 0]))


def delete(plane: NDArray[np.integer], label: int) -> Plane:
    """Delete a cell; its pixels become background.  Raises `ValueError` if there is no such cell."""
    return np.where(_mask(plane, label), 0, plane).astype(np.int32)


def merge(plane: NDArray[np.integer], labels: Sequence[int], *, gap: int = 2) -> Plane:
    """Make one cell of two or more; it has the number of the first.  Raises `ValueError`.

    Cells that nearly touch are joined: free pixels (background or unknown) between them that a disc
    of radius `gap`, in pixels, cannot reach become cell.  Others get one number all the same.
    """
    numbers = list(dict.fromkeys(int(label) for label in labels))
    if len(numbers) < 2:
        raise ValueError(
            f"{len(numbers)} cell to merge; merging takes two or more. Drag from one to the next."
        )
    masks = [_mask(plane, number) for number in numbers]
    together = np.logical_or.reduce(masks)
    box = _box(together, gap + 1)
    bridge = _closed(together[box], gap)
    for mask in masks:  # bays of one cell are its own
        bridge &= ~_closed(mask[box], gap)
    new = plane.astype(np.int32)
    new[together] = numbers[0]
    part = new[box]
    part[bridge & (part <= 0)] = numbers[0]
    return new


def fill(plane: NDArray[np.integer], label: int) -> Plane:
    """Fill the holes of a cell: background and unknown pixels that it encloses; raises `ValueError`.

    What another cell has there stays; a bay that is open to the frame's border is not a hole.
    """
    box = _box(_mask(plane, label))
    new = plane.astype(np.int32)
    part = new[box]
    part[scipy.ndimage.binary_fill_holes(part == label) & (part <= 0)] = label
    return new


def smooth(plane: NDArray[np.integer], label: int, radius: float = 3) -> Plane:
    """Smooth the outline of a cell: bumps and bays of about `radius` pixels go; raises `ValueError`.

    No pixel of another cell is taken, and a border that two cells share stays as it is; pixels that
    the cell loses become what is free beside them, background or unknown.  Where the radius would make
    the cell vanish or fall apart, a smaller one is taken, at last none.
    """
    box = _box(_mask(plane, label), int(np.ceil(2 * radius)) + 1)
    new = plane.astype(np.int32)
    part = new[box]
    before = part == label
    free = part <= 0
    after = _smoothed(before, before | free, radius)
    around = scipy.ndimage.distance_transform_edt(
        ~free, return_distances=False, return_indices=True
    )
    lost = before & ~after
    if lost.any() and free.any():
        part[lost] = part[tuple(around)][lost]
    part[after] = label
    return new


def _closed(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    padded = np.pad(mask, radius + 1)
    inner = (slice(radius + 1, -radius - 1),) * 2
    disk = skimage.morphology.disk(radius)  # type: ignore[no-untyped-call]
    closed: NDArray[np.bool_] = scipy.ndimage.binary_closing(padded, disk)[inner]
    return closed


def _smoothed(cell: NDArray[np.bool_], own: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """Smooth a mask among the pixels that are its own or free; the others count neither way."""
    _, pieces = scipy.ndimage.label(cell, _EIGHT)
    while radius >= 0.5:
        weight = scipy.ndimage.gaussian_filter(own.astype(np.float32), radius, mode="constant")
        share = scipy.ndimage.gaussian_filter(cell.astype(np.float32), radius, mode="constant")
        after: NDArray[np.bool_] = own & (share > 0.5 * weight)
        if after.any() and scipy.ndimage.label(after, _EIGHT)[1] <= pieces:
            return after
        radius /= 2
    return cell
