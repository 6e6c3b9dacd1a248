"""The dock widget that scores cells against ground truth, and leads to what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtWidgets import QCheckBox, QFileDialog, QGroupBox, QLabel, QPushButton

from napari_jnet.evaluation.errors import CellError, ErrorKind
from napari_jnet.events import FrameScore, Scores
from napari_jnet.labels import LabelKind
from napari_jnet.plugin.jobs.evaluate import (
    Comparison,
    Outcome,
    ScoredFrame,
    StoredTruth,
    layer_labels,
    scoring,
    stored_truth,
)
from napari_jnet.plugin.jobs.runner import Progress, TaskQueue
from napari_jnet.plugin.layers.add import is_hidden, set_hidden, set_visible
from napari_jnet.plugin.layers.read import (
    METADATA_KEY,
    class_options,
    current_index,
    frame_numbers,
    is_labels,
    metadata,
    pixels,
    placement,
    result_of,
    show_place,
    shown_position,
    spatial_shape,
    switching,
)
from napari_jnet.plugin.ui.form import Form
from napari_jnet.plugin.ui.page import JobWidget
from napari_jnet.plugin.ui.table import Column, ResultTable, write_csv
from napari_jnet.plugin.ui.widgets import LayerChoice, plural, small_label
from napari_jnet.plugin.workspace import Lifetime, Workspace

if TYPE_CHECKING:
    import napari


NAMES = {
    ErrorKind.MISSED: "missed",
    ErrorKind.FALSE: "false",
    ErrorKind.SPLIT: "split",
    ErrorKind.MERGED: "merged",
    ErrorKind.WRONG_CLASS: "wrong class",
}
COLORS = {  # distinguishable for people who see red and green alike (Okabe and Ito)
    ErrorKind.MISSED: "#e8602c",
    ErrorKind.FALSE: "#56b4e9",
    ErrorKind.SPLIT: "#f0e442",
    ErrorKind.MERGED: "#cc79a7",
    ErrorKind.WRONG_CLASS: "#e69f00",
}
CELL_ERRORS = (ErrorKind.MISSED, ErrorKind.FALSE, ErrorKind.SPLIT, ErrorKind.MERGED)
PIXEL_ERRORS = (ErrorKind.MISSED, ErrorKind.FALSE, ErrorKind.WRONG_CLASS)


def legend_text(kinds: Iterable[ErrorKind]) -> str:
    """Return the legend of errors as rich text."""
    return " &nbsp; ".join(f'<span style="color:{COLORS[k]}">■</span> {NAMES[k]}' for k in kinds)


class ErrorLayer:
    """One labels layer "errors" of a viewer, made when the first errors come.

    While it is shown, no other labels are, nor the maps of a prediction: their colours would be taken for
    errors.  They are shown again when they are selected, when another page or prediction begins, and at
    the end; an annotation that somebody works on stays.

    Parameters
    ----------
    workspace
        Of the viewer that it is added to.
    lifetime
        Of the widget that shows errors.
    """

    def __init__(self, workspace: Workspace, lifetime: Lifetime) -> None:
        self._workspace, self._viewer = workspace, workspace.viewer
        self.layer: Any = None
        self.visible = True  # as the user wants it
        self._current = False  # of the labels as they were evaluated last
        lifetime.connect(self._viewer.layers.selection.events.active, self._on_selected)
        lifetime.connect(self._viewer.layers.events.removed, self._on_removed)
        lifetime.connect(workspace.page_changed, self._on_page)
        lifetime.connect(workspace.prediction_changed, self._on_prediction)
        lifetime.at_end(self._show_others)

    def clear(self, like: Any) -> None:
        """Forget all errors; the next ones lie on this layer."""
        self._show_others()
        self._current = True
        data = like.data[0] if getattr(like, "multiscale", False) else like.data
        # zeros take no memory before they are written
        plane = np.zeros(tuple(data.shape), np.uint8)
        layers = self._viewer.layers
        if self.layer in layers and self.layer.data.shape == plane.shape:
            self.layer.data = plane
        else:
            if self.layer in layers:
                layers.remove(self.layer)
            active = layers.selection.active
            legend = [("right", "#000000"), *((NAMES[k], COLORS[k]) for k in ErrorKind)]
            self.layer = self._viewer.add_labels(
                plane,
                name="errors",
                opacity=0.6,
                visible=self.visible,
                metadata={METADATA_KEY: {"result": "errors"}},
                **placement(like),
                **class_options(legend),
            )
            self.layer.editable = False
            self.layer.events.visible.connect(self._on_eye)
            # whoever was painting goes on painting where they did
            layers.selection.active = active
        self.show(self.visible)

    def write(self, position: int, plane: NDArray[np.uint8], shown: bool) -> None:
        """Write the errors of a frame, in the window's thread."""
        if self.layer in self._viewer.layers:
            data = self.layer.data
            data[... if data.ndim == 2 else position] = plane
            if shown:
                self.layer.refresh()

    def show(self, visible: bool) -> None:
        """Show or hide the errors, now and later."""
        self.visible = visible
        self._show(visible)

    def _show(self, visible: bool) -> None:
        if self.layer not in self._viewer.layers:
            return
        set_visible(self.layer, visible and self._current)
        if not self.layer.visible:
            self._show_others()
            return
        # in the workbench, the next page brings back what is hidden
        alone = self._workspace.page != "evaluate"
        annotation, active = self._workspace.annotation, self._viewer.layers.selection.active
        for layer in self._viewer.layers:
            worked_on = alone and layer is active and layer is annotation
            covers = is_labels(layer) or result_of(layer)
            if covers and not worked_on and layer is not self.layer:
                set_hidden(layer, "errors", True)

    def _show_others(self) -> None:
        for layer in self._viewer.layers:
            set_hidden(layer, "errors", False)

    def _on_eye(self, _event: Any = None) -> None:
        """Follow the eye in the list of layers, also where it asks for errors of earlier labels."""
        if self.layer is not None and not switching(self.layer):
            self._current = self._current or self.layer.visible
            self.show(self.layer.visible)

    def _on_removed(self, event: Any) -> None:
        if event.value is self.layer:
            self._show_others()

    def _on_prediction(self, _prediction: Any) -> None:
        """Hide the errors, which are those of the cells before."""
        self._current = False
        self._show(False)

    def _on_page(self, page: str) -> None:
        self._show(self.visible and page == "evaluate")

    def _on_selected(self, _event: Any = None) -> None:
        active = self._viewer.layers.selection.active
        if active is not None and is_hidden(active, "errors"):
            set_hidden(active, "errors", False)


FRAMES = {
    "all": "All annotated frames",
    "validation": "Validation frames only",
    "unused": "Frames never trained on",
}
_NO_FRAMES = {
    "validation": "No frame has the role validation; give a frame that role in the table of frames, or "
    "score all frames.",
    "unused": "Every frame is annotated, and so may have been trained on; set the role of some frames to "
    "unused and train from scratch, or score the validation frames.",
}


def compared_layers(workspace: Workspace) -> list[Any]:
    """Return the labels layers that can be scored: painted, loaded or predicted ones."""
    layers = [] if workspace.viewer is None else workspace.viewer.layers
    labels = [layer for layer in layers if is_labels(layer)]
    return [layer for layer in labels if result_of(layer) in ("", "cells", "classes")]


def role_of(workspace: Workspace, position: int) -> str:
    """Return the role of a frame, "annotated" where the split decided, or ""."""
    frames = workspace.frames
    if frames is None or not 0 <= position < len(frames):
        return ""
    # predicted cells count as the annotation only as long as nobody has painted one
    painted = frames.layer is not None and not result_of(frames.layer)
    annotated = painted and frames.info(position).annotated
    return str(frames.role(position)) or ("annotated" if annotated else "")


def compare(
    workspace: Workspace, layer: Any, truth: Any, which: str, border: int = 0
) -> Comparison:
    """Return what is compared, cheaply.

    Parameters
    ----------
    workspace
        Of the viewer.
    layer
        The labels layer that is scored, or None.
    truth
        A labels layer, a `StoredTruth` or None.
    which
        A key of `FRAMES`.
    border
        Cells that lie wholly within this many pixels of a side do not count.

    Raises
    ------
    ValueError
        If something is missing, sizes differ, or no frame has the role.
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
    if not isinstance(truth, StoredTruth):
        sizes = [pixels(one).shape for one in (layer, truth)]
        if sizes[0] != sizes[1]:
            first, second = (" × ".join(str(n) for n in size) for size in sizes)
            raise ValueError(
                f"{layer.name!r} has {first} pixels, {truth.name!r} {second}; both must cover the same "
                "pixels. Choose labels of the same image."
            )
        truth = layer_labels(truth, workspace.prediction)
    numbers, axes = frame_numbers(layer, workspace.image)
    wanted = {"validation": ("validation",), "unused": ("unused", "")}.get(which)
    frames = tuple(
        (position, number)
        for position, number in enumerate(numbers)
        if wanted is None or role_of(workspace, position) in wanted
    )
    if not frames:
        raise ValueError(_NO_FRAMES[which])
    cells = result.kind is truth.kind is LabelKind.INSTANCES  # classes have no border
    return Comparison(result, truth, frames, axes, border if cells else 0)


class GroundTruthChoice(LayerChoice):
    """Ground truth to compare with: other labels layers, and that beside the stack on disk.

    Loaded ground truth comes first; where nobody has chosen, the first is taken.

    Parameters
    ----------
    workspace
        Of the viewer.
    result
        The choice of the layer that is scored, which is not listed.
    """

    def __init__(self, workspace: Workspace, result: LayerChoice, lifetime: Lifetime) -> None:
        self._result = result
        self._stored: tuple[StoredTruth, ...] = ()
        self._looked: Any = None
        self._tasks = TaskQueue("napari-jnet ground truth")
        lifetime.at_end(self._tasks.close)
        super().__init__(workspace, self._list, lifetime)
        result.layer_changed.connect(self._refresh)
        lifetime.connect(workspace.image_changed, self._look)
        lifetime.connect(workspace.project_changed, self._refresh)
        self._look()

    def set_layer(self, layer: Any) -> None:
        """Choose a layer, or ground truth on disk or loaded by its name; raises `ValueError`."""
        for item in self._list():
            stored = isinstance(item, StoredTruth)
            name = item.annotation if stored else metadata(item).get("annotation")
            if item is layer or (isinstance(layer, str) and layer == name):
                self._choice = item
                self._refresh()
                return
        known = ", ".join(repr(item.name) for item in self._list()) or "nothing"
        raise ValueError(f"{layer!r} cannot be compared against; there is {known}.")

    def _chosen(self) -> Any | None:
        known = any(item is self._choice for item in self._layers)
        return self._choice if known else next(iter(self._layers), None)

    def _list(self) -> list[Any]:
        scored, annotation = self._result.layer, self._workspace.annotation
        layers = [layer for layer in compared_layers(self._workspace) if layer is not scored]
        loaded = [layer for layer in layers if metadata(layer).get("annotation")]
        others = [layer for layer in layers if layer not in loaded and not result_of(layer)]
        others.sort(key=lambda layer: layer is not annotation)
        stored = [one for one in self._stored if not any(_shows(layer, one) for layer in loaded)]
        return [
            *reversed(loaded),
            *stored,
            *others,
            *(layer for layer in layers if result_of(layer)),
        ]

    def _look(self, _image: Any = None) -> None:
        """Look, in the background, for ground truth beside the image on disk."""
        image = self._workspace.image
        known = {} if image is None else metadata(image)
        names = {"sequence": "sequence", "given_axes": "axes", "series": "series"}
        choices = {name: known[key] for key, name in names.items() if known.get(key)}
        path = known.get("path") or ""
        if self._looked == (path, choices):
            return
        self._looked = looked = path, choices

        def take(found: tuple[StoredTruth, ...]) -> None:
            if self._looked is looked:
                self._stored = found
                self._refresh()

        take(())
        if path:  # a stack that cannot be opened any more has no ground truth to offer
            self._tasks.submit(lambda: stored_truth(Path(path), choices), take)


def _shows(layer: Any, truth: StoredTruth) -> bool:
    """Whether a layer is this ground truth, loaded and not painted on since."""
    known = metadata(layer)
    return (
        known.get("path") == str(truth.path)
        and (known.get("sequence") or None) == truth.choices.get("sequence")
        and known.get("annotation") == truth.annotation
        and not known.get("project")
    )


SCORES = (
    Column("frame", "The number of the frame; a click goes there."),
    Column(
        "SEG", "How well each true cell is covered, 0 to 1: its overlap with the predicted cell."
    ),
    Column(
        "DET",
        "How well cells are found and counted, 0 to 1; only of frames whose ground truth is complete.",
    ),
    Column("AP50", "Found / (found + false + missed) cells, overlap (IoU) above 0.5.", 2),
    Column("AP75", "As AP50, with an overlap above 0.75.", 2),
    Column("IoU", "Overlap of all cell pixels, whichever cell they belong to, 0 to 1."),
    Column("pixel accuracy", "Part of the known pixels that is right."),
    Column(
        "border", "Cells wholly within so many pixels of a side do not count.", csv="border (px)"
    ),
    Column("role", "What the frame was used for; scores on training frames are optimistic."),
)
ERRORS = (
    Column("error", "What is wrong; a click goes there."),
    Column("frame", "The number of the frame."),
    Column("true", "Numbers of the true cells.", csv="true cells"),
    Column("result", "Numbers of the cells in the result.", csv="result cells"),
    Column("pixels", "Size."),
    Column("y", "Row of its middle.", 0, csv="y (px)"),
    Column("x", "Column of its middle.", 0, csv="x (px)"),
)
_SHORT = 4  # labels in a cell of the table


def score_row(score: FrameScore | Scores, role: str, border: int = 0) -> tuple[Any, ...]:
    """Return a frame, or all together, as a row of `SCORES`."""
    name = score.number if isinstance(score, FrameScore) else "all"
    values = (score.seg, score.det, score.ap50, score.ap75, score.iou, score.pixel_accuracy)
    return (name, *values, border or None, role)


def error_row(number: int, error: CellError, all_labels: bool = False) -> tuple[Any, ...]:
    """Return an error as a row of `ERRORS`; all labels where it goes to a file."""

    def text(labels: tuple[int, ...]) -> str:
        short = labels if all_labels else labels[:_SHORT]
        return " ".join(map(str, short)) + (" …" if len(short) < len(labels) else "")

    labels = text(error.reference), text(error.result)
    return (NAMES[error.kind], number, *labels, error.pixels, *error.centroid[-2:])


def summary(outcome: Outcome, comparison: Comparison, roles: Mapping[int, str]) -> str:
    """Describe what came out, and what to know about it.

    Parameters
    ----------
    outcome, comparison
        Of the evaluation.
    roles
        Frame number -> role, see `role_of`.
    """
    scores, result, truth = outcome.scores, comparison.result.name, comparison.truth.name
    if scores is None and outcome.without_result:
        return (
            f"{result!r} has nothing in the frames that {truth!r} has: "
            f"{_list(outcome.without_result)}. Predict these frames, then evaluate again."
        )
    if scores is None:
        return (
            f"{truth!r} has nothing in the chosen frames ({_list(outcome.without_truth)}); choose all "
            "frames, or paint the cells of one."
        )
    count = len(scores.frames)
    where = f"on {count} frame{'s' if count > 1 else ''} ({result} against {truth})."
    if comparison.of_cells:
        counts = {NAMES[kind]: outcome.errors[kind] for kind in ErrorKind}
        wrong = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        text = (
            f"SEG {_value(scores.seg)} {where} {scores.objects} true cells; {wrong or 'no errors'}."
        )
        if scores.border:
            text += f" Cells wholly within {scores.border} px of a side do not count."
    else:
        accuracy = f"pixel accuracy {_value(scores.pixel_accuracy)}"
        text = f"IoU {_value(scores.iou)}, {accuracy} {where} Classes are compared pixel by pixel."
    lines = [text]
    trained = [number for number, role in roles.items() if role == "training"]
    annotated = [number for number, role in roles.items() if role == "annotated"]
    if trained:
        lines.append(
            f"{_frames(trained)} for training: scores on training frames are optimistic. Choose other "
            "frames for an unbiased score."
        )
    elif annotated:
        lines.append(
            f"{_frames(annotated)} annotated: if the network was trained on them, the score is optimistic."
        )
    if outcome.without_result:
        lines.append(
            f"Not scored, because {result!r} has nothing there (or a part only): "
            f"{_list(outcome.without_result)}."
        )
    return "\n".join(lines)


def further_scores(scores: Scores | None) -> str:
    """Return the scores that the table does not have, or ""."""
    if scores is None:
        return ""
    further = {
        "AP (mean of 0.5 to 0.95)": scores.ap,
        "mean IoU": scores.mean_iou,
        "V_rand": scores.v_rand,
        "V_info": scores.v_info,
    }
    known = [f"{name} {value:.3f}" for name, value in further.items() if value is not None]
    return f"All together: {', '.join(known)}" if known else ""


def _frames(numbers: list[int]) -> str:
    return f"Frame {numbers[0]} is" if len(numbers) == 1 else f"Frames {_list(numbers)} are"


def _list(numbers: list[int], most: int = 6) -> str:
    more = f" and {len(numbers) - most} more" if len(numbers) > most else ""
    return ", ".join(str(n) for n in numbers[:most]) + more


def _value(score: float | None) -> str:
    return "–" if score is None else f"{score:.3f}"


class EvaluateWidget(JobWidget):
    """Scores a labels layer frame by frame, marks its errors, and jumps to them.

    Parameters
    ----------
    napari_viewer
        The viewer whose layers are compared; a layer "errors" is added to it.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self.outcome: Outcome | None = None
        self.errors: list[tuple[int, CellError]] = []  # position and error
        self._scored: list[tuple[int, FrameScore]] = []  # position and score
        self._compared: tuple[Any, Comparison] | None = None  # with the layer that is scored
        self._brought = False
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
        tip = (
            "Leave out cells that lie wholly within so many pixels of a side, as the Cell Tracking "
            "Challenge does: 50 for DIC-C2DH-HeLa, PhC-C2DH-U373 and Fluo-N2DH-GOWT1, 25 for PhC-C2DL-PSC "
            "and Fluo-N2DL-HeLa, 0 for Fluo-N2DH-SIM+. Classes of pixels have no border."
        )
        self.form.add("border", "Border (px)", value=0, max=999, tooltip=tip)
        self.evaluate_button = QPushButton("Evaluate")
        self.evaluate_button.setToolTip("Score every chosen frame, in the background.")
        self.evaluate_button.clicked.connect(lambda: self.evaluate())
        self.column.addLayout(self._buttons(self.evaluate_button))
        self.column.addWidget(self.progress)
        self.column.addWidget(self.message)

    def _add_scores(self) -> None:
        rows = self._group("Scores")
        self._score_box = rows.parentWidget()
        self.score_table = ResultTable(SCORES)
        self.score_table.row_chosen.connect(self._to_frame)
        self.more_scores = small_label()
        self.more_scores.hide()
        self.save_button = QPushButton("Save as CSV…")
        self.save_button.setToolTip("Write the scores to a file, and the errors beside it.")
        self.save_button.clicked.connect(lambda: self.attempt(self._choose_file))
        for widget in (self.score_table, self.more_scores, self.save_button):
            rows.addRow(widget)

    def _add_errors(self) -> None:
        rows = self._group("Errors")
        self.errors_check = QCheckBox("Show on the image")
        self.errors_check.setChecked(True)
        self.errors_check.setToolTip(
            "Mark missed, false, split and merged cells by colour; other labels are hidden meanwhile. "
            "What is not marked is right."
        )
        self.errors_check.toggled.connect(self._overlay.show)
        self.legend = QLabel(legend_text(CELL_ERRORS))
        self.error_table = ResultTable(ERRORS)
        self.error_table.row_chosen.connect(self._to_error)
        for widget in (self.errors_check, self.legend, self.error_table):
            rows.addRow(widget)

    # what scripts use

    @property
    def scores(self) -> Scores | None:
        """The scores of the last evaluation."""
        return None if self.outcome is None else self.outcome.scores

    def set_result(self, layer: Any) -> None:
        """Choose the labels layer that is scored."""
        self.result_choice.set_layer(layer)

    def set_truth(self, truth: Any) -> None:
        """Choose a labels layer, or ground truth on disk by its name ("gold")."""
        self.truth_choice.set_layer(truth)

    def set_frames(self, which: str) -> None:
        """Choose the frames: "all", "validation" or "unused"; raises `ValueError` for others."""
        self.form.set({"frames": which})

    def evaluate(self) -> None:
        """Score, as the button does; problems are shown in the widget."""
        if self.running:
            return
        layer, truth = self.result_choice.layer, self.truth_choice.layer
        which, border = self.form.value("frames"), self.form.value("border")
        try:
            comparison = compare(self._workspace, layer, truth, which, border)
        except ValueError as error:
            self.show_error(error)
            self.finished.emit("failed")
            return
        self._compared = layer, comparison
        self.outcome, self.errors, self._scored = None, [], []
        border = comparison.border
        assert isinstance(self._score_box, QGroupBox)
        self._score_box.setTitle(f"Scores, without a border of {border} px" if border else "Scores")
        self.score_table.set_rows(())
        self.error_table.set_rows(())
        self.more_scores.hide()
        self.legend.setText(legend_text(CELL_ERRORS if comparison.of_cells else PIXEL_ERRORS))
        self.error_table.setVisible(comparison.of_cells)
        self._overlay.clear(layer)
        self._start(scoring(comparison), f"scoring {comparison.result.name}")

    def save(self, path: Path | str) -> None:
        """Write the scores as CSV, and the errors beside them as NAME_errors.csv.

        Raises
        ------
        ValueError
            If nothing is scored yet, or the file cannot be written.
        """
        self._check_scored()
        path = Path(path)
        path = path if path.suffix else path.with_suffix(".csv")
        self.score_table.save(path)
        rows = [error_row(self._number(p), error, all_labels=True) for p, error in self.errors]
        write_csv(path.with_name(f"{path.stem}_errors.csv"), ERRORS, rows)

    # what the buttons do

    def _check_scored(self) -> None:
        if not self._scored:
            raise ValueError("Nothing is scored yet; press Evaluate first.")

    def _take_prediction(self, prediction: Any) -> None:
        if prediction is not None:
            wanted = prediction.cells if prediction.classes is None else prediction.classes
            if wanted in compared_layers(self._workspace):
                self.result_choice.set_layer(wanted)

    def _choose_file(self) -> None:
        self._check_scored()
        name, _ = QFileDialog.getSaveFileName(self, "Scores", "scores.csv", "CSV (*.csv)")
        if name:
            self.save(name)
            self.message.say(f"The scores are in {name}.")

    def _to_frame(self, row: int) -> None:
        if row < len(self._scored):
            self._workspace.go_to(self._scored[row][0])

    def _to_error(self, row: int) -> None:
        if self._compared is None or row >= len(self.errors):
            return
        layer = self._compared[0]
        position, error = self.errors[row]
        at = error.centroid if layer.ndim == len(error.centroid) else (position, *error.centroid)
        show_place(self._viewer, layer, at, (error.pixels ** (1 / len(error.centroid))) * 1.2)

    def _number(self, position: int) -> int:
        assert self._compared is not None
        return dict(self._compared[1].frames)[position]

    # what the job yields

    def _on_event(self, event: Progress | ScoredFrame) -> None:
        if isinstance(event, Progress):
            self._show_progress(event)
            return
        assert self._compared is not None
        layer, comparison = self._compared
        index = current_index(self._viewer, layer)
        shown = not index or index[0] == event.position or self._viewer.dims.ndisplay == 3
        self._overlay.write(event.position, event.error_map, shown)
        self._scored.append((event.position, event.score))
        self.errors += [(event.position, error) for error in event.errors]
        role = role_of(self._workspace, event.position)
        self.score_table.add_rows([score_row(event.score, role, comparison.border)])
        self.error_table.add_rows([error_row(event.score.number, e) for e in event.errors])

    def _on_done(self, value: Any) -> None:
        self.outcome = value
        self._show_all()
        self._lead()
        if self.errors and not self._brought:  # once: one knows then where they are
            self._brought = True
            self.bring_into_sight(self.error_table)
        super()._on_done(value)

    def _lead(self) -> None:
        """Show the worst frame, unless one that was scored is shown: unmarked looks right."""
        assert self._compared is not None
        shown = shown_position(self._viewer, self._compared[0])
        positions = [position for position, _ in self._scored]
        if shown in positions:
            self.score_table.show_row(positions.index(shown))
        elif positions:
            values = [score.iou if score.seg is None else score.seg for _, score in self._scored]
            known = [2.0 if value is None else value for value in values]
            self.score_table.choose(known.index(min(known)))

    def _end(self, outcome: str) -> None:
        if outcome == "stopped":
            self._show_all()
            self.message.say(f"Stopped after {plural(len(self._scored), 'frame')}.")
        super()._end(outcome)

    def _show_all(self) -> None:
        assert self._compared is not None
        comparison = self._compared[1]
        roles = [role_of(self._workspace, position) for position, _ in self._scored]
        rows = [
            score_row(score, role, comparison.border)
            for (_, score), role in zip(self._scored, roles, strict=True)
        ]
        if (scores := self.scores) is not None:
            rows.append(score_row(scores, "", comparison.border))
        self.score_table.set_rows(rows, pinned=int(scores is not None))
        for column in range(1, len(SCORES)):
            empty = all(row[column] in (None, "") for row in rows)
            self.score_table.setColumnHidden(column, empty)
        self.error_table.set_rows(
            [error_row(self._number(p), error) for p, error in self.errors],
            colors=[COLORS[error.kind] for _, error in self.errors],
        )
        self._show_in_frames(comparison)
        if self.outcome is not None:
            by_number = {s.number: r for (_, s), r in zip(self._scored, roles, strict=True)}
            text = summary(self.outcome, comparison, by_number)
            self.message.fail(text) if scores is None else self.message.say(text)
            self.more_scores.setText(further_scores(scores))
            self.more_scores.setVisible(bool(self.more_scores.text()))

    def _show_in_frames(self, comparison: Comparison) -> None:
        """Show the scores in the table of frames, where the layers belong to the image."""
        image, frames = self._workspace.image, self._workspace.frames
        if frames is None or image is None or self._compared is None:
            return
        if pixels(self._compared[0]).shape != spatial_shape(image):
            return
        found = {p: s.seg if comparison.of_cells else s.iou for p, s in self._scored}
        known = {p: score for p, score in found.items() if score is not None}
        if known and max(known) < len(frames):
            frames.set_scores(known, name="SEG" if comparison.of_cells else "IoU")
