"""What marks a file as a result of ours, and which prediction it belongs to."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_jnet.files import reading
from napari_jnet.io.tiff import tiff_text

MARK = "napari_jnet"  # key of our text in the description of a TIFF file, and in that of a PNG file
MAPS: dict[str, Any] = {  # their names in the order in which they are written, and their types
    "probability": np.float32,
    "distance": np.float32,
    "classes": np.uint8,
    "instances": np.uint32,
}
_TIFF_NAMES = re.compile(rf"(?:{'|'.join(MAPS)})\.tiff?", re.IGNORECASE)
MASK_NAME = re.compile(r"mask(\d+)\.tiff?")
_PNG_NAMES = re.compile(r"(?:seg|dist)_.+\.png", re.IGNORECASE)


@dataclass(frozen=True)
class ResultMark:
    """The prediction that a file of a result belongs to."""

    prediction: str = ""  # identifier, shared by all its files; "" in files of the first version
    count: int = 0  # frames that were to be predicted; 0 if unknown
    sequence: str = ""  # of the stack, "01"; "" if it has none or it is unknown

    @classmethod
    def of(cls, text: dict[str, Any]) -> ResultMark | None:
        """Read the mark in the description of a file; None if the file is not ours."""
        mark = text.get(MARK)
        if isinstance(mark, dict):
            count = mark.get("count")
            count = count if isinstance(count, int) else 0
            return cls(str(mark.get("prediction", "")), count, str(mark.get("sequence", "")))
        # Versions before the mark wrote the numbers of the frames, which no other program does.
        return cls() if "frames" in text and text.keys() <= {"shape", "axes", "frames"} else None


def description(page: Any) -> dict[str, Any]:
    """Return the JSON object in the description of a TIFF page; empty if there is none."""
    with suppress(ValueError, RecursionError):
        found = json.loads(tiff_text(page.description))
        return found if isinstance(found, dict) else {}
    return {}


def read_mark(path: Path) -> ResultMark | None:
    """Read the mark of a TIFF file of any name; None if it has none, or cannot be read."""
    # A damaged file makes tifffile raise nearly anything.
    with suppress(Exception), reading(path, "a TIFF image"), tifffile.TiffFile(path) as file:
        return ResultMark.of(description(file.pages.first))
    return None


def is_result(path: Path) -> bool:
    """Return whether a file is a result of ours, by its name and then by its content."""
    mask = path.parent.name.endswith("_RES") and MASK_NAME.fullmatch(path.name)
    if mask or _TIFF_NAMES.fullmatch(path.name):
        return read_mark(path) is not None
    if _PNG_NAMES.fullmatch(path.name):
        from PIL import Image

        with suppress(Exception), reading(path, "an image"), Image.open(path) as image:
            return MARK in image.info
    return False
