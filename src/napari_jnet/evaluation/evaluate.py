"""Scores of a result, on disk or in memory, against the annotation of its stack."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_jnet.evaluation import pixels
from napari_jnet.evaluation import rand as isbi
from napari_jnet.evaluation.average_precision import Matches, match_frame
from napari_jnet.evaluation.ctc import DetectionErrors, det_frame, det_score, seg_frame
from napari_jnet.events import FrameScore, Notice, Scores
from napari_jnet.io.ctc import markers
from napari_jnet.io.stack import Annotation, Stack
from napari_jnet.io.stored_results import StoredResult, open_result
from napari_jnet.labels import UNKNOWN, LabelKind, checked_labels, numbered_pieces, same_shape


class FrameLabels(NamedTuple):
    """What is compared in one frame, arrays (H, W) or (Z, H, W) of one shape.

    Attributes
    ----------
    number
        Of the frame.
    reference
        int32: 0 = background, objects or classes from 1, `UNKNOWN`; None where only markers are.
    objects
        Integers: objects of the result from 1.
    classes
        Classes of the result, where the reference is classes.
    probability
        Of cell, where it is known; cut at several thresholds for V_rand.
    markers
        Markers for DET, as the reference.
    by_plane
        Whether the objects of a volume are planar, see `Annotation`.
    """

    number: int
    reference: NDArray[np.int32] | None
    objects: NDArray[np.integer]
    classes: NDArray[np.integer] | None = None
    probability: NDArray[Any] | None = None
    markers: NDArray[np.int32] | None = None
    by_plane: bool = False


@dataclass(eq=False)
class ScoreAccumulator:
    """Scores frames, and sums up what the scores of all frames together are made of.

    Attributes
    ----------
    kind
        What the numbers of the reference mean: INSTANCES, or classes of pixels.
    axes
        Of the stack; sections of a volume ("ZYX") with binary labels are scored by V_rand too.
    det_of_objects
        Whether DET takes the reference objects for markers where there are none and every pixel of
        the frame is known.
    border
        Objects that lie wholly within this many pixels of a side of the frame do not count.
    """

    kind: LabelKind
    axes: str = "TYX"
    det_of_objects: bool = False
    border: int = 0
    frames: list[FrameScore] = field(default_factory=list)
    seg: list[NDArray[np.float64]] = field(default_factory=list)
    table: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, 2), np.int64))
    detection: DetectionErrors | None = None
    matches: Matches | None = None
    sections: NDArray[np.float64] | None = None

    def add(self, frame: FrameLabels) -> FrameScore:
        """Score one frame and add it up; raises `ValueError` where shapes or types do not fit."""
        seg = det = matches = table = None
        frame = in_field(_checked(frame), self.border, self.kind)
        markers = frame.markers
        if frame.reference is not None and self.kind is LabelKind.INSTANCES:
            same_shape(frame.reference, frame.objects)
            images = [*_images(frame)]
            seg = np.concatenate([seg_frame(_whole(part), objects) for part, objects in images])
            for part, objects in images:
                found = match_frame(part, objects)
                matches = found if matches is None else matches + found
            table = pixels.confusion(np.minimum(frame.reference, 1), frame.objects > 0)
            if self.det_of_objects and markers is None and (frame.reference >= 0).all():
                markers = frame.reference
        elif frame.reference is not None:
            table = _confusion_of_classes(frame.reference, frame)
            self._add_section(frame.reference, frame)
        if markers is not None:
            errors = det_frame(markers, frame.objects)
            self.detection = (self.detection or DetectionErrors()) + errors
            det = det_score(errors) if errors.objects else None
        self._add(seg, matches, table)
        score = FrameScore(
            number=frame.number,
            seg=float(seg.mean()) if seg is not None and seg.size else None,
            det=det,
            iou=None if table is None else _number(_cell_iou(table)),
            pixel_accuracy=None if table is None else _number(pixels.pixel_accuracy(table)),
            **_precision(matches),
        )
        self.frames.append(score)
        return score

    def _add(
        self,
        seg: NDArray[np.float64] | None,
        matches: Matches | None,
        table: NDArray[np.int64] | None,
    ) -> None:
        if seg is not None:
            self.seg.append(seg)
        if matches is not None:
            self.matches = matches if self.matches is None else self.matches + matches
        if table is None:
            return
        size = max(len(self.table), len(table))
        both = np.zeros((size, size), np.int64)
        for part in (self.table, table):
            both[: len(part), : len(part)] += part
        self.table = both

    def _add_section(self, labels: NDArray[np.int32], frame: FrameLabels) -> None:
        """Add a section with binary labels to V_rand and V_info."""
        if not self.axes.startswith("Z") or labels.max(initial=0) > 1:
            return
        inside = frame.objects if frame.probability is None else frame.probability
        sums = isbi.section_sums(labels, inside)
        self.sections = sums if self.sections is None else self.sections + sums

    def scores(self, result: str, truth: str) -> Scores:
        """Return the scores of all frames together; the names say what was compared."""
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
            border=self.border if self.kind is LabelKind.INSTANCES else 0,
            **_precision(self.matches),
        )


def _precision(matches: Matches | None) -> dict[str, float | None]:
    if matches is None:
        return {}
    return {"ap50": matches.at(0.5), "ap75": matches.at(0.75), "ap": matches.mean}


def _images(frame: FrameLabels) -> Iterator[tuple[NDArray[np.int32], NDArray[np.integer]]]:
    """Yield the reference and the result of each image that is scored alone.

    The annotated planes of a volume are one image, or one each where their objects are planar: the
    challenge's own program scores each file by itself.
    """
    reference, objects = frame.reference, frame.objects
    assert reference is not None
    if reference.ndim == 2:
        yield reference, objects
        return
    known = (reference != UNKNOWN).any(axis=(-2, -1))
    if frame.by_plane:
        yield from zip(reference[known], objects[known], strict=True)
    if not frame.by_plane or not known.any():
        yield reference[known], objects[known]


def _whole(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Take unknown pixels as of no annotated object."""
    return np.maximum(labels, 0)


def _checked(frame: FrameLabels) -> FrameLabels:
    reference, markers = (
        None if labels is None else checked_labels(labels, "reference")
        for labels in (frame.reference, frame.markers)
    )
    return frame._replace(
        reference=reference, markers=markers, objects=checked_labels(frame.objects, "result")
    )


def in_field(frame: FrameLabels, border: int, kind: LabelKind) -> FrameLabels:
    """Leave out the objects that lie wholly in the border; classes of pixels stay as they are.

    Parameters
    ----------
    frame
        What is compared.
    border
        Width in pixels, along all sides; 0 leaves nothing out.
    kind
        What the numbers of the reference mean.

    Raises
    ------
    ValueError
        If nothing is left of the frame.
    """

    def kept(labels: Any) -> Any:
        if labels is None:
            return None
        rows, columns = labels.shape[-2:]
        if min(rows, columns) <= 2 * border:
            raise ValueError(
                f"the border of {border} pixels on each side leaves nothing of {rows} x {columns}. "
                "Choose a smaller border."
            )
        inside = np.unique(labels[..., border : rows - border, border : columns - border])
        outside = ~np.isin(labels, inside) & (labels > 0)
        return np.where(outside, 0, labels).astype(labels.dtype)

    if kind is not LabelKind.INSTANCES or not border:
        return frame
    return frame._replace(
        reference=kept(frame.reference), objects=kept(frame.objects), markers=kept(frame.markers)
    )


def _confusion_of_classes(labels: NDArray[np.int32], frame: FrameLabels) -> NDArray[np.int64]:
    classes = frame.classes
    if classes is not None:
        count = max(2, int(labels.max(initial=0)) + 1, int(classes.max(initial=0)) + 1)
        return pixels.confusion(labels, classes, count)
    cell = frame.objects > 0 if frame.probability is None else frame.probability > 0.5
    return pixels.confusion(np.minimum(labels, 1), cell)


def _cell_iou(table: NDArray[np.int64]) -> float:
    """Jaccard index of cell pixels, whatever their class."""
    cell = table[1:, 1:].sum()
    union = table.sum() - table[0, 0]
    return float(cell / union) if union else float("nan")


def _number(score: float) -> float | None:
    return None if np.isnan(score) else score


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
    sums = ScoreAccumulator(truth.kind, stack.axes, border=border)
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
    sums = ScoreAccumulator(kind, axes, det_of_objects=True, border=border)
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
