"""What a round of training has brought, and the choice between the old model and the new one."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_jnet.events import RoundEnd
from napari_jnet.plugin.forms import WrappedLabel
from napari_jnet.plugin.theme import set_style

__all__ = ["RoundPanel"]

_ROLES = {True: "@success", False: "@warning", None: "@muted"}


class RoundPanel(QWidget):
    """Says how the models compare; its button takes the other one."""

    chosen = Signal(object)  # the path of the model that shall be used

    def __init__(self) -> None:
        super().__init__()
        self._words, self._old, self._new, self._kept = "", Path(), Path(), Path()
        self._text = WrappedLabel()
        self.button = QPushButton()
        self.button.setToolTip("Predict, and the next fine-tuning, use the model that is kept.")
        self.button.clicked.connect(self._swap)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 6, 8, 6)
        column.addWidget(self._text)
        column.addWidget(self.button)
        self.setObjectName("round")
        self.clear()

    @property
    def text(self) -> str:
        """What is said."""
        return self._text.text()

    @property
    def kept(self) -> Path:
        """The model that is used."""
        return self._kept

    def clear(self) -> None:
        """Say nothing."""
        self._text.clear()
        self.setVisible(False)

    def tell(self, words: str) -> None:
        """Say why there is nothing to choose from."""
        self._show(words, None)
        self.button.setVisible(False)

    def offer(self, end: RoundEnd, old: Path, new: Path) -> None:
        """Say how the models compare, which one is used, and offer the other."""
        self._words, self._old, self._new, self._kept = end.words, old, new, end.kept
        self._better = end.better
        self._refresh()

    def _refresh(self) -> None:
        new = self._kept == self._new
        used = "The new model is used." if new else "The old model is kept."
        self._show(f"{self._words} {used}", self._better)
        self.button.setText("Keep the old one" if new else "Use the new one")
        self.button.setVisible(True)

    def _show(self, words: str, better: bool | None) -> None:
        self._text.setText(words)
        set_style(self._text, f"color: {_ROLES[better]};")
        self.setVisible(True)

    def _swap(self) -> None:
        self._kept = self._old if self._kept == self._new else self._new
        self._refresh()
        self.chosen.emit(self._kept)
