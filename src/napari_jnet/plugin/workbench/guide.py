"""The guide for the first time: says what each step is for, rings the next button, brings cells.

It blocks nothing: it is a panel that can be closed, and comes back with the button "?".
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from napari.settings import get_plugin_settings
from qtpy.QtCore import QEvent, QObject, QPoint, QRect, Qt, Signal
from qtpy.QtWidgets import (
    QAbstractButton,
    QFrame,
    QHBoxLayout,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_jnet.data.stack import LabelKind
from napari_jnet.plugin.forms import WrappedLabel
from napari_jnet.plugin.theme import color, set_style
from napari_jnet.plugin.workbench.steps import Step

__all__ = [
    "GuidePanel",
    "Spotlight",
    "find_button",
    "remember_guide",
    "sample_image",
    "wants_guide",
]

TUTORIAL = "docs/tutorial.md"
_PLUGIN = "napari-jnet"
_MARGIN = 3
_closed: set[str] = set()  # where napari remembers no settings of the plugin


def wants_guide() -> bool:
    """Whether the guide opens by itself: until it is closed for the first time."""
    try:
        return bool(get_plugin_settings(_PLUGIN).guide.show)
    except (KeyError, AttributeError):  # the plugin is not installed, as in some tests
        return _PLUGIN not in _closed


def remember_guide(show: bool) -> None:
    """Remember in napari's settings whether the guide opens by itself."""
    try:
        get_plugin_settings(_PLUGIN).guide.show = show
    except (KeyError, AttributeError):
        _closed.discard(_PLUGIN) if show else _closed.add(_PLUGIN)


def sample_image() -> tuple[Any, dict[str, Any]]:
    """Return the touching cells of the sample data, without their truth, and layer options."""
    from napari_jnet.plugin.stack.sample_data import cells

    return next((data, options) for data, options, kind in cells() if kind == "image")


class GuidePanel(QFrame):
    """What the shown step is for, with a way to sample data, and out.

    Signals
    -------
    sample_wanted
        The user asked for sample cells.
    closed
        The user has read enough.
    """

    sample_wanted = Signal()
    closed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("guide")
        set_style(
            self,
            "#guide { background: @card; border-left: 3px solid @pointer; border-radius: 3px; }",
        )
        self._title = WrappedLabel()
        self._text = WrappedLabel()
        for label in (self._title, self._text):
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
            set_style(label, "color: @text; background: transparent;")
        self._text.setOpenExternalLinks(True)
        self.sample_button = QPushButton("Show me on sample cells")
        self.sample_button.setToolTip("Open a small synthetic film of touching cells to try it on.")
        self.sample_button.clicked.connect(self.sample_wanted)
        self.close_button = QPushButton("Close the guide")
        self.close_button.setToolTip("It comes back with the button ? above.")
        self.close_button.clicked.connect(self.closed)
        row = QHBoxLayout()
        row.addWidget(self.sample_button)
        row.addStretch(1)
        row.addWidget(self.close_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 6, 6, 6)
        column.setSpacing(4)
        for label in (self._title, self._text):
            column.addWidget(label)
        column.addLayout(row)

    @property
    def text(self) -> str:
        """What is said of the step, as it is read."""
        return f"{self._title.text()} {self._text.text()}"

    def show_step(self, number: int, step: Step, kind: LabelKind = LabelKind.INSTANCES) -> None:
        """Say what a step is for, where labels of this kind are painted."""
        self._title.setText(f"<b>{number}. {step.title}</b>")
        self._text.setText(f"{step.purpose_for(kind)} {_more()}".strip())

    def offer_sample(self, wanted: bool) -> None:
        """Offer sample cells, where there is no image yet."""
        self.sample_button.setVisible(wanted)


def _more() -> str:
    """Return a link to the tutorial where the documentation lies beside the sources, else nothing."""
    path = Path(__file__).resolve().parents[4] / TUTORIAL
    if not path.is_file():
        return ""
    return f'<a style="color: {color("accent")}" href="{path.as_uri()}">More in the tutorial.</a>'


def find_button(page: QWidget, words: str) -> QAbstractButton | None:
    """Return the visible button of a page with these words, or beginning with them, or None."""
    if not words:
        return None
    seen = [b for b in page.findChildren(QAbstractButton) if b.isVisibleTo(page)]
    matches: tuple[Callable[[str], bool], ...] = (words.__eq__, lambda text: text.startswith(words))
    for fits in matches:
        for button in seen:
            if fits(button.text().replace("&", "").rstrip("…")):
                return button
    return None


class Spotlight(QObject):
    """A ring around one button, which moves with it and lets every click through.

    Parameters
    ----------
    parent
        The widget that holds all buttons; the ring lies in it, or in what scrolls inside it.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._around = parent
        self._button: QWidget | None = None
        self._watched: list[QWidget] = []
        self._ring: QFrame | None = None

    @property
    def button(self) -> QWidget | None:
        """The button that is ringed, or None."""
        return self._button

    def move_to(self, button: QWidget | None) -> None:
        """Ring this button, and no other."""
        if button is self._button:
            return
        self._let_go()
        if button is None or button.parentWidget() is None:
            return
        ring = QFrame(self._holder(button))
        ring.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        set_style(ring, "border: 2px solid @pointer; border-radius: 5px; background: none;")
        self._button, self._ring = button, ring
        self._watched = [button]
        while self._watched[-1].parentWidget() is not ring.parentWidget():
            parent = self._watched[-1].parentWidget()
            assert parent is not None
            self._watched.append(parent)
        for widget in self._watched:
            widget.installEventFilter(self)
        button.destroyed.connect(self._forget)
        self._follow()

    def _holder(self, button: QWidget) -> QWidget:
        """Return what the ring lies in: nothing between it and the button may cut or cover the ring."""
        holder = button.parentWidget()
        assert holder is not None
        while (above := holder.parentWidget()) is not None and holder is not self._around:
            if isinstance(above.parentWidget(), QScrollArea):
                break  # the ring scrolls with the button
            holder = above
        return holder

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Follow the button when it moves, and hide with it."""
        kinds = (QEvent.Type.Move, QEvent.Type.Resize, QEvent.Type.Show, QEvent.Type.Hide)
        if event is not None and event.type() in kinds:
            self._follow()
        return super().eventFilter(watched, event)

    def _follow(self) -> None:
        if self._button is None or self._ring is None:
            return
        holder = self._ring.parentWidget()
        assert holder is not None
        around = QRect(self._button.mapTo(holder, QPoint(0, 0)), self._button.size())
        self._ring.setGeometry(around.adjusted(-_MARGIN, -_MARGIN, _MARGIN, _MARGIN))
        self._ring.setVisible(self._button.isVisibleTo(holder))
        self._ring.raise_()

    def _let_go(self) -> None:
        if self._button is not None:
            self._button.destroyed.disconnect(self._forget)
        self._forget()

    def _forget(self, *_: object) -> None:
        for widget in self._watched:
            with suppress(RuntimeError):  # Qt has deleted it
                widget.removeEventFilter(self)
        if self._ring is not None:
            with suppress(RuntimeError):
                self._ring.hide()
                self._ring.deleteLater()
        self._button = self._ring = None
        self._watched = []
