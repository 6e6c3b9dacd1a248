"""The labels that somebody names for a stack: one of its annotations, or a file or folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from napari_jnet.data import folder, isbi
from napari_jnet.data.meaning import StoredLabels, check_unlabelled
from napari_jnet.data.pictures import PICTURE_SUFFIXES, read_mask
from napari_jnet.data.stack import Annotation, LabelKind, Stack
from napari_jnet.data.tiff import TIFF_SUFFIXES

__all__ = ["with_labels"]


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
