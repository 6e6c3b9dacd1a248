"""The dock widget that scores cells against ground truth, and leads to what is wrong."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray

from napari_jnet.evaluation import BORDER_HELP, SCORES
from napari_jnet.evaluation.errors import CellError, ErrorKind
from napari_jnet.events import FrameScore, Scores, number_ranges
from napari_jnet.io.stack import Annotation
from napari_jnet.labels import LabelKind, same_shape
from napari_jnet.plugin.jobs.evaluate import (
    Comparison,
    Outcome,
    ScoredFrame,
    layer_labels,
    scoring,
    stored_truth,
)
from napari_jnet.plugin.jobs.runner import Progress, TaskQueue
from napari_jnet.plugin.layers.add import add_marks, set_hidden
from napari_jnet.plugin.layers.read import (
    frame_numbers,
    metadata,
    pixels,
    placement,
    result_of,
    show_place,
    shown_position,
    spatial_shape,
)
from napari_jnet.plugin.ui.form import Form
from napari_jnet.plugin.ui.page import JobWidget
from napari_jnet.plugin.ui.table import ResultTable, save_button
from napari_jnet.plugin.ui.widgets import LayerChoice, plural, push_button, small_label
from napari_jnet.plugin.workspace import Lifetime, Workspace

NAMES = {kind: kind.name.lower().replace("_", " ") for kind in ErrorKind}
COLORS = {  # distinguishable for people who see red and green alike (Okabe and Ito)
    ErrorKind.MISSED: "#e8602c",
    ErrorKind.FALSE: "#56b4e9",
    ErrorKind.SPLIT: "#f0e442",
    ErrorKind.MERGED: "#cc79a7",
    ErrorKind.WRONG_CLASS: "#e69f00",
}


class ErrorLayer:
    """One labels layer "errors" of a viewer, from an evaluation to the next prediction.

    While it is shown, no other labels are, nor the maps of a prediction: their colours would be taken for
    errors.  They are shown again when another page is chosen, when the errors are hidden or removed, and
    at the end of the widget.
    """

    def __init__(self, workspace: Workspace, lifetime: Lifetime) -> None:
        self._viewer = workspace.viewer
        self.layer: Any = None
        lifetime.connect(self._viewer.layers.events.removed, self._on_removed)
        lifetime.connect(workspace.prediction_changed, self.remove)
        lifetime.connect(workspace.page_changed, self._on_page)
        lifetime.at_end(lambda: self._hide_others(False))

    def begin(self, like: Any) -> None:
        """Begin a layer without errors, which lies on this layer."""
        self.remove()
        legend = [("right", "#000000"), *((NAMES[k], COLORS[k]) for k in ErrorKind)]
        marks = np.zeros(pixels(like).shape, np.uint8)  # takes no memory before it is written
        self.layer = add_marks(self._viewer, "errors", marks, legend, placement(like))
        self.layer.events.visible.connect(self._on_eye)
        self._hide_others(True)

    def write(self, position: int, plane: NDArray[np.uint8]) -> None:
        """Write the errors of a frame, in the window's thread."""
        if self.layer is not None:
            data = self.layer.data
            data[... if data.ndim == 2 else position] = plane
            self.layer.refresh()

    def remove(self, _prediction: Any = None) -> None:
        """Remove the layer; the errors of other cells are no errors of these."""
        if self.layer is not None:
            self._viewer.layers.remove(self.layer)

    def _hide_others(self, hidden: bool) -> None:
        for layer in self._viewer.layers:
            if layer is not self.layer and (isinstance(layer, Labels) or result_of(layer)):
                set_hidden(layer, "errors", hidden)
                if hidden and isinstance(layer, Labels):
                    layer.mode = "pan_zoom"  # napari would paint on hidden labels

    def _on_eye(self, event: Any) -> None:
        self._hide_others(event.source.visible)

    def _on_removed(self, event: Any) -> None:
        if event.value is self.layer:
            self.layer = None
            self._hide_others(False)

    def _on_page(self, page: str) -> None:
        if self.layer is not None:
            self.layer.visible = page == "evaluate"


FRAMES = {
    "all": "All annotated frames",
    "validation": "Validation frames only",
    "unused": "Frames never trained on",
}


def compared_layers(workspace: Workspace) -> list[Any]:
    """Return the labels layers that can be scored: painted, loaded or predicted ones."""
    layers = [] if workspace.viewer is None else workspace.viewer.layers
    labels = [layer for layer in layers if isinstance(layer, Labels)]
    return [layer for layer in labels if result_of(layer) in ("", "cells", "classes")]


def role_of(workspace: Workspace, position: int) -> str:
    """Return the role of a frame, "annotated" where the split decided, or ""."""
    frames = workspace.frames
    if not 0 <= position < len(frames):
        return ""
    # predicted cells count as the annotation only as long as nobody has painted one
    painted = frames.layer is not None and not result_of(frames.layer)
    annotated = painted and frames.info(position).annotated
    return frames.info(position).role or ("annotated" if annotated else "")


def compare(
    workspace: Workspace, layer: Any, truth: Any, which: str, border: int = 0
) -> Comparison:
    """Return what is compared; raises `ValueError` if something is missing, or sizes differ.

    `truth` is a labels layer or an `Annotation`, `which` a key of `FRAMES`.
    """
    if layer is None:
        raise ValueError("There is no labels layer to score; predict some frames first.")
    if truth is None:
        raise ValueError(
            "There is no ground truth; paint some cells, or open the ground truth as labels."
        )
    result = layer_labels(layer, workspace.prediction)
    if result.kind is LabelKind.SCRIBBLES:
        raise ValueError(
            f"{layer.name!r} holds scribbles, which cannot be scored; choose predicted cells."
        )
    if not isinstance(truth, Annotation):
        same_shape(pixels(truth), pixels(layer), (f"layer {truth.name!r}", f"layer {layer.name!r}"))
        truth = layer_labels(truth, workspace.prediction)
    numbers, axes = frame_numbers(layer, workspace.image)
    wanted = {"validation": ("validation",), "unused": ("unused", "")}.get(which)
    frames = tuple(
        (position, number)
        for position, number in enumerate(numbers)
        if wanted is None or role_of(workspace, position) in wanted
    )
    if not frames:
        raise ValueError(
            f"No frame is left by {FRAMES[which]!r}; give frames the role {which} in the table of frames, "
            "or score all frames."
        )
    return Comparison(result, truth, frames, axes, border)


class GroundTruthChoice(LayerChoice):
    """Ground truth to compare with: labels layers but the `result`, and that beside the stack on disk.

    Loaded ground truth comes first; where nobody has chosen, the first is taken.
    """

    def __init__(self, workspace: Workspace, result: LayerChoice, lifetime: Lifetime) -> None:
        self._result = result
        self._stored: list[Annotation] = []
        self._tasks = TaskQueue("napari-jnet ground truth")
        lifetime.at_end(self._tasks.close)
        super().__init__(workspace, self._list, lifetime)
        result.layer_changed.connect(self._refresh)
        lifetime.connect(workspace.image_changed, self._look)
        self._look(workspace.image)

    def _chosen(self) -> Any | None:
        known = any(item is self._choice for item in self._layers)
        return self._choice if known else next(iter(self._layers), None)

    def _list(self) -> list[Any]:
        def rank(item: Any) -> int:
            if isinstance(item, Annotation):
                return 1
            if result_of(item):
                return 4
            if metadata(item).get("annotation"):  # loaded
                return 0
            return 2 if item is self._workspace.annotation else 3

        layers = compared_layers(self._workspace)
        others = [layer for layer in reversed(layers) if layer is not self._result.layer]
        return sorted([*others, *self._stored], key=rank)

    def _look(self, image: Any) -> None:
        """Look, in the background, for ground truth beside the image on disk."""
        self._stored = []
        self._refresh()
        known = {} if image is None else metadata(image)
        names = {"sequence": "sequence", "given_axes": "axes", "series": "series"}
        choices = {name: known[key] for key, name in names.items() if known.get(key)}

        def take(found: list[Annotation]) -> None:
            if self._workspace.image is image:
                self._stored = found
                self._refresh()

        if path := known.get("path"):  # a stack that cannot be opened any more offers none
            self._tasks.submit(partial(stored_truth, path, choices), take)


_SCORE_COLUMNS = {
    "frame": "The number of the frame; a click goes there.",
    **dict(SCORES.values()),
    "border (px)": "Cells wholly within so many pixels of a side do not count.",
    "role": "What the frame was used for; scores on training frames are optimistic.",
}
_ERROR_COLUMNS = {
    "error": "What is wrong; a click goes there.",
    "frame": "The number of the frame.",
    "true cells": "Numbers of the true cells.",
    "result cells": "Numbers of the cells in the result.",
    "pixels": "Size.",
    "y (px)": "Row of its middle.",
    "x (px)": "Column of its middle.",
}


def score_row(score: FrameScore | Scores, role: str, border: int) -> tuple[Any, ...]:
    """Return a frame, or all together, as a row of the table of scores."""
    name = score.number if isinstance(score, FrameScore) else "all"
    return (name, *(getattr(score, field) for field in SCORES), border or None, role)


def error_row(number: int, error: CellError) -> tuple[Any, ...]:
    """Return an error as a row of the table of errors."""
    labels = (" ".join(map(str, those)) for those in (error.reference, error.result))
    return (NAMES[error.kind], number, *labels, error.pixels, *error.centroid[-2:])


def summary(
    outcome: Outcome, comparison: Comparison, errors: Counter[ErrorKind], seen: list[int]
) -> str:
    """Describe what came out; `seen` are frames that the network may have been trained on."""
    scores, result, truth = outcome.scores, comparison.result.name, comparison.truth.name
    of_cells = comparison.kind is LabelKind.INSTANCES
    name, value = ("SEG", scores.seg) if of_cells else ("IoU", scores.iou)
    text = "–" if value is None else f"{value:.3f}"
    wrong = ", ".join(f"{errors[kind]} {NAMES[kind]}" for kind in ErrorKind if errors[kind])
    found = f"{scores.objects} true cells; {wrong or 'no errors'}."
    lines = [
        f"{name} {text} on {plural(len(scores.frames), 'frame')} ({result} against {truth}). "
        f"{found if of_cells else 'Classes are compared pixel by pixel.'}"
    ]
    if seen:
        lines.append(
            f"Annotated or for training: {', '.join(number_ranges(seen))}. Scores on frames that the "
            "network was trained on are optimistic."
        )
    if outcome.without_result:
        lines.append(
            f"Not scored, because {result!r} has nothing there (or a part only): "
            f"{', '.join(number_ranges(outcome.without_result))}."
        )
    return "\n".join(lines)


class EvaluateWidget(JobWidget):
    """Scores a labels layer frame by frame, marks its errors in a layer, and jumps to them."""

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self.scores: Scores | None = None  # of the last evaluation
        self.errors: list[tuple[int, CellError]] = []  # position and error
        self._scored: list[tuple[int, FrameScore]] = []  # position and score
        self._layer: Any = None  # that is scored
        self._comparison: Comparison  # once something is scored
        self._overlay = ErrorLayer(self._workspace, self._lifetime)
        self._add_choices()
        self._add_scores()
        self._add_errors()
        self.column.addStretch(1)
        self._lifetime.connect(self._workspace.prediction_changed, self._take_prediction)
        self._take_prediction(self._workspace.prediction)

    def _add_choices(self) -> None:
        rows = self._group("Compare")
        self.result_choice = LayerChoice(
            self._workspace, lambda: compared_layers(self._workspace), self._lifetime
        )
        self.result_choice.setToolTip("What is scored: the predicted cells, or any labels layer.")
        self.truth_choice = GroundTruthChoice(self._workspace, self.result_choice, self._lifetime)
        self.truth_choice.setToolTip(
            "What is right: another labels layer, or the ground truth beside the stack on disk."
        )
        rows.addRow("Result", self.result_choice)
        rows.addRow("Ground truth", self.truth_choice)
        self.form = Form(rows)
        frames = [(title, which) for which, title in FRAMES.items()]
        tip = "Scores on training frames are optimistic; only other frames give an unbiased score."
        self.form.add("frames", "Frames", value="all", choices=frames, tooltip=tip)
        tip = f"{BORDER_HELP} Classes of pixels have no border."
        self.form.add("border", "Border (px)", value=0, max=999, tooltip=tip)
        tip = "Score every chosen frame, in the background."
        self.evaluate_button = push_button("Evaluate", tip, self.evaluate)
        self._add_starters(self.evaluate_button)

    def _add_scores(self) -> None:
        rows = self._group("Scores")
        self.score_table = ResultTable(digits=3)
        self.score_table.row_chosen.connect(self._to_frame)
        tip = "Write the scores to a file, and the errors beside it."
        self.save_button = save_button(
            self.score_table, "scores.csv", tip, lambda path: self.attempt(partial(self.save, path))
        )
        rows.addRow(self.score_table)
        rows.addRow(self.save_button)

    def _add_errors(self) -> None:
        rows = self._group("Errors")
        marks = (f'<span style="color:{COLORS[k]}">■</span>&nbsp;{NAMES[k]}' for k in ErrorKind)
        self.legend = small_label(" &nbsp;".join(marks))
        self.legend.setToolTip(
            "The colours of the layer errors; what is not marked is right. Other labels are hidden "
            "meanwhile: click the eye of the layer to see them."
        )
        self.error_table = ResultTable(digits=0)
        self.error_table.row_chosen.connect(self._to_error)
        rows.addRow(self.legend)
        rows.addRow(self.error_table)

    def evaluate(self) -> None:
        """Score, as the button does; problems are shown in the widget."""
        if self.running:
            return
        layer, truth = self.result_choice.layer, self.truth_choice.layer
        which, border = self.form.value("frames"), self.form.value("border")
        try:
            comparison = compare(self._workspace, layer, truth, which, border)
        except ValueError as error:
            self._on_error(error)
            return
        self._layer, self._comparison = layer, comparison
        self.scores, self.errors, self._scored = None, [], []
        self.score_table.set_rows({}, ())
        self.error_table.set_rows({}, ())
        self.error_table.setVisible(comparison.kind is LabelKind.INSTANCES)
        self._overlay.begin(layer)
        self._start(scoring(comparison), f"scoring {comparison.result.name}")

    def save(self, path: Path | str) -> None:
        """Write the scores as CSV, and the errors beside them as NAME_errors.csv; raises `OutputError`."""
        path = self.score_table.save(Path(path))
        self.error_table.save(path.with_name(f"{path.stem}_errors.csv"))
        self.message.say(f"Written: {path}.")

    # what the buttons do

    def _take_prediction(self, prediction: Any) -> None:
        if prediction is not None:
            wanted = prediction.cells if prediction.classes is None else prediction.classes
            if wanted in compared_layers(self._workspace):
                self.result_choice.set_layer(wanted)

    def _to_frame(self, row: int) -> None:
        if row < len(self._scored):  # all together are in no frame
            self._workspace.go_to(self._scored[row][0])

    def _to_error(self, row: int) -> None:
        position, error = self.errors[row]
        at = (position, *error.centroid)[-self._layer.ndim :]
        size = error.pixels ** (1 / len(error.centroid)) * 1.2
        show_place(self._viewer, self._layer, at, size)

    # what the job yields

    def _on_event(self, event: Progress | ScoredFrame) -> None:
        if isinstance(event, Progress):
            self._show_progress(event)
            return
        self._overlay.write(event.position, event.error_map)
        self._scored.append((event.position, event.score))
        self.errors += [(event.position, error) for error in event.errors]

    def _on_done(self, value: Outcome) -> None:
        self.scores = value.scores
        self._show_tables()
        errors = Counter(error.kind for _, error in self.errors)
        roles = {score.number: role_of(self._workspace, p) for p, score in self._scored}
        seen = [number for number, role in roles.items() if role in ("training", "annotated")]
        self.message.say(summary(value, self._comparison, errors, seen))
        self._lead()
        super()._on_done(value)

    def _lead(self) -> None:
        """Show the worst frame, unless one that was scored is shown: unmarked looks right."""
        shown = shown_position(self._viewer, self._layer)
        positions = [position for position, _ in self._scored]
        if shown in positions:
            self.score_table.show_row(positions.index(shown))
            return
        values = [score.iou if score.seg is None else score.seg for _, score in self._scored]
        known = [2.0 if value is None else value for value in values]
        self.score_table.choose(known.index(min(known)))

    def _on_stopped(self) -> None:
        self._show_tables()
        self.message.say(f"Stopped after {plural(len(self._scored), 'frame')}.")
        super()._on_stopped()

    def _show_tables(self) -> None:
        """Show what is scored, also in the table of frames if the layers belong to the image."""
        comparison = self._comparison
        border = comparison.border if comparison.kind is LabelKind.INSTANCES else 0
        rows = [score_row(s, role_of(self._workspace, p), border) for p, s in self._scored]
        if self.scores is not None:
            rows.append(score_row(self.scores, "", border))
        self.score_table.set_rows(_SCORE_COLUMNS, rows)
        numbers = dict(comparison.frames)
        self.error_table.set_rows(
            _ERROR_COLUMNS,
            [error_row(numbers[position], error) for position, error in self.errors],
            [COLORS[error.kind] for _, error in self.errors],
        )
        image, frames = self._workspace.image, self._workspace.frames
        if image is not None and pixels(self._layer).shape == spatial_shape(image):
            name = "seg" if comparison.kind is LabelKind.INSTANCES else "iou"
            found = {position: getattr(score, name) for position, score in self._scored}
            known = {position: score for position, score in found.items() if score is not None}
            frames.set_scores(known, name=SCORES[name][0])
