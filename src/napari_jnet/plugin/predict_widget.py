"""The dock widget that predicts cells with a trained network, and separates them with sliders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QFileDialog, QPushButton

from napari_jnet.config import InstanceConfig
from napari_jnet.data.stack import Stack
from napari_jnet.events import FramePrediction, Notice
from napari_jnet.plugin.job_widget import JobWidget
from napari_jnet.plugin.layer_combos import LayerCombo
from napari_jnet.plugin.layers import current_index, image_stack
from napari_jnet.plugin.predict_form import ModelForm, SeparationForm
from napari_jnet.plugin.predict_jobs import (
    Exported,
    ModelReady,
    ModelShelf,
    exporting,
    predicting,
)
from napari_jnet.plugin.renewal import Renewal
from napari_jnet.plugin.results import Results, add_results

if TYPE_CHECKING:
    import napari

__all__ = ["PredictWidget"]


class PredictWidget(JobWidget):
    """Predicts this frame or all frames; sliders separate the cells anew without the network.

    Parameters
    ----------
    napari_viewer
        The viewer whose image is predicted; three layers are added to it.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self.results: Results | None = None
        self._shelf = ModelShelf()
        self._sent: InstanceConfig | None = None
        self._target: tuple[Any, Stack] | None = None
        self._notices: list[str] = []
        self._count = self._cells = 0
        self._renewal = Renewal(self.show_error)
        self._lifetime.at_end(self._renewal.close)
        self._input_group()
        self._run_part()
        self.separation = SeparationForm(self._group("Separate cells"))
        self.separation.changed.connect(self._renew)
        self._lifetime.at_end(self.separation.close)
        self._export_part()
        self.column.addStretch(1)
        self._lifetime.connect(self._session.model_changed, self.set_model)
        if (model := self._session.model or _latest_run()) is not None:
            self.set_model(model)

    def _input_group(self) -> None:
        form = self._group("Predict")
        self.image_combo = LayerCombo(self._session, "image", self._lifetime)
        self.image_combo.setToolTip("The image to segment; the active image is chosen at first.")
        form.addRow("Image", self.image_combo)
        self.model_form = ModelForm(form)

    def _run_part(self) -> None:
        self.frame_button = QPushButton("This frame")
        self.frame_button.setToolTip("Predict the frame that the viewer shows.")
        self.all_button = QPushButton("All frames")
        self.all_button.setToolTip("Predict every frame, one after the other, in the background.")
        self.frame_button.clicked.connect(lambda: self.run(all_frames=False))
        self.all_button.clicked.connect(lambda: self.run(all_frames=True))
        self.export_button = QPushButton("Save results…")
        self.column.addLayout(self._buttons(self.frame_button, self.all_button))
        self._starters.append(self.export_button)
        self.column.addWidget(self.progress)
        self.column.addWidget(self.message)

    def _export_part(self) -> None:
        self.export_button.setToolTip(
            "Write the predicted frames to a folder: probability, distance and cells as TIFF, and "
            "for a Cell Tracking Challenge sequence its result folder."
        )
        self.export_button.clicked.connect(self._choose_export)
        self.column.addWidget(self.export_button)

    # what scripts use

    @property
    def layers(self) -> tuple[Any, Any, Any] | None:
        """The layers segmentation, distance and cells, or None before a prediction."""
        return None if self.results is None else self.results.layers

    def set_image(self, layer: Any) -> None:
        """Choose the image layer."""
        self.image_combo.set_layer(layer)

    def set_model(
        self,
        path: Path | str,
        *,
        resolution_levels: tuple[int, ...] | None = None,
        dt_bound: float | None = None,
    ) -> None:
        """Choose a run folder or a model file; the rest is for files of the original J-Net only."""
        self.model_form.path = path
        self.model_form.set_facts(resolution_levels, dt_bound)

    def run(self, all_frames: bool) -> None:
        """Predict, as the buttons do; problems are said in the widget."""
        if self.running:
            return
        try:
            layer = self.image_combo.layer
            if layer is None:
                raise ValueError("There is no image in the viewer; open one first.")
            path, facts = self.model_form.path, self.model_form.facts
            if path is None:
                raise ValueError("There is no model; train one, or choose a run folder or a file.")
            stack = image_stack(layer)
        except ValueError as error:
            self.show_error(error)
            self.finished.emit("failed")
            return
        index = current_index(self._viewer, layer)
        frames = None if all_frames else (stack.frame_numbers[index[0] if index else 0],)
        self._target, self._notices = (layer, stack), []
        self._sent = self.separation.config if self.separation.touched else None
        job = predicting(self._shelf, path, facts, stack, frames, self._sent)
        self._start(job, f"predicting {layer.name}")

    def export(self, folder: Path | str) -> None:
        """Write the predicted frames to a folder, and return when they are written.

        Raises
        ------
        ValueError
            If nothing is predicted yet.
        OutputError
            If the folder cannot be written.
        """
        for _ in exporting(self._predicted(), Path(folder)):
            pass

    # what the buttons and sliders do

    def _choose_export(self) -> None:
        try:
            results = self._predicted()
        except ValueError as error:
            self.show_error(error)
            return
        name = QFileDialog.getExistingDirectory(self, "Folder for the results")
        if name:
            self._notices, self._count = [f"The results are in {name}."], 0
            self._start(lambda: exporting(results, Path(name)), f"writing results to {name}")

    def _predicted(self) -> Results:
        if self.results is None or not self.results.done:
            raise ValueError("Nothing is predicted yet; press This frame or All frames first.")
        return self.results

    def _renew(self) -> None:
        if self.results is not None and self.results.done:
            self._renewal.request(self.results, self.separation.config)

    # what the jobs tell

    def _on_event(self, event: Any) -> None:
        handlers: dict[type, Callable[[Any], None]] = {
            FramePrediction: self._frame,
            Notice: self._notice,
            ModelReady: self._model_ready,
            Exported: self._exported,
        }
        handlers[type(event)](event)

    def _model_ready(self, event: ModelReady) -> None:
        assert self._target is not None
        self._count = self._cells = 0
        if not self.separation.touched:
            self.separation.config = event.instances
        self._used = self._sent or event.instances
        self._notices.append(f"Model {event.words}.")
        image, stack = self._target
        before = self.results
        self.results = add_results(self._viewer, before, image, stack, event.bound, event.key)
        if before is not None and before is not self.results and before.edited:
            self._notices.append("The cells that you painted on are kept in the earlier layers.")

    def _frame(self, event: FramePrediction) -> None:
        assert self.results is not None
        self.results.write(event, self._used.segmentation_threshold)
        self._count += 1
        self._cells += int(event.instances.max(initial=0))
        self.progress.setValue(round(1000 * self._count / event.count))
        self.progress.setFormat(f"frame {self._count} of {event.count}")

    def _exported(self, event: Exported) -> None:
        self.progress.setValue(round(1000 * event.done / event.count))
        self.progress.setFormat(f"written {event.done} of {event.count}")

    def _notice(self, event: Notice) -> None:
        self._notices.append(event.text)

    def _on_error(self, error: Exception) -> None:
        missing = getattr(error, "missing", None)
        if missing:
            self.model_form.ask(tuple(missing), len(getattr(error, "structure", ())))
        super()._on_error(error)

    def _on_done(self, value: Any) -> None:
        if self._count:
            said = f"{self._count} frame(s) predicted, {self._cells} cells."
            self._notices.insert(0, said)
        super()._on_done(value)

    def _end(self, outcome: str) -> None:
        if outcome == "stopped":
            self._notices.append("Stopped; what is done so far is kept.")
        if outcome != "failed":
            self.message.say(_few(self._notices))
        if self._target is not None and self._sent_is_old():
            self._renew()
        super()._end(outcome)

    def _sent_is_old(self) -> bool:
        return self.separation.touched and self._sent != self.separation.config


def _few(notices: list[str], most: int = 4) -> str:
    """Return the first notices, a line each, and how many more there are."""
    lines = list(dict.fromkeys(notices))
    more = [f"… and {len(lines) - most} more"] if len(lines) > most else []
    return "\n".join([*lines[:most], *more])


def _latest_run() -> Path | None:
    models = (Path.home() / "napari-jnet-runs").glob("*/model.pt")
    newest = max(models, key=lambda model: model.stat().st_mtime, default=None)
    return None if newest is None else newest.parent
