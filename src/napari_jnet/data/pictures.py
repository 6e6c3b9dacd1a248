"""Single images of any common type, with errors that name the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.data.tiff import TIFF_SUFFIXES, read_header, read_tiff

__all__ = ["PICTURE_SUFFIXES", "picture_header", "read_picture"]

PICTURE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".gif", ".bmp")

_GREY_MODES: dict[str, np.dtype[Any]] = {
    "1": np.dtype(np.uint8),
    "L": np.dtype(np.uint8),
    "I;16": np.dtype(np.uint16),
    "I;16B": np.dtype(np.uint16),
    "I": np.dtype(np.int32),
    "F": np.dtype(np.float32),
}


def picture_header(path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape, (H, W) or (H, W, 3), and type of an image; reads no pixels."""
    if path.suffix.lower() in TIFF_SUFFIXES:
        header = read_header(path)
        shape = tuple(n for n in header.shape if n != 1)
        return (*shape[:2], 3) if len(shape) == 3 else shape, header.dtype
    with _open(path) as image:
        if image.mode in _GREY_MODES:
            return (image.height, image.width), _GREY_MODES[image.mode]
        return (image.height, image.width, 3), np.dtype(np.uint8)


def read_picture(path: Path) -> NDArray[Any]:
    """Read an image as (H, W), or (H, W, 3) for colours: no transparency, the first of several.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, or no image.
    """
    if path.suffix.lower() in TIFF_SUFFIXES:
        return _plain(path, np.squeeze(read_tiff(path)))
    with _open(path) as image:
        try:
            grey = image.mode in _GREY_MODES
            if image.mode == "1":
                image = image.convert("L")
            return _plain(path, np.asarray(image if grey else image.convert("RGB")))
        except (OSError, SyntaxError, ValueError) as error:
            raise _damaged(path, error) from error


def _plain(path: Path, array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim == 3 and array.shape[-1] in (3, 4):
        return array[..., :3]
    if array.ndim != 2:
        raise ValueError(
            f"{path} has shape {array.shape}; an image of a folder is (H, W), grey, or (H, W, 3), "
            "colour. Open stacks one by one."
        )
    return array


def _open(path: Path) -> Any:
    # Here, not above: most stacks are TIFF files and need no Pillow.
    from PIL import Image, UnidentifiedImageError

    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; check the path, or restore the file.")
    try:
        return Image.open(path)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{path} cannot be read as an image ({error}); the file is truncated or damaged. "
        "Copy or download it again."
    )
