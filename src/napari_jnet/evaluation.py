"""Scores of a result, on disk or in memory, against the annotation of its stack."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_jnet.data.ctc import markers
from napari_jnet.data.pieces import numbered_pieces
from napari_jnet.data.stack import Annotation, LabelKind, Stack
from napari_jnet.evaluation_sums import FrameLabels, Sums
from napari_jnet.events import FrameScore, Notice, Scores
from napari_jnet.export.reading import StoredResult, open_result

__all__ = ["FrameLabels", "evaluate", "evaluate_labels"]


def evaluate(
    result: Path | str,
    stack: Stack,
    *,
    annotation: str | None = None,
    frames: Sequence[int] | None = None,
    border: int = 0,
) -> Iterator[FrameScore | Scores | Notice]:
    """Score a result, one frame after the other.

    Parameters
    ----------
    result
        A folder that predict has written, its ``NN_RES``, any CTC result folder, or one TIFF file
        of objects.
    stack
        What was predicted, with its annotations.
    annotation
        "gold", "silver", ...; None takes the first.
    frames
        Frame numbers to score, such as those that were not trained on; None takes all annotated.
    border
        Pixels along the sides of a frame (not along z) in which objects do not count that lie wholly
        there: the field of interest of the Cell Tracking Challenge (50 for DIC-C2DH-HeLa, see the
        command line).

    Yields
    ------
    Notice
        First, where the result lacks frames that were to be predicted.
    FrameScore
        For each frame that has an annotation, or markers if DET can be had.
    Scores
        Last: of all frames together.

    Raises
    ------
    FileNotFoundError
        If there is no result, or it lacks annotated frames.
    ValueError
        If the stack has no such annotation, sizes differ, the border leaves no pixel, or the result
        mixes two predictions or is the annotation itself.

    Notes
    -----
    Frames are matched by number.  SEG is that of the challenge: an annotated object is annotated
    whole, so that a result object that reaches beyond it is too large, also where nobody knows what
    else is there; so is AP, see `match_frame`.  For pixels, only known ones count.  DET needs TRA
    markers and a result of every frame (of those chosen) that has them.  Where labels are classes,
    pixels are scored by ``classes.tif`` or by ``probability.tif`` above 0.5 if they were written,
    and sections of a volume (ISBI-2012) by V_rand and V_info besides.
    """
    truth = stack.annotation(annotation)
    tracked = markers(stack)
    if frames is not None:
        truth = _only(truth, frames)
        if tracked is not None:
            kept = tuple(n for n in tracked.frame_numbers if n in frames)
            tracked = replace(tracked, frame_numbers=kept) if kept else None
    stored = open_result(result, stack)
    try:
        if truth.path is not None and truth.path.exists() and stored.path.samefile(truth.path):
            raise ValueError(
                f"{stored.path} is both the result and the labels {truth.name!r}; compared with itself it is "
                "always right. Choose other labels with --truth, or another result."
            )
        _check_frames(stored, truth, stack)
        if tracked is not None and not set(tracked.frame_numbers) <= set(stored.frame_numbers):
            tracked = None
        if stored.notice:
            yield Notice(stored.notice)
        yield from _evaluate(stored, stack, truth, tracked, border)
    finally:
        stored.close()


def _only(truth: Annotation, frames: Sequence[int]) -> Annotation:
    """Return the annotation of chosen frames; one that is not annotated raises `ValueError`."""
    numbers = tuple(sorted(set(frames)))
    for number in numbers:
        if number not in truth.frame_numbers:
            truth.frame(number)
    return Annotation(
        truth.name, truth.kind, numbers, truth.read, path=truth.path, by_plane=truth.by_plane
    )


def _evaluate(
    stored: StoredResult,
    stack: Stack,
    truth: Annotation,
    tracked: Annotation | None,
    border: int,
) -> Iterator[FrameScore | Scores | Notice]:
    sums = Sums(truth.kind, stack.axes, border=border)
    numbers = set(truth.frame_numbers) | set(tracked.frame_numbers if tracked else ())
    single, pieces = True, 0
    for number in sorted(numbers):
        frame = _frame(number, stored, truth, tracked)
        try:
            yield sums.add(frame)
        except ValueError as error:
            raise ValueError(f"{stack.name}, frame {number}: {error}") from error
        if single and truth.kind is LabelKind.INSTANCES:
            single = len(np.unique(frame.objects[frame.objects > 0])) <= 1
            pieces = max(
                pieces, int(numbered_pieces(frame.objects).max(initial=0)) if single else 0
            )
    if single and pieces > 1:
        yield Notice(
            f"{stored.path} holds one number a frame, in up to {pieces} pieces: it looks like a mask of cell "
            "and background, but each number is scored as one object. Number the pieces, or score "
            "the instances.tif that predict writes."
        )
    yield sums.scores(str(stored.path), f"{stack.name}, {truth.name}")


def _frame(
    number: int, stored: StoredResult, truth: Annotation, tracked: Annotation | None
) -> FrameLabels:
    annotated = number in truth.frame_numbers
    with_maps = annotated and truth.kind is not LabelKind.INSTANCES
    return FrameLabels(
        number,
        truth.frame(number) if annotated else None,
        stored.instances(number),
        classes=stored.map("classes", number) if with_maps else None,
        probability=stored.map("probability", number) if with_maps else None,
        markers=tracked.frame(number) if tracked and number in tracked.frame_numbers else None,
        by_plane=number in truth.by_plane,
    )


def evaluate_labels(
    frames: Iterable[FrameLabels | tuple[int, NDArray[np.int32], NDArray[np.integer]]],
    *,
    kind: LabelKind = LabelKind.INSTANCES,
    axes: str = "TYX",
    result: str = "result",
    truth: str = "reference",
    border: int = 0,
) -> Generator[FrameScore | Scores, None, None]:
    """Score labels in memory, one frame after the other; frames are taken when their turn comes.

    Parameters
    ----------
    frames
        (number, reference, result) of each frame, or `FrameLabels` where more is known.
    kind
        What the numbers of the reference mean; scribbles are given as classes with unknown pixels,
        see `known_labels`.
    axes
        Of the stack; sections of a volume ("ZYX") with binary labels are scored by V_rand too.
    result, truth
        Names of what is compared.
    border
        As for `evaluate`.

    Yields
    ------
    FrameScore
        For each frame.
    Scores
        Last: of all frames together.

    Raises
    ------
    ValueError
        If there is no frame, one comes twice, sizes differ, or labels are no integers.

    Notes
    -----
    As `evaluate`, but for DET: without markers the reference objects are taken for them in frames
    whose pixels are all known.
    """
    sums = Sums(kind, axes, det_of_objects=True, border=border)
    seen: set[int] = set()
    for frame in frames:
        compared = FrameLabels(*frame)
        if compared.number in seen:
            raise ValueError(f"Frame {compared.number} is there twice; each frame counts once.")
        seen.add(compared.number)
        try:
            yield sums.add(compared)
        except ValueError as error:
            raise ValueError(f"{result}, frame {compared.number}: {error}") from error
    if not sums.frames:
        raise ValueError(
            f"No frame has both {truth} and {result}; choose other frames, or predict them."
        )
    yield sums.scores(result, truth)


def _check_frames(stored: StoredResult, truth: Annotation, stack: Stack) -> None:
    missing = [n for n in truth.frame_numbers if n not in stored.frame_numbers]
    if missing:
        names = ", ".join(f"{n:0{stack.digits}d}" for n in missing[:12])
        more = f" and {len(missing) - 12} more" if len(missing) > 12 else ""
        why = f"{stored.notice} " if stored.notice else ""
        raise FileNotFoundError(
            f"{why}{stored.path} has no result for frames {names}{more}, which {truth.name!r} "
            "annotates. Predict these frames too, or choose the frames to score."
        )
