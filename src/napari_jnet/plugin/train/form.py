"""The form of the Train widget: for how long, which network, and what is learned at which size."""

from __future__ import annotations

from typing import Any

from psygnal import Signal
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QComboBox, QFormLayout, QHBoxLayout, QToolButton, QWidget

from napari_jnet.config import (
    PRESETS,
    Config,
    InstanceConfig,
    NetworkConfig,
    TargetConfig,
    TrainingConfig,
    options,
    preset,
)
from napari_jnet.config.plans import Hardware, plan_changes
from napari_jnet.data.stack import LabelKind
from napari_jnet.plugin.forms import OptionEditor, small_label, words
from napari_jnet.plugin.train.advice import Advice, advice_words, size_title
from napari_jnet.plugin.train.duration_form import DurationForm
from napari_jnet.plugin.worker import window_threads

__all__ = ["NetworkForm"]

_TITLES = {
    "unet": "U-Net",
    "jnet": "J-Net",
    "fcn8": "FCN-8",
    "fcn16": "FCN-16",
    "fcn32": "FCN-32",
}
# section of the configuration, its class, field, type, title, what 0 means
_MORE: tuple[tuple[str, type, str, type, str, str], ...] = (
    ("targets", TargetConfig, "dt_bound", float, "Distance bound", ""),
    ("instances", InstanceConfig, "min_size", int, "Smallest object", "automatic"),
    ("network", NetworkConfig, "channels", int, "U-Net channels", ""),
    ("training", TrainingConfig, "learning_rate", float, "Learning rate", ""),
    ("training", TrainingConfig, "batch_size", int, "Batch size", ""),
    ("training", TrainingConfig, "patch_size", int, "Patch size", ""),
    ("training", TrainingConfig, "validation_fraction", float, "For validation", ""),
    ("training", TrainingConfig, "seed", int, "Seed", ""),
    ("training", TrainingConfig, "device", str, "Device", ""),
)
_OF_MODEL = ("network.", "targets.")
_FINE_TUNE_RATE = 0.5  # of the preset's learning rate: the weights are good already


class NetworkForm:
    """Plan, words on what the data decide and, folded away, what seldom changes.

    Parameters
    ----------
    form
        Takes the rows.
    """

    changed = Signal()  # the configuration may be another one
    preset_changed = Signal()  # what the data decide may be, too

    def __init__(self, form: QFormLayout) -> None:
        self._changes: dict[str, Any] = {}
        self._preset_touched = False  # somebody has chosen network or preset
        self._hardware = Hardware(cores=window_threads())
        self._defaults: dict[str, Any] = {}
        self._more: dict[str, OptionEditor] = {}
        self.advice: Advice | None = None
        self.kind = LabelKind.INSTANCES
        self.duration = DurationForm(form, self._hardware)
        self.advice_line = small_label()
        form.addRow(self.advice_line)
        self.more_form = self._folded(form)
        self._network_row()
        self._size_row()
        for section, cls, name, kind, title, zero in _MORE:
            editor = OptionEditor(options(cls)[name], kind=kind, zero=zero)
            self._more[f"{section}.{name}"] = editor
            self.more_form.addRow(title, editor)
            editor.changed.connect(self._tell)
        self._list_presets()
        self.duration.changed.connect(self._plan_changed)

    def _folded(self, form: QFormLayout) -> QFormLayout:
        self.more_button = QToolButton()
        self.more_button.setText("More options…")
        self.more_button.setCheckable(True)
        self.more_button.setToolTip("Network, sizes, learning rate, run folder.")
        folded = QWidget()
        inner = QFormLayout(folded)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setVerticalSpacing(3)
        folded.setVisible(False)
        self.more_button.toggled.connect(folded.setVisible)
        form.addRow(self.more_button)
        form.addRow(folded)
        return inner

    def _network_row(self) -> None:
        self._network = QComboBox()
        for name in dict.fromkeys(preset(name).network.name for name in PRESETS):
            self._network.addItem(_TITLES.get(name, name), name)
        self._network.setToolTip(
            "U-Net (default): more accurate in most cases. J-Net: nine times fewer weights. "
            "FCN: the VGG16 family."
        )
        self._preset = QComboBox()
        self._preset.setToolTip("A set of defaults for this network, such as those of a paper.")
        for combo in (self._network, self._preset):
            combo.activated.connect(self._touch)
        self._network.currentIndexChanged.connect(self._list_presets)
        self._preset.currentIndexChanged.connect(self._preset_chosen)
        row = QHBoxLayout()
        row.addWidget(self._network)
        row.addWidget(self._preset)
        self.more_form.addRow("Network", row)

    def _touch(self, _index: int) -> None:
        self._preset_touched = True

    def _size_row(self) -> None:
        self._size = QComboBox()
        self._size.addItem("automatic", None)
        self._size.setToolTip(
            "At which size the network sees the frame. By default the one at which a cell is about "
            "30 px across; smaller is faster, larger sees finer detail."
        )
        self._size.currentIndexChanged.connect(self._tell)
        self.more_form.addRow("Training resolution", self._size)

    # what is known of the computer and the data

    def set_hardware(self, hardware: Hardware) -> None:
        """Fit the plan to the computer, once it is known."""
        self._hardware = hardware
        self.duration.set_hardware(hardware)
        self._plan_changed()

    def set_advice(self, advice: Advice | None, kind: LabelKind) -> None:
        """Show what the data decide; None where nothing is painted yet."""
        self.advice, self.kind = advice, kind
        chosen = self._size.currentData()
        with QSignalBlocker(self._size):
            self._size.clear()
            automatic = f" ({size_title(advice.levels[-1])})" if advice else ""
            self._size.addItem(f"automatic{automatic}", None)
            for top in advice.choices if advice else ():
                self._size.addItem(size_title(top), top)
            self._size.setCurrentIndex(max(self._size.findData(chosen), 0))
        self._tell()

    def _tell(self, *_: object) -> None:
        self._say_advice()
        self.changed.emit()

    def _say_advice(self) -> None:
        if self.advice is None:
            what = "cells" if self.kind is LabelKind.INSTANCES else "painted areas"
            self.advice_line.setText(f"Sizes come from the {what}, once there are some.")
            return
        text = advice_words(
            self.advice,
            self.kind,
            top=self._size.currentData(),
            bound=self._more["targets.dt_bound"].value,
            min_size=self._more["instances.min_size"].value,
            distance=preset(self.preset_name).network.distance,
        )
        self.advice_line.setText(text)

    # presets and plans

    @property
    def preset_name(self) -> str:
        """Name of the chosen preset."""
        return str(self._preset.currentData())

    @property
    def chosen_preset(self) -> str | None:
        """The same, if somebody has chosen network or preset."""
        return self.preset_name if self._preset_touched else None

    def _list_presets(self, *_: object) -> None:
        chosen = self._network.currentData()
        with QSignalBlocker(self._preset):
            self._preset.clear()
            for name in PRESETS:
                if preset(name).network.name == chosen:
                    title = "default" if name == chosen else words(name)
                    self._preset.addItem(title, name)
        self._preset_chosen()

    def _preset_chosen(self, *_: object) -> None:
        if self._preset.currentData() is None or not self._more:
            return
        self._defaults = {}
        self._plan_changed()
        self.more_form.setRowVisible(
            self._more["network.channels"], self._network.currentData() == "unet"
        )
        self.preset_changed.emit()

    def _plan_changed(self, *_: object) -> None:
        """Set the defaults of preset and plan, except where somebody chose another value."""
        values = preset(self.preset_name).replace(self._plan_values()).to_dict()
        for name, editor in self._more.items():
            section, key = name.split(".")
            if name not in self._defaults or editor.value == self._defaults[name]:
                with QSignalBlocker(editor):
                    editor.value = values[section][key]
            kept = editor.value
            with QSignalBlocker(editor):  # as the editor rounds it
                editor.value = values[section][key]
                self._defaults[name] = editor.value
                editor.value = kept
        self._tell()

    def _plan_values(self) -> dict[str, Any]:
        changes = plan_changes(self.duration.plan, self._hardware, self.preset_name)
        return {name: value for name, value in changes.items() if name != "training.minutes"}

    # the values

    def set_values(self, values: dict[str, Any]) -> None:
        """Set what is named: plan, network, preset, minutes, epochs, channels, changes."""
        if (name := values.get("preset")) is not None:
            values = {"network": preset(name).network.name, **values}
        if (network := values.get("network")) is not None:
            _choose(self._network, network, "network")
        if name is not None:
            _choose(self._preset, name, "preset")
        self._preset_touched |= network is not None
        self.duration.set_values(values)
        if values.get("channels") is not None:
            self._more["network.channels"].value = values["channels"]
        if "changes" in values:
            self._changes = dict(values["changes"] or {})
            self._tell()

    def plain_config(self) -> Config:
        """Return the preset with the changes of scripts, without the sizes that the form shows."""
        return preset(self.preset_name).replace(self._changes)

    def config(self, *, fine_tune: bool = False, resume: bool = False) -> Config:
        """Return the checked configuration; raises `ValueError` where a value does not fit.

        Parameters
        ----------
        fine_tune
            With half the learning rate, unless somebody chose one, and only what somebody chose of the
            network and the targets: they are those of the model.
        resume
            Only what somebody chose: the rest is as the run has it.
        """
        values = {name: editor.value for name, editor in self._more.items()}
        chosen = {name: v for name, v in values.items() if v != self._defaults[name]}
        top = self._size.currentData()
        if top is not None and self.advice is not None:
            chosen["network.resolution_levels"] = self.advice.choices[top]
        chosen |= {"training.threads": window_threads(), **self._changes}
        start = preset(self.preset_name)
        if (fine_tune or resume) and self.chosen_preset is None:
            start = Config()
        if resume:
            budget = self.duration.values() if self.duration.touched else {}
            return start.replace({**budget, **chosen})
        values = {**self._plan_values(), **values}
        if fine_tune:
            values["training.learning_rate"] = start.training.learning_rate * _FINE_TUNE_RATE
            values = {name: v for name, v in values.items() if not name.startswith(_OF_MODEL)}
        return start.replace({**values, **self.duration.values(), **chosen})

    def computer(self) -> Config:
        """Return what is about this computer: threads, and a device that somebody chose."""
        given = self.config(resume=True).given_settings()
        return Config().replace(
            {name: given[name] for name in ("training.threads", "training.device") if name in given}
        )


def _choose(combo: QComboBox, data: str, what: str) -> None:
    index = combo.findData(data)
    if index < 0:
        known = ", ".join(str(combo.itemData(i)) for i in range(combo.count()))
        raise ValueError(f"There is no {what} {data!r}; known are {known}.")
    combo.setCurrentIndex(index)
