"""Where a training starts from, and where its run goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QComboBox, QFormLayout

from napari_jnet.plugin.forms import PathEdit

__all__ = ["RunForm"]

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
