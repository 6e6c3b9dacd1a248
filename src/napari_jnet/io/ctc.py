"""Cell Tracking Challenge datasets: sequences of TIFF frames with gold, silver and noisy truth.

The layout is ``DATASET/01/t000.tif`` with ``01_GT/SEG/man_seg000.tif`` (gold), ``01_ST/SEG``
(silver), ``01_ERR_SEG`` (noisy) and ``01_GT/TRA/man_track000.tif`` (markers).  Frame numbers come
from the names.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.io.meaning import UNLABELLED, check_unlabelled
from napari_jnet.io.stack import Annotation, LabelsUnsure, Stack
from napari_jnet.io.tiff import TiffHeader, read_header, read_tiff
from napari_jnet.labels import UNKNOWN, LabelKind, known_labels

_Labels = Callable[[int], NDArray[np.int32]]


def covered_fraction(reference: NDArray[np.int32], gold: NDArray[np.int32]) -> float | None:
    """Return which part of the reference objects lies under gold objects.

    Parameters
    ----------
    reference
        Markers or silver truth of the frame; 0 = background.
    gold
        Gold truth, same shape; pixels below 0 are not annotated and left out.

    Returns
    -------
    float or None
        0 to 1; an object counts if gold covers more than half of it.  None without any object.
    """
    known = gold >= 0
    total = np.bincount(reference[known & (reference > 0)])
    under = np.bincount(reference[(gold > 0) & (reference > 0)], minlength=total.size)
    objects = total > 0
    if not objects.any():
        return None
    return float(np.mean(2 * under[objects] > total[objects]))


@dataclass(frozen=True, eq=False)
class Reference:
    """What tells the cells of some frames; complete gold truth covers `least` of them or more."""

    frame_numbers: frozenset[int]
    read: _Labels
    least: float


@dataclass(frozen=True, eq=False)
class PartialRule:
    """Decides whether a gold frame is partial.

    Attributes
    ----------
    gold
        Frame number -> gold truth as stored.
    whole
        Frames whose truth covers the whole frame or volume (not single planes).
    references
        The most trusted first: the TRA markers, set by hand, then the silver truth, computed.

    Notes
    -----
    A frame is partial if less than ``least`` of the reference's objects lie under a gold object; where
    the reference has none, it is complete.  Where no reference has the frame, it is partial if it is
    empty, or has fewer than half of the median count of objects of the gold frames with any: its other pixels
    are then unknown, which is safe, and not background, which may be wrong.  The challenge itself does
    not mark such frames.
    """

    gold: _Labels
    whole: frozenset[int]
    references: tuple[Reference, ...]
    frame_numbers: tuple[int, ...]
    _decided: dict[int, bool] = field(default_factory=dict)

    def __call__(self, number: int, labels: NDArray[np.int32] | None = None) -> bool:
        """Say whether the frame is partial; `labels` spares reading the gold truth once more."""
        if number not in self._decided:
            self._decided[number] = self._decide(number, labels)
        return self._decided[number]

    def _decide(self, number: int, labels: NDArray[np.int32] | None) -> bool:
        if labels is None:
            labels = self.gold(number)
        referred = [r for r in self.references if number in r.frame_numbers]
        for reference in referred:
            part = covered_fraction(reference.read(number), labels)
            if part is not None:
                return part < reference.least
        if referred or number not in self.whole:
            return False
        if not (labels > 0).any():
            return True
        if len(self.whole) < 3:
            return False
        return 2 * self._counts[number] < float(np.median(list(self._counts.values())))

    @cached_property
    def _counts(self) -> dict[int, int]:
        counts = {n: _count(self.gold(n)) for n in self.whole}
        return {n: count for n, count in counts.items() if count}


def _count(labels: NDArray[np.int32]) -> int:
    return int(np.unique(labels[labels > 0]).size)


_FRAME = re.compile(r"t(\d+)\.tiff?", re.IGNORECASE)


_TRUTH = re.compile(r"(?:man_seg|mask|seg)(\d+)\.tiff?", re.IGNORECASE)


_SLICE = re.compile(r"man_seg_(\d+)_(\d+)\.tiff?", re.IGNORECASE)


_MARKER = re.compile(r"man_track(\d+)\.tiff?", re.IGNORECASE)


_SEQUENCE = re.compile(r"\d{2,3}")


_TRUTH_FOLDER = re.compile(r"(\d{2,3})_(?:GT|ST|ERR_SEG)")


def locate(path: Path) -> tuple[Path, str | None] | None:
    """Find dataset root and sequence of a folder; None if it is no part of a CTC dataset.

    Accepts ``DATASET``, ``DATASET/01``, ``DATASET/01_GT``, ``DATASET/01_GT/SEG`` (``ST`` likewise).
    """
    path = Path(os.path.abspath(path))
    if not path.is_dir():
        return None
    if _SEQUENCE.fullmatch(path.name) and _has_frames(path):
        return path.parent, path.name
    folder = path.parent if path.name == "SEG" else path
    truth = _TRUTH_FOLDER.fullmatch(folder.name)
    if truth and _has_frames(folder.parent / truth[1]):
        return folder.parent, truth[1]
    return (path, None) if sequences(path) else None


def matches(path: Path) -> bool:
    """Say whether the folder is a CTC dataset, one of its sequences, or one of its SEG folders."""
    return locate(path) is not None


def sequences(root: Path) -> tuple[str, ...]:
    """List the sequences of a dataset root, such as ("01", "02")."""
    try:
        with os.scandir(root) as entries:
            names = [e.name for e in entries if _SEQUENCE.fullmatch(e.name)]
    except OSError:
        return ()
    return tuple(sorted(name for name in names if _has_frames(root / name)))


def open_sequence(path: Path, sequence: str | None = None) -> Stack:
    """Open one sequence of a dataset; reads one TIFF header and no pixels.

    Parameters
    ----------
    path
        Dataset root, sequence folder or SEG folder.
    sequence
        "01", "02", ...; None takes the one that `path` names, else the first with gold truth, else
        the first.

    Returns
    -------
    Stack
        Axes "TYX", or "TZYX" for volumes; annotations "gold", "silver", "noisy" where they exist.
        Which gold frames are partial is decided when it is first asked for, see `PartialRule`.

    Raises
    ------
    ValueError
        If this is no CTC dataset, or the sequence does not exist.  Truth is looked at when it is asked
        for: files without a frame, or two of the same frame, are refused then.
    """
    found = locate(Path(path))
    if found is None:
        raise ValueError(
            f"{path} is no Cell Tracking Challenge dataset; it needs a folder such as 01 "
            "with frames t000.tif, t001.tif, ..."
        )
    root, named = found
    name = _choose(root, sequence or named)
    frames = _numbered(root / name, _FRAME)
    first = frames[min(frames)]
    header = read_header(first)
    axes = {2: "TYX", 3: "TZYX"}.get(len(header.shape))
    if axes is None or header.axes.endswith("S"):
        raise ValueError(
            f"{first} has shape {header.shape} ({header.axes}); frames of a sequence are grey, "
            "(Y, X) or (Z, Y, X). Open colour images as a folder of images."
        )
    steps = [header.step(axis) for axis in axes[1:]]
    return Stack(
        name=f"{root.name} {name}",
        format="ctc",
        path=root,
        axes=axes,
        frame_numbers=tuple(frames),
        shape=header.shape,
        dtype=header.dtype,
        read=_frame_reader(frames, header, first),
        annotations=_annotations(root, name, frames, header.shape),
        scale=(1.0, *(size for size, _ in steps)),
        units=("pixel", *(unit for _, unit in steps)),
        digits=_digits(first),
        sequence=name,
    )


def markers(stack: Stack) -> Annotation | None:
    """Return the TRA markers of a CTC stack, for DET and TRA; None if there are none.

    They are kept apart from ``stack.annotations``: a marker is not the outline of a cell.
    """
    if stack.format != "ctc" or stack.path is None:
        return None
    folder = stack.path / f"{stack.sequence}_GT" / "TRA"
    files = _numbered(folder, _MARKER)
    return _truth("markers", folder, lambda: files, stack.shape) if files else None


def _choose(root: Path, sequence: str | None) -> str:
    known = sequences(root)
    if sequence is None:
        return next((s for s in known if (root / f"{s}_GT" / "SEG").is_dir()), known[0])
    if sequence not in known:
        raise ValueError(
            f"{root} has no sequence {sequence!r}; its sequences are {', '.join(known)}."
        )
    return sequence


def _has_frames(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(_FRAME.fullmatch(entry.name) for entry in entries)
    except OSError:
        return False


def _digits(path: Path) -> int:
    match = _FRAME.fullmatch(path.name)
    return len(match[1]) if match else 3


def _numbered(folder: Path, pattern: re.Pattern[str]) -> dict[int, Path]:
    """Files of a folder by the number in their name, ascending; empty if there is no folder."""
    files: dict[int, Path] = {}
    if not folder.is_dir():
        return files
    for name in sorted(os.listdir(folder)):
        match = pattern.fullmatch(name)
        if not match:
            continue
        number = int(match[1])
        if number in files:
            raise ValueError(
                f"{folder} has {files[number].name} and {name} for the same frame {number}; "
                "keep one of them."
            )
        files[number] = folder / name
    return dict(sorted(files.items()))


def _frame_reader(
    frames: Mapping[int, Path], header: TiffHeader, first: Path
) -> Callable[[int], NDArray[Any]]:
    def read(number: int) -> NDArray[Any]:
        frame = read_tiff(frames[number])
        if frame.shape != header.shape:
            raise ValueError(
                f"{frames[number]} has shape {frame.shape}, {first.name} has {header.shape}; "
                "all frames of a sequence have one shape. Put the others into another sequence."
            )
        return frame

    return read


def _annotations(
    root: Path, name: str, frames: Mapping[int, Path], shape: tuple[int, ...]
) -> dict[str, Annotation]:
    made: dict[str, Annotation] = {}
    folder = root / f"{name}_GT" / "SEG"
    if _holds(folder, _TRUTH) or _holds(folder, _SLICE):
        made["gold"] = _gold(root, name, frames, shape)
    folders = {"silver": root / f"{name}_ST" / "SEG", "noisy": root / f"{name}_ERR_SEG"}
    for kind, folder in folders.items():
        if _holds(folder, _TRUTH):
            files = functools.partial(_checked, folder, frames)
            made[kind] = _truth(kind, folder, files, shape)
    return made


def _holds(folder: Path, pattern: re.Pattern[str]) -> bool:
    return os.path.isdir(folder) and any(pattern.fullmatch(name) for name in os.listdir(folder))


def _checked(folder: Path, frames: Mapping[int, Path]) -> dict[int, Path]:
    files = _numbered(folder, _TRUTH)
    _check_extra(folder, files, frames)
    return files


def _check_extra(folder: Path, files: Mapping[int, Path], frames: Mapping[int, Path]) -> None:
    extra = [number for number in files if number not in frames]
    if not extra:
        return
    first = next(iter(frames.values()))
    lost = f"t{extra[0]:0{_digits(first)}d}.tif"
    more = f" (and {len(extra) - 1} more)" if len(extra) > 1 else ""
    inside = folder.relative_to(first.parent.parent)
    raise ValueError(
        f"{inside} has {files[extra[0]].name}{more} but {first.parent.name} has no {lost}; "
        "every truth file belongs to a frame. Restore the frame, or move the truth file away."
    )


def _read_labels(path: Path, shape: tuple[int, ...]) -> NDArray[np.int32]:
    labels = read_tiff(path, indices=True)
    if labels.shape != shape:
        raise ValueError(
            f"{path} has shape {labels.shape}, its frame has {shape}; both must cover the same "
            "pixels. Check that the truth belongs to this sequence."
        )
    try:
        return known_labels(labels, LabelKind.INSTANCES)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _truth(
    name: str,
    folder: Path,
    files: Callable[[], Mapping[int, Path]],
    shape: tuple[int, ...],
) -> Annotation:
    """Truth of a file a frame, complete unless somebody says otherwise."""
    known = functools.cache(files)

    def read(number: int) -> NDArray[np.int32]:
        return _read_labels(known()[number], shape)

    return _said(name, folder, lambda: tuple(known()), read)


def _said(
    name: str,
    folder: Path,
    numbers: Callable[[], tuple[int, ...]],
    read: Callable[[int], NDArray[np.int32]],
    rule: Callable[[], PartialRule] | None = None,
    kind: LabelKind | None = None,
    unlabelled: str | None = None,
    by_plane: Callable[[], frozenset[int]] = frozenset,
) -> Annotation:
    """Truth with what somebody says of it; `rule` tells which frames are partial where nobody does."""
    check_unlabelled(unlabelled)
    if kind not in (None, LabelKind.INSTANCES):
        raise ValueError(
            f"The kind of {folder} was said to be {kind}, but truth of a Cell Tracking Challenge dataset "
            "is instances. Leave --kind out, or give other labels with --truth FILE."
        )

    @functools.cache
    def empty(number: int) -> bool:
        return not (read(number) > 0).any()

    def is_partial(number: int, labels: NDArray[np.int32] | None = None) -> bool:
        if unlabelled is not None:
            return unlabelled == "unknown"
        return rule is not None and rule()(number, labels)

    def is_ignored(number: int) -> bool:
        return empty(number) and is_partial(number)  # the first reads less

    def known(number: int) -> NDArray[np.int32]:
        labels = read(number)
        seen = labels[(labels != UNKNOWN).any(axis=(-2, -1))] if labels.ndim == 3 else labels
        if (seen == UNKNOWN).any() and not (seen == 0).any():
            if unlabelled is None:
                raise LabelsUnsure(
                    f"{folder} holds -1 but no 0 in frame {number}: -1 may be background or unknown.",
                    "Say which: --unlabelled background or --unlabelled unknown.",
                    "unlabelled",
                    UNLABELLED,
                )
            if unlabelled == "background":
                labels = np.maximum(labels, 0)
        return known_labels(labels, LabelKind.INSTANCES, partial=is_partial(number, labels))

    complete = rule is None and unlabelled != "unknown"
    return Annotation(
        name,
        LabelKind.INSTANCES,
        numbers if complete else lambda: tuple(n for n in numbers() if not is_ignored(n)),
        known,
        partial=lambda: frozenset(n for n in numbers() if is_partial(n) and not empty(n)),
        path=folder,
        empty=lambda: frozenset(n for n in numbers() if empty(n) and not is_partial(n)),
        ignored=lambda: tuple(n for n in numbers() if is_ignored(n)),
        decide=functools.partial(_said, name, folder, numbers, read, rule, by_plane=by_plane),
        by_plane=by_plane,
    )


def _slices(folder: Path, shape: tuple[int, ...]) -> dict[int, dict[int, Path]]:
    """Annotated planes of volumes: frame number -> plane -> file."""
    found: dict[int, dict[int, Path]] = {}
    for name in sorted(os.listdir(folder)) if folder.is_dir() else ():
        match = _SLICE.fullmatch(name)
        if not match:
            continue
        number, plane = int(match[1]), int(match[2])
        planes = shape[0] if len(shape) == 3 else 1
        if len(shape) != 3 or plane >= planes:
            raise ValueError(
                f"{folder / name} annotates plane {plane}, but frames have {planes} planes; "
                "planes count from 0. Check that the truth belongs to this sequence."
            )
        twin = found.setdefault(number, {}).setdefault(plane, folder / name)
        if twin.name != name:
            raise ValueError(
                f"{folder} has {twin.name} and {name} for the same plane {plane} of frame {number}; "
                "keep one of them."
            )
    return found


def _gold(root: Path, name: str, frames: Mapping[int, Path], shape: tuple[int, ...]) -> Annotation:
    folder = root / f"{name}_GT" / "SEG"

    @functools.cache
    def files() -> tuple[dict[int, Path], dict[int, dict[int, Path]]]:
        whole = _checked(folder, frames)
        slices = {n: p for n, p in _slices(folder, shape).items() if n not in whole}
        _check_extra(folder, {n: next(iter(p.values())) for n, p in slices.items()}, frames)
        return whole, slices

    def numbers() -> tuple[int, ...]:
        whole, slices = files()
        return tuple(sorted([*whole, *slices]))

    def read(number: int) -> NDArray[np.int32]:
        whole, slices = files()
        if number in whole:
            return _read_labels(whole[number], shape)
        volume = np.full(shape, UNKNOWN, np.int32)
        for plane, path in slices[number].items():
            volume[plane] = _read_labels(path, shape[1:])
        return volume

    @functools.cache
    def rule() -> PartialRule:
        return PartialRule(read, frozenset(files()[0]), _references(root, name, shape), numbers())

    return _said("gold", folder, numbers, read, rule, by_plane=lambda: frozenset(files()[1]))


def _references(root: Path, name: str, shape: tuple[int, ...]) -> tuple[Reference, ...]:
    """List what else says how many cells a frame has: markers first, silver truth next."""
    found = []
    tra, silver = root / f"{name}_GT" / "TRA", root / f"{name}_ST" / "SEG"
    for folder, pattern, least in ((tra, _MARKER, 0.9), (silver, _TRUTH, 0.7)):
        files = _numbered(folder, pattern)
        read = functools.partial(_read_reference, files, shape)
        found.append(Reference(frozenset(files), read, least))
    return tuple(found)


def _read_reference(
    files: Mapping[int, Path], shape: tuple[int, ...], number: int
) -> NDArray[np.int32]:
    return _read_labels(files[number], shape)
