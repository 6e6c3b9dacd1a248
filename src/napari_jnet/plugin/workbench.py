"""The workbench: all pages in one dock, what to do next, and how work is saved."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import napari
from qtpy.QtCore import QEvent, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QDragEnterEvent, QDropEvent, QFont, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QProgressBar,
    QSizePolicy,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel
from superqt.utils import qthrottled

from napari_jnet.labels import LabelKind
from napari_jnet.plugin.guidance import Hint, next_step, step_states, workflow_state
from napari_jnet.plugin.open_workspace import open_workspace
from napari_jnet.plugin.settings import plugin_settings
from napari_jnet.plugin.ui.page import Page
from napari_jnet.plugin.ui.theme import color, set_style, when_themed
from napari_jnet.plugin.ui.widgets import WrappedLabel, dropped_path, lay_out, push_button
from napari_jnet.plugin.workspace import Lifetime, TrainingStatus, Workspace

_REFRESH_MS = 100
_WIDTH = 410  # the widest step needs that: below it scrolls sideways
_ROLES = {"done": "success", "next": "accent", "open": "muted"}
_WORDS = {"done": "done", "next": "next", "open": "not yet"}
_STEP_STYLE = """
QToolButton { border: none; border-bottom: 3px solid transparent; padding: 2px; }
QToolButton:checked { border-bottom: 3px solid @accent; background: @card; }
"""

Go = Callable[[str], object]


@dataclass(frozen=True)
class Step:
    """One step of the work, with a page of its own."""

    name: str  # as `Workspace.page` has it
    title: str
    purpose: str  # in two or three sentences
    widget: str  # module and class of its page, imported when it is first shown
    # purpose for other labels than cells
    by_kind: Mapping[LabelKind, str] = field(default_factory=dict)


STEPS: dict[str, Step] = {
    step.name: step
    for step in (
        Step(
            "stack",
            "Stack",
            "Open the images to work on: a folder, a TIFF volume or a Cell Tracking Challenge dataset. "
            "Everything you do with them is kept in a project folder, saved by itself. "
            "Opening the same images again offers to resume where you stopped.",
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
                "unpainted counts as background. A click in the table of classes chooses what is painted. "
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
            "The sliders separate the cells again at once, and Next cell shows the least sure one. "
            "Use as annotation copies the cells of a frame, to correct them and to learn from them.",
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
}


def make_widget(step: Step, viewer: napari.viewer.Viewer) -> Any:
    """Make the page of a step; its module is imported now and not before."""
    module, _, name = step.widget.partition(":")
    return getattr(importlib.import_module(f"napari_jnet.plugin.{module}"), name)(viewer)


class LearningProgress:
    """What is still to be learned: frames edited since the network learned from them, a stopped run."""

    def __init__(self, workspace: Workspace, lifetime: Lifetime) -> None:
        self._workspace = workspace
        self._edited: set[int] = set()  # positions, before the present epoch
        self._recent: set[int] = set()  # within it: picked up after it, unless it was the last
        self._epoch: tuple[Any, int] = (None, -1)
        self.unfinished = 0  # epochs of the last run of the project, where it was stopped
        lifetime.connect(workspace.training_changed, self._training_changed)
        lifetime.connect(workspace.frames.edited, lambda frames: self._recent.update(frames))
        lifetime.connect(workspace.annotation_changed, self._clear)
        lifetime.connect(workspace.project_changed, self._read_last_run)
        self._read_last_run()

    @property
    def new_frames(self) -> int:
        """Annotated frames that were edited since they were last learned from."""
        return len((self._edited | self._recent).intersection(self._workspace.frames.annotated))

    def _clear(self, _layer: Any = None) -> None:
        self._edited, self._recent = set(), set()

    def _training_changed(self, status: TrainingStatus) -> None:
        if status.labels() not in (None, self._workspace.annotation):
            return  # it learns from other labels
        now = (status.run, status.epoch)
        if status.state == "idle":
            self._read_last_run()
        elif now != self._epoch:
            begins = status.run != self._epoch[0] or status.epoch == 0
            self._edited, self._recent = set() if begins else self._recent, set()
            self._epoch = now

    def _read_last_run(self, _project: Any = None) -> None:
        run = None if self._workspace.project is None else self._workspace.project.last_run
        self.unfinished = run.epochs if run is not None and run.resumable else 0


class GuidePanel(QFrame):
    """What the shown step is for, with buttons for sample data and to close it."""

    def __init__(self, open_sample: Callable[[], None], close: Callable[[], None]) -> None:
        super().__init__()
        self.setObjectName("guide")
        style = "#guide { background: @card; border-left: 3px solid @pointer; border-radius: 3px; }"
        set_style(self, style)
        self.label = WrappedLabel()
        self.label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        set_style(self.label, "color: @text; background: transparent;")
        tip = "Open a small synthetic film of touching cells to try it on."
        self.sample_button = push_button("Show me on sample cells", tip, open_sample)
        tip = "It comes back with the button ? above."
        self.close_button = push_button("Close the guide", tip, close)
        row = lay_out(QHBoxLayout(), self.sample_button, self.close_button)
        row.insertStretch(1, 1)
        lay_out(QVBoxLayout(self), self.label, row, margins=(8, 6, 6, 6), spacing=4)

    def show_step(self, step: Step, kind: LabelKind) -> None:
        """Explain a step, where labels of this kind are painted."""
        title = f"{list(STEPS).index(step.name) + 1}. {step.title}"
        self.label.setText(f"<b>{title}</b><br>{step.by_kind.get(kind, step.purpose)}")


class HintLine(QWidget):
    """One line of what to do next, and a button that goes there."""

    def __init__(self, go: Go) -> None:
        super().__init__()
        self.hint = Hint("", "stack")
        self.setObjectName("hint")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        style = "#hint { background: @card; border-left: 3px solid @accent; border-radius: 4px; }"
        set_style(self, style)
        self.label = WrappedLabel()
        set_style(self.label, "color: @text; background: transparent;")
        self.label.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self.go_button = QToolButton()
        self.go_button.clicked.connect(lambda: go(self.hint.step))
        self.help_button = QToolButton()
        self.help_button.setText("?")
        self.help_button.setToolTip("What this step is for: the guide.")
        parts = self.label, self.go_button, self.help_button
        lay_out(QHBoxLayout(self), *parts, margins=(8, 4, 4, 4)).setStretch(0, 1)

    def show_hint(self, hint: Hint, page: str) -> None:
        """Show what to do next; the button goes where the page that is shown is that of the hint."""
        self.hint = hint
        self.label.setText(hint.text)
        title = STEPS[hint.step].title
        self.go_button.setText(f"{title} ›")
        self.go_button.setToolTip(f"Go to the step {title}.")
        self.go_button.setVisible(hint.step != page)


class StepsRow(QWidget):
    """A numbered button for each step; its mark shows whether it is done, next or not yet."""

    def __init__(self, go: Go) -> None:
        super().__init__()
        self.buttons: dict[str, QToolButton] = {}
        self.states = dict.fromkeys(STEPS, "open")  # each done, next or open
        set_style(self, _STEP_STYLE)
        row = lay_out(QHBoxLayout(self), spacing=1)
        for step in STEPS.values():
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
        when_themed(self, self._mark)

    def show_states(self, states: dict[str, str]) -> None:
        """Mark each step."""
        if states != self.states:
            self.states = states
            self._mark()

    def _mark(self) -> None:
        for number, step in enumerate(STEPS.values(), start=1):
            button, state = self.buttons[step.name], self.states[step.name]
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

    def __init__(self, workspace: Workspace, lifetime: Lifetime, go: Go) -> None:
        super().__init__()
        self._workspace = workspace
        self.saved = QElidingLabel()  # a long text must not widen the dock
        self.training = QProgressBar()
        self.training.setRange(0, 1000)
        self.training.setTextVisible(True)
        self.show_button = QToolButton()
        self.show_button.setText("Show")
        self.show_button.setToolTip("Go to the step Train, to watch, pause or stop it.")
        self.show_button.clicked.connect(lambda: go("train"))
        parts = self.saved, self.training, self.show_button
        row = lay_out(QHBoxLayout(self), *parts, margins=(4, 0, 4, 0))
        row.setStretch(0, 1)
        row.setStretch(1, 3)
        lifetime.connect(workspace.saving_changed, self._show_saving)
        lifetime.connect(workspace.training_changed, self._show_training)
        lifetime.connect(workspace.page_changed, self._show_training)
        self._show_saving()
        self._show_training()

    def _show_saving(self, _status: Any = None) -> None:
        status = self._workspace.saving
        hinted = status.failed and not status.saved  # the hint says why: that takes some lines
        self.saved.setText("not saved" if hinted else status.text)
        self.saved.setToolTip(status.text)
        self.saved.setVisible(bool(status.text))
        set_style(self.saved, "color: @error;" if status.failed else "color: @muted;")

    def _show_training(self, _status: Any = None) -> None:
        """Show how the training stands; the step Train shows it itself."""
        status = self._workspace.training
        busy = status.state != "idle" and self._workspace.page != "train"
        self.training.setVisible(busy)
        self.show_button.setVisible(busy)
        if busy:
            words = {"running": "training", "paused": "paused", "stopping": "stopping…"}
            self.training.setValue(round(1000 * status.progress))
            epoch = f" · epoch {status.epoch}" if status.epoch else ""
            self.training.setFormat(f"{words[status.state]}{epoch} · %p %")


class Workbench(QWidget):
    """Stack, Annotate, Train, Predict, Evaluate and Measure in one dock, one shown at a time."""

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.setAcceptDrops(True)
        # napari leaves room below a dock that does not say that it wants the height
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self._viewer = napari_viewer
        self._workspace = workspace = open_workspace(napari_viewer)
        self._docked = False
        self._lifetime = lifetime = Lifetime()
        self.destroyed.connect(lambda *_: lifetime.end())
        self._pages: dict[str, QWidget] = {}
        self.hint_line = HintLine(self.show_step)
        self.steps_row = StepsRow(self.show_step)
        self._stack = QStackedWidget()
        self.status_row = StatusRow(workspace, lifetime, self.show_step)
        self.guide = GuidePanel(self.open_sample, partial(self.show_guide, False))
        self.guide.setVisible(getattr(plugin_settings("guide"), "show", True))
        self.hint_line.help_button.clicked.connect(lambda: self.show_guide(self.guide.isHidden()))
        parts = self.hint_line, self.guide, self.steps_row, self._stack, self.status_row
        column = lay_out(QVBoxLayout(self), *parts, margins=(4, 4, 4, 4), spacing=4)
        column.setStretchFactor(self._stack, 1)
        self._learning = LearningProgress(workspace, lifetime)
        self._watch(lifetime)
        self.show_step(workspace.page)

    def _watch(self, lifetime: Lifetime) -> None:
        workspace, frames = self._workspace, self._workspace.frames
        soon = qthrottled(self.refresh, timeout=_REFRESH_MS, leading=False, parent=self)
        lifetime.at_end(soon.cancel)
        watched = (
            workspace.image_changed,
            workspace.annotation_changed,
            workspace.project_changed,
            workspace.model_changed,
            workspace.prediction_changed,
            workspace.training_changed,
            workspace.saving_changed,
            workspace.offer_changed,
            workspace.measured_changed,
            frames.changed,
            frames.kind_changed,
        )
        for emitter in watched:
            lifetime.connect(emitter, soon)
        lifetime.connect(workspace.page_changed, self.show_step)

    @property
    def page(self) -> QWidget:
        """The page of the step that is shown."""
        return self._pages[self._workspace.page]

    def refresh(self) -> None:
        """Show what to do next and what is done, as it stands now."""
        learning, page = self._learning, self._workspace.page
        state = workflow_state(self._workspace, learning.new_frames, learning.unfinished)
        hint = next_step(state)
        self.hint_line.show_hint(hint, page)
        command = hint.command and self._workspace.commands.tooltip(hint.command)
        self.hint_line.setToolTip(command)
        self.steps_row.show_states(step_states(state))
        self.guide.sample_button.setVisible(not state.image)
        self.guide.show_step(STEPS[page], state.kind)

    def show_step(self, name: str) -> QWidget:
        """Show a step, and return its page, which is made when it is first shown; raises `ValueError`."""
        if name not in STEPS:
            raise ValueError(f"There is no step {name!r}; the steps are {', '.join(STEPS)}.")
        if name not in self._pages:
            self._pages[name] = page = make_widget(STEPS[name], self._viewer)
            if isinstance(page, Page):
                page.embed()
            self._stack.addWidget(page)
        self._stack.setCurrentWidget(self._pages[name])
        self._workspace.page = name
        self.steps_row.buttons[name].setChecked(True)
        self.refresh()
        return self._pages[name]

    def show_guide(self, shown: bool) -> None:
        """Open or close the guide; napari remembers whether it opens by itself next time."""
        self.guide.setVisible(shown)
        plugin_settings("guide").show = shown

    def open_sample(self) -> None:
        """Open the touching cells of the sample data, without their truth, to try everything on."""
        from napari_jnet.plugin.sample_data import cells

        data, options = next((data, options) for data, options, kind in cells() if kind == "image")
        self._viewer.add_image(data, **options)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take one file or folder that is dropped, whichever step is shown."""
        if dropped_path(event) is not None:
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Load what is dropped, in the step Stack."""
        self.show_step("stack").dropEvent(event)

    def sizeHint(self) -> QSize:
        """Ask for as much width as the steps need: the image is what one looks at."""
        return QSize(_WIDTH, super().sizeHint().height())

    def event(self, event: QEvent) -> bool:
        """Release the pages when the dock is closed, so that each stops its job; take them back later."""
        if event.type() == QEvent.Type.ParentChange:
            docked = self.parent() is not None
            if self._docked and not docked:
                for page in self._pages.values():
                    page.setParent(None)
            elif docked and self._stack.count() < len(self._pages):
                for page in self._pages.values():
                    self._stack.addWidget(page)
                self.show_step(self._workspace.page)
            self._docked = docked
        return bool(super().event(event))
