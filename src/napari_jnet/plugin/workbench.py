"""The workbench: all steps in one dock, what to do next above them, how things stand below."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QFont, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QSizePolicy,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_jnet.plugin.forms import MessageLine
from napari_jnet.plugin.guide import (
    GuidePanel,
    Spotlight,
    find_button,
    remember_guide,
    sample_image,
    wants_guide,
)
from napari_jnet.plugin.hints import Facts, Hint, advise, step_states
from napari_jnet.plugin.session import Lifetime, SaveStatus, TrainingStatus, session
from napari_jnet.plugin.situation import Situation
from napari_jnet.plugin.steps import STEPS, Step, make_widget, step_named

if TYPE_CHECKING:
    import napari

__all__ = ["Workbench"]

_WIDTH = 380
_COLOURS = {"done": "#3a9d5d", "next": "#2f80ed", "open": "#6b7480"}
_STEP_STYLE = """
QToolButton { border: none; border-bottom: 3px solid transparent; padding: 2px; }
QToolButton:checked { border-bottom: 3px solid #2f80ed; background: rgba(128, 160, 200, 40); }
"""
_WORDS = {"done": "done", "next": "next", "open": "not yet"}


class Workbench(QWidget):
    """Stack, Annotate, Train, Predict, Evaluate and Measure, one shown at a time.

    Parameters
    ----------
    napari_viewer
        The viewer that all steps work on.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._session = session(napari_viewer)
        self._docked = False
        self._lifetime = lifetime = Lifetime()
        self.destroyed.connect(lambda *_: lifetime.end())
        self._pages: dict[str, QWidget] = {}
        self.hint_line = HintLine(self._go)
        self.steps_row = StepsRow(self._go)
        self._stack = QStackedWidget()
        self.status_row = StatusRow(self._go)
        self.guide = GuidePanel()
        self.spotlight = Spotlight(self)
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 4, 4, 4)
        column.setSpacing(4)
        column.addWidget(self.hint_line)
        column.addWidget(self.guide)
        column.addWidget(self.steps_row)
        column.addWidget(self._stack, 1)
        column.addWidget(self.status_row)
        self._situation = Situation(self._session, lifetime, self._show_facts)
        lifetime.connect(self._session.step_changed, self.show_step)
        lifetime.connect(self._session.saving_changed, self.status_row.show_saving)
        lifetime.connect(self._session.training_changed, self.status_row.show_training)
        self.hint_line.help_button.clicked.connect(lambda: self.show_guide(self.guide.isHidden()))
        self.guide.closed.connect(lambda: self.show_guide(False))
        self.guide.sample_wanted.connect(self.open_sample)
        self.guide.setVisible(wants_guide())
        self.status_row.show_saving(self._session.saving)
        self.status_row.show_training(self._session.training)
        self._situation.look()
        self.show_step(self._session.step)

    @property
    def hint(self) -> Hint:
        """What to do next."""
        return self.hint_line.hint

    @property
    def current(self) -> str:
        """The name of the step that is shown."""
        return self._session.step

    @property
    def page(self) -> QWidget:
        """The widget of the step that is shown."""
        page = self._stack.currentWidget()
        assert page is not None
        return page

    def show_step(self, name: str) -> QWidget:
        """Show a step, and return its widget; it is made when it is first shown.

        Raises
        ------
        ValueError
            If there is no step of this name.
        """
        step = step_named(name)
        if name not in self._pages:
            self._pages[name] = self._make(step)
            self._stack.addWidget(self._pages[name])
        self._stack.setCurrentWidget(self._pages[name])
        self._session.step = name
        self.steps_row.choose(name)
        self.hint_line.at_step(name)
        self.guide.show_step(STEPS.index(step) + 1, step)
        self._point()
        return self._pages[name]

    def show_guide(self, shown: bool) -> None:
        """Open or close the guide; napari remembers whether it opens by itself next time."""
        self.guide.setVisible(shown)
        remember_guide(shown)
        self._point()

    def open_sample(self) -> None:
        """Open the touching cells of the sample data, without their truth, to try everything on."""
        data, options = sample_image()
        self._viewer.add_image(data, **options)

    def sizeHint(self) -> QSize:
        """Ask for as much width as the steps need: the image is what one looks at."""
        return QSize(_WIDTH, super().sizeHint().height())

    def event(self, event: QEvent) -> bool:
        """Let the steps go when the dock is closed: alone, each stops its job."""
        if event.type() == QEvent.Type.ParentChange:
            docked = self.parent() is not None
            if self._docked and not docked:
                for page in self._pages.values():
                    page.setParent(None)
            elif docked and self._stack.count() < len(self._pages):
                self._take_back()
            self._docked = docked
        return super().event(event)

    def _take_back(self) -> None:
        for page in self._pages.values():
            self._stack.addWidget(page)
        self.show_step(self._session.step)

    def _go(self, name: str) -> None:
        self.show_step(name)

    def _make(self, step: Step) -> QWidget:
        try:
            page: QWidget = make_widget(step, self._viewer)
        except Exception as error:  # noqa: BLE001 - one broken step must not take the others along
            page = _broken(step, error)
        return page

    def _show_facts(self, facts: Facts) -> None:
        self.hint_line.show_hint(advise(facts))
        self.steps_row.show_states(step_states(facts))
        self.guide.offer_sample(not facts.image)
        self._point()

    def _point(self) -> None:
        """Ring what is to be pressed next, while the guide is open."""
        hint, target = self.hint, None
        if not self.guide.isHidden() and self._stack.count():
            here = hint.step == self._session.step
            target = find_button(self.page, hint.action) if here else None
            target = self.steps_row.buttons[hint.step] if not here else target
        self.spotlight.move_to(target)


def _broken(step: Step, error: Exception) -> QWidget:
    page = QWidget()
    column = QVBoxLayout(page)
    message = MessageLine()
    message.fail(
        f"The step {step.title} could not be opened: {type(error).__name__}: {error}. "
        "The other steps work on.",
        "".join(traceback.format_exception(error)),
    )
    column.addWidget(message)
    column.addStretch(1)
    return page


class HintLine(QWidget):
    """One line of what to do next, and a button that goes there."""

    def __init__(self, go: Any) -> None:
        super().__init__()
        self.hint = Hint("", "stack")
        self._step = ""
        self.setObjectName("hint")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setStyleSheet("#hint { background: #24405f; border-radius: 4px; }")
        self._text = QLabel()
        self._text.setWordWrap(True)
        self._text.setStyleSheet("color: white; background: transparent;")
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

    def __init__(self, go: Any) -> None:
        super().__init__()
        self.buttons: dict[str, QToolButton] = {}
        self._states: dict[str, str] = {}
        self.setStyleSheet(_STEP_STYLE)
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
            button = self.buttons[step.name]
            button.setIcon(_mark(number, state, button.devicePixelRatioF()))
            button.setToolTip(f"{step.title} ({_WORDS[state]}): {step.purpose}")


def _mark(number: int, state: str, ratio: float, size: int = 20) -> QIcon:
    """Paint a disc with the number of a step, or a tick where it is done."""
    picture = QPixmap(round(size * ratio), round(size * ratio))
    picture.setDevicePixelRatio(ratio)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(_COLOURS[state]))
    painter.drawEllipse(QRectF(1, 1, size - 2, size - 2))
    painter.setPen(QColor("white"))
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

    def __init__(self, go: Any) -> None:
        super().__init__()
        self.saved = QLabel()
        self.training = QProgressBar()
        self.training.setRange(0, 1000)
        self.training.setTextVisible(True)
        self.show_button = QToolButton()
        self.show_button.setText("Show")
        self.show_button.setToolTip("Go to the step Train, to watch, pause or stop it.")
        self.show_button.clicked.connect(lambda: go("train"))
        row = QHBoxLayout(self)
        row.setContentsMargins(4, 0, 4, 0)
        row.addWidget(self.saved)
        row.addStretch(1)
        row.addWidget(self.training, 3)
        row.addWidget(self.show_button)

    def show_saving(self, status: SaveStatus) -> None:
        """Say how the saving stands."""
        self.saved.setText(status.text)
        self.saved.setVisible(bool(status.text))
        self.saved.setStyleSheet("color: #ff6b5e;" if status.failed else "color: #9aa4b1;")

    def show_training(self, status: TrainingStatus) -> None:
        """Say how the training stands; nothing where there is none."""
        busy = status.state != "idle"
        self.training.setVisible(busy)
        self.show_button.setVisible(busy)
        if busy:
            words = {"running": "training", "paused": "paused", "stopping": "stopping…"}
            self.training.setValue(round(1000 * status.progress))
            epoch = f" · epoch {status.epoch}" if status.epoch else ""
            self.training.setFormat(f"{words[status.state]}{epoch} · %p %")
