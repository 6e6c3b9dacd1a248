"""Small widgets that the pages share."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QDropEvent, QKeyEvent, QKeySequence
from qtpy.QtWidgets import (
    QApplication,
    QBoxLayout,
    QComboBox,
    QLabel,
    QLayout,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_jnet.plugin.ui.theme import set_style
from napari_jnet.plugin.workspace import Lifetime, Workspace

_NO_WIDTH = "\u200b"  # a line may end here
_LONG_WORD = re.compile(r"(?![^<]*>)[^\s<>]{25,}")  # of text, not of a tag


class WrappedLabel(QLabel):
    """A text that wraps anywhere, so that a path without a space never widens the window."""

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self._whole = ""
        self.setWordWrap(True)
        self.setText(text)

    def setText(self, text: str | None) -> None:
        """Show a text; long words may be broken where they are shown."""
        self._whole = text or ""
        super().setText(_LONG_WORD.sub(lambda word: _NO_WIDTH.join(word[0]), self._whole))

    def text(self) -> str:
        """Return the text as it was given."""
        return self._whole

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Copy a selection as it was given too."""
        if event is not None and event.matches(QKeySequence.StandardKey.Copy):
            QApplication.clipboard().setText(self.selectedText().replace(_NO_WIDTH, ""))
        else:
            super().keyPressEvent(event)


def small_label(text: str = "") -> QLabel:
    """Return a label for a sentence that explains."""
    label = WrappedLabel(text)
    set_style(label, "font-size: 8pt; color: @muted;")
    return label


def push_button(title: str, tooltip: str, call: Callable[[], Any]) -> QPushButton:
    """Return a button that calls a function without arguments."""
    button = QPushButton(title)
    button.setToolTip(tooltip)
    button.clicked.connect(lambda: call())
    return button


def plural(number: int, what: str) -> str:
    """Return a number with its noun: "1 cell", "2 cells"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def percent(part: int, whole: int) -> str:
    """Return a share as text: "0 %", "<1 %", "12 %"."""
    share = 100 * part / whole if whole else 0.0
    return "<1 %" if 0 < share < 0.5 else f"{share:.0f} %"


def lay_out(
    layout: QBoxLayout,
    *parts: QWidget | QLayout,
    margins: tuple[int, int, int, int] = (0, 0, 0, 0),
    spacing: int | None = None,
) -> QBoxLayout:
    """Put widgets and layouts into a row or column, and return it."""
    layout.setContentsMargins(*margins)
    if spacing is not None:
        layout.setSpacing(spacing)
    for part in parts:
        (layout.addLayout if isinstance(part, QLayout) else layout.addWidget)(part)
    return layout


class MessageLine(QWidget):
    """One or two sentences for the user; an error in another colour, with its details to copy."""

    def __init__(self) -> None:
        super().__init__()
        self._details, self.is_error = "", False
        self._text = WrappedLabel()
        self._text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._text.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self._copy = QToolButton()
        self._copy.setText("Copy details")
        self._copy.setToolTip("Copy the whole report, to send it to somebody who can help.")
        self._copy.clicked.connect(lambda: QApplication.clipboard().setText(self._details))
        lay_out(QVBoxLayout(self), self._text, self._copy)
        self.say("")

    @property
    def text(self) -> str:
        """The text that is shown."""
        return self._text.text()

    def say(self, text: str, details: str = "", *, is_error: bool = False) -> None:
        """Show a message, or what is wrong and what to do, with details to copy; "" hides the line."""
        self._details, self.is_error = details, is_error
        self._text.setText(text)
        set_style(self._text, "color: @error;" if is_error else "")
        self._copy.setVisible(bool(details))
        self.setVisible(bool(text))


def dropped_path(event: QDropEvent) -> Path | None:
    """Return the one file or folder of this machine that is dropped; None for anything else."""
    urls = event.mimeData().urls()
    local = [Path(url.toLocalFile()) for url in urls if url.isLocalFile()]
    return local[0] if len(urls) == len(local) == 1 else None


class LayerChoice(QComboBox):
    """One of the layers that a function lists; at first, and when it is gone, the last of the list."""

    layer_changed = Signal()

    def __init__(
        self, workspace: Workspace, list_layers: Callable[[], list[Any]], lifetime: Lifetime
    ) -> None:
        super().__init__()
        self._workspace, self._list_layers = workspace, list_layers
        self._layers: list[Any] = []
        self._choice: Any | None = None
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        events = workspace.viewer.layers.events
        for emitter in (events.inserted, events.removed, events.reordered, events.renamed):
            lifetime.connect(emitter, self._refresh)
        self.activated.connect(lambda index: self.set_layer(self._layers[index]))
        self._refresh()

    @property
    def layer(self) -> Any | None:
        """The chosen layer, or None."""
        index = self.currentIndex()
        return self._layers[index] if 0 <= index < len(self._layers) else None

    def set_layer(self, layer: Any) -> None:
        """Choose a layer; raises `ValueError` if the list does not have it."""
        if not any(layer is other for other in self._list_layers()):
            raise ValueError(f"{layer!r} cannot be chosen here; choose one of the list.")
        self._choice = layer
        self._refresh()

    def _chosen(self) -> Any | None:
        if not any(layer is self._choice for layer in self._layers):
            self._choice = self._layers[-1] if self._layers else None
        return self._choice

    def _refresh(self, _event: Any = None) -> None:
        before, self._layers = self.layer, self._list_layers()
        chosen, image = self._chosen(), self._workspace.image
        with signals_blocked(self):
            self.clear()
            for number, layer in enumerate(self._layers):
                self.addItem(_title(layer, image))
                self.setItemData(number, layer.name, Qt.ItemDataRole.ToolTipRole)
            at = [number for number, layer in enumerate(self._layers) if layer is chosen]
            self.setCurrentIndex(at[0] if at else -1)
        if before is not self.layer:
            self.layer_changed.emit()


class LayerCombo(LayerChoice):
    """The "image" or the "annotation" that all widgets of a viewer share."""

    def __init__(self, workspace: Workspace, role: str, lifetime: Lifetime) -> None:
        self._role = role
        list_layers = workspace.images if role == "image" else workspace.labels
        super().__init__(workspace, list_layers, lifetime)
        lifetime.connect(getattr(workspace, f"{role}_changed"), self._refresh)

    def set_layer(self, layer: Any) -> None:
        """Choose a layer for all widgets; raises `ValueError` if the viewer does not have it."""
        self._workspace.choose(self._role, layer)

    def _chosen(self) -> Any | None:
        return getattr(self._workspace, self._role)


def _title(layer: Any, image: Any | None) -> str:
    """Name a layer by what tells it from the others of its image, which a narrow box shows first."""
    name = str(layer.name)
    if image is None or layer is image or not name.startswith(f"{image.name} "):
        return name
    return f"{name.removeprefix(image.name).strip()} ({image.name})"
