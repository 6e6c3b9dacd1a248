"""Arrays that are already in memory (or lazy, such as dask arrays) as stacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.data.stack import Stack

__all__ = ["array_stack", "guess_axes"]

_AXES = ("TYX", "ZYX", "TYXC", "ZYXC", "TZYX")


def guess_axes(shape: tuple[int, ...]) -> str:
    """Return the likely axes of an array: colours last if there are 3 or 4, frames first.

    Raises
    ------
    ValueError
        If the array has fewer than two or more than four dimensions.
    """
    colour = len(shape) >= 3 and shape[-1] in (3, 4) and shape[-2] > 4
    guessed = {2: "YX", 3: "YXC" if colour else "TYX", 4: "TYXC" if colour else "TZYX"}
    if len(shape) not in guessed:
        raise ValueError(
            f"The array has shape {shape}; a stack has two to four dimensions. "
            "Choose one channel or one time point first."
        )
    return guessed[len(shape)]


def array_stack(array: Any, *, name: str = "image", axes: str | None = None) -> Stack:
    """Make a stack of an array.

    Parameters
    ----------
    array
        Numpy array, or anything with shape, dtype and indexing; it is read frame by frame.
    name
        For people.
    axes
        "YX", "YXC", "TYX", "ZYX", "TYXC", "ZYXC" or "TZYX"; None guesses with `guess_axes`.

    Raises
    ------
    ValueError
        If the axes do not fit the array.
    """
    shape = tuple(int(n) for n in array.shape)
    axes = guess_axes(shape) if axes is None else axes.upper()
    single = axes in ("YX", "YXC")
    if len(axes) != len(shape) or not (single or axes in _AXES):
        known = ", ".join(("YX", "YXC", *_AXES))
        raise ValueError(f"The axes {axes!r} do not fit the shape {shape}; known are {known}.")
    if 0 in shape:
        raise ValueError(f"The array {name!r} has shape {shape}; a stack needs at least one pixel.")
    spatial = axes.replace("C", "")
    spatial = f"T{spatial}" if single else spatial
    return Stack(
        name=name,
        format="array",
        path=None,
        axes=f"T{axes}" if single else axes,
        frame_numbers=(0,) if single else tuple(range(shape[0])),
        shape=shape if single else shape[1:],
        dtype=np.dtype(array.dtype),
        read=_whole(array) if single else _indexed(array),
        scale=(1.0,) * len(spatial),
        units=("pixel",) * len(spatial),
    )


def _whole(array: Any) -> Callable[[int], NDArray[Any]]:
    def read(number: int) -> NDArray[Any]:
        return np.asarray(array)

    return read


def _indexed(array: Any) -> Callable[[int], NDArray[Any]]:
    def read(number: int) -> NDArray[Any]:
        return np.asarray(array[number])

    return read
