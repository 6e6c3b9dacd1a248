"""What Evaluate does in the worker thread: read both sides frame by frame, score, find errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.evaluation.errors import CellError, ErrorKind
from napari_jnet.events import FrameScore, Scores
from napari_jnet.labels import LabelKind, known_labels
from napari_jnet.plugin.jobs.runner import JobMaker
from napari_jnet.plugin.layers.read import METADATA_KEY, kind_of, pixels, result_of, said_empty


@dataclass(frozen=True, eq=False)
class LayerLabels:
    """A labels layer as it was when scoring was asked for; read in the worker thread.

    Attributes
    ----------
    empty
        Numbers of frames that are said to hold nothing.
    done
        Positions that are predicted as a whole; None where a frame of zeros, unless it is `empty`, says
        nothing.
    probability, classes
        Maps that belong to the cells of a prediction, or None.
    """

    name: str
    kind: LabelKind
    data: Any
    partial: Any = ()
    empty: Any = ()
    done: frozenset[int] | None = None
    probability: Any = None
    classes: Any = None

    def read(self, position: int, number: int) -> NDArray[np.int32] | None:
        """Read a frame, `UNKNOWN` where nobody knows; None where nothing is there."""
        labels = _frame(self.data, position)
        said = labels.any() or number in self.empty
        if not said if self.done is None else position not in self.done:
            return None
        return known_labels(labels, self.kind, partial=number in self.partial)

    def open(self) -> Callable[[int, int], NDArray[np.int32] | None]:
        """Return `read`."""
        return self.read


@dataclass(frozen=True)
class DiskTruth:
    """An annotation of the stack on disk, which no layer shows."""

    path: Path
    choices: dict[str, Any]  # of `open_stack`
    name: str
    kind: LabelKind
    frames: int

    def open(self) -> Callable[[int, int], NDArray[np.int32] | None]:
        """Open the stack, and return what reads a frame."""
        from napari_jnet.project.open import open_stack

        stack = open_stack(self.path, **self.choices)
        annotation = stack.annotation(self.name)
        annotated = frozenset(annotation.frame_numbers)

        def read(_position: int, number: int) -> NDArray[np.int32] | None:
            return annotation.frame(number) if number in annotated else None

        return read


@dataclass(frozen=True, eq=False)
class Comparison:
    """What is compared with what, in which frames.

    Attributes
    ----------
    frames
        Position and number of each.
    border
        Cells that lie wholly within this many pixels of a side do not count; 0 for classes.
    """

    result: LayerLabels
    truth: LayerLabels | DiskTruth
    truth_name: str
    frames: tuple[tuple[int, int], ...]
    axes: str
    border: int = 0

    @property
    def kind(self) -> LabelKind:
        """INSTANCES where both are cells; else pixels are compared."""
        both = {self.result.kind, self.truth.kind}
        return LabelKind.INSTANCES if both == {LabelKind.INSTANCES} else LabelKind.CLASSES


@dataclass(frozen=True)
class Looked:
    """One more frame was looked at; there was nothing to compare."""

    done: int
    count: int


@dataclass(frozen=True, eq=False)
class ScoredFrame:
    """One frame is scored."""

    position: int
    score: FrameScore
    plane: NDArray[np.uint8]  # of errors, see `ErrorKind`
    errors: list[CellError]
    done: int
    count: int


@dataclass
class Outcome:
    """All scores, the frame numbers that have none, and how many errors of each kind there are."""

    scores: Scores | None = None
    without_truth: list[int] = field(default_factory=list)
    without_result: list[int] = field(default_factory=list)
    errors: Counter[ErrorKind] = field(default_factory=Counter)


def layer_labels(layer: Any, results: Any = None) -> LayerLabels:
    """Take a labels layer; of a prediction, also its maps and which frames are done.

    Parameters
    ----------
    layer
        A labels layer.
    results
        The `Prediction` of the session, if any.
    """
    told = layer.metadata.get(METADATA_KEY, {})
    what = result_of(layer)
    kind = kind_of(layer) or (LabelKind.CLASSES if what == "classes" else LabelKind.INSTANCES)
    mine = results is not None and any(layer is other for other in results.all_layers)
    if not mine:
        partial = told.get("partial", ())
        return LayerLabels(layer.name, kind, pixels(layer), partial, said_empty(layer))
    classes = None if results.classes is None else pixels(results.classes)
    return LayerLabels(
        layer.name,
        kind,
        pixels(layer),
        done=frozenset(p for p in results.done if results.whole(p)) | frozenset(results.edited),
        probability=results.probability,
        classes=classes,
    )


def list_truth(path: Path, choices: dict[str, Any]) -> JobMaker:
    """Make the job that lists the annotations of a stack on disk."""

    def job() -> Generator[tuple[DiskTruth, ...], None, None]:
        from napari_jnet.project.open import open_stack

        stack = open_stack(path, **choices)
        found = []
        for one in stack.annotations.values():
            with suppress(ValueError, OSError):  # labels that the step Stack asks about
                count = len(one.frame_numbers)
                found.append(DiskTruth(path, stack.choices, one.name, one.kind, count))
        yield tuple(found)

    return job


def scoring(comparison: Comparison) -> JobMaker:
    """Make the job that scores frame by frame; its value is an `Outcome`."""

    def job() -> Generator[Looked | ScoredFrame, None, Outcome]:
        from napari_jnet.evaluation.evaluate import ScoreAccumulator

        sums = ScoreAccumulator(
            comparison.kind, comparison.axes, det_of_objects=True, border=comparison.border
        )
        read, outcome, count = comparison.truth.open(), Outcome(), len(comparison.frames)
        for done, (position, number) in enumerate(comparison.frames, start=1):
            truth = read(position, number)
            result = None if truth is None else comparison.result.read(position, number)
            if truth is None or result is None:
                (outcome.without_truth if truth is None else outcome.without_result).append(number)
                yield Looked(done, count)
                continue
            try:
                score, plane, errors = _score(sums, comparison, position, number, truth, result)
            except ValueError as error:
                raise ValueError(f"Frame {number}: {error}") from error
            outcome.errors.update(error.kind for error in errors)
            yield ScoredFrame(position, score, plane, errors, done, count)
        if sums.frames:
            outcome.scores = sums.scores(comparison.result.name, comparison.truth_name)
        return outcome

    return job


def _score(
    sums: Any,
    comparison: Comparison,
    position: int,
    number: int,
    truth: NDArray[np.int32],
    result: NDArray[np.int32],
) -> tuple[FrameScore, NDArray[np.uint8], list[CellError]]:
    from napari_jnet.evaluation.errors import error_map, pixel_error_map
    from napari_jnet.evaluation.evaluate import FrameLabels, in_field

    objects = np.maximum(result, 0)
    side = comparison.result
    if comparison.kind is LabelKind.INSTANCES:
        frame = in_field(FrameLabels(number, truth, objects), comparison.border, comparison.kind)
        score = sums.add(frame)
        assert frame.reference is not None
        plane, errors = error_map(frame.reference, frame.objects)
        return score, plane, errors
    classes, probability = _maps(side, position)
    if side.kind is LabelKind.CLASSES:
        classes = objects
    if comparison.truth.kind is LabelKind.INSTANCES:
        truth, classes = np.minimum(truth, 1), None
    score = sums.add(FrameLabels(number, truth, objects, classes, probability))
    if classes is None:
        return score, pixel_error_map(np.minimum(truth, 1), objects > 0), []
    return score, pixel_error_map(truth, classes), []


def _maps(side: LayerLabels, position: int) -> tuple[Any, Any]:
    classes = None if side.classes is None else _frame(side.classes, position)
    probability = None if side.probability is None else _frame(side.probability, position)
    return classes, probability


def _frame(data: Any, position: int) -> NDArray[Any]:
    return np.asarray(data if data.ndim == 2 else data[position])
