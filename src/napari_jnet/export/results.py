"""What predict writes: a CTC result folder, and the maps and instances of each frame."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_jnet.data import storing
from napari_jnet.data.locking import FolderInUse, FolderLock
from napari_jnet.data.own_files import MARK, InputFiles, ResultMark, is_result, read_mark
from napari_jnet.data.stack import Stack
from napari_jnet.data.tiff import tiff_options
from napari_jnet.events import FramePrediction

from .files import OutputError, make_folder, writing
from .pages import PageWriter
from .tracks import OverlapTracks

__all__ = ["MASK_NAME", "ResultWriter", "result_folder"]

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
        made = make_folder(self.folder)
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
