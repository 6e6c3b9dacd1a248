"""Stacks on disk, opened lazily: `open_stack` opens, `annotated_frames` reads what to train on."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_jnet.data import ctc, folder, isbi, project_format
from napari_jnet.data.array import array_stack
from napari_jnet.data.axes import StackUnsure, size_text
from napari_jnet.data.frames import annotated_frames
from napari_jnet.data.project import Project
from napari_jnet.data.project_file import project_folder
from napari_jnet.data.project_places import (
    ListedProject,
    find_project,
    find_projects,
    list_projects,
    new_project_folder,
    projects_folder,
)
from napari_jnet.data.project_reference import StackMissing, StackReference
from napari_jnet.data.project_runs import RunSummary
from napari_jnet.data.project_training import PAINTED
from napari_jnet.data.split import split_frames
from napari_jnet.data.stack import (
    UNKNOWN,
    AnnotatedFrame,
    Annotation,
    LabelKind,
    LabelsUnsure,
    Stack,
    known_labels,
)
from napari_jnet.data.tiff import read_header
from napari_jnet.data.truth import with_labels

__all__ = [
    "FORMATS",
    "UNKNOWN",
    "AnnotatedFrame",
    "Annotation",
    "Format",
    "LabelKind",
    "LabelsUnsure",
    "ListedProject",
    "Project",
    "RunSummary",
    "Stack",
    "StackMissing",
    "StackReference",
    "StackUnsure",
    "annotated_frames",
    "array_stack",
    "find_project",
    "find_projects",
    "images",
    "known_labels",
    "list_projects",
    "new_project_folder",
    "open_stack",
    "project_folder",
    "projects_folder",
    "sequences",
    "split_frames",
    "training_frames",
]


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
    "project": Format(
        "a project of napari-jnet (project.json with a folder annotations)",
        project_format.matches,
        project_format.open_project,
    ),
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


def open_stack(
    path: str | os.PathLike[str],
    *,
    sequence: str | None = None,
    axes: str | None = None,
    series: int | None = None,
    kind: LabelKind | str | None = None,
    truth: str | os.PathLike[str] | None = None,
    unlabelled: str | None = None,
) -> Stack:
    """Open a stack on disk; reads headers and no pixels of the images.

    Parameters
    ----------
    path
        A project, a CTC dataset or sequence, an ISBI or other TIFF volume, or a folder of images.
    sequence
        "01", "02", ... of a CTC dataset; None takes the first with gold truth.  "train", "valid" or
        "test" of a folder that has them; None takes the first.
    axes
        What the dimensions of the image are, in the order of the file: one letter each, of T (time),
        Z (sections), C (channels), Y and X, such as "ZYX" or "TCYX".  Of a dataset or a folder: what
        its files are, "TYX" or "ZYX".  None takes what the file says.
    series
        Number of the image, from 1, in a file that holds several, such as positions; None takes the
        first, and `Stack.notes` says so.
    kind
        What the labels mean: "instances", "classes" or "scribbles".  None: decided from all labels
        when they are asked for, see `napari_jnet.data.meaning`.
    truth
        Which labels: the name of an annotation ("gold", "silver"), or a file or folder of labels,
        which is looked for beside the stack too.  They become the first annotation.
    unlabelled
        What pixels without a label are: "background", so that every frame is annotated completely,
        or "unknown".  None: 0 is background where something is labelled; pages of a label volume
        without labels, and gold truth that leaves out cells, are unknown there.

    Raises
    ------
    FileNotFoundError
        If the path, or the truth, does not exist.
    ValueError
        If no format knows the path, its files do not fit together, or the axes or the number of the
        image are impossible.  What is wrong with labels comes when they are asked for, also as
        `LabelsUnsure`.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; check the path.")
    for name, known in FORMATS.items():
        if known.matches(path):
            if name == "isbi":
                stack = isbi.open_volume(path, sequence, axes=axes, series=series)
            else:
                stack = _given(path, known.open(path, sequence), axes, series)
            named = None if truth is None else os.fspath(truth)
            return with_labels(stack, kind, named, unlabelled)
    words = "; ".join(known.description for known in FORMATS.values())
    raise ValueError(f"{path} is no stack that can be opened. Known are: {words}.")


def _given(path: Path, stack: Stack, axes: str | None, series: int | None) -> Stack:
    """Take axes for a stack of several files: these may be frames or sections."""
    known = 1 if project_format.matches(path) else None
    if series is not None and series != (stack.series or known):
        raise ValueError(
            f"{path} is no single file, but image {series} of a file was asked for; leave it out, or "
            "give the file."
        )
    if axes is None or axes.strip().upper() in (stack.given_axes, stack.axes):
        return stack
    letters = axes.strip().upper()
    choices = (stack.axes, *(f"{a}{stack.axes[1:]}" for a in "TZ" if a not in stack.axes))
    if letters not in choices or project_format.matches(path):
        known_axes = stack.given_axes or " or ".join(choices)
        raise ValueError(
            f"The axes {axes!r} do not fit {path}: {len(stack)} frames of "
            f"{size_text(stack.shape)}. Its axes are {known_axes}."
        )
    return replace(stack, axes=letters, given_axes=letters)


def sequences(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """List the sequences of a CTC dataset (root or a folder in it), or train, valid and test.

    Empty for other formats.
    """
    if project_format.matches(Path(path)):
        return ()
    found = ctc.locate(Path(path))
    if found:
        return ctc.sequences(found[0])
    return () if folder.find_folders(Path(path)) else tuple(folder.parts(Path(path)))


def images(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Describe the images of a TIFF file that holds several; their numbers count from 1.

    Empty for other paths, and for files of one image.
    """
    file = isbi.find_volume(Path(path)) if not project_folder(Path(path)) else None
    if file is None or ctc.matches(Path(path)):
        return ()
    found = read_header(file, series=1, multifile=True).images
    return found if len(found) > 1 else ()


def training_frames(
    path: str | os.PathLike[str],
    *,
    sequence: str | None = None,
    annotation: str | os.PathLike[str] | None = None,
    frames: Sequence[int] | None = None,
    kind: LabelKind | str | None = None,
    unlabelled: str | None = None,
    axes: str | None = None,
    series: int | None = None,
) -> list[AnnotatedFrame]:
    """Read what to train on; where the data are divided already, that division is kept.

    Parameters
    ----------
    path, sequence, kind, unlabelled, axes, series
        See `open_stack`.
    annotation
        Which labels, as `open_stack` takes for ``truth``.
    frames
        See `annotated_frames`.

    Returns
    -------
    list of AnnotatedFrame
        Of a folder with train and valid: the frames of train with the role "training", and all of
        valid with the role "validation".  Of a project: with the roles given there, unused frames
        left out.  Else without a role.

    Raises
    ------
    LabelsUnsure
        If the labels do not tell what they mean.
    ValueError, FileNotFoundError
        As `open_stack` and `annotated_frames`.
    """
    owner = project_folder(Path(path))
    said: dict[str, Any] = {"kind": kind, "truth": annotation, "unlabelled": unlabelled}
    if owner is not None and annotation in (None, PAINTED):
        if any(value is not None for value in (kind, unlabelled, axes, series)):
            # refuses what the project says otherwise
            open_stack(path, sequence=sequence, axes=axes, series=series, **said)
        return Project.open(owner).frames(frames)
    stack = open_stack(path, sequence=sequence, axes=axes, series=series, **said)
    found = annotated_frames(stack, None, frames)
    held_out = next((name for name in sequences(path) if name in folder.VALIDATION), None)
    if stack.sequence not in folder.TRAINING or held_out is None:
        return found
    kept = annotated_frames(open_stack(path, sequence=held_out, axes=axes, **said))
    return [
        *(replace(frame, role="training") for frame in found),
        *(replace(frame, role="validation") for frame in kept),
    ]
