"""Edits of labels layers, each one undo step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
from napari.utils.notifications import show_info
from numpy.typing import NDArray

from napari_jnet.editing import delete, fill, merge, smooth, split, under
from napari_jnet.labels import UNKNOWN, LabelKind
from napari_jnet.plugin.layers.read import kind_of, pixels, plane

Plane = NDArray[np.int32]
_INT32 = np.iinfo(np.int32)


def hold_labels(layer: Any, lowest: int, highest: int) -> None:
    """Make a labels layer int32 where its type cannot hold the labels from lowest to highest.

    Nothing painted changes, and what was done can still be undone; a notification names the new type.
    Raises `ValueError` where the labels are in a file or of a pyramid, or hold numbers beyond int32.
    """
    data = pixels(layer)
    limits = np.iinfo(data.dtype)
    if limits.min <= lowest and highest <= limits.max:
        return
    wanted = lowest if lowest < limits.min else highest
    problem = f"The labels {layer.name!r} hold {limits.min} to {limits.max} ({limits.dtype}), not {wanted}; "
    if getattr(layer, "multiscale", False) or type(data) is not np.ndarray:
        raise ValueError(f"{problem}they are not in memory as one array. Press New annotation.")
    most = max(highest, int(data.max(initial=0)))
    if lowest < _INT32.min or most > _INT32.max:
        raise ValueError(
            f"{problem}with numbers up to {most} they do not fit int32 either. Give the cells lower numbers, "
            "or press New annotation."
        )
    visible = layer.visible
    layer.data = data.astype(np.int32)
    if not visible:  # napari reads the type of hidden layers when they are shown
        layer.visible = True
        layer.visible = False
    show_info(
        f"The labels {layer.name!r} are int32 now, not {limits.dtype}, so that they can hold {wanted}. "
        "Nothing painted has changed."
    )


def read_plane(layer: Any, index: tuple[int, ...]) -> Plane:
    """Return a copy of one plane of a labels layer, (H, W), by its leading indices (time, depth).

    Raises `ValueError` if there are labels that int32 does not hold.
    """
    labels = plane(layer)(index)
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    if low < _INT32.min or high > _INT32.max:
        raise ValueError(
            f"The labels {layer.name!r} hold the number {high if high > _INT32.max else low}; cells have "
            f"numbers up to {_INT32.max}. Give them lower numbers."
        )
    return np.array(labels, dtype=np.int32)


def replace_plane(layer: Any, index: tuple[int, ...], new_plane: NDArray[np.integer]) -> int:
    """Write a plane, or a whole volume, into a labels layer as one undo step; return how many pixels differ.

    The layer emits ``paint`` as for a brush stroke, unless nothing differs.  Where its type is too small
    it becomes int32, see `hold_labels`.  Raises `ValueError` where it cannot be painted on.
    """
    data = pixels(layer)
    lazy = hasattr(data, "compute") or not getattr(getattr(data, "flags", None), "writeable", True)
    if lazy or getattr(layer, "multiscale", False):
        raise ValueError(
            f"The labels {layer.name!r} can only be read (they lie in a file, are computed, or are a "
            "pyramid); work on a new annotation instead."
        )
    hold_labels(layer, int(new_plane.min(initial=0)), int(new_plane.max(initial=0)))
    changed = np.nonzero(plane(layer)(index) != new_plane)
    count = int(changed[0].size)
    if count:
        leading = tuple(np.full(count, at, dtype=np.intp) for at in index)
        with layer.block_history():
            layer.data_setitem((*leading, *changed), new_plane[changed])
    return count


def background_label(kind: LabelKind) -> int:
    """Return the number of background: 1 for scribbles, else 0."""
    return 1 if kind is LabelKind.SCRIBBLES else 0


def rest_is_unknown(labels: Plane, kind: LabelKind) -> Plane:
    """Return a plane with `UNKNOWN` in place of its background; raises `ValueError` where there is none."""
    if kind is LabelKind.SCRIBBLES:
        raise ValueError("What is not painted is unknown already: these labels are scribbles.")
    if not (labels > 0).any():
        raise ValueError("Nothing is painted in this frame; paint a cell first.")
    return np.where(labels == 0, UNKNOWN, labels).astype(np.int32)


def rest_is_background(labels: Plane, kind: LabelKind) -> Plane:
    """Return a plane with background in place of `UNKNOWN` and, for scribbles, of what is not painted."""
    rest = labels <= 0 if kind is LabelKind.SCRIBBLES else labels == UNKNOWN
    return np.where(rest, background_label(kind), labels).astype(np.int32)


class PaintHooks:
    """How one labels layer is painted: what may be painted over, and what follows an outline.

    While "preserve labels" is on, unknown pixels are painted over as background is (to napari they are a
    label like any other), and the eraser erases all.  ``outlined`` is called when a closed outline, or a
    circle of the right button, is filled with the chosen number.
    """

    def __init__(self, layer: Any, outlined: Callable[[], None]) -> None:
        self._layer, self._outlined = layer, outlined
        self._hooks = {
            "_apply_mask_to_data": self._apply_mask,  # of the brush, the eraser and outlines
            "fill": self._fill,
            "paint_polygon": self._paint_polygon,
        }
        vars(layer).update(self._hooks)

    def close(self) -> None:
        """Leave the layer alone."""
        for name, hook in self._hooks.items():
            if vars(self._layer).get(name) == hook:
                delattr(self._layer, name)

    def _apply_mask(self, data: Any, mask: Any, new_label: int, where: Any) -> Any:
        layer = self._layer
        if layer.preserve_labels and layer.mode != "erase":
            mask = mask & (data <= 0)
        with self._unprotected():
            return type(layer)._apply_mask_to_data(layer, data, mask, new_label, where)

    def _fill(self, coord: Any, new_label: int, refresh: bool = True) -> None:
        layer = self._layer
        with self._unprotected() if layer.get_value(coord) == UNKNOWN else nullcontext():
            type(layer).fill(layer, coord, new_label, refresh)

    def _paint_polygon(self, points: Any, new_label: int) -> None:
        layer = self._layer
        type(layer).paint_polygon(layer, points, new_label)
        if new_label == layer.selected_label:
            self._outlined()

    @contextmanager
    def _unprotected(self) -> Iterator[None]:
        layer = self._layer
        before = layer.preserve_labels
        with layer.events.preserve_labels.blocker():
            layer.preserve_labels = False
            try:
                yield
            finally:
                layer.preserve_labels = before


Points = Sequence[Sequence[float]]  # in world coordinates, one value for each axis of the viewer
Stroke = list[tuple[float, float]]  # row and column of pixels
# what it does to a cell, and what is true of it then
_AT_POINT = {
    "delete": (delete, "is deleted"),
    "fill": (fill, "has no holes"),
    "smooth": (smooth, "is smooth"),
}


def plane_points(layer: Any, points: Points) -> tuple[tuple[int, ...], Stroke]:
    """Return the leading indices of the plane that the first point lies in, and the stroke in it.

    Raises `ValueError` if the layer has no such plane.
    """
    places = [np.asarray(layer.world_to_data(point), float) for point in points]
    index = tuple(round(float(at)) for at in places[0][:-2])
    if any(not 0 <= at < size for at, size in zip(index, pixels(layer).shape, strict=False)):
        raise ValueError(f"The labels {layer.name!r} do not reach this frame; go to one they have.")
    return index, [(float(place[-2]), float(place[-1])) for place in places]


def labels_under(layer: Any, points: Points) -> list[int]:
    """Return the cells that a stroke passes in a layer, in its order; none where it has no plane."""
    try:
        index, stroke = plane_points(layer, points)
    except ValueError:
        return []
    return under(plane(layer)(index), stroke)


def correct(layer: Any, tool: str, points: Points) -> str:
    """Correct a cell in the plane that a point or a stroke lies in; return what was done.

    The tools "delete", "fill" and "smooth" need one point, "merge" and "split" a stroke.  Raises
    `ValueError` where nothing can be done there.
    """
    kind = kind_of(layer) or LabelKind.INSTANCES
    if kind is not LabelKind.INSTANCES:
        raise ValueError(
            f"The labels {layer.name!r} are {kind.value}, where cells have no numbers of their own; "
            f"{tool} needs a layer of cells. Use the brush here."
        )
    index, stroke = plane_points(layer, points)
    labels = read_plane(layer, index)
    if tool in _AT_POINT:
        new, done = _at_point(labels, tool, stroke[0])
    else:
        new, done = (_merge if tool == "merge" else _split)(labels, stroke)
    replace_plane(layer, index, new)
    return done


def _at_point(labels: Plane, tool: str, point: tuple[float, float]) -> tuple[Plane, str]:
    cells = under(labels, [point])
    if not cells:
        raise ValueError(f"There is nothing to {tool} under the pointer; point at a cell.")
    change, done = _AT_POINT[tool]
    new = change(labels, cells[0])
    if (new == labels).all():
        raise ValueError(f"Nothing to {tool}: cell {cells[0]} {done} already.")
    return new, f"Cell {cells[0]} {done}"


def _merge(labels: Plane, stroke: Stroke) -> tuple[Plane, str]:
    cells = under(labels, stroke)
    if len(cells) < 2:
        touched = f"only cell {cells[0]}" if cells else "no cell"
        raise ValueError(f"The stroke passes {touched}; drag from one cell over the others.")
    return merge(labels, cells), f"Cells {_listed(cells)} are cell {cells[0]} now"


def _split(labels: Plane, stroke: Stroke) -> tuple[Plane, str]:
    new = split(labels, stroke)
    changed = new != labels
    before, added = np.unique(labels[changed]), np.unique(new[changed])
    return new, f"Split: {_listed(before)}; new: {_listed(added)}"


def _listed(numbers: Sequence[int] | NDArray[np.integer]) -> str:
    return ", ".join(str(number) for number in numbers)
