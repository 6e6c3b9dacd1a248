"""The forms of the Train widget: which network, for how long, from what start, to where."""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from typing import Any

from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QStackedWidget,
    QToolButton,
    QWidget,
)

from napari_jnet.config import PRESETS, Config, TargetConfig, TrainingConfig, options, preset
from napari_jnet.plugin.forms import OptionEditor, PathEdit, words
from napari_jnet.plugin.worker import window_threads

__all__ = ["NetworkForm", "RunForm", "new_run_folder"]

SCRATCH, MODEL, RESUME = "from scratch", "from a model", "go on with this run"
_TITLES = {
    "unet": "U-Net",
    "jnet": "J-Net",
    "fcn8": "FCN-8",
    "fcn16": "FCN-16",
    "fcn32": "FCN-32",
}
_MORE: tuple[tuple[type, str, type], ...] = (
    (TargetConfig, "dt_bound", float),
    (TrainingConfig, "learning_rate", float),
    (TrainingConfig, "batch_size", int),
    (TrainingConfig, "patch_size", int),
    (TrainingConfig, "validation_fraction", float),
    (TrainingConfig, "seed", int),
    (TrainingConfig, "device", str),
)
_SECTIONS = {TargetConfig: "targets", TrainingConfig: "training"}


def new_run_folder(name: str) -> Path:
    """Return a run folder that does not exist yet, named after the image and the time."""
    plain = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "image"
    stem = f"{plain}-{datetime.datetime.now():%Y%m%d-%H%M}"
    root = Path.home() / "napari-jnet-runs"
    candidates = [root / stem, *(root / f"{stem}-{n}" for n in range(2, 1000))]
    return next(folder for folder in candidates if not folder.exists())


class NetworkForm:
    """Network, preset, duration and, folded away, the options that seldom change."""

    def __init__(self, form: QFormLayout) -> None:
        self._changes: dict[str, Any] = {}
        self._network = QComboBox()
        for name in dict.fromkeys(preset(name).network.name for name in PRESETS):
            self._network.addItem(_TITLES.get(name, name), name)
        self._network.setToolTip(
            "U-Net: more accurate in most cases. J-Net: nine times fewer weights. FCN: the VGG16 family."
        )
        self._preset = QComboBox()
        self._preset.setToolTip("A set of defaults for this network.")
        self._network.currentIndexChanged.connect(self._list_presets)
        self._list_presets()
        row = QHBoxLayout()
        row.addWidget(self._network)
        row.addWidget(self._preset)
        form.addRow("Network", row)
        form.addRow("Train for", self._duration())
        self._more_form(form)

    def _duration(self) -> QWidget:
        known = options(TrainingConfig)
        self._unit = QComboBox()
        self._unit.addItems(["minutes", "epochs"])
        self._minutes = OptionEditor(known["minutes"], kind=float)
        self._epochs = OptionEditor(known["epochs"], kind=int)
        self._minutes.value, self._epochs.value = 15.0, 20
        self._amount = QStackedWidget()
        self._amount.addWidget(self._minutes)
        self._amount.addWidget(self._epochs)
        self._amount.setMaximumHeight(self._minutes.sizeHint().height())
        self._unit.currentIndexChanged.connect(self._amount.setCurrentIndex)
        widget = QWidget()
        row = QHBoxLayout(widget)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._amount)
        row.addWidget(self._unit)
        return widget

    def _more_form(self, form: QFormLayout) -> None:
        self._more: dict[str, OptionEditor] = {}
        button = QToolButton()
        button.setText("More options…")
        button.setCheckable(True)
        folded = QWidget()
        inner = QFormLayout(folded)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setVerticalSpacing(3)
        for section, name, kind in _MORE:
            editor = OptionEditor(options(section)[name], kind=kind)
            self._more[f"{_SECTIONS[section]}.{name}"] = editor
            inner.addRow("Distance bound" if name == "dt_bound" else words(name), editor)
        folded.setVisible(False)
        button.toggled.connect(folded.setVisible)
        form.addRow(button)
        form.addRow(folded)
        self._show_defaults()

    def _list_presets(self) -> None:
        chosen = self._network.currentData()
        with QSignalBlocker(self._preset):
            self._preset.clear()
            for name in PRESETS:
                if preset(name).network.name == chosen:
                    title = "default" if name == chosen else words(name)
                    self._preset.addItem(title, name)
        if hasattr(self, "_more"):
            self._show_defaults()
        else:
            self._preset.currentIndexChanged.connect(self._show_defaults)

    def _show_defaults(self) -> None:
        if not hasattr(self, "_more") or self._preset.currentData() is None:
            return
        values = preset(self._preset.currentData()).to_dict()
        for name, editor in self._more.items():
            section, key = name.split(".")
            editor.value = values[section][key]

    def set_values(self, values: dict[str, Any]) -> None:
        """Set what is named: network, preset, minutes, epochs, changes."""
        if (name := values.get("preset")) is not None:
            values = {"network": preset(name).network.name, **values}
        if (network := values.get("network")) is not None:
            _choose(self._network, network, "network")
        if name is not None:
            _choose(self._preset, name, "preset")
        for index, key in enumerate(("minutes", "epochs")):
            if values.get(key) is not None:
                (self._minutes, self._epochs)[index].value = values[key]
                self._unit.setCurrentIndex(index)
        if "changes" in values:
            self._changes = dict(values["changes"] or {})

    def config(self) -> Config:
        """Return the checked configuration; raises `ValueError` where a value does not fit."""
        minutes = self._unit.currentText() == "minutes"
        changes = {name: editor.value for name, editor in self._more.items()}
        changes["training.minutes"] = self._minutes.value if minutes else None
        changes["training.epochs"] = None if minutes else self._epochs.value
        changes["training.threads"] = window_threads()
        return preset(self._preset.currentData()).replace({**changes, **self._changes})


class RunForm:
    """Where to start from and where the run goes."""

    def __init__(self, form: QFormLayout) -> None:
        self._suggested = ""
        self._offered: Path | None = None
        self._start = QComboBox()
        self._start.addItems([SCRATCH, MODEL, RESUME])
        self._start.setToolTip(
            "From a model: fine-tune a trained network. Go on: resume a stopped training of the "
            "run folder, exactly where it was."
        )
        self._model = PathEdit(
            "either", caption="A model, or a run", placeholder="run folder or model.pt"
        )
        self._folder = PathEdit("folder", caption="Run folder")
        self._folder.setToolTip("Models, losses and settings are written here.")
        form.addRow("Start", self._start)
        form.addRow("Model", self._model)
        form.addRow("Run folder", self._folder)
        self._form = form
        self._start.currentTextChanged.connect(self._show_model)
        self._show_model()

    def _show_model(self) -> None:
        wanted = self._start.currentText() == MODEL
        self._form.labelForField(self._model).setVisible(wanted)
        self._model.setVisible(wanted)

    def suggest(self, name: str) -> None:
        """Suggest a new run folder, unless the user has typed one."""
        if self._folder.path is None or str(self._folder.path) == self._suggested:
            self._suggested = str(new_run_folder(name))
            self._folder.path = self._suggested

    def offer_model(self, run: Path) -> None:
        """Offer a run as the model to start from, unless the user has typed another."""
        if self._model.path in (None, self._offered):
            self._model.path = self._offered = run

    def set_values(self, values: dict[str, Any]) -> None:
        """Set what is named: run_folder, start_from, resume."""
        if values.get("run_folder") is not None:
            self._folder.path = values["run_folder"]
        if values.get("start_from") is not None:
            self._model.path = values["start_from"]
            self._start.setCurrentText(MODEL)
        if "resume" in values:
            self._start.setCurrentText(RESUME if values["resume"] else SCRATCH)

    @property
    def folder(self) -> Path:
        """The run folder; raises `ValueError` where none is typed."""
        path = self._folder.path
        if path is None:
            raise ValueError("There is no run folder; choose where the model is to be written.")
        return path

    @property
    def resume(self) -> bool:
        """Whether a stopped training goes on."""
        return self._start.currentText() == RESUME

    @property
    def start_from(self) -> Path | None:
        """The model to start from; raises `ValueError` where none is typed."""
        if self._start.currentText() != MODEL:
            return None
        if self._model.path is None:
            raise ValueError("There is no model to start from; choose one, or start from scratch.")
        return self._model.path


def _choose(combo: QComboBox, data: str, what: str) -> None:
    index = combo.findData(data)
    if index < 0:
        known = ", ".join(str(combo.itemData(i)) for i in range(combo.count()))
        raise ValueError(f"There is no {what} {data!r}; known are {known}.")
    combo.setCurrentIndex(index)
