"""Masks in files: ids, colours or two grey values, and what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_jnet.data.legend import make_legend
from napari_jnet.data.pictures import read_picture
from napari_jnet.data.stack import UNKNOWN, LabelKind, known_labels

__all__ = ["MaskFolder", "is_instances", "is_near_binary"]

_MOST_COLOURS = 64
_MOST_READ = 20


def is_near_binary(mask: NDArray[Any]) -> bool:
    """Say whether all values lie near 0 and 255, as JPEG leaves them of a mask of two values."""
    if mask.dtype != np.uint8:
        return False
    present = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
    return bool(present[-1] >= 223 and not ((present > 32) & (present < 223)).any())


def is_instances(mask: NDArray[Any]) -> bool:
    """Say whether ids are objects: more than one, and nearly each of them in one piece.

    Classes come in several pieces, as an image holds several lines or several vessels.
    """
    ids = np.unique(mask)
    ids = ids[ids > 0]
    if len(ids) < 2:
        return False
    some = ids[:: max(1, len(ids) // 50)]
    pieces = [ndimage.label(mask == value, np.ones((3, 3)))[1] for value in some]
    return float(np.mean(np.array(pieces) == 1)) >= 0.8


class MaskFolder:
    """The masks of a folder, as labels.

    What they mean is decided by the first mask that is not empty:

    - colours: a class for each colour, black = 0, the others from 1 sorted by red, green, blue over
      all masks (`colours`); all masks are read once when the first is asked for;
    - two grey values (0 and 255, or nearly, as JPEG leaves them; 0 and 1): classes 0 and 1, cut at
      128;
    - ids: instances if nearly each is one piece, else classes.

    Parameters
    ----------
    files
        Frame number -> mask.
    views
        Frame number -> mask of the field of view; pixels outside it are unknown.
    alike
        All masks of the same meaning, these and those of other folders (train, valid, test), so
        that a colour is the same class in each.  None: only these.
    """

    def __init__(
        self,
        files: Mapping[int, Path],
        views: Mapping[int, Path] | None = None,
        alike: Sequence[Path] | None = None,
    ) -> None:
        self._files = files
        self._views = views or {}
        self._alike = list(files.values()) if alike is None else list(alike)
        first = _first_telling(self._alike)
        self._coloured = first.ndim == 3
        self._binary = not self._coloured and (
            is_near_binary(first) or first.dtype == bool or int(first.max()) <= 1
        )
        ids = not (self._coloured or self._binary) and is_instances(first)
        self.kind = LabelKind.INSTANCES if ids else LabelKind.CLASSES

    @cached_property
    def colours(self) -> tuple[tuple[int, int, int], ...]:
        """Colour of class 1, 2, ...; empty if the masks are grey."""
        if not self._coloured:
            return ()
        found: set[int] = set()
        for path in self._alike:
            found.update(np.unique(_packed(_as_colour(_read(path)))).tolist())
            if len(found) > _MOST_COLOURS:
                raise ValueError(
                    f"{path} and those before it have more than {_MOST_COLOURS} colours; "
                    "each colour is a class. Save masks as PNG: JPEG and smoothing add colours."
                )
        found.discard(0)
        return tuple((c >> 16, c >> 8 & 255, c & 255) for c in sorted(found))

    def legend(self) -> tuple[tuple[str, str], ...]:
        """Return name and "#rrggbb" of each class from 0; empty if the masks are grey."""
        if not self._coloured:
            return ()
        folder = self._alike[0].parent
        return make_legend(self.colours, (folder, folder.parent, folder.parent.parent))

    def read(self, number: int) -> NDArray[np.int32]:
        """Read the labels of one frame, int32 (H, W), `UNKNOWN` outside the field of view.

        Raises
        ------
        ValueError
            If the mask is damaged, or of another kind than the first one.
        """
        path = self._files[number]
        labels = self._labels(path, _read(path))
        if number not in self._views:
            return labels
        view = _read(self._views[number])
        if view.shape[:2] != labels.shape:
            raise ValueError(
                f"{self._views[number]} has {view.shape[:2]} pixels, {path} has {labels.shape}; "
                "field of view and mask cover the same pixels."
            )
        outside = view == 0 if view.ndim == 2 else ~view.any(axis=-1)
        return np.where(outside, UNKNOWN, labels).astype(np.int32)

    def _labels(self, path: Path, mask: NDArray[Any]) -> NDArray[np.int32]:
        if self._coloured:
            packed = _packed(_as_colour(mask))
            known = np.array([0, *(r << 16 | g << 8 | b for r, g, b in self.colours)])
            return np.searchsorted(known, packed).astype(np.int32)
        if mask.ndim == 3:
            raise ValueError(
                f"{path} has colours, the first mask of the folder is grey; masks of a folder are "
                "alike. Convert it, or move it away."
            )
        if self._binary and is_near_binary(mask):
            return (mask >= 128).astype(np.int32)
        try:
            return known_labels(mask, self.kind)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def _read(path: Path) -> NDArray[Any]:
    """Read a mask; three equal channels are grey."""
    mask = read_picture(path)
    if mask.ndim == 3:
        first = mask[..., :1]
        if (np.abs(mask.astype(np.int32) - first) <= 8).all():
            return np.asarray(mask[..., 0])
    return mask


def _first_telling(files: Sequence[Path]) -> NDArray[Any]:
    """Read masks until one is not empty, but not many: opening is to be quick."""
    for path in files[:_MOST_READ]:
        mask = _read(path)
        if mask.any():
            return mask
    return mask


def _as_colour(mask: NDArray[Any]) -> NDArray[Any]:
    return mask if mask.ndim == 3 else np.repeat(mask[..., None], 3, axis=-1)


def _packed(mask: NDArray[Any]) -> NDArray[np.int64]:
    red, green, blue = np.moveaxis(mask.astype(np.int64), -1, 0)
    return np.asarray(red << 16 | green << 8 | blue)
