"""The workbench: all pages in one dock, what to do next, and how work is saved."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.settings import get_plugin_settings
from qtpy.QtCore import QEvent, QObject, QPoint, QRect, QRectF, QSize, Qt, QTimer, Signal
from qtpy.QtGui import QColor, QDragEnterEvent, QDropEvent, QFont, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import (
    QAbstractButton,
    QFrame,
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_jnet.labels import LabelKind
from napari_jnet.plugin.guidance import Facts, Hint, advise, facts_of, step_states
from napari_jnet.plugin.open_workspace import open_workspace
from napari_jnet.plugin.ui.page import JobWidget
from napari_jnet.plugin.ui.theme import color, set_style, when_themed
from napari_jnet.plugin.ui.widgets import MessageLine, RemedyButton, WrappedLabel, dropped_path
from napari_jnet.plugin.workspace import Lifetime, SaveStatus, TrainingStatus, Workspace

if TYPE_CHECKING:
    import napari


_LATER_MS = 100


_CHANGES = (
    "image",
    "annotation",
    "project",
    "model",
    "results",
    "training",
    "saving",
    "offer",
    "measured",
)


class Situation(QObject):
    """Calls back with the facts, at most ten times a second.

    Parameters
    ----------
    workspace
        Of the viewer.
    lifetime
        When it ends, nothing is called any more.
    changed
        Called with the `Facts` in the window's thread.
    """

    def __init__(
        self, workspace: Workspace, lifetime: Lifetime, changed: Callable[[Facts], None]
    ) -> None:
        super().__init__()
        self._workspace, self._changed = workspace, changed
        # positions edited since the network last learned, and of these, within the last epoch
        self._edited: set[int] = set()
        self._recent: set[int] = set()
        self._epoch: tuple[Any, int] = (None, -1)
        self._unfinished = 0
        self._over = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_LATER_MS)
        self._timer.timeout.connect(self.look)
        lifetime.at_end(self._end)
        for name in _CHANGES:
            lifetime.connect(getattr(workspace, f"{name}_changed"), self._soon)
        lifetime.connect(workspace.training_changed, self._training_changed)
        lifetime.connect(workspace.fine_tuning.changed, self._soon)
        lifetime.connect(workspace.frames.changed, self._soon)
        lifetime.connect(workspace.frames.kind_changed, self._soon)
        lifetime.connect(workspace.frames.edited, self._note)
        lifetime.connect(workspace.annotation_changed, self._start_anew)
        lifetime.connect(workspace.project_changed, self._read_runs)
        self._read_runs()

    def _end(self) -> None:
        self._over = True  # the timer may be gone before: Qt ends children in its own order

    def look(self) -> None:
        """Read the facts now, and tell them."""
        if self._over:
            return
        self._changed(facts_of(self._workspace, self._new_frames(), self._unfinished))

    def _soon(self, *_: Any) -> None:
        if not self._timer.isActive():
            self._timer.start()

    def _note(self, positions: Iterable[int]) -> None:
        self._recent.update(positions)

    def _start_anew(self, _layer: Any = None) -> None:
        self._edited, self._recent = set(), set()

    def _training_changed(self, status: Any) -> None:
        if status.labels() is not None and status.labels() is not self._workspace.annotation:
            return  # nothing is learned from these labels
        now = (status.run, status.epoch)
        if status.state != "idle" and now != self._epoch:
            # what was painted in an epoch is picked up after it, unless it was the last
            begins = status.run != self._epoch[0] or status.epoch == 0
            self._edited, self._recent = set() if begins else self._recent, set()
            self._epoch = now
        if status.state == "idle" and status.outcome == "done":
            self._unfinished = 0
        elif status.state == "idle":
            self._read_runs()

    def _read_runs(self, _project: Any = None) -> None:
        run = None if self._workspace.project is None else self._workspace.project.last_run
        self._unfinished = run.epochs if run is not None and run.resumable else 0

    def _new_frames(self) -> int:
        return len((self._edited | self._recent).intersection(self._workspace.frames.annotated))


_PACKAGE = "napari_jnet.plugin"


@dataclass(frozen=True)
class Step:
    """One step of the work.

    Attributes
    ----------
    name
        As `Workspace.step` says it.
    title
        As its button says it.
    purpose
        What it is for, in two or three sentences.
    widget
        Module and class of its widget, ``module:Class``; imported when it is first shown.
    by_kind
        What it is for where other labels than cells are painted.
    """

    name: str
    title: str
    purpose: str
    widget: str
    by_kind: Mapping[LabelKind, str] = field(default_factory=dict)

    def purpose_for(self, kind: LabelKind) -> str:
        """Say what it is for where labels of this kind are painted."""
        return self.by_kind.get(kind, self.purpose)


STEPS: tuple[Step, ...] = (
    Step(
        "stack",
        "Stack",
        "Open the images to work on: a folder, a TIFF volume or a Cell Tracking Challenge dataset. "
        "Everything you do with them is kept in a project folder, saved by itself. "
        "Opening the same images again offers to go on where you stopped.",
        "pages.stack:LoadWidget",
    ),
    Step(
        "annotate",
        "Annotate",
        "Paint every cell of two frames, or some cells and press Mark unpainted as unknown, with a few "
        "strokes of Background: what is unpainted counts as background. "
        "Each cell has its own number: an outline takes the next one by itself, with the brush M does. "
        "The table says which frames are painted, and which are learned from or only checked against.",
        "pages.annotate:AnnotateWidget",
        {
            LabelKind.CLASSES: "Paint the classes in two frames: each number is a class, and what is "
            "unpainted counts as background. A click in the table of classes chooses what the brush paints. "
            "The table of frames says which are learned from or only checked against.",
            LabelKind.SCRIBBLES: "Draw a few strokes in one frame or more: 1 on background, 2 and up on "
            "the classes; what is unpainted is unknown. Where the network errs, draw more strokes. "
            "The table of frames says which are learned from or only checked against.",
        },
    ),
    Step(
        "train",
        "Train",
        "Let a network learn from the painted frames, in the background: painting goes on meanwhile. "
        "The preview shows what it finds in the frame you look at. "
        "Later, Fine-tune goes on from what it has learned, with your corrections.",
        "pages.train:TrainWidget",
    ),
    Step(
        "predict",
        "Predict",
        "Find the cells in this frame or in all, with the network that you trained. "
        "The sliders separate the cells anew at once. "
        "Use as annotation takes the cells of a frame over, to correct them and to learn from them.",
        "pages.predict:PredictWidget",
    ),
    Step(
        "evaluate",
        "Evaluate",
        "Measure how good the cells are, against a frame that you painted by hand. "
        "Only frames that were not learned from say how it does on new images. "
        "The colours show cells that are missed, false, split or merged; a click on a row goes there.",
        "pages.evaluate:EvaluateWidget",
    ),
    Step(
        "measure",
        "Measure",
        "Measure the cells one by one: area, perimeter, brightness and place, frame by frame. "
        "A click on a row selects the cell in the image. The table can be saved as CSV.",
        "pages.measure:MeasureWidget",
    ),
)


def step_named(name: str) -> Step:
    """Return a step by its name.

    Raises
    ------
    ValueError
        If there is no step of this name.
    """
    for step in STEPS:
        if step.name == name:
            return step
    known = ", ".join(step.name for step in STEPS)
    raise ValueError(f"There is no step {name!r}; the steps are {known}.")


def make_widget(step: Step, viewer: napari.viewer.Viewer) -> Any:
    """Make the widget of a step; its module is imported now and not before."""
    module, _, name = step.widget.partition(":")
    return getattr(importlib.import_module(f"{_PACKAGE}.{module}"), name)(viewer)


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
    from napari_jnet.plugin.sample_data import cells

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
    path = Path(__file__).resolve().parents[3] / TUTORIAL
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


_WIDTH = 410  # the widest step needs that: below it scrolls sideways


class Workbench(QWidget):
    """Stack, Annotate, Train, Predict, Evaluate and Measure, one shown at a time.

    Parameters
    ----------
    napari_viewer
        The viewer that all steps work on.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.setAcceptDrops(True)
        # napari leaves room below a dock that does not say that it wants the height
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self._viewer = napari_viewer
        self._workspace = open_workspace(napari_viewer)
        self._docked = False
        self._lifetime = lifetime = Lifetime()
        self.destroyed.connect(lambda *_: lifetime.end())
        self._pages: dict[str, QWidget] = {}
        self._kind = LabelKind.INSTANCES  # of what is painted
        self.hint_line = HintLine(self._go)
        self.steps_row = StepsRow(self._go)
        self._stack = QStackedWidget()
        self.status_row = StatusRow(self._go, RemedyButton(self._workspace, lifetime))
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
        self._situation = Situation(self._workspace, lifetime, self._show_facts)
        lifetime.connect(self._workspace.page_changed, self.show_step)
        lifetime.connect(self._workspace.saving_changed, self.status_row.show_saving)
        lifetime.connect(self._workspace.training_changed, self.status_row.show_training)
        self.hint_line.help_button.clicked.connect(lambda: self.show_guide(self.guide.isHidden()))
        self.guide.closed.connect(lambda: self.show_guide(False))
        self.guide.sample_wanted.connect(self.open_sample)
        self.guide.setVisible(wants_guide())
        self.status_row.show_saving(self._workspace.saving)
        self.status_row.show_training(self._workspace.training)
        self._situation.look()
        self.show_step(self._workspace.page)

    @property
    def hint(self) -> Hint:
        """What to do next."""
        return self.hint_line.hint

    @property
    def current(self) -> str:
        """The name of the step that is shown."""
        return self._workspace.page

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
        self._workspace.page = name
        self.steps_row.choose(name)
        self.hint_line.at_step(name)
        self.status_row.at_step(name)
        self._explain()
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

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:
        """Take one file or folder that is dropped, whichever step is shown."""
        if event is not None and dropped_path(event) is not None:
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent | None) -> None:
        """Load what is dropped, in the step Stack."""
        self.show_step("stack").dropEvent(event)

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
        self.show_step(self._workspace.page)

    def _go(self, name: str) -> None:
        self.show_step(name)

    def _make(self, step: Step) -> QWidget:
        try:
            page: QWidget = make_widget(step, self._viewer)
            if isinstance(page, JobWidget):
                page.embed()
        except Exception as error:  # noqa: BLE001 - one broken step must not take the others along
            page = _broken(step, error)
        return page

    def _show_facts(self, facts: Facts) -> None:
        self._kind = facts.kind
        self._explain()
        self.hint_line.show_hint(advise(facts))
        self.steps_row.show_states(step_states(facts))
        self.guide.offer_sample(not facts.image)
        self._point()

    def _explain(self) -> None:
        step = step_named(self._workspace.page)
        self.guide.show_step(STEPS.index(step) + 1, step, self._kind)

    def _point(self) -> None:
        """Ring what is to be pressed next, while the guide is open."""
        hint, target = self.hint, None
        if not self.guide.isHidden() and self._stack.count():
            here = hint.step == self._workspace.page
            target = find_button(self.page, hint.action) if here else None
            target = self.steps_row.buttons[hint.step] if not here else target
        if target is not self.spotlight.button and target is not None:
            self._bring_into_sight(target)
        self.spotlight.move_to(target)

    def _bring_into_sight(self, button: QWidget) -> None:
        for area in self.page.findChildren(QScrollArea):
            content = area.widget()
            if content is not None and content.isAncestorOf(button):
                area.ensureWidgetVisible(button)


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
