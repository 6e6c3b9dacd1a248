"""The form of the Train widget: what is learned from, for how long, and by which network."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from qtpy.QtWidgets import QFormLayout, QToolButton, QWidget

from napari_jnet.budgets import BUDGETS, budget_of, budget_settings, default_budget, describe_budget
from napari_jnet.cli.recipe import train_command
from napari_jnet.config import PRESETS, Config
from napari_jnet.config import preset as make_preset
from napari_jnet.hardware import Hardware
from napari_jnet.plugin.jobs.runner import window_threads
from napari_jnet.plugin.jobs.train import Estimate
from napari_jnet.plugin.layers.read import describe_kind
from napari_jnet.plugin.ui.form import Form
from napari_jnet.plugin.ui.widgets import LayerCombo, small_label
from napari_jnet.plugin.workspace import Lifetime, Workspace

_NETWORKS = {  # titles of presets
    "unet": "U-Net",
    "jnet": "J-Net",
    "unet-paper": "U-Net as published",
    "unet-theano": "U-Net of the Theano tutorial",
    "patches": "U-Net on patches",
    "fcn8": "FCN-8",
    "fcn16": "FCN-16",
    "fcn32": "FCN-32",
    "original": "J-Net as published",
}
_BUDGET = ("budget", "minutes", "epochs")
_AUTOMATIC = "automatic"
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
    """Image and labels, which all widgets share; the time; and, folded away, the rest."""

    def __init__(
        self, data_rows: QFormLayout, rows: QFormLayout, workspace: Workspace, lifetime: Lifetime
    ) -> None:
        super().__init__(data_rows)
        self._workspace, self._frames = workspace, workspace.frames
        self._changes: dict[str, Any] = {}
        self._hardware = Hardware(cores=window_threads())
        self._resolutions: dict[str, tuple[int, ...]] = {}  # title -> levels
        self._add_data(lifetime)
        self.rows = rows
        self._add_budget()
        self.estimate_line = small_label()
        rows.addRow(self.estimate_line)
        self._fold(rows)
        self._add_network()
        for name, title in _OPTIONS.items():
            self.add(name, title, hint="automatic" if name == "instances.min_size" else "")
        self.changed.connect(self._follow)
        self._show_preset()
        self._show_budget()
        self._show_kind()
        self.show_estimate(None)

    def _add_data(self, lifetime: Lifetime) -> None:
        self.image_combo = LayerCombo(self._workspace, "image", lifetime)
        self.labels_combo = LayerCombo(self._workspace, "annotation", lifetime)
        self.image_combo.setToolTip("The image to learn from; the active image is chosen at first.")
        self.labels_combo.setToolTip(
            "The painted labels; frames without any label are not used, unless marked as background."
        )
        self.rows.addRow("Image", self.image_combo)
        self.rows.addRow("Labels", self.labels_combo)
        self.kind_line = small_label()
        self.kind_line.setToolTip("What the labels mean is chosen in Annotate, under Meaning.")
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
        self.more_button.setToolTip("Network, sizes, learning rate.")
        folded = QWidget()
        self.rows = QFormLayout(folded)
        self.rows.setContentsMargins(0, 0, 0, 0)
        self.rows.setVerticalSpacing(3)
        folded.setVisible(False)
        self.more_button.toggled.connect(folded.setVisible)
        rows.addRow(self.more_button)
        rows.addRow(folded)

    def _add_network(self) -> None:
        networks = [(_NETWORKS.get(name, name), name) for name in PRESETS]
        tip = (
            "U-Net (default): more accurate in most cases. J-Net: nine times fewer weights. "
            "FCN: the VGG16 family. As published: with the settings of the paper."
        )
        self.add("network", "Network", value="unet", choices=networks, tooltip=tip)
        tip = (
            "At which size the network sees the frame. By default the one at which a cell is about "
            "30 px across; smaller is faster, larger sees finer detail."
        )
        self.add("resolution", "Training resolution", choices=[_AUTOMATIC], tooltip=tip)

    # what follows from what

    def _follow(self, name: str) -> None:
        if name == "network":
            self._show_preset()
        elif name in _BUDGET:
            self._show_budget()

    def _show_kind(self, _kind: Any = None) -> None:
        self.kind_line.setText(describe_kind(self._frames.kind))

    def _show_preset(self) -> None:
        """Set all options to those of the preset, whatever was chosen before."""
        self.show(self._option_defaults())
        self.set_defaults(self._option_defaults())
        self.set_visible("network.channels", make_preset(self.preset).network.name == "unet")

    def _show_budget(self) -> None:
        for name in ("minutes", "epochs"):
            self.set_visible(name, self.value("budget") == name)
        self.budget_line.setText(describe_budget(self.budget, self._hardware))
        self.set_defaults(self._option_defaults())

    def _option_defaults(self) -> dict[str, Any]:
        config = make_preset(self.preset).replace(self._budget_settings())
        return {name: attrgetter(name)(config) for name in _OPTIONS}

    def _budget_settings(self) -> dict[str, Any]:
        return budget_settings(self.budget, self._hardware, self.preset)

    # what is known of the computer and the data

    def set_hardware(self, hardware: Hardware) -> None:
        """Fit the budget to the computer, once it is known, unless the user has chosen how long."""
        self._hardware = hardware
        if not self.touched.intersection(_BUDGET):
            self.show({"budget": default_budget(hardware)})
        self._show_budget()

    def show_estimate(self, estimate: Estimate | None) -> None:
        """Show what the data suggest; None where nothing is painted yet."""
        nothing = "Sizes come from what is painted, once there is something."
        self.estimate_line.setText(estimate.text if estimate else nothing)
        self._resolutions = estimate.resolutions if estimate else {}
        titles = (_AUTOMATIC, *self._resolutions)
        self.set_choices("resolution", [(title, title) for title in titles])

    # the values

    def set_values(self, changes: dict[str, Any] | None = None, **values: Any) -> None:
        """Fill in the form, as a script does; raises `ValueError` if a value is not one of the choices.

        ``values`` are by the names of the fields: budget, or minutes or epochs in its place, network (a
        preset).  ``changes`` are more of the configuration, as ``{"section.field": value}``.
        """
        if changes is not None:
            self._changes = dict(changes)
        if amount := {"minutes", "epochs"}.intersection(values):
            values = {"budget": min(amount), **values}
        self.set(values)

    @property
    def budget(self) -> str:
        """Name of the budget; for a number of minutes or epochs the longest that is no longer."""
        if self.value("budget") in BUDGETS:
            return str(self.value("budget"))
        minutes = self.value("minutes") if self.value("budget") == "minutes" else 0.0
        return budget_of(minutes)

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
    def preset(self) -> str:
        """Name of the preset of the chosen network."""
        return str(self.value("network"))

    def training_config(self, *, fine_tune: bool = False) -> Config:
        """Return the checked configuration; raises `ValueError` where a value does not fit.

        ``fine_tune`` halves the learning rate, unless the user chose one, and leaves network and targets,
        but for what the user chose, to the model.
        """
        values = {**self._budget_settings(), **{name: self.value(name) for name in _OPTIONS}}
        start = make_preset(self.preset)
        if fine_tune:
            if "network" not in self.touched:
                start = Config()
            values["training.learning_rate"] = start.training.learning_rate * _FINE_TUNE_RATE
            values = {name: v for name, v in values.items() if not name.startswith(_OF_MODEL)}
        chosen = {name: value for name, value in self.chosen().items() if name in _OPTIONS}
        if levels := self._resolutions.get(self.value("resolution")):
            chosen["network.resolution_levels"] = levels
        chosen |= {"training.threads": window_threads(), **self._changes}
        return start.replace({**values, **self._budget(), **chosen})

    def computer(self) -> Config:
        """Return what is about this computer: threads, and a device that the user chose."""
        chosen = {**self.chosen(), "training.threads": window_threads(), **self._changes}
        names = ("training.threads", "training.device")
        return Config().replace({name: chosen[name] for name in names if name in chosen})

    def command(self) -> str:
        """Return the line for a terminal that does what Train would do.

        Raises `ValueError` where the labels are saved in no project yet.
        """
        project = self._workspace.project
        if project is None:
            raise ValueError("The labels are saved in no project yet; paint a cell first.")
        config = self.training_config()
        chosen = {*self.chosen(), *self._changes}
        return train_command(project.path, project.new_run(), config, self.preset, chosen)
