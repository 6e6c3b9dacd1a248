"""What Evaluate does in the worker thread: read both sides frame by frame, score, find errors."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.evaluation.errors import CellError, error_map, pixel_error_map
from napari_jnet.events import FrameScore, Scores
from napari_jnet.io.stack import Annotation
from napari_jnet.labels import LabelKind, known_labels
from napari_jnet.plugin.jobs.runner import JobMaker, Progress
from napari_jnet.plugin.layers.add import Prediction
from napari_jnet.plugin.layers.read import kind_of, marked_empty, metadata, pixels, result_of


@dataclass(frozen=True, eq=False)
class LayerLabels:
    """A labels layer as it was when scoring was asked for; read in the worker thread."""

    name: str
    kind: LabelKind
    data: Any
    partial: Any = ()  # numbers of frames of which not all is annotated
    empty: Any = ()  # numbers of frames that hold no object
    done: frozenset[int] | None = None  # positions predicted whole; None for what is painted
    probability: Any = None  # maps that belong to the cells of a prediction
    classes: Any = None

    def read(self, position: int, number: int) -> NDArray[np.int32] | None:
        """Read a frame, `UNKNOWN` where it is unknown; None where nothing is there."""
        labels = _frame_of(self.data, position)
        done = self.done
        if not (labels.any() or number in self.empty if done is None else position in done):
            return None
        return known_labels(labels, self.kind, partial=number in self.partial)


@dataclass(frozen=True, eq=False)
class Comparison:
    """What is compared with what, in which frames."""

    result: LayerLabels
    truth: LayerLabels | Annotation
    frames: tuple[tuple[int, int], ...]  # position and number of each
    axes: str
    border: int = 0  # cells wholly within this many pixels of a side do not count

    @property
    def kind(self) -> LabelKind:
        """INSTANCES where both are cells; else pixels are compared, as classes."""
        cells = self.result.kind is self.truth.kind is LabelKind.INSTANCES
        return LabelKind.INSTANCES if cells else LabelKind.CLASSES

    def read_truth(self, position: int, number: int) -> NDArray[np.int32] | None:
        """Read a frame of the ground truth; None where nothing is there."""
        if isinstance(self.truth, LayerLabels):
            return self.truth.read(position, number)
        return self.truth.frame(number) if number in self.truth.frame_numbers else None


@dataclass(frozen=True, eq=False)
class ScoredFrame:
    """The score of one frame, a map of its errors (see `ErrorKind`) and a list of them."""

    position: int
    score: FrameScore
    error_map: NDArray[np.uint8]
    errors: list[CellError]


@dataclass(frozen=True)
class Outcome:
    """All scores, and the numbers of frames that the ground truth has and the result has not."""

    scores: Scores
    without_result: list[int]


def layer_labels(layer: Any, prediction: Prediction | None = None) -> LayerLabels:
    """Return the labels of a layer; of a prediction, also its maps and which frames are done."""
    kind = kind_of(layer) or (
        LabelKind.CLASSES if result_of(layer) == "classes" else LabelKind.INSTANCES
    )
    if prediction is None or not any(layer is other for other in prediction.layers):
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


def stored_truth(path: str, choices: dict[str, Any]) -> list[Annotation]:
    """Return the annotations of a stack on disk, as "gold on disk"; for a thread."""
    from napari_jnet.project.open import open_stack

    found = []
    for name, annotation in open_stack(path, **choices).annotations.items():
        with suppress(ValueError, OSError):  # labels that the page Stack asks about
            kind, numbers = annotation.kind, annotation.frame_numbers
            found.append(Annotation(f"{name} on disk", kind, numbers, annotation.read))
    return found


def scoring(comparison: Comparison) -> JobMaker:
    """Return the job that scores frame by frame; its value is an `Outcome`."""

    def job() -> Generator[Progress | ScoredFrame, None, Outcome]:
        from napari_jnet.evaluation.evaluate import ScoreAccumulator

        result, truth = comparison.result.name, comparison.truth.name
        scores = ScoreAccumulator(
            comparison.kind, comparison.axes, det_of_objects=True, border=comparison.border
        )
        without_result, count = [], len(comparison.frames)
        for done, (position, number) in enumerate(comparison.frames, start=1):
            reference = comparison.read_truth(position, number)
            labels = None if reference is None else comparison.result.read(position, number)
            if reference is not None and labels is None:
                without_result.append(number)
            elif reference is not None and labels is not None:
                yield _score(scores, comparison, position, number, reference, labels)
            yield Progress(done, count, f"frame {done} of {count}")
        if not scores.frames:
            raise ValueError(
                f"No chosen frame has both {truth!r} and {result!r}; paint the cells of one, predict it, "
                "or choose other frames."
            )
        return Outcome(scores.scores(result, truth), without_result)

    return job


def _score(
    scores: Any,
    comparison: Comparison,
    position: int,
    number: int,
    truth: NDArray[np.int32],
    result: NDArray[np.int32],
) -> ScoredFrame:
    from napari_jnet.evaluation.evaluate import FrameLabels, in_field

    objects, side = np.maximum(result, 0), comparison.result
    if comparison.kind is LabelKind.INSTANCES:
        frame = FrameLabels(number, truth, objects)
        score, frame = scores.add(frame), in_field(frame, comparison.border)
        assert frame.reference is not None
        return ScoredFrame(position, score, *error_map(frame.reference, frame.objects))
    probability = None if side.probability is None else _frame_of(side.probability, position)
    classes = None if side.classes is None else _frame_of(side.classes, position)
    if side.kind is LabelKind.CLASSES:
        classes = objects
    if comparison.truth.kind is LabelKind.INSTANCES:
        truth, classes = np.minimum(truth, 1), None
    score = scores.add(FrameLabels(number, truth, objects, classes, probability))
    if classes is None:
        truth, classes = np.minimum(truth, 1), objects > 0
    return ScoredFrame(position, score, pixel_error_map(truth, classes), [])


def _frame_of(data: Any, position: int) -> NDArray[Any]:
    """Read one frame of an array as large as a layer."""
    return np.asarray(data if data.ndim == 2 else data[position])
