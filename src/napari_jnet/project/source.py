"""Where the images of a project are: a reference to the stack, or a copy of it."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import tifffile
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt, model_validator

from napari_jnet.files import FileError, atomic_write
from napari_jnet.io import folder
from napari_jnet.io.axes import size_text
from napari_jnet.io.formats import open_files
from napari_jnet.io.stack import Stack, format_numbers
from napari_jnet.io.tiff import read_part, tiff_options


class StackMissing(FileNotFoundError):
    """The images of a project are not at their path any more."""


def _type_name(value: str) -> str:
    try:
        return str(np.dtype(value))
    except TypeError as error:
        raise ValueError(str(error)) from error


class StackReference(BaseModel):
    """The stack that a project belongs to; what is not explained is as in `Stack`."""

    model_config = ConfigDict(frozen=True)

    name: str
    format: str
    axes: str
    shape: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]  # of a frame as shown
    frame_numbers: Annotated[tuple[int, ...], Field(min_length=1)]
    dtype: Annotated[str, AfterValidator(_type_name)]
    path: Path | None = None  # absolute; None where the image has no file with the same pixels
    relative: str | None = None  # the path from the project's folder: both can move together
    sequence: str = ""
    digits: Annotated[int, Field(ge=1, le=100)] = 3  # names of files are not longer than 255
    scale: tuple[float, ...] = ()
    units: tuple[str, ...] = ()
    stored: bool = False  # in the project, as ``stack.tif``
    fingerprint: str = ""  # of the pixels of the middle frame; "" if unknown
    order: str = "natural"  # see `io.folder.open_stack`; labels keep their frames
    given_axes: str = ""
    series: int | None = None

    @model_validator(mode="after")
    def _check_axes(self) -> Self:
        if len(self.axes) != len(self.shape) + 1:
            raise ValueError(f"a stack of axes {self.axes} and shape {self.shape}")
        return self

    @property
    def spatial(self) -> tuple[int, ...]:
        """Shape of the labels of one frame: (H, W) or (Z, H, W)."""
        return self.shape[:-1] if self.axes.endswith("C") else self.shape

    @property
    def has_file(self) -> bool:
        """Whether the image is in a file, its own or that of the project."""
        return self.stored or self.path is not None

    @classmethod
    def of(cls, stack: Stack, project: Path) -> StackReference:
        """Return a reference to a stack; to its file only if that has the same pixels.  Reads a frame."""
        shared = {name: getattr(stack, name) for name in cls.model_fields if hasattr(stack, name)}
        found = cls(**{**shared, "dtype": str(stack.dtype), "path": None})
        opened = _same_on_disk(stack)
        if opened is None:
            return found.model_copy(update={"format": "array", "fingerprint": fingerprint(stack)})
        found = found.model_copy(update={"fingerprint": fingerprint(opened)})
        return found.with_path(opened, project)

    def with_path(self, opened: Stack, project: Path) -> StackReference:
        """Return a reference to the same stack at the path of an opened one."""
        assert opened.path is not None
        path = Path(os.path.abspath(opened.path))
        here = {"path": path, "relative": _relative(path, project), "stored": False}
        chosen = ("format", "sequence", "given_axes", "series")
        return self.model_copy(update=here | {name: getattr(opened, name) for name in chosen})

    def paths(self, project: Path) -> Iterator[Path]:
        """Yield the paths where the stack may be now."""
        if self.relative is not None:
            yield Path(os.path.normpath(os.path.join(os.path.realpath(project), self.relative)))
        if self.path is not None:
            yield self.path

    def open(self, project: Path) -> Stack:
        """Open the images where they are now; reads one frame to check that they are the same.

        Raises `StackMissing` if they cannot be found, `ValueError` if other images are at their path.
        """
        if self.stored:
            return open_copy(self, project)
        first: ValueError | None = None
        for place in dict.fromkeys(self.paths(project)):
            if not place.exists():
                continue
            try:
                return self.open_at(place)
            except ValueError as error:
                first = first or error
        if first is not None:
            raise first
        where = "in no file" if self.path is None else f"no longer at {self.path}"
        raise StackMissing(
            f"The images of the project {project} ({self.name}) are {where}. {_remedy(project)}"
        )

    def open_at(self, place: Path, sequence: str | None = None) -> Stack:
        """Open a stack and check that it is this one; raises `ValueError` for another."""
        wanted = (self.sequence if sequence is None else sequence) or None
        if self.format == "folder" and self.order != "natural":
            opened = folder.open_stack(place, wanted, order=self.order)
        else:
            opened = open_files(
                place, sequence=wanted, axes=self.given_axes or None, series=self.series
            )
        difference = self._difference(opened)
        if difference:
            raise ValueError(
                f"{place} is another stack than the one of this project, {self.name}: {difference}. "
                "Choose the path of the images that were annotated, or make a project for this stack."
            )
        return replace(  # axes, scale and names of frames as when the project was made
            opened,
            name=self.name,
            axes=self.axes,
            digits=self.digits,
            scale=self.scale or opened.scale,
            units=self.units or opened.units,
        )

    def _difference(self, opened: Stack) -> str:
        """Describe how a stack differs from this one; "" if it does not."""
        shown = _shown_shape(opened, self.shape)
        if shown != self.shape:
            return f"its frames are {size_text(shown)}, not {size_text(self.shape)}"
        if opened.frame_numbers != self.frame_numbers:
            found, own = format_numbers(opened.frame_numbers), format_numbers(self.frame_numbers)
            return f"it has the frames {found}, not {own}"
        if str(opened.dtype) != self.dtype:
            return f"its pixels are {opened.dtype}, not {self.dtype}"
        found = fingerprint(opened)
        if self.fingerprint and found and found != self.fingerprint:
            return f"frame {_middle(opened)} has other pixels"
        return ""


def _remedy(project: Path) -> str:
    return (
        "The annotations are safe; put the images back, or use a copy of them elsewhere: "
        f"napari-jnet relocate {project} PATH."
    )


def fingerprint(stack: Stack) -> str:
    """Return a checksum of the middle frame; "" if it cannot be read."""
    try:
        frame = np.ascontiguousarray(stack.frame(_middle(stack)))
    except (OSError, ValueError):
        return ""
    return f"{zlib.crc32(frame.astype(frame.dtype.newbyteorder('<'), copy=False).data):08x}"


def is_blank(stack: Stack) -> bool:
    """Whether the middle frame has one value everywhere."""
    frame = stack.frame(_middle(stack))
    return bool(frame.min() == frame.max())


def _middle(stack: Stack) -> int:
    return stack.frame_numbers[len(stack) // 2]


def _same_on_disk(stack: Stack) -> Stack | None:
    """Open the file of a stack if it has the same pixels; else return None."""
    if stack.path is None or not stack.path.exists():
        return None
    try:
        opened, number = open_files(stack.path, **stack.choices), _middle(stack)
        shown = (_shown_shape(opened, stack.shape), opened.frame_numbers, opened.dtype)
        if opened.path is None or shown != (stack.shape, stack.frame_numbers, stack.dtype):
            return None
        stored = opened.frame(number)
        part = stack.frame(number)[tuple(slice(n) for n in stored.shape)]
        return opened if np.array_equal(part, stored) else None
    except (OSError, ValueError):
        return None


def _shown_shape(opened: Stack, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that a stack is shown with; images of a folder are padded to the largest."""
    if opened.format != "folder" or opened.shape == shape:
        return opened.shape
    return folder.largest_frame(opened)


def _relative(path: Path, project: Path) -> str | None:
    try:
        found = os.path.relpath(os.path.realpath(path), os.path.realpath(project))
    except ValueError:  # another drive of Windows
        return None
    return Path(found).as_posix()


STACK_FILE = "stack.tif"
LARGEST_COPY = 8 * 2**30
_BIG_TIFF = 2**32 - 2**25


def check_size(stack: Stack) -> int:
    """Return the bytes of a stack; raises `ValueError` if it is too large to be copied."""
    size = len(stack) * int(np.prod(stack.shape)) * stack.dtype.itemsize
    if size > LARGEST_COPY:
        raise ValueError(
            f"The image {stack.name!r} is in no file and has {size / 2**30:.1f} GiB; a project keeps "
            f"copies of up to {LARGEST_COPY / 2**30:g} GiB. Save it as TIFF and open that file."
        )
    return size


def write_copy(stack: Stack, project: Path) -> None:
    """Write ``stack.tif``, frame by frame; raises `OSError`, and `ValueError` for one too large."""
    size = check_size(stack)
    photometric = "rgb" if stack.axes.endswith("C") and stack.shape[-1] in (3, 4) else "minisblack"
    options = tiff_options((1, 1), stack.dtype, "YX", stack.scale[-2:], stack.units[-2:])
    size_tags = {name: value for name, value in options.items() if name != "description"}
    with (
        atomic_write(project / STACK_FILE) as temporary,
        tifffile.TiffWriter(temporary, bigtiff=size > _BIG_TIFF) as writer,
    ):
        for number in stack.frame_numbers:
            frame = np.ascontiguousarray(stack.frame(number))
            if frame.dtype == bool:  # which TIFF would pack to bits
                frame = frame.astype(np.uint8)
            writer.write(frame, photometric=photometric, contiguous=True, **size_tags)


def open_copy(reference: StackReference, project: Path) -> Stack:
    """Open ``stack.tif``; raises `StackMissing` or `ValueError`."""
    path = project / STACK_FILE
    if not path.is_file():
        raise StackMissing(f"{path}, the image of this project, is missing. {_remedy(project)}")
    shape = (len(reference.frame_numbers), *reference.shape)
    dtype = np.dtype(reference.dtype)
    positions = {number: k for k, number in enumerate(reference.frame_numbers)}

    def read(number: int) -> NDArray[Any]:
        try:
            return read_part(path, 0, positions[number], shape=shape).astype(dtype, copy=False)
        except FileError as error:
            raise FileError(f"{error} {_remedy(project)}") from error

    same = ("name", "axes", "frame_numbers", "shape", "scale", "units", "digits", "sequence")
    recorded = {name: getattr(reference, name) for name in same}
    return Stack(format="array", path=path, dtype=dtype, read=read, **recorded)
