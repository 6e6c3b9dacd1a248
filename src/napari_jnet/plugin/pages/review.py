"""Going through the predicted cells, the least sure first, and their colours by confidence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QWidget

from napari_jnet.labels import LabelKind
from napari_jnet.plugin.layers.add import Prediction, set_visible
from napari_jnet.plugin.layers.read import pixels, show_place
from napari_jnet.plugin.ui.widgets import lay_out, plural, push_button
from napari_jnet.plugin.workspace import Lifetime, Workspace


class Cell(NamedTuple):
    """A predicted cell."""

    position: int  # along the stack
    label: int
    confidence: float


class Review:
    """Goes through the predicted cells of all frames, the least sure first.

    A cell is done once it was shown, or where the annotation covers it.  What was shown is kept as a pixel of
    the cell, so that it holds for other thresholds too; the project remembers it as long as the model stays.
    """

    changed = Signal()  # cells that were looked at

    def __init__(self, workspace: Workspace, lifetime: Lifetime) -> None:
        self._workspace = workspace
        self._model = workspace.model
        self.looked_at: list[tuple[int, ...]] = []  # frame number and a pixel of each, in order
        lifetime.connect(workspace.image_changed, lambda _: self._set([], save=False))
        lifetime.connect(workspace.model_changed, self._on_model)
        lifetime.connect(workspace.project_changed, self._on_project)
        self._on_project(workspace.project)

    def next(self) -> Cell | None:
        """Show the least sure cell that is not done; None where all are.  Raises `ValueError`."""
        results = self._predicted()
        cell = next(self._to_do(results), None)
        if cell is not None:
            pixel = self._show(results, cell)
            self._set([*self.looked_at, (results.done[cell.position], *pixel)])
        return cell

    def back(self) -> Cell | None:
        """Count the last cell as not looked at, and show the one before; None where there was none."""
        results = self._predicted()
        if not self.looked_at:
            return None
        self._set(self.looked_at[:-1])
        positions = {number: position for position, number in results.done.items()}
        for number, *pixel in reversed(self.looked_at):
            if number in positions:
                position = positions[number]
                label = int(results.cells_at(position)[tuple(pixel)])
                if label:
                    cell = Cell(position, label, _confidence(results, position, label))
                    self._show(results, cell)
                    return cell
        return None

    def _predicted(self) -> Prediction:
        results = self._workspace.prediction
        if results is None or not results.done:
            raise ValueError("Nothing is predicted yet; press Predict first.")
        if results.cells not in self._workspace.viewer.layers:
            raise ValueError("The layer of the predicted cells was removed; press Predict again.")
        return results

    def _to_do(self, results: Prediction) -> Any:
        """Yield the cells that are not done, the least sure first."""
        frames = results.confidence.items()
        sure = np.concatenate([np.zeros(0, np.float32), *(c for _, c in frames)])
        positions = np.repeat([p for p, _ in frames], [len(c) for _, c in frames]).astype(int)
        labels = np.concatenate([np.zeros(0, int), *(np.arange(1, len(c) + 1) for _, c in frames)])
        there: dict[int, NDArray[np.bool_]] = {}
        for index in np.argsort(sure, kind="stable"):  # NaN comes last
            position, label = int(positions[index]), int(labels[index])
            if np.isnan(sure[index]):
                return
            if position not in there:
                there[position] = self._open_cells(results, position)
            if there[position][label]:
                yield Cell(position, label, float(sure[index]))

    def _open_cells(self, results: Prediction, position: int) -> NDArray[np.bool_]:
        """Return which labels, 0 to the last that has a confidence, are cells that are not done."""
        count, cells = len(results.confidence[position]), results.cells_at(position)
        # without what was painted by hand, whose numbers may be large
        cells = np.where((cells > 0) & (cells <= count), cells, 0)
        sizes = np.bincount(cells.ravel(), minlength=count + 1)
        still_open = sizes > 0
        still_open[0] = False
        for number, *pixel in self.looked_at:
            if number == results.done[position]:
                still_open[cells[tuple(pixel)]] = False
        painted = self._painted(results, position)
        if painted is not None:
            still_open &= 2 * np.bincount(cells[painted], minlength=len(sizes)) <= sizes
        return still_open

    def _painted(self, results: Prediction, position: int) -> NDArray[np.bool_] | None:
        """Return the pixels of a frame that the annotation of this image knows; None without one."""
        workspace = self._workspace
        layer, frames = workspace.annotation, workspace.frames
        if layer is None or results.image is not workspace.image or layer is results.cells:
            return None
        if tuple(pixels(layer).shape) != results.probability.shape:
            return None
        labels: NDArray[np.int64] = np.asarray(frames.frame(position))
        info = frames.info(position)
        whole = info.annotated and frames.kind is LabelKind.INSTANCES
        partial = not whole or frames.is_partial(position)  # else what is unpainted is background
        known: NDArray[np.bool_] = labels != 0 if partial else labels >= 0
        return known

    def _show(self, results: Prediction, cell: Cell) -> tuple[int, ...]:
        """Show a cell in the middle of the canvas and select it; return a pixel of it, near its middle."""
        viewer, layer = self._workspace.viewer, results.cells
        inside = np.argwhere(results.cells_at(cell.position) == cell.label)
        middle = inside.mean(axis=0)
        pixel = tuple(map(int, inside[np.argmin(((inside - middle) ** 2).sum(axis=1))]))
        across = 2 * np.sqrt(len(np.unique(inside[:, -2:], axis=0)) / np.pi)
        set_visible(layer, True)
        viewer.layers.selection.active = layer
        layer.selected_label = cell.label
        show_place(viewer, layer, (cell.position, *pixel)[-layer.ndim :], across)
        return pixel

    # what is remembered

    def _set(self, looked_at: list[tuple[int, ...]], *, save: bool = True) -> None:
        self.looked_at = looked_at
        project, saves = self._workspace.project, self._workspace.autosave
        if save and project is not None and tuple(looked_at) != project.looked_at:
            saves.queue.submit(lambda: project.set_looked_at(looked_at))
        self.changed.emit()

    def _on_model(self, _path: str) -> None:
        """Begin anew where another model predicts: its cells are others."""
        if self._model not in (None, self._workspace.model):
            self._set([], save=False)  # the project forgets them by itself
        self._model = self._workspace.model

    def _on_project(self, project: Any) -> None:
        if project is not None:
            self._set(list(project.looked_at) or self.looked_at)


def _confidence(results: Prediction, position: int, label: int) -> float:
    sure = results.confidence.get(position, np.zeros(0, np.float32))
    return float(sure[label - 1]) if label <= len(sure) else float("nan")


class ReviewBar(QWidget):
    """Buttons to the least sure cell and back, and a switch that colours cells by their confidence."""

    def __init__(
        self,
        workspace: Workspace,
        attempt: Callable[[Callable[[], Any]], Any],
        say: Callable[[str], Any],
    ) -> None:
        super().__init__()
        self._workspace, self._attempt, self._say = workspace, attempt, say
        self._of_results = Lifetime()
        lifetime = Lifetime()
        self.destroyed.connect(lambda *_: lifetime.end())
        lifetime.at_end(self._of_results.end)
        self.review = Review(workspace, lifetime)
        tip = workspace.commands.tooltip("next_cell")
        self.next_button = push_button("Next cell", tip, self.next_cell)
        tip = "Back to the cell before; the one that is shown counts as not looked at."
        self.back_button = push_button("Back", tip, self.back)
        self.color_check = QCheckBox("Colour by confidence")
        self.color_check.setToolTip(
            "Colour each cell by how sure the network is of it, instead of a colour of its own."
        )
        self.color_check.toggled.connect(lambda _: self._color())
        lay_out(QHBoxLayout(self), self.next_button, self.back_button, self.color_check)
        lifetime.connect(workspace.prediction_changed, self._on_prediction)
        lifetime.connect(workspace.viewer.dims.events.current_step, self._color)
        lifetime.connect(workspace.viewer.dims.events.ndisplay, self._color)
        lifetime.at_end(workspace.commands.attach({"next_cell": self.next_cell}))
        self._on_prediction(workspace.prediction)

    def next_cell(self) -> None:
        """Show the least sure cell that nobody has looked at, as the button and the shortcut do."""
        self._attempt(self._next_cell)

    def back(self) -> None:
        """Show the cell before the one that is shown, as the button does."""
        self._attempt(self._back)

    def _next_cell(self) -> None:
        cell = self.review.next()
        results = self._workspace.prediction
        if cell is None and results is not None and not any(map(len, results.confidence.values())):
            self._say("No cell is predicted in these frames.")
        elif cell is None:
            self._say(
                f"{plural(len(self.review.looked_at), 'cell')} looked at; the others are annotated. Predict "
                "other frames, or press Back to look again."
            )
        else:
            self._say(self._described(cell))

    def _back(self) -> None:
        cell = self.review.back()
        self._say("There is no cell before." if cell is None else self._described(cell))

    def _described(self, cell: Cell) -> str:
        frames, results = self._workspace.frames, self._workspace.prediction
        assert results is not None
        name = frames.frame_name(results.done[cell.position])
        return f"{name}, cell {cell.label}: confidence {cell.confidence:.2f}."

    def _on_prediction(self, results: Prediction | None) -> None:
        self._of_results.end()
        if results is not None:
            self._of_results.connect(results.renewed, self._on_renewed)
        self._color()

    def _on_renewed(self, position: int) -> None:
        results = self._workspace.prediction
        if results is not None and results.visible(position):
            self._color()

    def _color(self, _event: Any = None) -> None:
        results, colored = self._workspace.prediction, self.color_check.isChecked()
        if results is not None and results.cells in self._workspace.viewer.layers:
            results.color_by_confidence(colored)
