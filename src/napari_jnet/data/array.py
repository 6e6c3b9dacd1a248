"""Arrays that are already in memory (or lazy, such as dask arrays) as stacks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.data.axes import arrange, check_axes
from napari_jnet.data.stack import Stack

__all__ = ["array_stack", "guess_axes"]


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
        One letter for each dimension, of T, Z, C, Y and X, such as "TYX" or "TCYX"; None guesses
        with `guess_axes`.

    Raises
    ------
    ValueError
        If the axes do not fit the array.
    """
    shape = tuple(int(n) for n in array.shape)
    what = f"the array {name!r}"
    axes = guess_axes(shape) if axes is None else check_axes(axes, shape, what)
    found = arrange(axes, shape, what)

    def read(number: int) -> NDArray[Any]:
        if found.along is None:
            return found.frame(np.asarray(array))
        index = (slice(None),) * found.along + (number,) if found.along else number
        return found.frame(np.asarray(array[index]))

    spatial = len(found.axes.replace("C", ""))
    return Stack(
        name=name,
        format="array",
        path=None,
        axes=found.axes,
        frame_numbers=tuple(range(found.count)),
        shape=found.shape,
        dtype=np.dtype(array.dtype),
        read=read,
        scale=(1.0,) * spatial,
        units=("pixel",) * spatial,
    )
