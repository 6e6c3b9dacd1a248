"""Volumes in one TIFF file, with a label volume beside it: ISBI-2012 and any other."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.data.meaning import StoredLabels
from napari_jnet.data.names import core_name, is_label_name
from napari_jnet.data.stack import Stack
from napari_jnet.data.tiff import TIFF_SUFFIXES, TiffHeader, read_header, read_index, read_tiff

__all__ = ["ISBI_NAMES", "find_volume", "label_files", "matches", "open_volume", "volume_labels"]

ISBI_NAMES = ("train-volume", "train-labels", "test-volume")
_ISBI_SCALE = (50.0, 4.0, 4.0)


def label_files(path: Path) -> list[Path]:
    """Find the label volumes beside a TIFF file by their names."""
    if is_label_name(path.stem):
        return []
    return [p for p in _same_core(path) if is_label_name(p.stem)]


def _image_of(path: Path) -> Path | None:
    """Return the image beside a file that is called as labels are; None without one."""
    images = [p for p in _same_core(path) if not is_label_name(p.stem)]
    return images[0] if images else None


def _same_core(path: Path) -> list[Path]:
    wanted = core_name(path.stem)
    return [p for p in _tiffs(path.parent) if p != path and core_name(p.stem) == wanted]


def _tiffs(folder: Path) -> list[Path]:
    names = [n for n in os.listdir(folder) if n.lower().endswith(TIFF_SUFFIXES)]
    return [folder / name for name in sorted(names) if not name.startswith(".")]


def find_volume(path: Path) -> Path | None:
    """Find the image file that a path stands for; None if it is no TIFF volume.

    A TIFF file stands for itself, a label file for the image beside it; a folder for its
    train-volume.tif, or for the one image that it holds beside a label volume.
    """
    path = Path(os.path.abspath(path))
    if path.is_file():
        if path.suffix.lower() not in TIFF_SUFFIXES:
            return None
        return (_image_of(path) if is_label_name(path.stem) else None) or path
    if not path.is_dir():
        return None
    files = _tiffs(path)
    for name in ("train-volume", "test-volume"):
        for file in files:
            if file.stem.lower() == name:
                return file
    images = [p for p in files if not is_label_name(p.stem)]
    return images[0] if len(images) == 1 and label_files(images[0]) else None


def matches(path: Path) -> bool:
    """Say whether the path is a TIFF file, or a folder with one volume and its labels."""
    return find_volume(path) is not None


def open_volume(path: Path, sequence: str | None = None) -> Stack:
    """Open a TIFF file as a stack; reads headers, and no labels before they are asked for.

    Parameters
    ----------
    path
        Image or label file, or a folder, see `find_volume`.
    sequence
        Must be None: a volume has no sequences.

    Returns
    -------
    Stack
        Axes "ZYX", "TYX", "TYXC" or "TZYX", from ImageJ or OME metadata where given.  The label file
        beside it, or the one that `path` is, is the annotation "labels"; of several, each is an
        annotation by its file's name.
        What they mean is decided from all labels, see `napari_jnet.data.meaning`.

    Raises
    ------
    ValueError
        If the file is damaged, or its axes are no stack.

    Notes
    -----
    ``train-volume.tif`` and ``test-volume.tif`` have the sections and the pixel size of ISBI-2012
    only where they say neither, and ``train-labels.tif`` beside them holds two values.
    """
    file = find_volume(Path(path))
    if file is None:
        raise ValueError(f"{path} is not a TIFF volume; choose a .tif file.")
    if sequence is not None:
        raise ValueError(
            f"{path} has no sequences, but sequence {sequence!r} was asked for; leave it out."
        )
    header = read_header(file)
    isbi = file.stem.lower() in ISBI_NAMES and _is_isbi(file.parent, header)
    axes, single = _stack_axes(file, header, sections=isbi)
    read = _Reader(file, single, _channel_axis(header))
    shape = _frame_shape(header, single)
    given = Path(os.path.abspath(path))
    labels = [given] if given.is_file() and given != file else label_files(file)
    names = ["labels"] if len(labels) == 1 else [label.name for label in labels]
    size = _ISBI_SCALE if isbi else header.pixel_size
    unit = "nanometer" if isbi else header.unit
    spatial = axes.replace("C", "")
    count = 1 if single else header.shape[0]
    plain = shape[:-1] if axes.endswith("C") else shape
    stack = Stack(
        name=file.stem,
        format="isbi",
        path=file,
        axes=axes,
        frame_numbers=tuple(range(count)),
        shape=shape,
        dtype=header.dtype,
        read=read,
        annotations={
            name: volume_labels(name, label, plain, tuple(range(count)), file.name).annotation()
            for name, label in zip(names, labels, strict=True)
        },
        scale=tuple({"T": 1.0, "Z": size[0], "Y": size[1], "X": size[2]}[a] for a in spatial),
        units=tuple("pixel" if a == "T" else unit for a in spatial),
        candidates=True,
    )
    return stack


def _is_isbi(folder: Path, header: TiffHeader) -> bool:
    """Say whether a file that says no axes and no pixel size lies beside labels of two values."""
    if header.axes[0] not in "IQ" or header.unit != "pixel" or header.pixel_size != (1.0, 1.0, 1.0):
        return False
    labels = next((p for p in _tiffs(folder) if p.stem.lower() == "train-labels"), None)
    values: set[int] = set()
    try:
        found = read_header(labels) if labels is not None else None
        if labels is None or found is None or found.dtype.itemsize > 1:
            return False
        for index in range(found.shape[0]):
            values.update(np.unique(read_index(labels, index)).tolist())
            if len(values) > 2:
                return False
    except (ValueError, OSError):
        return False
    return len(values) == 2


def _stack_axes(file: Path, header: TiffHeader, *, sections: bool) -> tuple[str, bool]:
    """Return the axes of the stack, and whether the file is a single frame of it."""
    axes = header.axes.replace("S", "C")
    single = axes[0] not in "TZIQ"
    rest = axes if single else axes[1:]
    frame = "".join(a for a in rest if a != "C") + ("C" if "C" in rest else "")
    first = "T" if single or axes[0] in "TIQ" else "Z"
    if frame not in ("YX", "YXC", "ZYX"):
        raise ValueError(
            f"{file} has axes {header.axes} and shape {header.shape}; known are (T or Z) Y X, with "
            "channels or with T Z Y X. Save one channel, or one time point, as a file of its own."
        )
    return ("Z" if sections and not single else first) + frame, single


def _channel_axis(header: TiffHeader) -> int | None:
    found = header.axes.replace("S", "C").find("C")
    return found if 0 <= found < len(header.axes) - 1 else None


def _frame_shape(header: TiffHeader, single: bool) -> tuple[int, ...]:
    shape, channel = list(header.shape), _channel_axis(header)
    if channel is not None:
        shape.append(shape.pop(channel))
    return tuple(shape if single else shape[1:])


class _Reader:
    """Reads one frame; channels go last."""

    def __init__(self, file: Path, single: bool, channel: int | None) -> None:
        self._file = file
        self._single = single
        self._channel = channel

    def __call__(self, number: int) -> NDArray[Any]:
        frame = read_tiff(self._file) if self._single else read_index(self._file, number)
        if self._channel is None:
            return frame
        return np.moveaxis(frame, self._channel - (not self._single), -1)


def volume_labels(
    name: str, file: Path, shape: tuple[int, ...], numbers: tuple[int, ...], image: str
) -> StoredLabels:
    """Find the labels of frames in one TIFF file.

    Parameters
    ----------
    name
        Of the annotation.
    file
        TIFF file with a frame after the other, or with the only one.
    shape
        Of the labels of a frame, (H, W) or (Z, H, W).
    numbers
        Of the frames, in the order of the file.
    image
        Name of the image file, for messages.
    """

    def files() -> dict[int, Callable[[], NDArray[Any]]]:
        found = read_header(file).shape
        single = len(numbers) == 1 and found == shape
        if not single and found != (len(numbers), *shape):
            expected = shape if len(numbers) == 1 else (len(numbers), *shape)
            colour = len(found) == len(expected) + 1 and found[1:] == shape
            more = (
                f" ({image} is stored as one image in colours: save it again with the axes TYX)"
                if colour or (len(numbers) == 1 and found[1:] == shape)
                else ""
            )
            raise ValueError(
                f"{file.name} has shape {found}, {image} has {expected}{more}; labels cover "
                "the same pixels as their image. Check that they belong together."
            )
        read = _Reader(file, single, None)
        return {n: functools.partial(read, k) for k, n in enumerate(numbers)}

    return StoredLabels(name, file, files, lambda _number: file, ndim=len(shape), pages=True)
