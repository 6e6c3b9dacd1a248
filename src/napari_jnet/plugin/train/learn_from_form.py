"""What a training learns from: the image, its labels, and what these mean."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QComboBox, QFormLayout

from napari_jnet.data.stack import LabelKind
from napari_jnet.plugin.forms import small_label
from napari_jnet.plugin.layer_combos import LayerCombo
from napari_jnet.plugin.layers import describe_kind
from napari_jnet.plugin.session import Lifetime, Session

__all__ = ["LearnFromForm"]

_KIND_TITLES = {
    LabelKind.INSTANCES: "cells (each its own number)",
    LabelKind.CLASSES: "classes (a class a pixel)",
    LabelKind.SCRIBBLES: "scribbles (sparse)",
}


class LearnFromForm:
    """Image and labels are those that all widgets share; so is the kind."""

    def __init__(self, form: QFormLayout, session: Session, lifetime: Lifetime) -> None:
        self._book = session.book
        self.image_combo = LayerCombo(session, "image", lifetime)
        self.labels_combo = LayerCombo(session, "annotation", lifetime)
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
