"""Results of a prediction on disk: write them frame by frame, find and read them."""

from __future__ import annotations

import json
import math
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_jnet.events import FramePrediction
from napari_jnet.files import (
    FolderLock,
    OutputError,
    flush,
    flush_folder,
    make_folder,
    reading,
    release_pages,
    write_file,
    writing,
)
from napari_jnet.io.folder import frame_shapes
from napari_jnet.io.marks import MAPS, MARK, MASK_NAME, ResultMark, description, read_mark
from napari_jnet.io.stack import Stack
from napari_jnet.io.tiff import read_tiff, tiff_options
from napari_jnet.labels import contingency

_TRACKS = "res_track.txt"
_CONFIDENCE = "confidence.csv"
_COLUMNS = b"frame,cell,confidence\n"  # its first line
_UNFINISHED = ".napari-jnet-result-"
_LINKED = 0.3  # Jaccard index from which on an object is linked to one in the previous frame
_MOST_TRACKS = 65535  # CTC masks are uint16
_LARGE = 2**31  # bytes from which on a file must be able to grow beyond 4 GB
_TILE = 512  # side in pixels of the tiles of large frames
_REMEDY = "write it again with predict."


class OverlapTracks:
    """Link objects frame by frame, keeping only the previous frame."""

    def __init__(self) -> None:
        self._last_number: int | None = None
        self._last: NDArray[np.int32] | None = None
        self._spans: dict[int, tuple[int, int]] = {}  # track -> its first and last frame
        self._before: dict[int, tuple[int, int] | None] = {}  # those of the last frame, before it

    @property
    def count(self) -> int:
        """Tracks so far, which is also the largest number given."""
        return len(self._spans)

    def add(self, number: int, instances: NDArray[np.integer]) -> NDArray[np.int32]:
        """Return the instances of a frame, numbered by track; one that follows at once continues tracks."""
        links = self._links(number, instances)
        self._before = {}
        found = np.unique(instances)
        found = found[found > 0]
        tracks = np.zeros(len(found), dtype=np.int32)
        for position, label in enumerate(found):
            track = tracks[position] = links.get(int(label), self.count + 1)
            span = self._before[track] = self._spans.get(track)
            self._spans[track] = number if span is None else span[0], number
        numbered = np.zeros(instances.shape, dtype=np.int32)
        inside = instances > 0
        numbered[inside] = tracks[np.searchsorted(found, instances[inside])]
        self._last_number, self._last = number, numbered
        return numbered

    def undo(self) -> None:
        """Forget the last frame: it could not be written."""
        for track, span in self._before.items():
            if span is None:
                del self._spans[track]
            else:
                self._spans[track] = span
        self._before, self._last = {}, None

    def lines(self) -> str:
        """Return the tracks as ``res_track.txt`` holds them: label, first, last, parent 0."""
        spans = self._spans.items()
        return "".join(f"{track} {first} {last} 0\n" for track, (first, last) in spans)

    def _links(self, number: int, instances: NDArray[np.integer]) -> dict[int, int]:
        """Pair objects with those of the previous frame: best overlap first, each only once."""
        last = self._last
        if last is None or self._last_number != number - 1 or last.shape != instances.shape:
            return {}
        table = contingency(last, instances)
        union = table.row_sizes[table.row] + table.column_sizes[table.column] - table.pixels
        iou = table.pixels / union
        before, now = table.rows[table.row], table.columns[table.column]
        good = (before > 0) & (now > 0) & (iou >= _LINKED)
        links: dict[int, int] = {}
        taken: set[int] = set()
        for pair in np.flatnonzero(good)[np.argsort(-iou[good], kind="stable")]:
            track, label = int(before[pair]), int(now[pair])
            if track not in taken and label not in links:
                links[label] = track
                taken.add(track)
        return links


class _PageWriter:
    """One TIFF file of a result: a page a plane.  It holds no more than a frame in memory.

    Errors name the path where the file will be, outside of the hidden folder.
    """

    def __init__(
        self, path: Path, stack: Stack, frames: list[int], mark: ResultMark, pixels: int
    ) -> None:
        self._path, self._shown = path, path.parent.parent / path.name
        self._dtype, self._pixels = np.dtype(MAPS[path.stem]), pixels
        self._stack, self._expected, self._mark = stack, frames, mark
        self.written: list[int] = []  # frame numbers
        self.seam_pixels: dict[int, int] = {}  # of frames that have some, see `FramePrediction`
        self._shapes: set[tuple[int, ...]] = set()  # images of a folder may differ
        self._tiff: tifffile.TiffWriter | None = None
        self._tags: dict[str, Any] = {}

    def write(self, number: int, frame: NDArray[Any]) -> None:
        """Append one frame; raises `OutputError` if the disk fails."""
        with writing(self._shown):
            self._shapes.add(frame.shape)
            if self._tiff is None:
                self._tags = self._options(self._expected)
                # probabilities and distances would shrink by an eighth only
                if np.issubdtype(self._dtype, np.integer):
                    self._tags |= {"compression": "zlib", "compressionargs": {"level": 1}}
                pixels = max(frame.size * len(self._expected), self._pixels)
                large = pixels * self._dtype.itemsize >= _LARGE
                self._tiff = tifffile.TiffWriter(self._path, bigtiff=large)
            for plane in frame.reshape(-1, *frame.shape[-2:]):
                self._tiff.write(
                    **self._data(plane),
                    photometric="minisblack",
                    metadata=None,
                    contiguous=False,
                    **self._tags,
                )
                self._tags["description"] = None  # which the first page has
        self.written.append(number)

    def _data(self, plane: NDArray[Any]) -> dict[str, Any]:
        """Return the pixels of a page; of a memory-mapped file in tiles, each read when it is its turn."""
        if not isinstance(plane, np.memmap):
            return {"data": plane.astype(self._dtype, copy=False)}

        def tiles() -> Iterator[NDArray[Any]]:
            for top in range(0, plane.shape[0], height):
                for left in range(0, plane.shape[1], width):
                    yield plane[top : top + height, left : left + width].astype(self._dtype)
                release_pages(plane)

        # multiples of 16, as the format asks; larger ones would pad a thin plane to many times its size
        height, width = (min(_TILE, -(-side // 16) * 16) for side in plane.shape)
        form = {"shape": plane.shape, "dtype": self._dtype, "tile": (height, width)}
        return {"data": tiles(), **form}

    def forget(self, number: int) -> None:
        """Drop a frame if it was the last one written: it is missing in other files of the result."""
        if self.written[-1:] == [number]:
            self.written.pop()
            self.seam_pixels.pop(number, None)

    def close(self) -> None:
        """Finish the file with the frames written so far; no frame, no file."""
        if self._tiff is None:
            return
        with writing(self._shown):
            tiff, self._tiff = self._tiff, None
            tiff.close()
            if not self.written:
                self._path.unlink()
                return
            # pages of a frame that failed may follow; the description does not count them
            if self.written != self._expected or len(self._shapes) > 1 or self.seam_pixels:
                tifffile.tiffcomment(self._path, self._options(self.written)["description"])

    def _options(self, frames: list[int]) -> dict[str, Any]:
        """Return the tags of frames, and of their axes, pixel size and interval if they have one shape."""
        text: dict[str, Any] = {"frames": frames, MARK: asdict(self._mark)}
        if self.seam_pixels:
            text["seam_pixels"] = self.seam_pixels
        if len(self._shapes) > 1:
            return {"description": json.dumps(text).encode()}
        whole = (len(frames), *next(iter(self._shapes)))
        axes, units = self._stack.axes.replace("C", ""), self._stack.units
        text = {"shape": whole, "axes": axes, **text}
        steps = set(np.diff(frames).tolist()) or {1}
        interval, *sizes = self._stack.scale
        # skipped frames make the interval longer
        scale = (interval * (steps.pop() if len(steps) == 1 else 0), *sizes)
        return tiff_options(whole, self._dtype, axes, scale, units, json.dumps(text))


class FramePages:
    """Read single frames of a map in a result, or of any multi-page TIFF; raises as `reading`.

    Where the file does not state it, a frame has `planes` planes (the depth of a volume) and the frames
    have `frame_numbers`, counted from 0 if these are None or of another length.
    """

    def __init__(
        self, path: Path, planes: int = 1, frame_numbers: Sequence[int] | None = None
    ) -> None:
        self.path = path
        with reading(path, "a TIFF image", _REMEDY), ExitStack() as opened:
            self._file = opened.enter_context(path.open("rb"))
            self._pages = tifffile.TiffFile(self._file).pages
            count = len(self._pages)
            text = description(self._pages.first)
            text = text if "frames" in text else {}
            depth = text.get("shape", [])[1:-2]
            self._volumes = bool(depth) or planes > 1
            self._planes = math.prod(depth) if text else planes
            frames = count // self._planes
            if frame_numbers is None or len(frame_numbers) != frames:
                frame_numbers = range(frames)
            numbers = text.get("frames", frame_numbers)
            self.frame_numbers = tuple(int(n) for n in numbers[:frames])
            self._positions = {n: position for position, n in enumerate(self.frame_numbers)}
            self.mark = ResultMark.of(text) or ResultMark()
            opened.pop_all()

    def read(self, number: int) -> NDArray[Any]:
        """Read one frame, (H, W) or (Z, H, W); raises `ValueError` for another number."""
        if number not in self:
            raise ValueError(f"{self.path} has no frame {number}; it has {self.frame_numbers}.")
        first = self._positions[number] * self._planes
        with reading(self.path, "a TIFF image", _REMEDY):
            pages = [self._pages[first + n].asarray() for n in range(self._planes)]
            return np.stack(pages) if self._volumes else np.asarray(pages[0])

    def __contains__(self, number: int) -> bool:
        return number in self._positions

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ResultWriter:
    """Write predictions frame by frame; a context manager.

    A result folder holds one prediction.  Files are written in a hidden folder in it until `close`; then
    they replace a former result, which is unchanged before, even if the process is killed.  However
    the writing ends, the frames written so far are saved: also after an error, a full disk or a stop.

    Parameters
    ----------
    folder
        Made if it is not there, and locked until `close`.
    stack
        What is predicted.  A CTC sequence gets a result folder ``NN_RES`` besides.
    frames
        Frame numbers to come, in this order; all of the stack's if None.

    Attributes
    ----------
    message
        A message about the written files; "" if there is none.

    Raises
    ------
    OutputError
        If the folder cannot be written or is in use, or if it holds what would be lost: a file that is not
        ours or that the stack is read from, masks of other frames, the result of another sequence.

    Notes
    -----
    ``probability.tif`` (float32, 0 to 1), ``distance.tif`` (float32, pixels; of a model with
    ``targets.relative`` the depth in each object, 0 to 1, times its ``dt_bound``) and ``instances.tif``
    (uint32, compressed with zlib) hold one page a section; the description of the first page lists the
    frames, and that of the objects ``seam_pixels`` of frames that have some.  Axes, pixel size and
    interval of the stack are stored as OME-XML, and in the tags of resolution.  ``NN_RES`` holds
    ``maskTTT.tif`` (uint16, where more than 65,535 tracks need it uint32) and ``res_track.txt``: objects
    that overlap in consecutive frames share a number.  ``confidence.csv`` has a line for each object of
    ``instances.tif`` whose confidence is known: frame, number, and 0 to 1.
    """

    def __init__(
        self, folder: Path | str, stack: Stack, frames: Sequence[int] | None = None
    ) -> None:
        self.folder = Path(folder)
        self.message = ""
        self._failed = ""
        self._stack = stack
        self._expected = list(stack.frame_numbers if frames is None else frames)
        self._mark = ResultMark(secrets.token_hex(8), len(self._expected), stack.sequence)
        self._tracks = OverlapTracks()
        self._confidence: dict[int, NDArray[np.float32]] = {}  # of the objects of a frame
        # a sequence of the Cell Tracking Challenge: 01, not train
        ctc = re.fullmatch(r"\d{2,3}", stack.sequence)
        self.masks = self.folder / f"{stack.sequence}_RES" if ctc else None
        make_folder(self.folder)
        self._lock = FolderLock(self.folder)
        try:
            with writing(self.folder):
                self._lock.acquire()
                self._begin()
        except BaseException as error:
            self._lock.release()
            if isinstance(error, ValueError):  # in use, or two masks of one frame
                raise OutputError(str(error)) from error
            raise

    def _begin(self) -> None:
        """Remove what killed predictions have left, and check what would be replaced."""
        for path in self.folder.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(path, ignore_errors=True)
        former = [path for name in MAPS if (path := self.folder / f"{name}.tif").exists()]
        if self.masks is not None:
            former += self._former_masks(self.masks)
        places = [self._stack.path, *(one.path for one in self._stack.annotations.values())]
        inputs = [place for place in places if place and place.exists()]
        for place in inputs.copy():  # frames may be links to a former result
            inside = [*place.glob("*"), *place.glob("*/*")] if place.is_dir() else []
            inputs += [path for path in inside if path.is_symlink() and path.exists()]
        for path in former:
            self._check_replaceable(path)
            if any(place.samefile(path) for place in inputs):
                raise OutputError(
                    f"{path} would be overwritten, but {self._stack.name} is read from it. Choose another "
                    "output folder."
                )
        table = self.folder / _CONFIDENCE
        if table.exists() and not _has_columns(table):
            raise OutputError(
                f"{table} is there already and is not a result of napari-jnet; it would be overwritten. "
                "Choose another output folder, or move the file away."
            )
        self._part = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self.folder))
        pixels = 0  # of all images of a folder, whose sizes may differ
        with suppress(ValueError, OSError):  # of one that is damaged: its frame is skipped
            if len(self._expected) > 1:
                pixels = sum(map(math.prod, frame_shapes(self._stack)))
        of_all = (self._stack, self._expected, self._mark, pixels)
        self._files = {name: _PageWriter(self._part / f"{name}.tif", *of_all) for name in MAPS}

    def _check_replaceable(self, path: Path) -> None:
        """Raise where a file is not of an earlier result of this stack."""
        mark = read_mark(path)
        if mark is None or not mark.prediction:
            raise OutputError(
                f"{path} is there already and is not a result of napari-jnet (or one of its first version); "
                "it would be overwritten. Choose another output folder, or move the file away."
            )
        other = f"{mark.sequence}_RES"
        if mark.sequence != self._stack.sequence and _masks_in(self.folder / other):
            raise OutputError(
                f"{self.folder} holds the result of another sequence, {other}, with its maps; a result "
                "folder is of one prediction. Choose another output folder."
            )

    def _former_masks(self, masks: Path) -> list[Path]:
        """List the masks that will be replaced in the CTC result folder."""
        if masks.is_symlink() or masks.is_file():
            raise OutputError(
                f"{masks} is a link to another folder, or a file; the result needs a folder of its own "
                "there. Choose another output folder, or move it away."
            )
        found = _masks_in(masks)
        left = [path.name for number, path in found.items() if number not in self._expected]
        if left:
            raise OutputError(
                f"{masks} holds {len(left)} masks of frames that are not predicted now, such as "
                f"{left[0]}; a result is of one prediction. Choose another output folder or delete "
                "it."
            )
        return list(found.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        try:
            self.close()
        except OutputError:
            if kind in (None, GeneratorExit):  # else the first failure is the one to show
                raise

    def write(self, prediction: FramePrediction) -> None:
        """Write one frame to all files; raises `OutputError`, also after a frame that failed."""
        number = prediction.number
        if self._failed:
            raise OutputError(
                f"{self.folder} accepts no more frames: {self._failed} could not be written. Predict again."
            )
        maps = {
            "probability": prediction.segmentation,
            "distance": prediction.distance,
            "classes": prediction.classes,
            "instances": prediction.instances,
        }
        try:
            for name, frame in maps.items():
                if frame is not None:
                    self._files[name].write(number, frame)
            if prediction.seam_pixels:
                self._files["instances"].seam_pixels[number] = prediction.seam_pixels
            if self.masks is not None:
                self._write_mask(self.masks, number, prediction.instances)
        except BaseException:  # all files have the same frames
            self._failed = f"frame {number}"
            for file in self._files.values():
                file.forget(number)
            raise
        if prediction.confidence is not None:
            self._confidence[number] = prediction.confidence

    def close(self) -> None:
        """Finish and rename all files; raises `OutputError` for the first failure."""
        if not self._lock.is_held:
            return
        errors = []
        try:
            files = [file.close for file in self._files.values()]
            for finish in (*files, self._write_tracks, self._write_confidence):
                try:
                    finish()
                except OutputError as error:  # the others are good without it
                    errors.append(error)
            if names := [name for name, file in self._files.items() if file.written]:
                self._install(names)
            shutil.rmtree(self._part, ignore_errors=True)
        finally:
            self._lock.release()
        if errors:
            raise errors[0]

    def _write_mask(self, masks: Path, number: int, instances: NDArray[np.int32]) -> None:
        stack = self._stack
        path = self._part / masks.name / f"mask{number:0{stack.digits}d}.tif"
        numbered = self._tracks.add(number, instances)
        try:
            with writing(masks / path.name):
                path.parent.mkdir(exist_ok=True)
                dtype = np.result_type(np.uint16, np.min_scalar_type(numbered.max()))
                options = tiff_options(
                    numbered.shape,
                    dtype,
                    stack.axes.replace("C", "")[1:],
                    stack.scale[1:],
                    stack.units[1:],
                    json.dumps({MARK: asdict(self._mark)}),
                )
                options |= {"compression": "zlib", "photometric": "minisblack", "metadata": None}
                tifffile.imwrite(path, numbered.astype(dtype), **options)
        except BaseException:
            path.unlink(missing_ok=True)
            self._tracks.undo()
            raise
        if self._tracks.count > _MOST_TRACKS:
            self.message = (
                f"{masks.name} has more than {_MOST_TRACKS} tracks. Its masks from some frame on are uint32, "
                "which programs of the Cell Tracking Challenge may not read; they take uint16."
            )

    def _write_tracks(self) -> None:
        folder = None if self.masks is None else self._part / self.masks.name
        if folder is not None and folder.is_dir():
            write_file(folder / _TRACKS, self._tracks.lines().encode("ascii"))

    def _write_confidence(self) -> None:
        lines = (
            f"{number},{cell},{sure:.4f}\n"
            for number, confidence in self._confidence.items()
            for cell, sure in enumerate(confidence.tolist(), start=1)
            if not math.isnan(sure)
        )
        if self._confidence:
            with writing(self.folder / _CONFIDENCE), (self._part / _CONFIDENCE).open("wb") as file:
                file.write(_COLUMNS)
                file.writelines(line.encode("ascii") for line in lines)

    def _install(self, names: Sequence[str]) -> None:
        """Put the files in the place of a former result, which goes first: the two are never mixed."""
        try:
            with writing(self.folder):
                for path in (*self._part.rglob("*.t*"), *self._part.glob(_CONFIDENCE)):
                    flush(path)
                (self.folder / _CONFIDENCE).unlink(missing_ok=True)
                for name in reversed(MAPS):
                    (self.folder / f"{name}.tif").unlink(missing_ok=True)
                if self.masks is not None:
                    self._install_masks(self.masks)
                for name in names:
                    os.rename(self._part / f"{name}.tif", self.folder / f"{name}.tif")
                if (self._part / _CONFIDENCE).exists():
                    os.rename(self._part / _CONFIDENCE, self.folder / _CONFIDENCE)
                flush_folder(self.folder)
        except OutputError as error:
            raise OutputError(f"{error} The predicted frames are in {self._part}.") from error

    def _install_masks(self, masks: Path) -> None:
        for path in [*_masks_in(masks).values(), masks / _TRACKS]:
            path.unlink(missing_ok=True)
        masks.mkdir(exist_ok=True)
        for path in sorted((self._part / masks.name).iterdir()):
            os.rename(path, masks / path.name)
        flush_folder(masks)


def _has_columns(path: Path) -> bool:
    with suppress(OSError), path.open("rb") as file:
        return file.read(len(_COLUMNS)) == _COLUMNS
    return False


def _masks_in(folder: Path) -> dict[int, Path]:
    """Return frame number -> mask of a CTC result, ascending; empty if there is no folder."""
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = MASK_NAME.fullmatch(path.name)
        if match is None:
            continue
        other = found.setdefault(int(match[1]), path)
        if other != path:
            raise ValueError(
                f"{folder} has {other.name} and {path.name} for the same frame {int(match[1])}; "
                "keep one of them."
            )
    return dict(sorted(found.items()))


@dataclass(frozen=True, eq=False)
class StoredResult:
    """The result of a stack, written by predict or by another program; `close` it."""

    path: Path  # where the objects are: a folder of masks or one file
    frame_numbers: tuple[int, ...]  # of the frames that are there, ascending
    instances: Callable[[int], NDArray[Any]]  # frame number -> objects, as stored
    maps: dict[str, FramePages]  # beside the objects
    message: str  # about predicted frames that are missing, if that is known; else ""
    close: Callable[[], None]  # closes the files

    def map(self, name: str, number: int) -> NDArray[Any] | None:
        """Return a map of one frame, or None if it was not written."""
        pages = self.maps.get(name)
        return pages.read(number) if pages and number in pages else None


def open_result(path: Path | str, stack: Stack) -> StoredResult:
    """Open a result: a folder that predict has written, any CTC result folder, or one TIFF of objects.

    Raises `FileNotFoundError` if there is none, and `ValueError` if a file is not a TIFF, or masks and maps
    are not of one prediction.
    """
    path = Path(path)
    places = (path, path / f"{stack.sequence}_RES")
    folder = next((place for place in places if _masks_in(place)), None)
    with ExitStack() as opened:
        maps = {}
        read: Callable[[int], NDArray[Any]]
        if folder is not None:
            source, files = folder, _masks_in(folder)
            marks = (read_mark(file) for file in files.values())
            mark = next((mark for mark in marks if mark is not None), ResultMark())
            numbers, read = tuple(files), partial(_read_mask, files, folder, mark)
            beside = folder.parent if folder.name.endswith("_RES") else folder
        else:
            source = path / "instances.tif" if path.is_dir() else path
            if not source.is_file():
                raise FileNotFoundError(
                    f"{path} has neither masks nor instances.tif, or does not exist; choose a folder that "
                    "predict has written."
                )
            pages = _open_pages(source, stack, opened)
            numbers, read, mark = pages.frame_numbers, pages.read, pages.mark
            beside = source.parent
        message = _check_frames(source, numbers, stack, mark)
        for name in ("probability", "distance", "classes"):
            file = beside / f"{name}.tif"
            if file.is_file() and (folder is not None or source.name == "instances.tif"):
                maps[name] = _open_pages(file, stack, opened)
                _check_same(file, maps[name].mark, source, mark)
        return StoredResult(source, numbers, read, maps, message, opened.pop_all().close)


def _read_mask(
    files: Mapping[int, Path], folder: Path, mark: ResultMark, number: int
) -> NDArray[Any]:
    labels = read_tiff(files[number])
    _check_same(files[number], read_mark(files[number]) or ResultMark(), folder, mark)
    return labels


def _open_pages(file: Path, stack: Stack, opened: ExitStack) -> FramePages:
    pages = FramePages(file, stack.shape[0] if "Z" in stack.axes[1:] else 1, stack.frame_numbers)
    opened.callback(pages.close)
    return pages


def _check_same(path: Path, own: ResultMark, folder: Path, mark: ResultMark) -> None:
    """Raise for a file that is known to be of another prediction; those of other programs have no mark."""
    if own.prediction and mark.prediction and own.prediction != mark.prediction:
        raise ValueError(
            f"{path} is of another prediction than {folder}; a result is of one. Predict "
            "again, or move one of the two away."
        )


def _check_frames(path: Path, numbers: tuple[int, ...], stack: Stack, mark: ResultMark) -> str:
    """Raise for the result of another stack, and return a sentence about missing frames."""
    foreign = sorted(set(numbers) - set(stack.frame_numbers))
    if foreign:
        first, last = stack.frame_numbers[0], stack.frame_numbers[-1]
        raise ValueError(
            f"{path} has {len(numbers)} frames, among them frame {foreign[0]}; {stack.name} has "
            f"{len(stack)} frames, from {first} to {last}. Choose a result of this stack."
        )
    if len(numbers) >= mark.count:
        return ""
    return (
        f"{path} has {len(numbers)} of the {mark.count} frames that were to be predicted: the prediction "
        "was stopped, or frames could not be read."
    )
