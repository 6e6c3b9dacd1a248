"""What is damaged in the files of one's work, shown until it is seen."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QPushButton, QVBoxLayout

from napari_jnet.plugin.forms import WrappedLabel
from napari_jnet.plugin.session import Lifetime, Session
from napari_jnet.plugin.theme import set_style

__all__ = ["TroubleBanner"]


class TroubleBanner(QFrame):
    """Says what is damaged until the user has seen it; hidden where nothing is."""

    def __init__(self, session: Session, lifetime: Lifetime) -> None:
        super().__init__()
        self._session = session
        self.setFrameShape(QFrame.Shape.StyledPanel)
        set_style(self, "TroubleBanner { border: 1px solid @warning; border-radius: 4px; }")
        self.text = WrappedLabel()
        self.text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.seen_button = QPushButton("I have seen it")
        self.seen_button.setToolTip("Hide this; the files stay as they are.")
        self.seen_button.clicked.connect(self.seen)
        column = QVBoxLayout(self)
        column.addWidget(self.text)
        column.addWidget(self.seen_button)
        lifetime.connect(session.trouble_changed, self._show)
        self._show(session.trouble)

    def seen(self, *_: Any) -> None:
        """Hide it in all widgets, as the button does."""
        self._session.trouble = ""

    def _show(self, words: str) -> None:
        self.text.setText(words)
        self.setVisible(bool(words))
