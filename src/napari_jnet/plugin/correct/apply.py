"""Apply a correction to a labels layer: one undo step, and what was done in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.corrections import delete, fill, merge, on_part, smooth, split, under
from napari_jnet.data.stack import LabelKind
from napari_jnet.plugin.correct.edits import read_plane, replace_plane
from napari_jnet.plugin.layers import pixels

__all__ = ["correct", "labels_under", "plane_points"]

Points = Sequence[Sequence[float]]
Stroke = list[tuple[float, float]]
_AT_POINT = {"delete": delete, "fill": fill, "smooth": smooth}


def plane_points(layer: Any, points: Points) -> tuple[tuple[int, ...], Stroke]:
    """Return the plane that points of the world lie in, and where in it.

    Parameters
    ----------
    layer
        A labels layer.
    points
        In world coordinates, one value for each axis of the viewer.

    Returns
    -------
    tuple of int, list of (row, column)
        Leading indices of the plane of the first point; pixels of the layer.

    Raises
    ------
    ValueError
        If the layer has no such plane.
    """
    places = [np.asarray(layer.world_to_data(point), float) for point in points]
    index = tuple(round(float(at)) for at in places[0][:-2])
    shape = tuple(pixels(layer).shape)
    if any(not 0 <= at < size for at, size in zip(index, shape, strict=False)):
        raise ValueError(f"The labels {layer.name!r} do not reach this frame; go to one they have.")
    return index, [(float(place[-2]), float(place[-1])) for place in places]


def labels_under(layer: Any, points: Points) -> list[int]:
    """Return the cells that a stroke passes in a layer, in its order; none where it has no plane."""
    try:
        index, stroke = plane_points(layer, points)
    except ValueError:
        return []
    data = pixels(layer)
    return under(np.asarray(data[index] if index else data), stroke)


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
        If nothing can be done there, in words.
    """
    index, stroke = plane_points(layer, points)
    plane = read_plane(layer, index)
    numbered = kind is LabelKind.INSTANCES
    if tool in _AT_POINT:
        new, words = _at_point(plane, tool, stroke[0], numbered)
    elif not numbered:
        raise ValueError(
            f"The labels {layer.name!r} are {kind.value}, where cells have no numbers of their own; "
            f"{tool} needs a layer of cells."
        )
    else:
        new, words = (_merge if tool == "merge" else _split)(plane, stroke)
    replace_plane(layer, index, new)
    return words


def _at_point(
    plane: NDArray[np.int32], tool: str, point: tuple[float, float], numbered: bool
) -> tuple[NDArray[np.int32], str]:
    found = under(plane, [point])
    if not found:
        raise ValueError(f"There is nothing to {tool} under the pointer; point at a cell.")
    label, change = found[0], _AT_POINT[tool]
    here = round(point[0]), round(point[1])
    new = change(plane, label) if numbered else on_part(plane, here, change)
    name = f"cell {label}" if numbered else f"this part of class {label}"
    if (new == plane).all():
        why = {"fill": f"{name} has no holes", "smooth": f"the outline of {name} is smooth already"}
        raise ValueError(f"Nothing to {tool}: {why[tool]}.")
    done = {
        "delete": f"{name} is deleted",
        "fill": f"the holes of {name} are filled",
        "smooth": f"{name} is smoother",
    }[tool]
    return new, done[0].upper() + done[1:]


def _merge(plane: NDArray[np.int32], stroke: Stroke) -> tuple[NDArray[np.int32], str]:
    labels = under(plane, stroke)
    if len(labels) < 2:
        touched = f"only cell {labels[0]}" if labels else "no cell"
        raise ValueError(f"The stroke passes {touched}; drag from one cell over the others.")
    *first, last = (str(label) for label in labels)
    return merge(plane, labels), f"Cells {', '.join(first)} and {last} are cell {labels[0]} now"


def _split(plane: NDArray[np.int32], stroke: Stroke) -> tuple[NDArray[np.int32], str]:
    new = split(plane, stroke)
    changed = new != plane
    cut = np.unique(plane[changed]).tolist()
    added = np.unique(new[changed]).tolist()
    cells = "Cell" if len(cut) == 1 else "Cells"
    return new, f"{cells} {_listed(cut)} split; {_listed(added)} new"


def _listed(numbers: list[int]) -> str:
    *first, last = (str(number) for number in numbers)
    verb = "is" if not first else "are"
    return f"{', '.join(first)} and {last} {verb}" if first else f"{last} {verb}"
