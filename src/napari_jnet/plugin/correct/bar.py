"""A row of buttons for the tools that correct cells; part of other widgets."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_jnet.plugin.correct.session_tools import corrections_of
from napari_jnet.plugin.correct.tools import TOOLS
from napari_jnet.plugin.forms import MessageLine
from napari_jnet.plugin.keys import key_table
from napari_jnet.plugin.keys.binding import bind_keys
from napari_jnet.plugin.keys.dialog import KeysDialog
from napari_jnet.plugin.session import Lifetime, Session

__all__ = ["CorrectionBar"]


class _Narrow(QPushButton):
    """As wide as its word, so that six share one row of a dock; wider where there is room."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        width = self.fontMetrics().horizontalAdvance(self.text()) + 12
        return QSize(width, super().sizeHint().height())

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()


class CorrectionBar(QWidget):
    """Delete, merge, split, fill, smooth; with their keys, and a button that lists all keys.

    Parameters
    ----------
    session
        Of the viewer.
    with_message
        Whether to say below the buttons what to do and what was done; `said` tells it in any case.
    """

    said = Signal(str, bool)  # words, and whether they tell of something that could not be done

    def __init__(self, session: Session, *, with_message: bool = True) -> None:
        super().__init__()
        self._session = session
        self.corrections = corrections_of(session)
        self._lifetime = lifetime = Lifetime()
        self.destroyed.connect(lambda *_: lifetime.end())
        self.buttons = {name: self._button(name) for name in TOOLS}
        self.keys_button = _Narrow("Keys…")
        self.keys_button.setToolTip("See all keys, and change them")
        self.keys_button.clicked.connect(self.show_keys)
        self.message = MessageLine()
        self._with_message = with_message
        self._lay_out()
        corrections = self.corrections
        lifetime.at_end(corrections.leave)
        lifetime.connect(corrections.tool_changed, self._show_tool)
        lifetime.connect(corrections.said, self._say)
        lifetime.connect(key_table().changed, self._show_keys)
        bind_keys(session, corrections.actions(), lifetime)
        self._show_keys()
        self._show_tool(corrections.tool)

    def show_keys(self) -> KeysDialog:
        """Open the list of keys and return it."""
        dialog = KeysDialog(self._session, self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.open()
        return dialog

    def _button(self, name: str) -> QPushButton:
        button = _Narrow(TOOLS[name].title)
        button.setCheckable(True)
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # so that Esc stays the canvas'
        button.clicked.connect(partial(self._use, name))
        return button

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(2)
        for button in (*self.buttons.values(), self.keys_button):
            row.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        column.addLayout(row)
        column.addWidget(self.message)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)

    def _use(self, name: str, _checked: bool = False) -> None:
        self.corrections.use(name)
        self._show_tool(self.corrections.tool)

    def _show_tool(self, name: str) -> None:
        for key, button in self.buttons.items():
            button.setChecked(key == name)

    def _say(self, text: str, failed: bool) -> None:
        if self._with_message:
            (self.message.fail if failed else self.message.say)(text)
        self.said.emit(text, failed)

    def _show_keys(self) -> None:
        table = key_table()
        for name, button in self.buttons.items():
            tool, key = TOOLS[name], table[name]
            how = "press it over a cell" if not tool.drag else "press it, then drag"
            words = f"<b>{tool.title}</b>" + (f" – key {key}: {how}" if key else "")
            button.setToolTip(f"{words}<br>{tool.help}<br>{tool.hint}; Esc to leave.")
