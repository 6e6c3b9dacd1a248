"""All keys in one list, each with a field to change it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from napari.settings import get_settings
from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QKeySequenceEdit,
    QLabel,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_jnet.plugin.command import KEYS, key_table, keyboard
from napari_jnet.plugin.ui.widgets import MessageLine, small_label
from napari_jnet.plugin.workspace import Lifetime, Workspace

# What napari's own keys do while one paints, in the order of a working day.
_NAPARI = {
    "activate_labels_paint_mode": "Paint with the brush",
    "new_label": "Next cell: take a number that is free",
    "activate_labels_polygon_mode": "Draw an outline",
    "activate_labels_fill_mode": "Fill an area",
    "activate_labels_erase_mode": "Erase",
    "activate_labels_picker_mode": "Pick the number under the pointer",
    "activate_labels_pan_zoom_mode": "Move the view",
    "decrease_brush_size": "Smaller brush",
    "increase_brush_size": "Larger brush",
    "toggle_preserve_labels": "Paint on background only",
}


class KeysDialog(QDialog):
    """Shows the key of each action; a new one is taken as it is pressed, unless somebody has it.

    Parameters
    ----------
    workspace
        Of the viewer.
    parent
        The widget that asks.
    """

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._lifetime = lifetime = Lifetime()
        self.destroyed.connect(lambda *_: lifetime.end())
        self.setWindowTitle("Keys of napari J-Net")
        self.fields = {name: self._field(name) for name in KEYS}
        self.message = MessageLine()
        buttons = QDialogButtonBox()
        self.reset_button = buttons.addButton(
            "All as at first", QDialogButtonBox.ButtonRole.ResetRole
        )
        self.reset_button.clicked.connect(self.reset)
        close = buttons.addButton(QDialogButtonBox.StandardButton.Close)
        close.clicked.connect(self.accept)
        for button in buttons.buttons():
            button.setAutoDefault(False)  # Enter is a key like others here
        column = QVBoxLayout(self)
        column.addWidget(self._list())
        column.addWidget(self.message)
        column.addWidget(buttons)
        self.resize(400, 620)
        lifetime.connect(key_table().changed, self._show)
        self._show()

    def set_key(self, name: str, key: str) -> bool:
        """Give an action another key, "" for none; False if somebody has it, which is said."""
        try:
            theirs = self._menu_keys().get(key)
            if theirs:
                raise ValueError(f"napari's menu has {key} for “{theirs}”; take another one.")
            key_table().set(name, key)
        except ValueError as error:
            self._show()
            self.message.fail(str(error))
            return False
        what = f"is {key_table()[name]}" if key else "has no key"
        kept = "" if key_table().remembered else " This is forgotten when napari is closed."
        self.message.say(f"“{KEYS[name].title}” {what} now.{kept}")
        return True

    def reset(self) -> None:
        """Give every action its first key again."""
        key_table().reset()
        self.message.say("All keys are as at first.")

    def _field(self, name: str) -> QKeySequenceEdit:
        field = QKeySequenceEdit()
        field.setMaximumSequenceLength(1)
        field.setFixedWidth(110)
        field.setToolTip(
            f"{KEYS[name].help}. First key: {KEYS[name].default}; click and press one."
        )
        # not keySequenceChanged, which says "no key" whenever a new one is about to come
        field.editingFinished.connect(partial(self._changed, name))
        return field

    def _changed(self, name: str) -> None:
        sequence = self.fields[name].keySequence()
        key = sequence.toString(QKeySequence.SequenceFormat.PortableText)
        if key and key != key_table()[name]:
            self.set_key(name, key)

    def _row(self, name: str) -> QHBoxLayout:
        none = QPushButton("×")
        none.setFixedWidth(24)
        none.setAutoDefault(False)
        none.setToolTip("No key")
        none.clicked.connect(lambda: self.set_key(name, ""))
        row = QHBoxLayout()
        row.addWidget(self.fields[name])
        row.addWidget(none)
        return row

    def _show(self) -> None:
        table, keys = key_table(), keyboard(self._workspace)
        for name, field in self.fields.items():
            field.blockSignals(True)
            field.setKeySequence(QKeySequence(table[name]))
            field.blockSignals(False)
            taken = keys.taken(name)
            if taken:
                self.message.fail(
                    f"{table[name]} is the key of {taken} too, so it does not act for "
                    f"“{KEYS[name].title}”; change one of them."
                )

    def _list(self) -> QScrollArea:
        content = QWidget()
        column = QVBoxLayout(content)
        for group in dict.fromkeys(action.group for action in KEYS.values()):
            form = _form(group, column)
            for name, action in KEYS.items():
                if action.group == group:
                    form.addRow(action.title, self._row(name))
        form = _form("napari's own, while painting", column)
        theirs = get_settings().shortcuts.shortcuts
        for name, words in _NAPARI.items():
            keys = theirs.get(f"napari:{name}")  # None where another napari calls it otherwise
            if keys is not None:
                form.addRow(words, QLabel(" or ".join(str(key) for key in keys)))
        form.addRow("Take the last change back", QLabel("Ctrl+Z"))
        form.addRow(small_label("Change these in napari's preferences, under Shortcuts."))
        area = QScrollArea()
        area.setWidget(content)
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        bar = area.verticalScrollBar()
        area.setMinimumWidth(content.minimumSizeHint().width() + bar.sizeHint().width() + 4)
        return area

    def _menu_keys(self) -> dict[str, str]:
        """Return the keys of the window's menus, which come before all keys of the viewer."""
        window: Any = self.parent().window() if self.parent() is not None else None
        return dict(_menu_keys(window.menuBar())) if hasattr(window, "menuBar") else {}


def _menu_keys(menu: Any) -> Iterator[tuple[str, str]]:
    for action in menu.actions():
        if action.menu() is not None:
            yield from _menu_keys(action.menu())
        for key in action.shortcuts():
            yield (
                key.toString(QKeySequence.SequenceFormat.PortableText),
                action.text().replace("&", "").rstrip("."),
            )


def _form(title: str, column: QVBoxLayout) -> QFormLayout:
    box = QGroupBox(title)
    form = QFormLayout(box)
    form.setContentsMargins(8, 6, 8, 8)
    form.setVerticalSpacing(4)
    column.addWidget(box)
    return form
