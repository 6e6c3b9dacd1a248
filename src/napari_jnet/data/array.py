"""Arrays that are already in memory (or lazy, such as dask arrays) as stacks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.data.axes import Arrangement, arrange, check_axes, size_text
from napari_jnet.data.meaning import StoredLabels
from napari_jnet.data.stack import LabelKind, Stack

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


def array_stack(
    array: Any,
    *,
    name: str = "image",
    axes: str | None = None,
    labels: Any = None,
    kind: LabelKind | str | None = None,
) -> Stack:
    """Make a stack of an array, and of its labels where there are any.

    Parameters
    ----------
    array
        Numpy array, or anything with shape, dtype and indexing; it is read frame by frame.
    name
        For people.
    axes
        One letter for each dimension, of T, Z, C, Y and X, such as "TYX" or "TCYX"; None guesses
        with `guess_axes`.
    labels
        Array of integers with the axes of the image but channels; it becomes the annotation "labels".
        0 is background in a frame where something is labelled, a frame without labels is not
        annotated, and -1 is unknown.
    kind
        What the labels mean: "instances", "classes" or "scribbles".  None: decided from all labels
        when they are asked for, as `open_stack` does.

    Raises
    ------
    ValueError
        If the axes do not fit the array, or the labels do not cover the same pixels.
    """
    shape = tuple(int(n) for n in array.shape)
    what = f"the array {name!r}"
    axes = guess_axes(shape) if axes is None else check_axes(axes, shape, what)
    found = arrange(axes, shape, what)
    annotations = {}
    if labels is not None:
        size = tuple(int(n) for n in labels.shape)
        if size != found.spatial_shape:
            raise ValueError(
                f"The labels of {name!r} have size {size_text(size)}, the image "
                f"{size_text(found.spatial_shape)}; both must cover the same pixels."
            )
        read = _reader(labels, arrange(found.spatial, size, f"the labels of {name!r}"))
        stored = StoredLabels(
            "labels",
            f"The labels of {name!r}",
            lambda: {number: partial(read, number) for number in range(found.count)},
            lambda number: f"The labels of {name!r}, frame {number}",
            ndim=len(found.plain),
            pages=True,
        )
        annotations["labels"] = stored.annotation(None if kind is None else LabelKind(kind))
    spatial = len(found.axes.replace("C", ""))
    return Stack(
        name=name,
        format="array",
        path=None,
        axes=found.axes,
        frame_numbers=tuple(range(found.count)),
        shape=found.shape,
        dtype=np.dtype(array.dtype),
        read=_reader(array, found),
        annotations=annotations,
        scale=(1.0,) * spatial,
        units=("pixel",) * spatial,
    )


def _reader(array: Any, found: Arrangement) -> Callable[[int], NDArray[Any]]:
    def read(number: int) -> NDArray[Any]:
        if found.along is None:
            return found.frame(np.asarray(array))
        index = (slice(None),) * found.along + (number,) if found.along else number
        return found.frame(np.asarray(array[index]))

    return read
