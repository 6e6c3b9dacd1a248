"""Changes of a labels layer that one Ctrl+Z takes back."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.utils.notifications import show_info
from numpy.typing import NDArray

from napari_jnet.plugin.layers import pixels
from napari_jnet.plugin.session import switch

__all__ = ["hold_labels", "read_plane", "replace_plane"]

_INT32 = np.iinfo(np.int32)


def hold_labels(layer: Any, lowest: int, highest: int) -> None:
    """Make a labels layer int32 where its type cannot hold the labels from lowest to highest.

    Nothing painted changes, and what was done can still be taken back; a line says that the type is
    another one.

    Parameters
    ----------
    layer
        A labels layer.
    lowest, highest
        The labels that it shall hold, such as -1 for unknown.

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
    said = f"The labels {layer.name!r} hold {limits.min} to {limits.max} ({limits.dtype}), not {wanted}; "
    if getattr(layer, "multiscale", False) or type(data) is not np.ndarray:
        raise ValueError(f"{said}they are not in memory as one array. Press New annotation.")
    most = max(highest, int(data.max(initial=0)))
    if lowest < _INT32.min or most > _INT32.max:
        raise ValueError(
            f"{said}with numbers up to {most} they do not fit int32 either. Give the cells lower numbers, "
            "or press New annotation."
        )
    try:
        converted = data.astype(np.int32)
    except MemoryError as error:
        raise ValueError(
            f"{said}there is no memory to make them int32. Press New annotation, for fewer frames."
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


def read_plane(layer: Any, index: tuple[int, ...]) -> NDArray[np.int32]:
    """Return a copy of one plane of a labels layer.

    Parameters
    ----------
    layer
        A labels layer.
    index
        Leading indices of the plane (time, depth); () for a layer of one plane.

    Returns
    -------
    ndarray of int32
        (H, W), the labels as painted.

    Raises
    ------
    ValueError
        If there are labels that int32 does not hold.
    """
    data = pixels(layer)
    plane = np.asarray(data[tuple(index)] if index else data)
    low, high = (int(plane.min()), int(plane.max())) if plane.size else (0, 0)
    if low < _INT32.min or high > _INT32.max:
        raise ValueError(
            f"The labels {layer.name!r} hold the number {high if high > _INT32.max else low}; cells have "
            f"numbers up to {_INT32.max}. Give them lower numbers."
        )
    return np.array(plane, dtype=np.int32)


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
    data = pixels(layer)
    changed = np.nonzero(np.asarray(data[tuple(index)] if index else data) != new_plane)
    count = int(changed[0].size)
    if count == 0:
        return 0
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
