"""Stacks: frames over time, sections of a volume or files of a folder, read when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "UNKNOWN",
    "AnnotatedFrame",
    "Annotation",
    "LabelKind",
    "Stack",
    "known_labels",
]

UNKNOWN = -1
"""The label of a pixel that nobody annotated; it counts in no loss and no metric."""


class LabelKind(StrEnum):
    """What the numbers of a label image mean."""

    INSTANCES = "instances"  # 0 = background, every object its own id
    CLASSES = "classes"  # a class a pixel
    SCRIBBLES = "scribbles"  # 0 = unlabelled, 1 = background, 2 and up = classes


@dataclass(frozen=True, eq=False)
class Annotation:
    """The labels of some frames of a stack, read when they are asked for.

    Attributes
    ----------
    name
        "gold", "silver", "labels", ...
    kind
        What the numbers mean, before `read` (which gives unknown pixels as `UNKNOWN`).
    frame_numbers
        Annotated frames, ascending.
    partial
        Those of them where only some objects are annotated: the rest of the frame is unknown.
    read
        Frame number -> labels, int32, (H, W) or (Z, H, W); 0 = background, objects or classes from 1,
        `UNKNOWN` = nobody knows.
    read_legend
        Reads `legend`.
    """

    name: str
    kind: LabelKind
    frame_numbers: tuple[int, ...]
    read: Callable[[int], NDArray[np.int32]]
    partial: frozenset[int] = frozenset()
    path: Path | None = None
    read_legend: Callable[[], tuple[tuple[str, str], ...]] = tuple

    @property
    def legend(self) -> tuple[tuple[str, str], ...]:
        """(name, "#rrggbb") of each class from 0, where the files say so; may read all masks."""
        return self.read_legend()

    def frame(self, number: int) -> NDArray[np.int32]:
        """Read the labels of one frame.

        Raises
        ------
        ValueError
            If the frame is not annotated.
        """
        if number not in self.frame_numbers:
            known = ", ".join(str(n) for n in self.frame_numbers)
            raise ValueError(
                f"Frame {number} is not annotated in {self.name!r}; annotated frames are {known}."
            )
        return self.read(number)


@dataclass(frozen=True, eq=False)
class Stack:
    """Frames of one sequence, volume or folder, read when they are asked for.

    Attributes
    ----------
    name
        For people: "DIC-C2DH-HeLa 01".
    axes
        One letter an axis, frames first: "TYX", "ZYX", "TYXC", "TZYX".
    frame_numbers
        As in the file names, ascending; sections count from 0.
    shape
        Of one frame, channels last: (H, W), (H, W, C) or (Z, H, W).
    dtype
        Of the stored frames.
    read
        Frame number -> the frame as stored.
    annotations
        By name; the first one is what a user would expect to train on.
    scale, units
        One an axis of `axes` without C; 1 and "pixel" where the file does not say.
    digits
        Digits of the frame numbers in the file names (CTC).
    sequence
        "01" for a CTC sequence.
    """

    name: str
    format: str
    path: Path | None
    axes: str
    frame_numbers: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[int], NDArray[Any]]
    annotations: Mapping[str, Annotation] = field(default_factory=dict)
    scale: tuple[float, ...] = ()
    units: tuple[str, ...] = ()
    digits: int = 3
    sequence: str = ""

    def __len__(self) -> int:
        return len(self.frame_numbers)

    def frame(self, number: int) -> NDArray[Any]:
        """Read one frame; a number that the stack does not have raises `ValueError`."""
        if number not in self.frame_numbers:
            first, last = self.frame_numbers[0], self.frame_numbers[-1]
            raise ValueError(
                f"{self.name} has no frame {number}; its {len(self)} frames run from {first} to {last}."
            )
        return self.read(number)

    def annotation(self, name: str | None = None) -> Annotation:
        """Return the annotation of this name (the first one if None); raises `ValueError`."""
        if not self.annotations:
            raise ValueError(
                f"{self.name} has no annotation; training and evaluation need labels, "
                "such as a GT/SEG folder beside the frames."
            )
        if name is None:
            return next(iter(self.annotations.values()))
        if name not in self.annotations:
            raise ValueError(
                f"{self.name} has no annotation {name!r}; it has {', '.join(self.annotations)}."
            )
        return self.annotations[name]


@dataclass(frozen=True, eq=False)
class AnnotatedFrame:
    """One 2-D image and what is known of it: what a network is trained or scored on.

    Attributes
    ----------
    name
        For people, unique within a training: "01/t002".
    image
        (H, W) or (H, W, C), any real dtype.
    labels
        (H, W) int32: 0 = background, objects or classes from 1, `UNKNOWN` where nobody knows.
    kind
        INSTANCES or CLASSES; scribbles are classes with unknown pixels.
    role
        "training", "validation" or "" (the split decides).
    legend
        (name, "#rrggbb") of each class from 0, where known.
    """

    name: str
    image: NDArray[Any]
    labels: NDArray[np.int32]
    kind: LabelKind = LabelKind.INSTANCES
    role: str = ""
    legend: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.image.shape[:2] != self.labels.shape:
            raise ValueError(
                f"{self.name}: the image has {self.image.shape[:2]} pixels, its labels {self.labels.shape}; "
                "both must cover the same pixels. Check that the labels belong to this image."
            )


def known_labels(
    labels: NDArray[Any], kind: LabelKind, *, partial: bool = False
) -> NDArray[np.int32]:
    """Turn stored labels into labels with `UNKNOWN` where nobody knows.

    Parameters
    ----------
    labels
        Integers, as stored or painted.
    kind
        What they mean.
    partial
        For instances: only some objects are annotated, so that 0 is unknown.

    Returns
    -------
    ndarray of int32
        Same shape; 0 = background, objects or classes from 1, `UNKNOWN` elsewhere.

    Raises
    ------
    ValueError
        If labels are not integers, or negative below `UNKNOWN`.
    """
    if not np.issubdtype(labels.dtype, np.integer) and labels.dtype != bool:
        raise ValueError(
            f"Labels are of type {labels.dtype}; labels are integers. "
            "Convert the layer to labels, or save the mask as uint8 or uint16."
        )
    known = labels.astype(np.int32)
    if known.size and known.min() < UNKNOWN:
        raise ValueError(
            f"Labels hold {known.min()}; labels are 0 or more ({UNKNOWN} = unknown). Repaint these pixels."
        )
    if kind is LabelKind.SCRIBBLES:
        return np.where(known <= 0, UNKNOWN, known - 1).astype(np.int32)
    if partial:
        return np.where(known == 0, UNKNOWN, known).astype(np.int32)
    return known
