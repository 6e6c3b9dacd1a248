"""What stored labels mean: decided from all of them, or left to the user.

``docs/labels.md`` has the rules in a table; `StoredLabels` goes through them in one method.

A number is whole in a frame if its pixels are one piece, corners included.  Numbers are those of
all frames, and colours count as numbers.  Classes are numbered from 0 without gaps.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.io.stack import AmbiguousInput, Annotation
from napari_jnet.labels import UNKNOWN, LabelKind, known_labels

MOST_CLASSES = 64
UNLABELLED = ("background", "unknown")  # what pixels without a label may be
_WHOLE = 0.8  # share of numbers that are one piece, from which on they are objects
_FEW = 5  # numbers below this may be objects or classes
_THIN = 0.1  # share of labelled pixels below which small numbers may be strokes
_SPECKS = 3.0  # pixels; numbers that are smaller in the median are not objects
_GREY = 0x010101  # a grey value as a packed colour
_COLOR_NAMES = {
    "#000000": "background",
    "#ff0000": "red",
    "#00ff00": "green",
    "#0000ff": "blue",
    "#ffff00": "yellow",
    "#00ffff": "cyan",
    "#ff00ff": "magenta",
    "#ffffff": "white",
}


@dataclass(frozen=True, eq=False)
class _Content:
    """What one label image holds: its numbers above 0, with the pieces and pixels of each."""

    values: NDArray[Any]
    pieces: NDArray[np.intp]
    pixels: NDArray[np.intp]
    zero: bool
    unknown: bool
    in_color: bool
    top: int  # largest number of the type
    size: int


def _content(stored: NDArray[Any], where: Path | str, ndim: int) -> _Content:
    from skimage.measure import label

    image, in_color = _integers(stored, where, ndim)
    top = int(np.iinfo(stored.dtype if stored.dtype.kind in "iu" else image.dtype).max)
    zero, unknown = bool((image == 0).any()), bool((image == UNKNOWN).any())
    image = np.maximum(image, 0)
    values = np.zeros(0, image.dtype)
    pieces = pixels = np.zeros(0, np.intp)
    if image.any():
        parts = label(image, connectivity=image.ndim, background=0)  # type: ignore[no-untyped-call]
        sizes = np.bincount(parts.ravel())
        number = np.zeros(len(sizes), image.dtype)
        number[parts.ravel()] = image.ravel()
        values, which, pieces = np.unique(number[1:], return_inverse=True, return_counts=True)
        pixels = np.bincount(which, sizes[1:]).astype(np.intp)
    return _Content(values, pieces, pixels, zero, unknown, in_color, top, image.size)


def _integers(image: NDArray[Any], where: Path | str, ndim: int) -> tuple[NDArray[Any], bool]:
    """Return stored labels as integers, and whether these are packed colours."""
    if image.ndim == ndim + 1 and image.shape[-1] == 3:
        if image.dtype not in (np.uint8, np.uint16):
            raise ValueError(
                f"{where}: Labels are colours of type {image.dtype}; colours are uint8 or uint16. "
                "Save one number a label, or colours as PNG."
            )
        red, green, blue = np.moveaxis(image.astype(np.int64), -1, 0)
        bits = 8 * image.dtype.itemsize
        return np.asarray(red << 2 * bits | green << bits | blue), True
    if image.ndim != ndim:
        raise ValueError(
            f"{where} has shape {image.shape}; labels of this stack have {ndim} axes, or three "
            "channels of colour besides. Check that they belong together."
        )
    if image.dtype == bool:
        return image.astype(np.uint8) * 255, False
    if np.issubdtype(image.dtype, np.floating):
        whole = (image == np.rint(image)) & (np.abs(image) < 2**53)
        image = image.astype(np.int64) if whole.all() else image
    low, high, largest = image.min(initial=0), image.max(initial=0), np.iinfo(np.int64).max
    if not np.issubdtype(image.dtype, np.integer) or low < UNKNOWN or high > largest:
        raise ValueError(
            f"{where}: Labels are {image.dtype} from {low} to {high}; labels are integers from {UNKNOWN} "
            f"(unknown) to {largest}. Save them as uint8 or uint16, or repaint these pixels."
        )
    return image.astype(np.int64) if image.dtype == np.uint64 else image, False


@dataclass(eq=False)
class StoredLabels:
    """The label images of a stack as they are stored, and what they mean.

    Each fact is found on first use, from all label images, which are read one at a time.
    """

    name: str
    path: Path | str  # file or folder; a name for messages where the labels are in memory
    # Returns frame number -> function that reads the stored image; called once, and may raise.
    find: Callable[[], Mapping[int, Callable[[], NDArray[Any]]]]
    where: Callable[[int], Path | str]  # frame number -> file, or a name, for messages
    ndim: int = 2  # axes of a frame without colours; an image with one more is in colours
    # Frames are pages of one file: a page without labels is not annotated, a file without has no objects.
    pages: bool = False
    # Returns functions that read other images of the same meaning, such as those of valid.
    others: Callable[[], Iterable[Callable[[], NDArray[Any]]]] = tuple
    given: LabelKind | None = None  # as the user specifies it
    unlabelled: str | None = None  # of `UNLABELLED`, as the user specifies it

    def annotation(
        self, kind: LabelKind | None = None, unlabelled: str | None = None
    ) -> Annotation:
        """Return the labels as an annotation, with the kind and `UNLABELLED` as the user specifies them."""
        labels = replace(self, given=kind, unlabelled=unlabelled)
        return Annotation(
            self.name,
            lambda: labels._meaning[0],
            lambda: labels._frame_numbers,
            labels.read,
            partial=lambda: frozenset(labels._frame_numbers if labels._partial else ()),
            path=self.path if isinstance(self.path, Path) else None,
            classes=labels.classes,
            empty=lambda: frozenset(
                n for n in labels._frame_numbers if not labels._frames[n].values.size
            ),
            ignored=lambda: labels._ignored,
            reason=lambda: labels._meaning[1],
            decide=self.annotation,
        )

    def read(self, number: int) -> NDArray[np.int32]:
        """Read the labels of a frame, int32; see `Annotation.read`."""
        kind, _ = self._meaning
        image, in_color = _integers(self._files[number](), self.where(number), self.ndim)
        if self._in_color and not in_color:
            image = image.astype(np.int64) * _GREY
        if kind is LabelKind.CLASSES:
            classes = np.searchsorted(self._classes, np.maximum(image, 0))
            image = np.where(image == UNKNOWN, UNKNOWN, classes).astype(np.int32)
        elif self._in_color:
            image = np.unique(np.append(0, image), return_inverse=True)[1][1:].reshape(image.shape)
        if self._minus_is_background:
            image = np.maximum(image, 0)
        try:
            labels = known_labels(image, kind, partial=self._partial)
        except ValueError as error:
            raise ValueError(f"{self.where(number)}: {error}") from error
        if self.pages and labels.ndim == 3 and self.unlabelled != "background":
            labels[~(labels > 0).any(axis=(1, 2))] = UNKNOWN  # a plane without labels
        return labels

    def classes(self) -> tuple[tuple[str, str], ...]:
        """Return name and "#rrggbb" of each class, where its number alone is not enough."""
        if self._meaning[0] is not LabelKind.CLASSES:
            return ()
        numbers = [int(v) for v in self._classes]
        if self._in_color:
            colors = ["#000000", *(f"#{v & 0xFFFFFF:06x}" for v in numbers if v)]
            return tuple((_COLOR_NAMES.get(color, color), color) for color in colors)
        if len(numbers) <= 2 or numbers == list(range(len(numbers))):
            return ()
        hues = (colorsys.hsv_to_rgb(k / len(numbers), 0.8, 1.0) for k in range(1, len(numbers)))
        colors = ["#000000", *(f"#{bytes(round(255 * v) for v in hue).hex()}" for hue in hues)]
        names = ["background" if v == 0 else f"label {v}" for v in numbers]
        return tuple(zip(names, colors, strict=True))

    # which frames are annotated

    @cached_property
    def _frame_numbers(self) -> tuple[int, ...]:
        _ = self._meaning  # nothing is annotated while that is unsure
        return tuple(n for n in self._frames if n not in self._ignored)

    @cached_property
    def _ignored(self) -> tuple[int, ...]:
        unknown = self.unlabelled == "unknown" or self.given is LabelKind.SCRIBBLES
        unknown = unknown or (self.pages and self.unlabelled is None)
        return tuple(
            n
            for n, at in self._frames.items()
            if not at.values.size and (unknown or (not at.zero and not self._minus_is_background))
        )

    @property
    def _partial(self) -> bool:
        return self.unlabelled == "unknown" and self.given is not LabelKind.SCRIBBLES

    # what all images hold

    @cached_property
    def _files(self) -> Mapping[int, Callable[[], NDArray[Any]]]:
        return self.find()

    @cached_property
    def _frames(self) -> dict[int, _Content]:
        return {n: _content(read(), self.where(n), self.ndim) for n, read in self._files.items()}

    @cached_property
    def _all(self) -> list[_Content]:
        others = [_content(read(), self.path, self.ndim) for read in self.others()]
        return [*self._frames.values(), *others]

    @cached_property
    def _labelled(self) -> list[_Content]:
        return [at for at in self._all if at.values.size]

    @cached_property
    def _in_color(self) -> bool:
        return any(at.in_color for at in self._all)

    @cached_property
    def _numbers(self) -> NDArray[Any]:
        """All numbers above 0, ascending."""
        found = [
            at.values.astype(np.int64) * _GREY if self._in_color and not at.in_color else at.values
            for at in self._labelled
        ]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)

    @property
    def _zero(self) -> bool:
        return any(at.zero for at in self._labelled)

    @property
    def _unknown(self) -> bool:
        return any(at.unknown for at in self._labelled)

    @property
    def _minus_is_background(self) -> bool:
        return self.unlabelled == "background" and self._unknown and not self._zero

    @cached_property
    def _classes(self) -> NDArray[Any]:
        """The stored number of each class from 0."""
        background = self._zero or self._unknown or self.unlabelled == "unknown"
        return np.append(0, self._numbers) if background else self._numbers

    # the decision

    @cached_property
    def _meaning(self) -> tuple[LabelKind, str]:
        """The kind, and why, a part of a sentence."""
        numbers = self._numbers
        if not numbers.size and not (self.unlabelled == "background" and self._frames):
            raise ValueError(
                f"{self.path} holds no label in any frame; there is nothing to learn or to compare "
                "with. Label at least one object, or choose other labels with --truth."
            )
        scribbles = self.given is LabelKind.SCRIBBLES
        if self._unknown and not self._zero and self.unlabelled is None and not scribbles:
            raise AmbiguousInput(
                f"{self.path} holds -1 but no 0 beside the labels: -1 may be background or unknown.",
                "Choose --unlabelled background or --unlabelled unknown.",
                "unlabelled",
                UNLABELLED,
            )
        if scribbles and (self._in_color or numbers.max(initial=0) > MOST_CLASSES):
            raise ValueError(
                f"{self.path} holds {'colours' if self._in_color else int(numbers[-1])}; "
                f"scribbles are numbers from 1 (background) to {MOST_CLASSES}. Use --kind classes or "
                "--kind instances."
            )
        if self.given is not None:
            kind, reason = self.given, "as given"
            if kind is LabelKind.CLASSES:
                self._check_classes()
        elif not numbers.size:
            kind, reason = LabelKind.INSTANCES, "no frame has an object"
        else:
            kind, reason = self._decide()
        return kind, reason + (self._renumbered() if kind is LabelKind.CLASSES else "")

    def _check_classes(self) -> None:
        if len(self._classes) > MOST_CLASSES:
            what = "colours" if self._in_color else "different numbers"
            raise ValueError(
                f"{self.path} holds {len(self._classes)} {what}, more than {MOST_CLASSES} classes. "
                "If they are objects, use --kind instances; if they are classes, save one number a class "
                "as PNG or TIFF: JPEG and smoothing add values."
            )

    def _renumbered(self) -> str:
        numbers = [int(v) for v in self._classes]
        plain = numbers == list(range(len(numbers))) or (len(numbers) == 2 and not numbers[0])
        if self._in_color or plain:
            return ""
        pairs = ", ".join(f"{v} = {'background' if k == 0 else k}" for k, v in enumerate(numbers))
        return f"; renumbered: {pairs}"

    def _decide(self) -> tuple[LabelKind, str]:
        images, in_color = self._labelled, self._in_color
        numbers = [int(v) for v in self._numbers]
        count, last = len(numbers), numbers[-1]
        background = self._zero or self._unknown
        pieces = np.concatenate([at.pieces for at in images])
        whole = float(np.mean(pieces == 1))
        what = "colours" if in_color else "numbers"
        if count == 1 and not background:
            raise ValueError(
                f"{self.path} holds {last} in every pixel; there is nothing to "
                "distinguish. Save background as 0."
            )
        if 1 < count < _FEW and max(len(at.values) for at in images) == 1:
            raise self._unsure(
                f"holds one of the {what} {', '.join(map(str, numbers))} in each frame"
            )
        top = max(at.top for at in images)
        if count > 1 and not in_color and last in (255, 65535, top) and last > count:
            before = numbers[-2]
            if before == count - 1 or last > 4 * before:
                raise self._unsure(
                    f"holds {count - 1} {what} and {last}, which may be an object, a class or unknown",
                    "If it is unknown, save it as -1. Else choose",
                )
        if count == 2 and not background:
            return LabelKind.CLASSES, "two values"
        if count == 1:
            if last in (0xFFFFFF if in_color else top, 255, 65535) or whole < _WHOLE:
                return LabelKind.CLASSES, f"two values, 0 and {last}"
            raise self._unsure(f"holds one number, {last}, in one piece a frame")
        sizes = np.concatenate([at.pixels / at.pieces for at in images])
        if np.median(sizes) < _SPECKS and count > MOST_CLASSES:
            self._check_classes()
        if whole >= _WHOLE:
            one_piece = f"{count} {what}, nearly each in one piece"
            if not background:
                raise self._unsure(
                    f"holds {one_piece}, and no background",
                    "If one of them is background, save it as 0. Else choose",
                )
            if count >= _FEW or (not in_color and last > 255):
                return LabelKind.INSTANCES, one_piece
            raise self._unsure(f"holds {one_piece}")
        several = f"{count} {what}, in several pieces"
        if count > MOST_CLASSES or (count < _FEW and pieces.max() < 3):
            raise self._unsure(f"holds {several}")
        if count >= _FEW and whole >= 0.5:
            raise self._unsure(f"holds {several}, but half of them in one")
        if self._could_be_scribbles():
            raise self._unsure(f"holds {several}, on few pixels")
        return LabelKind.CLASSES, several

    def _could_be_scribbles(self) -> bool:
        count = len(self._numbers)
        if self._in_color or not 2 <= count <= 8 or int(self._numbers[-1]) != count:
            return False
        labelled = sum(int(at.pixels.sum()) for at in self._labelled)
        return labelled < _THIN * sum(at.size for at in self._labelled)

    def _unsure(self, what: str, remedy: str = "Choose") -> AmbiguousInput:
        choices = {
            "instances": "instances (each number is one object)",
            "classes": "classes (each number is a class of pixels)",
        }
        if self._could_be_scribbles():
            choices["scribbles"] = "scribbles (0 is not labelled, 1 is background)"
        return AmbiguousInput(
            f"{self.path} {what}; what the labels mean cannot be decided from that.",
            f"{remedy} with --kind: {' or '.join(choices.values())}.",
            "kind",
            tuple(choices),
        )
