"""A folder of images with a folder of masks: PNG, TIFF, JPEG or GIF, grey or colour.

Or several of them, side by side in folders named train, valid and test: each is a sequence.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.files import check_memory, reading
from napari_jnet.io.axes import with_axes
from napari_jnet.io.marks import is_result
from napari_jnet.io.meaning import StoredLabels
from napari_jnet.io.stack import Stack
from napari_jnet.io.tiff import TIFF_SUFFIXES, TiffHeader, read_header, read_tiff
from napari_jnet.labels import UNKNOWN

# names of files

_WORDS = (
    r"(?<![a-z])(?:ground_?truths?|annotations?|annotated|labels?|masks?|man_?seg|manual|seg|segmentation|"
    r"gt|instances|cp_masks)\d?(?![a-z])"
)
_LABEL_WORD = re.compile(_WORDS, re.IGNORECASE)
_LABEL_END = re.compile(rf"({_WORDS})[\W_]*\d*$", re.IGNORECASE)
_IMAGE_WORD = re.compile(
    r"(?<![a-z])(?:volumes?|images?|img|im|raw|stack|data|training)(?![a-z])", re.IGNORECASE
)
_DERIVED = re.compile(r"_(?:cp_)?(?:flows|outlines|cellprob|dP)$")  # what Cellpose writes beside


def label_word(stem: str) -> str:
    """Return the word for labels at the end of a file name, as in "train-labels"; "" without one."""
    found = _LABEL_END.search(stem)
    return found[1].lower() if found and stem.lower() != "instances" else ""  # what predict writes


def core_name(stem: str) -> str:
    """Return what an image and its labels share: "train" of "train-volume" and "train-labels"."""
    bare = _IMAGE_WORD.sub(" ", _LABEL_WORD.sub(" ", stem))
    return re.sub(r"[\W_]+", " ", bare).strip().lower()


def _natural_key(path: Path) -> tuple[tuple[str, int], ...]:
    """Return a key that sorts names in natural order: t2 before t10."""
    parts = re.findall(r"(\D*)(\d*)", path.stem.lower())
    return tuple((text, int(digits or -1)) for text, digits in parts)


def _numbers_of(paths: Iterable[Path]) -> dict[str, int]:
    """Return the number that orders names: the only part in which they differ.

    Empty if the names differ in more than one number, or in something else.
    """
    stems = [path.stem for path in paths]
    if len({re.sub(r"\d+", "0", stem.lower()) for stem in stems}) != 1:
        return {}
    rows = [[int(digits) for digits in re.findall(r"\d+", stem)] for stem in stems]
    columns = [column for column in zip(*rows, strict=True) if len(set(column)) > 1]
    if not columns and len(stems) == 1 and len(rows[0]) == 1:
        columns = [tuple(rows[0])]
    if len(columns) != 1 or len(set(columns[0])) < len(stems) or max(columns[0]) >= 10**9:
        return {}
    return dict(zip(stems, columns[0], strict=True))


def _first_number(stem: str) -> int | None:
    match = re.search(r"\d+", stem)
    return int(match[0]) if match and len(match[0]) < 10 else None


def pair_names(images: Iterable[Path], masks: Iterable[Path]) -> dict[Path, Path]:
    """Return image -> mask: by the same stem, by the stem without words such as "mask", by the number.

    The number is the one that differs from file to file, else the first; "_0000" of nnU-Net's
    images is ignored.  The first of these rules under which every mask has one image of its own is used;
    `ValueError` if none does.  Images without a mask are omitted.
    """
    images, masks = list(images), list(masks)
    rules: tuple[tuple[Callable[[str], object], Callable[[str], object]], ...] = (
        (str.lower, str.lower),
        (core_name, core_name),
        (lambda stem: stem.lower().removesuffix("_0000"), str.lower),
        (_numbers_of(images).get, _numbers_of(masks).get),
        (_first_number, _first_number),
    )
    best: dict[Path, Path] = {}
    for of_image, of_mask in rules:
        image_of = _by_key(images, of_image)
        found = {image_of[k]: mask for k, mask in _by_key(masks, of_mask).items() if k in image_of}
        if len(found) == len(masks):
            return found
        best = max(best, found, key=len)
    lost = min(set(masks) - set(best.values()))
    where = images[0].parent if images else "the folder of images"
    raise ValueError(
        f"{lost.parent.name} has {lost.name} but {where} has no image of this name or number, or another "
        "mask for it; every mask belongs to one image, and an image has one. Rename it, or move it away."
    )


def _by_key(paths: Iterable[Path], key: Callable[[str], object]) -> dict[object, Path]:
    """Index paths by a key of their names; keys that two paths share, and None, are skipped."""
    found: dict[object, list[Path]] = {}
    for path in paths:
        found.setdefault(key(path.stem), []).append(path)
    return {k: same[0] for k, same in found.items() if len(same) == 1 and k is not None}


# pixels of one file

IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".gif", ".bmp")

_GRAY_MODES: dict[str, Any] = {
    "1": np.uint8,
    "L": np.uint8,
    "I;16": np.uint16,
    "I;16B": np.uint16,
    "I": np.int32,
    "F": np.float32,
}
_OPENING = Lock()


def image_header(path: Path) -> tuple[tuple[int, ...], np.dtype[Any], str]:
    """Return shape, type and axes ("YX", "YXC" or "ZYX") of an image; reads no pixels."""
    if path.suffix.lower() in TIFF_SUFFIXES:
        header = read_header(path)
        axes, order, samples = _order(path, header)
        shape = tuple(header.shape[k] for k in order)
        return (*shape[:2], 3) if samples == 4 else shape, header.dtype, axes
    with _opened(path) as image:
        size = image.height, image.width
        if image.mode in _GRAY_MODES:
            return size, np.dtype(_GRAY_MODES[image.mode]), "YX"
        return (*size, 3), np.dtype(np.uint8), "YXC"


def _order(path: Path, header: TiffHeader) -> tuple[str, list[int], int]:
    """Return the axes of a TIFF file of one frame, their places in it, and its samples of colour."""
    used = [k for k, n in enumerate(header.shape) if n != 1 or header.axes[k] in "YX"]
    names = {"S": "C", "I": "Z", "Q": "Z"}
    places = {names.get(header.axes[k], header.axes[k]): k for k in used}
    axes = next((a for a in ("YX", "YXC", "ZYX") if set(a) == set(places)), "")
    if not axes or len(places) != len(used):
        raise ValueError(
            f"{path} has axes {header.axes} and shape {header.shape}; a file in a folder is one frame: "
            "(Y, X), with channels or with sections. Open films and positions one by one."
        )
    samples = header.shape[places["C"]] if header.axes[places.get("C", 0)] == "S" else 0
    return axes, [places[axis] for axis in axes], samples


def read_image(path: Path) -> NDArray[Any]:
    """Read an image as (H, W), (H, W, C) or (Z, H, W): no transparency, the first of several.

    Raises `FileNotFoundError`, or `ValueError` if the file is damaged, or not an image of one frame.
    """
    if path.suffix.lower() in TIFF_SUFFIXES:
        header = read_header(path)
        _, order, samples = _order(path, header)
        rest = [k for k in range(len(header.shape)) if k not in order]
        image = read_tiff(path).transpose(rest + order).reshape([header.shape[k] for k in order])
        return image[..., :3] if samples == 4 else image
    with _opened(path) as image:
        return _pixels(path, image)


def read_mask(path: Path) -> NDArray[Any]:
    """Read labels as (H, W), (Z, H, W) or colours (H, W, 3); three equal channels are grey.

    A palette is read as colours if one of those in use is black, which is background, and no two
    numbers share one; else, and in TIFF files, its numbers are read.  JPEG files whose values are close
    to 0 and 255 hold only these two.
    """
    if path.suffix.lower() in TIFF_SUFFIXES:
        mask = read_image(path)
    else:
        with _opened(path) as image:
            mask = _pixels(path, image)
            if image.mode == "P":
                numbers = np.asarray(image)
                shown = np.unique(mask.reshape(-1, mask.shape[-1]), axis=0)
                if len(shown) < len(np.unique(numbers)) or shown[0].any():
                    return numbers
    lossy = path.suffix.lower() in (".jpg", ".jpeg")
    if mask.ndim == 3 and mask.shape[-1] == 3:
        spread = np.abs(mask.astype(np.int64) - mask[..., :1])
        mask = mask[..., 0] if spread.max(initial=0) <= (8 if lossy else 0) else mask
    near = lossy and mask.ndim == 2 and mask.max(initial=0) >= 223
    if near and not ((mask > 32) & (mask < 223)).any():
        return np.where(mask >= 128, 255, 0).astype(np.uint8)
    return mask


def _pixels(path: Path, image: Any) -> NDArray[Any]:
    gray = image.mode in _GRAY_MODES
    # Pillow holds the pixels, colours as four bytes, and the array is a copy.
    size = 2 * np.dtype(_GRAY_MODES[image.mode]).itemsize if gray else 8
    check_memory(path, image.width * image.height * size)
    return np.asarray(image.convert("L" if image.mode == "1" else image.mode if gray else "RGB"))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    # Here, not above: most stacks are TIFF files and need no Pillow.
    from PIL import Image

    with reading(path, "an image"):
        # Pillow refuses large images as attacks, but scans of slides are as large.
        with _OPENING:
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                image = Image.open(path)
            finally:
                Image.MAX_IMAGE_PIXELS = limit
        with image:
            yield image


# which files are images, and which are masks

TRAINING = ("train", "training")
VALIDATION = ("valid", "validation", "val")
_SUBSETS = (*TRAINING, *VALIDATION, "test", "testing")
_IMAGE_FOLDERS = ("images", "image", "imgs", "img", "raw", "frames", "imagestr")
_MASK_FOLDERS = (
    "1st_manual", "manual", "labels", "label", "masks", "mask", "annotations", "ground_truth",
    "groundtruth", "gt", "seg", "segmentation", "labelstr",
)  # fmt: skip


@dataclass(frozen=True)
class FolderFiles:
    """The images of a folder, sorted by name, and what may be their masks.

    `masks` are those in a folder, or with a word at the end of their names; of several, it is not known
    which are meant.  `fov_masks` show the field of view.
    """

    path: Path
    images: tuple[Path, ...]
    masks: Mapping[str, tuple[Path, ...]]
    fov_masks: tuple[Path, ...] = ()


def find_folders(path: Path) -> FolderFiles | None:
    """Find images, masks and fields of view of a path; None if there is no image.

    `path` is the folder that holds both, one of the two, or a plain folder of images.  In a plain
    folder a name with a word for labels at its end, such as ``a_masks.png``, is a mask of ``a.png``.
    """
    path = Path(os.path.abspath(path))
    if not path.is_dir():
        return None
    word = path.name.lower()
    parent = path.parent if word in (*_IMAGE_FOLDERS, *_MASK_FOLDERS) else path
    inside = _subfolders(parent)
    images = next((n for n in (word, *_IMAGE_FOLDERS) if n in inside and n in _IMAGE_FOLDERS), None)
    if images is None or not (own := image_files(inside[images])):
        return _plain(path)
    names = [word] if word in _MASK_FOLDERS and word in inside else [*_MASK_FOLDERS]
    # DRIVE: vessels in 1st_manual, the camera's field of view in mask.
    drive = "1st_manual" in names and "1st_manual" in inside
    fov_masks = image_files(inside["mask"]) if drive and "mask" in inside else []
    found = {
        n: image_files(inside[n]) for n in names if n in inside and not (fov_masks and n == "mask")
    }
    masks = {inside[name].name: tuple(files) for name, files in found.items() if files}
    if not masks:
        return FolderFiles(inside[images], tuple(own), masks)
    return FolderFiles(parent, tuple(own), masks, tuple(fov_masks))


def _plain(folder: Path) -> FolderFiles | None:
    """Separate images and masks of one folder by their names."""

    def bare(stem: str) -> str:
        return core_name(stem).replace(" ", "")

    files = image_files(folder)
    images = {p for p in files if not (label_word(p.stem) or _DERIVED.search(p.stem))}
    named = {bare(path.stem) for path in images}
    masks: dict[str, list[Path]] = {}
    for path in files:
        if path in images:
            continue
        stem = _DERIVED.sub("", path.stem)
        word = label_word(stem)
        plain = word.rstrip("0123456789")  # digits are of a frame, or of an annotator
        if not named & {bare(stem), bare(stem) + word.removeprefix(plain)}:
            images.add(path)
        elif stem == path.stem:
            masks.setdefault(plain, []).append(path)
    own = tuple(p for p in files if p in images)
    by_word = {word: tuple(paths) for word, paths in masks.items()}
    return FolderFiles(folder, own, by_word) if images else None


def _subfolders(folder: Path) -> dict[str, Path]:
    with os.scandir(folder) as entries:
        return {e.name.lower(): Path(e.path) for e in entries if os.path.isdir(e.path)}


def image_files(folder: Path) -> list[Path]:
    """List the images in a folder by name; skip hidden files and results of ours."""
    names = [n for n in os.listdir(folder) if n.lower().endswith(IMAGE_SUFFIXES)]
    found = [folder / name for name in sorted(names) if not name.startswith(".")]
    return [path for path in found if not is_result(path)]


def subsets(path: Path) -> dict[str, Path]:
    """Find the folders train, valid and test (in this order) that hold images; by their names."""
    path = Path(os.path.abspath(path))
    inside = _subfolders(path) if path.is_dir() else {}
    return {n: inside[n] for n in _SUBSETS if n in inside and find_folders(inside[n]) is not None}


def matches(path: Path) -> bool:
    """Return whether the path is a folder of images, alone or with masks, or of such subsets."""
    return find_folders(path) is not None or bool(subsets(path))


def _by_number(files: Sequence[Path]) -> dict[int, Path]:
    if numbers := _numbers_of(files):
        return dict(sorted((numbers[path.stem], path) for path in files))
    return dict(enumerate(sorted(files, key=_natural_key)))


def _by_first_number(files: Sequence[Path]) -> dict[int, Path]:
    found = {n: path for path in files if (n := _first_number(path.stem)) is not None}
    same_names = len({re.sub(r"\d", "", path.stem) for path in files}) == 1
    if same_names and len(found) == len(files):
        return dict(sorted(found.items()))
    return dict(enumerate(files))


# the stack

DESCRIPTION = (
    "a folder of images, alone or with masks (images/a.png, masks/a.png), "
    "or of such folders named train, valid and test"
)


def open_stack(
    path: Path,
    sequence: str | None = None,
    *,
    axes: str | None = None,
    series: int | None = None,
    order: str = "natural",
) -> Stack:
    """Open a folder of images, see `find_folders`; reads one image header, and masks on first use.

    The axes are "TYX", "TYXC" or "TZYX", one frame an image.  ``shape`` is that of the first image: the
    images of a folder may differ in size.  Frames have the number in their names that differs, if no other
    does; else they count from 0, in natural order, or with ``order="first number"`` as before version 0.1.0.
    The masks are the annotation "masks"; of several folders of masks each is one by its name.

    ``sequence`` is "train", "valid" or "test" of a folder of subsets (None takes the first of them), or
    of such a subset itself, by its own name.
    """
    root = Path(os.path.abspath(path))
    found = find_folders(root)
    found_subsets = {} if found is not None else subsets(root)
    if found is not None and sequence == root.name.lower() and sequence in _SUBSETS:
        found_subsets, root = {sequence: root}, root.parent
    if found_subsets:
        name = next(iter(found_subsets)) if sequence is None else sequence
        if name not in found_subsets:
            raise ValueError(f"{path} has no sequence {name!r}; it has {', '.join(found_subsets)}.")
        stack = open_stack(found_subsets[name], axes=axes, series=series, order=order)
        return replace(stack, name=f"{root.name} {name}", sequence=name)
    if found is None:
        raise ValueError(
            f"{path} holds no image; known are {', '.join(IMAGE_SUFFIXES)} files, alone "
            "or in a folder 'images' beside a folder 'masks'."
        )
    if sequence is not None:
        raise ValueError(
            f"{path} has no sequences, but sequence {sequence!r} was requested; omit it."
        )
    images = _by_number(found.images) if order == "natural" else _by_first_number(found.images)
    named: dict[str, Path] = {}
    for image in found.images if order == "natural" else ():
        other = named.setdefault(image.stem, image)
        if other != image:  # one image in two formats
            raise ValueError(
                f"{root} holds {other.name} and {image.name}, which would be two frames. Keep one of "
                "them, or give them names of their own."
            )
    shape, dtype, stored = image_header(next(iter(images.values())))
    ndim = len(stored.replace("C", ""))
    names = ["masks"] if len(found.masks) == 1 else list(found.masks)
    stack = Stack(
        name=found.path.name,
        format="folder",
        path=found.path,
        axes=f"T{stored}",
        frame_numbers=tuple(images),
        shape=shape,
        dtype=dtype,
        read=lambda number: _read(images[number], stored),
        annotations={
            name: mask_labels(
                name, masks, images, ndim, found.fov_masks, partial(_all_masks, found.path, key)
            ).annotation()
            for name, (key, masks) in zip(names, found.masks.items(), strict=True)
        },
        digits=max(3, len(str(max(images)))),
        candidates=True,
    )
    return with_axes(path, stack, axes, series)


def _read(path: Path, axes: str) -> NDArray[Any]:
    found = image_header(path)[2]
    if found != axes:
        names = {"YX": "grey", "YXC": "colour", "ZYX": "a stack of sections"}
        raise ValueError(
            f"{path} is {names[found]}, the first image of the folder is "
            f"{names[axes]}; all images of a folder have the same kind. Convert it, or move it away."
        )
    return read_image(path)


def largest_frame(stack: Stack) -> tuple[int, ...]:
    """Return a shape that every image of the folder fits in, with the channels of ``stack.shape``."""
    shapes = frame_shapes(stack)
    largest = (max(sides) for sides in zip(*shapes, strict=True))
    return (*largest, *stack.shape[len(shapes[0]) :])


def frame_shapes(stack: Stack) -> list[tuple[int, ...]]:
    """Return the shape of every image of a folder, without channels; reads all headers, no pixels."""
    last = len(stack.axes.replace("C", "")) - 1
    found = find_folders(stack.path) if stack.path is not None else None
    if found is None:
        return [stack.shape[:last]]
    return [image_header(path)[0][:last] for path in found.images]


def frame_files(path: Path) -> dict[int, Path]:
    """Return frame number -> image of a folder."""
    found = find_folders(path)
    return {} if found is None else _by_number(found.images)


def mask_labels(
    name: str,
    masks: Sequence[Path],
    images: Mapping[int, Path],
    ndim: int,
    fov_masks: Sequence[Path] = (),
    others: Callable[[], list[Path]] = list,
) -> StoredLabels:
    """Return the labels of frames in files of their own, by the same name or number.

    `images` are those of the frames by number, whose labels have `ndim` axes without colours.  Pixels outside
    `fov_masks` are unknown.  `others` lists masks of the same meaning, such as those of valid: a class has
    one number in all.
    """
    paired: dict[int, Path] = {}
    folder, own = masks[0].parent, set(masks)

    def find() -> dict[int, Callable[[], NDArray[Any]]]:
        mask_of = pair_names(images.values(), masks)
        fov_mask_of = pair_names(images.values(), fov_masks) if fov_masks else {}
        paired.update({n: mask_of[image] for n, image in images.items() if image in mask_of})
        return {
            n: partial(_read_in_view, mask, fov_mask_of.get(images[n]))
            for n, mask in paired.items()
        }

    return StoredLabels(
        name,
        folder,
        find,
        lambda number: paired.get(number, folder),
        ndim=ndim,
        pages=ndim == 3,  # planes without labels are not annotated, as in a label volume
        others=lambda: [partial(read_mask, mask) for mask in others() if mask not in own],
    )


def _read_in_view(mask: Path, view: Path | None) -> NDArray[Any]:
    labels = read_mask(mask)
    if view is None:
        return labels
    seen = read_mask(view)
    if labels.ndim > 2 or seen.shape[:2] != labels.shape:
        raise ValueError(
            f"{view} has {seen.shape[:2]} pixels, {mask} has {labels.shape}; field of view and mask cover "
            "the same pixels, and such a mask is grey. Convert it, or move the field of view away."
        )
    outside = seen == 0 if seen.ndim == 2 else ~seen.any(axis=-1)
    return np.where(outside, UNKNOWN, labels.astype(np.int64))


def _all_masks(subset: Path, key: str) -> list[Path]:
    """List the masks of this kind in all of train, valid and test, where the folder is one of them."""
    if subset.name.lower() not in _SUBSETS:
        return []
    found = [find_folders(other) for other in subsets(subset.parent).values()]
    return [mask for files in found if files is not None for mask in files.masks.get(key, ())]
