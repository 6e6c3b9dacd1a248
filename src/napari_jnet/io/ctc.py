"""Cell Tracking Challenge datasets: sequences of TIFF frames with gold, silver and noisy ground truth.

The layout is ``DATASET/01/t000.tif`` with ``01_GT/SEG/man_seg000.tif`` (gold), ``01_ST/SEG``
(silver), ``01_ERR_SEG`` (noisy) and ``01_GT/TRA/man_track000.tif`` (markers).  Frame numbers come
from the names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.io.axes import with_axes
from napari_jnet.io.stack import Annotation, Stack
from napari_jnet.io.tiff import read_header, read_tiff
from napari_jnet.labels import UNKNOWN, LabelKind, check_covers, known_labels

DESCRIPTION = "a Cell Tracking Challenge dataset (01/t000.tif, 01_GT/SEG/man_seg000.tif)"
_Labels = Callable[[int], NDArray[np.int32]]
_Files = Mapping[
    int, Mapping[int | None, Path]
]  # frame number -> plane, None for all of it -> file
_FRAME = re.compile(r"t(\d+)\.tiff?", re.IGNORECASE)
_MASK = re.compile(r"(?:man_seg|mask|seg)(\d+)\.tiff?", re.IGNORECASE)
_SLICE = re.compile(r"man_seg_(\d+)_(\d+)\.tiff?", re.IGNORECASE)
_MARKER = re.compile(r"man_track(\d+)\.tiff?", re.IGNORECASE)
_SEQUENCE = re.compile(r"\d{2,3}")
_MASK_FOLDER = re.compile(r"(\d{2,3})_(?:GT|ST|ERR_SEG)")


def locate(path: Path) -> tuple[Path, str | None] | None:
    """Find dataset root and sequence of a folder; None if it is not a part of a CTC dataset.

    Accepts ``DATASET``, ``DATASET/01``, ``DATASET/01_GT``, ``DATASET/01_GT/SEG`` (``ST`` likewise).
    """
    path = Path(os.path.abspath(path))
    if not path.is_dir():
        return None
    if _SEQUENCE.fullmatch(path.name) and _has_frames(path):
        return path.parent, path.name
    folder = path.parent if path.name == "SEG" else path
    found = _MASK_FOLDER.fullmatch(folder.name)
    if found and _has_frames(folder.parent / found[1]):
        return folder.parent, found[1]
    return (path, None) if sequences(path) else None


def matches(path: Path) -> bool:
    """Whether the folder is a CTC dataset, one of its sequences, or one of its SEG folders."""
    return locate(path) is not None


def sequences(root: Path) -> tuple[str, ...]:
    """List the sequences of a dataset root, such as ("01", "02")."""
    return tuple(name for name in _names(root, _SEQUENCE) if _has_frames(root / name))


def _names(folder: Path, pattern: re.Pattern[str]) -> list[str]:
    """Return the matching names in a folder, sorted; none where it cannot be listed."""
    try:
        return sorted(name for name in os.listdir(folder) if pattern.fullmatch(name))
    except OSError:
        return []


def _has_frames(folder: Path) -> bool:
    return bool(_names(folder, _FRAME))


def _numbered(folder: Path, pattern: re.Pattern[str]) -> dict[int, Path]:
    """Return the files of a folder by the number in their name, ascending."""
    files: dict[int, Path] = {}
    for name in _names(folder, pattern):
        number = int(re.findall(r"\d+", name)[0])
        if number in files:
            raise ValueError(
                f"{folder} has {files[number].name} and {name} for the same frame {number}; "
                "keep one of them."
            )
        files[number] = folder / name
    return dict(sorted(files.items()))


def open_stack(
    path: Path,
    sequence: str | None = None,
    *,
    axes: str | None = None,
    series: int | None = None,
) -> Stack:
    """Open one sequence of a dataset, see `locate`; reads one TIFF header and no pixels.

    The axes are "TYX", or "TZYX" for volumes; the annotations "gold", "silver" and "noisy" where they exist.
    Ground truth is read on first use; files without a frame, or two of one frame, are refused then.  A
    sequence of None takes the one that `path` names, else the first with gold masks, else the first.
    """
    found = locate(path)
    assert found is not None  # the path matches
    root, named = found
    name, known = sequence or named, sequences(root)
    if name is None:
        name = next((s for s in known if (root / f"{s}_GT" / "SEG").is_dir()), known[0])
    if name not in known:
        raise ValueError(f"{root} has no sequence {name!r}; its sequences are {', '.join(known)}.")
    frames = _numbered(root / name, _FRAME)
    first = frames[min(frames)]
    header = read_header(first)
    shape = header.shape
    stored = {2: "TYX", 3: "TZYX"}.get(len(shape))
    if stored is None or header.axes.endswith("S"):
        raise ValueError(
            f"{first} has shape {shape} ({header.axes}); frames of a sequence are grey, "
            "(Y, X) or (Z, Y, X). Open colour images as a folder of images."
        )

    def read(number: int) -> NDArray[Any]:
        frame = read_tiff(frames[number])
        if frame.shape != shape:
            raise ValueError(
                f"{frames[number]} has shape {frame.shape}, {first.name} has {shape}; "
                "all frames of a sequence have one shape. Put the others into another sequence."
            )
        return frame

    folders = {
        "gold": root / f"{name}_GT" / "SEG",
        "silver": root / f"{name}_ST" / "SEG",
        "noisy": root / f"{name}_ERR_SEG",
    }
    annotations = {
        source: _ground_truth(source, folder, partial(_masks, folder, frames, shape), shape)
        for source, folder in folders.items()
        if _names(folder, _MASK) or _names(folder, _SLICE)
    }
    steps = [header.step(axis) for axis in stored[1:]]
    stack = Stack(
        name=f"{root.name} {name}",
        format="ctc",
        path=root,
        axes=stored,
        frame_numbers=tuple(frames),
        shape=shape,
        dtype=header.dtype,
        read=read,
        annotations=annotations,
        scale=(1.0, *(size for size, _ in steps)),
        units=("pixel", *(unit for _, unit in steps)),
        digits=len(first.stem) - 1,  # t000
        sequence=name,
    )
    return with_axes(path, stack, axes, series)


def markers(stack: Stack) -> Annotation | None:
    """Return the TRA markers of a CTC stack, for DET and TRA; None if there are none.

    They are not in ``stack.annotations``: a marker is not the outline of a cell.
    """
    if stack.format != "ctc" or stack.path is None:
        return None
    folder = stack.path / f"{stack.sequence}_GT" / "TRA"
    files: dict[int, dict[int | None, Path]] = {
        number: {None: path} for number, path in _numbered(folder, _MARKER).items()
    }
    return _ground_truth("markers", folder, lambda: files, stack.shape) if files else None


def _masks(folder: Path, frames: Mapping[int, Path], shape: tuple[int, ...]) -> _Files:
    """Find the masks of frames, and of planes of volumes where a frame has no mask of all of them."""
    found: dict[int, dict[int | None, Path]] = {
        number: {None: path} for number, path in _numbered(folder, _MASK).items()
    }
    for name in _names(folder, _SLICE):
        number, plane = (int(digits) for digits in re.findall(r"\d+", name)[:2])
        count = shape[0] if len(shape) == 3 else 0
        if plane >= count:
            raise ValueError(
                f"{folder / name} annotates plane {plane}, but frames have {count} planes; "
                "planes count from 0. Check that the ground truth belongs to this sequence."
            )
        planes = found.setdefault(number, {})
        if None not in planes and planes.setdefault(plane, folder / name).name != name:
            raise ValueError(
                f"{folder} has {planes[plane].name} and {name} for the same plane {plane} of frame {number}; "
                "keep one of them."
            )
    extra = [number for number in found if number not in frames]
    if extra:
        first, name = next(iter(frames.values())), next(iter(found[extra[0]].values())).name
        raise ValueError(
            f"{folder.relative_to(first.parent.parent)} has {name} but {first.parent.name} has no frame "
            f"{extra[0]}; every file of the ground truth belongs to a frame. Restore the frame, or move that "
            "file away."
        )
    return dict(sorted(found.items()))


def _read_labels(path: Path, shape: tuple[int, ...]) -> NDArray[np.int32]:
    labels = read_tiff(path)
    if labels.min(initial=0) < 0:
        raise ValueError(
            f"{path} holds {labels.min()}; ground truth of a Cell Tracking Challenge dataset is 0 or "
            "more. Save background as 0, or open it with --truth FOLDER."
        )
    check_covers(labels.shape, shape, path)
    try:
        return known_labels(labels, LabelKind.INSTANCES)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _ground_truth(
    name: str,
    folder: Path,
    find: Callable[[], _Files],
    shape: tuple[int, ...],
    kind: LabelKind | None = None,
    unlabelled: str | None = None,
) -> Annotation:
    """Return ground truth as the user specifies it; gold may have only some of the cells of a frame."""
    if kind not in (None, LabelKind.INSTANCES):
        raise ValueError(
            f"{folder} was given the kind {kind}, but ground truth of a Cell Tracking Challenge "
            "dataset is instances. Omit --kind, or choose other labels with --truth FILE."
        )
    files = cache(find)

    @cache
    def by_plane() -> frozenset[int]:
        return frozenset(number for number, planes in files().items() if None not in planes)

    def stored(number: int) -> NDArray[np.int32]:
        planes = files()[number]
        if None in planes:
            return _read_labels(planes[None], shape)
        volume = np.full(shape, UNKNOWN, np.int32)
        for plane, path in planes.items():
            volume[plane] = _read_labels(path, shape[1:])
        return volume

    rule: Callable[[int], bool] | None = None
    if name == "gold" and unlabelled is None:
        rule = _partial_rule(folder, stored, cache(lambda: frozenset(files()) - by_plane()), shape)
    complete = rule is None and unlabelled != "unknown"

    def is_partial(number: int) -> bool:
        return not complete if rule is None else rule(number)

    @cache
    def is_empty(number: int) -> bool:
        return not (stored(number) > 0).any()

    def is_ignored(number: int) -> bool:
        return not complete and is_empty(number) and is_partial(number)

    def read(number: int) -> NDArray[np.int32]:
        return known_labels(stored(number), LabelKind.INSTANCES, partial=is_partial(number))

    return Annotation(
        name,
        LabelKind.INSTANCES,
        lambda: tuple(n for n in files() if not is_ignored(n)),
        read,
        partial=lambda: frozenset(n for n in files() if is_partial(n) and not is_empty(n)),
        path=folder,
        empty=lambda: frozenset(n for n in files() if is_empty(n) and not is_partial(n)),
        ignored=lambda: tuple(n for n in files() if is_ignored(n)),
        decide=partial(_ground_truth, name, folder, files, shape),
        by_plane=by_plane,
    )


def _partial_rule(
    folder: Path, gold: _Labels, whole: Callable[[], frozenset[int]], shape: tuple[int, ...]
) -> Callable[[int], bool]:
    """Return the function that decides whether a gold frame is partial; the challenge does not mark them.

    `gold` reads the ground truth as stored; `whole` are the frames where it covers the whole frame or
    volume (not single planes).

    A frame is partial if less than 90 % of its TRA markers, which are set by hand, lie under a gold
    object; without markers, if less than 70 % of the silver objects, which are computed, do;
    if these have no object, it is complete.  Where neither has the frame, it is partial if it is
    empty, or has fewer than half of the median count of objects of the gold frames with any: its other
    pixels are then unknown, which is safe, and not background, which may be wrong.
    """

    @cache
    def references() -> list[tuple[dict[int, Path], float]]:
        sequence = folder.parent.name.removesuffix("_GT")
        silver = folder.parent.parent / f"{sequence}_ST" / "SEG"
        return [
            (_numbered(folder.parent / "TRA", _MARKER), 0.9),
            (_numbered(silver, _MASK), 0.7),
        ]

    @cache
    def counts() -> dict[int, int]:
        found = {n: _count(gold(n)) for n in whole()}
        return {n: count for n, count in found.items() if count}

    @cache
    def usual() -> float:
        return float(np.median(list(counts().values())))

    @cache
    def is_partial(number: int) -> bool:
        compared = [(files[number], least) for files, least in references() if number in files]
        labels = gold(number)
        for file, least in compared:
            part = _covered_fraction(_read_labels(file, shape), labels)
            if part is not None:
                return part < least
        if compared or number not in whole():
            return False
        if not (labels > 0).any():
            return True
        if len(whole()) < 3:
            return False
        return 2 * counts()[number] < usual()

    return is_partial


def _count(labels: NDArray[np.int32]) -> int:
    return int(np.unique(labels[labels > 0]).size)


def _covered_fraction(reference: NDArray[np.int32], gold: NDArray[np.int32]) -> float | None:
    """Return which part of the reference objects is covered by more than half by gold objects.

    Unknown pixels are skipped.  None without any object.
    """
    known = gold >= 0
    total = np.bincount(reference[known & (reference > 0)])
    under = np.bincount(reference[(gold > 0) & (reference > 0)], minlength=total.size)
    objects = total > 0
    if not objects.any():
        return None
    return float(np.mean(2 * under[objects] > total[objects]))
