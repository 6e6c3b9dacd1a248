"""A folder of images with a folder of masks: PNG, TIFF, JPEG or GIF, grey or colour.

Or several of them, side by side in folders named train, valid and test: each is a sequence.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.files import check_room, reading
from napari_jnet.io.meaning import StoredLabels
from napari_jnet.io.names import (
    core_name,
    file_number,
    label_word,
    natural_key,
    numbers_of,
    pair_names,
)
from napari_jnet.io.own_files import is_result
from napari_jnet.io.stack import Stack
from napari_jnet.io.tiff import TIFF_SUFFIXES, TiffHeader, read_header, read_tiff
from napari_jnet.labels import UNKNOWN

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


_IMAGE_FOLDERS = ("images", "image", "imgs", "img", "raw", "frames", "imagestr")


_MASK_FOLDERS = (
    "1st_manual",
    "manual",
    "labels",
    "label",
    "masks",
    "mask",
    "annotations",
    "ground_truth",
    "groundtruth",
    "gt",
    "seg",
    "segmentation",
    "labelstr",
)


_KNOWN = (*_IMAGE_FOLDERS, *_MASK_FOLDERS)


_DERIVED = re.compile(r"_(?:cp_)?(?:flows|outlines|cellprob|dP)$")  # what Cellpose writes beside


TRAINING = ("train", "training")


VALIDATION = ("valid", "validation", "val")


_PARTS = (*TRAINING, *VALIDATION, "test", "testing")


@dataclass(frozen=True)
class FolderFiles:
    """The images of a folder, and what may be their masks.

    Attributes
    ----------
    path
        What the stack is called by, and opened by again.
    images
        Sorted by name.
    masks
        Folder, or word at the end of the names -> masks.  Several: nothing says which are meant.
    views
        Masks of the field of view.
    """

    path: Path
    images: tuple[Path, ...]
    masks: Mapping[str, tuple[Path, ...]]
    views: tuple[Path, ...] = ()


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
    inside = {name: found for name, found in _subfolders(parent).items() if name in _KNOWN}
    images = next((n for n in (word, *_IMAGE_FOLDERS) if n in inside and n in _IMAGE_FOLDERS), None)
    if images is None or not (own := pictures(inside[images])):
        return _plain(path)
    names = [word] if word in _MASK_FOLDERS and word in inside else [*_MASK_FOLDERS]
    # DRIVE: vessels in 1st_manual, the camera's field of view in mask.
    drive = "1st_manual" in names and "1st_manual" in inside
    views = pictures(inside["mask"]) if drive and "mask" in inside else []
    found = {n: pictures(inside[n]) for n in names if n in inside and not (views and n == "mask")}
    masks = {inside[name].name: tuple(files) for name, files in found.items() if files}
    return FolderFiles(
        parent if masks else inside[images], tuple(own), masks, tuple(views) if masks else ()
    )


def _plain(folder: Path) -> FolderFiles | None:
    """Tell images and masks of one folder apart by their names."""
    files = pictures(folder)
    images = {_bare(p.stem) for p in files if not _made_of_another(p.stem)}
    masks: dict[str, tuple[Path, ...]] = {}
    derived: set[Path] = set()
    for path in files:
        stem = _DERIVED.sub("", path.stem)
        word = label_word(stem)
        if not _made_of_another(path.stem):
            continue
        digits = word[len(word.rstrip("0123456789")) :]  # of a frame, or of an annotator
        if not images & {_bare(stem), _bare(stem) + digits}:
            continue
        derived.add(path)
        if stem == path.stem:
            masks[word.rstrip("0123456789")] = (*masks.get(word.rstrip("0123456789"), ()), path)
    left = tuple(path for path in files if path not in derived)
    return FolderFiles(folder, left, masks) if left else None


def _bare(stem: str) -> str:
    return core_name(stem).replace(" ", "")


def _made_of_another(stem: str) -> bool:
    return bool(label_word(stem) or _DERIVED.search(stem))


def parts(path: Path) -> dict[str, Path]:
    """Find the folders train, valid and test (in this order) that hold images; by their names."""
    path = Path(os.path.abspath(path))
    if not path.is_dir():
        return {}
    inside = _subfolders(path)
    return {n: inside[n] for n in _PARTS if n in inside and find_folders(inside[n]) is not None}


def matches(path: Path) -> bool:
    """Say whether the path is a folder of images, alone or with masks, or of parts of that kind."""
    return find_folders(path) is not None or bool(parts(path))


def _check_twins(root: Path, images: Sequence[Path]) -> None:
    """Refuse one image in two formats: it would be two frames."""
    named: dict[str, Path] = {}
    for image in images:
        twin = named.setdefault(image.stem, image)
        if twin != image:
            raise ValueError(
                f"{root} holds {twin.name} and {image.name}, which would be two frames. Keep one of them, or "
                "give them names of their own."
            )


def open_folder(path: Path, sequence: str | None = None, *, order: str = "natural") -> Stack:
    """Open a folder of images; reads one image header, and no mask before it is asked for.

    Parameters
    ----------
    path
        See `find_folders`.
    sequence
        "train", "valid" or "test" of a folder of parts (None takes the first of them), or of such a
        part itself, as its stack says; else None.
    order
        Of the frames: "natural", or "first number" as before version 0.1.0.

    Returns
    -------
    Stack
        Axes "TYX", "TYXC" or "TZYX", one frame an image.  ``shape`` is that of the first image: the
        images of a folder may differ in size.  Frames have the number in their names that differs,
        if no other does; else they count from 0, sorted as people count.  The masks are the
        annotation "masks"; of several folders of masks each is one by its name.  What they mean is
        decided from all masks, see `napari_jnet.data.meaning`.

    Raises
    ------
    ValueError
        If there is no image, the first is damaged, or two files have one name but for their ends.
    """
    found = find_folders(Path(path))
    if found is None and (among := parts(Path(path))):
        return _open_part(Path(path), among, sequence, order)
    if found is None:
        raise ValueError(
            f"{path} holds no image; known are {', '.join(PICTURE_SUFFIXES)} files, alone "
            "or in a folder 'images' beside a folder 'masks'."
        )
    root = Path(os.path.abspath(path))
    if sequence is not None and sequence == root.name.lower() and sequence in _PARTS:
        return _open_part(root.parent, {sequence: root}, sequence, order)
    if sequence is not None:
        raise ValueError(
            f"{path} has no sequences, but sequence {sequence!r} was asked for; leave it out."
        )
    if order == "natural":
        _check_twins(root, found.images)
    images = _by_number(found.images) if order == "natural" else _by_first_number(found.images)
    shape, dtype, axes = picture_header(next(iter(images.values())))
    spatial = axes.replace("C", "")
    names = ["masks"] if len(found.masks) == 1 else list(found.masks)
    return Stack(
        name=found.path.name,
        format="folder",
        path=found.path,
        axes="T" + axes,
        frame_numbers=tuple(images),
        shape=shape,
        dtype=dtype,
        read=lambda number: _read(images, number, axes),
        annotations={
            name: mask_labels(
                name,
                masks,
                images,
                len(spatial),
                views=found.views,
                alike=functools.partial(_alike, found.path, key),
            ).annotation()
            for name, (key, masks) in zip(names, found.masks.items(), strict=True)
        },
        scale=(1.0,) * (1 + len(spatial)),
        units=("pixel",) * (1 + len(spatial)),
        digits=max(3, len(str(max(images)))),
        candidates=True,
    )


def _open_part(path: Path, among: Mapping[str, Path], sequence: str | None, order: str) -> Stack:
    name = next(iter(among)) if sequence is None else sequence
    if name not in among:
        raise ValueError(f"{path} has no sequence {name!r}; it has {', '.join(among)}.")
    root = os.path.basename(os.path.abspath(path))
    return replace(open_folder(among[name], order=order), name=f"{root} {name}", sequence=name)


def largest_frame(stack: Stack) -> tuple[int, ...]:
    """Return a shape that every image of the folder fits in; reads all headers, no pixels.

    Channels as in ``stack.shape``.
    """
    shapes = frame_shapes(stack)
    largest = (max(sides) for sides in zip(*shapes, strict=True))
    return (*largest, *stack.shape[len(shapes[0]) :])


def frame_shapes(stack: Stack) -> list[tuple[int, ...]]:
    """Return the shape of every image of a folder, without channels; reads all headers, no pixels."""
    last = len(stack.axes.replace("C", "")) - 1
    found = find_folders(stack.path) if stack.path is not None else None
    if found is None:
        return [stack.shape[:last]]
    return [picture_header(path)[0][:last] for path in found.images]


def _read(images: Mapping[int, Path], number: int, axes: str) -> NDArray[Any]:
    found = picture_header(images[number])[2]
    if found != axes:
        words = {"YX": "grey", "YXC": "colour", "ZYX": "a stack of sections"}
        raise ValueError(
            f"{images[number]} is {words[found]}, the first image of the folder is "
            f"{words[axes]}; images of a folder are alike. Convert it, or move it away."
        )
    return read_picture(images[number])


def frame_files(path: Path) -> dict[int, Path]:
    """Return frame number -> image of a folder."""
    found = find_folders(path)
    return {} if found is None else _by_number(found.images)


def mask_labels(
    name: str,
    masks: Sequence[Path],
    images: Mapping[int, Path],
    ndim: int,
    *,
    views: Sequence[Path] = (),
    alike: Callable[[], list[Path]] = list,
) -> StoredLabels:
    """Return the labels of frames in files of their own.

    Parameters
    ----------
    name
        Of the annotation.
    masks
        The files, of frames with the same name or number.
    images
        Frame number -> image file.
    ndim
        Axes of a frame without colours.
    views
        Masks of the field of view; pixels outside it are unknown.
    alike
        Lists masks of the same meaning, such as those of valid: a class has one number in all.
    """
    paired: dict[int, Path] = {}
    folder = masks[0].parent

    def files() -> dict[int, Callable[[], NDArray[Any]]]:
        pairs = pair_names(images.values(), masks)
        view_of = pair_names(images.values(), views) if views else {}
        paired.update({n: pairs[image] for n, image in images.items() if image in pairs})
        seen = {n: view_of.get(images[n]) for n in paired}
        return {n: functools.partial(_read_seen, mask, seen[n]) for n, mask in paired.items()}

    def more() -> list[Callable[[], NDArray[Any]]]:
        own = set(masks)
        return [functools.partial(read_mask, mask) for mask in alike() if mask not in own]

    near = (folder, folder.parent, folder.parent.parent)
    return StoredLabels(
        name,
        folder,
        files,
        lambda n: paired.get(n, folder),
        ndim=ndim,
        pages=ndim == 3,  # planes without labels are not annotated, as in a label volume
        more=more,
        legend_folders=near,
    )


def _read_seen(mask: Path, view: Path | None) -> NDArray[Any]:
    labels = read_mask(mask)
    if view is None:
        return labels
    seen = read_mask(view)
    if seen.shape[:2] != labels.shape[:2]:
        raise ValueError(
            f"{view} has {seen.shape[:2]} pixels, {mask} has {labels.shape[:2]}; "
            "field of view and mask cover the same pixels."
        )
    if labels.ndim > 2:
        raise ValueError(
            f"{mask} is in colours, but has the field of view {view}; save the mask as grey."
        )
    outside = seen == 0 if seen.ndim == 2 else ~seen.any(axis=-1)
    return np.where(outside, UNKNOWN, labels.astype(np.int64))


def _alike(part: Path, key: str) -> list[Path]:
    """Masks of this kind in all of train, valid and test, where the folder is one of them."""
    if part.name.lower() not in _PARTS:
        return []
    found = [find_folders(other) for other in parts(part.parent).values()]
    groups = [folder.masks.get(key, ()) for folder in found if folder is not None]
    return [mask for group in groups for mask in group]


def _by_number(files: Sequence[Path]) -> dict[int, Path]:
    numbers = numbers_of(path.stem for path in files)
    if numbers is not None:
        return dict(sorted((numbers[path.stem], path) for path in files))
    return dict(enumerate(sorted(files, key=lambda path: natural_key(path.stem))))


def _by_first_number(files: Sequence[Path]) -> dict[int, Path]:
    found = {n: path for path in files if (n := file_number(path.stem)) is not None}
    same_names = len({re.sub(r"\d", "", path.stem) for path in files}) == 1
    if same_names and len(found) == len(files):
        return dict(sorted(found.items()))
    return dict(enumerate(files))


def _subfolders(folder: Path) -> dict[str, Path]:
    with os.scandir(folder) as entries:
        return {e.name.lower(): Path(e.path) for e in entries if os.path.isdir(e.path)}


def pictures(folder: Path) -> list[Path]:
    """List the images in a folder by name; hidden files are no data."""
    names = [n for n in os.listdir(folder) if n.lower().endswith(PICTURE_SUFFIXES)]
    found = [folder / name for name in sorted(names) if not name.startswith(".")]
    return [path for path in found if not is_result(path)]
