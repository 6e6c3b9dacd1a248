"""Scores of a result, on disk or in memory, against the annotation of its stack."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_jnet.evaluation import SCORES, objects, pixels, rand
from napari_jnet.events import FrameScore, Message, Scores, number_ranges
from napari_jnet.io.ctc import markers
from napari_jnet.io.results import StoredResult, open_result
from napari_jnet.io.stack import Annotation, Stack, position_of
from napari_jnet.labels import (
    UNKNOWN,
    LabelKind,
    checked_labels,
    contingency,
    numbered_pieces,
    same_shape,
)


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
        Of cell, where it is known; V_rand is the best of the objects and of several thresholds.
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


class _Counts(NamedTuple):
    """What the scores of one frame are computed from; None where a score does not apply."""

    pixels: NDArray[np.int64]  # confusion table of the classes, or of background and cell
    seg: NDArray[np.float64] | None = None  # of each reference object
    precision: NDArray[np.int64] | None = None
    detection: NDArray[np.int64] | None = None
    sections: NDArray[np.float64] | None = None  # of V_rand and V_info


@dataclass(eq=False)
class ScoreAccumulator:
    """Scores frames, one by one and all together."""

    kind: LabelKind  # of the reference: INSTANCES, or classes of pixels
    axes: str = "TYX"  # "ZYX": sections with binary labels are scored by V_rand too
    det_of_objects: bool = False  # without markers, where every pixel of the frame is known
    border: int = 0  # objects wholly within this many pixels of a side do not count; 0 for classes
    frames: list[FrameScore] = field(default_factory=list)
    _counts: list[_Counts] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.kind is not LabelKind.INSTANCES:
            self.border = 0

    def add(self, frame: FrameLabels) -> FrameScore:
        """Score one frame and add it; raises `ValueError` where shapes or types do not fit."""
        try:
            counts = self._count(frame)
        except ValueError as error:
            raise ValueError(f"Frame {frame.number}: {error}") from error
        self._counts.append(counts)
        self.frames.append(FrameScore(number=frame.number, **_scores([counts])))
        return self.frames[-1]

    def _count(self, frame: FrameLabels) -> _Counts:
        reference, tracked = (
            None if labels is None else checked_labels(labels, "reference")
            for labels in (frame.reference, frame.markers)
        )
        frame = frame._replace(
            reference=reference, markers=tracked, objects=checked_labels(frame.objects, "result")
        )
        frame = in_field(frame, self.border)
        if frame.reference is None:
            counts = _Counts(np.zeros((2, 2), np.int64))
        elif self.kind is LabelKind.INSTANCES:
            counts = _count_objects(frame, frame.reference)
        else:
            counts = self._count_classes(frame, frame.reference)
        tracked = frame.markers
        if self.det_of_objects and self.kind is LabelKind.INSTANCES and tracked is None:
            whole = frame.reference is not None and (frame.reference >= 0).all()
            tracked = frame.reference if whole else None
        if tracked is not None:
            # result objects wholly on unknown pixels are not in the table, and so no false positives
            table = contingency(tracked, frame.objects)
            counts = counts._replace(detection=objects.det_frame(table))
        return counts

    def _count_classes(self, frame: FrameLabels, labels: NDArray[np.int32]) -> _Counts:
        if frame.classes is not None:
            largest = max(int(labels.max(initial=0)), int(frame.classes.max(initial=0)))
            table = pixels.confusion(labels, frame.classes, max(2, largest + 1))
        else:
            inside = frame.objects > 0 if frame.probability is None else frame.probability > 0.5
            table = pixels.confusion(np.minimum(labels, 1), inside)
        sections = None
        if self.axes.startswith("Z") and labels.max(initial=0) <= 1:
            of_objects = rand.section_sums(labels, frame.objects)
            cuts = (
                np.repeat(of_objects, len(rand.THRESHOLDS), axis=0)
                if frame.probability is None
                else rand.section_sums(labels, frame.probability)
            )
            sections = np.concatenate([of_objects, cuts])
        return _Counts(table, sections=sections)

    def scores(self, result: str, truth: str) -> Scores:
        """Return the scores of all frames together; the names say what was compared."""
        seg = _seg(self._counts)
        return Scores(
            objects=len(seg),
            missed=int(np.count_nonzero(seg == 0)),
            frames=tuple(self.frames),
            result=result,
            truth=truth,
            border=self.border,
            **_scores(self._counts),
        )


def _count_objects(frame: FrameLabels, reference: NDArray[np.int32]) -> _Counts:
    same_shape(reference, frame.objects)
    seg, precision = [], []
    for labels, result in _images(frame, reference):
        # what reaches onto unknown pixels is too large: they count as background here
        table = contingency(np.maximum(labels, 0), result)
        seg.append(objects.seg_frame(table))
        precision.append(objects.ap_frame(table, objects.unknown_share(labels, result, table)))
    return _Counts(
        pixels.confusion(np.minimum(reference, 1), frame.objects > 0),
        np.concatenate(seg),
        np.sum(precision, axis=0),
    )


def _images(
    frame: FrameLabels, reference: NDArray[np.int32]
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.integer]]]:
    """Yield the reference and the result of each image that is scored alone.

    The annotated planes of a volume are one image, or one each where their objects are planar: the
    challenge's own program scores each file by itself.
    """
    if reference.ndim == 2:
        yield reference, frame.objects
        return
    known = (reference != UNKNOWN).any(axis=(-2, -1))
    if frame.by_plane and known.any():
        yield from zip(reference[known], frame.objects[known], strict=True)
    else:
        yield reference[known], frame.objects[known]


def _seg(counts: Sequence[_Counts]) -> NDArray[np.float64]:
    return np.concatenate([np.zeros(0), *(c.seg for c in counts if c.seg is not None)])


def _scores(counts: Sequence[_Counts]) -> dict[str, float | None]:
    """Return the scores of one frame, or of several together."""
    size = max((len(one.pixels) for one in counts), default=2)
    table = np.zeros((size, size), np.int64)
    for one in counts:
        table[: len(one.pixels), : len(one.pixels)] += one.pixels
    values = dict.fromkeys(SCORES, float("nan")) | {
        "iou": pixels.cell_iou(table),
        "mean_iou": pixels.mean_iou(table),
        "pixel_accuracy": pixels.pixel_accuracy(table),
    }
    if (seg := _seg(counts)).size:
        values["seg"] = seg.mean()
    if detection := [c.detection for c in counts if c.detection is not None]:
        values["det"] = objects.det_score(np.sum(detection, axis=0))
    if precision := [c.precision for c in counts if c.precision is not None]:
        found = objects.average_precision(np.sum(precision, axis=0))
        ap = dict(zip(objects.THRESHOLDS, found.tolist(), strict=True))
        values |= {"ap50": ap[0.5], "ap75": ap[0.75], "ap": found.mean()}
    if sections := [c.sections for c in counts if c.sections is not None]:
        values["v_rand"], values["v_info"] = rand.best_scores(np.sum(sections, axis=0))
    return {name: None if np.isnan(value) else float(value) for name, value in values.items()}


def in_field(frame: FrameLabels, border: int) -> FrameLabels:
    """Leave out the objects that lie wholly within so many pixels of the sides.

    Raises `ValueError` if nothing is left of the frame.
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

    if not border:
        return frame
    return frame._replace(
        reference=kept(frame.reference), objects=kept(frame.objects), markers=kept(frame.markers)
    )


def evaluate(
    result: Path | str,
    stack: Stack,
    *,
    annotation: str | None = None,
    frames: Sequence[int] | None = None,
    border: int = 0,
) -> Iterator[FrameScore | Scores | Message]:
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
    Message
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
    whole, so that a result object that reaches beyond it is too large, also on unknown pixels; so is
    AP, see `ap_frame`.  For pixels, only known ones count.  DET needs TRA markers
    and a result of every frame (of those chosen) that has them.  Where labels are classes, pixels are
    scored by ``classes.tif`` or by ``probability.tif`` above 0.5 if they were written, and sections of
    a volume (ISBI-2012) by V_rand and V_info too: the best of the cells and of the thresholds of
    ``probability.tif``.
    """
    truth, tracked = stack.annotation(annotation), markers(stack)
    if frames is not None:
        chosen = set(frames)
        for number in chosen - set(truth.frame_numbers):
            truth.frame(number)  # says that it is not annotated
        truth = replace(truth, frame_numbers=tuple(sorted(chosen)))
        kept = tuple(n for n in tracked.frame_numbers if n in chosen) if tracked else ()
        tracked = replace(tracked, frame_numbers=kept) if tracked and kept else None
    with closing(open_result(result, stack)) as stored:
        if truth.path is not None and truth.path.exists() and stored.path.samefile(truth.path):
            raise ValueError(
                f"{stored.path} is both the result and the labels {truth.name!r}; compared with itself it is "
                "always perfect. Choose other labels with --truth, or another result."
            )
        _check_frames(stored, truth)
        if tracked is not None and not set(tracked.frame_numbers) <= set(stored.frame_numbers):
            tracked = None
        if stored.message:
            yield Message(stored.message)
        accumulator = ScoreAccumulator(truth.kind, stack.axes, border=border)
        numbers = {*truth.frame_numbers, *(tracked.frame_numbers if tracked else ())}
        single, in_pieces = truth.kind is LabelKind.INSTANCES, False
        for number in sorted(numbers):
            frame = _frame(number, stored, truth, tracked)
            yield accumulator.add(frame)
            single = single and len(np.unique(frame.objects[frame.objects > 0])) <= 1
            in_pieces = in_pieces or (single and numbered_pieces(frame.objects).max(initial=0) > 1)
        if single and in_pieces:
            yield Message(
                f"{stored.path} holds one number a frame, in several pieces: it looks like a mask of cell "
                "and background, but each number is scored as one object. Number the pieces, or score "
                "the instances.tif that predict writes."
            )
        yield accumulator.scores(str(stored.path), f"{stack.name}, {truth.name}")


def _frame(
    number: int, stored: StoredResult, truth: Annotation, tracked: Annotation | None
) -> FrameLabels:
    annotated = position_of(number, truth.frame_numbers) is not None
    with_maps = annotated and truth.kind is not LabelKind.INSTANCES
    return FrameLabels(
        number,
        truth.frame(number) if annotated else None,
        checked_labels(stored.instances(number), f"result {stored.path}"),
        classes=stored.map("classes", number) if with_maps else None,
        probability=stored.map("probability", number) if with_maps else None,
        markers=tracked.frame(number)
        if tracked and position_of(number, tracked.frame_numbers) is not None
        else None,
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
        If there is no frame, one comes twice, sizes differ, or labels are not integers.

    Notes
    -----
    As `evaluate`, but for DET: without markers the reference objects are taken for them in frames
    whose pixels are all known.
    """
    accumulator = ScoreAccumulator(kind, axes, det_of_objects=True, border=border)
    seen: set[int] = set()
    for frame in frames:
        compared = FrameLabels(*frame)
        if compared.number in seen:
            raise ValueError(f"Frame {compared.number} is there twice; each frame counts once.")
        seen.add(compared.number)
        yield accumulator.add(compared)
    if not accumulator.frames:
        raise ValueError(
            f"No frame has both {truth} and {result}; choose other frames, or predict them."
        )
    yield accumulator.scores(result, truth)


def _check_frames(stored: StoredResult, truth: Annotation) -> None:
    missing = [n for n in truth.frame_numbers if n not in stored.frame_numbers]
    if missing:
        why = f"{stored.message} " if stored.message else ""
        raise FileNotFoundError(
            f"{why}{stored.path} has no result for frames {', '.join(number_ranges(missing))}, which "
            f"{truth.name!r} annotates. Predict these frames too, or choose the frames to score."
        )
