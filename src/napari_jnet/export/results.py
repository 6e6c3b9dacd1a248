"""What predict writes: a CTC result folder, and the maps and instances of each frame."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_jnet.data.stack import Stack
from napari_jnet.data.tiff import tiff_options
from napari_jnet.events import FramePrediction

from .files import OutputError, make_folder, replacing
from .pages import PageWriter
from .tracks import OverlapTracks

__all__ = ["ResultWriter", "result_folder"]

_MOST_TRACKS = 65535  # CTC masks are uint16


class ResultWriter:
    """Write predictions frame by frame; a context manager.

    Whatever ends the writing, the frames written so far are kept: on leaving, each file is finished
    and takes its name, also after an error, a full disk or a stop.

    Parameters
    ----------
    folder
        Made if it is not there.  Files of a former prediction are replaced.
    stack
        What is predicted.  A CTC sequence gets a result folder ``NN_RES`` besides.
    frames
        Frame numbers to come, in this order; all of the stack's if None.

    Raises
    ------
    OutputError
        If the folder cannot be written, or holds masks of frames that are not to come: a result
        folder mixed from two predictions would be of neither.

    Notes
    -----
    ``probability.tif`` (float32, 0 to 1), ``distance.tif`` (float32, pixels) and ``instances.tif``
    (uint16, uint32 from 65,536 objects on) hold one page a section, compressed with zlib, and say
    in the description of the first page which frames they are.  Axes, pixel size and interval of the
    stack stand in them as OME-XML, and in the tags of resolution.  ``NN_RES`` holds ``maskTTT.tif``
    (uint16) and ``res_track.txt``: objects that overlap in consecutive frames share a number.
    """

    def __init__(
        self, folder: Path | str, stack: Stack, frames: Sequence[int] | None = None
    ) -> None:
        self.folder = Path(folder)
        self._stack = stack
        self._expected = list(stack.frame_numbers if frames is None else frames)
        self._files: dict[str, PageWriter] = {}
        self._tracks = OverlapTracks()
        self.masks = result_folder(self.folder, stack) if stack.sequence else None
        make_folder(self.folder)
        if self.masks is not None:
            make_folder(self.masks)
            self._refuse_leftovers(self.masks)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def write(self, prediction: FramePrediction) -> None:
        """Write one frame to all files; raises `OutputError`."""
        number = prediction.number
        if self.masks is not None:
            self._write_mask(self.masks, number, prediction.instances)
        self._append("probability", np.float32, number, prediction.segmentation)
        self._append("distance", np.float32, number, prediction.distance)
        self._append("instances", np.uint16, number, prediction.instances)
        if prediction.classes is not None:
            self._append("classes", np.uint8, number, prediction.classes)

    def close(self) -> None:
        """Finish all files; raises `OutputError` for the first that could not be finished."""
        errors = []
        for file in self._files.values():
            try:
                file.close()
            except OutputError as error:
                errors.append(error)
        written = bool(self._files)
        self._files = {}
        if self.masks is not None and written:
            with replacing(self.masks / "res_track.txt") as path:
                path.write_text(self._tracks.lines(), encoding="ascii")
        if errors:
            raise errors[0]

    def _append(self, name: str, dtype: Any, number: int, frame: NDArray[Any]) -> None:
        if name not in self._files:
            axes = self._stack.axes.replace("C", "")
            path = self.folder / f"{name}.tif"
            stack = self._stack
            self._files[name] = PageWriter(
                path, dtype, axes, self._expected, stack.scale, stack.units
            )
        self._files[name].write(number, frame)

    def _write_mask(self, masks: Path, number: int, instances: NDArray[np.int32]) -> None:
        path = masks / f"mask{number:0{self._stack.digits}d}.tif"
        numbered = self._tracks.add(number, instances)
        try:
            if self._tracks.count > _MOST_TRACKS:
                raise OutputError(
                    f"{path} would need number {self._tracks.count}; CTC masks hold at most "
                    f"{_MOST_TRACKS}. Drop small objects with a larger minimum size, or predict "
                    "fewer frames."
                )
            _write_mask(path, numbered.astype(np.uint16), self._stack)
        except OutputError:
            self._tracks.undo()
            raise

    def _refuse_leftovers(self, masks: Path) -> None:
        found = {
            int(match[1]): path.name
            for path in masks.iterdir()
            if (match := re.fullmatch(r"mask(\d+)\.tif", path.name))
        }
        left = [name for number, name in sorted(found.items()) if number not in self._expected]
        if left:
            raise OutputError(
                f"{masks} holds {len(left)} masks of frames that are not predicted now, such as "
                f"{left[0]}; a result is of one prediction. Choose another output folder or delete "
                "it."
            )


def _write_mask(path: Path, mask: NDArray[np.uint16], stack: Stack) -> None:
    axes = stack.axes.replace("C", "")[1:]
    told = tiff_options(mask.shape, mask.dtype, axes, stack.scale[1:], stack.units[1:])
    with replacing(path) as partial:
        tifffile.imwrite(
            partial, mask, compression="zlib", photometric="minisblack", metadata=None, **told
        )


def result_folder(folder: Path, stack: Stack) -> Path:
    """Return where the CTC result of a stack lies within an output folder: ``folder/01_RES``."""
    return folder / f"{stack.sequence}_RES"
