"""The form of the Train widget: what is learned from, for how long, by which network, and where to."""

from __future__ import annotations

from operator import attrgetter
from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QFormLayout, QToolButton, QWidget

from napari_jnet.budgets import BUDGETS, Hardware, budget_settings, default_budget, describe_budget
from napari_jnet.cli.recipe import train_command
from napari_jnet.config import PRESETS, Config
from napari_jnet.config import preset as make_preset
from napari_jnet.labels import LabelKind
from napari_jnet.plugin.guidance import TrainingFacts, training_facts
from napari_jnet.plugin.jobs.runner import window_threads
from napari_jnet.plugin.jobs.train import EstimatedSettings, size_title, words
from napari_jnet.plugin.layers.read import describe_kind
from napari_jnet.plugin.ui.form import EITHER, FOLDER, Form, PathEdit
from napari_jnet.plugin.ui.widgets import LayerCombo, small_label
from napari_jnet.plugin.workspace import Lifetime, Workspace

_KINDS = [
    ("cells (each its own number)", LabelKind.INSTANCES.value),
    ("classes (a class a pixel)", LabelKind.CLASSES.value),
    ("scribbles (sparse)", LabelKind.SCRIBBLES.value),
]
_TITLES = {
    "unet": "U-Net",
    "jnet": "J-Net",
    "fcn8": "FCN-8",
    "fcn16": "FCN-16",
    "fcn32": "FCN-32",
}
_BUDGET = ("budget", "minutes", "epochs")
_AUTOMATIC = "auto"
_SCRATCH, _MODEL, _RESUME = "scratch", "model", "resume"
_OPTIONS = {
    "targets.dt_bound": "Truncation distance",
    "instances.min_size": "Smallest object",
    "network.channels": "U-Net channels",
    "training.learning_rate": "Learning rate",
    "training.batch_size": "Batch size",
    "training.patch_size": "Patch size",
    "training.validation_fraction": "For validation",
    "training.seed": "Seed",
    "training.device": "Device",
}
_OF_MODEL = ("network.", "targets.")
_FINE_TUNE_RATE = 0.5  # of the preset's learning rate: the weights are good already


class TrainForm(Form):
    """Image, labels and their kind, which all widgets share; the time; and, folded away, the rest.

    Parameters
    ----------
    data_rows, rows
        Get the rows of the data, and those of the training.
    workspace
        Of the viewer.
    lifetime
        Ends the listening.

    Attributes
    ----------
    estimate
        What the data suggest, or None.
    """

    def __init__(
        self, data_rows: QFormLayout, rows: QFormLayout, workspace: Workspace, lifetime: Lifetime
    ) -> None:
        super().__init__(data_rows)
        self._workspace, self._frames = workspace, workspace.frames
        self._changes: dict[str, Any] = {}
        self._hardware = Hardware(cores=window_threads())
        self.estimate: EstimatedSettings | None = None
        self._estimated_kind = LabelKind.INSTANCES
        self._add_data(lifetime)
        self.rows = rows
        self._add_budget()
        self.estimate_line = small_label()
        rows.addRow(self.estimate_line)
        self._fold(rows)
        self._add_network()
        for name, title in _OPTIONS.items():
            self.add(name, title, hint="automatic" if name == "instances.min_size" else "")
        self._add_run()
        self.changed.connect(self._follow)
        self._list_presets()
        self._show_budget()
        self._show_kind()

    def _add_data(self, lifetime: Lifetime) -> None:
        self.image_combo = LayerCombo(self._workspace, "image", lifetime)
        self.labels_combo = LayerCombo(self._workspace, "annotation", lifetime)
        self.image_combo.setToolTip("The image to learn from; the active image is chosen at first.")
        self.labels_combo.setToolTip(
            "The painted labels; frames without any label are not used, unless marked as background."
        )
        self.rows.addRow("Image", self.image_combo)
        self.rows.addRow("Labels", self.labels_combo)
        tip = "What the numbers of the labels mean."
        self.add("kind", "Labels are", value=_KINDS[0][1], choices=_KINDS, tooltip=tip)
        self.kind_line = small_label()
        self.rows.addRow(self.kind_line)
        lifetime.connect(self._frames.kind_changed, self._show_kind)
        self.labels_combo.layer_changed.connect(self._show_kind)

    def _add_budget(self) -> None:
        times = [(budget.title, name) for name, budget in BUDGETS.items()]
        times += [("a number of minutes…", "minutes"), ("a number of epochs…", "epochs")]
        tip = "How long to train. Stop and Pause work at any time; what is learned so far is kept."
        self.add(
            "budget", "Train for", value=default_budget(self._hardware), choices=times, tooltip=tip
        )
        self.add("minutes", "Minutes", value=15.0, min=0.01, max=10**7)
        tip = "An epoch ends with a look at the validation frames."
        self.add("epochs", "Epochs", value=20, min=1, max=10**9, tooltip=tip)
        self.budget_line = small_label()
        self.rows.addRow(self.budget_line)

    def _fold(self, rows: QFormLayout) -> None:
        self.more_button = QToolButton()
        self.more_button.setText("More options…")
        self.more_button.setCheckable(True)
        self.more_button.setToolTip("Network, sizes, learning rate, run folder.")
        folded = QWidget()
        self.rows = QFormLayout(folded)
        self.rows.setContentsMargins(0, 0, 0, 0)
        self.rows.setVerticalSpacing(3)
        folded.setVisible(False)
        self.more_button.toggled.connect(folded.setVisible)
        rows.addRow(self.more_button)
        rows.addRow(folded)

    def _add_network(self) -> None:
        names = dict.fromkeys(make_preset(name).network.name for name in PRESETS)
        networks = [(_TITLES.get(name, name), name) for name in names]
        tip = (
            "U-Net (default): more accurate in most cases. J-Net: nine times fewer weights. "
            "FCN: the VGG16 family."
        )
        self.add("network", "Network", value="unet", choices=networks, tooltip=tip)
        tip = "A set of defaults for this network, such as those of a paper."
        self.add("preset", "Preset", value="unet", choices=[("default", "unet")], tooltip=tip)
        tip = (
            "At which size the network sees the frame. By default the one at which a cell is about "
            "30 px across; smaller is faster, larger sees finer detail."
        )
        sizes = [("automatic", _AUTOMATIC)]
        self.add("resolution", "Training resolution", value=_AUTOMATIC, choices=sizes, tooltip=tip)

    def _add_run(self) -> None:
        starts = [
            ("from scratch", _SCRATCH),
            ("from a model", _MODEL),
            ("resume this run", _RESUME),
        ]
        tip = (
            "What Train begins with (default: from scratch). From a model: fine-tune any trained "
            "network. Resume: continue a stopped training of the run folder, exactly where it was."
        )
        self.add("start", "Start", value=_SCRATCH, choices=starts, tooltip=tip)
        hint = "run folder or model.pt"
        self.add("model", "Model", widget_type=PathEdit, mode=EITHER, placeholder=hint)
        tip = "Models, losses and settings are written here. Left empty: into the project's folder."
        self.add("folder", "Run folder", widget_type=PathEdit, mode=FOLDER, tooltip=tip)
        self["folder"].line_edit.native.setPlaceholderText("in the project")
        self.set_visible("model", False)

    # what follows from what

    def _follow(self, name: str) -> None:
        if name == "kind" and self._frames.layer is not None:
            self._frames.set_kind(LabelKind(self.value("kind")))
        elif name == "network":
            self._list_presets()
        elif name == "preset":
            self._show_preset()
        elif name in _BUDGET:
            self._show_budget()
        self.kind_line.setText(describe_kind(LabelKind(self.value("kind"))))
        self.set_visible("model", self.value("start") == _MODEL)
        self._show_estimate()

    def _show_kind(self, _kind: Any = None) -> None:
        self.show({"kind": self._frames.kind.value})
        self.kind_line.setText(describe_kind(self._frames.kind))

    def _list_presets(self) -> None:
        network = self.value("network")
        self.set_choices(
            "preset",
            [
                ("default" if name == network else words(name), name)
                for name in PRESETS
                if make_preset(name).network.name == network
            ],
        )
        self._show_preset()

    def _show_preset(self) -> None:
        """Set all options to those of the preset, whatever was chosen before."""
        self.show(self._option_defaults())
        self.set_defaults(self._option_defaults())
        self.set_visible("network.channels", self.value("network") == "unet")
        self._show_estimate()

    def _show_budget(self) -> None:
        for name in ("minutes", "epochs"):
            self.set_visible(name, self.value("budget") == name)
        self.budget_line.setText(describe_budget(self.budget, self._hardware))
        self.set_defaults(self._option_defaults())

    def _option_defaults(self) -> dict[str, Any]:
        config = make_preset(self.preset_name).replace(self._plan_values())
        return {name: attrgetter(name)(config) for name in _OPTIONS}

    def _plan_values(self) -> dict[str, Any]:
        changes = budget_settings(self.budget, self._hardware, self.preset_name)
        return {name: value for name, value in changes.items() if name != "training.minutes"}

    def _show_estimate(self) -> None:
        if self.estimate is None:
            what = "cells" if self._estimated_kind is LabelKind.INSTANCES else "painted areas"
            self.estimate_line.setText(f"Sizes come from the {what}, once there are some.")
            return
        try:
            chosen = self.config
        except ValueError:  # shown below the field
            return
        top = self.value("resolution")
        text = self.estimate.describe(
            self._estimated_kind,
            top=None if top == _AUTOMATIC else top,
            bound=chosen.targets.dt_bound,
            min_size=chosen.instances.min_size,
            distance=make_preset(self.preset_name).network.distance,
        )
        self.estimate_line.setText(text)

    # what is known of the computer and the data

    def set_hardware(self, hardware: Hardware) -> None:
        """Fit the budget to the computer, once it is known, unless the user has chosen how long."""
        self._hardware = hardware
        if not self.touched.intersection(_BUDGET):
            self.show({"budget": default_budget(hardware)})
        self._show_budget()
        self.changed.emit("budget")

    def set_estimate(self, estimate: EstimatedSettings | None, kind: LabelKind) -> None:
        """Show what the data suggest; None where nothing is painted yet."""
        self.estimate, self._estimated_kind = estimate, kind
        automatic = f"auto ({size_title(estimate.levels[-1])})" if estimate else "automatic"
        tops = [(size_title(top), top) for top in estimate.choices] if estimate else []
        self.set_choices("resolution", [(automatic, _AUTOMATIC), *tops])
        self.changed.emit("resolution")

    def offer_model(self, run: Path) -> None:
        """Offer a run as the model to start from, unless the user has typed another."""
        if "model" not in self.touched:
            self.show({"model": run})

    # the values

    def set_values(self, changes: dict[str, Any] | None = None, **values: Any) -> None:
        """Fill in the form, as a script does.

        Parameters
        ----------
        changes
            More of the configuration, as ``{"section.field": value}``.
        **values
            By the names of the fields: budget, or minutes or epochs in its place, network, preset,
            kind, start ("scratch", "model" or "resume"), model (to start from), folder (of the run).

        Raises
        ------
        ValueError
            If a value is not one of the choices.
        """
        if changes is not None:
            self._changes = dict(changes)
        follows = {}
        if amount := {"minutes", "epochs"}.intersection(values):
            follows["budget"] = min(amount)
        if "preset" in values:
            follows["network"] = make_preset(values["preset"]).network.name
        if "model" in values:
            follows["start"] = _MODEL
        self.set({**follows, **values})

    @property
    def budget(self) -> str:
        """Name of the budget; for a number of minutes or epochs the longest that is no longer."""
        if self.value("budget") in BUDGETS:
            return str(self.value("budget"))
        minutes = self.value("minutes") if self.value("budget") == "minutes" else 0.0
        fitting = [name for name, budget in BUDGETS.items() if budget.minutes <= minutes]
        return fitting[-1] if fitting else next(iter(BUDGETS))

    def _budget(self) -> dict[str, Any]:
        """Return minutes and epochs, one of them None."""
        chosen = self.value("budget")
        minutes = BUDGETS[chosen].minutes if chosen in BUDGETS else self.value("minutes")
        by_epoch = chosen == "epochs"
        return {
            "training.minutes": None if by_epoch else minutes,
            "training.epochs": self.value("epochs") if by_epoch else None,
        }

    @property
    def preset_name(self) -> str:
        """Name of the chosen preset."""
        return str(self.value("preset"))

    @property
    def chosen_preset(self) -> str | None:
        """The same, if the user has chosen network or preset."""
        return self.preset_name if self.touched & {"network", "preset"} else None

    @property
    def resume(self) -> bool:
        """Whether a stopped training goes on."""
        return bool(self.value("start") == _RESUME)

    def plain_config(self) -> Config:
        """Return the preset with the changes of scripts, without the sizes that the form shows."""
        return make_preset(self.preset_name).replace(self._changes)

    def training_config(self, *, fine_tune: bool = False, resume: bool = False) -> Config:
        """Return the checked configuration; raises `ValueError` where a value does not fit.

        Parameters
        ----------
        fine_tune
            With half the learning rate, unless the user chose one, and only what the user chose of the
            network and the targets: they are those of the model.
        resume
            Only what the user chose: the rest is as the run has it.
        """
        values = {name: self.value(name) for name in _OPTIONS}
        chosen = {name: value for name, value in self.chosen().items() if name in _OPTIONS}
        top = self.value("resolution")
        if top != _AUTOMATIC and self.estimate is not None:
            chosen["network.resolution_levels"] = self.estimate.choices[top]
        chosen |= {"training.threads": window_threads(), **self._changes}
        start = make_preset(self.preset_name)
        if (fine_tune or resume) and self.chosen_preset is None:
            start = Config()
        if resume:
            budget = self._budget() if self.touched.intersection(_BUDGET) else {}
            return start.replace({**budget, **chosen})
        values = {**self._plan_values(), **values}
        if fine_tune:
            values["training.learning_rate"] = start.training.learning_rate * _FINE_TUNE_RATE
            values = {name: v for name, v in values.items() if not name.startswith(_OF_MODEL)}
        return start.replace({**values, **self._budget(), **chosen})

    def computer(self) -> Config:
        """Return what is about this computer: threads, and a device that the user chose."""
        given = self.training_config(resume=True).given_settings()
        return Config().replace(
            {name: given[name] for name in ("training.threads", "training.device") if name in given}
        )

    # what is asked for

    def start_from(self, *, fine_tune: bool) -> Path | None:
        """Return the model to begin with: that of the workspace, or the one in the form.

        Raises
        ------
        ValueError
            If there is no model to fine-tune, or it cannot learn from these labels.
        """
        if fine_tune:
            if why_not := self._workspace.fine_tuning.why_not:
                raise ValueError(why_not)
            return self._workspace.model
        if self.value("start") != _MODEL:
            return None
        if self.value("model") is None:
            raise ValueError("There is no model to start from; choose one, or start from scratch.")
        return Path(self.value("model"))

    def network_settings(self) -> dict[str, Any]:
        """Return what the user has chosen of the network and the targets, as ``section.field``."""
        try:
            given = self.training_config(fine_tune=True).given_settings()
        except ValueError:  # shown when training is requested
            return {}
        return {name: value for name, value in given.items() if name.startswith(_OF_MODEL)}

    def facts(self) -> TrainingFacts:
        """Return what is known of the training that the form asks for."""
        try:
            config = self.training_config()
        except ValueError:  # shown when training is requested
            config = None
        folder = self.value("folder")
        return training_facts(self._workspace, config, self._hardware, folder, resume=self.resume)

    def command(self, *, fine_tune: bool) -> str:
        """Return the training that the form asks for as a command; see `TrainWidget.command`."""
        project = self._workspace.project
        if project is None:
            raise ValueError("The labels are saved in no project yet; paint a cell first.")
        start_from = self.start_from(fine_tune=fine_tune)
        config = self.training_config(fine_tune=start_from is not None)
        name = self.chosen_preset if start_from else self.preset_name
        return train_command(project.path, project.new_run(), config, name, start_from)
