"""A folder of images with a folder of masks: PNG, TIFF, JPEG or GIF, grey or colour.

Or several of them, side by side in folders named train, valid and test: each is a sequence.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from napari_jnet.data.masks import MaskFolder
from napari_jnet.data.names import file_number, pair_names
from napari_jnet.data.pictures import PICTURE_SUFFIXES, picture_header, read_picture
from napari_jnet.data.stack import Annotation, Stack

__all__ = [
    "TRAINING",
    "VALIDATION",
    "find_folders",
    "largest_frame",
    "matches",
    "open_folder",
    "parts",
]

_IMAGE_FOLDERS = ("images", "image", "imgs", "img", "raw", "frames")
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
)
TRAINING = ("train", "training")
VALIDATION = ("valid", "validation", "val")
_PARTS = (*TRAINING, *VALIDATION, "test", "testing")


def find_folders(path: Path) -> tuple[Path, Path | None, Path | None] | None:
    """Find images, masks and fields of view of a path; None if there is no image.

    `path` is the folder that holds both, one of the two, or a plain folder of images.
    """
    path = Path(os.path.abspath(path))
    if not path.is_dir():
        return None
    parent = path
    if path.name.lower() in (*_IMAGE_FOLDERS, *_MASK_FOLDERS):
        parent = path.parent
    inside = _subfolders(parent)
    images = next((inside[name] for name in _IMAGE_FOLDERS if name in inside), None)
    masks = next((inside[name] for name in _MASK_FOLDERS if name in inside), None)
    if images is None or not _pictures(images):
        return (path, None, None) if _pictures(path) else None
    if masks is not None and not _pictures(masks):
        masks = None
    # DRIVE: vessels in 1st_manual, the camera's field of view in mask.
    drive = masks is not None and masks.name == "1st_manual"
    return images, masks, inside.get("mask") if drive else None


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


def open_folder(path: Path, sequence: str | None = None) -> Stack:
    """Open a folder of images; reads one image header and one mask.

    Parameters
    ----------
    path
        See `find_folders`.
    sequence
        "train", "valid" or "test" of a folder of parts (None takes the first of them), or of such a
        part itself, as its stack says; else None.

    Returns
    -------
    Stack
        Axes "TYX" or "TYXC", one frame an image.  ``shape`` is that of the first image: the images
        of a folder may differ in size.  Frame numbers are those in the names if every image has one
        of its own, else they count from 0.  The annotation "masks" says what the masks mean, see
        `MaskFolder`.

    Raises
    ------
    ValueError
        If there is no image, a mask has no image, or a file is damaged.
    """
    found = find_folders(Path(path))
    if found is None and (among := parts(Path(path))):
        return _open_part(Path(path), among, sequence)
    if found is None:
        raise ValueError(
            f"{path} holds no image; known are {', '.join(PICTURE_SUFFIXES)} files, alone "
            "or in a folder 'images' beside a folder 'masks'."
        )
    root = Path(os.path.abspath(path))
    if sequence is not None and sequence == root.name.lower() and sequence in _PARTS:
        return _open_part(root.parent, {sequence: root}, sequence)
    if sequence is not None:
        raise ValueError(
            f"{path} has no sequences, but sequence {sequence!r} was asked for; leave it out."
        )
    folder, masks, views = found
    images = _by_number(_pictures(folder))
    shape, dtype = picture_header(next(iter(images.values())))
    alone = masks is None
    return Stack(
        name=folder.name if alone else folder.parent.name,
        format="folder",
        path=folder if alone else folder.parent,
        axes="TYXC" if len(shape) == 3 else "TYX",
        frame_numbers=tuple(images),
        shape=shape,
        dtype=dtype,
        read=lambda number: _read(images, number, len(shape)),
        annotations={} if masks is None else _annotations(images, masks, views),
        scale=(1.0, 1.0, 1.0),
        units=("pixel", "pixel", "pixel"),
        digits=max(3, len(str(max(images)))),
    )


def _open_part(path: Path, among: Mapping[str, Path], sequence: str | None) -> Stack:
    name = next(iter(among)) if sequence is None else sequence
    if name not in among:
        raise ValueError(f"{path} has no sequence {name!r}; it has {', '.join(among)}.")
    root = os.path.basename(os.path.abspath(path))
    return replace(open_folder(among[name]), name=f"{root} {name}", sequence=name)


def largest_frame(stack: Stack) -> tuple[int, ...]:
    """Return a shape that every image of the folder fits in; reads all headers, no pixels.

    Channels as in ``stack.shape``.
    """
    found = find_folders(stack.path) if stack.path is not None else None
    if found is None:
        return stack.shape
    shapes = [picture_header(path)[0][:2] for path in _pictures(found[0])]
    return (max(s[0] for s in shapes), max(s[1] for s in shapes), *stack.shape[2:])


def _read(images: Mapping[int, Path], number: int, dimensions: int) -> NDArray[Any]:
    image = read_picture(images[number])
    if image.ndim != dimensions:
        words = {2: "grey", 3: "colour"}
        raise ValueError(
            f"{images[number]} is {words[image.ndim]}, the first image of the folder is "
            f"{words[dimensions]}; images of a folder are alike. Convert it, or move it away."
        )
    return image


def _annotations(
    images: Mapping[int, Path], masks: Path, views: Path | None
) -> dict[str, Annotation]:
    pairs = pair_names(images.values(), _pictures(masks))
    view_of = pair_names(images.values(), _pictures(views)) if views is not None else {}
    annotated = {n: pairs[image] for n, image in images.items() if image in pairs}
    visible = {n: view_of[image] for n, image in images.items() if image in view_of}
    found = MaskFolder(annotated, visible, _alike(masks))
    annotation = Annotation(
        "masks", found.kind, tuple(annotated), found.read, path=masks, read_legend=found.legend
    )
    return {"masks": annotation}


def _alike(masks: Path) -> list[Path]:
    """Masks of this folder and, where it is one of train, valid and test, of the others."""
    part = masks.parent
    found = [masks]
    if part.name.lower() in _PARTS:
        folders = (find_folders(other) for other in parts(part.parent).values())
        found = [folder[1] for folder in folders if folder is not None and folder[1] is not None]
    return [picture for folder in found for picture in _pictures(folder)]


def _by_number(files: Sequence[Path]) -> dict[int, Path]:
    found = {n: path for path in files if (n := file_number(path.stem)) is not None}
    same_names = len({_without_digits(path.stem) for path in files}) == 1
    if same_names and len(found) == len(files):
        return dict(sorted(found.items()))
    return dict(enumerate(files))


def _without_digits(stem: str) -> str:
    return "".join(letter for letter in stem if not letter.isdigit())


def _subfolders(folder: Path) -> dict[str, Path]:
    with os.scandir(folder) as entries:
        return {e.name.lower(): Path(e.path) for e in entries if e.is_dir()}


def _pictures(folder: Path) -> list[Path]:
    names = [n for n in os.listdir(folder) if n.lower().endswith(PICTURE_SUFFIXES)]
    return [folder / name for name in sorted(names) if not name.startswith(".")]
