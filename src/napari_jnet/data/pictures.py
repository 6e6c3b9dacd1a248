"""Single images of any common type, with errors that name the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.data.readable import check_room, reading
from napari_jnet.data.tiff import TIFF_SUFFIXES, TiffHeader, read_header, read_tiff

__all__ = ["PICTURE_SUFFIXES", "picture_header", "read_mask", "read_picture"]

PICTURE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".gif", ".bmp")

_GREY_MODES: dict[str, np.dtype[Any]] = {
    "1": np.dtype(np.uint8),
    "L": np.dtype(np.uint8),
    "I;16": np.dtype(np.uint16),
    "I;16B": np.dtype(np.uint16),
    "I": np.dtype(np.int32),
    "F": np.dtype(np.float32),
}
_OPENING = Lock()


def picture_header(path: Path) -> tuple[tuple[int, ...], np.dtype[Any], str]:
    """Return shape, type and axes ("YX", "YXC" or "ZYX") of an image; reads no pixels."""
    if path.suffix.lower() in TIFF_SUFFIXES:
        header = read_header(path)
        axes, order, samples = _order(path, header)
        shape = tuple(header.shape[k] for k in order)
        return (*shape[:2], 3) if samples == 4 else shape, header.dtype, axes
    with _opened(path) as image:
        if image.mode in _GREY_MODES:
            return (image.height, image.width), _GREY_MODES[image.mode], "YX"
        return (image.height, image.width, 3), np.dtype(np.uint8), "YXC"


def _order(path: Path, header: TiffHeader) -> tuple[str, list[int], int]:
    """Return the axes of a TIFF file of one frame, their places in it, and its samples of colour."""
    kept = [k for k, n in enumerate(header.shape) if n != 1 or header.axes[k] in "YX"]
    names = {"S": "C", "I": "Z", "Q": "Z"}
    places = {names.get(header.axes[k], header.axes[k]): k for k in kept}
    axes = next((a for a in ("YX", "YXC", "ZYX") if set(a) == set(places)), "")
    if not axes or len(places) != len(kept):
        raise ValueError(
            f"{path} has axes {header.axes} and shape {header.shape}; a file in a folder is one frame: "
            "(Y, X), with channels or with sections. Open films and positions one by one."
        )
    samples = header.shape[places["C"]] if header.axes[places.get("C", 0)] == "S" else 0
    return axes, [places[axis] for axis in axes], samples


def read_picture(path: Path, *, indices: bool = False) -> NDArray[Any]:
    """Read an image as (H, W), (H, W, C) or (Z, H, W): no transparency, the first of several.

    Parameters
    ----------
    path
        Of the image.
    indices
        Of a TIFF file with a palette, read its numbers, not the colours that it shows.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, or no image of one frame.
    """
    if path.suffix.lower() in TIFF_SUFFIXES:
        header = read_header(path, indices=indices)
        _, order, samples = _order(path, header)
        rest = [k for k in range(len(header.shape)) if k not in order]
        stored = read_tiff(path, indices=indices)
        image = stored.transpose(rest + order).reshape([header.shape[k] for k in order])
        return image[..., :3] if samples == 4 else image
    with _opened(path) as image:
        return _pixels(path, image)


def read_mask(path: Path) -> NDArray[Any]:
    """Read labels as (H, W), (Z, H, W) or colours (H, W, 3); three equal channels are grey.

    A palette counts as colours if one of those in use is black, which is background, and no two
    numbers share one; else, and in TIFF files, its numbers count.  JPEG files near to two values hold 0
    and 255.
    """
    if path.suffix.lower() in TIFF_SUFFIXES:
        mask = read_picture(path, indices=True)
    else:
        with _opened(path) as image:
            mask = _pixels(path, image)
            if image.mode == "P":
                numbers = np.asarray(image)
                shown = np.unique(mask.reshape(-1, mask.shape[-1]), axis=0)
                if len(shown) < len(np.unique(numbers)) or shown[0].any():
                    return numbers
    lossy = path.suffix.lower() in (".jpg", ".jpeg")
    if mask.ndim == 3 and mask.shape[-1] == 3 and _is_grey(mask, 8 if lossy else 0):
        mask = mask[..., 0]
    near = lossy and mask.ndim == 2 and mask.max(initial=0) >= 223
    if near and not ((mask > 32) & (mask < 223)).any():
        return np.where(mask >= 128, 255, 0).astype(np.uint8)
    return mask


def _is_grey(mask: NDArray[Any], tolerance: int) -> bool:
    return bool((np.abs(mask.astype(np.int64) - mask[..., :1]) <= tolerance).all())


def _pixels(path: Path, image: Any) -> NDArray[Any]:
    grey = _GREY_MODES.get(image.mode)
    # Pillow holds the pixels, colours as four bytes, and the array is a copy.
    check_room(path, image.width * image.height * (2 * grey.itemsize if grey else 8))
    if image.mode == "1":
        image = image.convert("L")
    return np.asarray(image if grey else image.convert("RGB"))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    # Here, not above: most stacks are TIFF files and need no Pillow.
    from PIL import Image

    with reading(path, "an image"):
        # Pillow takes large images for attacks, but scans of slides are as large.
        with _OPENING:
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                image = Image.open(path)
            finally:
                Image.MAX_IMAGE_PIXELS = limit
        with image:
            yield image
