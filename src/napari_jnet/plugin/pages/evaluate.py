"""The dock widget that scores cells against the truth, and leads to what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QGroupBox,
    QLabel,
    QPushButton,
)

from napari_jnet.evaluation.errors import CellError, ErrorKind
from napari_jnet.events import FrameScore, Scores
from napari_jnet.labels import LabelKind
from napari_jnet.plugin.jobs.evaluate import (
    Comparison,
    DiskTruth,
    Looked,
    Outcome,
    ScoredFrame,
    layer_labels,
    list_truth,
    scoring,
)
from napari_jnet.plugin.jobs.runner import JobRunner
from napari_jnet.plugin.layers.add import placement
from napari_jnet.plugin.layers.read import (
    METADATA_KEY,
    current_index,
    frame_numbers,
    legend_options,
    pixels,
    result_of,
    show_place,
    spatial_shape,
    switch,
)
from napari_jnet.plugin.ui.form import Form
from napari_jnet.plugin.ui.page import JobWidget
from napari_jnet.plugin.ui.table import Column, ResultTable, write_csv
from napari_jnet.plugin.ui.widgets import LayerChoice, small_label
from napari_jnet.plugin.workspace import Lifetime, Workspace

if TYPE_CHECKING:
    import napari


# told apart by people who see red and green alike (Okabe and Ito)
COLOURS = {
    ErrorKind.MISSED: "#e8602c",
    ErrorKind.FALSE: "#56b4e9",
    ErrorKind.SPLIT: "#f0e442",
    ErrorKind.MERGED: "#cc79a7",
    ErrorKind.WRONG_CLASS: "#e69f00",
}


NAMES = {
    ErrorKind.MISSED: "missed",
    ErrorKind.FALSE: "false",
    ErrorKind.SPLIT: "split",
    ErrorKind.MERGED: "merged",
    ErrorKind.WRONG_CLASS: "wrong class",
}


def legend_words(kinds: Any = tuple(ErrorKind)[:4]) -> str:
    """Return the legend as rich text."""
    return " &nbsp; ".join(f'<span style="color:{COLOURS[k]}">■</span> {NAMES[k]}' for k in kinds)


class ErrorLayer:
    """One labels layer "errors" of a viewer, made when the first errors come.

    While it is shown, no other labels are, nor the maps of a prediction: their colours would be taken for
    errors.  They are shown again when they are selected, when another step or prediction begins, and at
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
        self.layer: Any | None = None
        self.visible = True
        self._current = False  # of the labels as they were evaluated last
        self._hidden: list[Any] = []
        self._setting = False
        lifetime.connect(self._viewer.layers.selection.events.active, self._selected)
        lifetime.connect(self._viewer.layers.events.removed, self._removed)
        lifetime.connect(workspace.page_changed, self._step)
        lifetime.connect(workspace.prediction_changed, self._predicted)
        lifetime.at_end(self._restore)

    @property
    def there(self) -> bool:
        """Whether the viewer has the layer."""
        return any(layer is self.layer for layer in self._viewer.layers)

    def clear(self, like: Any) -> None:
        """Forget all errors; the next ones lie on this layer."""
        self._restore()
        self._current = True
        self._make(like)
        self.show(self.visible)

    def _make(self, like: Any) -> None:
        data = like.data[0] if getattr(like, "multiscale", False) else like.data
        # zeros take no memory before they are written
        plane = np.zeros(tuple(data.shape), np.uint8)
        if self.layer is not None and self.there:
            if tuple(self.layer.data.shape) == plane.shape:
                self.layer.data = plane
                return
            self._viewer.layers.remove(self.layer.name)
        active = self._viewer.layers.selection.active
        legend = [("right", "#000000"), *((NAMES[k], COLOURS[k]) for k in ErrorKind)]
        self.layer = self._viewer.add_labels(
            plane,
            name="errors",
            opacity=0.6,
            visible=self.visible,
            metadata={METADATA_KEY: {"result": "errors"}},
            **placement(like),
            **legend_options(legend),
        )
        self.layer.editable = False
        self.layer.events.visible.connect(self._eye)
        # whoever was painting goes on painting where they did
        self._viewer.layers.selection.active = active

    def write(self, position: int, plane: NDArray[np.uint8], shown: bool) -> None:
        """Write the errors of a frame, in the window's thread."""
        if self.layer is None or not self.there:
            return
        data = self.layer.data
        data[... if data.ndim == 2 else position] = plane
        if shown:
            self.layer.refresh()

    def show(self, visible: bool) -> None:
        """Show or hide the errors."""
        self.visible = visible
        self._show(visible)

    def _show(self, visible: bool) -> None:
        if self.layer is None or not self.there:
            return
        self._setting = True
        switch(self.layer, visible and self._current)
        self._setting = False
        if not self.layer.visible:
            self._restore()
            return
        active = self._viewer.layers.selection.active
        # in the workbench, the next step brings back what is hidden
        alone = self._workspace.page != "evaluate"
        for layer in self._viewer.layers:
            worked_on = alone and layer is active and layer is self._workspace.annotation
            covers = hasattr(layer, "brush_size") or result_of(layer)
            if layer.visible and covers and not worked_on and layer is not self.layer:
                switch(layer, False)
                self._hidden.append(layer)

    def _eye(self, _event: Any = None) -> None:
        """Do as in the list of layers, where somebody has switched the errors."""
        if not self._setting and self.layer is not None:
            self._current = self._current or self.layer.visible  # who wants old errors gets them
            self.show(self.layer.visible)

    def _removed(self, event: Any) -> None:
        if event.value is self.layer:
            self._restore()

    def _predicted(self, _results: Any) -> None:
        """Let the cells of a new prediction be seen: the errors are those of the cells before."""
        self._current = False
        self._show(False)

    def _step(self, step: str) -> None:
        self._show(self.visible and step == "evaluate")

    def _selected(self, _event: Any = None) -> None:
        active = self._viewer.layers.selection.active
        for layer in [layer for layer in self._hidden if layer is active]:
            self._hidden.remove(layer)
            switch(layer, True)

    def _restore(self) -> None:
        while self._hidden:
            switch(self._hidden.pop(), True)


FRAMES = {
    "all": "All frames with truth",
    "validation": "Validation frames only",
    "unused": "Frames never learned from",
}


def compared_layers(workspace: Workspace) -> list[Any]:
    """Return the labels layers that can be scored: painted, loaded or predicted ones."""
    return [layer for layer in _labels(workspace) if result_of(layer) in ("", "cells", "classes")]


def _labels(workspace: Workspace) -> list[Any]:
    from napari.layers import Labels

    viewer = workspace.viewer
    return [] if viewer is None else [layer for layer in viewer.layers if isinstance(layer, Labels)]


def role_of(workspace: Workspace, position: int) -> str:
    """Say what a frame was used for: its role, "annotated" where the split decided, or ""."""
    frames = workspace.frames
    if frames is None or not 0 <= position < len(frames):
        return ""
    role = str(frames.role(position))
    # predicted cells count as the annotation only as long as nobody has painted one
    painted = frames.layer is not None and not result_of(frames.layer)
    return role or ("annotated" if painted and frames.info(position).annotated else "")


def frames_of(
    workspace: Workspace, which: str, numbers: Iterable[int]
) -> tuple[tuple[int, int], ...]:
    """Choose frames: position and number of each.

    Parameters
    ----------
    workspace
        Knows the roles.
    which
        A key of `FRAMES`.
    numbers
        Frame numbers of the stack, by position.

    Raises
    ------
    ValueError
        If no frame has this role.
    """
    frames = tuple(enumerate(numbers))
    if which == "all":
        return frames
    wanted = ("validation",) if which == "validation" else ("unused", "")
    chosen = tuple((p, n) for p, n in frames if role_of(workspace, p) in wanted)
    if not chosen:
        why = {
            "validation": "No frame has the role validation; give a frame that role in the table of "
            "frames, or score all frames.",
            "unused": "Every frame is annotated, and so may have been learned from; set the role of "
            "some frames to unused and train anew, or score the validation frames.",
        }
        raise ValueError(why[which])
    return chosen


def compare(
    workspace: Workspace, layer: Any, truth: Any, which: str, border: int = 0
) -> Comparison:
    """Take what is compared from the layers, cheaply.

    Parameters
    ----------
    workspace
        Of the viewer.
    layer
        The labels layer that is scored, or None.
    truth
        A labels layer, a `DiskTruth` or None.
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
            "There is nothing to compare with; paint some cells, or open the truth as labels."
        )
    result = layer_labels(layer, workspace.prediction)
    if result.kind is LabelKind.SCRIBBLES:
        raise ValueError(
            f"{layer.name!r} holds scribbles, which cannot be scored; choose predicted cells."
        )
    numbers, axes = frame_numbers(layer, workspace.image)
    if isinstance(truth, DiskTruth):
        frames = frames_of(workspace, which, numbers)
        made = Comparison(result, truth, f"{truth.name} truth", frames, axes)
        return _bordered(made, border)
    _same_size(layer, truth)
    frames = frames_of(workspace, which, numbers)
    reference = layer_labels(truth, workspace.prediction)
    return _bordered(Comparison(result, reference, reference.name, frames, axes), border)


def _bordered(comparison: Comparison, border: int) -> Comparison:
    """Leave out the cells in the border; classes have none."""
    cells = comparison.kind is LabelKind.INSTANCES
    return replace(comparison, border=border if cells else 0)


def _same_size(result: Any, truth: Any) -> None:
    sizes = [tuple(pixels(layer).shape) for layer in (result, truth)]
    if sizes[0] != sizes[1]:
        first, second = (" × ".join(str(n) for n in size) for size in sizes)
        raise ValueError(
            f"{result.name!r} has {first} pixels, {truth.name!r} {second}; both must cover the same "
            "pixels. Choose labels of the same image."
        )


class TruthCombo(QComboBox):
    """What is compared against: other labels layers, and the truth beside the stack on disk.

    Truth comes first; where nobody has chosen, the first is taken.

    Parameters
    ----------
    workspace
        Of the viewer.
    excluded
        Gives the layer that is scored, which is not listed.
    """

    truth_changed = Signal()

    def __init__(
        self, workspace: Workspace, excluded: Callable[[], Any], lifetime: Lifetime
    ) -> None:
        super().__init__()
        self._workspace, self._excluded = workspace, excluded
        self._items: list[Any] = []
        self._disk: tuple[DiskTruth, ...] = ()
        self._choice: Any = None
        self._looked: tuple[str, dict[str, Any]] | None = None
        self._relay = JobRunner()
        lifetime.at_end(self._relay.close)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        events = workspace.viewer.layers.events
        for emitter in (events.inserted, events.removed, events.reordered, events.renamed):
            lifetime.connect(emitter, self.refresh)
        lifetime.connect(workspace.image_changed, self._look)
        lifetime.connect(workspace.project_changed, self.refresh)
        self.activated.connect(self._activate)
        self.refresh()
        self._look()

    @property
    def truth(self) -> Any | None:
        """A labels layer, a `DiskTruth` or None."""
        index = self.currentIndex()
        return self._items[index] if 0 <= index < len(self._items) else None

    def set_truth(self, truth: Any) -> None:
        """Choose a layer, or truth on disk or loaded by its name; raises `ValueError` if it is not listed."""
        for item in self._items:
            name = item.name if isinstance(item, DiskTruth) else _told(item).get("annotation")
            if item is truth or (isinstance(truth, str) and truth == name):
                self._choice = item
                self.refresh()
                return
        known = ", ".join(repr(self.itemText(n)) for n in range(self.count())) or "nothing"
        raise ValueError(f"{truth!r} cannot be compared against; there is {known}.")

    def refresh(self, _event: Any = None) -> None:
        """List what there is now."""
        before = self.truth
        self._items = self._listed()
        self.blockSignals(True)
        self.clear()
        for item in self._items:
            self.addItem(_words(item))
            if isinstance(item, DiskTruth):
                self.setItemData(self.count() - 1, str(item.path), Qt.ItemDataRole.ToolTipRole)
        chosen = [n for n, item in enumerate(self._items) if item is self._choice]
        self.setCurrentIndex(chosen[0] if chosen else 0 if self._items else -1)
        self.blockSignals(False)
        if before is not self.truth:
            self.truth_changed.emit()

    def _listed(self) -> list[Any]:
        scored, annotation = self._excluded(), self._workspace.annotation
        layers = [layer for layer in compared_layers(self._workspace) if layer is not scored]
        loaded = [layer for layer in layers if _is_truth(layer)]
        others = [layer for layer in layers if not _is_truth(layer) and not result_of(layer)]
        others.sort(key=lambda layer: layer is not annotation)
        results = [layer for layer in layers if result_of(layer)]
        disk = [item for item in self._disk if not any(_shows(layer, item) for layer in loaded)]
        return [*reversed(loaded), *disk, *others, *results]

    def _activate(self, index: int) -> None:
        self._choice = self._items[index]
        self.truth_changed.emit()

    def _look(self, _image: Any = None) -> None:
        """Ask, in the background, what truth lies beside the image on disk."""
        image = self._workspace.image
        told = {} if image is None else image.metadata.get(METADATA_KEY, {})
        names = {"sequence": "sequence", "given_axes": "axes", "series": "series"}
        choices = {name: told[key] for key, name in names.items() if told.get(key)}
        wanted = (told.get("path") or "", choices)
        if wanted == self._looked or self._relay.running:
            return
        self._looked = wanted
        self._take(())
        if wanted[0]:
            from pathlib import Path

            job = list_truth(Path(wanted[0]), wanted[1])
            # a stack that cannot be opened any more has no truth to offer
            self._relay.start(job, self._take, self._look, self._look, self._look)

    def _take(self, found: tuple[DiskTruth, ...]) -> None:
        self._disk = found
        self.refresh()


def _is_truth(layer: Any) -> bool:
    return bool(_told(layer).get("annotation"))


def _told(layer: Any) -> dict[str, Any]:
    return layer.metadata.get(METADATA_KEY, {})


def _shows(layer: Any, truth: DiskTruth) -> bool:
    """Whether a layer is this truth, loaded and not painted on since."""
    told = _told(layer)
    same_file = (told.get("path"), told.get("sequence") or None) == (
        str(truth.path),
        truth.choices.get("sequence"),
    )
    return same_file and told.get("annotation") == truth.name and not told.get("project")


def _words(item: Any) -> str:
    if isinstance(item, DiskTruth):
        return f"{item.name} truth on disk ({item.frames} frames)"
    return str(item.name)


SCORES = (
    Column("frame", "The number of the frame; a click goes there."),
    Column(
        "SEG", "How well each true cell is covered, 0 to 1: its overlap with the predicted cell."
    ),
    Column(
        "DET",
        "How well cells are found and counted, 0 to 1; only frames whose truth is complete have it.",
    ),
    Column("AP50", "Found / (found + false + missed) cells, overlap (IoU) above 0.5.", 2),
    Column("AP75", "As AP50, with an overlap above 0.75.", 2),
    Column("IoU", "Overlap of all cell pixels, whichever cell they belong to, 0 to 1."),
    Column("pixel accuracy", "Part of the known pixels that is right."),
    Column(
        "border", "Cells wholly within so many pixels of a side do not count.", csv="border (px)"
    ),
    Column("role", "What the frame was used for; training frames flatter the network."),
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


def score_row(score: FrameScore | Scores, role: str, border: int = 0) -> tuple[Any, ...]:
    """Return a frame, or all together, as a row of `SCORES`."""
    name = score.number if isinstance(score, FrameScore) else "all"
    values = (score.seg, score.det, score.ap50, score.ap75, score.iou, score.pixel_accuracy)
    return (name, *values, border or None, role)


def error_row(number: int, error: CellError, csv: bool = False) -> tuple[Any, ...]:
    """Return an error as a row of `ERRORS`; all labels where it goes to a file."""
    reference, result = (
        " ".join(map(str, labels if csv else labels[:4]))
        + ("" if csv or len(labels) <= 4 else " …")
        for labels in (error.reference, error.result)
    )
    y, x = error.centroid[-2:]
    return (NAMES[error.kind], number, reference, result, error.pixels, y, x)


def summary(
    outcome: Outcome, comparison: Comparison, roles: Mapping[int, str]
) -> tuple[str, str, bool]:
    """Say what came out: the message, further scores, and whether nothing could be scored."""
    scores, result, truth = outcome.scores, comparison.result.name, comparison.truth_name
    if scores is None:
        return _nothing(outcome, result, truth), "", True
    lines = [_scored(scores, comparison, outcome)]
    learned = [n for n, role in roles.items() if role == "training"]
    perhaps = [n for n, role in roles.items() if role == "annotated"]
    if learned:
        lines.append(
            f"{_frames(learned)} for training: a network that learned from them is flattered. "
            "Choose other frames for an honest score."
        )
    elif perhaps:
        lines.append(
            f"{_frames(perhaps)} annotated: if the network learned from them, it is flattered."
        )
    if outcome.without_result:
        lines.append(
            f"Not scored, because {result!r} has nothing there (or a part only): "
            f"{_list(outcome.without_result)}."
        )
    return "\n".join(lines), _more(scores), False


def _scored(scores: Scores, comparison: Comparison, outcome: Outcome) -> str:
    count = len(scores.frames)
    where = f"{count} frame{'s' if count > 1 else ''}"
    names = f"{comparison.result.name} against {comparison.truth_name}"
    if comparison.kind is not LabelKind.INSTANCES:
        return (
            f"IoU {_value(scores.iou)}, pixel accuracy {_value(scores.pixel_accuracy)} on {where} "
            f"({names}). Classes are compared pixel by pixel."
        )
    wrong = [f"{count} {NAMES[kind]}" for kind in ErrorKind if (count := outcome.errors[kind])]
    left = (
        f" Cells wholly within {scores.border} px of a side do not count." if scores.border else ""
    )
    return (
        f"SEG {_value(scores.seg)} on {where} ({names}). "
        f"{scores.objects} true cells; {', '.join(wrong) or 'none is wrong'}.{left}"
    )


def _more(scores: Scores) -> str:
    further = {
        "AP (mean of 0.5 to 0.95)": scores.ap,
        "mean IoU": scores.mean_iou,
        "V_rand": scores.v_rand,
        "V_info": scores.v_info,
    }
    known = [f"{name} {value:.3f}" for name, value in further.items() if value is not None]
    return f"All together: {', '.join(known)}" if known else ""


def _nothing(outcome: Outcome, result: str, truth: str) -> str:
    if outcome.without_result:
        return (
            f"{result!r} has nothing in the frames that {truth!r} has: "
            f"{_list(outcome.without_result)}. Predict these frames, then evaluate again."
        )
    return (
        f"{truth!r} has nothing in the chosen frames ({_list(outcome.without_truth)}); choose all "
        "frames, or paint the cells of one."
    )


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
        self._frames: list[tuple[int, FrameScore]] = []
        self._compared: tuple[Any, Comparison] | None = None
        self._brought = False
        self._overlay = ErrorLayer(self._workspace, self._lifetime)
        self._choices()
        self._score_part()
        self._error_part()
        self.column.addStretch(1)
        self._lifetime.connect(self._workspace.prediction_changed, self._take_results)
        self._take_results(self._workspace.prediction)

    def _choices(self) -> None:
        rows = self._group("Compare")
        self.result_choice = LayerChoice(
            self._workspace, lambda: compared_layers(self._workspace), self._lifetime
        )
        self.result_choice.setToolTip("What is scored: the predicted cells, or any labels layer.")
        self.truth_combo = TruthCombo(
            self._workspace, lambda: self.result_choice.layer, self._lifetime
        )
        self.truth_combo.setToolTip(
            "What is right: another labels layer, or the truth that lies beside the stack on disk."
        )
        self.result_choice.layer_changed.connect(self.truth_combo.refresh)
        rows.addRow("Result", self.result_choice)
        rows.addRow("Against", self.truth_combo)
        self.form = Form(rows)
        frames = [(title, which) for which, title in FRAMES.items()]
        tip = "Frames that the network learned from flatter it; only others say how good it is."
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

    def _score_part(self) -> None:
        form = self._group("Scores")
        self._score_box = form.parentWidget()
        self.score_table = ResultTable(SCORES)
        self.score_table.row_chosen.connect(self._to_frame)
        self.more_scores = small_label()
        self.more_scores.hide()
        self.save_button = QPushButton("Save as CSV…")
        self.save_button.setToolTip("Write the scores to a file, and the errors beside it.")
        self.save_button.clicked.connect(self._choose_file)
        form.addRow(self.score_table)
        form.addRow(self.more_scores)
        form.addRow(self.save_button)

    def _error_part(self) -> None:
        form = self._group("Errors")
        self.errors_check = QCheckBox("Show on the image")
        self.errors_check.setChecked(True)
        self.errors_check.setToolTip(
            "Mark missed, false, split and merged cells by colour; other labels are hidden meanwhile. "
            "What is not marked is right."
        )
        self.errors_check.toggled.connect(self._overlay.show)
        self.legend = QLabel(legend_words())
        self.error_table = ResultTable(ERRORS)
        self.error_table.row_chosen.connect(self._to_error)
        form.addRow(self.errors_check)
        form.addRow(self.legend)
        form.addRow(self.error_table)

    # what scripts use

    @property
    def scores(self) -> Scores | None:
        """The scores of the last evaluation."""
        return None if self.outcome is None else self.outcome.scores

    def set_result(self, layer: Any) -> None:
        """Choose the labels layer that is scored."""
        self.result_choice.set_layer(layer)

    def set_truth(self, truth: Any) -> None:
        """Choose a labels layer, or truth on disk by its name ("gold")."""
        self.truth_combo.set_truth(truth)

    def set_frames(self, which: str) -> None:
        """Choose the frames: "all", "validation" or "unused"; raises `ValueError` for others."""
        self.form.set({"frames": which})

    def evaluate(self) -> None:
        """Score, as the button does; problems are said in the widget."""
        if self.running:
            return
        try:
            layer = self.result_choice.layer
            which = self.form.value("frames")
            comparison = compare(
                self._workspace, layer, self.truth_combo.truth, which, self.form.value("border")
            )
        except ValueError as error:
            self.show_error(error)
            self.finished.emit("failed")
            return
        self._compared = layer, comparison
        self.outcome, self.errors, self._frames = None, [], []
        border = comparison.border
        assert isinstance(self._score_box, QGroupBox)
        self._score_box.setTitle(f"Scores, without a border of {border} px" if border else "Scores")
        self.score_table.set_rows(())
        self.error_table.set_rows(())
        self.more_scores.hide()
        instances = comparison.kind is LabelKind.INSTANCES
        pixel_kinds = (ErrorKind.MISSED, ErrorKind.FALSE, ErrorKind.WRONG_CLASS)
        self.legend.setText(legend_words() if instances else legend_words(pixel_kinds))
        self.error_table.setVisible(instances)
        self._overlay.clear(layer)
        self._start(scoring(comparison), f"scoring {comparison.result.name}")

    def save(self, path: Path | str) -> None:
        """Write the scores as CSV, and the errors beside them as NAME_errors.csv.

        Raises
        ------
        ValueError
            If nothing is scored yet, or the file cannot be written.
        """
        if not self._frames:
            raise ValueError("Nothing is scored yet; press Evaluate first.")
        path = Path(path)
        path = path if path.suffix else path.with_suffix(".csv")
        self.score_table.save(path)
        places = [error_row(self._number(p), error, csv=True) for p, error in self.errors]
        write_csv(path.with_name(f"{path.stem}_errors.csv"), ERRORS, places)

    # what the buttons do

    def _take_results(self, results: Any) -> None:
        if results is not None:
            layers = compared_layers(self._workspace)
            classes = results.classes
            wanted = results.cells if classes is None else classes
            if any(layer is wanted for layer in layers):
                self.result_choice.set_layer(wanted)

    def _choose_file(self) -> None:
        try:
            if not self._frames:
                raise ValueError("Nothing is scored yet; press Evaluate first.")
            name, _ = QFileDialog.getSaveFileName(self, "Scores", "scores.csv", "CSV (*.csv)")
            if name:
                self.save(name)
                self.message.say(f"The scores are in {name}.")
        except (ValueError, OSError) as error:
            self.show_error(error)

    def _to_frame(self, row: int) -> None:
        if row < len(self._frames):
            self._workspace.go_to(self._frames[row][0])

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

    # what the job tells

    def _on_event(self, event: Looked | ScoredFrame) -> None:
        self.progress.setValue(round(1000 * event.done / event.count))
        self.progress.setFormat(f"frame {event.done} of {event.count}")
        if not isinstance(event, ScoredFrame) or self._compared is None:
            return
        layer = self._compared[0]
        index = current_index(self._viewer, layer)
        shown = not index or index[0] == event.position or self._viewer.dims.ndisplay == 3
        self._overlay.write(event.position, event.plane, shown)
        self._frames.append((event.position, event.score))
        self.errors += [(event.position, error) for error in event.errors]
        role = role_of(self._workspace, event.position)
        self.score_table.add_rows([score_row(event.score, role, self._compared[1].border)])
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
        index = current_index(self._viewer, self._compared[0])
        shown = index[0] if index else 0
        positions = [position for position, _ in self._frames]
        if shown in positions:
            self.score_table.show_row(positions.index(shown))
        elif positions:
            values = [s.iou if s.seg is None else s.seg for _, s in self._frames]
            known = [2.0 if value is None else value for value in values]
            self.score_table.choose(known.index(min(known)))

    def _end(self, outcome: str) -> None:
        if outcome == "stopped":
            self._show_all()
            self.message.say(f"Stopped after {len(self._frames)} frame(s).")
        super()._end(outcome)

    def _show_all(self) -> None:
        assert self._compared is not None
        roles = [role_of(self._workspace, position) for position, _ in self._frames]
        border = self._compared[1].border
        rows = [score_row(s, r, border) for (_, s), r in zip(self._frames, roles, strict=True)]
        scores = self.scores
        if scores is not None:
            rows.append(score_row(scores, "", border))
        self.score_table.set_rows(rows, pinned=int(scores is not None))
        for column in range(1, len(SCORES)):
            empty = all(row[column] in (None, "") for row in rows)
            self.score_table.setColumnHidden(column, empty)
        self.error_table.set_rows(
            [error_row(self._number(p), error) for p, error in self.errors],
            colours=[COLOURS[error.kind] for _, error in self.errors],
        )
        self._tell_book()
        if self.outcome is not None:
            numbers = {s.number: r for (_, s), r in zip(self._frames, roles, strict=True)}
            said, more, error = summary(self.outcome, self._compared[1], numbers)
            self.message.fail(said) if error else self.message.say(said)
            self.more_scores.setText(more)
            self.more_scores.setVisible(bool(more))

    def _tell_book(self) -> None:
        """Let the table of frames show the scores, where the layers belong to the image."""
        image, frames = self._workspace.image, self._workspace.frames
        if frames is None or image is None or self._compared is None:
            return
        shape = tuple(pixels(self._compared[0]).shape)
        if shape != spatial_shape(image):
            return
        by_cells = self._compared[1].kind is LabelKind.INSTANCES
        found = {p: s.seg if by_cells else s.iou for p, s in self._frames}
        known = {p: score for p, score in found.items() if score is not None}
        if known and max(known) < len(frames):
            frames.set_scores(known, name="SEG" if by_cells else "IoU")
