"""The settings of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from psygnal import Signal
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QComboBox, QFormLayout, QHBoxLayout, QStackedWidget, QToolButton, QWidget

from napari_jnet.budgets import PLANS, Hardware, default_plan, plan_changes, plan_words
from napari_jnet.cli.recipe import Recipe
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
from napari_jnet.labels import LabelKind
from napari_jnet.plugin.guidance import Advice, TrainingFacts, advice_words, size_title
from napari_jnet.plugin.jobs.runner import window_threads
from napari_jnet.plugin.jobs.train import gather
from napari_jnet.plugin.layers.read import describe_kind
from napari_jnet.plugin.ui.widgets import LayerCombo, OptionEditor, PathEdit, small_label, words
from napari_jnet.plugin.workspace import Lifetime, Workspace

_OTHER = "other"


class DurationForm:
    """A combo of plans; "another time" shows fields for minutes or epochs."""

    changed = Signal()

    def __init__(self, form: QFormLayout, hardware: Hardware) -> None:
        self._hardware, self._touched = hardware, False
        self._plan = QComboBox()
        for name, plan in PLANS.items():
            self._plan.addItem(plan.title, name)
        self._plan.addItem("another time…", _OTHER)
        self._plan.setToolTip(
            "How long to train. Stop and Pause work at any time; what is learned so far is kept."
        )
        self._amount_row()
        self.words = small_label()
        form.addRow("Train for", self._plan)
        form.addRow("", self._row)
        form.addRow(self.words)
        self._form = form
        self._plan.setCurrentIndex(self._plan.findData(default_plan(hardware)))
        self._plan.activated.connect(self._touch)
        self._plan.currentIndexChanged.connect(self._show)
        self._show()

    def _amount_row(self) -> None:
        known = options(TrainingConfig)
        self._minutes = OptionEditor(known["minutes"], kind=float)
        self._epochs = OptionEditor(known["epochs"], kind=int)
        self._minutes.value, self._epochs.value = 15.0, 20
        self._unit = QComboBox()
        self._unit.addItems(["minutes", "epochs"])
        self._unit.setToolTip("An epoch ends with a look at the validation frames.")
        self._amount = QStackedWidget()
        for editor in (self._minutes, self._epochs):
            self._amount.addWidget(editor)
            editor.changed.connect(self._show)
        self._amount.setMaximumHeight(self._minutes.sizeHint().height())
        self._unit.currentIndexChanged.connect(self._amount.setCurrentIndex)
        self._unit.currentIndexChanged.connect(self._show)
        self._row = QWidget()
        row = QHBoxLayout(self._row)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._amount)
        row.addWidget(self._unit)

    def _touch(self, _index: int) -> None:
        self._touched = True

    def _show(self, *_: object) -> None:
        other = self._plan.currentData() == _OTHER
        self._form.setRowVisible(self._row, other)
        self.words.setText(plan_words(self.plan, self._hardware))
        self.changed.emit()

    def set_hardware(self, hardware: Hardware) -> None:
        """Propose the plan that suits the computer, unless one is chosen."""
        self._hardware = hardware
        if not self._touched:
            with QSignalBlocker(self._plan):
                self._plan.setCurrentIndex(self._plan.findData(default_plan(hardware)))
        self._show()

    def set_values(self, values: dict[str, Any]) -> None:
        """Set what is named: plan, minutes, epochs; raises `ValueError` for an unknown plan."""
        given = [key for key in ("plan", "minutes", "epochs") if values.get(key) is not None]
        for key in given:
            self._touched = True
            if key == "plan":
                index = self._plan.findData(values["plan"])
                if index < 0:
                    raise ValueError(
                        f"There is no plan {values['plan']!r}; known are {', '.join(PLANS)}."
                    )
                self._plan.setCurrentIndex(index)
                continue
            (self._minutes if key == "minutes" else self._epochs).value = values[key]
            self._unit.setCurrentText(key)
            self._plan.setCurrentIndex(self._plan.findData(_OTHER))

    @property
    def touched(self) -> bool:
        """Whether somebody has chosen how long."""
        return self._touched

    @property
    def plan(self) -> str:
        """Name of the plan; for another time the longest that is no longer."""
        if self._plan.currentData() != _OTHER:
            return str(self._plan.currentData())
        minutes = self._minutes.value if self._unit.currentText() == "minutes" else 0.0
        fitting = [name for name, plan in PLANS.items() if plan.minutes <= minutes]
        return fitting[-1] if fitting else next(iter(PLANS))

    def values(self) -> dict[str, Any]:
        """Return minutes and epochs, one of them None, for the configuration."""
        if self._plan.currentData() != _OTHER:
            return {
                "training.minutes": PLANS[self._plan.currentData()].minutes,
                "training.epochs": None,
            }
        minutes = self._unit.currentText() == "minutes"
        return {
            "training.minutes": self._minutes.value if minutes else None,
            "training.epochs": None if minutes else self._epochs.value,
        }


SCRATCH, MODEL, RESUME = "from scratch", "from a model", "go on with this run"


class RunForm:
    """Where to start from and where the run goes: for those who want it otherwise than suggested."""

    def __init__(self, form: QFormLayout) -> None:
        self._offered: Path | None = None
        self._start = QComboBox()
        self._start.addItems([SCRATCH, MODEL, RESUME])
        self._start.setToolTip(
            "What Train begins with (default: from scratch). From a model: fine-tune any trained "
            "network. Go on: resume a stopped training of the run folder, exactly where it was."
        )
        self._model = PathEdit(
            "either", caption="A model, or a run", placeholder="run folder or model.pt"
        )
        self._folder = PathEdit("folder", caption="Run folder", placeholder="in the project")
        self._folder.setToolTip(
            "Models, losses and settings are written here. Left empty: into the project's folder."
        )
        form.addRow("Start", self._start)
        form.addRow("Model", self._model)
        form.addRow("Run folder", self._folder)
        self._form = form
        self._start.currentTextChanged.connect(self._show_model)
        self._show_model()

    @property
    def changed(self) -> Any:
        """Qt's signal that the run folder is another one."""
        return self._folder.changed

    def _show_model(self) -> None:
        wanted = self._start.currentText() == MODEL
        self._form.labelForField(self._model).setVisible(wanted)
        self._model.setVisible(wanted)

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

    def forget_folder(self) -> None:
        """Let go of the run folder that somebody typed."""
        self._folder.path = None

    @property
    def folder(self) -> Path | None:
        """The run folder; None leaves it to the project."""
        return self._folder.path

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


_KIND_TITLES = {
    LabelKind.INSTANCES: "cells (each its own number)",
    LabelKind.CLASSES: "classes (a class a pixel)",
    LabelKind.SCRIBBLES: "scribbles (sparse)",
}


class LearnFromForm:
    """Image and labels are those that all widgets share; so is the kind."""

    def __init__(self, form: QFormLayout, workspace: Workspace, lifetime: Lifetime) -> None:
        self._book = workspace.book
        self.image_combo = LayerCombo(workspace, "image", lifetime)
        self.labels_combo = LayerCombo(workspace, "annotation", lifetime)
        self.image_combo.setToolTip("The image to learn from; the active image is chosen at first.")
        self.labels_combo.setToolTip(
            "The painted labels; frames without any label are not used, unless marked as background."
        )
        self.kind_combo = QComboBox()
        for kind, title in _KIND_TITLES.items():
            self.kind_combo.addItem(title, kind)
        self.kind_combo.setToolTip("What the numbers of the labels mean.")
        self.kind_line = small_label()
        form.addRow("Image", self.image_combo)
        form.addRow("Labels", self.labels_combo)
        form.addRow("Labels are", self.kind_combo)
        form.addRow(self.kind_line)
        self.kind_combo.currentIndexChanged.connect(self._describe)
        self.kind_combo.activated.connect(self._chosen)
        lifetime.connect(self._book.kind_changed, self._show)
        self.labels_combo.layer_changed.connect(self._show)
        self._show()
        self._describe()

    def set_kind(self, kind: LabelKind | str) -> None:
        """Say what the labels mean; raises `ValueError` if there is no such kind."""
        self.kind_combo.setCurrentIndex(list(_KIND_TITLES).index(LabelKind(kind)))
        self._chosen()

    def _chosen(self, _index: int = 0) -> None:
        if self._book.layer is not None:
            self._book.set_kind(self.kind_combo.currentData())

    def _show(self, _kind: Any = None) -> None:
        self.kind_combo.setCurrentIndex(list(_KIND_TITLES).index(self._book.kind))

    def _describe(self, _index: int = 0) -> None:
        self.kind_line.setText(describe_kind(self.kind_combo.currentData()))


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


class TrainForms:
    """Fills the rows of two groups.

    Attributes
    ----------
    learn_from, network, run
        The forms.
    """

    def __init__(
        self, data_rows: QFormLayout, rows: QFormLayout, workspace: Workspace, lifetime: Lifetime
    ) -> None:
        self._workspace = workspace
        self.update_frames = LearnFromForm(data_rows, workspace, lifetime)
        self.network = NetworkForm(rows)
        self.run = RunForm(self.network.more_form)

    def set_values(
        self,
        *,
        plan: str | None = None,
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
        plan
            Name of a plan, as in `napari_jnet.config.plans.PLANS`.
        network, preset
            Names, as in `napari_jnet.config.PRESETS`.
        minutes, epochs
            One of them ends the training, in place of the plan.
        run_folder
            Where the model goes, in place of the project.
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
            If a plan, a network, a preset or a kind is not known.
        """
        values: dict[str, Any] = {"plan": plan, "network": network, "preset": preset}
        values |= {"minutes": minutes, "epochs": epochs}
        if changes is not None:
            values["changes"] = changes
        self.network.set_values(values)
        run = {"run_folder": run_folder, "start_from": start_from}
        self.run.set_values(run if resume is None else {**run, "resume": resume})
        if kind is not None:
            self.update_frames.set_kind(kind)

    def start_from(self, *, fine_tune: bool) -> Path | None:
        """Return the model to begin with: that of the session, or the one in the form.

        Raises
        ------
        ValueError
            If there is no model to fine-tune, or it cannot learn from these labels.
        """
        if not fine_tune:
            return self.run.start_from
        if why_not := self._workspace.fine_tuning.why_not:
            raise ValueError(why_not)
        return self._workspace.model

    def asked(self) -> dict[str, Any]:
        """Return what somebody has chosen of the network and the targets, as ``section.field``."""
        try:
            given = self.network.config(fine_tune=True).given_settings()
        except ValueError:  # said when training is asked for
            return {}
        return {k: v for k, v in given.items() if k.startswith(("network.", "targets."))}

    def facts(self, hardware: Hardware) -> TrainingFacts:
        """Return what is known of the training that the forms ask for."""
        try:
            config = self.network.config()
        except ValueError:  # said when training is asked for
            config = None
        return gather(self._workspace, config, hardware, self.run.folder, resume=self.run.resume)

    def recipe(self, *, fine_tune: bool) -> Recipe:
        """Return the training that the forms ask for, for a command or a script.

        Raises
        ------
        ValueError
            If there is no project that the labels are saved in, or no model to fine-tune.
        """
        project = self._workspace.project
        if project is None:
            raise ValueError("The labels are saved in no project yet; paint a cell first.")
        start_from = self.start_from(fine_tune=fine_tune)
        resume = self.run.resume and not fine_tune
        return Recipe(
            project=project.path,
            run=self.run.folder or project.new_run(),
            preset=self.network.chosen_preset if resume or start_from else self.network.preset_name,
            config=self.network.config(fine_tune=start_from is not None, resume=resume),
            start_from=start_from,
            resume=resume,
        )
