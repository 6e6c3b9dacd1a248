"""The dock widget that predicts cells, shows them, separates them with sliders and hands them on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QFileDialog, QPushButton

from napari_jnet.config import InstanceConfig
from napari_jnet.data.stack import Stack
from napari_jnet.plugin.job_widget import JobWidget
from napari_jnet.plugin.keys import bind_keys, with_key
from napari_jnet.plugin.layer_combos import LayerCombo
from napari_jnet.plugin.layers import image_stack
from napari_jnet.plugin.predict.adoption import NOTHING, use_as_annotation
from napari_jnet.plugin.predict.arrival import Arrival, Target
from napari_jnet.plugin.predict.batch import BatchEnd, predicting_folder
from napari_jnet.plugin.predict.form import PredictForm, separation_form
from napari_jnet.plugin.predict.hand_over import HandOver
from napari_jnet.plugin.predict.jobs import ModelShelf, exporting, predicting
from napari_jnet.plugin.predict.overlays import OverlayPanel
from napari_jnet.plugin.predict.renewal import Renewal
from napari_jnet.plugin.predict.results import Results
from napari_jnet.plugin.predict.scopes import draw_region, work
from napari_jnet.plugin.torch_loading import load_torch_soon

if TYPE_CHECKING:
    import napari

__all__ = ["PredictWidget"]

_SHOWN_MS = 500  # first the widget itself appears


class PredictWidget(JobWidget):
    """Predicts part of a frame, frames or folders; sliders separate the cells anew at once.

    Parameters
    ----------
    napari_viewer
        The viewer whose image is predicted; the result layers are added to it.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self._shelf = ModelShelf()
        self._brought = False
        self._renewal = Renewal(self.show_error)
        self._lifetime.at_end(self._renewal.close)
        self._input_part()
        self._look_part()
        self._arrival = Arrival(
            self._session, self.overlays.visibility, self.separation, self._progress
        )
        self.hand_over = HandOver(self._session, self._lifetime, self._group("Use and correct"))
        self.hand_over.use_button.clicked.connect(self.use_as_annotation)
        self._export_part()
        self.column.addStretch(1)
        actions: dict[str, Callable[[], Any]] = {
            "predict": self.predict_this_frame,
            "use_as_annotation": self.use_as_annotation,
            "toggle_overlays": self.toggle_overlays,
        }
        bind_keys(self._session, actions, self._lifetime)

    def _input_part(self) -> None:
        rows = self._group("Predict")
        self.image_combo = LayerCombo(self._session, "image", self._lifetime)
        self.image_combo.setToolTip("The image to segment; the active image is chosen at first.")
        rows.addRow("Image", self.image_combo)
        self.form = PredictForm(rows, self._session, self._lifetime)
        self.form.draw_button.clicked.connect(self.draw_region)
        self.predict_button = QPushButton("Predict")
        self.predict_button.setToolTip(
            "Run the network in the background; Stop keeps what is done."
        )
        self.predict_button.clicked.connect(lambda: self.run())
        self.export_button = QPushButton("Save results…")
        self.column.addLayout(self._buttons(self.predict_button))
        self._starters.append(self.export_button)
        self.column.addWidget(self.progress)
        self.column.addWidget(self.message)

    def _look_part(self) -> None:
        self.overlays = OverlayPanel(self._session, self._lifetime)
        self.overlays.setToolTip(with_key("toggle_overlays", "Hide all, or show them again"))
        self._group("Overlays").addRow(self.overlays)
        self.separation = separation_form(self._group("Separate cells"))
        self.separation.throttled.connect(self._renew)

    def _export_part(self) -> None:
        self.export_button.setToolTip(
            "Write the predicted frames to a folder: probability, distance and cells as TIFF, and "
            "for a Cell Tracking Challenge sequence its result folder."
        )
        self.export_button.clicked.connect(self._choose_export)
        self.column.addWidget(self.export_button)
        self.column.addLayout(self.hand_over.copy_row(self.recipe, self.message))

    def showEvent(self, event: QShowEvent) -> None:
        """Load torch once the widget is on the screen, so that the first frame comes sooner."""
        super().showEvent(event)
        QTimer.singleShot(_SHOWN_MS, load_torch_soon)

    # what scripts use

    @property
    def results(self) -> Results | None:
        """The results of the last prediction into layers, or None."""
        return self._arrival.results

    @property
    def layers(self) -> tuple[Any, ...] | None:
        """The layers segmentation, distance and cells, or None before a prediction.

        Distance is left out where the network predicts none, as one that learned from scribbles;
        cells are always last.
        """
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
        self._session.choose_model(Path(path) if str(path) else None)
        self.form.set_facts(resolution_levels, dt_bound)

    def set_scope(self, scope: str) -> None:
        """Choose what to predict: a key of `SCOPES`."""
        self.form.set({"scope": scope})

    def set_folders(self, folder: Path | str, output: Path | str) -> None:
        """Choose the folder of stacks to predict, and where the results go."""
        self.form.set({"scope": "folder", "folder": folder, "output": output})

    def draw_region(self, *_: Any) -> Any:
        """Make ready to drag a rectangle over the part to predict; return its layer, or None."""
        if (image := self.image_combo.layer) is None:
            self.show_error(ValueError("There is no image in the viewer; open one first."))
            return None
        self.form.set({"scope": "region"})
        return draw_region(self._viewer, image)

    def run(self, scope: str | None = None, *, all_frames: bool | None = None) -> None:
        """Predict, as the button does; problems are said in the widget.

        Parameters
        ----------
        scope
            What: a key of `SCOPES`; None takes what is chosen.
        all_frames
            True for scope "all", False for "frame".
        """
        if self.running:
            return
        if all_frames is not None:
            scope = "all" if all_frames else "frame"
        scope = scope or self.form.value("scope")
        try:
            path, facts = self._model()
            sent = self.separation.config.instances if self.separation.touched else None
            job, title, target = self._job(scope, path, facts, sent)
        except ValueError as error:
            self.show_error(error)
            self.finished.emit("failed")
            return
        self._arrival.expect(target, sent)
        self._start(job, title)

    def predict_this_frame(self) -> None:
        """Predict the frame that is shown, as the key does."""
        self.run("frame")

    def toggle_overlays(self) -> bool:
        """Hide all overlays or show them again, as the key does; return whether they are shown."""
        return self.overlays.visibility.toggle()

    def use_as_annotation(self, *_: Any) -> str:
        """Copy the predicted cells of this frame into the annotation; return what is said."""
        try:
            results = self._predicted()
            said = use_as_annotation(
                self._session, results, overwrite=self.hand_over.overwrite.isChecked()
            )
        except ValueError as error:
            self.show_error(error)
            return str(error)
        if not said.startswith(NOTHING):
            self.overlays.visibility.hide_in(results.shown())
        self.message.say(said)
        return said

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

    def recipe(self) -> Any:
        """Return what would be predicted now, from files to files; raises `ValueError`."""
        path, facts = self._model()
        sent = self.separation.config.instances if self.separation.touched else None
        if self.form.value("scope") == "folder":
            raise ValueError(
                "A folder of stacks is predicted by one command a stack; choose another scope and "
                "repeat the command for each of them."
            )
        image, stack = self._image()
        asked = work(self.form.value("scope"), self._session, image, stack)
        return self.hand_over.recipe(path, facts, stack, asked, sent)

    # what the buttons and sliders do

    def _job(
        self, scope: str, path: Path, facts: dict[str, Any], sent: InstanceConfig | None
    ) -> tuple[Any, str, Target | None]:
        if scope == "folder":
            folders = self.form.folders()
            job = predicting_folder(self._shelf, path, facts, *folders, sent)
            return job, f"predicting the stacks in {folders[0]}", None
        image, stack = self._image()
        asked = work(scope, self._session, image, stack)
        job = predicting(self._shelf, path, facts, stack, asked, sent)
        return job, f"predicting {image.name}", (image, stack, asked)

    def _image(self) -> tuple[Any, Stack]:
        layer = self.image_combo.layer
        if layer is None:
            raise ValueError("There is no image in the viewer; open one first.")
        return layer, image_stack(layer)

    def _model(self) -> tuple[Path, dict[str, Any]]:
        path, facts = self._session.model, self.form.facts
        if path is None:
            if self.image_combo.layer is None:
                raise ValueError("There is no image in the viewer; open one first.")
            raise ValueError("There is no model; train one, or choose a run folder or a file.")
        return path, facts

    def _choose_export(self) -> None:
        try:
            results = self._predicted()
        except ValueError as error:
            self.show_error(error)
            return
        project, images = self._session.project, results.stack.path
        start = project.path if project is not None else images.parent if images is not None else ""
        name = QFileDialog.getExistingDirectory(self, "Folder for the results", str(start))
        if name:
            self._arrival.expect(None, first=f"The results are in {name}.")
            self._start(lambda: exporting(results, Path(name)), f"writing results to {name}")

    def _predicted(self) -> Results:
        if self.results is None or not self.results.done:
            raise ValueError("Nothing is predicted yet; press Predict first.")
        return self.results

    def _renew(self) -> None:
        if self.results is not None and self.results.done:
            self._renewal.request(self.results, self.separation.config.instances)

    # what the jobs tell

    def _on_event(self, event: Any) -> None:
        self._arrival.take(event)

    def _progress(self, done: int, count: int, words: str) -> None:
        self.progress.setValue(round(1000 * done / count))
        self.progress.setFormat(words)

    def _on_error(self, error: Exception) -> None:
        missing = getattr(error, "missing", None)
        if missing:
            self.form.ask(tuple(missing), len(getattr(error, "structure", ())))
            error = ValueError(self.form.words.text())
        super()._on_error(error)

    def _on_done(self, value: Any) -> None:
        if isinstance(value, BatchEnd):
            self._arrival.told.end_batch(value.stacks, value.skipped, self.form.value("output"))
        super()._on_done(value)

    def _end(self, outcome: str) -> None:
        if outcome != "failed":
            self.message.say(self._arrival.text(outcome == "stopped"))
            if self.results is not None and not self._brought:  # once: one knows then where it is
                self._brought = True
                self.bring_into_sight(self.hand_over.use_button)
        positions, results = self._arrival.to_renew(), self.results
        if results is not None and positions != []:
            self._renewal.request(results, self.separation.config.instances, positions)
        super()._end(outcome)
