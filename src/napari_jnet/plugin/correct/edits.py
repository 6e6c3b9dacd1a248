"""Changes of a labels layer that one Ctrl+Z takes back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.plugin.layers import pixels

__all__ = ["read_plane", "replace_plane"]


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
    """
    data = pixels(layer)
    return np.array(data[tuple(index)] if index else data, dtype=np.int32)


def replace_plane(layer: Any, index: tuple[int, ...], new_plane: NDArray[np.integer]) -> int:
    """Write a plane into a labels layer as one undo step; only pixels that differ are touched.

    Parameters
    ----------
    layer
        A labels layer; it emits ``paint`` as for a brush stroke, unless nothing differs.
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
    limits = np.iinfo(layer.dtype)
    low, high = (int(new_plane.min()), int(new_plane.max())) if new_plane.size else (0, 0)
    if low < limits.min or high > limits.max:
        raise ValueError(
            f"The labels {layer.name!r} hold {limits.min} to {limits.max} ({limits.dtype}), "
            f"not {low if low < limits.min else high}; "
            "right-click the layer and convert its type to int32."
        )
