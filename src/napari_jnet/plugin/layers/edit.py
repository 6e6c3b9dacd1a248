"""Edits of labels layers, each one undo step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.notifications import show_info
from numpy.typing import NDArray

from napari_jnet.editing import delete, fill, merge, on_part, smooth, split, under
from napari_jnet.labels import UNKNOWN, LabelKind, number_apart
from napari_jnet.plugin.layers.read import pixels, plane, switch

if TYPE_CHECKING:
    from napari_jnet.plugin.layers.watch import FrameTable

Plane = NDArray[np.int32]
_INT32 = np.iinfo(np.int32)


def hold_labels(layer: Any, lowest: int, highest: int) -> None:
    """Make a labels layer int32 where its type cannot hold the labels from lowest to highest.

    Nothing painted changes, and what was done can still be undone; a notification names the new type.

    Raises
    ------
    ValueError
        If the type is too small and cannot become int32: the labels are in a file or of a pyramid,
        they hold numbers beyond int32, or there is no memory for them.
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
    try:
        converted = data.astype(np.int32)
    except MemoryError as error:
        raise ValueError(
            f"{problem}there is no memory to make them int32. Press New annotation, for fewer frames."
        ) from error
    visible = layer.visible
    layer.data = converted
    if not visible:  # napari reads the type of hidden layers when they are shown
        switch(layer, True)
        switch(layer, False)
    show_info(
        f"The labels {layer.name!r} are int32 now, not {limits.dtype}, so that they can hold {wanted}. "
        "Nothing painted has changed."
    )


def read_plane(layer: Any, index: tuple[int, ...]) -> Plane:
    """Return a copy of one plane of a labels layer, (H, W), by its leading indices (time, depth).

    Raises
    ------
    ValueError
        If there are labels that int32 does not hold.
    """
    labels = plane(layer)(index)
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if low < _INT32.min or high > _INT32.max:
        raise ValueError(
            f"The labels {layer.name!r} hold the number {high if high > _INT32.max else low}; cells have "
            f"numbers up to {_INT32.max}. Give them lower numbers."
        )
    return np.array(labels, dtype=np.int32)


def replace_plane(layer: Any, index: tuple[int, ...], new_plane: NDArray[np.integer]) -> int:
    """Write a plane into a labels layer as one undo step; only pixels that differ are touched.

    Parameters
    ----------
    layer
        A labels layer; it emits ``paint`` as for a brush stroke, unless nothing differs.  Where its type
        is too small it becomes int32, see `hold_labels`.
    index
        Leading indices of the plane (time, depth), or of a whole volume (time); () for a layer of one.
    new_plane
        (H, W), or (Z, H, W), labels.

    Returns
    -------
    int
        How many pixels were changed.

    Raises
    ------
    ValueError
        If the plane has another shape, the layer cannot hold its labels, or cannot be painted on.
    """
    _check(layer, index, new_plane)
    changed = np.nonzero(plane(layer)(index) != new_plane)
    count = int(changed[0].size)
    if count:
        leading = tuple(np.full(count, at, dtype=np.intp) for at in index)
        with layer.block_history():
            layer.data_setitem((*leading, *changed), new_plane[changed])
    return count


def _check(layer: Any, index: tuple[int, ...], new_plane: NDArray[np.integer]) -> None:
    if getattr(layer, "multiscale", False):
        raise ValueError(
            f"The labels {layer.name!r} are a pyramid, which cannot be painted on; "
            "work on a layer of one resolution."
        )
    data = pixels(layer)
    if hasattr(data, "compute") or not getattr(getattr(data, "flags", None), "writeable", True):
        raise ValueError(
            f"The labels {layer.name!r} can only be read (they lie in a file, or are computed); "
            "work on a new annotation instead."
        )
    shape = tuple(data.shape)
    if new_plane.ndim < 2 or new_plane.shape != shape[len(index) :]:
        raise ValueError(
            f"A plane of shape {new_plane.shape} at {tuple(index)} does not fit the labels "
            f"{layer.name!r} of shape {shape}; give one index for each axis before rows and columns."
        )
    if new_plane.size:
        hold_labels(layer, int(new_plane.min()), int(new_plane.max()))


_COVERED = 0.5  # of a cell already painted over: then the painted one is meant to be this cell


def background_label(kind: LabelKind) -> int:
    """Return the number of background: 1 for scribbles, else 0."""
    return 1 if kind is LabelKind.SCRIBBLES else 0


def rest_is_unknown(labels: Plane, kind: LabelKind) -> Plane:
    """Return a plane with `UNKNOWN` in place of its background.

    Raises
    ------
    ValueError
        If the kind is scribbles, where all that is not painted is unknown, or nothing is painted.
    """
    if kind is LabelKind.SCRIBBLES:
        raise ValueError("What is not painted is unknown already: these labels are scribbles.")
    if not (labels > 0).any():
        raise ValueError("Nothing is painted in this frame; paint a cell first.")
    return np.where(labels == 0, UNKNOWN, labels).astype(np.int32)


def rest_is_background(labels: Plane, kind: LabelKind) -> Plane:
    """Return a plane with background in place of `UNKNOWN` and, for scribbles, of what is not painted."""
    rest = labels <= 0 if kind is LabelKind.SCRIBBLES else labels == UNKNOWN
    return np.where(rest, background_label(kind), labels).astype(np.int32)


def copy_labels(
    labels: Plane, before: Plane, kind: LabelKind, *, overwrite: bool = False
) -> tuple[Plane, int]:
    """Copy the labels of another frame to where nothing is painted.

    Parameters
    ----------
    labels, before
        (H, W), as painted: of the frame, and of the other one.
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
    painted over by half is skipped: the painted one is this cell, a little further on.
    """
    if overwrite:  # where the other frame has nothing, what is painted stays
        labels = np.where(before != 0, 0, labels).astype(np.int32)
    if kind is LabelKind.INSTANCES:
        return _copy_cells(labels, before)
    free = (labels == 0) & (before != 0)
    return np.where(free, before, labels).astype(np.int32), int(free.sum())


def _copy_cells(labels: Plane, before: Plane) -> tuple[Plane, int]:
    free = labels == 0
    sizes = np.bincount(before[before > 0])
    free_sizes = np.bincount(before[(before > 0) & free], minlength=sizes.size)
    taken = set(np.unique(labels[labels > 0]).tolist())
    spare = max(int(labels.max(initial=0)), sizes.size - 1, 0) + 1
    numbers = np.zeros(sizes.size, np.int32)
    for number in np.flatnonzero(sizes).tolist():
        if free_sizes[number] <= _COVERED * sizes[number]:
            continue
        if number in taken:
            numbers[number], spare = spare, spare + 1
        else:
            numbers[number] = number
    copied = np.where(before > 0, numbers[np.maximum(before, 0)], before) if sizes.size else before
    result = np.where(free, copied, labels).astype(np.int32)
    return result, int((numbers > 0).sum())


def next_number(frames: FrameTable, index: tuple[int, ...]) -> int:
    """Return a number for a new cell: one more than all painted ones, those of the shown plane first."""
    return max(int(plane(frames.layer)(index).max(initial=0)), frames.highest, 0) + 1


def number_pieces_apart(frames: FrameTable, position: int) -> int:
    """Give each piece of the cells of a frame a number of its own, as one undo step.

    Returns
    -------
    int
        How many new cells there are.

    Raises
    ------
    ValueError
        If there is no annotation, or it cannot be painted on.
    """
    layer = frames.layer
    index = (position,) if pixels(layer).ndim > 2 else ()
    frame = read_plane(layer, index)
    first = max(frames.highest, int(frame.max(initial=0))) + 1
    apart = number_apart(frame, first)
    replace_plane(layer, index, apart)
    return max(int(apart.max(initial=0)) + 1 - first, 0)


class Outlines:
    """Calls back for each outline that is closed on a labels layer, and each circle of the right button.

    Parameters
    ----------
    layer
        The labels layer.
    closed
        Called at napari's paint event: the pixels may be written a moment later.
    """

    def __init__(self, layer: Any, closed: Callable[[], None]) -> None:
        self._layer, self._closed = layer, closed
        self._circling = self._dragging = False
        # after napari's own brush, which emits a stroke at its end
        self._layer.mouse_drag_callbacks.append(self._pressed)
        self._layer.events.paint.connect(self._painted)
        self._layer.events.mode.connect(self._mode_changed)

    def close(self) -> None:
        """Leave the layer alone."""
        if self._pressed in self._layer.mouse_drag_callbacks:
            self._layer.mouse_drag_callbacks.remove(self._pressed)
        self._layer.events.paint.disconnect(self._painted)
        self._layer.events.mode.disconnect(self._mode_changed)

    def _pressed(self, layer: Any, event: Any) -> Iterator[None]:
        if event.button == 2:  # napari paints on while the mouse moves, until it is back
            self._circling = layer.mode == "paint"
            return
        self._dragging = True
        try:
            yield
            while event.type == "mouse_move":
                yield
        finally:
            self._dragging = False

    def _mode_changed(self, _event: Any = None) -> None:
        self._circling = False

    def _painted(self, event: Any) -> None:
        layer = self._layer
        outline = layer.mode == "polygon" or (self._circling and not self._dragging)
        self._circling = False
        # corrections and other edits write many numbers, an outline writes the chosen one
        drawn = any(
            np.ndim(atom[-1]) == 0 and atom[-1] == layer.selected_label for atom in event.value
        )
        if outline and drawn:
            self._closed()


class KeepCells:
    """Guards the strokes on one labels layer while its "preserve labels" is on."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        # before napari's own brush: what is put back at the end then belongs to the stroke's undo step
        self._layer.mouse_drag_callbacks.insert(0, self._stroke)
        self._layer.paint_polygon = self._fill_polygon

    def close(self) -> None:
        """Leave the layer alone."""
        if self._stroke in self._layer.mouse_drag_callbacks:
            self._layer.mouse_drag_callbacks.remove(self._stroke)
        if vars(self._layer).get("paint_polygon") == self._fill_polygon:
            del self._layer.paint_polygon

    def _stroke(self, layer: Any, event: Any) -> Iterator[None]:
        index = self._painted_index(event)
        if index is None:
            return
        if layer.mode == "fill":  # spreads over the clicked label only
            if layer.get_value(event.position, world=True) == UNKNOWN:
                layer.preserve_labels = False
                yield
                layer.preserve_labels = True
            return
        erases = layer.mode == "erase"
        background = layer.selected_label == layer.colormap.background_value
        before = pixels(layer)[index]
        if not erases and not background and not (before == UNKNOWN).any():
            return  # napari does it right
        before = None if erases else before.copy()
        layer.preserve_labels = False
        try:
            yield
            while event.type == "mouse_move":
                yield
            if before is not None:
                self._put_back(index, before)
        finally:
            layer.preserve_labels = True

    def _fill_polygon(self, points: Any, new_label: int) -> None:
        """Fill an outline: over unknown pixels, and in one undo step with what is put back."""
        layer, data = self._layer, pixels(self._layer)
        paint = type(layer).paint_polygon
        places = np.unique(np.array(points, dtype=int)[:, : layer.ndim - 2], axis=0)
        index = tuple(int(at) for at in places[0])
        ours = (
            layer.preserve_labels and layer.n_edit_dimensions == 2 and isinstance(data, np.ndarray)
        )
        if not ours or len(places) > 1 or not (data[index] == UNKNOWN).any():
            paint(layer, points, new_label)
            return
        before = data[index].copy()
        layer.preserve_labels = False
        try:
            with layer.block_history():
                paint(layer, points, new_label)
                self._put_back(index, before)
        finally:
            layer.preserve_labels = True

    def _painted_index(self, event: Any) -> tuple[int, ...] | None:
        """Return where the plane lies that this stroke paints on, or None where it is not ours."""
        layer = self._layer
        others = len(event.position) - layer.ndim
        ours = (
            layer.mode in ("paint", "erase", "fill")
            and layer.preserve_labels
            and event.button == 1
            and layer.n_edit_dimensions == 2
            and isinstance(pixels(layer), np.ndarray)
            and [d - others for d in event.dims_displayed] == [layer.ndim - 2, layer.ndim - 1]
        )
        if not ours:
            return None
        index = tuple(round(float(a)) for a in layer.world_to_data(event.position)[:-2])
        inside = all(0 <= i < n for i, n in zip(index, pixels(layer).shape, strict=False))
        return index if inside else None

    def _put_back(self, index: tuple[int, ...], before: np.ndarray) -> None:
        layer = self._layer
        lost = np.nonzero((before > 0) & (pixels(layer)[index] != before))
        if lost[0].size:
            leading = tuple(np.full(lost[0].size, i) for i in index)
            layer.data_setitem((*leading, *lost), before[lost])


Points = Sequence[Sequence[float]]  # in world coordinates, one value for each axis of the viewer
Stroke = list[tuple[float, float]]  # row and column of pixels
_AT_POINT = {"delete": delete, "fill": fill, "smooth": smooth}


def plane_points(layer: Any, points: Points) -> tuple[tuple[int, ...], Stroke]:
    """Return the leading indices of the plane that the first point lies in, and the stroke in it.

    Raises
    ------
    ValueError
        If the layer has no such plane.
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


def correct(layer: Any, kind: LabelKind, tool: str, points: Points) -> str:
    """Correct the plane that a point or a stroke lies in, as one undo step.

    Parameters
    ----------
    layer
        A labels layer.
    kind
        What its numbers mean.  Where they mean classes, the connected part under the pointer is
        corrected as a cell is.
    tool
        "delete", "fill" or "smooth" (at the first point), "merge" or "split" (along the stroke).
    points
        In world coordinates.

    Returns
    -------
    str
        What was done.

    Raises
    ------
    ValueError
        If nothing can be done there.
    """
    index, stroke = plane_points(layer, points)
    labels = read_plane(layer, index)
    numbered = kind is LabelKind.INSTANCES
    if tool in _AT_POINT:
        new, done = _at_point(labels, tool, stroke[0], numbered)
    elif not numbered:
        raise ValueError(
            f"The labels {layer.name!r} are {kind.value}, where cells have no numbers of their own; "
            f"{tool} needs a layer of cells."
        )
    else:
        new, done = (_merge if tool == "merge" else _split)(labels, stroke)
    replace_plane(layer, index, new)
    return done


def _at_point(
    labels: Plane, tool: str, point: tuple[float, float], numbered: bool
) -> tuple[Plane, str]:
    found = under(labels, [point])
    if not found:
        raise ValueError(f"There is nothing to {tool} under the pointer; point at a cell.")
    label, change = found[0], _AT_POINT[tool]
    here = round(point[0]), round(point[1])
    new = change(labels, label) if numbered else on_part(labels, here, change)
    name = f"cell {label}" if numbered else f"this part of class {label}"
    if (new == labels).all():
        why = {"fill": f"{name} has no holes", "smooth": f"the outline of {name} is smooth already"}
        raise ValueError(f"Nothing to {tool}: {why[tool]}.")
    done = {
        "delete": f"{name} is deleted",
        "fill": f"the holes of {name} are filled",
        "smooth": f"{name} is smoother",
    }[tool]
    return new, done[0].upper() + done[1:]


def _merge(labels: Plane, stroke: Stroke) -> tuple[Plane, str]:
    cells = under(labels, stroke)
    if len(cells) < 2:
        touched = f"only cell {cells[0]}" if cells else "no cell"
        raise ValueError(f"The stroke passes {touched}; drag from one cell over the others.")
    return merge(labels, cells), f"Cells {_listed(cells)} are cell {cells[0]} now"


def _split(labels: Plane, stroke: Stroke) -> tuple[Plane, str]:
    new = split(labels, stroke)
    changed = new != labels
    cut, added = np.unique(labels[changed]).tolist(), np.unique(new[changed]).tolist()
    cells, are = ("Cell", "is") if len(cut) == 1 else ("Cells", "are")
    return (
        new,
        f"{cells} {_listed(cut)} {are} split; {_listed(added)} {'are' if added[1:] else 'is'} new",
    )


def _listed(numbers: list[int]) -> str:
    *first, last = map(str, numbers)
    return f"{', '.join(first)} and {last}" if first else last
