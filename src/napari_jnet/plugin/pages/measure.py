"""The dock widget that measures cells: a table linked with the layer, and the features of the layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtWidgets import QFileDialog, QPushButton

from napari_jnet.labels import LabelKind
from napari_jnet.plugin.jobs.measure import (
    MeasuredFrame,
    MeasureRequest,
    file_values,
    measuring,
    table_values,
)
from napari_jnet.plugin.jobs.runner import Progress
from napari_jnet.plugin.layers.add import set_visible
from napari_jnet.plugin.layers.read import (
    METADATA_KEY,
    frame_numbers,
    kind_of,
    pixel_size,
    pixels,
    placement,
    set_features,
    show_place,
    shown_position,
    spatial_shape,
    world_matrix,
)
from napari_jnet.plugin.ui.page import JobWidget
from napari_jnet.plugin.ui.table import Column, ResultTable, write_csv
from napari_jnet.plugin.ui.widgets import LayerChoice, LayerCombo, plural
from napari_jnet.plugin.workspace import Lifetime

if TYPE_CHECKING:
    import napari

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
}
_EMPTY = [Column(title, tip) for title, tip in _TIPS.items() if title != "volume"]
_MOST_FEATURES = 100_000  # rows; one for each number up to the largest


class MeasureWidget(JobWidget):
    """Measures the cells of a labels layer; a click on a row circles its cell, and the other way.

    The measurements of the frame that is shown are also the features of the layer, one row for each label:
    for napari's own *Features table widget*, and in the status bar under the pointer.

    Parameters
    ----------
    napari_viewer
        The viewer whose labels are measured.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self.measured: list[tuple[int, Measurement]] = []  # position and object
        self._rows: dict[tuple[int, int], int] = {}  # position and label -> row
        self._layer: Any | None = None
        self._unit = ""
        self._described: int | None = None  # position that the features are of
        self._circle: Any | None = None  # the layer with a circle around the chosen cell
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
        self.frame_button = QPushButton("This frame")
        self.frame_button.setToolTip("Measure the cells of the frame that the viewer shows.")
        self.all_button = QPushButton("All frames")
        self.all_button.setToolTip("Measure the cells of every frame, in the background.")
        self.frame_button.clicked.connect(lambda: self.measure(all_frames=False))
        self.all_button.clicked.connect(lambda: self.measure(all_frames=True))
        self.column.addLayout(self._buttons(self.frame_button, self.all_button))
        self.column.addWidget(self.progress)
        self.column.addWidget(self.message)

    def _add_table(self) -> None:
        self.table = ResultTable(_EMPTY)
        self.table.setMinimumHeight(220)
        self.table.row_chosen.connect(self._to_cell)
        self.save_button = QPushButton("Save as CSV…")
        self.save_button.setToolTip("Write one line a cell, in pixels and in units.")
        self.save_button.clicked.connect(lambda: self.attempt(self._choose_file))
        self.column.addWidget(self.table, 1)
        self.column.addWidget(self.save_button)

    # what scripts use

    def set_cells(self, layer: Any) -> None:
        """Choose the labels layer that is measured."""
        self.cells_choice.set_layer(layer)

    def measure(self, all_frames: bool = True) -> None:
        """Measure, as the buttons do; problems are shown in the widget."""
        if self.running:
            return
        layer = self.cells_choice.layer
        if layer is None:
            self.show_error(ValueError("There are no labels to measure; predict or paint some."))
            self.finished.emit("failed")
            return
        request = self._make_request(layer, all_frames)
        self.measured, self._rows, self._layer = [], {}, layer
        self._unit, self._described = request.unit, None
        self.table.set_columns(_EMPTY)
        self._link.end()
        self._link.connect(layer.events.selected_label, self._on_label)
        self._link.connect(layer.events.paint, self._on_paint)
        self._link.connect(self._viewer.dims.events.current_step, self._show_features)
        self._start(measuring(request), f"measuring {layer.name}")

    def save(self, path: Path | str) -> None:
        """Write one line a cell as CSV, with units in the titles.

        Raises
        ------
        ValueError
            If nothing is measured yet, or the file cannot be written.
        """
        self._check_measured()
        path = Path(path)
        path = path if path.suffix else path.with_suffix(".csv")
        lines = [file_values(found, self._unit) for _, found in self.measured]
        titles = [Column(title) for title in lines[0]]
        write_csv(path, titles, [tuple(line.values()) for line in lines])

    # from the layers to a request

    def _make_request(self, layer: Any, all_frames: bool) -> MeasureRequest:
        from napari_jnet.measure import unit_name

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
        space = 2 if layer.ndim < 4 else 3
        return MeasureRequest(
            pixels(layer),
            None if image is None else pixels(image),
            frames,
            pixel_size(layer, layer.units[-1])[-space:],
            world_matrix(layer, space),
            unit_name(layer.units[-1]),
        )

    # the links between the table and the layer

    def _to_cell(self, number: int) -> None:
        layer = self._layer
        if layer is None or number >= len(self.measured) or layer not in self._viewer.layers:
            return
        position, found = self.measured[number]
        centroid = found.centroid_px
        at = centroid if layer.ndim == len(centroid) else (position, *centroid)
        show_place(self._viewer, layer, at, found.diameter_px)
        set_visible(layer, True)
        self._draw_circle(layer, at, found.diameter_px)
        self._viewer.layers.selection.active = layer
        layer.selected_label = found.label

    def _draw_circle(self, layer: Any, at: Sequence[float], size: float) -> None:
        """Draw a circle around a cell, in a layer of its own, which is made for the first one."""
        circle = self._circle
        if circle is None or circle not in self._viewer.layers or circle.ndim != layer.ndim:
            self._circle = circle = self._viewer.add_shapes(
                ndim=layer.ndim,
                name="measured cell",
                metadata={METADATA_KEY: {"role": "mark"}},  # not a region to predict
                **placement(layer),
            )
            circle.mode = "pan_zoom"
        radius = 0.75 * max(size, 2.0)
        corners = np.tile(np.round(np.asarray(at, float)), (4, 1))
        corners[:, -2:] = at[-2:] + radius * np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]])
        circle.data = []
        width = max(0.06 * size, 0.5)
        look = {"edge_color": "yellow", "face_color": "transparent"}
        circle.add_ellipses(corners, edge_width=width, **look)
        circle.selected_data = set()

    def _show_features(self, _event: Any = None) -> None:
        """Make the measurements of the frame that is shown the features of the layer."""
        layer = self._layer
        if layer is None or self.running or layer not in self._viewer.layers:
            return
        position = shown_position(self._viewer, layer)
        found = {m.label: m for at, m in self.measured if at == position}
        if position == self._described or not found or max(found) > _MOST_FEATURES:
            return
        self._described = position
        # napari's table takes the number of a row for the label
        labels = range(max(found) + 1)
        titles = list(table_values(next(iter(found.values())), self._unit))[2:]  # no frame, cell
        values = {n: table_values(m, self._unit) for n, m in found.items()}
        columns: dict[str, list[Any]] = {"index": list(labels)}
        for title in titles:
            column = [values[n][title] if n in values else None for n in labels]
            if any(value is not None for value in column):
                columns[title] = [np.nan if value is None else value for value in column]
        set_features(layer, columns)

    def _on_label(self, _event: Any = None) -> None:
        if self._layer is not None:
            position = shown_position(self._viewer, self._layer)
            self.table.show_row(self._rows.get((position, int(self._layer.selected_label))))

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
            return
        rows = [table_values(found, self._unit) for found in event.objects]
        first = len(self.measured)
        if rows and not first:
            self.table.set_columns([self._column(title) for title in rows[0]])
        self.measured += [(event.position, found) for found in event.objects]
        self._rows |= {
            (event.position, found.label): first + n for n, found in enumerate(event.objects)
        }
        self.table.add_rows([tuple(row.values()) for row in rows])

    def _column(self, title: str) -> Column:
        name, _, unit = title.partition(" ")
        tip = _TIPS.get(name, "Where the middle of the cell is.")
        digits = 2 if self._unit or not unit else 0 if name in ("area", "volume") else 1
        return Column(title, tip, digits)

    def _end(self, outcome: str) -> None:
        if outcome != "failed":
            self._show_all(outcome)
        super()._end(outcome)

    def _show_all(self, outcome: str) -> None:
        rows = self.table.rows
        self.table.set_rows(rows)
        for column in range(2, len(self.table.columns)):
            unknown = bool(rows) and all(values[column] is None for values in rows)
            self.table.setColumnHidden(column, unknown)
        self._workspace.measured = len(rows)
        self._show_features()
        frames = len({position for position, _ in self.measured})
        text = f"{plural(len(rows), 'cell')} in {plural(frames, 'frame')}."
        if not rows:
            text = "There are no cells in what was measured; predict or paint some."
        elif not self._unit:
            text += " In pixels: the layer has no unit."
        stopped = ["Stopped; what is measured so far is shown."] if outcome == "stopped" else []
        self.message.say("\n".join([text, *self._notes, *stopped]))

    def _check_measured(self) -> None:
        if not self.measured:
            raise ValueError("Nothing is measured yet; press This frame or All frames first.")

    def _choose_file(self) -> None:
        self._check_measured()
        name, _ = QFileDialog.getSaveFileName(self, "Measurements", "cells.csv", "CSV (*.csv)")
        if name:
            self.save(name)
            self.message.say(f"The measurements are in {name}.")
