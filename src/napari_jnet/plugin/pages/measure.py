"""The dock widget that measures cells: a table linked with the layer, and the features of the layer."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
import numpy as np

from napari_jnet.labels import LabelKind
from napari_jnet.plugin.jobs.measure import MeasuredFrame, measurement_row, measuring
from napari_jnet.plugin.jobs.runner import JobMaker, Progress
from napari_jnet.plugin.layers.add import set_visible
from napari_jnet.plugin.layers.read import (
    frame_numbers,
    kind_of,
    pixel_size,
    pixels,
    set_features,
    show_place,
    shown_position,
    spatial_shape,
    world_matrix,
)
from napari_jnet.plugin.ui.page import JobWidget
from napari_jnet.plugin.ui.table import ResultTable, save_button
from napari_jnet.plugin.ui.widgets import LayerChoice, LayerCombo, plural, push_button
from napari_jnet.plugin.workspace import Lifetime

if TYPE_CHECKING:
    from napari_jnet.measure import Measurement


_TIPS = {
    "frame": "The number of the frame; a click goes to the cell.",
    "cell": "The number of the cell in the layer.",
    "area": "Size of the cell.",
    "volume": "Size of the cell.",
    "diameter": "Of the disc (or ball) that is as large.",
    "perimeter": "Length of the outline; – where pixels are not square, and in volumes.",
    "mean": "Mean of the image inside the cell.",
    "min": "Smallest value of the image inside the cell.",
    "max": "Largest value of the image inside the cell.",
    "confidence": "How sure the prediction is of the cell, 0 to 1; – for cells that are not predicted.",
}
_MOST_FEATURES = 100_000  # rows; one for each number up to the largest


class MeasureWidget(JobWidget):
    """Measures the cells of a labels layer; a click on a row selects its cell, and the other way.

    The measurements of the frame that is shown are also the features of the layer, one row for each label:
    for napari's own *Features table widget*, and in the status bar under the pointer.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self.measured: list[tuple[int, Measurement]] = []  # position and object, a row each
        self._rows: dict[int, dict[int, int]] = {}  # position -> label -> row
        self._layer: Any | None = None
        self._unit = ""
        self._notes: list[str] = []
        self._link = Lifetime()
        self._lifetime.at_end(self._link.end)
        self._add_input()
        self._add_table()
        self._lifetime.connect(self._workspace.prediction_changed, self._take_prediction)
        self._take_prediction(self._workspace.prediction)

    def _add_input(self) -> None:
        form = self._group("Measure")
        self.cells_choice = LayerChoice(self._workspace, self._workspace.labels, self._lifetime)
        self.cells_choice.setToolTip("The labels whose cells are measured.")
        self.image_combo = LayerCombo(self._workspace, "image", self._lifetime)
        self.image_combo.setToolTip("The image whose values inside the cells are averaged.")
        form.addRow("Cells", self.cells_choice)
        form.addRow("Intensity of", self.image_combo)
        tip = "Measure the cells of the frame that the viewer shows."
        self.frame_button = push_button("This frame", tip, partial(self.measure, all_frames=False))
        tip = "Measure the cells of every frame, in the background."
        self.all_button = push_button("All frames", tip, self.measure)
        self._add_starters(self.frame_button, self.all_button)

    def _add_table(self) -> None:
        self.table = ResultTable(digits=2)
        self.table.setMinimumHeight(220)
        self.table.row_chosen.connect(self._to_cell)
        tip = "Write the table to a file, one line a cell."
        self.save_button = save_button(
            self.table, "cells.csv", tip, lambda path: self.attempt(partial(self.save, path))
        )
        self.column.addWidget(self.table, 1)
        self.column.addWidget(self.save_button)

    def measure(self, all_frames: bool = True) -> None:
        """Measure, as the buttons do; problems are shown in the widget."""
        if self.running:
            return
        layer = self.cells_choice.layer
        if layer is None:
            self._on_error(ValueError("There are no labels to measure; predict or paint some."))
            return
        job = self._job(layer, all_frames)
        self.measured, self._rows, self._layer = [], {}, layer
        self.table.set_rows({}, ())
        self._link.end()
        self._link.connect(layer.events.selected_label, self._on_label)
        self._link.connect(layer.events.paint, self._on_paint)
        self._link.connect(self._viewer.dims.events.current_step, self._show_features)
        self._start(job, f"measuring {layer.name}")

    def save(self, path: Path | str) -> None:
        """Write the table as CSV; raises `OutputError` if the file cannot be written."""
        self.message.say(f"Written: {self.table.save(Path(path))}.")

    # from the layers to a job

    def _job(self, layer: Any, all_frames: bool) -> JobMaker:
        self._notes = []
        image = self._workspace.image
        frames = tuple(enumerate(frame_numbers(layer, image)[0]))
        if not all_frames:
            frames = (frames[shown_position(self._viewer, layer)],)
        if kind_of(layer) in (LabelKind.CLASSES, LabelKind.SCRIBBLES):
            self._notes.append("These labels are classes: all of a class is measured as one.")
        if image is not None and spatial_shape(image) != tuple(pixels(layer).shape):
            self._notes.append(
                f"Without intensities: {image.name!r} and {layer.name!r} have different sizes."
            )
            image = None
        predicted = self._workspace.prediction
        own = predicted if predicted is not None and layer is predicted.cells else None
        space = 2 if layer.ndim < 4 else 3
        unit = f"{layer.units[-1]:~P}"  # as people write it: "µm"
        self._unit = "" if unit == "pixel" else unit
        return measuring(
            pixels(layer),
            None if image is None else pixels(image),
            frames,
            pixel_size(layer, layer.units[-1])[-space:],
            world_matrix(layer, space),
            {} if own is None else own.confidence,
        )

    # the links between the table and the layer

    def _to_cell(self, row: int) -> None:
        layer = self._layer
        if layer is None or layer not in self._viewer.layers:
            return
        position, found = self.measured[row]
        at = (position, *found.centroid_px)[-layer.ndim :]
        show_place(self._viewer, layer, at, found.diameter_px)
        set_visible(layer, True)
        self._viewer.layers.selection.active = layer
        layer.selected_label = found.label

    def _show_features(self, _event: Any = None) -> None:
        """Make the measurements of the frame that is shown the features of the layer."""
        layer = self._layer
        if layer is None or self.running or layer not in self._viewer.layers:
            return
        position = shown_position(self._viewer, layer)
        rows = {
            label: measurement_row(self.measured[row][1], self._unit)
            for label, row in self._rows.get(position, {}).items()
        }
        if not rows or max(rows) > _MOST_FEATURES:
            return
        # napari's table takes the number of a row for the label
        columns: dict[str, list[Any]] = {"index": list(range(max(rows) + 1))}
        for title in list(next(iter(rows.values())))[2:]:  # not frame and cell
            values = [rows.get(label, {}).get(title) for label in columns["index"]]
            columns[title] = [np.nan if value is None else value for value in values]
        set_features(layer, columns)

    def _on_label(self, _event: Any = None) -> None:
        if self._layer is not None:
            rows = self._rows.get(shown_position(self._viewer, self._layer), {})
            self.table.show_row(rows.get(int(self._layer.selected_label)))

    def _on_paint(self, _event: Any = None) -> None:
        if not self.running and self.measured:
            self.message.say("The labels have changed since they were measured; measure again.")

    def _take_prediction(self, prediction: Any) -> None:
        if prediction is not None and prediction.cells in self._viewer.layers:
            self.cells_choice.set_layer(prediction.cells)

    # what the job yields

    def _on_event(self, event: MeasuredFrame | Progress) -> None:
        if isinstance(event, Progress):
            self._show_progress(event)
        else:
            first = len(self.measured)
            self.measured += [(event.position, found) for found in event.objects]
            labels = (found.label for found in event.objects)
            self._rows[event.position] = {label: first + n for n, label in enumerate(labels)}

    def _end(self, outcome: str) -> None:
        rows = [measurement_row(found, self._unit) for _, found in self.measured]
        titles = rows[0] if rows else {}
        tips = {title: _TIPS.get(title.split()[0], "Where its middle is.") for title in titles}
        self.table.set_rows(tips, [tuple(row.values()) for row in rows])
        self._workspace.measured = len(rows)
        if outcome != "failed":
            frames = len({position for position, _ in self.measured})
            text = f"{plural(len(rows), 'cell')} in {plural(frames, 'frame')}."
            stopped = ["Stopped; what is measured so far is shown."] * (outcome == "stopped")
            self.message.say("\n".join([text, *self._notes, *stopped]))
        super()._end(outcome)
        self._show_features()
