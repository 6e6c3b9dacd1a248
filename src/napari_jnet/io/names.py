"""Which image belongs to which mask: pairs by file name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

_WORDS = (
    r"(?<![a-z])(?:ground_?truths?|annotations?|annotated|labels?|masks?|man_?seg|manual|seg|segmentation|"
    r"gt|instances|cp_masks)\d?(?![a-z])"
)


_LABEL_WORD = re.compile(_WORDS, re.IGNORECASE)


_LABEL_END = re.compile(rf"({_WORDS})[\W_]*\d*$", re.IGNORECASE)


_IMAGE_WORD = re.compile(
    r"(?<![a-z])(?:volumes?|images?|img|im|raw|stack|data|training)(?![a-z])", re.IGNORECASE
)


_Rule = Callable[[str], object]


_SEPARATORS = re.compile(r"[\W_]+")


def is_label_name(stem: str) -> bool:
    """Say whether a file name ends with a word for labels: "train-labels", "cells_mask_07"."""
    return label_word(stem) != ""


def label_word(stem: str) -> str:
    """Return the word for labels that a file name ends with, in small letters; "" without one."""
    found = _LABEL_END.search(stem)
    return found[1].lower() if found and stem.lower() != "instances" else ""  # what predict writes


def core_name(stem: str) -> str:
    """Return what an image and its labels share: "train" of "train-volume" and "train-labels"."""
    bare = _IMAGE_WORD.sub(" ", _LABEL_WORD.sub(" ", stem))
    return _SEPARATORS.sub(" ", bare).strip().lower()


def natural_key(stem: str) -> tuple[tuple[str, int], ...]:
    """Return what sorts names as people count: t2 before t10."""
    parts = re.findall(r"(\D*)(\d*)", stem.lower())
    return tuple((text, int(digits or -1)) for text, digits in parts)


def numbers_of(stems: Iterable[str]) -> dict[str, int] | None:
    """Return the number that orders names: that in which names differ that else are the same.

    None if the names differ in more than one number, or in something else.
    """
    stems = list(stems)
    if len({re.sub(r"\d+", "0", stem.lower()) for stem in stems}) != 1:
        return None
    rows = [[int(digits) for digits in re.findall(r"\d+", stem)] for stem in stems]
    columns = [column for column in zip(*rows, strict=True) if len(set(column)) > 1]
    if not columns and len(stems) == 1 and len(rows[0]) == 1:
        columns = [tuple(rows[0])]
    if len(columns) != 1 or len(set(columns[0])) < len(stems) or max(columns[0]) >= 10**9:
        return None
    return dict(zip(stems, columns[0], strict=True))


def file_number(stem: str) -> int | None:
    """Return the first number in a file name: 21 of "21_manual1"; None without one."""
    match = re.search(r"\d+", stem)
    return int(match[0]) if match and len(match[0]) < 10 else None


def pair_names(images: Iterable[Path], masks: Iterable[Path]) -> dict[Path, Path]:
    """Find the image of each mask: by the same stem, by what is left without words, by the number.

    The number is the one that differs from file to file, else the first; "_0000" of nnU-Net's
    images is left out.

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
    numbers = [numbers_of(path.stem for path in paths) or {} for paths in (images, masks)]
    rules: tuple[tuple[_Rule, _Rule], ...] = (
        (str.lower, str.lower),
        (core_name, core_name),
        (lambda stem: stem.lower().removesuffix("_0000"), str.lower),
        (numbers[0].get, numbers[1].get),
        (file_number, file_number),
    )
    best: dict[Path, Path] = {}
    for of_image, of_mask in rules:
        by_key = _unique({path: of_image(path.stem) for path in images})
        keys = _unique({path: of_mask(path.stem) for path in masks})
        found = {by_key[key]: mask for key, mask in keys.items() if key in by_key}
        if len(found) == len(masks):
            return found
        best = max(best, found, key=len)
    lost = sorted(set(masks) - set(best.values()))
    twins = [mask for mask in lost if core_name(mask.stem) == core_name(lost[0].stem)]
    if len(twins) > 1 and any(core_name(p.stem) == core_name(lost[0].stem) for p in images):
        raise ValueError(
            f"{lost[0].parent.name} has {' and '.join(mask.name for mask in twins)} for the same image; "
            "keep one of them."
        )
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
