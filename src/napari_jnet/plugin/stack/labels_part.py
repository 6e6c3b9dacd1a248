"""What the labels beside a stack mean: as they tell, or as somebody says where they do not."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QWidget

from napari_jnet.data.stack import LabelKind, LabelsUnsure, Stack
from napari_jnet.plugin.forms import small_label

__all__ = ["LabelsPart"]

_KINDS = {
    LabelKind.INSTANCES: "cells: each number is one cell",
    LabelKind.CLASSES: "classes: each number is a class",
    LabelKind.SCRIBBLES: "scribbles: 0 is not labelled",
}
_UNLABELLED: dict[str | None, str] = {
    "background": "background: frames are complete",
    "unknown": "unknown: only some is labelled",
}


class LabelsPart(QWidget):
    """Three choices about the labels on disk, and a question where one is needed."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        self.question = small_label()
        self.question.setStyleSheet("font-weight: bold;")
        form.addRow(self.question)
        self.truth_combo = self._combo("Of several label files, the one that is meant.")
        self.kind_combo = self._combo("What the numbers of the labels mean.")
        self.unlabelled_combo = self._combo("What pixels without a label are.")
        self._rows = {
            "truth": ("Label file", self.truth_combo),
            "kind": ("Labels are", self.kind_combo),
            "unlabelled": ("Not labelled", self.unlabelled_combo),
        }
        for title, combo in self._rows.values():
            form.addRow(title, combo)
        self._form = form
        self.forget()

    def _combo(self, tip: str) -> QComboBox:
        combo = QComboBox()
        combo.setToolTip(tip)
        combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        combo.setMinimumContentsLength(12)
        combo.activated.connect(lambda _index: self.changed.emit())
        return combo

    @property
    def said(self) -> dict[str, Any]:
        """What was chosen, as `open_stack` takes it; None where the labels decide."""
        return {name: combo.currentData() for name, (_, combo) in self._rows.items()}

    def choose(self, name: str, value: str | None) -> None:
        """Choose a value, as the combo box does; raises `ValueError` for one that is not offered."""
        combo = self._rows[name][1]
        place = combo.findData(value)
        if place < 0:
            known = [combo.itemData(k) for k in range(combo.count())]
            raise ValueError(f"{value!r} is not a choice for {name}; choose one of {known}.")
        combo.setCurrentIndex(place)
        self.changed.emit()

    def forget(self) -> None:
        """Offer nothing: the path is new."""
        as_found = "as the labels tell"
        self._fill("truth", {None: "choose one"})
        self._fill("kind", {None: as_found, **{k.value: title for k, title in _KINDS.items()}})
        self._fill("unlabelled", {None: as_found, **_UNLABELLED})
        self.question.hide()
        self.hide()

    def show_stack(self, stack: Stack, unsure: LabelsUnsure | None) -> None:
        """Offer what can be said of the labels of a stack, and ask what has to be said.

        Parameters
        ----------
        stack
            As it was opened, with what is chosen here.
        unsure
            Why its labels cannot be used before somebody says more.
        """
        if unsure is not None and unsure.parameter == "truth":
            self._fill("truth", {None: "choose one", **{name: name for name in unsure.choices}})
        fixed = any(found.decide is None for found in stack.annotations.values())
        self._show_row("truth", self.truth_combo.count() > 1)
        for name in ("kind", "unlabelled"):
            self._show_row(name, not fixed and stack.format != ("ctc" if name == "kind" else ""))
        self.question.setText("" if unsure is None else f"{unsure.fact} Choose below.")
        self.question.setVisible(unsure is not None)
        self.setVisible(bool(stack.annotations))

    def _fill(self, name: str, items: dict[str | None, str]) -> None:
        combo = self._rows[name][1]
        with QSignalBlocker(combo):
            combo.clear()
            for value, title in items.items():
                combo.addItem(title, value)

    def _show_row(self, name: str, shown: bool) -> None:
        combo = self._rows[name][1]
        label = self._form.labelForField(combo)
        for widget in (combo, label):
            if widget is not None:
                widget.setVisible(shown)
