"""What stored labels mean: decided from all of them, or left to the user.

=====================================================  =========================================
all labels together                                    decided
=====================================================  =========================================
nothing but 0                                          refused: there is nothing to learn
two values, the higher one the largest of its type     classes: background and one other
two values, no 0                                       classes: the lower one is background
two values, the other one in several pieces            classes
two values, never more than one piece a frame          unsure: one object, or a class
5 or more numbers, or one above 255; nearly all whole  instances
fewer than 5 numbers, nearly all whole                 unsure: instances, or classes
fewer than 5 numbers, one of them in many pieces       classes
5 to 64 numbers, most of them in several pieces        classes
more numbers, in several pieces                        unsure
thin coverage by small grey numbers in many pieces     unsure: classes, or scribbles
small numbers and the largest of the type              unsure: that one may be unknown
numbers that are nearly all whole, no 0                unsure: there is no background
-1 and objects, no 0                                   unsure: -1 is background, or unknown
=====================================================  =========================================

A number is whole in a frame if its pixels are one piece, corners included.  Numbers are those of
all frames, and colours count as numbers.  Classes are numbered from 0 without gaps.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.files import read_json
from napari_jnet.io.stack import Annotation, LabelsUnsure
from napari_jnet.labels import UNKNOWN, LabelKind, known_labels

LEGEND_FILE = "classes.json"


"""Beside the masks or one folder above: {"line": "#ff0000", "ellipse": [0, 255, 0]}."""


_NAMES = {
    "#000000": "background",
    "#ff0000": "red",
    "#00ff00": "green",
    "#0000ff": "blue",
    "#ffff00": "yellow",
    "#00ffff": "cyan",
    "#ff00ff": "magenta",
    "#ffffff": "white",
}


def make_legend(
    colours: Sequence[tuple[int, int, int]], folders: Iterable[Path]
) -> tuple[tuple[str, str], ...]:
    """Name the classes of colour masks.

    Parameters
    ----------
    colours
        Red, green and blue of class 1, 2, ...; class 0 is black.
    folders
        Where a `LEGEND_FILE` may lie, the nearest first.

    Returns
    -------
    tuple of (name, "#rrggbb")
        For each class from 0.  Names come from the file, else they are those of the colour.

    Raises
    ------
    ValueError
        If the file is no such list.
    """
    file = next((f / LEGEND_FILE for f in folders if (f / LEGEND_FILE).is_file()), None)
    names = _NAMES | (_read(file) if file is not None else {})
    written = ["#000000", *(_hex(colour) for colour in colours)]
    return tuple((names.get(colour, colour), colour) for colour in written)


def _read(file: Path) -> dict[str, str]:
    """Read colour -> name."""
    try:
        stored = read_json(file)
        return {_hex(colour): str(name) for name, colour in stored.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{file} is no list of classes ({error}); write names and colours, such as "
            '{"line": "#ff0000", "ellipse": [0, 255, 0]}.'
        ) from error


def _hex(colour: object) -> str:
    """Write "#FF0000" or [255, 0, 0] as "#ff0000"."""
    if isinstance(colour, str):
        parts = bytes.fromhex(colour.removeprefix("#"))
    elif isinstance(colour, (list, tuple)):
        parts = bytes(colour)
    else:
        parts = b""
    if len(parts) != 3:
        raise ValueError(f"{colour!r} is no colour")
    return f"#{parts.hex()}"


MOST_CLASSES = 64


UNLABELLED = ("background", "unknown")


"""What pixels without a label may be."""


_WHOLE = 0.8  # share of numbers that are one piece, from which on they are objects


_FEW = 5  # numbers below this may be objects or classes


_THIN = 0.1  # share of labelled pixels below which small numbers may be strokes


_SPECKS = 3.0  # pixels; numbers that are smaller in the median are no objects


Read = Callable[[], NDArray[Any]]


@dataclass(frozen=True, eq=False)
class _Look:
    """What one label image holds.

    Attributes
    ----------
    values
        Its numbers above 0, ascending.
    pieces, pixels
        How many connected pieces and how many pixels each has.
    zero, unknown
        Whether there are pixels with 0, and with `UNKNOWN`.
    coloured
        Whether the numbers are packed colours.
    """

    values: NDArray[Any]
    pieces: NDArray[np.intp]
    pixels: NDArray[np.intp]
    zero: bool
    unknown: bool
    coloured: bool
    top: int  # largest number of the type
    size: int


def _look(image: NDArray[Any], coloured: bool, top: int) -> _Look:
    from skimage.measure import label

    zero, unknown = bool((image == 0).any()), bool((image == UNKNOWN).any())
    image = np.maximum(image, 0) if unknown else image
    if not image.any():
        none = np.zeros(0, np.intp)
        return _Look(none, none, none, zero, unknown, coloured, top, image.size)
    parts = label(image, connectivity=image.ndim, background=0)  # type: ignore[no-untyped-call]
    sizes = np.bincount(parts.ravel())
    number = np.zeros(len(sizes), image.dtype)
    number[parts.ravel()] = image.ravel()
    values, which, pieces = np.unique(number[1:], return_inverse=True, return_counts=True)
    pixels = np.bincount(which, sizes[1:]).astype(np.intp)
    return _Look(values, pieces, pixels, zero, unknown, coloured, top, image.size)


def check_unlabelled(unlabelled: str | None) -> None:
    """Refuse a word that is not in `UNLABELLED`."""
    if unlabelled is not None and unlabelled not in UNLABELLED:
        raise ValueError(
            f"unlabelled is {unlabelled!r}; pixels without a label are {' or '.join(UNLABELLED)}."
        )


class StoredLabels:
    """The label images of a stack as they are stored.

    Parameters
    ----------
    name
        Of the annotation.
    path
        File or folder; a name for messages where the labels are in memory.
    files
        Gives frame number -> function that reads the stored image; asked once, and may raise.
    where
        Frame number -> file, or a name, for messages.
    ndim
        Axes of a frame without colours; an image with one more is in colours.
    pages
        Whether frames are pages of one file.  A page without labels is then nobody's statement, and
        its frame is not annotated; an image file of its own without labels says: no objects.
    more
        Gives functions that read other images of the same meaning, such as those of valid.
    legend_folders
        Where a file may name the classes of colours, the nearest first.
    """

    def __init__(
        self,
        name: str,
        path: Path | str,
        files: Callable[[], Mapping[int, Read]],
        where: Callable[[int], Path | str],
        *,
        ndim: int = 2,
        pages: bool = False,
        more: Callable[[], Iterable[Read]] = tuple,
        legend_folders: tuple[Path, ...] = (),
    ) -> None:
        self.name, self.path, self.pages, self.ndim = name, path, pages, ndim
        self.where = where
        self._files, self._more = files, more
        self.legend_folders = legend_folders

    def annotation(
        self, kind: LabelKind | None = None, unlabelled: str | None = None
    ) -> Annotation:
        """Return the labels as an annotation, with what somebody says of them."""
        check_unlabelled(unlabelled)
        decided = _Decided(self, kind, unlabelled)
        return Annotation(
            self.name,
            lambda: decided.kind,
            lambda: decided.frame_numbers,
            decided.read,
            partial=lambda: decided.partial,
            path=self.path if isinstance(self.path, Path) else None,
            read_legend=decided.legend,
            empty=lambda: decided.empty,
            ignored=lambda: decided.ignored,
            reason=lambda: decided.reason,
            decide=self.annotation,
        )

    @cached_property
    def files(self) -> Mapping[int, Read]:
        """Frame number -> function that reads the stored image."""
        return self._files()

    def image(self, number: int) -> tuple[NDArray[Any], bool]:
        """Read a stored image as integers; colours are packed, which is said second."""
        return self._integers(self.files[number](), self.where(number))

    def _integers(self, image: NDArray[Any], where: Path | str) -> tuple[NDArray[Any], bool]:
        if image.ndim == self.ndim + 1 and image.shape[-1] == 3:
            if image.dtype not in (np.uint8, np.uint16):
                raise ValueError(
                    f"{where}: Labels are colours of type {image.dtype}; colours are uint8 or uint16. "
                    "Save one number a label, or colours as PNG."
                )
            red, green, blue = np.moveaxis(image[..., :3].astype(np.int64), -1, 0)
            bits = 8 if image.dtype.itemsize == 1 else 16
            return np.asarray(red << 2 * bits | green << bits | blue), True
        if image.ndim != self.ndim:
            raise ValueError(
                f"{where} has shape {image.shape}; labels of this stack have {self.ndim} axes, or three "
                "channels of colour besides. Check that they belong together."
            )
        if image.dtype == bool:
            return image.astype(np.uint8) * 255, False
        if np.issubdtype(image.dtype, np.floating):
            whole = (image == np.rint(image)) & (np.abs(image) < 2**53)
            image = image.astype(np.int64) if whole.all() else image
        if not np.issubdtype(image.dtype, np.integer):
            raise ValueError(
                f"{where}: Labels are of type {image.dtype}; labels are integers. "
                "Save them as uint8 or uint16."
            )
        if image.dtype == np.uint64:
            if image.max(initial=0) > np.iinfo(np.int64).max:
                raise ValueError(
                    f"{where}: Labels hold {int(image.max())}; the largest number that can be read is "
                    f"{np.iinfo(np.int64).max}. Number the labels anew."
                )
            image = image.astype(np.int64)
        if image.size and int(image.min()) < UNKNOWN:
            raise ValueError(
                f"{where}: Labels hold {int(image.min())}; labels are 0 or more ({UNKNOWN} = unknown). "
                "Repaint these pixels."
            )
        return image, False

    @cached_property
    def looks(self) -> dict[int, _Look]:
        """What each frame holds; reads all label images, one at a time."""
        return {n: self._looked(read, self.where(n)) for n, read in self.files.items()}

    @cached_property
    def all_looks(self) -> list[_Look]:
        """The same of all images of this meaning."""
        return [*self.looks.values(), *(self._looked(read, self.path) for read in self._more())]

    def _looked(self, read: Read, where: Path | str) -> _Look:
        stored = read()
        image, coloured = self._integers(stored, where)
        top = int(np.iinfo(stored.dtype if stored.dtype.kind in "iu" else image.dtype).max)
        return _look(image, coloured, top)


class _Decided:
    """What stored labels mean, with what somebody says; each fact when it is asked for."""

    def __init__(
        self, stored: StoredLabels, kind: LabelKind | None, unlabelled: str | None
    ) -> None:
        self._stored, self._given, self._unlabelled = stored, kind, unlabelled

    @property
    def kind(self) -> LabelKind:
        return self._meaning[0]

    @property
    def reason(self) -> str:
        return self._meaning[1]

    @cached_property
    def frame_numbers(self) -> tuple[int, ...]:
        _ = self.kind  # nothing is annotated while that is unsure
        return tuple(n for n in self._stored.looks if n not in self.ignored)

    @cached_property
    def ignored(self) -> tuple[int, ...]:
        unknown = self._unlabelled == "unknown" or self._scribbles
        unknown = unknown or (self._stored.pages and self._unlabelled is None)
        return tuple(
            n
            for n, at in self._stored.looks.items()
            if not at.values.size and (unknown or (not at.zero and not self._minus_is_background))
        )

    @property
    def empty(self) -> frozenset[int]:
        looks = self._stored.looks
        return frozenset(n for n in self.frame_numbers if not looks[n].values.size)

    @property
    def partial(self) -> frozenset[int]:
        unknown = self._unlabelled == "unknown" and not self._scribbles
        return frozenset(self.frame_numbers if unknown else ())

    @property
    def _scribbles(self) -> bool:
        return self._given is LabelKind.SCRIBBLES

    def read(self, number: int) -> NDArray[np.int32]:
        """Read the labels of a frame, int32; see `Annotation.read`."""
        image, coloured = self._stored.image(number)
        if self._coloured and not coloured:
            image = image.astype(np.int64) * 0x010101
        if self.kind is LabelKind.CLASSES:
            numbers = np.searchsorted(self._classes, np.maximum(image, 0))
            image = np.where(image == UNKNOWN, UNKNOWN, numbers).astype(np.int32)
        elif self._coloured:
            image = np.unique(np.append(0, image), return_inverse=True)[1][1:].reshape(image.shape)
        if self._minus_is_background:
            image = np.maximum(image, 0)
        partial = number in self.partial
        try:
            labels = known_labels(image, self.kind, partial=partial)
        except ValueError as error:
            raise ValueError(f"{self._stored.where(number)}: {error}") from error
        if self._stored.pages and labels.ndim == 3 and self._unlabelled != "background":
            labels[~(labels > 0).any(axis=(1, 2))] = UNKNOWN  # a plane that nobody has labelled
        return labels

    def legend(self) -> tuple[tuple[str, str], ...]:
        """Return name and "#rrggbb" of each class, where its number says nothing."""
        if self.kind is not LabelKind.CLASSES:
            return ()
        numbers = [int(v) for v in self._classes]
        if self._coloured:
            colours = [(v >> 16 & 255, v >> 8 & 255, v & 255) for v in numbers if v]
            return make_legend(colours, self._stored.legend_folders)
        if len(numbers) <= 2 or numbers == list(range(len(numbers))):
            return ()
        names = [("background" if v == 0 else f"label {v}") for v in numbers]
        hues = [colorsys.hsv_to_rgb(k / len(names), 0.8, 1.0) for k in range(len(names))]
        shown = ["#" + bytes(round(255 * part) for part in hue).hex() for hue in hues]
        return tuple(zip(names, ["#000000", *shown[1:]], strict=True))

    # what all images hold

    @cached_property
    def _coloured(self) -> bool:
        return any(look.coloured for look in self._stored.all_looks)

    def _values(self, look: _Look) -> NDArray[Any]:
        grey = self._coloured and not look.coloured
        return look.values.astype(np.int64) * 0x010101 if grey else look.values

    @cached_property
    def _numbers(self) -> NDArray[Any]:
        """All numbers above 0, ascending."""
        found = [self._values(look) for look in self._stored.all_looks if look.values.size]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)

    @cached_property
    def _labelled(self) -> list[_Look]:
        return [look for look in self._stored.all_looks if look.values.size]

    @property
    def _zero(self) -> bool:
        return any(look.zero for look in self._labelled)

    @property
    def _unknown(self) -> bool:
        return any(look.unknown for look in self._labelled)

    @property
    def _minus_is_background(self) -> bool:
        return self._unlabelled == "background" and self._unknown and not self._zero

    @cached_property
    def _classes(self) -> NDArray[Any]:
        """The stored number of each class from 0."""
        numbers = self._numbers
        no_zero = not (self._zero or self._minus_is_background or self._unlabelled == "unknown")
        return numbers if no_zero and not self._unknown else np.append(0, numbers)

    # the decision

    @cached_property
    def _meaning(self) -> tuple[LabelKind, str]:
        where, numbers = self._stored.path, self._numbers
        if not numbers.size and not (self._unlabelled == "background" and self._stored.looks):
            raise ValueError(
                f"{where} holds no label in any frame; there is nothing to learn or to compare "
                "with. Label at least one object, or give other labels with --truth."
            )
        if self._unknown and not self._zero and self._unlabelled is None and not self._scribbles:
            raise LabelsUnsure(
                f"{where} holds -1 but no 0 beside the labels: -1 may be background or unknown.",
                "Say which: --unlabelled background or --unlabelled unknown.",
                "unlabelled",
                UNLABELLED,
            )
        if self._given is not None:
            return self._given, self._check_given(self._given)
        if not numbers.size:
            return LabelKind.INSTANCES, "no frame has an object"
        kind, reason = self._decide()
        return kind, reason + (self._renumbered() if kind is LabelKind.CLASSES else "")

    def _check_given(self, kind: LabelKind) -> str:
        if kind is LabelKind.SCRIBBLES and (
            self._coloured or self._numbers.max(initial=0) > MOST_CLASSES
        ):
            raise ValueError(
                f"{self._stored.path} holds {'colours' if self._coloured else int(self._numbers[-1])}; "
                f"scribbles are numbers from 1 (background) to {MOST_CLASSES}. Say --kind classes or "
                "--kind instances."
            )
        if kind is LabelKind.CLASSES:
            self._check_classes()
            return "as given" + self._renumbered()
        return "as given"

    def _check_classes(self) -> None:
        if len(self._classes) <= MOST_CLASSES:
            return
        what = "colours" if self._coloured else "different numbers"
        raise ValueError(
            f"{self._stored.path} holds {len(self._classes)} {what}, more than {MOST_CLASSES} classes. "
            "Are they objects, say --kind instances; are they classes, save one number a class, as PNG "
            "or TIFF: JPEG and smoothing add values."
        )

    def _renumbered(self) -> str:
        numbers = [int(v) for v in self._classes]
        plain = numbers == list(range(len(numbers))) or (len(numbers) == 2 and not numbers[0])
        if self._coloured or plain:
            return ""
        pairs = ", ".join(f"{v} = {'background' if k == 0 else k}" for k, v in enumerate(numbers))
        return f"; numbered anew: {pairs}"

    def _decide(self) -> tuple[LabelKind, str]:
        numbers, looks = self._numbers, self._labelled
        count = len(numbers)
        pieces = np.concatenate([look.pieces for look in looks])
        sizes = np.concatenate([look.pixels / look.pieces for look in looks])
        whole = float(np.mean(pieces == 1))
        what = "colours" if self._coloured else "numbers"
        if self._coloured and any(
            (f / "classes.json").is_file() for f in self._stored.legend_folders
        ):
            self._check_classes()
            return LabelKind.CLASSES, "classes.json names the colours"
        if count == 1 and not (self._zero or self._unknown):
            raise ValueError(
                f"{self._stored.path} holds {int(numbers[0])} in every pixel; there is nothing to tell "
                "apart. Save background as 0."
            )
        if 1 < count < _FEW and max(len(look.values) for look in looks) == 1:
            shown = ", ".join(str(int(number)) for number in numbers)
            raise self._unsure(f"holds one of the {what} {shown} in each frame")
        last = int(numbers[-1])
        void = last in (255, 65535, max(at.top for at in looks)) and not self._coloured
        if (
            void
            and count > 1
            and (int(numbers[-2]) == count - 1 or last > 4 * int(numbers[-2]))
            and last > count
        ):
            raise self._unsure(
                f"holds {count - 1} {what} and {last}, which may be an object, a class or unknown",
                "If it is unknown, save it as -1. Else say",
            )
        if count == 1 or (count == 2 and not self._zero and not self._unknown):
            return self._decide_two(whole)
        if np.median(sizes) < _SPECKS and count > MOST_CLASSES:
            self._check_classes()
        if whole >= _WHOLE:
            if not (self._zero or self._unknown):
                raise self._unsure(
                    f"holds {count} {what}, nearly each in one piece, and no background",
                    "If one of them is background, save it as 0. Else say",
                )
            if count >= _FEW or (not self._coloured and last > 255):
                return LabelKind.INSTANCES, f"{count} {what}, nearly each in one piece"
            raise self._unsure(f"holds {count} {what}, nearly each in one piece")
        several = f"{count} {what}, in several pieces"
        if count > MOST_CLASSES:
            raise self._unsure(f"holds {several}")
        if count < _FEW:
            if pieces.max() < 3:
                raise self._unsure(f"holds {several}")
        elif whole >= 0.5:
            raise self._unsure(f"holds {several}, but half of them in one")
        if self._could_be_scribbles():
            raise self._unsure(f"holds {several}, on few pixels")
        return LabelKind.CLASSES, several

    def _decide_two(self, whole: float) -> tuple[LabelKind, str]:
        number = int(self._numbers[-1])
        if len(self._numbers) == 2:
            return LabelKind.CLASSES, "two values"
        white = 0xFFFFFF if self._coloured else max(at.top for at in self._labelled)
        largest = number in (white, 255, 65535)
        if largest or whole < _WHOLE:
            return LabelKind.CLASSES, f"two values, 0 and {number}"
        raise self._unsure(f"holds one number, {number}, in one piece a frame")

    def _could_be_scribbles(self) -> bool:
        numbers = self._numbers
        if self._coloured:
            return False
        small = 2 <= len(numbers) <= 8 and int(numbers[-1]) == len(numbers)
        labelled = sum(int(at.pixels.sum()) for at in self._labelled)
        return small and labelled < _THIN * sum(at.size for at in self._labelled)

    def _unsure(self, what: str, remedy: str = "Say") -> LabelsUnsure:
        words = {
            LabelKind.INSTANCES: "instances (each number is one object)",
            LabelKind.CLASSES: "classes (each number is a class of pixels)",
            LabelKind.SCRIBBLES: "scribbles (0 is not labelled, 1 is background)",
        }
        if not self._could_be_scribbles():
            del words[LabelKind.SCRIBBLES]
        return LabelsUnsure(
            f"{self._stored.path} {what}; that does not tell what the labels mean.",
            f"{remedy} it with --kind: {' or '.join(words.values())}.",
            "kind",
            tuple(kind.value for kind in words),
        )
