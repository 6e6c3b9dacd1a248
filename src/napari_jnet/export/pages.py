"""Multi-page TIFF files with one image a frame, written and read frame by frame.

The description of the first page is OME-XML with axes, pixel size and interval; its element
Description says which frames the pages are, as JSON: ``{"shape": [84, 512, 512], "axes": "TYX",
"frames": [0, 1, ...]}``.  Frames of different sizes have that JSON only, as have older files.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_jnet.data.own_files import MARK, ResultMark
from napari_jnet.data.tiff import tiff_options, tiff_words

from .files import writing

__all__ = ["FramePages", "PageWriter"]

_LARGE = 2**31  # bytes from which the file must be able to grow beyond 4 GB


class PageWriter:
    """Write frames to one TIFF file, compressed, holding no more than one in memory.

    Parameters
    ----------
    path
        The file; it takes this name when the writer is closed, and has another until then.
    dtype
        Of the pages.  Integers too large for it make the file be copied to a larger type.
    axes
        Of a frame with frames first: "TYX", "ZYX", "TZYX".
    frames
        Frame numbers that are expected, so that an unfinished file can be read too.
    scale, units
        One for each of the axes, as of a `Stack`.
    mark
        Says of which prediction the file is.
    shown
        Path that errors name; ``path`` if None.
    """

    def __init__(
        self,
        path: Path,
        dtype: Any,
        axes: str,
        frames: Sequence[int],
        scale: Sequence[float] = (),
        units: Sequence[str] = (),
        *,
        mark: ResultMark | None = None,
        shown: Path | None = None,
    ) -> None:
        self.path = path
        self._mark = {} if mark is None else {MARK: mark.to_dict()}
        self._shown = shown or path
        self._partial = path.with_name(f".{path.name}.part")
        self._dtype = np.dtype(dtype)
        self._axes = axes
        self._scale, self._units = tuple(scale), tuple(units)
        self._tags: dict[str, Any] = {}
        self._expected = list(frames)
        self._shapes: list[tuple[int, ...]] = []
        self._written: list[int] = []
        self._tiff: tifffile.TiffWriter | None = None
        self._planes = 0
        self._broken = False

    def write(self, number: int, frame: NDArray[Any]) -> None:
        """Append one frame; raises `OutputError` if the disk refuses."""
        with writing(self._shown):
            if np.issubdtype(self._dtype, np.integer) and frame.size:
                self._promote(np.result_type(self._dtype, np.min_scalar_type(frame.max())))
            if self._tiff is None:
                self._tiff = self._open(self._partial, frame.shape)
            self._broken = True
            self._append(self._tiff, frame, first=not self._written)
            self._broken = False
        self._planes += math.prod(frame.shape[:-2])
        self._written.append(number)
        self._shapes.append(frame.shape)

    def forget(self, number: int) -> None:
        """Leave out a frame if it was the last to be written: others of its files are not to be had."""
        if self._written[-1:] == [number]:
            self._written.pop()
            self._planes -= math.prod(self._shapes.pop()[:-2])
            self._broken = True

    def close(self) -> None:
        """Finish the file under its name, with the frames written so far; no frame, no file."""
        if self._tiff is None:
            return
        with writing(self._shown):
            try:
                self._tiff.close()
                if self._written:
                    if self._broken:
                        _end_after(self._partial, self._planes)
                    self._correct_description()
            finally:
                self._tiff = None
                if self._written:
                    os.replace(self._partial, self.path)
                else:
                    self._partial.unlink(missing_ok=True)

    def _open(self, path: Path, shape: tuple[int, ...]) -> tifffile.TiffWriter:
        self._tags = self._told(self._expected, shape)
        size = math.prod(shape) * self._dtype.itemsize * len(self._expected)
        return tifffile.TiffWriter(path, bigtiff=size >= _LARGE)

    def _append(self, tiff: tifffile.TiffWriter, frame: NDArray[Any], *, first: bool) -> None:
        planes = frame.reshape(-1, *frame.shape[-2:]).astype(self._dtype, copy=False)
        for plane in planes:
            options = self._tags if first else self._tags | {"description": None}
            tiff.write(
                plane,
                compression="zlib",
                compressionargs={"level": 1},
                photometric="minisblack",
                metadata=None,
                contiguous=False,
                **options,
            )
            first = False

    def _told(self, frames: list[int], shape: tuple[int, ...]) -> dict[str, Any]:
        """Return what the tags say of axes, pixel size, interval and frames."""
        steps = set(np.diff(frames).tolist()) or {1}
        scale = list(self._scale)
        if scale:  # frames that were left out make the way to the next one longer
            scale[0] *= steps.pop() if len(steps) == 1 else 0
        whole = (len(frames), *shape)
        words = self._description(frames, shape)
        return tiff_options(whole, self._dtype, self._axes, scale, self._units, words)

    def _description(self, frames: list[int], shape: tuple[int, ...] | None) -> str:
        words: dict[str, Any] = {}
        if shape is not None:
            words = {"shape": [len(frames), *shape], "axes": self._axes}
        return json.dumps({**words, "frames": frames, **self._mark})

    def _correct_description(self) -> None:
        """Say what the file holds in the end, where this is not what was expected."""
        shapes = set(self._shapes)
        if self._written == self._expected and len(shapes) == 1:
            return
        shape = shapes.pop() if len(shapes) == 1 else None
        if shape is None:
            text = self._description(self._written, None).encode()
        else:
            text = self._told(self._written, shape)["description"]
        tifffile.tiffcomment(self._partial, text)

    def _promote(self, dtype: np.dtype[Any]) -> None:
        """Copy what is written to a file of a larger type, page by page."""
        if dtype == self._dtype:
            return
        self._dtype = dtype
        if self._tiff is None:
            return
        self._tiff.close()
        former = self._partial.with_suffix(".former")
        os.replace(self._partial, former)
        try:
            with FramePages(former) as pages:
                self._tiff = self._open(self._partial, pages.read(self._written[0]).shape)
                for number in self._written:
                    first = number == self._written[0]
                    self._append(self._tiff, pages.read(number), first=first)
        finally:
            former.unlink(missing_ok=True)


def _end_after(path: Path, pages: int) -> None:
    """Make a page the last one: what follows it was being written when the disk refused."""
    if not pages:
        return
    with tifffile.TiffFile(path) as tiff:
        form = tiff.tiff
        tiff.pages.useframes = False
        page = tiff.pages[pages - 1]
        assert isinstance(page, tifffile.TiffPage)
        link = page.offset + form.tagnosize + len(page.tags) * form.tagsize
        nothing = bytes(form.offsetsize)
    with path.open("r+b") as file:
        file.seek(link)
        file.write(nothing)


class FramePages:
    """Read single frames of a file that `PageWriter` wrote, or of any multi-page TIFF.

    Parameters
    ----------
    path
        The file.
    planes
        Pages of a frame, where the file does not say: 1, or the depth of a volume.
    frame_numbers
        Of the frames, where the file does not say; counted from 0 if None or of another length.

    Attributes
    ----------
    mark
        Of which prediction the file is, as far as it says.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no TIFF file.
    """

    def __init__(
        self, path: Path, planes: int = 1, frame_numbers: Sequence[int] | None = None
    ) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"{path} is not there; give a result that predict has written.")
        self.path = path
        with _whole_tiff(path), ExitStack() as opened:
            self._file = opened.enter_context(path.open("rb"))
            self._pages = tifffile.TiffFile(self._file).pages
            count = len(self._pages)
            words = self._words()
            depth = words.get("shape", [])[1:-2]
            self._volumes = bool(depth) or planes > 1
            self._planes = math.prod(depth) if words else planes
            frames = count // self._planes
            if frame_numbers is None or len(frame_numbers) != frames:
                frame_numbers = range(frames)
            numbers = words.get("frames", frame_numbers)
            self.frame_numbers = tuple(int(n) for n in numbers[:frames])
            opened.pop_all()
        self.mark = ResultMark.of_description(json.dumps(words)) or ResultMark()

    def read(self, number: int) -> NDArray[Any]:
        """Read one frame, (H, W) or (Z, H, W); raises `ValueError` for another number."""
        if number not in self.frame_numbers:
            raise ValueError(f"{self.path} has no frame {number}; it has {self.frame_numbers}.")
        first = self.frame_numbers.index(number) * self._planes
        with _whole_tiff(self.path):
            pages = [self._pages[first + n].asarray() for n in range(self._planes)]
        return np.stack(pages) if self._volumes else np.asarray(pages[0])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _words(self) -> dict[str, Any]:
        """Return the description if `PageWriter` wrote it."""
        try:
            words = json.loads(tiff_words(self._pages.first.description))
        except ValueError:
            return {}
        return words if isinstance(words, dict) and "frames" in words else {}


@contextmanager
def _whole_tiff(path: Path) -> Iterator[None]:
    try:
        yield
    # A damaged file makes tifffile raise nearly anything; it all means the same.
    except Exception as error:
        raise ValueError(
            f"{path} is no whole TIFF file ({error}); write it again with predict."
        ) from error
