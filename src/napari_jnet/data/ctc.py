"""Cell Tracking Challenge datasets: sequences of TIFF frames with gold, silver and noisy truth.

The layout is ``DATASET/01/t000.tif`` with ``01_GT/SEG/man_seg000.tif`` (gold), ``01_ST/SEG``
(silver), ``01_ERR_SEG`` (noisy) and ``01_GT/TRA/man_track000.tif`` (markers).  Frame numbers come
from the names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.data.ctc_partial import GoldAnnotation, PartialRule, Reference
from napari_jnet.data.stack import UNKNOWN, Annotation, LabelKind, Stack, known_labels
from napari_jnet.data.tiff import TiffHeader, read_header, read_tiff

__all__ = ["locate", "markers", "matches", "open_sequence", "sequences"]

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
            names = [e.name for e in entries if _SEQUENCE.fullmatch(e.name) and e.is_dir()]
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
        If this is no CTC dataset, the sequence does not exist, or truth files have no frame.
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
    size = header.pixel_size[-len(header.shape) :]
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
        scale=(1.0, *size),
        units=("pixel", *(header.unit for _ in size)),
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
    return _plain("markers", folder, files, stack.shape) if files else None


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
    gold = _gold(root, name, frames, shape)
    if gold is not None:
        made["gold"] = gold
    folders = {"silver": root / f"{name}_ST" / "SEG", "noisy": root / f"{name}_ERR_SEG"}
    for kind, folder in folders.items():
        files = _numbered(folder, _TRUTH)
        if files:
            _check_extra(folder, files, frames)
            made[kind] = _plain(kind, folder, files, shape)
    return made


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
    labels = read_tiff(path)
    if labels.shape != shape:
        raise ValueError(
            f"{path} has shape {labels.shape}, its frame has {shape}; both must cover the same "
            "pixels. Check that the truth belongs to this sequence."
        )
    try:
        return known_labels(labels, LabelKind.INSTANCES)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _plain(
    name: str, folder: Path, files: Mapping[int, Path], shape: tuple[int, ...]
) -> Annotation:
    def read(number: int) -> NDArray[np.int32]:
        return _read_labels(files[number], shape)

    return Annotation(name, LabelKind.INSTANCES, tuple(files), read, path=folder)


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
        found.setdefault(number, {})[plane] = folder / name
    return found


def _gold(
    root: Path, name: str, frames: Mapping[int, Path], shape: tuple[int, ...]
) -> Annotation | None:
    folder = root / f"{name}_GT" / "SEG"
    files = _numbered(folder, _TRUTH)
    slices = {n: p for n, p in _slices(folder, shape).items() if n not in files}
    if not files and not slices:
        return None
    _check_extra(folder, files, frames)
    _check_extra(folder, {n: next(iter(p.values())) for n, p in slices.items()}, frames)

    def read(number: int) -> NDArray[np.int32]:
        if number in files:
            return _read_labels(files[number], shape)
        volume = np.full(shape, UNKNOWN, np.int32)
        for plane, path in slices[number].items():
            volume[plane] = _read_labels(path, shape[1:])
        return volume

    rule = PartialRule(
        gold=read,
        whole=frozenset(files),
        references=_references(root, name, shape),
        frame_numbers=tuple(sorted([*files, *slices])),
    )
    return GoldAnnotation("gold", rule, folder)


def _references(root: Path, name: str, shape: tuple[int, ...]) -> tuple[Reference, ...]:
    """List what else says how many cells a frame has: markers first, silver truth next."""
    found = []
    tra, silver = root / f"{name}_GT" / "TRA", root / f"{name}_ST" / "SEG"
    for folder, pattern, least in ((tra, _MARKER, 0.9), (silver, _TRUTH, 0.7)):
        files = _numbered(folder, pattern)
        read = _plain(folder.name, folder, files, shape).read
        found.append(Reference(frozenset(files), read, least))
    return tuple(found)
