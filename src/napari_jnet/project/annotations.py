"""Annotations of a project: one TIFF a frame."""

from __future__ import annotations

import io
import math
import os
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_jnet.files import check_memory, check_no_link, quarantine, remove_file, write_file
from napari_jnet.io.stack import frame_label
from napari_jnet.io.tiff import read_tiff, tiff_options
from napari_jnet.labels import UNKNOWN
from napari_jnet.project.source import StackReference

ANNOTATIONS = "annotations"
_NAME = re.compile(r"[a-z](\d+)\.tif")
_LEVEL = 1  # of zlib: labels shrink a hundredfold at any level, and this is the fastest


class AnnotationStore:
    """The folder ``annotations``: ``t002.tif`` for frame 2, int32."""

    def __init__(self, project: Path, stack: StackReference) -> None:
        self.folder = project / ANNOTATIONS
        self._stack = stack

    @property
    def numbers(self) -> tuple[int, ...]:
        """Frames that have a file, ascending."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return ()
        matches = {name: int(match[1]) for name in names if (match := _NAME.fullmatch(name))}
        known = set(self._stack.frame_numbers)
        found = (n for name, n in matches.items() if n in known and name == self._name(n))
        return tuple(sorted(found))

    def path(self, number: int) -> Path:
        """Return the file of a frame, which may not exist; raises `ValueError` for unknown frames."""
        numbers = self._stack.frame_numbers
        if number not in numbers:
            raise ValueError(
                f"{self._stack.name} has no frame {number}; its {len(numbers)} frames run from "
                f"{numbers[0]} to {numbers[-1]}."
            )
        return self.folder / self._name(number)

    def _name(self, number: int) -> str:
        return f"{frame_label(self._stack.axes, number, self._stack.digits)}.tif"

    def write(self, number: int, labels: NDArray[Any], *, empty: bool = False) -> None:
        """Write a frame atomically; zeros only remove its file, unless it is `empty`.

        A damaged file in its place is renamed to ``t002.tif.damaged``.

        Raises
        ------
        ValueError
            If the labels are not integers of the frame's size, `UNKNOWN` or larger.
        OSError
            If it cannot be written; the frame saved before stays.
        """
        path = self.path(number)
        check_no_link(self.folder)
        painted = self._checked(number, np.asarray(labels))
        if self.damage(number):
            quarantine(path)
        if not (empty or painted.any()):
            remove_file(path)
            return
        if self.folder.parent.is_dir():
            self.folder.mkdir(exist_ok=True)
        write_file(path, _encoded(painted, self._stack))

    def read(self, number: int) -> NDArray[np.int32]:
        """Read a frame as painted; zeros where it has no file.

        Raises
        ------
        ValueError
            If the file is damaged or of another stack.
        """
        path, shape = self.path(number), self._stack.spatial
        if not path.is_file():
            check_memory(self.folder.parent, 4 * math.prod(shape))
            return np.zeros(shape, np.int32)
        try:
            stored = read_tiff(path)
        except ValueError as error:
            raise ValueError(
                f"{path} is damaged, so frame {number} cannot be shown as painted. Put back a copy of "
                f"the file, or paint the frame again: the file is then renamed to {path.name}.damaged. "
                "Other frames are not affected."
            ) from error
        # A stack of one section or one row loses that axis in some programs.
        if stored.shape != shape and stored.size == np.prod(shape):
            stored = stored.reshape(shape)
        if stored.shape != shape or not np.issubdtype(stored.dtype, np.integer):
            raise ValueError(
                f"{path} holds {stored.dtype} of shape {stored.shape}, the frames of this stack are "
                f"painted as integers of shape {shape}. Move the file away, or into its own project."
            )
        return stored.astype(np.int32)

    def damage(self, number: int) -> str:
        """Return why a frame cannot be read; "" if it can, or has no file."""
        try:
            self.read(number)
        except (ValueError, OSError) as error:
            return str(error)
        return ""

    def saved_at(self, number: int) -> datetime | None:
        """Return when a frame was saved last, local time; None if it has no file."""
        try:
            return datetime.fromtimestamp(self.path(number).stat().st_mtime).astimezone()
        except FileNotFoundError:
            return None

    def _checked(self, number: int, labels: NDArray[Any]) -> NDArray[np.int32]:
        shape = self._stack.spatial
        if labels.shape != shape:
            raise ValueError(
                f"The labels of frame {number} have shape {labels.shape}, frames of {self._stack.name} "
                f"{shape}; both must cover the same pixels. Annotate a layer made for this image."
            )
        if not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(
                f"The labels of frame {number} are {labels.dtype}; labels are integers. Convert the "
                "layer to labels."
            )
        low, high = int(labels.min()), int(labels.max())
        if low < UNKNOWN or high > np.iinfo(np.int32).max:
            raise ValueError(
                f"The labels of frame {number} run from {low} to {high}; labels are {UNKNOWN} (unknown) "
                f"to {np.iinfo(np.int32).max}. Repaint these pixels."
            )
        return labels.astype(np.int32, copy=False)


def _encoded(labels: NDArray[np.int32], stack: StackReference) -> bytes:
    axes = stack.axes.replace("C", "")[1:]
    options = tiff_options(labels.shape, labels.dtype, axes, stack.scale[1:], stack.units[1:])
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        labels,
        photometric="minisblack",
        compression="zlib",
        compressionargs={"level": _LEVEL},
        rowsperstrip=labels.shape[-2],
        metadata=None,
        **options,
    )
    return buffer.getvalue()
