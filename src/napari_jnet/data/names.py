"""Which image belongs to which mask: pairs by file name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = ["core_name", "file_number", "is_label_name", "pair_names"]

_LABEL_WORD = re.compile(
    r"(?<![a-z])(?:ground_?truths?|annotations?|annotated|labels?|masks?|man_?seg|manual|seg|segmentation|"
    r"gt|instances|cp_masks)\d?(?![a-z])",
    re.IGNORECASE,
)
_IMAGE_WORD = re.compile(
    r"(?<![a-z])(?:volumes?|images?|img|im|raw|stack|data|training)(?![a-z])", re.IGNORECASE
)
_SEPARATORS = re.compile(r"[\W_]+")


def is_label_name(stem: str) -> bool:
    """Say whether a file name speaks of labels: "train-labels", "cells_mask"."""
    return _LABEL_WORD.search(stem) is not None


def core_name(stem: str) -> str:
    """Return what an image and its labels share: "train" of "train-volume" and "train-labels"."""
    bare = _IMAGE_WORD.sub(" ", _LABEL_WORD.sub(" ", stem))
    return _SEPARATORS.sub(" ", bare).strip().lower()


def file_number(stem: str) -> int | None:
    """Return the first number in a file name: 21 of "21_manual1"; None without one."""
    match = re.search(r"\d+", stem)
    return int(match[0]) if match and len(match[0]) < 10 else None


def pair_names(images: Iterable[Path], masks: Iterable[Path]) -> dict[Path, Path]:
    """Find the image of each mask: by the same stem, by what is left without words, by the number.

    The first of these rules under which every mask has one image of its own is used.

    Returns
    -------
    dict
        Image -> mask.  Images without a mask are left out.

    Raises
    ------
    ValueError
        If no rule gives every mask an image.
    """
    images, masks = list(images), list(masks)
    rules = (str.lower, core_name, lambda stem: file_number(stem))
    best: dict[Path, Path] = {}
    for rule in rules:
        by_key = _unique({path: rule(path.stem) for path in images})
        keys = _unique({path: rule(path.stem) for path in masks})
        found = {by_key[key]: mask for key, mask in keys.items() if key in by_key}
        if len(found) == len(masks):
            return found
        best = max(best, found, key=len)
    lost = sorted(set(masks) - set(best.values()))
    more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
    where = images[0].parent if images else "the folder of images"
    raise ValueError(
        f"{lost[0].parent.name} has {lost[0].name}{more} but {where} has no image of this name or "
        "number; every mask belongs to one image. Rename it, or move it away."
    )


def _unique(keys: Mapping[Path, object]) -> dict[object, Path]:
    """Invert; keys that two paths share, and empty ones, pair nothing."""
    found: dict[object, Path] = {}
    shared = set()
    for path, key in keys.items():
        if key in found:
            shared.add(key)
        found[key] = path
    return {key: path for key, path in found.items() if key not in shared and key is not None}
