"""The dock widget that trains a network on the painted labels of an image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QComboBox, QPushButton

from napari_jnet.data.stack import LabelKind
from napari_jnet.events import (
    BatchEnd,
    EpochEnd,
    Notice,
    TrainingEnd,
    TrainingStart,
)
from napari_jnet.plugin.forms import small_label
from napari_jnet.plugin.job_widget import JobWidget
from napari_jnet.plugin.layer_combos import LayerCombo
from napari_jnet.plugin.layers import describe_kind, kind_of, training_input
from napari_jnet.plugin.loss_plot import LossPlot
from napari_jnet.plugin.preview import PlacedPreview, PreviewLayer, PreviewSource
from napari_jnet.plugin.train_form import NetworkForm, RunForm
from napari_jnet.plugin.train_jobs import look_up_device, time_left, training
from napari_jnet.plugin.worker import Relay

if TYPE_CHECKING:
    import napari

__all__ = ["TrainWidget"]

_KIND_TITLES = {
    LabelKind.INSTANCES: "cells (each its own number)",
    LabelKind.CLASSES: "classes (a class a pixel)",
    LabelKind.SCRIBBLES: "scribbles (sparse)",
}


class TrainWidget(JobWidget):
    """Trains a network in the background; the window stays alive.

    Parameters
    ----------
    napari_viewer
        The viewer whose layers are learned from.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self._device_relay = Relay()
        self._lifetime.at_end(self._device_relay.close)
        self._source: PreviewSource | None = None
        self._preview: PreviewLayer | None = None
        self._run: Path | None = None
        self._notices: list[str] = []
        self._data_group()
        self.network_form = NetworkForm(self._group("Network"))
        self.run_form = RunForm(self._group("Run"))
        self._progress_part()
        self._lifetime.connect(napari_viewer.dims.events.current_step, self._follow_viewer)
        self._labels_changed()
        self._image_changed()

    def _data_group(self) -> None:
        form = self._group("Learn from")
        self.image_combo = LayerCombo(self._session, "image", self._lifetime)
        self.labels_combo = LayerCombo(self._session, "annotation", self._lifetime)
        self.image_combo.setToolTip("The image to learn from; the active image is chosen at first.")
        self.labels_combo.setToolTip("The painted labels; frames without any label are not used.")
        self.kind_combo = QComboBox()
        for kind, title in _KIND_TITLES.items():
            self.kind_combo.addItem(title, kind)
        self.kind_combo.setToolTip("What the numbers of the labels mean.")
        self.kind_line = small_label()
        form.addRow("Image", self.image_combo)
        form.addRow("Labels", self.labels_combo)
        form.addRow("Labels are", self.kind_combo)
        form.addRow(self.kind_line)
        self.kind_combo.currentIndexChanged.connect(self._kind_changed)
        self.labels_combo.layer_changed.connect(self._labels_changed)
        self.image_combo.layer_changed.connect(self._image_changed)
        self._kind_changed()

    def _progress_part(self) -> None:
        self.device_line = small_label("Device: looked up when the widget is shown")
        self.train_button = QPushButton("Train")
        self.train_button.setToolTip("Train in the background; painting and browsing go on.")
        self.train_button.clicked.connect(self.start)
        self.score_line = small_label()
        self.plot = LossPlot()
        self.column.addWidget(self.device_line)
        self.column.addLayout(self._buttons(self.train_button))
        self.column.addWidget(self.progress)
        self.column.addWidget(self.message)
        self.column.addWidget(self.score_line)
        self.column.addWidget(self.plot)
        self.column.addStretch(1)

    # what scripts use

    def set_image(self, layer: Any) -> None:
        """Choose the image layer."""
        self.image_combo.set_layer(layer)

    def set_labels(self, layer: Any) -> None:
        """Choose the labels layer."""
        self.labels_combo.set_layer(layer)

    def set_values(
        self,
        *,
        network: str | None = None,
        preset: str | None = None,
        minutes: float | None = None,
        epochs: int | None = None,
        run_folder: Path | str | None = None,
        start_from: Path | str | None = None,
        resume: bool | None = None,
        kind: LabelKind | str | None = None,
        changes: dict[str, Any] | None = None,
    ) -> None:
        """Fill in the form; what is None stays as it is.

        Parameters
        ----------
        network, preset
            Names, as in `napari_jnet.config.PRESETS`.
        minutes, epochs
            One of them ends the training.
        run_folder
            Where the model goes.
        start_from
            A model to fine-tune.
        resume
            Whether to go on with the run folder.
        kind
            What the labels mean.
        changes
            More of the configuration, as ``{"section.field": value}``.

        Raises
        ------
        ValueError
            If a network, a preset or a kind is not known.
        """
        values: dict[str, Any] = {"network": network, "preset": preset}
        values |= {"minutes": minutes, "epochs": epochs}
        if changes is not None:
            values["changes"] = changes
        self.network_form.set_values(values)
        run = {"run_folder": run_folder, "start_from": start_from}
        self.run_form.set_values(run if resume is None else {**run, "resume": resume})
        if kind is not None:
            self.kind_combo.setCurrentIndex(list(_KIND_TITLES).index(LabelKind(kind)))

    def start(self, *_: Any) -> None:
        """Start training, as the button does; problems are said in the widget."""
        if self.running:
            return
        try:
            image, labels = self._chosen_layers()
            if not self.run_form.resume:
                self.run_form.suggest(image.name)
            data = training_input(image, labels, self.kind_combo.currentData())
            config = self.network_form.config()
            run, resume = self.run_form.folder, self.run_form.resume
            start_from = self.run_form.start_from
        except (ValueError, OSError) as error:
            self.show_error(error)
            self.finished.emit("failed")
            return
        self._run, self._notices = run, []
        self._preview = PreviewLayer(self._viewer, image, self._preview)
        self._source = PreviewSource(image, ())
        self._preview.follow(self._source)
        if not resume:
            self.plot.clear()
        self.score_line.clear()
        job = training(data, run, config, resume, start_from, self._source)
        self._start(job, f"training on {image.name}")

    def _chosen_layers(self) -> tuple[Any, Any]:
        image, labels = self.image_combo.layer, self.labels_combo.layer
        if image is None:
            raise ValueError("There is no image in the viewer; open one first.")
        if labels is None:
            raise ValueError(
                "There are no labels in the viewer; add a labels layer (the button above the layer "
                "list) and paint some cells."
            )
        return image, labels

    # what changes in the form

    def _kind_changed(self, _index: int = 0) -> None:
        self.kind_line.setText(describe_kind(self.kind_combo.currentData()))

    def _labels_changed(self) -> None:
        layer = self.labels_combo.layer
        kind = None if layer is None else kind_of(layer)
        if kind is not None:
            self.kind_combo.setCurrentIndex(list(_KIND_TITLES).index(kind))

    def _image_changed(self) -> None:
        if self.image_combo.layer is not None:
            self.run_form.suggest(self.image_combo.layer.name)

    def _follow_viewer(self, _event: Any = None) -> None:
        if self.running and self._preview is not None and self._source is not None:
            self._preview.follow(self._source)

    def showEvent(self, event: QShowEvent) -> None:
        """Look the device up once the widget is on the screen: this is the first use of torch."""
        super().showEvent(event)
        if not self.device_line.property("asked"):
            self.device_line.setProperty("asked", True)
            QTimer.singleShot(0, self._ask_device)

    def _ask_device(self) -> None:
        self._device_relay.start(
            look_up_device,
            lambda line: self.device_line.setText(f"Device: {line}"),
            on_error=lambda error: self.device_line.setText(f"Device: unknown ({error})"),
            title="looking for a GPU",
        )

    # what the training tells

    def _on_event(self, event: Any) -> None:
        handlers: dict[type, Callable[[Any], None]] = {
            BatchEnd: self._batch_end,
            EpochEnd: self._epoch_end,
            TrainingStart: self._training_start,
            TrainingEnd: self._training_end,
            PlacedPreview: self._show_preview,
            Notice: self._notice,
        }
        handlers[type(event)](event)

    def _training_start(self, event: TrainingStart) -> None:
        self.device_line.setText(f"Device: {event.device}")
        self._batches = event.batches_per_epoch
        validation = len(event.validation_frames)
        self._frames = (
            f"{len(event.training_frames)} frame(s) to learn from, {validation} kept for validation"
        )
        self.score_line.setText(f"{self._frames}; distance bound {event.dt_bound:g} px")

    def _batch_end(self, event: BatchEnd) -> None:
        self.progress.setValue(round(1000 * event.progress))
        left = time_left(event.remaining_s)
        self.progress.setFormat(f"epoch {event.epoch} · %p % · {left} left")
        self.plot.add("batch", event.epoch - 1 + event.batch / self._batches, event.loss)

    def _epoch_end(self, event: EpochEnd) -> None:
        self.plot.add("training", event.epoch, event.train_loss)
        self.plot.add("validation", event.epoch, event.validation_loss)
        scores = {"IoU": event.iou, "SEG": event.seg}
        said = [f"{name} {score:.3f}" for name, score in scores.items() if score is not None]
        best = " · best so far" if event.best else ""
        of = "on validation" if said else "no validation frame"
        self.score_line.setText(
            f"epoch {event.epoch}: {' · '.join([*said, of])}{best}\n"
            f"{event.images_per_s:.1f} patches/s · {self._frames}"
        )

    def _show_preview(self, event: PlacedPreview) -> None:
        if self._preview is not None:
            self._preview.show(event)

    def _notice(self, event: Notice) -> None:
        self._notices.append(event.text)
        self.message.say("\n".join(self._notices))

    def _training_end(self, event: TrainingEnd) -> None:
        self._notices.append(
            f"Trained {event.epochs} epochs in {time_left(event.elapsed_s)}; the best is epoch "
            f"{event.best_epoch}. Next: open Predict."
        )
        self.message.say("\n".join(self._notices))

    def _end(self, outcome: str) -> None:
        self._source = None
        if outcome == "stopped":
            self._notices.append(
                f"Stopped. The model so far is in {self._run}; it can go on later."
            )
            self.message.say("\n".join(self._notices))
        if self._run is not None and (self._run / "model.pt").is_file():
            self._session.model = self._run
            self.run_form.offer_model(self._run)
        super()._end(outcome)
