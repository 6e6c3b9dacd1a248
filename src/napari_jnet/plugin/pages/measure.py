"""The dock widget that measures cells: a table linked with the layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtWidgets import QFileDialog, QPushButton

from napari_jnet.labels import LabelKind
from napari_jnet.plugin.jobs.measure import (
    MeasuredFrame,
    Request,
    columns,
    file_columns,
    file_row,
    measuring,
    row,
)
from napari_jnet.plugin.layers.read import (
    METADATA_KEY,
    current_index,
    frame_numbers,
    kind_of,
    pixel_size,
    pixels,
    placement,
    show_place,
    spatial_shape,
    switch,
    world_matrix,
)
from napari_jnet.plugin.ui.page import JobWidget
from napari_jnet.plugin.ui.table import ResultTable, write_csv
from napari_jnet.plugin.ui.widgets import LayerChoice, LayerCombo
from napari_jnet.plugin.workspace import Lifetime

if TYPE_CHECKING:
    import napari

    from napari_jnet.measure import Measurement


class MeasureWidget(JobWidget):
    """Measures the cells of a labels layer; a click on a row circles its cell, and the other way.

    Measurements stay in the table and do not go into ``layer.features``, where the names of classes
    are.

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
        self._request: Request | None = None
        self._ring: Any | None = None  # the layer with a circle around the chosen cell
        self._notes: list[str] = []
        self._link = Lifetime()
        self._lifetime.at_end(self._link.end)
        self._input_part()
        self._table_part()
        self._lifetime.connect(self._workspace.prediction_changed, self._take_results)
        self._take_results(self._workspace.prediction)

    def _input_part(self) -> None:
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

    def _table_part(self) -> None:
        self.table = ResultTable(columns(Request(None, None, (), (1.0, 1.0), np.eye(2, 3), "")))
        self.table.setMinimumHeight(220)
        self.table.row_chosen.connect(self._to_cell)
        self.save_button = QPushButton("Save as CSV…")
        self.save_button.setToolTip("Write one line a cell, in pixels and in units.")
        self.save_button.clicked.connect(self._choose_file)
        self.column.addWidget(self.table, 1)
        self.column.addWidget(self.save_button)

    # what scripts use

    def set_cells(self, layer: Any) -> None:
        """Choose the labels layer that is measured."""
        self.cells_choice.set_layer(layer)

    def measure(self, all_frames: bool = True) -> None:
        """Measure, as the buttons do; problems are said in the widget."""
        if self.running:
            return
        layer = self.cells_choice.layer
        if layer is None:
            self.show_error(ValueError("There are no labels to measure; predict or paint some."))
            self.finished.emit("failed")
            return
        self._request = request = self._make_request(layer, all_frames)
        self.measured, self._rows, self._layer = [], {}, layer
        self.table.set_columns(columns(request))
        self._follow(layer)
        self._start(measuring(request), f"measuring {layer.name}")

    def save(self, path: Path | str) -> None:
        """Write one line a cell as CSV, with units in the titles.

        Raises
        ------
        ValueError
            If nothing is measured yet, or the file cannot be written.
        """
        if self._request is None or not self.measured:
            raise ValueError("Nothing is measured yet; press This frame or All frames first.")
        path = Path(path)
        path = path if path.suffix else path.with_suffix(".csv")
        request = self._request
        write_csv(path, file_columns(request), (file_row(request, m) for _, m in self.measured))

    # from the layers to a request

    def _make_request(self, layer: Any, all_frames: bool) -> Request:
        from napari_jnet.measure import unit_name

        self._notes = []
        numbers, _ = frame_numbers(layer, self._workspace.image)
        frames = tuple(enumerate(numbers))
        if not all_frames:
            index = current_index(self._viewer, layer)
            frames = (frames[index[0] if index else 0],)
        if kind_of(layer) in (LabelKind.CLASSES, LabelKind.SCRIBBLES):
            self._notes.append("These labels are classes: all of a class is measured as one.")
        image = self._workspace.image
        if image is not None and spatial_shape(image) != tuple(pixels(layer).shape):
            self._notes.append(
                f"Without intensities: {image.name!r} and {layer.name!r} have different sizes."
            )
            image = None
        space = 2 if layer.ndim < 4 else 3
        return Request(
            pixels(layer),
            None if image is None else pixels(image),
            frames,
            pixel_size(layer, layer.units[-1])[-space:],
            world_matrix(layer, space),
            unit_name(layer.units[-1]),
        )

    # the link between the table and the layer

    def _follow(self, layer: Any) -> None:
        self._link.end()
        self._link.connect(layer.events.selected_label, self._label_selected)
        self._link.connect(layer.events.paint, self._painted)

    def _to_cell(self, number: int) -> None:
        layer = self._layer
        if layer is None or number >= len(self.measured) or not self._there(layer):
            return
        position, found = self.measured[number]
        centroid = found.centroid_px
        at = centroid if layer.ndim == len(centroid) else (position, *centroid)
        show_place(self._viewer, layer, at, found.diameter_px)
        switch(layer, True)
        self._mark(layer, at, found.diameter_px)
        self._viewer.layers.selection.active = layer
        layer.selected_label = found.label

    def _mark(self, layer: Any, at: Sequence[float], size: float) -> None:
        """Draw a circle around a cell, in a layer of its own, which is made for the first one."""
        ring = self._ring
        if ring is None or not self._there(ring) or ring.ndim != layer.ndim:
            self._ring = ring = self._viewer.add_shapes(
                ndim=layer.ndim,
                name="measured cell",
                metadata={METADATA_KEY: {"role": "mark"}},  # no region to predict
                **placement(layer),
            )
            ring.mode = "pan_zoom"
        radius = 0.75 * max(size, 2.0)
        corners = np.tile(np.round(np.asarray(at, float)), (4, 1))
        corners[:, -2] = at[-2] + radius * np.array([-1, -1, 1, 1])
        corners[:, -1] = at[-1] + radius * np.array([-1, 1, 1, -1])
        ring.selected_data = set(range(len(ring.data)))
        ring.remove_selected()
        width = max(0.06 * size, 0.5)
        ring.add_ellipses(corners, edge_width=width, edge_color="yellow", face_color="transparent")
        ring.selected_data = set()

    def _label_selected(self, _event: Any = None) -> None:
        layer = self._layer
        if layer is None:
            return
        index = current_index(self._viewer, layer)
        self.table.show_row(self._rows.get((index[0] if index else 0, int(layer.selected_label))))

    def _painted(self, _event: Any = None) -> None:
        if not self.running and self.measured:
            self.message.say("The labels have changed since they were measured; measure again.")

    def _there(self, layer: Any) -> bool:
        return any(layer is other for other in self._viewer.layers)

    def _take_results(self, results: Any) -> None:
        if results is not None and self._there(results.cells):
            self.cells_choice.set_layer(results.cells)

    # what the job tells

    def _on_event(self, event: MeasuredFrame) -> None:
        assert self._request is not None
        self.progress.setValue(round(1000 * event.done / event.count))
        self.progress.setFormat(f"frame {event.done} of {event.count}")
        first = len(self.measured)
        self.measured += [(event.position, found) for found in event.objects]
        self._rows |= {
            (event.position, found.label): first + n for n, found in enumerate(event.objects)
        }
        self.table.add_rows([row(self._request, found) for found in event.objects])

    def _end(self, outcome: str) -> None:
        if outcome != "failed":
            self._show_all(outcome)
        super()._end(outcome)

    def _show_all(self, outcome: str) -> None:
        assert self._request is not None
        rows = [row(self._request, found) for _, found in self.measured]
        self.table.set_rows(rows)
        for column in range(2, len(self.table.columns)):
            unknown = bool(rows) and all(values[column] is None for values in rows)
            self.table.setColumnHidden(column, unknown)
        self._workspace.measured = len(rows)
        frames = len({position for position, _ in self.measured})
        said = f"{len(rows)} cell(s) in {frames} frame(s)."
        if not rows:
            said = "There is no cell in the chosen frame(s); predict or paint some."
        elif self._request.unit == "":
            said += " In pixels: the layer has no unit."
        stopped = ["Stopped; what is measured so far is shown."] if outcome == "stopped" else []
        self.message.say("\n".join([said, *self._notes, *stopped]))

    def _choose_file(self) -> None:
        try:
            if not self.measured:
                raise ValueError("Nothing is measured yet; press This frame or All frames first.")
            name, _ = QFileDialog.getSaveFileName(self, "Measurements", "cells.csv", "CSV (*.csv)")
            if name:
                self.save(name)
                self.message.say(f"The measurements are in {name}.")
        except (ValueError, OSError) as error:
            self.show_error(error)
