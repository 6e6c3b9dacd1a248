"""Which files are results of this program: they may be written anew, and are never taken for data."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tifffile

from napari_jnet.files import reading
from napari_jnet.io.stack import Stack
from napari_jnet.io.tiff import tiff_words

MARK = "napari_jnet"


"""Key of our words in the description of a TIFF file, and of a text in a PNG file."""


_TIFF_NAMES = re.compile(r"(?:probability|distance|instances|classes)\.tiff?", re.IGNORECASE)


_MASK_NAMES = re.compile(r"mask\d+\.tiff?", re.IGNORECASE)


_PNG_NAMES = re.compile(r"(?:seg|dist)_.+\.png", re.IGNORECASE)


_WORDS_BEFORE_MARKS = {"shape", "axes", "frames"}


@dataclass(frozen=True)
class ResultMark:
    """What a file of a result tells of its prediction.

    Attributes
    ----------
    prediction
        The same in all files of one prediction, and in no other; "" in files of older versions.
    count
        Frames that were to be predicted; 0 if unknown.
    sequence
        Of the stack, "01"; "" if it has none or it is unknown.
    """

    prediction: str = ""
    count: int = 0
    sequence: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"prediction": self.prediction, "count": self.count, "sequence": self.sequence}

    @classmethod
    def of_description(cls, description: str) -> ResultMark | None:
        """Read the description of a TIFF page; None if it is not ours."""
        try:
            words = json.loads(tiff_words(description))
        except (ValueError, RecursionError):
            return None
        if not isinstance(words, dict):
            return None
        mark = words.get(MARK)
        if isinstance(mark, dict):
            count = mark.get("count")
            return cls(
                str(mark.get("prediction", "")),
                count if isinstance(count, int) else 0,
                str(mark.get("sequence", "")),
            )
        # Versions before the mark wrote the numbers of the frames, which no other program does.
        return cls() if "frames" in words and words.keys() <= _WORDS_BEFORE_MARKS else None


def is_result(path: Path) -> bool:
    """Whether a file is a result of ours, by name and content; reads a header of likely names only."""
    mask = path.parent.name.endswith("_RES") and _MASK_NAMES.fullmatch(path.name)
    if mask or _TIFF_NAMES.fullmatch(path.name):
        return read_mark(path) is not None
    return _PNG_NAMES.fullmatch(path.name) is not None and _marked_png(path)


def read_mark(path: Path) -> ResultMark | None:
    """Read the mark of a TIFF file of any name; None if it has none, or cannot be read."""
    # A damaged file makes tifffile raise nearly anything.
    with suppress(Exception), reading(path, "a TIFF image"), tifffile.TiffFile(path) as file:
        return ResultMark.of_description(file.pages.first.description)
    return None


def _marked_png(path: Path) -> bool:
    from PIL import Image

    with suppress(Exception), reading(path, "an image"), Image.open(path) as image:
        return MARK in image.info
    return False


class InputFiles:
    """Every file that a stack and its annotations may be read from, known by what it is on disk.

    Parameters
    ----------
    stack
        Its files are those that it was opened from, and all that lie in its folders.
    """

    def __init__(self, stack: Stack) -> None:
        self._files: dict[tuple[int, int], list[tuple[Path, bool]]] = {}
        for path, named in _input_files(stack):
            with suppress(OSError):
                found = path.stat()
                self._files.setdefault((found.st_dev, found.st_ino), []).append((path, named))

    def find(self, target: Path) -> Path | None:
        """Return which input a result of ours is, by whatever name or link; None if none.

        A result that lies in a folder of the stack is no input by that alone.
        """
        try:
            own = target.stat()
        except OSError:
            return None
        here = _place(target)
        for path, named in self._files.get((own.st_dev, own.st_ino), ()):
            if named or _place(path) != here:
                return path
        return None


def _place(path: Path) -> tuple[str, str]:
    return os.path.realpath(path.parent), os.path.normcase(path.name)


def _input_files(stack: Stack) -> Iterator[tuple[Path, bool]]:
    """Yield the files, and whether a file is named as an input itself."""
    places = [stack.path, *(annotation.path for annotation in stack.annotations.values())]
    for place in dict.fromkeys(place for place in places if place is not None):
        if place.is_file():
            yield place, True
        for folder, _, names in os.walk(place if place.is_dir() else place.parent):
            yield from ((Path(folder) / name, False) for name in names)
            if place.is_file():
                break
