"""Results of a prediction on disk: written frame by frame, opened again."""

from __future__ import annotations

import json
import math
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_jnet import files as storing
from napari_jnet.events import FramePrediction
from napari_jnet.files import FolderInUse, FolderLock, OutputError, output_folder, writing
from napari_jnet.io.own_files import MARK, InputFiles, ResultMark, is_result, read_mark
from napari_jnet.io.stack import Stack
from napari_jnet.io.tiff import tiff_options, tiff_words
from napari_jnet.labels import contingency


class OverlapTracks:
    """Link objects frame by frame, keeping only the frame before.

    Parameters
    ----------
    minimum_iou
        Smallest Jaccard index at which an object is taken for the one of the frame before.
    """

    def __init__(self, minimum_iou: float = 0.3) -> None:
        self._minimum = minimum_iou
        self._last_number: int | None = None
        self._last: NDArray[np.int32] | None = None
        self._spans: dict[int, tuple[int, int]] = {}
        self._continued: dict[int, tuple[int, int] | None] = {}

    @property
    def count(self) -> int:
        """Tracks so far, which is also the largest number given."""
        return len(self._spans)

    def add(self, number: int, instances: NDArray[np.integer]) -> NDArray[np.int32]:
        """Return the instances of the next frame, numbered by track.

        Parameters
        ----------
        number
            Frame number; only a frame that follows at once continues tracks.
        instances
            Integers (H, W) or (Z, H, W), 0 = background.
        """
        found = np.unique(instances)
        found = found[found > 0]
        links = self._links(number, instances)
        tracks = np.zeros(len(found), dtype=np.int32)
        self._continued = {}
        for position, label in enumerate(found):
            track = links.get(int(label), self.count + 1)
            span = self._continued[track] = self._spans.get(track)
            self._spans[track] = (span[0] if span else number, number)
            tracks[position] = track
        numbered = np.zeros(instances.shape, dtype=np.int32)
        inside = instances > 0
        numbered[inside] = tracks[np.searchsorted(found, instances[inside])]
        self._last_number, self._last = number, numbered
        return numbered

    def undo(self) -> None:
        """Forget the last frame: it could not be written."""
        for track, span in self._continued.items():
            if span is None:
                del self._spans[track]
            else:
                self._spans[track] = span
        self._continued = {}
        self._last = None

    def lines(self) -> str:
        """Return the tracks as ``res_track.txt`` holds them: label, first, last, parent 0."""
        spans = self._spans.items()
        return "".join(f"{track} {first} {last} 0\n" for track, (first, last) in spans)

    def _links(self, number: int, instances: NDArray[np.integer]) -> dict[int, int]:
        """Pair objects with those of the frame before: best overlap first, each only once."""
        if self._last is None or self._last_number != number - 1:
            return {}
        if self._last.shape != instances.shape:
            return {}
        table = contingency(self._last, instances)
        union = table.row_sizes[table.row] + table.column_sizes[table.column] - table.pixels
        iou = table.pixels / union
        before, now = table.rows[table.row], table.columns[table.column]
        good = (before > 0) & (now > 0) & (iou >= self._minimum)
        links: dict[int, int] = {}
        taken: set[int] = set()
        for pair in np.flatnonzero(good)[np.argsort(-iou[good], kind="stable")]:
            track, label = int(before[pair]), int(now[pair])
            if track not in taken and label not in links:
                links[label] = track
                taken.add(track)
        return links


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


MASK_NAME = re.compile(r"mask(\d+)\.tiff?")


MAPS = ("probability", "distance", "classes", "instances")


_TRACKS = "res_track.txt"


_UNFINISHED = ".napari-jnet-result-"


_MOST_TRACKS = 65535  # CTC masks are uint16


class ResultWriter:
    """Write predictions frame by frame; a context manager.

    A result folder is of one prediction.  What is written lies in a hidden folder in it until `close`;
    then it takes the place of a former result, which is untouched before, also where the process is
    killed.  Whatever ends the writing, the frames written so far are kept: on leaving, each file is
    finished and takes its name, also after an error, a full disk or a stop.

    Parameters
    ----------
    folder
        Made if it is not there.  It is locked until `close`.
    stack
        What is predicted.  A CTC sequence gets a result folder ``NN_RES`` besides.
    frames
        Frame numbers to come, in this order; all of the stack's if None.

    Attributes
    ----------
    notice
        What the user should know of the files when they are written, in words; "" if nothing.

    Raises
    ------
    OutputError
        If the folder cannot be written or is in use; if a file would be overwritten that is no result
        of ours, or that the stack is read from; if the folder holds masks of frames that are not to
        come, or the result of another sequence.

    Notes
    -----
    ``probability.tif`` (float32, 0 to 1), ``distance.tif`` (float32, pixels) and ``instances.tif``
    (uint16, uint32 from 65,536 objects on) hold one page a section, compressed with zlib, and say
    in the description of the first page which frames they are.  Axes, pixel size and interval of the
    stack stand in them as OME-XML, and in the tags of resolution.  ``NN_RES`` holds ``maskTTT.tif``
    (uint16) and ``res_track.txt``: objects that overlap in consecutive frames share a number.  Where
    that needs more numbers than uint16 has, the masks from there on are numbered for themselves, and
    there is no ``res_track.txt``.  The description of each file names the prediction that it is of.
    """

    def __init__(
        self, folder: Path | str, stack: Stack, frames: Sequence[int] | None = None
    ) -> None:
        self.folder = Path(folder)
        self.notice = ""
        self._failed = ""
        self._stack = stack
        self._expected = list(stack.frame_numbers if frames is None else frames)
        self._mark = ResultMark(secrets.token_hex(8), len(self._expected), stack.sequence)
        self._files: dict[str, PageWriter] = {}
        self._tracks: OverlapTracks | None = OverlapTracks()
        self.masks = result_folder(self.folder, stack) if _is_ctc(stack) else None
        made = output_folder(self.folder)
        self._lock = FolderLock(self.folder)
        try:
            self._begin()
        except BaseException as error:
            self._lock.release()
            if made:
                with suppress(OSError):
                    self.folder.rmdir()
            if isinstance(error, FolderInUse):
                raise OutputError(str(error)) from error
            if isinstance(error, OSError):
                raise OutputError(storing.in_words(self.folder, error).strerror) from error
            raise

    def _begin(self) -> None:
        self._lock.acquire()
        self._clean()
        former = [self.folder / f"{name}.tif" for name in MAPS]
        for path in former:
            if path.exists() and not is_result(path):
                raise _foreign(path)
        maps = read_mark(self.folder / "instances.tif")
        self._refuse_other_sequence(maps)
        if self.masks is not None:
            former += self._former_masks(self.masks, maps)
        self._refuse_inputs([path for path in former if path.exists()])
        self._part = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self.folder))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        try:
            self.close()
        except OutputError:
            if kind is None:  # else the first failure is the one to tell
                raise

    def write(self, prediction: FramePrediction) -> None:
        """Write one frame to all files; raises `OutputError`, also after a frame that failed."""
        number = prediction.number
        if self._failed:
            raise OutputError(
                f"{self.folder} takes no more frames: {self._failed} could not be written. Predict again."
            )
        try:
            self._append("probability", np.float32, number, prediction.segmentation)
            self._append("distance", np.float32, number, prediction.distance)
            if prediction.classes is not None:
                self._append("classes", np.uint8, number, prediction.classes)
            self._append("instances", np.uint16, number, prediction.instances)
            if self.masks is not None:
                self._write_mask(self.masks, number, prediction.instances)
        except BaseException:  # all files have the same frames
            self._failed = f"frame {number}"
            for file in self._files.values():
                file.forget(number)
            raise

    def close(self) -> None:
        """Finish all files and let them take their names; raises `OutputError` for the first failure."""
        if not self._lock.is_held:
            return
        errors = []
        try:
            for file in self._files.values():
                try:
                    file.close()
                except OutputError as error:
                    errors.append(error)
            if self._files:
                self._write_tracks(errors)
                self._install()
            shutil.rmtree(self._part, ignore_errors=True)
        finally:
            self._files = {}
            self._lock.release()
        if errors:
            raise errors[0]

    def _append(self, name: str, dtype: Any, number: int, frame: NDArray[Any]) -> None:
        if name not in self._files:
            stack = self._stack
            self._files[name] = PageWriter(
                self._part / f"{name}.tif",
                dtype,
                stack.axes.replace("C", ""),
                self._expected,
                stack.scale,
                stack.units,
                mark=self._mark,
                shown=self.folder / f"{name}.tif",
            )
        self._files[name].write(number, frame)

    def _write_mask(self, masks: Path, number: int, instances: NDArray[np.int32]) -> None:
        name = f"mask{number:0{self._stack.digits}d}.tif"
        path = self._part / masks.name / name
        numbered = self._numbered(masks, number, instances)
        try:
            with writing(masks / name):
                path.parent.mkdir(exist_ok=True)
                mask = numbered.astype(
                    np.result_type(np.uint16, np.min_scalar_type(numbered.max()))
                )
                self._save_mask(path, mask)
        except BaseException:
            path.unlink(missing_ok=True)
            if self._tracks is not None:
                self._tracks.undo()
            raise

    def _save_mask(self, path: Path, mask: NDArray[np.unsignedinteger]) -> None:
        stack, words = self._stack, json.dumps({MARK: self._mark.to_dict()})
        axes = stack.axes.replace("C", "")[1:]
        told = tiff_options(mask.shape, mask.dtype, axes, stack.scale[1:], stack.units[1:], words)
        tifffile.imwrite(
            path, mask, compression="zlib", photometric="minisblack", metadata=None, **told
        )

    def _numbered(
        self, masks: Path, number: int, instances: NDArray[np.int32]
    ) -> NDArray[np.integer]:
        """Return the objects numbered by track, or for themselves where the tracks are too many."""
        if self._tracks is not None:
            by_track = self._tracks.add(number, instances)
            if self._tracks.count <= _MOST_TRACKS:
                return by_track
            self._tracks = None
            self.notice = (
                f"{masks.name} has no {_TRACKS}: from frame {number} on it would need more than "
                f"{_MOST_TRACKS} numbers, which its masks cannot hold. From there on each mask is numbered "
                "for itself; instances.tif holds every object."
            )
        by_place = np.unique(np.append(instances, 0), return_inverse=True)[1]
        return by_place[:-1].reshape(instances.shape)

    def _write_tracks(self, errors: list[OutputError]) -> None:
        if (
            self.masks is None
            or self._tracks is None
            or not (self._part / self.masks.name).is_dir()
        ):
            return
        file = self._part / self.masks.name / _TRACKS
        try:
            with writing(self.masks / _TRACKS):
                file.write_text(self._tracks.lines(), encoding="ascii")
        except OutputError as error:  # the masks are good without it
            errors.append(error)
            file.unlink(missing_ok=True)

    def _install(self) -> None:
        """Put the files in the place of a former result, which goes first: the two are never mixed."""
        names = [name for name in MAPS if (self._part / f"{name}.tif").exists()]
        if not names:  # no frame could be written
            return
        try:
            for path in self._part.rglob("*.t*"):
                storing.flush(path)
            for name in reversed(MAPS):
                (self.folder / f"{name}.tif").unlink(missing_ok=True)
            if self.masks is not None:
                self._install_masks(self.masks)
            for name in names:
                os.rename(self._part / f"{name}.tif", self.folder / f"{name}.tif")
            storing.flush_folder(self.folder)
        except OSError as error:
            words = storing.in_words(self.folder, error).strerror
            raise OutputError(f"{words} What was predicted is in {self._part} now.") from error

    def _install_masks(self, masks: Path) -> None:
        for path in _results_in(masks):
            path.unlink()
        with suppress(OSError):  # what else lies there stays
            masks.rmdir()
        part = self._part / masks.name
        if not part.exists():
            return
        if not masks.exists():
            os.rename(part, masks)
            return
        for path in sorted(part.iterdir()):
            os.rename(path, masks / path.name)
        storing.flush_folder(masks)

    def _clean(self) -> None:
        """Remove what killed predictions have left."""
        for path in self.folder.glob(f"{_UNFINISHED}*"):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
        storing.clean(self.folder, locked=True)
        if self.masks is not None and not self.masks.is_symlink():
            storing.clean(self.masks, locked=True)

    def _refuse_inputs(self, former: Sequence[Path]) -> None:
        inputs = InputFiles(self._stack) if former else None
        for path in former:
            read = inputs.find(path) if inputs is not None else None
            if read is not None:
                raise OutputError(
                    f"{path} would be overwritten, but {self._stack.name} is read from it ({read}). Choose "
                    "another output folder."
                )

    def _refuse_other_sequence(self, maps: ResultMark | None) -> None:
        """Refuse to replace the maps of a result folder that is not replaced."""
        if maps is None:
            return
        own = None if self.masks is None else self.masks.name
        if maps.prediction:
            found = [f"{maps.sequence}_RES"]
        elif self.masks is not None and _masks_in(self.masks):
            found = []  # the maps are of an older version and do not say of which
        else:
            found = sorted(path.name for path in self.folder.glob("*_RES"))
        for name in found:
            if name != own and _masks_in(self.folder / name):
                raise OutputError(
                    f"{self.folder} holds the result of another sequence, {name}, with its maps; a result "
                    "folder is of one prediction. Choose another output folder."
                )

    def _former_masks(self, masks: Path, maps: ResultMark | None) -> list[Path]:
        """List what will be replaced in the CTC result folder; what may not be is refused."""
        if masks.is_symlink():
            raise OutputError(
                f"{masks} is a link to another folder; results are not written through it. Choose "
                "another output folder, or remove the link."
            )
        if masks.exists() and not masks.is_dir():
            raise OutputError(
                f"{masks} is a file; the result needs a folder there. Choose another output folder."
            )
        found = _masks_in(masks)
        for path in found:
            # Masks of older versions have no mark; the maps beside them tell whose they are.
            if read_mark(path) is None and (maps is None or maps.prediction):
                raise _foreign(path)
        left = [path.name for path in found if _number(path) not in self._expected]
        if left:
            raise OutputError(
                f"{masks} holds {len(left)} masks of frames that are not predicted now, such as "
                f"{left[0]}; a result is of one prediction. Choose another output folder or delete "
                "it."
            )
        return found


def _foreign(path: Path) -> OutputError:
    return OutputError(
        f"{path} is there already and is no result of napari-jnet; it would be overwritten. Choose "
        "another output folder, or move the file away."
    )


def _number(mask: Path) -> int:
    match = MASK_NAME.fullmatch(mask.name)
    assert match is not None
    return int(match[1])


def _masks_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if MASK_NAME.fullmatch(path.name))


def _results_in(folder: Path) -> list[Path]:
    tracks = folder / _TRACKS
    return [*_masks_in(folder), *([tracks] if tracks.exists() or tracks.is_symlink() else [])]


def _is_ctc(stack: Stack) -> bool:
    """Whether the sequence of a stack is one of the Cell Tracking Challenge: 01, not train."""
    return re.fullmatch(r"\d{2,3}", stack.sequence) is not None


def result_folder(folder: Path, stack: Stack) -> Path:
    """Return where the CTC result of a stack lies within an output folder: ``folder/01_RES``."""
    return folder / f"{stack.sequence}_RES"
