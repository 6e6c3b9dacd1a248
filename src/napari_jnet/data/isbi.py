"""Volumes in one TIFF file, with a label volume beside it: ISBI-2012 and any other."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.data.names import core_name, is_label_name
from napari_jnet.data.stack import Annotation, LabelKind, Stack, known_labels
from napari_jnet.data.tiff import TIFF_SUFFIXES, TiffHeader, read_header, read_index, read_tiff

__all__ = ["ISBI_NAMES", "find_volume", "label_file", "matches", "open_volume"]

ISBI_NAMES = ("train-volume", "train-labels", "test-volume")
_ISBI_SCALE = (50.0, 4.0, 4.0)


def label_file(path: Path) -> Path | None:
    """Find the label volume beside a TIFF file by its name; None if there is none."""
    if is_label_name(path.stem):
        return None
    return _beside(path, labels=True)


def _beside(path: Path, *, labels: bool) -> Path | None:
    wanted = core_name(path.stem)
    for other in _tiffs(path.parent):
        same = other != path and core_name(other.stem) == wanted
        if same and is_label_name(other.stem) is labels:
            return other
    return None


def _tiffs(folder: Path) -> list[Path]:
    names = [n for n in os.listdir(folder) if n.lower().endswith(TIFF_SUFFIXES)]
    return [folder / name for name in sorted(names)]


def find_volume(path: Path) -> Path | None:
    """Find the image file that a path stands for; None if it is no TIFF volume.

    A TIFF file stands for itself, a label file for the image beside it; a folder for its
    train-volume.tif, or for the one image that it holds beside a label volume.
    """
    path = Path(os.path.abspath(path))
    if path.is_file():
        if path.suffix.lower() not in TIFF_SUFFIXES:
            return None
        return (_beside(path, labels=False) if is_label_name(path.stem) else None) or path
    if not path.is_dir():
        return None
    files = {p.stem.lower(): p for p in _tiffs(path)}
    for name in ("train-volume", "test-volume"):
        if name in files:
            return files[name]
    images = [p for p in files.values() if not is_label_name(p.stem)]
    return images[0] if len(images) == 1 and label_file(images[0]) else None


def matches(path: Path) -> bool:
    """Say whether the path is a TIFF file, or a folder with one volume and its labels."""
    return find_volume(path) is not None


def open_volume(path: Path, sequence: str | None = None) -> Stack:
    """Open a TIFF file as a stack; reads headers, and one plane of unnamed labels.

    Parameters
    ----------
    path
        Image or label file, or a folder, see `find_volume`.
    sequence
        Must be None: a volume has no sequences.

    Returns
    -------
    Stack
        Axes "ZYX", "TYX", "TYXC" or "TZYX", from ImageJ or OME metadata where given.  The labels
        beside it are the annotation "labels".  ``train-labels.tif`` and others that hold only 0 and
        one other value are classes: 0 = membrane or background, 1 = inside.  Other labels are
        instances.

    Raises
    ------
    ValueError
        If the file is damaged, its axes are no stack, or its labels have another size.
    """
    file = find_volume(Path(path))
    if file is None:
        raise ValueError(f"{path} is no TIFF volume; choose a .tif file.")
    if sequence is not None:
        raise ValueError(
            f"{path} has no sequences, but sequence {sequence!r} was asked for; leave it out."
        )
    header = read_header(file)
    isbi = file.stem.lower() in ISBI_NAMES
    axes, single = _stack_axes(file, header, sections=isbi)
    read = _Reader(file, single, _channel_axis(header))
    shape = _frame_shape(header, single)
    labels = label_file(file)
    size = _ISBI_SCALE if isbi else header.pixel_size
    unit = "nanometer" if isbi else header.unit
    spatial = axes.replace("C", "")
    count = 1 if single else header.shape[0]
    stack = Stack(
        name=file.stem,
        format="isbi",
        path=file,
        axes=axes,
        frame_numbers=tuple(range(count)),
        shape=shape,
        dtype=header.dtype,
        read=read,
        annotations={"labels": _labels(labels, file, header, single, axes)} if labels else {},
        scale=tuple({"T": 1.0, "Z": size[0], "Y": size[1], "X": size[2]}[a] for a in spatial),
        units=tuple("pixel" if a == "T" else unit for a in spatial),
    )
    return stack


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


def _labels(file: Path, image: Path, header: TiffHeader, single: bool, axes: str) -> Annotation:
    found = read_header(file)
    expected = tuple(n for n, a in zip(header.shape, header.axes, strict=True) if a not in "SC")
    if found.shape != expected:
        raise ValueError(
            f"{file.name} has shape {found.shape}, {image.name} has {expected}; labels cover "
            "the same pixels as their image. Check that they belong together."
        )
    raw = _Reader(file, single, None)
    count = 1 if single else found.shape[0]
    kind, divide = _meaning(file, found.dtype, lambda: raw(count // 2))

    def read(number: int) -> NDArray[np.int32]:
        stored = raw(number)
        if divide:
            stored = (stored > 0).astype(np.uint8)
        try:
            return known_labels(stored, kind)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error

    return Annotation("labels", kind, tuple(range(count)), read, path=file)


def _meaning(
    file: Path, dtype: np.dtype[Any], plane: Callable[[], NDArray[Any]]
) -> tuple[LabelKind, bool]:
    """Return the kind of labels, and whether they are two values, any above 0 meaning 1."""
    if file.stem.lower() == "train-labels" or np.issubdtype(dtype, np.bool_):
        return LabelKind.CLASSES, True
    values = np.unique(plane())
    largest = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 0
    if len(values) <= 2 and values[-1] in (0, 1, 255, largest):
        return LabelKind.CLASSES, True
    return LabelKind.INSTANCES, False
