"""Volumes in one TIFF file, with a label volume beside it: ISBI-2012 and any other."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from napari_jnet.io.axes import Arrangement, arrange, check_axes
from napari_jnet.io.folder import core_name, image_files, label_word
from napari_jnet.io.meaning import StoredLabels
from napari_jnet.io.stack import Stack
from napari_jnet.io.tiff import TIFF_SUFFIXES, TiffHeader, read_header, read_part, read_tiff

DESCRIPTION = "a TIFF volume, alone or with labels beside it (train-volume.tif, train-labels.tif)"
_ISBI_NAMES = ("train-volume", "train-labels", "test-volume")


def _stem(path: Path) -> str:
    """Return the name of a file without .tif, and without the .ome before that."""
    return re.sub(r"\.ome$", "", path.stem, flags=re.IGNORECASE)


def _is_label(path: Path) -> bool:
    return label_word(_stem(path)) != ""


def _tiffs(folder: Path) -> list[Path]:
    return [path for path in image_files(folder) if path.suffix.lower() in TIFF_SUFFIXES]


def _counterparts(path: Path) -> list[Path]:
    """Return the label files of the same name beside an image, or the images beside a label file."""
    core, is_label = core_name(_stem(path)), _is_label(path)
    found = [p for p in _tiffs(path.parent) if core_name(_stem(p)) == core]
    return [p for p in found if _is_label(p) is not is_label]


def find_volume(path: Path) -> Path | None:
    """Find the image file that a path stands for; None if it is not a TIFF volume.

    A TIFF file stands for itself, a label file for the image beside it; a folder for its
    train-volume.tif, or for the one image that it holds beside a label volume.
    """
    path = Path(os.path.abspath(path))
    if path.is_file() and path.suffix.lower() in TIFF_SUFFIXES:
        images = _counterparts(path) if _is_label(path) else []
        return images[0] if images else path
    if not path.is_dir():
        return None
    files = _tiffs(path)
    for name in ("train-volume", "test-volume"):
        for file in files:
            if file.stem.lower() == name:
                return file
    images = [p for p in files if not _is_label(p)]
    return images[0] if len(images) == 1 and _counterparts(images[0]) else None


def matches(path: Path) -> bool:
    """Whether the path is a TIFF file, or a folder with one volume and its labels."""
    return find_volume(path) is not None


def open_stack(
    path: Path,
    sequence: str | None = None,
    *,
    axes: str | None = None,
    series: int | None = None,
) -> Stack:
    """Open a TIFF file as a stack; reads headers, and labels on first use; see `napari_jnet.open_stack`.

    Axes are those of ImageJ's or OME's metadata.  The label file beside it, or the one that `path` is, is
    the annotation "labels"; of several, each is an annotation by its file's name.  The volumes of ISBI-2012,
    which state no axes, have sections.
    """
    file = find_volume(path)
    assert file is not None  # the path matches
    if sequence is not None:
        raise ValueError(
            f"{path} has no sequences, but sequence {sequence!r} was requested; omit it."
        )
    header = read_header(file, series=series, multifile=True)
    stored = header.axes if axes is None else check_axes(axes, header.shape, str(file))
    isbi = file.stem.lower() in _ISBI_NAMES and header.axes[0] in "IQ" and not header.steps
    if isbi and axes is None:
        stored = f"Z{stored[1:]}"
    found = arrange(stored, header.shape, str(file))
    numbers = (0,) if found.along is None else header.present(found.along)
    if not numbers:
        raise ValueError(
            f"The header of {file} lists {found.count} frames, but the file has none. Export it again."
        )
    steps = [header.step(axis) for axis in found.axes.replace("C", "")]
    given = Path(os.path.abspath(path))
    labels = [given] if given.is_file() and given != file else _counterparts(file)
    names = ["labels"] if len(labels) == 1 else [label.name for label in labels]
    # Labels of a single image are those of the first one.
    image = None if len(header.images) == 1 else series or 1
    return Stack(
        name=file.stem,
        format="volume",
        path=file,
        axes=found.axes,
        frame_numbers=numbers,
        shape=found.shape,
        dtype=header.dtype,
        read=found.reader(
            partial(read_tiff, file, series=series, multifile=True),
            partial(read_part, file, series=series, multifile=True),
        ),
        annotations={
            name: volume_labels(
                name, label, found.plain, numbers, file.name, stored=found, series=image
            ).annotation()
            for name, label in zip(names, labels, strict=True)
        },
        scale=tuple(size for size, _ in steps),
        units=tuple(unit for _, unit in steps),
        candidates=True,
        given_axes="" if axes is None else stored,
        series=series,
        notes=_notes(file, header, series, found.count - len(numbers)),
    )


def _notes(file: Path, header: TiffHeader, series: int | None, lost: int) -> tuple[str, ...]:
    notes = []
    if series is None and len(header.images) > 1:
        notes.append(
            f"{file.name} holds {len(header.images)} images; this is 1 of {len(header.images)}. "
            "Choose another one by its number with --series."
        )
    if lost:
        notes.append(
            f"The header of {file.name} lists frames of which planes are missing in the file: {lost} skipped."
        )
    return tuple(notes)


def volume_labels(
    name: str,
    file: Path,
    shape: tuple[int, ...],
    numbers: tuple[int, ...],
    image: str,
    *,
    stored: Arrangement | None = None,
    series: int | None = None,
) -> StoredLabels:
    """Return the labels of frames in one TIFF file: with a frame after the other, or with the only one.

    `shape` is that of the labels of a frame, (H, W) or (Z, H, W), `numbers` those of the frames, in the order
    of the file, and `image` the name of their file.  Where the image is `stored` in one file, its labels have
    the same order of axes; `series` is its number there if the file holds several.
    """

    def find() -> dict[int, Callable[[], NDArray[Any]]]:
        header = read_header(file, series=1)
        several = len(header.images) > 1
        if several and series is not None:
            header = read_header(file, series=series)
        elif stored is not None and series not in (None, 1):
            raise ValueError(
                f"{file.name} holds the labels of one image, {image} several, of which image {series} "
                "was requested; the labels may be of another one. Choose its labels with --truth FILE."
            )
        whole = partial(read_tiff, file, series=series if several else None)
        part = partial(read_part, file, series=series if several else None)
        found = header.shape
        if stored is not None and found == stored.spatial_shape:
            read = arrange(stored.spatial, found, file.name).reader(whole, part)
            return {n: partial(read, n) for n in numbers}
        if found[-1] == 3 and len(found) > len(shape) and header.axes[-1] in "SC":
            found = found[:-1]  # labels in colours
        if len(numbers) == 1 and found == shape:
            return {numbers[0]: whole}
        if found == (len(numbers), *shape):
            return {n: partial(part, 0, k) for k, n in enumerate(numbers)}
        expected = shape if len(numbers) == 1 else (len(numbers), *shape)
        raise ValueError(
            f"{file.name} has shape {found}, {image} has {expected}; labels cover the same pixels as their "
            "image. Check that they belong together; where frames are stored as the colours of one image, "
            "use --axes TYX."
        )

    return StoredLabels(name, file, find, lambda _number: file, ndim=len(shape), pages=True)
