"""The parts of the workbench around its steps: the hint, the row of steps, how things stand."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QFont, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QSizePolicy, QToolButton, QWidget
from superqt import QElidingLabel

from napari_jnet.plugin.forms import WrappedLabel
from napari_jnet.plugin.session import SaveStatus, TrainingStatus
from napari_jnet.plugin.theme import color, set_style, when_themed
from napari_jnet.plugin.workbench.hints import Hint
from napari_jnet.plugin.workbench.steps import STEPS, Step, step_named

__all__ = ["HintLine", "StatusRow", "StepsRow"]

_ROLES = {"done": "success", "next": "accent", "open": "muted"}
_STEP_STYLE = """
QToolButton { border: none; border-bottom: 3px solid transparent; padding: 2px; }
QToolButton:checked { border-bottom: 3px solid @accent; background: @card; }
"""
_WORDS = {"done": "done", "next": "next", "open": "not yet"}

Go = Callable[[str], object]


class HintLine(QWidget):
    """One line of what to do next, and a button that goes there."""

    def __init__(self, go: Go) -> None:
        super().__init__()
        self.hint = Hint("", "stack")
        self._step = ""
        self.setObjectName("hint")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        set_style(
            self, "#hint { background: @card; border-left: 3px solid @accent; border-radius: 4px; }"
        )
        self._text = WrappedLabel()
        set_style(self._text, "color: @text; background: transparent;")
        self._text.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self.go_button = QToolButton()
        self.go_button.clicked.connect(lambda: go(self.hint.step))
        self.help_button = QToolButton()
        self.help_button.setText("?")
        self.help_button.setToolTip("What this step is for, and what to press next: the guide.")
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 4, 4, 4)
        row.addWidget(self._text, 1)
        row.addWidget(self.go_button)
        row.addWidget(self.help_button)

    @property
    def text(self) -> str:
        """What is said."""
        return self._text.text()

    def show_hint(self, hint: Hint) -> None:
        """Say what to do next."""
        self.hint = hint
        self._text.setText(hint.text)
        title = step_named(hint.step).title
        self.go_button.setText(f"{title} ›")
        self.go_button.setToolTip(f"Go to the step {title}.")
        self.at_step(self._step)

    def at_step(self, name: str) -> None:
        """Offer the way to the step only where another one is shown."""
        self._step = name
        self.go_button.setVisible(self.hint.step != name)


class StepsRow(QWidget):
    """A numbered button a step; its mark says whether it is done, next or not yet."""

    def __init__(self, go: Go) -> None:
        super().__init__()
        self.buttons: dict[str, QToolButton] = {}
        self._states: dict[str, str] = {}
        set_style(self, _STEP_STYLE)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(1)
        for step in STEPS:
            button = QToolButton()
            button.setText(step.title)
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
            button.setIconSize(QSize(20, 20))
            button.setCheckable(True)
            button.setAutoExclusive(True)
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            button.clicked.connect(lambda _checked, name=step.name: go(name))
            self.buttons[step.name] = button
            row.addWidget(button)
        self.show_states({step.name: "open" for step in STEPS})
        when_themed(self, self._mark_all)

    def choose(self, name: str) -> None:
        """Show which step is shown."""
        self.buttons[name].setChecked(True)

    def state(self, name: str) -> str:
        """Return the mark of a step: done, next or open."""
        return self._states[name]

    def show_states(self, states: dict[str, str]) -> None:
        """Mark each step."""
        for number, step in enumerate(STEPS, start=1):
            state = states[step.name]
            if self._states.get(step.name) == state:
                continue
            self._states[step.name] = state
            self._mark(number, step)
            self.buttons[step.name].setToolTip(f"{step.title} ({_WORDS[state]}): {step.purpose}")

    def _mark(self, number: int, step: Step) -> None:
        button = self.buttons[step.name]
        button.setIcon(_mark(number, self._states[step.name], button.devicePixelRatioF()))

    def _mark_all(self) -> None:
        for number, step in enumerate(STEPS, start=1):
            self._mark(number, step)


def _mark(number: int, state: str, ratio: float, size: int = 20) -> QIcon:
    """Paint a disc with the number of a step, or a tick where it is done."""
    picture = QPixmap(round(size * ratio), round(size * ratio))
    picture.setDevicePixelRatio(ratio)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(color(_ROLES[state])))
    painter.drawEllipse(QRectF(1, 1, size - 2, size - 2))
    painter.setPen(QColor(color("background")))
    font = QFont(painter.font())
    font.setPixelSize(12)
    font.setBold(True)
    painter.setFont(font)
    said = "✓" if state == "done" else str(number)
    painter.drawText(QRectF(0, 0, size, size), Qt.AlignmentFlag.AlignCenter, said)
    painter.end()
    return QIcon(picture)


class StatusRow(QWidget):
    """Whether everything is saved, and how the training stands."""

    def __init__(self, go: Go, remedy: QWidget) -> None:
        super().__init__()
        self._training, self._step = TrainingStatus(), ""
        self.saved = QElidingLabel()  # a long text must not widen the dock
        self.training = QProgressBar()
        self.training.setRange(0, 1000)
        self.training.setTextVisible(True)
        self.show_button = QToolButton()
        self.show_button.setText("Show")
        self.show_button.setToolTip("Go to the step Train, to watch, pause or stop it.")
        self.show_button.clicked.connect(lambda: go("train"))
        row = QHBoxLayout(self)
        row.setContentsMargins(4, 0, 4, 0)
        row.addWidget(self.saved, 1)
        row.addWidget(remedy)
        row.addWidget(self.training, 3)
        row.addWidget(self.show_button)

    def show_saving(self, status: SaveStatus) -> None:
        """Say how the saving stands."""
        why_not = status.failed and not status.saved  # which the hint says: it takes some lines
        self.saved.setText("not saved" if why_not else status.text)
        self.saved.setToolTip(status.text)
        self.saved.setVisible(bool(status.text))
        set_style(self.saved, "color: @error;" if status.failed else "color: @muted;")

    def at_step(self, name: str) -> None:
        """Know which step is shown."""
        self._step = name
        self.show_training(self._training)

    def show_training(self, status: TrainingStatus) -> None:
        """Say how the training stands; nothing where there is none, or at the step that says it itself."""
        self._training = status
        busy = status.state != "idle" and self._step != "train"
        self.training.setVisible(busy)
        self.show_button.setVisible(busy)
        if busy:
            words = {"running": "training", "paused": "paused", "stopping": "stopping…"}
            self.training.setValue(round(1000 * status.progress))
            epoch = f" · epoch {status.epoch}" if status.epoch else ""
            self.training.setFormat(f"{words[status.state]}{epoch} · %p %")
