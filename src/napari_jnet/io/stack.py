"""Stacks of frames and their annotations, read lazily."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from napari_jnet.config import NetworkConfig
from napari_jnet.files import FileError
from napari_jnet.labels import UNKNOWN, LabelKind, check_covers, known_labels

_Value = TypeVar("_Value")


class AmbiguousInput(FileError):
    """The files do not define what a stack or its labels are, so that the user has to choose.

    `parameter` is one of `open_stack`, and with two dashes of the command line, and has these `choices`;
    `fact` is what the files hold, to which the message adds how to choose.
    """

    def __init__(self, fact: str, remedy: str, parameter: str, choices: tuple[str, ...]) -> None:
        super().__init__(f"{fact} {remedy}")
        self.fact = fact
        self.parameter = parameter
        self.choices = choices


class Deferred(Generic[_Value]):
    """A field of a dataclass that is given as a value, or as a function that is called once for it."""

    def __init__(self, *default: _Value) -> None:
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> _Value:
        if instance is None:  # the dataclass looks for a default
            if not self._default:
                raise AttributeError(self._name)
            return self._default[0]
        value = instance.__dict__[self._name]
        if callable(value):
            value = instance.__dict__[self._name] = value()
        return cast(_Value, value)

    def __set__(self, instance: Any, value: _Value | Callable[[], _Value]) -> None:
        instance.__dict__[self._name] = value


@dataclass(frozen=True, eq=False, repr=False)
class Annotation:
    """The labels of some frames of a stack, read on first use.

    Where the meaning of labels is decided from the labels, ``kind``, ``frame_numbers`` and what follows
    from them are given as functions: they are called, and may read all labels, at the first use.  They and
    `frame` raise `ValueError` or `FileNotFoundError` for files that are damaged or not labels of this stack,
    and `AmbiguousInput` where the files do not define what the labels mean.
    """

    name: str  # "gold", "silver", "labels", ...
    kind: Deferred[LabelKind] = Deferred()  # of the numbers as stored, before `read`
    frame_numbers: Deferred[tuple[int, ...]] = Deferred()  # annotated frames, ascending
    # Frame number -> labels, (H, W) or (Z, H, W): 0 = background, objects or classes from 1, or `UNKNOWN`.
    read: Callable[[int], NDArray[np.int32]]  # type: ignore[misc]  # the fields before have no default
    partial: Deferred[frozenset[int]] = Deferred(
        frozenset()
    )  # where what is not labelled is unknown
    path: Path | None = None  # the file or folder of the labels
    # (name, "#rrggbb") of each class from 0, where the files define it
    classes: Deferred[tuple[tuple[str, str], ...]] = Deferred(())
    empty: Deferred[frozenset[int]] = Deferred(frozenset())  # annotated, all background
    ignored: Deferred[tuple[int, ...]] = Deferred(())  # not annotated: no label in them counts
    # Volumes annotated by a file for each plane: a number in two planes is two objects.
    by_plane: Deferred[frozenset[int]] = Deferred(frozenset())
    reason: Deferred[str] = Deferred("")  # of the kind, a part of a sentence; "" if not decided
    # Returns the annotation with the kind, and `meaning.UNLABELLED`, as the user specifies them; an argument
    # of None leaves it to the files.  None: the meaning is fixed.
    decide: Callable[[LabelKind | None, str | None], Annotation] | None = None

    def frame(self, number: int) -> NDArray[np.int32]:
        """Read the labels of one frame; raises `ValueError` if it is not annotated."""
        if position_of(number, self.frame_numbers) is None:
            where = f" ({self.path})" if self.path else ""
            known = ", ".join(str(n) for n in self.frame_numbers)
            raise ValueError(
                f"Frame {number} is not annotated in {self.name!r}{where}; annotated frames are {known}."
            )
        return self.read(number)

    def summary(self, frames: Sequence[int] | None = None) -> str:
        """Describe what the labels mean, why, and in which frames; reads all, unless `frames` are given."""
        parts = [f"{self.kind}{f' ({self.reason})' if self.reason else ''}"]
        if self.path is not None:
            parts.append(str(self.path))
        if frames is not None:
            return "; ".join([*parts, f"frames: {format_numbers(frames)}"])
        parts.append(f"annotated frames: {format_numbers(self.frame_numbers)}")
        for what, numbers in (
            ("partly annotated, the rest is unknown", sorted(self.partial)),
            ("without objects", sorted(self.empty - self.partial)),
            ("not used, as nothing is labelled", self.ignored),
        ):
            if numbers:
                parts.append(f"{what}: {format_numbers(numbers)}")
        return "; ".join(parts)


def position_of(number: int, numbers: Sequence[int]) -> int | None:
    """Return the position of a frame number among ascending ones; None if it is not among them."""
    position = bisect_left(numbers, number)
    return position if position < len(numbers) and numbers[position] == number else None


def check_frame(number: int, numbers: Sequence[int], stack: str) -> None:
    """Raise `ValueError` for a frame that a stack does not have; its name is for the message."""
    if position_of(number, numbers) is None:
        raise ValueError(
            f"{stack} has no frame {number}; its {len(numbers)} frames run from {numbers[0]} to "
            f"{numbers[-1]}."
        )


def format_numbers(numbers: Sequence[int]) -> str:
    """Write frame numbers as "9 (2, 5, 21, ...)" or "84 (0 to 83)"."""
    if len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[0] + len(numbers))):
        return f"{len(numbers)} ({numbers[0]} to {numbers[-1]})"
    shown = ", ".join(map(str, numbers[:24]))
    return f"{len(numbers)} ({shown}{', ...' if len(numbers) > 24 else ''})"


@dataclass(frozen=True, eq=False)
class Stack:
    """Frames of one sequence, volume or folder, read on first use.

    Attributes
    ----------
    name
        For messages and titles: "DIC-C2DH-HeLa 01".
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
        By name; the first one is what a user would expect to train on, unless `candidates`.
    scale, units
        One an axis of `axes` without C; 1 and "pixel" where the file does not state it.
    digits
        Digits of the frame numbers in the file names (CTC).
    sequence
        "01" for a CTC sequence.
    candidates
        Whether the annotations are files of which only one is meant, not known which.
    given_axes, series
        As they were given to `open_stack`: the axes that are stored, and the number of the image in
        its file; "" and None where the file itself decided.
    notes
        Sentences about what was decided in opening it, such as which of several images this is.
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
    candidates: bool = False
    given_axes: str = ""
    series: int | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.dtype.kind not in "buif":
            raise ValueError(
                f"{self.path or self.name} holds values of type {self.dtype}; frames are integers or floats. "
                "Save what is to be segmented, such as the magnitude of complex numbers, as an image."
            )
        axes = len(self.axes.replace("C", ""))  # frozen, but for these defaults
        object.__setattr__(self, "scale", self.scale or (1.0,) * axes)
        object.__setattr__(self, "units", self.units or ("pixel",) * axes)

    def __len__(self) -> int:
        return len(self.frame_numbers)

    @property
    def choices(self) -> dict[str, Any]:
        """The keyword arguments with which `open_stack` opens it again."""
        options = {"sequence": self.sequence, "axes": self.given_axes, "series": self.series}
        return {name: value for name, value in options.items() if value not in (None, "")}

    def frame(self, number: int) -> NDArray[Any]:
        """Read one frame; a number that the stack does not have raises `ValueError`."""
        check_frame(number, self.frame_numbers, self.name)
        return self.read(number)

    def annotation(self, name: str | None = None) -> Annotation:
        """Return the annotation of this name (the first one if None); raises `ValueError`.

        Of several `candidates` one must be named, else `AmbiguousInput` is raised.
        """
        if not self.annotations:
            raise ValueError(
                f"{self.name} has no annotation; training and evaluation need labels, "
                "such as a GT/SEG folder beside the frames."
            )
        if name is None and self.candidates and len(self.annotations) > 1:
            names = tuple(self.annotations)
            raise AmbiguousInput(
                f"{self.name} has several labels: {', '.join(names)}.",
                f"Choose one, such as --truth {names[0]}.",
                "truth",
                names,
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
    """One 2-D image with its labels: what a network is trained or scored on.

    Attributes
    ----------
    name
        For messages, unique within a training: "01/t002".
    image
        (H, W) or (H, W, C), any real dtype.
    labels
        (H, W) int32: 0 = background, objects or classes from 1, `UNKNOWN` elsewhere.  Other
        integers and booleans become int32, see `known_labels`.
    kind
        INSTANCES or CLASSES; scribbles are classes with unknown pixels.
    role
        "training", "validation" or "" (the split decides).
    classes
        (name, "#rrggbb") of each class from 0, where known.
    origin
        A line about what the labels mean, why, and where they come from; "" where unknown.
    volume
        Name of the volume that this is a section of, "" for a frame of its own.  Neighbouring
        sections look similar, so that all are either for training or for validation.
    section
        Number of the section in its volume.
    """

    name: str
    image: NDArray[Any]
    labels: NDArray[np.int32]
    kind: LabelKind = LabelKind.INSTANCES
    role: str = ""
    classes: tuple[tuple[str, str], ...] = ()
    origin: str = ""
    volume: str = ""
    section: int = 0

    def __post_init__(self) -> None:
        check_covers(self.labels.shape, self.image.shape[:2], self.name)
        if self.labels.dtype != np.int32 or self.labels.min(initial=0) < UNKNOWN:
            try:
                labels = known_labels(self.labels, self.kind)
            except ValueError as error:
                raise ValueError(f"{self.name}: {error}") from error
            object.__setattr__(self, "labels", labels)  # frozen


def frame_label(axes: str, number: int, digits: int = 3) -> str:
    """Return the short name of a frame: "t002", or "z002" where the first of the axes is Z."""
    return f"{'z' if axes[:1].upper() == 'Z' else 't'}{number:0{digits}d}"


def frame_name(stack: Stack, number: int) -> str:
    """Return the full name of a frame: "01/t002", "train-volume/z07"."""
    where = stack.sequence or stack.name
    return f"{where}/{frame_label(stack.axes, number, stack.digits)}"


def plane_name(frame: str, plane: int, planes: int) -> str:
    """Return the full name of a plane of a volume: "01/t002 z05"."""
    return f"{frame} z{plane:0{max(2, len(str(planes - 1)))}d}"


def is_plane(frame: AnnotatedFrame) -> bool:
    """Return whether a frame is a plane of a volume that is one frame of its stack."""
    return bool(frame.volume) and frame.name.startswith(f"{frame.volume} ")


def section_of(stack: Stack, number: int, plane: int | None = None) -> tuple[str, int]:
    """Return the volume that a frame or its plane is a section of ("" if none), and its number there."""
    if plane is not None:
        return frame_name(stack, number), plane
    return (stack.sequence or stack.name) if stack.axes[0] == "Z" else "", number


def annotated_frames(
    stack: Stack, annotation: str | None = None, frames: Sequence[int] | None = None
) -> list[AnnotatedFrame]:
    """Read annotated frames; volumes become planes, planes that are wholly unknown are skipped.

    Parameters
    ----------
    stack
        Where the frames come from.
    annotation
        Name of the annotation; None takes the first.
    frames
        Frame numbers; None takes all annotated ones.

    Returns
    -------
    list of AnnotatedFrame
        In the order of `frames`.

    Raises
    ------
    ValueError
        If a frame does not exist or is not annotated, an image and its labels differ in size, or
        nothing is known in any of the frames.
    """
    chosen = stack.annotation(annotation)
    numbers = chosen.frame_numbers if frames is None else tuple(frames)
    origin = chosen.summary(frames)
    found = [frame for number in numbers for frame in _planes(stack, chosen, number, origin)]
    if not found:
        raise ValueError(
            f"The annotation {chosen.name!r} of {stack.name} has no labelled pixel in the "
            "chosen frames; annotate at least one cell, or choose other frames."
        )
    return found


def _planes(stack: Stack, annotation: Annotation, number: int, origin: str) -> list[AnnotatedFrame]:
    labels = annotation.frame(number)
    image = stack.frame(number)
    name = frame_name(stack, number)
    check_covers(labels.shape, image.shape[: labels.ndim], name)
    kind = LabelKind.CLASSES if annotation.kind is LabelKind.SCRIBBLES else annotation.kind
    parts: list[tuple[str, Any, Any, int | None]] = [(name, image, labels, None)]
    if labels.ndim == 3:
        count = len(labels)
        parts = [(plane_name(name, z, count), image[z], labels[z], z) for z in range(count)]
    facts = (kind, "", annotation.classes, origin)
    return [
        AnnotatedFrame(title, pixels, known, *facts, *section_of(stack, number, z))
        for title, pixels, known, z in parts
        if (known != UNKNOWN).any()
    ]


def mismatch(
    network: NetworkConfig, name: str, *, kind: LabelKind, largest: int, channels: int
) -> str:
    """Return why a trained network cannot learn from such frames, and what to do; "" where it can.

    `name` is that of the model, `largest` the largest class in the labels (ignored for instances), and
    `channels` those of the images.
    """
    if channels != network.in_channels and not network.gray:
        what, unit, here, there = "images", "channels", channels, network.in_channels
    elif kind is LabelKind.INSTANCES and network.classes > 2:
        what, unit, here, there = "labels", "classes (cell or not)", 2, network.classes
    elif kind is not LabelKind.INSTANCES and 1 < largest >= network.classes:
        what, unit, here, there = "labels", "classes", largest + 1, network.classes
    else:
        return ""
    return (
        f"The {what} have {here} {unit}, {name} was trained on {there}. Start from a model of such {what}, "
        "or train from scratch."
    )
