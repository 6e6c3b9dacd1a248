"""The formats of stacks on disk by name, and labels named beside a stack."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

from napari_jnet.io import ctc, folder, volume
from napari_jnet.io.folder import IMAGE_SUFFIXES, read_mask
from napari_jnet.io.meaning import UNLABELLED, StoredLabels
from napari_jnet.io.stack import Annotation, Stack
from napari_jnet.io.tiff import TIFF_SUFFIXES
from napari_jnet.labels import LabelKind

# The first that matches opens.  A format is a module with DESCRIPTION (what a path
# looks like, for messages), matches(path), which reads no pixels and does not raise, and
# open_stack(path, sequence, *, axes, series), which reads no pixels of the image.
FORMATS: dict[str, ModuleType] = {"ctc": ctc, "volume": volume, "folder": folder}


class UnknownFormat(ValueError):
    """A path that is of no known format."""


def open_files(
    path: Path,
    *,
    sequence: str | None = None,
    axes: str | None = None,
    series: int | None = None,
) -> Stack:
    """Open a stack of image files, see `napari_jnet.open_stack`; `UnknownFormat` if no format matches."""
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; check the path.")
    for known in FORMATS.values():
        if known.matches(path):
            stack: Stack = known.open_stack(path, sequence, axes=axes, series=series)
            return stack
    known_formats = "; ".join(known.DESCRIPTION for known in FORMATS.values())
    raise UnknownFormat(f"{path} is not a stack that can be opened. Known are: {known_formats}.")


def with_labels(
    stack: Stack,
    kind: LabelKind | str | None = None,
    truth: str | None = None,
    unlabelled: str | None = None,
) -> Stack:
    """Return a stack with its labels as the user specifies them; see `napari_jnet.open_stack`."""
    if unlabelled is not None and unlabelled not in UNLABELLED:
        raise ValueError(
            f"unlabelled is {unlabelled!r}; pixels without a label are {' or '.join(UNLABELLED)}."
        )
    chosen_kind = None if kind is None else LabelKind(kind)
    found = dict(stack.annotations)
    if truth is not None:
        chosen = found.pop(truth) if truth in found else _labels_at(stack, truth)
        found = {chosen.name: chosen, **({} if stack.candidates else found)}
        stack = replace(stack, annotations=found, candidates=False)
    if chosen_kind is None and unlabelled is None:
        return stack
    names = list(found) if truth is None else list(found)[:1]
    if not names:
        raise ValueError(
            f"{stack.name} has no labels that --kind or --unlabelled could describe; choose some with "
            "--truth FILE."
        )
    decided = {name: _decided(found[name], chosen_kind, unlabelled) for name in names}
    return replace(stack, annotations={**found, **decided})


def _decided(annotation: Annotation, kind: LabelKind | None, unlabelled: str | None) -> Annotation:
    if annotation.decide is not None:
        return annotation.decide(kind, unlabelled)
    if unlabelled is not None or kind is not annotation.kind:
        raise ValueError(
            f"The kind of the labels {annotation.name!r} ({annotation.path}) is stored with them: "
            f"{annotation.kind}. Omit --kind and --unlabelled, or change it on the page Annotate."
        )
    return annotation


def _labels_at(stack: Stack, truth: str) -> Annotation:
    beside = () if stack.path is None else (stack.path / truth, stack.path.parent / truth)
    path = next((p.absolute() for p in (Path(truth), *beside) if p.exists()), None)
    if path is None:
        names = f"; its labels are {', '.join(stack.annotations)}" if stack.annotations else ""
        raise FileNotFoundError(
            f"{truth} is neither a path nor labels of {stack.name}{names}. Choose a file or a folder."
        )
    shape = stack.shape[:-1] if stack.axes.endswith("C") else stack.shape
    numbers = stack.frame_numbers
    suffix = path.suffix.lower()
    if path.is_dir():
        labels = _labels_in(stack, path, len(shape))
    elif suffix in TIFF_SUFFIXES:
        labels = volume.volume_labels(
            path.name, path, shape, numbers, stack.name, series=stack.series
        )
    elif len(stack) > 1 or suffix not in IMAGE_SUFFIXES:
        raise ValueError(
            f"{path} cannot hold the labels of the {len(stack)} frames of {stack.name}; choose a TIFF "
            "file of all frames, or a folder with a mask a frame."
        )
    else:
        read = {numbers[0]: lambda: read_mask(path)}
        labels = StoredLabels(path.name, path, lambda: read, lambda _number: path)
    return labels.annotation()


def _labels_in(stack: Stack, path: Path, ndim: int) -> StoredLabels:
    """Find the masks in a folder: of frames of the same name or number."""
    inside = path / "SEG" if (path / "SEG").is_dir() else path
    masks = folder.image_files(inside)
    if not masks:
        raise ValueError(f"{inside} holds no masks; known are {', '.join(IMAGE_SUFFIXES)} files.")
    if stack.format == "folder" and stack.path is not None:
        images = folder.frame_files(stack.path)
    else:
        images = {n: Path(f"t{n:0{stack.digits}d}") for n in stack.frame_numbers}
    return folder.mask_labels(path.name, masks, images, ndim)
