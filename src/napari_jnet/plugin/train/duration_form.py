"""For how long to train: a plan with a name, or any number of minutes or epochs."""

from __future__ import annotations

from typing import Any

from psygnal import Signal
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QComboBox, QFormLayout, QHBoxLayout, QStackedWidget, QWidget

from napari_jnet.config import TrainingConfig, options
from napari_jnet.config.plans import PLANS, Hardware, default_plan, plan_words
from napari_jnet.plugin.forms import OptionEditor, small_label

__all__ = ["DurationForm"]

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
