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
from napari_jnet.plugin.jobs.runner import JobMaker, Progress
from napari_jnet.plugin.layers.add import Prediction
from napari_jnet.plugin.layers.read import kind_of, marked_empty, metadata, pixels, result_of

FrameReader = Callable[[int, int], NDArray[np.int32] | None]  # position, frame number -> labels


@dataclass(frozen=True, eq=False)
class LayerLabels:
    """A labels layer as it was when scoring was asked for; read in the worker thread.

    Attributes
    ----------
    partial, empty
        Numbers of frames of which not all is annotated, and of those that hold no object.
    done
        Positions that are predicted as a whole; None where a frame of zeros counts only if it is `empty`.
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
        """Read a frame, `UNKNOWN` where it is unknown; None where nothing is there."""
        labels = frame_of(self.data, position)
        done = self.done
        if not (labels.any() or number in self.empty if done is None else position in done):
            return None
        return known_labels(labels, self.kind, partial=number in self.partial)

    def open(self) -> FrameReader:
        """Return what reads a frame."""
        return self.read


@dataclass(frozen=True)
class StoredTruth:
    """Ground truth of the stack on disk, which no layer shows."""

    path: Path
    choices: dict[str, Any]  # of `open_stack`
    annotation: str
    kind: LabelKind
    frames: int

    @property
    def name(self) -> str:
        """What the user reads."""
        return f"{self.annotation} ground truth on disk ({self.frames} frames)"

    def open(self) -> FrameReader:
        """Open the stack, and return what reads a frame."""
        from napari_jnet.project.open import open_stack

        annotation = open_stack(self.path, **self.choices).annotation(self.annotation)
        annotated = frozenset(annotation.frame_numbers)
        return lambda _, number: annotation.frame(number) if number in annotated else None


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
    truth: LayerLabels | StoredTruth
    frames: tuple[tuple[int, int], ...]
    axes: str
    border: int = 0

    @property
    def of_cells(self) -> bool:
        """Whether both are cells; else pixels are compared."""
        return self.result.kind is self.truth.kind is LabelKind.INSTANCES


@dataclass(frozen=True, eq=False)
class ScoredFrame:
    """The score of one frame, a map of its errors (see `ErrorKind`) and a list of them."""

    position: int
    score: FrameScore
    error_map: NDArray[np.uint8]
    errors: list[CellError]


@dataclass
class Outcome:
    """All scores, the frame numbers that have none, and how many errors of each kind there are."""

    scores: Scores | None = None
    without_truth: list[int] = field(default_factory=list)
    without_result: list[int] = field(default_factory=list)
    errors: Counter[ErrorKind] = field(default_factory=Counter)


def layer_labels(layer: Any, prediction: Prediction | None = None) -> LayerLabels:
    """Return the labels of a layer; of a prediction, also its maps and which frames are done."""
    kind = kind_of(layer) or (
        LabelKind.CLASSES if result_of(layer) == "classes" else LabelKind.INSTANCES
    )
    if prediction is None or not any(layer is other for other in prediction.all_layers):
        partial = metadata(layer).get("partial", ())
        return LayerLabels(layer.name, kind, pixels(layer), partial, marked_empty(layer))
    return LayerLabels(
        layer.name,
        kind,
        pixels(layer),
        done=frozenset(p for p in prediction.done if prediction.whole(p)) | prediction.edited,
        probability=prediction.probability,
        classes=None if prediction.classes is None else pixels(prediction.classes),
    )


def stored_truth(path: Path, choices: dict[str, Any]) -> tuple[StoredTruth, ...]:
    """Return the annotations of a stack on disk; for a thread."""
    from napari_jnet.project.open import open_stack

    stack = open_stack(path, **choices)
    found = []
    for one in stack.annotations.values():
        with suppress(ValueError, OSError):  # labels that the page Stack asks about
            count = len(one.frame_numbers)
            found.append(StoredTruth(path, stack.choices, one.name, one.kind, count))
    return tuple(found)


def scoring(comparison: Comparison) -> JobMaker:
    """Return the job that scores frame by frame; its value is an `Outcome`."""

    def job() -> Generator[Progress | ScoredFrame, None, Outcome]:
        from napari_jnet.evaluation.evaluate import ScoreAccumulator

        kind = LabelKind.INSTANCES if comparison.of_cells else LabelKind.CLASSES
        scores = ScoreAccumulator(
            kind, comparison.axes, det_of_objects=True, border=comparison.border
        )
        read_truth, outcome, count = comparison.truth.open(), Outcome(), len(comparison.frames)
        for done, (position, number) in enumerate(comparison.frames, start=1):
            truth = read_truth(position, number)
            result = None if truth is None else comparison.result.read(position, number)
            if truth is None:
                outcome.without_truth.append(number)
            elif result is None:
                outcome.without_result.append(number)
            else:
                try:
                    scored = _score(scores, comparison, position, number, truth, result)
                except ValueError as error:
                    raise ValueError(f"Frame {number}: {error}") from error
                outcome.errors.update(error.kind for error in scored.errors)
                yield scored
            yield Progress(done, count, f"frame {done} of {count}")
        if scores.frames:
            outcome.scores = scores.scores(comparison.result.name, comparison.truth.name)
        return outcome

    return job


def _score(
    scores: Any,
    comparison: Comparison,
    position: int,
    number: int,
    truth: NDArray[np.int32],
    result: NDArray[np.int32],
) -> ScoredFrame:
    from napari_jnet.evaluation.errors import error_map, pixel_error_map
    from napari_jnet.evaluation.evaluate import FrameLabels, in_field

    objects, side = np.maximum(result, 0), comparison.result
    if comparison.of_cells:
        frame = FrameLabels(number, truth, objects)
        frame = in_field(frame, comparison.border, LabelKind.INSTANCES)
        assert frame.reference is not None
        return ScoredFrame(position, scores.add(frame), *error_map(frame.reference, frame.objects))
    probability = None if side.probability is None else frame_of(side.probability, position)
    classes = None if side.classes is None else frame_of(side.classes, position)
    if side.kind is LabelKind.CLASSES:
        classes = objects
    if comparison.truth.kind is LabelKind.INSTANCES:
        truth, classes = np.minimum(truth, 1), None
    score = scores.add(FrameLabels(number, truth, objects, classes, probability))
    if classes is None:
        truth, classes = np.minimum(truth, 1), objects > 0
    return ScoredFrame(position, score, pixel_error_map(truth, classes), [])


def frame_of(data: Any, position: int) -> NDArray[Any]:
    """Read one frame of an array as large as a layer."""
    return np.asarray(data if data.ndim == 2 else data[position])
