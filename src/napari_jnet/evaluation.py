"""Scores of a result on disk against the annotation of its stack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.data.ctc import markers
from napari_jnet.data.stack import UNKNOWN, Annotation, LabelKind, Stack
from napari_jnet.events import FrameScore, Scores
from napari_jnet.export.reading import StoredResult, open_result
from napari_jnet.metrics import isbi, pixels
from napari_jnet.metrics.ctc import DetectionErrors, det_frame, det_score, seg_frame

__all__ = ["evaluate"]


def evaluate(
    result: Path | str,
    stack: Stack,
    *,
    annotation: str | None = None,
    frames: Sequence[int] | None = None,
) -> Iterator[FrameScore | Scores]:
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

    Yields
    ------
    FrameScore
        For each frame that has an annotation, or markers if DET can be had.
    Scores
        Last: of all frames together.

    Raises
    ------
    FileNotFoundError
        If there is no result, or it lacks annotated frames.
    ValueError
        If the stack has no such annotation, or sizes differ.

    Notes
    -----
    Frames are matched by number.  SEG is that of the challenge: an annotated object is annotated
    whole, so that a result object that reaches beyond it is too large, also where nobody knows what
    else is there.  For pixels, only known ones count.  DET needs TRA markers and a result of every
    frame (of those chosen) that has them.  Where labels are classes, pixels are scored by
    ``classes.tif`` or by ``probability.tif`` above 0.5 if they were written, and sections of a
    volume (ISBI-2012) by V_rand and V_info besides.
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
        _check_frames(stored, truth, stack)
        if tracked is not None and not set(tracked.frame_numbers) <= set(stored.frame_numbers):
            tracked = None
        yield from _evaluate(stored, stack, truth, tracked)
    finally:
        stored.close()


def _only(truth: Annotation, frames: Sequence[int]) -> Annotation:
    """Return the annotation of chosen frames; one that is not annotated raises `ValueError`."""
    numbers = tuple(sorted(set(frames)))
    for number in numbers:
        if number not in truth.frame_numbers:
            truth.frame(number)
    return Annotation(truth.name, truth.kind, numbers, truth.read, path=truth.path)


def _evaluate(
    stored: StoredResult, stack: Stack, truth: Annotation, tracked: Annotation | None
) -> Iterator[FrameScore | Scores]:
    sums = _Sums(by_section=stack.axes.startswith("Z") and truth.kind is not LabelKind.INSTANCES)
    numbers = set(truth.frame_numbers) | set(tracked.frame_numbers if tracked else ())
    for number in sorted(numbers):
        try:
            yield _score_frame(number, stored, truth, tracked, sums)
        except ValueError as error:
            raise ValueError(f"{stack.name}, frame {number}: {error}") from error
    yield sums.scores(str(stored.path), f"{stack.name}, {truth.name}")


def _score_frame(
    number: int,
    stored: StoredResult,
    truth: Annotation,
    tracked: Annotation | None,
    sums: _Sums,
) -> FrameScore:
    objects = stored.instances(number)
    seg = det = table = None
    if number in truth.frame_numbers:
        labels = truth.frame(number)
        if truth.kind is LabelKind.INSTANCES:
            seg = seg_frame(_whole_objects(labels), objects)
            table = pixels.confusion(np.minimum(labels, 1), objects > 0)
        else:
            table = _confusion_of_classes(labels, objects, number, stored)
            sums.add_section(labels, stored.map("probability", number), objects)
        sums.add_frame(seg, table)
    if tracked is not None and number in tracked.frame_numbers:
        errors = det_frame(tracked.frame(number), objects)
        sums.detection = (sums.detection or DetectionErrors()) + errors
        det = det_score(errors) if errors.objects else None
    frame = FrameScore(
        number=number,
        seg=float(seg.mean()) if seg is not None and seg.size else None,
        det=det,
        iou=None if table is None else _number(_cell_iou(table)),
        pixel_accuracy=None if table is None else _number(pixels.pixel_accuracy(table)),
    )
    sums.frames.append(frame)
    return frame


@dataclass(eq=False)
class _Sums:
    """What the scores of all frames together are made of."""

    by_section: bool
    frames: list[FrameScore] = field(default_factory=list)
    seg: list[NDArray[np.float64]] = field(default_factory=list)
    table: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, 2), np.int64))
    detection: DetectionErrors | None = None
    sections: NDArray[np.float64] | None = None

    def add_frame(self, seg: NDArray[np.float64] | None, table: NDArray[np.int64]) -> None:
        if seg is not None:
            self.seg.append(seg)
        size = max(len(self.table), len(table))
        both = np.zeros((size, size), np.int64)
        for part in (self.table, table):
            both[: len(part), : len(part)] += part
        self.table = both

    def add_section(
        self, labels: NDArray[np.int32], inside: NDArray[Any] | None, objects: NDArray[np.integer]
    ) -> None:
        """Add a section with binary labels to V_rand and V_info."""
        if not self.by_section or labels.max(initial=0) > 1:
            return
        sums = isbi.section_sums(labels, objects if inside is None else inside)
        self.sections = sums if self.sections is None else self.sections + sums

    def scores(self, result: str, truth: str) -> Scores:
        seg = np.concatenate(self.seg) if self.seg else np.zeros(0)
        detected = self.detection if self.detection and self.detection.objects else None
        inside = self.sections is not None and bool(self.sections[:, 1].all())
        both = isbi.best_scores(self.sections) if self.sections is not None and inside else None
        return Scores(
            seg=float(seg.mean()) if seg.size else None,
            det=det_score(detected) if detected else None,
            iou=_number(_cell_iou(self.table)),
            mean_iou=_number(pixels.mean_iou(self.table)),
            pixel_accuracy=_number(pixels.pixel_accuracy(self.table)),
            v_rand=both[0] if both else None,
            v_info=both[1] if both else None,
            objects=len(seg),
            missed=int(np.count_nonzero(seg == 0)),
            frames=tuple(self.frames),
            result=result,
            truth=truth,
        )


def _check_frames(stored: StoredResult, truth: Annotation, stack: Stack) -> None:
    missing = [n for n in truth.frame_numbers if n not in stored.frame_numbers]
    if missing:
        names = ", ".join(f"{n:0{stack.digits}d}" for n in missing[:12])
        more = f" and {len(missing) - 12} more" if len(missing) > 12 else ""
        raise FileNotFoundError(
            f"{stored.path} has no result for frames {names}{more}, which {truth.name!r} "
            "annotates. Predict these frames too, or choose the frames to score."
        )


def _whole_objects(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Take unknown pixels as of no annotated object; planes without any annotation stay out."""
    nothing_known = (labels == UNKNOWN).all(axis=(-2, -1), keepdims=True)
    return np.where(nothing_known, UNKNOWN, np.maximum(labels, 0)).astype(np.int32)


def _confusion_of_classes(
    labels: NDArray[np.int32], objects: NDArray[np.integer], number: int, stored: StoredResult
) -> NDArray[np.int64]:
    classes = stored.map("classes", number)
    if classes is not None:
        count = max(2, int(labels.max(initial=0)) + 1, int(classes.max(initial=0)) + 1)
        return pixels.confusion(labels, classes, count)
    probability = stored.map("probability", number)
    cell = objects > 0 if probability is None else probability > 0.5
    return pixels.confusion(np.minimum(labels, 1), cell)


def _cell_iou(table: NDArray[np.int64]) -> float:
    """Jaccard index of cell pixels, whatever their class."""
    cell = table[1:, 1:].sum()
    union = table.sum() - table[0, 0]
    return float(cell / union) if union else float("nan")


def _number(score: float) -> float | None:
    return None if np.isnan(score) else score
