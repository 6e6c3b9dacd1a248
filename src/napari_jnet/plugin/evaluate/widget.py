"""The dock widget that scores cells against the truth, and leads to what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QGroupBox,
    QLabel,
    QPushButton,
    QSpinBox,
)

from napari_jnet.data.stack import LabelKind
from napari_jnet.events import FrameScore, Scores
from napari_jnet.metrics.errors import CellError, ErrorKind
from napari_jnet.plugin.evaluate.error_layer import COLOURS, ErrorLayer, legend_words
from napari_jnet.plugin.evaluate.form import (
    FRAMES,
    TruthCombo,
    compare,
    compared_layers,
    role_of,
)
from napari_jnet.plugin.evaluate.jobs import (
    Comparison,
    Looked,
    Outcome,
    ScoredFrame,
    scoring,
)
from napari_jnet.plugin.evaluate.words import ERRORS, SCORES, error_row, score_row, summary
from napari_jnet.plugin.forms import small_label
from napari_jnet.plugin.job_widget import JobWidget
from napari_jnet.plugin.layer_combos import LayerChoice
from napari_jnet.plugin.layers import current_index, pixels, spatial_shape
from napari_jnet.plugin.places import show_place
from napari_jnet.plugin.session import same
from napari_jnet.plugin.tables import ResultTable, write_csv

if TYPE_CHECKING:
    import napari

__all__ = ["EvaluateWidget"]


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
        self._overlay = ErrorLayer(self._session, self._lifetime)
        self._choices()
        self._score_part()
        self._error_part()
        self.column.addStretch(1)
        self._lifetime.connect(self._session.results_changed, self._take_results)
        self._take_results(self._session.results)

    def _choices(self) -> None:
        form = self._group("Compare")
        self.result_choice = LayerChoice(
            self._session, lambda: compared_layers(self._session), self._lifetime
        )
        self.result_choice.setToolTip("What is scored: the predicted cells, or any labels layer.")
        self.truth_combo = TruthCombo(
            self._session, lambda: self.result_choice.layer, self._lifetime
        )
        self.truth_combo.setToolTip(
            "What is right: another labels layer, or the truth that lies beside the stack on disk."
        )
        self.result_choice.layer_changed.connect(self.truth_combo.refresh)
        self.frames_combo = QComboBox()
        for key, words in FRAMES.items():
            self.frames_combo.addItem(words, key)
        self.frames_combo.setToolTip(
            "Frames that the network learned from flatter it; only others say how good it is."
        )
        form.addRow("Result", self.result_choice)
        form.addRow("Against", self.truth_combo)
        form.addRow("Frames", self.frames_combo)
        self.border_spin = QSpinBox()
        self.border_spin.setRange(0, 999)
        self.border_spin.setSpecialValueText("off")
        self.border_spin.setToolTip(
            "Leave out cells that lie wholly within so many pixels of a side, as the Cell Tracking "
            "Challenge does: 50 for DIC-C2DH-HeLa, PhC-C2DH-U373 and Fluo-N2DH-GOWT1, 25 for PhC-C2DL-PSC "
            "and Fluo-N2DL-HeLa, 0 for Fluo-N2DH-SIM+. Classes of pixels have no border."
        )
        form.addRow("Border (px)", self.border_spin)
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
        index = self.frames_combo.findData(which)
        if index < 0:
            raise ValueError(f"{which!r} is no choice of frames; choices are {', '.join(FRAMES)}.")
        self.frames_combo.setCurrentIndex(index)

    def evaluate(self) -> None:
        """Score, as the button does; problems are said in the widget."""
        if self.running:
            return
        try:
            layer = self.result_choice.layer
            which = self.frames_combo.currentData()
            comparison = compare(
                self._session, layer, self.truth_combo.truth, which, self.border_spin.value()
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
            layers = compared_layers(self._session)
            classes = results.classes
            wanted = results.cells if classes is None else classes
            if any(same(layer, wanted) for layer in layers):
                self.result_choice.set_layer(wanted)

    def _choose_file(self) -> None:
        try:
            if not self._frames:
                raise ValueError("Nothing is scored yet; press Evaluate first.")
            name, _ = QFileDialog.getSaveFileName(self, "Scores", "scores.csv", "CSV (*.csv)")
            if name:
                self.save(name)
                self.message.say(f"The scores are in {name}.")
        except ValueError as error:
            self.show_error(error)

    def _to_frame(self, row: int) -> None:
        if row < len(self._frames):
            self._session.go_to(self._frames[row][0])

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
        role = role_of(self._session, event.position)
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
        roles = [role_of(self._session, position) for position, _ in self._frames]
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
        image, book = self._session.image, self._session.book
        if book is None or image is None or self._compared is None:
            return
        shape = tuple(pixels(self._compared[0]).shape)
        if shape != spatial_shape(image):
            return
        by_cells = self._compared[1].kind is LabelKind.INSTANCES
        found = {p: s.seg if by_cells else s.iou for p, s in self._frames}
        known = {p: score for p, score in found.items() if score is not None}
        if known and max(known) < len(book):
            book.set_scores(known, name="SEG" if by_cells else "IoU")
