"""TIFF files: headers, pages read one at a time, and errors that name the file."""

from __future__ import annotations

import html
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_jnet.files import FileError, check_memory, reading
from napari_jnet.io.axes import size_text
from napari_jnet.io.stack import AmbiguousInput

TIFF_SUFFIXES = (".tif", ".tiff")
_LEAST_PER_CM = 200  # pixels; coarser ones are resolutions of drawing programs, and mean nothing
_FILE_NAME = re.compile(r"""FileName\s*=\s*["']([^"']*)["']""")
_MICROMETERS = {
    1.0: "um µm μm âµm \\u00b5m micron microns micrometer micrometers micrometre micrometres",
    1e-3: "nm nanometer nanometers nanometre",
    1e-4: "å angstrom",
    1e3: "mm millimeter millimeters millimetre",
    1e4: "cm centimeter",
    1e6: "m meter",
}
_SECONDS = {
    1.0: "s sec secs second seconds",
    1e-3: "ms msec millisecond milliseconds",
    1e-6: "us µs μs usec",
    60.0: "min minute minutes",
    3600.0: "h hr hour hours",
    86400.0: "d day days",
}
_LENGTHS = {name: size for size, names in _MICROMETERS.items() for name in names.split()}
_TIMES = {name: size for size, names in _SECONDS.items() for name in names.split()}

Step = tuple[float, str]  # size, and "second" or "micrometer"


@dataclass(frozen=True, eq=False)
class TiffHeader:
    """An image of a TIFF file, as its header describes it."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axes: str  # as tifffile names them: "I" and "Q" are unknown, "S" are samples
    steps: Mapping[str, Step]  # from one to the next along T, Z, Y and X, where the file states it
    images: tuple[str, ...]  # a description of each image of the file, such as of several positions
    missing: NDArray[np.bool_] | None  # planes that the header lists, by leading index; None: none

    def step(self, axis: str) -> Step:
        """Return the step along an axis; (1, "pixel") where the file does not state it."""
        return self.steps.get(axis, (1.0, "pixel"))

    def present(self, along: int) -> tuple[int, ...]:
        """Return the indices along a dimension at which no plane is missing."""
        if self.missing is None or along >= self.missing.ndim:
            return tuple(range(self.shape[along]))
        others = tuple(axis for axis in range(self.missing.ndim) if axis != along)
        return tuple(int(n) for n in np.flatnonzero(~self.missing.any(axis=others)))


class _Image:
    """One image of an open file."""

    def __init__(self, path: Path, file: tifffile.TiffFile, series: Any) -> None:
        self.path, self.file, self.series = path, file, series
        self.shape = tuple(int(n) for n in series.shape)
        self.axes = str(series.axes)
        self.dtype = np.dtype(series.dtype)
        self.derived = bool(series.keyframe.is_reduced or series.keyframe.is_mask)
        # tifffile gives the place of the pixels within the file that holds them
        self.offset = None if series.keyframe.parent is not file else series.dataoffset

    def __str__(self) -> str:
        return f"{self.axes} {size_text(self.shape)} {self.dtype}"

    def pages(self, shape: tuple[int, ...]) -> NDArray[np.intp] | None:
        """Return the numbers of the pages, in the shape of the dimensions that run through them.

        None where that is not plain.
        """
        count = len(self.series.pages)
        for n in range(len(shape) + 1):
            pages, pixels = math.prod(shape[:n]), math.prod(shape[n:])
            if pages == count and pixels == self.series.keyframe.size:
                return np.arange(count).reshape(shape[:n])
        return None

    def missing(self) -> NDArray[np.bool_] | None:
        pages = self.pages(self.shape)
        if pages is None or self.offset is not None:
            return None
        lost = np.array([self.series.pages[int(n)] is None for n in pages.ravel()], bool)
        return lost.reshape(pages.shape) if lost.any() else None

    def read(
        self, along: int | None = None, index: int = 0, shape: tuple[int, ...] | None = None
    ) -> NDArray[Any]:
        """Read all, or one index along a dimension and no other page; `shape` replaces the stored one."""
        whole = shape or self.shape
        pages = self.pages(whole)
        if pages is not None and along is not None and along >= pages.ndim:
            pages = None  # it runs through the pixels of a page
        rest = whole if along is None else whole[:along] + whole[along + 1 :]
        chosen: Any = ... if along is None else (slice(None),) * along + (index,)
        offset = self.offset  # of pixels that are neither compressed nor in several pieces
        taken = rest if offset is not None or pages is not None else whole
        check_memory(self.path, math.prod(taken) * self.dtype.itemsize)
        if offset is not None:
            order, handle = self.dtype.newbyteorder(self.file.byteorder), self.file.filehandle
            if math.prod(rest) == math.prod(whole):  # a mapped file would count beside its copy
                read = handle.read_array(order, math.prod(whole), offset)
                return np.asarray(read.reshape(rest), dtype=self.dtype)
            stored = handle.memmap_array(order, self.series.shape, offset=offset)
        elif pages is None:
            stored = np.asarray(self.series.asarray())
        else:
            planes = [self.series.pages[int(n)] for n in pages[chosen].ravel()]
            if None in planes:
                raise FileError(
                    f"The header of {self.path} lists a plane that is not in the file; the acquisition or "
                    "the export was stopped. Choose other frames, or export it again."
                )
            if len(planes) == 1:
                return _pixels(planes[0]).reshape(rest)
            return np.stack([_pixels(plane) for plane in planes]).reshape(rest)
        return np.array(stored.reshape(whole)[chosen], dtype=self.dtype)


def _pixels(page: Any) -> NDArray[Any]:
    handle = page.parent.filehandle  # tifffile closes the other files of an image
    closed = handle.closed
    if closed:
        handle.open()
    try:
        return np.asarray(page.asarray())
    finally:
        if closed:
            handle.close()


@dataclass(frozen=True, eq=False)
class _Parsed:
    """A file whose header was read; it is open while `lock` is held, and closed between two readings."""

    file: tifffile.TiffFile
    images: list[_Image]
    others: list[Path]  # files of the same image, also lost ones, which may come
    states: list[tuple[int, ...]]  # of all the files, as they were read
    lock: Lock


_MOST_PARSED = 8
_parsed: dict[tuple[Path, bool], _Parsed] = {}  # the last ones


@contextmanager
def _opened(
    path: Path, series: int | None, multifile: bool
) -> Iterator[tuple[_Image, list[_Image]]]:
    """Open a file; yields the chosen image, and all its images.

    The header of a file that has not changed is not read again: that takes longer than a page.
    """
    with reading(path, "a TIFF image"):
        known = _parsed.get((path, multifile))
        if known is None or _states([path, *known.others]) != known.states:
            known = _parsed[path, multifile] = _parse(path, multifile)
            for oldest in [*_parsed][:-_MOST_PARSED]:
                _parsed.pop(oldest, None)
        image = _choose(path, known.images, series)
        if 0 in image.shape:
            raise ValueError(f"its image has no pixels: {image}")
        with known.lock:
            known.file.filehandle.open()
            try:
                yield image, known.images
            finally:
                known.file.close()


def _states(paths: Sequence[Path]) -> list[tuple[int, ...]]:
    """Return what changes when a file is written or replaced; of a lost one, nothing."""
    infos = [path.stat() for path in paths if path.exists()]
    # the last one, which no program sets, changes where a copy keeps the time of its original
    return [(info.st_mtime_ns, info.st_size, info.st_ino, info.st_ctime_ns) for info in infos]


def _parse(path: Path, multifile: bool) -> _Parsed:
    states = _states([path])
    file = tifffile.TiffFile(path, _multifile=False)
    names = _FILE_NAME.findall(file.ome_metadata or "") if multifile and file.is_ome else []
    # Other files are read from the folder of this one only.
    inside = all(os.path.basename(name.replace("\\", "/")) == name for name in names)
    others = [path.parent / name for name in {*names}] if inside else []
    if any(other.is_file() for other in others):
        file.close()
        states += _states(others)
        file = tifffile.TiffFile(path)
    with file:
        found = [_Image(path, file, s) for s in file.series if {*"YX"} <= {*s.axes}]
        images = [image for image in found if not image.derived] or found
        if not images:
            raise ValueError("it has no image")
        return _Parsed(file, images, others, states, Lock())


def _choose(path: Path, images: list[_Image], series: int | None) -> _Image:
    listed = "; ".join(f"{n} is {image}" for n, image in enumerate(images, 1))
    if series is not None:
        if not 1 <= series <= len(images):
            raise FileError(
                f"{path} has no image {series}; its images are numbered from 1: {listed}. Choose one "
                "of them."
            )
        return images[series - 1]
    if len(images) > 1 and images[0].series.kind in ("generic", "uniform"):
        raise AmbiguousInput(
            f"{path} holds pages of different size or type, and does not state that they are separate "
            f"images: {listed}.",
            "Choose one (--series), or save all pages with one size and type.",
            "series",
            tuple(str(n) for n in range(1, len(images) + 1)),
        )
    return images[0]


def read_header(path: Path, *, series: int | None = None, multifile: bool = False) -> TiffHeader:
    """Read shape, type, axes and pixel size of an image in a TIFF file, no pixels; errors as of `reading`.

    `series` is the number of the image, from 1, where the file holds several; None takes the first.  With
    `multifile`, frames in other files that an OME file names belong to the image.
    """
    with _opened(path, series, multifile) as (image, images):
        steps, described = _steps(image, images.index(image)), tuple(map(str, images))
        return TiffHeader(image.shape, image.dtype, image.axes, steps, described, image.missing())


def read_tiff(path: Path, *, series: int | None = None, multifile: bool = False) -> NDArray[Any]:
    """Read a whole image of a TIFF file, of a palette its numbers; else as `read_header`."""
    with _opened(path, series, multifile) as (image, _):
        return image.read()


def read_part(
    path: Path,
    along: int,
    index: int,
    *,
    series: int | None = None,
    multifile: bool = False,
    shape: tuple[int, ...] | None = None,
) -> NDArray[Any]:
    """Read one index along a dimension, as stored, and no page of another; else as `read_tiff`.

    A `shape` of the same number of pixels replaces the one in the file.
    """
    with _opened(path, series, multifile) as (image, _):
        return image.read(along, index, shape)


# pixel size and interval


def _steps(image: _Image, number: int) -> dict[str, Step]:
    if image.file.is_ome and image.file.ome_metadata:
        stated = _ome_steps(image.file.ome_metadata, number)
    else:
        stated = _tag_steps(image.series.keyframe, image.file.imagej_metadata or {})
    found = {axis: _converted(axis, size, unit) for axis, (size, unit) in stated.items()}
    if not (found.get("X") and found.get("Y")):
        found = {"T": found.get("T")}
    units = {"T": "second"}
    return {axis: (size, units.get(axis, "micrometer")) for axis, size in found.items() if size}


def _converted(axis: str, value: Any, unit: Any) -> float | None:
    """Return a step in seconds or micrometers; None where value or unit mean nothing."""
    size = (_TIMES if axis == "T" else _LENGTHS).get(str(unit).strip().lower())
    step = _positive(value)
    return float(f"{step * size:.10g}") if step and size else None


def _tag_steps(page: Any, imagej: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what ImageJ wrote, and else a resolution in pixels per centimeter."""
    given = imagej.get("unit")
    found = {"T": (imagej.get("finterval"), imagej.get("tunit", "s"))}
    for axis in "XY":
        per_unit = _positive(page.tags.valueof(f"{axis}Resolution"))
        if per_unit is None:
            continue
        unit = imagej.get(f"{axis.lower()}unit") or given
        if not unit and page.tags.valueof("ResolutionUnit") == 3 and per_unit >= _LEAST_PER_CM:
            unit = "cm"
        # A resolution is a ratio of integers: 0.18999912 was written as 0.19.
        found[axis] = (f"{1 / per_unit:.5g}", unit)
    unit = imagej.get("zunit") or given or found.get("X", ("", ""))[1]
    return {**found, "Z": (imagej.get("spacing"), unit)}


def _ome_steps(xml: str, number: int) -> dict[str, tuple[Any, Any]]:
    try:
        images = tifffile.xml2dict(xml)["OME"]["Image"]
        several = images if isinstance(images, list) else [images]
        pixels = several[min(number, len(several) - 1)]["Pixels"]
    except (KeyError, TypeError, ValueError, IndexError):
        return {}
    found = {"T": (pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s"))}
    for axis in "XYZ":
        name = f"PhysicalSize{axis}"
        found[axis] = (pixels.get(name), pixels.get(f"{name}Unit", "µm"))
    return found


def _positive(value: Any) -> float | None:
    """Return a size, negative in some files, or a ratio of two numbers; None where it means nothing."""
    try:
        size = abs(value[0] / value[1] if isinstance(value, tuple) else float(value))
    except (TypeError, ValueError, IndexError, ZeroDivisionError):
        return None
    return size if 0 < size < math.inf else None


def tiff_options(
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    axes: str,
    scale: Sequence[float],
    units: Sequence[str],
    text: str = "",
) -> dict[str, Any]:
    """Return the options of `tifffile` for axes, pixel size and interval: as OME-XML, and as tags.

    `shape` and `dtype` are those of all that the file will hold, `axes` its T, Z, Y and X; `scale` and
    `units` are one for each, see `Stack`, and sizes in pixels are omitted.  `tiff_text` reads the `text`.
    """
    sizes: dict[str, Any] = {"Description": text} if text else {}
    for axis, size, unit in zip(axes, scale, units, strict=False):
        step = _converted(axis, size, unit)
        if step and axis == "T":
            sizes["TimeIncrement"] = step
        elif step:
            sizes |= {f"PhysicalSize{axis}": step, f"PhysicalSize{axis}Unit": "µm"}
    xml = tifffile.OmeXml()
    *leading, height, width = shape
    stored = (math.prod(leading), 1, 1, height, width, 1)
    xml.addimage(dtype, shape, stored, axes=axes, **sizes)
    # Without its number, which is another one each time, the same result is the same file.
    description = re.sub(r' UUID="[^"]*"', "", xml.tostring(), count=1)
    options: dict[str, Any] = {"description": description.encode()}
    if {"PhysicalSizeX", "PhysicalSizeY"} <= sizes.keys():
        per_cm = (1e4 / sizes["PhysicalSizeX"], 1e4 / sizes["PhysicalSizeY"])
        options |= {"resolution": per_cm, "resolutionunit": "CENTIMETER"}
    return options


def tiff_text(description: str) -> str:
    """Return the text that `tiff_options` was given; another description as it is."""
    found = re.search("<Description>(.*?)</Description>", description, re.DOTALL)
    return html.unescape(found[1]) if found else description
