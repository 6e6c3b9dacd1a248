"""Open what a path holds: a project first, else the files of a stack."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_jnet.io import ctc, folder, volume
from napari_jnet.io.axes import with_axes
from napari_jnet.io.formats import UnknownFormat, open_files, with_labels
from napari_jnet.io.stack import AnnotatedFrame, Stack, annotated_frames
from napari_jnet.io.tiff import read_header
from napari_jnet.labels import LabelKind
from napari_jnet.project.manifest import project_folder
from napari_jnet.project.project import PAINTED, Project


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
        "01", "02", ... of a CTC dataset; None takes the first with gold masks.  "train", "valid" or
        "test" of a folder that has them; None takes the first.
    axes
        What the dimensions of the image are, in the order of the file: one letter each, of T (time),
        Z (sections), C (channels), Y and X, such as "ZYX" or "TCYX".  Of a dataset or a folder: what
        its files are, "TYX" or "ZYX".  None takes the axes stored in the file.
    series
        Number of the image, from 1, in a file that holds several, such as positions; None takes the
        first, which `Stack.notes` mentions.
    kind
        What the labels mean: "instances", "classes" or "scribbles".  None: decided from all labels
        on first use, see `napari_jnet.io.meaning`.
    truth
        Which labels: the name of an annotation ("gold", "silver"), or a file or folder of labels,
        also relative to the stack.  They become the first annotation.
    unlabelled
        What pixels without a label are: "background", so that every frame is annotated completely,
        or "unknown".  None: 0 is background where something is labelled; pages of a label volume
        without labels, and gold masks without some of the cells, are unknown there.

    Raises
    ------
    FileNotFoundError
        If the path, or the ground truth, does not exist.
    ValueError
        If no format matches the path, its files do not fit together, or the axes or the number of the
        image are impossible.  Errors in labels are raised on first use, also as
        `AmbiguousInput`.
    """
    path = Path(path)
    if project_folder(path) is not None:
        project = Project.open(path)
        own = project.stack.sequence
        if sequence not in (None, own):
            raise ValueError(
                f"{path} is a project of one sequence ({own or 'none'}), but sequence {sequence!r} was "
                "requested; omit it."
            )
        stack = with_axes(path, project.open_stack(), axes, series, fixed=True)
    else:
        try:
            stack = open_files(path, sequence=sequence, axes=axes, series=series)
        except UnknownFormat as error:
            raise UnknownFormat(f"{error} Or a project: a folder with project.json.") from None
    return with_labels(stack, kind, None if truth is None else os.fspath(truth), unlabelled)


def sequences(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """List the sequences of a CTC dataset (root or a folder in it), or train, valid and test.

    Empty for other formats.
    """
    path = Path(path)
    if project_folder(path) is not None:
        return ()
    found = ctc.locate(path)
    if found:
        return ctc.sequences(found[0])
    return () if folder.find_folders(path) else tuple(folder.subsets(path))


def images(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Describe the images of a TIFF file that holds several; their numbers count from 1.

    Empty for other paths, and for files of one image.
    """
    path = Path(path)
    if project_folder(path) is not None or ctc.matches(path):
        return ()
    file = volume.find_volume(path)
    found = () if file is None else read_header(file, series=1, multifile=True).images
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
    """Read the frames to train on, those of the arguments of `open_stack` and `annotated_frames`.

    An existing split of the data is kept: of a folder with train and valid, the frames of train have the role
    "training" and all of valid the role "validation"; those of a project have their roles, without unused
    ones.  Else they have none.
    """
    owner = project_folder(Path(path))
    options: dict[str, Any] = {"kind": kind, "truth": annotation, "unlabelled": unlabelled}
    if owner is not None and annotation in (None, PAINTED):
        if any(value is not None for value in (kind, unlabelled, axes, series)):
            # raises where the project defines it otherwise
            open_stack(path, sequence=sequence, axes=axes, series=series, **options)
        return Project.open(owner).frames(frames)
    stack = open_stack(path, sequence=sequence, axes=axes, series=series, **options)
    found = annotated_frames(stack, None, frames)
    held_out = next((name for name in sequences(path) if name in folder.VALIDATION), None)
    if stack.sequence not in folder.TRAINING or held_out is None:
        return found
    kept = annotated_frames(open_stack(path, sequence=held_out, axes=axes, **options))
    return [
        *(replace(frame, role="training") for frame in found),
        *(replace(frame, role="validation") for frame in kept),
    ]
