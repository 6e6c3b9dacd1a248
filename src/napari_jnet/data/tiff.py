"""TIFF files: what the header says, pages read one at a time, and errors that name the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

__all__ = ["TIFF_SUFFIXES", "TiffHeader", "read_header", "read_index", "read_tiff"]

TIFF_SUFFIXES = (".tif", ".tiff")

_LARGEST_PIXEL_UM = 50.0
_UNITS = {
    "um": "micrometer",
    "µm": "micrometer",
    "μm": "micrometer",
    "micron": "micrometer",
    "microns": "micrometer",
    "micrometer": "micrometer",
    "\\u00b5m": "micrometer",
    "nm": "nanometer",
    "nanometer": "nanometer",
    "mm": "millimeter",
}


@dataclass(frozen=True)
class TiffHeader:
    """The first image series of a TIFF file, as far as its header tells.

    Attributes
    ----------
    axes
        One letter a dimension, as tifffile names them ("I" and "Q" are unknown, "S" are samples).
    pixel_size
        (z, y, x) in `unit`; 1 where the file does not say.
    unit
        "micrometer", "nanometer", ..., or "pixel" where the file does not say.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axes: str
    pixel_size: tuple[float, float, float] = (1.0, 1.0, 1.0)
    unit: str = "pixel"


@contextmanager
def _opened(path: Path) -> Iterator[tifffile.TiffFile]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; check the path, or restore the file.")
    try:
        with tifffile.TiffFile(path) as file:
            if not file.series:
                raise ValueError("it has no image")
            yield file
    except OSError as error:
        raise type(error)(f"{path} cannot be read: {error}.") from error
    except MemoryError:
        raise
    # A damaged file makes tifffile and the codecs raise nearly anything; it all means the same.
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as a TIFF image ({error}); the file is truncated or damaged. "
            "Copy or download it again."
        ) from error


def read_header(path: Path) -> TiffHeader:
    """Read shape, type, axes and pixel size of a TIFF file, no pixels.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is no TIFF, or damaged.
    """
    with _opened(path) as file:
        series = file.series[0]
        size, unit = _pixel_size(file)
        return TiffHeader(tuple(series.shape), np.dtype(series.dtype), series.axes, size, unit)


def read_tiff(path: Path) -> NDArray[Any]:
    """Read the whole image of a TIFF file; raises as `read_header`."""
    with _opened(path) as file:
        return np.asarray(file.series[0].asarray())


def read_index(path: Path, index: int) -> NDArray[Any]:
    """Read one entry along the first axis of a TIFF file and no other; raises as `read_header`."""
    with _opened(path) as file:
        series = file.series[0]
        count, rest = series.shape[0], series.shape[1:]
        if series.dataoffset is not None:
            stored = file.filehandle.memmap_array(
                series.dtype.newbyteorder(file.byteorder), series.shape, offset=series.dataoffset
            )
            return np.array(stored[index], dtype=series.dtype)
        each, remainder = divmod(len(series.pages), count)
        if remainder or not each:
            return np.asarray(series.asarray()[index])
        pages = [series.pages[index * each + k] for k in range(each)]
        planes = [page.asarray() for page in pages if page is not None]
        return np.stack(planes).reshape(rest)


def _pixel_size(file: tifffile.TiffFile) -> tuple[tuple[float, float, float], str]:
    nothing = (1.0, 1.0, 1.0), "pixel"
    page = file.pages[0]
    tags = page.tags  # type: ignore[union-attr]
    imagej = file.imagej_metadata or {}
    if file.ome_metadata:
        return _ome_pixel_size(file.ome_metadata) or nothing
    per_unit = [_ratio(tags.valueof(name)) for name in ("YResolution", "XResolution")]
    if not all(per_unit):
        return nothing
    y, x = (1 / value for value in per_unit if value)
    unit = _UNITS.get(str(imagej.get("unit", "")).strip().lower())
    if unit:
        return (float(imagej.get("spacing", 1.0)), _rounded(y), _rounded(x)), unit
    # Resolutions in inches, and coarse ones, are what drawing programs write: they say nothing.
    if tags.valueof("ResolutionUnit") == 3 and 0 < x * 1e4 <= _LARGEST_PIXEL_UM:
        return (1.0, _rounded(y * 1e4), _rounded(x * 1e4)), "micrometer"
    return nothing


def _rounded(size: float) -> float:
    # A resolution is a ratio of integers: 0.18999912 was written as 0.19.
    return float(f"{size:.5g}")


def _ratio(value: Any) -> float | None:
    try:
        numerator, denominator = value
        return float(numerator) / float(denominator) or None
    except (TypeError, ValueError, ZeroDivisionError):
        return None


def _ome_pixel_size(xml: str) -> tuple[tuple[float, float, float], str] | None:
    try:
        image = tifffile.xml2dict(xml)["OME"]["Image"]
        pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
        unit = _UNITS[str(pixels.get("PhysicalSizeXUnit", "µm")).lower()]
        z = float(pixels.get("PhysicalSizeZ", 1.0))
        return (z, float(pixels["PhysicalSizeY"]), float(pixels["PhysicalSizeX"])), unit
    except (KeyError, TypeError, ValueError):
        return None
