"""TIFF files: headers, pages read one at a time, and errors that name the file."""

from __future__ import annotations

import html
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_jnet.files import FileError, check_memory, reading
from napari_jnet.io.axes import StackUnsure, size_text

TIFF_SUFFIXES = (".tif", ".tiff")
_POSITIONS = "RPMVJK"  # a dimension of these is a choice of images, not frames of one
_LARGEST_PIXEL_UM = 50.0
_FILE_NAME = re.compile(r"""FileName\s*=\s*["']([^"']*)["']""")
_UNITS = {"nanometer": ("nm", 1e-3), "micrometer": ("µm", 1.0), "millimeter": ("mm", 1e3)}
# unit in files -> the unit of `TiffHeader.steps`, and how many micrometers it is
_LENGTHS: dict[str, tuple[str, float]] = {
    name: (unit, size)
    for unit, size, names in (
        ("micrometer", 1.0, "um µm μm âµm \\u00b5m micron microns"),
        ("micrometer", 1.0, "micrometer micrometers micrometre micrometres"),
        ("nanometer", 1e-3, "nm nanometer nanometers nanometre"),
        ("nanometer", 1e-4, "å angstrom"),
        ("nanometer", 1e-6, "pm"),
        ("millimeter", 1e3, "mm millimeter millimeters millimetre"),
        ("micrometer", 1e4, "cm centimeter"),
        ("micrometer", 1e6, "m meter"),
        ("micrometer", 25400.0, "in inch inches"),
    )
    for name in names.split()
}
_TIMES = {
    name: seconds
    for seconds, names in (
        (1.0, "s sec secs second seconds"),
        (1e-3, "ms msec millisecond milliseconds"),
        (1e-6, "us µs μs usec"),
        (1e-9, "ns"),
        (60.0, "min minute minutes"),
        (3600.0, "h hr hour hours"),
        (86400.0, "d day days"),
    )
    for name in names.split()
}

Step = tuple[float, str]


@dataclass(frozen=True, eq=False)
class TiffHeader:
    """An image of a TIFF file, as its header describes it.

    Attributes
    ----------
    shape, dtype
        As `read_tiff` gives it.
    axes
        One letter a dimension, as tifffile names them ("I" and "Q" are unknown, "S" are samples).
    steps
        "T", "Z", "Y", "X" -> how far it is from one to the next, and the unit ("second",
        "micrometer", ...); no entry where the file does not state it.  Z, Y and X have one unit.
    images
        A description of each image of the file, such as of several positions.
    missing
        Whether planes are missing that the header lists, for each index of the leading
        dimensions; None where all are there.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axes: str
    steps: Mapping[str, Step] = field(default_factory=dict)
    images: tuple[str, ...] = ("",)
    missing: NDArray[np.bool_] | None = None

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
    """One image of an open file: a series, or one of the positions that a series holds."""

    def __init__(
        self, path: Path, file: tifffile.TiffFile, series: Any, position: int | None
    ) -> None:
        self.path, self.file, self.series, self.position = path, file, series, position
        first = position is not None
        self.shape = tuple(int(n) for n in series.shape[first:])
        self.axes = str(series.axes[first:])
        self.dtype = np.dtype(series.dtype)
        page = series.keyframe
        # Programs for microscopes store intensities with the colours to show them in.
        indexed = page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None
        self.palette = _palette(page) if indexed and not (file.is_imagej or file.is_ome) else None
        # tifffile gives the place of the pixels within the file that holds them
        self.offset = None if page.parent is not file else series.dataoffset

    def __str__(self) -> str:
        return f"{self.axes} {size_text(self.shape)} {self.dtype}"

    @property
    def pages(self) -> NDArray[np.intp] | None:
        """The numbers of the pages, in the shape of the dimensions that run through them.

        None where that is not plain.
        """
        images = 1 if self.position is None else self.series.shape[0]
        count, remainder = divmod(len(self.series.pages), images)
        for n in range(0 if remainder else len(self.shape) + 1):
            pages, pixels = math.prod(self.shape[:n]), math.prod(self.shape[n:])
            if pages == count and pixels == self.series.keyframe.size:
                return np.arange(count).reshape(self.shape[:n]) + count * (self.position or 0)
        return None

    def missing(self) -> NDArray[np.bool_] | None:
        pages = self.pages
        if pages is None or self.offset is not None:
            return None
        lost = np.array([self.series.pages[int(n)] is None for n in pages.ravel()], bool)
        return lost.reshape(pages.shape) if lost.any() else None

    def read(self, along: int | None = None, index: int = 0) -> NDArray[Any]:
        """Read all, or one index along a dimension and no other page."""
        whole, pages = self.shape, self.pages
        if pages is not None and along is not None and along >= pages.ndim:
            pages = None  # it runs through the pixels of a page
        rest = whole if along is None else whole[:along] + whole[along + 1 :]
        chosen: Any = ... if along is None else (slice(None),) * along + (index,)
        offset = self.offset  # of pixels that are neither compressed nor in several pieces
        taken = rest if offset is not None or pages is not None else self.series.shape
        check_memory(self.path, math.prod(taken) * self.dtype.itemsize)
        if offset is None and pages is not None:
            planes = [self.series.pages[int(n)] for n in pages[chosen].ravel()]
            if None in planes:
                raise FileError(
                    f"The header of {self.path} lists a plane that is not in the file; the acquisition or "
                    "the export was stopped. Choose other frames, or export it again."
                )
            return np.stack([_pixels(plane) for plane in planes]).reshape(rest)
        if offset is None:
            stored = np.asarray(self.series.asarray())
        else:
            order, handle = self.dtype.newbyteorder(self.file.byteorder), self.file.filehandle
            stored = handle.memmap_array(order, self.series.shape, offset=offset)
        found = stored if self.position is None else stored[self.position]
        return np.array(found.reshape(whole)[chosen], dtype=self.dtype)


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


def _palette(page: Any) -> NDArray[Any]:
    """Return the colour, (n, 3) uint8, or the grey, (n,), of each number of a palette image."""
    table = np.asarray(page.colormap)
    eight = (table >> 8 if table.max(initial=0) > 255 else table).astype(np.uint8).T
    grey = (eight == eight[:, :1]).all()
    return np.ascontiguousarray(eight[:, 0] if grey else eight)


@contextmanager
def _opened(
    path: Path, series: int | None, multifile: bool, indices: bool = True
) -> Iterator[tuple[_Image, list[_Image]]]:
    """Open a file; yields the chosen image, and all its images."""
    with reading(path, "a TIFF image"), _tiff_file(path, multifile=multifile) as file:
        images = _images(path, file)
        if not images:
            raise ValueError("it has no image")
        image = _choose(path, images, series)
        if 0 in image.shape:
            raise ValueError(f"its image has no pixels: {image}")
        if indices:
            image.palette = None
        yield image, images


def _tiff_file(path: Path, *, multifile: bool) -> tifffile.TiffFile:
    file = tifffile.TiffFile(path, _multifile=False)
    names = _FILE_NAME.findall(file.ome_metadata or "") if multifile and file.is_ome else []
    # Other files are read from the folder of this one only.
    if not names or any(os.path.basename(n.replace("\\", "/")) != n for n in names):
        return file
    file.close()
    return tifffile.TiffFile(path)


def _images(path: Path, file: tifffile.TiffFile) -> list[_Image]:
    found = []
    for series in file.series:
        axes = str(series.axes)
        if "Y" not in axes or "X" not in axes:
            continue
        several = len(axes) > 3 and axes[0] in _POSITIONS
        positions = range(series.shape[0]) if several else (None,)
        found += [_Image(path, file, series, position) for position in positions]
    whole = [i for i in found if not (i.series.keyframe.is_reduced or i.series.keyframe.is_mask)]
    return whole or found


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
        raise StackUnsure(
            f"{path} holds pages of different size or type, and does not state that they are separate "
            f"images: {listed}. Choose one (--series), or save all pages with one size and type.",
            "series",
            tuple(str(n) for n in range(1, len(images) + 1)),
        )
    return images[0]


def read_header(
    path: Path, *, series: int | None = None, multifile: bool = False, indices: bool = False
) -> TiffHeader:
    """Read shape, type, axes and pixel size of an image in a TIFF file, no pixels.

    Parameters
    ----------
    path
        The file.
    series
        Number of the image, from 1, where the file holds several; None takes the first.
    multifile
        Whether frames in other files that an OME file names belong to the image.
    indices
        Whether to read the numbers of a palette image, as for labels, and not its colours.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file is not a TIFF, damaged, or holds several images that may be frames of one.
    """
    with _opened(path, series, multifile, indices) as (image, images):
        shape, dtype, axes = image.shape, image.dtype, image.axes
        if image.palette is not None:
            shape, dtype = (*shape, *image.palette.shape[1:]), image.palette.dtype
            axes += "S" * (image.palette.ndim - 1)
        steps = _steps(image, images.index(image))
        return TiffHeader(shape, dtype, axes, steps, tuple(map(str, images)), image.missing())


def read_tiff(
    path: Path, *, series: int | None = None, multifile: bool = False, indices: bool = False
) -> NDArray[Any]:
    """Read a whole image of a TIFF file; parameters and errors as of `read_header`."""
    with _opened(path, series, multifile, indices) as (image, _):
        stored = image.read()
        return stored if image.palette is None else image.palette[stored]


def read_part(
    path: Path,
    along: int,
    index: int,
    *,
    series: int | None = None,
    multifile: bool = False,
    indices: bool = False,
    shape: tuple[int, ...] | None = None,
) -> NDArray[Any]:
    """Read one index along a dimension, as stored, and no page of another; else as `read_tiff`.

    A `shape` of the same number of pixels replaces the one in the file.
    """
    with _opened(path, series, multifile, indices) as (image, _):
        image.shape = image.shape if shape is None else shape
        of_color = along >= len(image.shape)  # the colours of a palette
        stored = image.read() if of_color else image.read(along, index)
        found = stored if image.palette is None else image.palette[stored]
        return found[..., index] if of_color else found


# pixel size and interval


def _steps(image: _Image, number: int) -> dict[str, Step]:
    if image.file.is_ome and image.file.ome_metadata:
        found = _ome_steps(image.file.ome_metadata, number)
    else:
        found = _tag_steps(image.series.keyframe, image.file.imagej_metadata or {})
    steps = {"T": (float(f"{found['T'][0]:.10g}"), "second")} if "T" in found else {}
    if {"X", "Y"} <= found.keys():
        name = _LENGTHS[found["X"][1]][0]
        for axis, (size, unit) in found.items():
            if axis != "T":
                size *= _LENGTHS[unit][1] / _UNITS[name][1]
                steps[axis] = (float(f"{size:.10g}"), name)
    return steps


def _tag_steps(page: Any, imagej: Mapping[str, Any]) -> dict[str, Step]:
    """Read the tags of resolution, and what ImageJ writes besides."""
    found = _interval(imagej.get("finterval"), imagej.get("tunit", "s"))
    given = _plain(imagej.get("unit", ""))
    coded = {2: "inch", 3: "cm"}.get(page.tags.valueof("ResolutionUnit") or 2, "")
    for axis in "XY":
        per_unit = _positive(page.tags.valueof(f"{axis}Resolution"))
        if per_unit is None:
            continue
        size, unit = 1 / per_unit, _plain(imagej.get(f"{axis.lower()}unit", "")) or given
        # Resolutions in inches, and coarse ones, are written by drawing programs and mean nothing.
        if not given and coded == "cm" and size * 1e4 <= _LARGEST_PIXEL_UM:
            unit = coded
        inch = unit in ("in", "inch", "inches")
        if unit in _LENGTHS and not (inch and size * 25400 > _LARGEST_PIXEL_UM):
            # A resolution is a ratio of integers: 0.18999912 was written as 0.19.
            found[axis] = (float(f"{size:.5g}"), unit)
    depth, unit = _positive(imagej.get("spacing")), _plain(imagej.get("zunit", "")) or given
    if not unit and "X" in found:
        unit = found["X"][1]
    if depth and unit in _LENGTHS:
        found["Z"] = (depth, unit)
    return found


def _ome_steps(xml: str, number: int) -> dict[str, Step]:
    try:
        images = tifffile.xml2dict(xml)["OME"]["Image"]
        several = images if isinstance(images, list) else [images]
        pixels = several[min(number, len(several) - 1)]["Pixels"]
    except (KeyError, TypeError, ValueError, IndexError):
        return {}
    found = _interval(pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s"))
    for axis in "XYZ":
        size = _positive(pixels.get(f"PhysicalSize{axis}"))
        unit = _plain(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        if size and unit in _LENGTHS:
            found[axis] = (size, unit)
    return found


def _interval(value: Any, unit: Any) -> dict[str, Step]:
    interval, name = _positive(value), _plain(unit)
    return {"T": (interval * _TIMES[name], "second")} if interval and name in _TIMES else {}


def _plain(unit: Any) -> str:
    return str(unit).strip().lower()


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

    Parameters
    ----------
    shape, dtype
        Of all that the file will hold.
    axes
        Of T, Z, Y and X, one letter a dimension of `shape`.
    scale, units
        One for each axis, see `Stack`; sizes in pixels are omitted.
    text
        For the OME-XML's element Description; `tiff_text` reads it.
    """
    sizes: dict[str, Any] = {"Description": text} if text else {}
    per_cm = {}
    for axis, size, unit in zip(axes, scale, units, strict=False):
        plain, step = _plain(unit), _positive(size)
        if axis == "T" and step and plain in _TIMES:
            sizes["TimeIncrement"] = float(f"{step * _TIMES[plain]:.10g}")
        elif axis != "T" and step and plain in _LENGTHS:
            name, micrometers = _LENGTHS[plain]
            short, own = _UNITS[name]
            sizes[f"PhysicalSize{axis}"] = float(f"{step * micrometers / own:.10g}")
            sizes[f"PhysicalSize{axis}Unit"] = short
            per_cm[axis] = 1e4 / (step * micrometers)
    xml = tifffile.OmeXml()
    *leading, height, width = shape
    stored = (math.prod(leading), 1, 1, height, width, 1)
    xml.addimage(dtype, shape, stored, axes=axes, **sizes)
    # Without its number, which is another one each time, the same result is the same file.
    description = re.sub(r' UUID="[^"]*"', "", xml.tostring(), count=1)
    options: dict[str, Any] = {"description": description.encode()}
    if {"X", "Y"} <= per_cm.keys():
        options |= {"resolution": (per_cm["X"], per_cm["Y"]), "resolutionunit": "CENTIMETER"}
    return options


def tiff_text(description: str) -> str:
    """Return the text that `tiff_options` was given; another description as it is."""
    found = re.search("<Description>(.*?)</Description>", description, re.DOTALL)
    return html.unescape(found[1]) if found else description
