"""The formats of stacks on disk by name, and labels named beside a stack."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from napari_jnet.io import ctc, folder
from napari_jnet.io import volume as isbi
from napari_jnet.io.axes import size_text
from napari_jnet.io.folder import PICTURE_SUFFIXES, read_mask
from napari_jnet.io.meaning import StoredLabels, check_unlabelled
from napari_jnet.io.stack import Annotation, Stack
from napari_jnet.io.tiff import TIFF_SUFFIXES, read_header
from napari_jnet.labels import LabelKind


def with_labels(
    stack: Stack,
    kind: LabelKind | str | None = None,
    truth: str | Path | None = None,
    unlabelled: str | None = None,
) -> Stack:
    """Return a stack with what somebody says of its labels.

    Parameters
    ----------
    stack
        As a format opens it.
    kind, truth, unlabelled
        See `napari_jnet.open_stack`.

    Raises
    ------
    FileNotFoundError
        If `truth` is neither an annotation nor a path.
    ValueError
        If the stack has no labels of this kind, or a word is unknown.
    """
    check_unlabelled(unlabelled)
    meant = None if kind is None else LabelKind(kind)
    found = dict(stack.annotations)
    if truth is not None:
        chosen = found.pop(str(truth)) if str(truth) in found else _labels_at(stack, truth)
        found = {chosen.name: chosen, **({} if stack.candidates else found)}
        stack = replace(stack, annotations=found, candidates=False)
    if meant is None and unlabelled is None:
        return stack
    names = list(found) if truth is None else list(found)[:1]
    if not names:
        raise ValueError(
            f"{stack.name} has no labels whose meaning could be said; name some with --truth FILE."
        )
    said = {name: _decided(found[name], meant, unlabelled) for name in names}
    return replace(stack, annotations={**found, **said})


def _decided(annotation: Annotation, kind: LabelKind | None, unlabelled: str | None) -> Annotation:
    if annotation.decide is not None:
        return annotation.decide(kind, unlabelled)
    if unlabelled is not None or kind is not annotation.kind:
        raise ValueError(
            f"What the labels {annotation.name!r} ({annotation.path}) mean is kept with them: "
            f"{annotation.kind}. Leave out --kind and --unlabelled, or change it in the step Annotate."
        )
    return annotation


def _labels_at(stack: Stack, truth: str | Path) -> Annotation:
    beside = () if stack.path is None else (stack.path / truth, stack.path.parent / truth)
    path = next((p.absolute() for p in (Path(truth), *beside) if p.exists()), None)
    if path is None:
        names = f"; its labels are {', '.join(stack.annotations)}" if stack.annotations else ""
        raise FileNotFoundError(
            f"{truth} is neither a path nor labels of {stack.name}{names}. Give a file or a folder."
        )
    if path.is_dir():
        return _labels_in(stack, path).annotation()
    if path.suffix.lower() in TIFF_SUFFIXES:
        return isbi.volume_labels(
            path.name, path, _spatial(stack), stack.frame_numbers, stack.name, series=stack.series
        ).annotation()
    if len(stack) > 1 or path.suffix.lower() not in PICTURE_SUFFIXES:
        raise ValueError(
            f"{path} cannot hold the labels of the {len(stack)} frames of {stack.name}; give a TIFF "
            "file of all frames, or a folder with a mask a frame."
        )
    read = {stack.frame_numbers[0]: lambda: read_mask(path)}
    return StoredLabels(path.name, path, lambda: read, lambda _number: path).annotation()


def _labels_in(stack: Stack, path: Path) -> StoredLabels:
    """Find the masks in a folder: of frames of the same name or number."""
    inside = path / "SEG" if (path / "SEG").is_dir() else path
    masks = folder.pictures(inside)
    if not masks:
        raise ValueError(f"{inside} holds no masks; known are {', '.join(PICTURE_SUFFIXES)} files.")
    return folder.mask_labels(path.name, masks, _images(stack), len(_spatial(stack)))


def _images(stack: Stack) -> Mapping[int, Path]:
    if stack.format == "folder" and stack.path is not None:
        return folder.frame_files(stack.path)
    return {n: Path(f"t{n:0{stack.digits}d}") for n in stack.frame_numbers}


def _spatial(stack: Stack) -> tuple[int, ...]:
    return stack.shape[:-1] if stack.axes.endswith("C") else stack.shape


@dataclass(frozen=True)
class Format:
    """One file format: does a path belong to it, and how is it opened.

    Attributes
    ----------
    description
        What a path looks like, for people.
    matches
        Path -> whether it is of this format; cheap, reads no pixels, does not raise.
    open
        Path and sequence (None = choose) -> stack; reads no pixels of the image.
    """

    description: str
    matches: Callable[[Path], bool]
    open: Callable[[Path, str | None], Stack]


FORMATS: dict[str, Format] = {
    "ctc": Format(
        "a Cell Tracking Challenge dataset (01/t000.tif, 01_GT/SEG/man_seg000.tif)",
        ctc.matches,
        ctc.open_sequence,
    ),
    "isbi": Format(
        "a TIFF volume, alone or with labels beside it (train-volume.tif, train-labels.tif)",
        isbi.matches,
        isbi.open_volume,
    ),
    "folder": Format(
        "a folder of images, alone or with masks (images/a.png, masks/a.png), "
        "or of such folders named train, valid and test",
        folder.matches,
        folder.open_folder,
    ),
}


"""Formats by name, the first that matches opens."""


class UnknownFormat(ValueError):
    """A path that is of no known format."""


def open_files(
    path: Path,
    *,
    sequence: str | None = None,
    axes: str | None = None,
    series: int | None = None,
    kind: LabelKind | str | None = None,
    truth: str | None = None,
    unlabelled: str | None = None,
) -> Stack:
    """Open a stack of image files; see `napari_jnet.open_stack`, which also knows projects.

    Raises
    ------
    UnknownFormat
        If no format matches.
    ValueError, FileNotFoundError
        As `napari_jnet.open_stack`.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; check the path.")
    for name, known in FORMATS.items():
        if known.matches(path):
            if name == "isbi":
                stack = isbi.open_volume(path, sequence, axes=axes, series=series)
            else:
                stack = with_axes(path, known.open(path, sequence), axes, series)
            return with_labels(stack, kind, truth, unlabelled)
    words = "; ".join(known.description for known in FORMATS.values())
    raise UnknownFormat(f"{path} is not a stack that can be opened. Known are: {words}.")


def with_axes(
    path: Path, stack: Stack, axes: str | None, series: int | None, fixed: bool = False
) -> Stack:
    """Take axes for a stack of several files: these may be frames or sections, unless they are fixed."""
    known = 1 if fixed else None
    if series is not None and series != (stack.series or known):
        raise ValueError(
            f"{path} is no single file, but image {series} of a file was asked for; leave it out, or "
            "give the file."
        )
    if axes is None or axes.strip().upper() in (stack.given_axes, stack.axes):
        return stack
    letters = axes.strip().upper()
    choices = (stack.axes, *(f"{a}{stack.axes[1:]}" for a in "TZ" if a not in stack.axes))
    if letters not in choices or fixed:
        known_axes = stack.given_axes or " or ".join(choices)
        raise ValueError(
            f"The axes {axes!r} do not fit {path}: {len(stack)} frames of "
            f"{size_text(stack.shape)}. Its axes are {known_axes}."
        )
    return replace(stack, axes=letters, given_axes=letters)


def sequences(path: Path) -> tuple[str, ...]:
    """List the sequences of a CTC dataset (root or a folder in it), or train, valid and test.

    Empty for other formats.
    """
    found = ctc.locate(path)
    if found:
        return ctc.sequences(found[0])
    return () if folder.find_folders(path) else tuple(folder.parts(path))


def images(path: Path) -> tuple[str, ...]:
    """Describe the images of a TIFF file that holds several; their numbers count from 1.

    Empty for other paths, and for files of one image.
    """
    file = isbi.find_volume(path)
    if file is None or ctc.matches(path):
        return ()
    found = read_header(file, series=1, multifile=True).images
    return found if len(found) > 1 else ()
