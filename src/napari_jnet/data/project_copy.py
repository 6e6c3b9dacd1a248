"""The copy of an image that is in no file, inside its project: ``stack.tif``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_jnet.data.project_reference import StackMissing, StackReference
from napari_jnet.data.readable import check_room, reading
from napari_jnet.data.stack import Stack
from napari_jnet.data.storing import replacing
from napari_jnet.data.tiff import tiff_options

__all__ = ["LARGEST_COPY", "STACK_FILE", "check_size", "open_copy", "write_copy"]

STACK_FILE = "stack.tif"
LARGEST_COPY = 8 * 2**30
_BIG_TIFF = 2**32 - 2**25


def check_size(stack: Stack) -> int:
    """Return the bytes of a stack; one that is too large to be copied raises `ValueError`."""
    size = len(stack) * int(np.prod(stack.shape)) * stack.dtype.itemsize
    if size > LARGEST_COPY:
        raise ValueError(
            f"The image {stack.name!r} is in no file and has {size / 2**30:.1f} GiB; a project keeps "
            f"copies of up to {LARGEST_COPY / 2**30:g} GiB. Save it as TIFF and open that file."
        )
    return size


def write_copy(stack: Stack, project: Path) -> Iterator[int]:
    """Write ``stack.tif``, frame by frame; yields how many are written.

    Raises
    ------
    ValueError
        If the stack is too large.
    OSError
        If the disk is full or the folder cannot be written, in words.
    """
    size = check_size(stack)
    photometric = "rgb" if stack.axes.endswith("C") and stack.shape[-1] in (3, 4) else "minisblack"
    told = tiff_options((1, 1), stack.dtype, "YX", stack.scale[-2:], stack.units[-2:])
    size_tags = {name: value for name, value in told.items() if name != "description"}
    with (
        replacing(project / STACK_FILE) as temporary,
        tifffile.TiffWriter(temporary, bigtiff=size > _BIG_TIFF) as writer,
    ):
        for count, number in enumerate(stack.frame_numbers, 1):
            frame = np.ascontiguousarray(stack.frame(number))
            if frame.dtype == bool:  # which TIFF would pack to bits
                frame = frame.astype(np.uint8)
            writer.write(frame, photometric=photometric, contiguous=True, **size_tags)
            yield count


def open_copy(reference: StackReference, project: Path) -> Stack:
    """Open ``stack.tif``; raises `StackMissing` or `ValueError` in words."""
    path = project / STACK_FILE
    if not path.is_file():
        raise StackMissing(
            f"{path}, the image of this project, is gone. The annotations are safe; put the file "
            f"back, or say where the same image is: napari-jnet relocate {project} FILE."
        )
    shape = (len(reference.frame_numbers), *reference.shape)
    dtype = np.dtype(reference.dtype)
    positions = {number: k for k, number in enumerate(reference.frame_numbers)}

    def read(number: int) -> NDArray[Any]:
        return _read(path, positions[number], shape, dtype)

    return Stack(
        name=reference.name,
        format="array",
        path=path,
        axes=reference.axes,
        frame_numbers=reference.frame_numbers,
        shape=reference.shape,
        dtype=dtype,
        read=read,
        scale=reference.scale or (1.0,) * (1 + len(reference.spatial)),
        units=reference.units or ("pixel",) * (1 + len(reference.spatial)),
        digits=reference.digits,
        sequence=reference.sequence,
    )


def _read(path: Path, index: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    remedy = (
        "it is damaged. The annotations are safe; put back a copy of the file, or say where the same image "
        f"is: napari-jnet relocate {path.parent} FILE."
    )
    with reading(path, "a TIFF image", remedy), tifffile.TiffFile(path) as file:
        series = file.series[0]
        stored = series.dtype
        if series.dataoffset is None:
            check_room(path, math.prod(series.shape) * stored.itemsize)
            return np.asarray(series.asarray().reshape(shape)[index]).astype(dtype)
        mapped = file.filehandle.memmap_array(
            stored.newbyteorder(file.byteorder), shape, offset=series.dataoffset
        )
        return np.array(mapped[index], dtype=dtype)
