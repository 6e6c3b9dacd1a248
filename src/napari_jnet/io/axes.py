"""Axes of stored images and arrays, and arrays in memory (or lazy, such as dask arrays) as stacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.io.meaning import StoredLabels
from napari_jnet.io.stack import AmbiguousInput, Stack
from napari_jnet.labels import LabelKind, check_covers

# Number of dimensions -> the axes that such an image may have.
AXES = {
    2: ("YX",),
    3: ("TYX", "ZYX", "CYX", "YXC"),
    4: ("TZYX", "TCYX", "CTYX", "ZCYX", "CZYX", "ZTYX", "TYXC", "ZYXC"),
}
_NAMES = {"T": "time", "Z": "sections", "Y": "rows", "X": "columns", "C": "channels"}


@dataclass(frozen=True)
class Arrangement:
    """How the dimensions of a stored image become frames."""

    axes: str  # of the stack, frames first, channels last: "TYX", "ZYX", "TYXC", "ZYXC" or "TZYX"
    along: int | None  # the stored dimension that runs through the frames; None for a single frame
    order: tuple[int, ...]  # how the other dimensions are transposed into a frame
    shape: tuple[int, ...]  # of a frame
    count: int  # of frames
    spatial: str  # the stored axes without channels: those of labels that lie beside the image
    spatial_shape: tuple[int, ...]

    @property
    def plain(self) -> tuple[int, ...]:
        """Shape of a frame without channels: (H, W) or (Z, H, W)."""
        return self.shape[:-1] if self.axes.endswith("C") else self.shape

    def reader(
        self, whole: Callable[[], NDArray[Any]], part: Callable[[int, int], NDArray[Any]]
    ) -> Callable[[int], NDArray[Any]]:
        """Return a function from frame number to (H, W), (H, W, C) or (Z, H, W).

        `whole` reads all that is stored, `part` one index along a stored dimension.
        """

        def read(number: int) -> NDArray[Any]:
            stored = whole() if self.along is None else part(self.along, number)
            return stored.transpose(self.order)

        return read


def check_axes(axes: str, shape: tuple[int, ...], name: str) -> str:
    """Return given axes in capital letters, "S" as "C"; raises `ValueError` if they are impossible."""
    letters = axes.strip().upper().replace("S", "C")
    if _are_possible(letters, len(shape)) and letters.index("Y") < letters.index("X"):
        return letters
    known = AXES.get(len(shape), ())
    raise ValueError(
        f"The axes {axes!r} do not fit {name}, whose size is {size_text(shape)}; axes are {len(shape)} of "
        "the letters T, Z, C, Y and X, none twice, Y before X, and no channels where there are both T and Z"
        f"{', such as ' if known else ''}{', '.join(known)}. Give others."
    )


def _are_possible(letters: str, count: int) -> bool:
    there = {*letters}
    return (
        len(letters) == len(there) == count
        and {*"YX"} <= there <= {*"TZCYX"}
        and not {*"TZC"} <= there
    )


def arrange(axes: str, shape: tuple[int, ...], name: str) -> Arrangement:
    """Return how an image becomes frames; raises `ValueError`, also as `AmbiguousInput`.

    Time runs through the frames; without it, the sections of a volume do.  Channels belong to a
    frame, and are never frames.  `axes` and `shape` are those stored, as tifffile names them; a first axis
    that is unknown ("I", "Q") is taken for time.
    """
    letters = axes.upper().replace("S", "C")
    if letters[:1] in ("I", "Q") and "T" not in letters:
        letters = f"T{letters[1:]}"
    if not _are_possible(letters, len(shape)):
        choices = AXES.get(len(shape), ())
        what = (
            f"{name} has axes {axes or 'unknown'} and size {size_text(shape)}; a stack has rows and "
            "columns, with time, sections, both of these, or channels and one of them."
        )
        if not choices:
            raise ValueError(f"{what} Save one channel, or one time point, as a file of its own.")
        raise AmbiguousInput(
            what, f"Choose its axes with --axes: {', '.join(choices)}.", "axes", choices
        )
    if 0 in shape:
        raise ValueError(f"{name} has size {size_text(shape)}; a stack needs at least one pixel.")
    first = next((letter for letter in "TZ" if letter in letters), "")
    rest = letters.replace(first, "") if first else letters
    frame = "".join(letter for letter in "ZYXC" if letter in rest)
    sizes = {letter: int(size) for letter, size in zip(letters, shape, strict=True)}
    spatial = letters.replace("C", "")
    return Arrangement(
        axes=f"{first or 'T'}{frame}",
        along=letters.index(first) if first else None,
        order=tuple(rest.index(letter) for letter in frame),
        shape=tuple(sizes[letter] for letter in frame),
        count=sizes.get(first, 1),
        spatial=spatial,
        spatial_shape=tuple(sizes[letter] for letter in spatial),
    )


def size_text(shape: tuple[int, ...]) -> str:
    """Write a size: "5 × 96 × 96"."""
    return " × ".join(str(n) for n in shape)


def axes_text(axes: str) -> str:
    """Name axes in their order: "time, rows, columns"."""
    return ", ".join(_NAMES.get(axis, axis) for axis in axes)


def with_axes(
    path: Path, stack: Stack, axes: str | None, series: int | None, *, fixed: bool = False
) -> Stack:
    """Return a stack of several files with given axes: these may be frames or sections.

    Where it is `fixed`, only the axes and the image that the stack has already may be given.
    """
    if series is not None and series != (stack.series or (1 if fixed else None)):
        raise ValueError(
            f"{path} is not a single file, but image {series} of a file was requested; omit it, or "
            "choose the file."
        )
    if axes is None or axes.strip().upper() in (stack.given_axes, stack.axes):
        return stack
    letters = axes.strip().upper()
    choices = (stack.axes, *(f"{a}{stack.axes[1:]}" for a in "TZ" if a not in stack.axes))
    if letters not in choices or fixed:
        raise ValueError(
            f"The axes {axes!r} do not fit {path}: {len(stack)} frames of "
            f"{size_text(stack.shape)}. Its axes are {stack.given_axes or ' or '.join(choices)}."
        )
    return replace(stack, axes=letters, given_axes=letters)


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
        For messages and titles.
    axes
        One letter for each dimension, of T, Z, C, Y and X, such as "TYX" or "TCYX"; None takes frames
        first, and 3 or 4 colours last.
    labels
        Array of integers with the axes of the image except channels; it becomes the annotation "labels".
        0 is background in a frame where something is labelled, a frame without labels is not
        annotated, and -1 is unknown.
    kind
        What the labels mean: "instances", "classes" or "scribbles".  None: decided from all labels
        on first use, as `open_stack` does.

    Raises
    ------
    ValueError
        If the axes do not fit the array, or the labels do not cover the same pixels.
    """
    shape = tuple(int(n) for n in array.shape)
    what = f"the array {name!r}"
    if axes is None:
        color = len(shape) >= 3 and shape[-1] in (3, 4) and shape[-2] > 4
        axes = {2: "YX", 3: "YXC" if color else "TYX", 4: "TYXC" if color else "TZYX"}.get(
            len(shape), ""
        )
        found = arrange(axes, shape, what)
    else:
        found = arrange(check_axes(axes, shape, what), shape, what)
    annotations = {}
    if labels is not None:
        size = tuple(int(n) for n in labels.shape)
        check_covers(size, found.spatial_shape, repr(name))
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
    )


def _reader(array: Any, found: Arrangement) -> Callable[[int], NDArray[Any]]:
    return found.reader(
        lambda: np.asarray(array),
        lambda along, index: np.asarray(array[(slice(None),) * along + (index,)]),
    )
