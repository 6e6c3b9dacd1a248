"""What the pages share: a column that scrolls, a message, and for most one long job at a time."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import napari
from qtpy.QtCore import QEvent, QSize, Signal
from qtpy.QtWidgets import (
    QApplication,
    QFormLayout,
    QFrame,
    QGroupBox,
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import qdebounced

from napari_jnet.plugin.jobs.runner import JobMaker, JobRunner, Progress
from napari_jnet.plugin.open_workspace import open_workspace
from napari_jnet.plugin.ui.widgets import MessageLine, lay_out, push_button
from napari_jnet.plugin.workspace import Lifetime

_MINIMUM_WIDTH, _MINIMUM_HEIGHT = 360, 100  # low: a message below takes room from it first


class _Column(QScrollArea):
    """Asks for the same room whatever it holds, so that no step ever widens the dock."""

    def minimumSizeHint(self) -> QSize:
        return QSize(_MINIMUM_WIDTH, _MINIMUM_HEIGHT)


class Page(QWidget):
    """A dock widget of one step of the work: boxes in a column that scrolls, and a message.

    Subclasses put the message, which says what was done or is wrong, where it is seen.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._workspace = open_workspace(viewer)
        # napari's own viewer, not its proxy: layers are compared by identity
        self._viewer = self._workspace.viewer
        self._lifetime = lifetime = Lifetime()
        self.destroyed.connect(lambda *_: lifetime.end())
        content = QWidget()
        self.column = lay_out(QVBoxLayout(content), margins=(6, 4, 6, 4), spacing=6)
        self._area = _Column()
        self._area.setWidget(content)
        self._area.setWidgetResizable(True)
        self._area.setFrameShape(QFrame.Shape.NoFrame)
        lay_out(QVBoxLayout(self), self._area)
        self._wanted: QWidget | None = None
        # places are known when the layout has settled
        self._scroll = qdebounced(self._scroll_to_wanted, timeout=0, parent=self)
        self.message = MessageLine()

    def embed(self) -> None:
        """Leave out what the workbench, which holds this widget, says below all steps."""

    def bring_into_sight(self, part: QWidget) -> None:
        """Scroll to a part of the widget, when the layout has settled."""
        self._wanted = part
        self._scroll()

    def attempt(self, call: Callable[[], Any]) -> None:
        """Call, and show an error that the user can mend instead of raising it."""
        try:
            call()
        except (ValueError, OSError) as error:
            self.show_error(error)

    def show_error(self, error: Exception) -> None:
        """Say what is wrong; the whole report can be copied."""
        details = "".join(traceback.format_exception(error))
        text = str(error.strerror if isinstance(error, OSError) and error.strerror else error)
        if not isinstance(error, (ValueError, OSError)):
            text = f"{type(error).__name__}: {text or 'no further explanation'}"
        self.message.say(text, details, is_error=True)

    def _group(self, title: str) -> QFormLayout:
        box = QGroupBox(title)
        form = QFormLayout(box)
        form.setContentsMargins(8, 6, 8, 8)
        form.setVerticalSpacing(4)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.column.addWidget(box)
        return form

    def _scroll_to_wanted(self) -> None:
        if self._wanted is not None:
            self._area.ensureWidgetVisible(self._wanted)


class JobWidget(Page):
    """A page with one long job at a time.

    Subclasses put their forms into `column`, name the buttons that start a job in `_starters`, and
    take the events in `_on_event`.
    """

    finished = Signal(str)  # "done", "stopped" or "failed"; the buttons are right again

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self._runner = JobRunner()
        self._runner.on_wait = self._say_that_it_waits
        self._lifetime.at_end(self._runner.close)
        self._docked = False
        self.left = False  # the dock was closed: nobody sees the end
        self._starters: list[QPushButton] = []
        tip = "Stop at the next step; what is done so far is kept."
        self.stop_button = push_button("Stop", tip, self.stop)
        self.progress = QProgressBar()
        self.progress.setRange(0, 1000)
        self.stop_button.hide()
        self.progress.hide()

    @property
    def running(self) -> bool:
        """Whether a job is under way."""
        return self._runner.running

    def stop(self) -> None:
        """Ask the job to stop; `finished` follows."""
        if self._runner.running:
            self._runner.stop()
            self.stop_button.setEnabled(False)
            self.stop_button.setText("Stopping…")

    def event(self, event: QEvent) -> bool:
        """Stop the job when the dock is closed: nobody could stop it any more."""
        if event.type() == QEvent.Type.ParentChange:
            self.left = self._docked and self.parent() is None
            if self.left:
                self.stop()
            self._docked = self.parent() is not None
        return bool(super().event(event))

    def _add_starters(self, *starters: QPushButton) -> None:
        """Add a row of buttons that start a job, with Stop; below them progress and message."""
        self._starters = list(starters)
        self.column.addLayout(lay_out(QHBoxLayout(), *starters, self.stop_button))
        self.column.addWidget(self.progress)
        self.column.addWidget(self.message)

    def _copy_button(self, command: Callable[[], str]) -> QPushButton:
        """Return a button that copies what the page would do, as a line for a terminal."""

        def copy() -> None:
            QApplication.clipboard().setText(command())
            self.message.say("Command copied.")

        tip = "Copy what this page would do now, to run it without the window."
        return push_button("Copy as command", tip, lambda: self.attempt(copy))

    def _start(self, job: JobMaker, title: str) -> None:
        self.message.say("")
        self.progress.setValue(0)
        self.progress.setFormat("starting…")
        self._set_running(True)
        self._runner.start(
            job, self._on_event, self._on_done, self._on_error, self._on_stopped, title=title
        )

    def _show_progress(self, progress: Progress) -> None:
        self.progress.setValue(round(1000 * progress.done / progress.count))
        self.progress.setFormat(progress.text)

    def _say_that_it_waits(self) -> None:
        """Say why the window does not close at once; painted now, since nothing else will be."""
        self.progress.setFormat("finishing this step, then saving…")
        self.progress.repaint()

    def _set_running(self, running: bool) -> None:
        for button in self._starters:
            button.setEnabled(not running)
        self.stop_button.setText("Stop")
        self.stop_button.setEnabled(running)
        self.stop_button.setVisible(running)
        self.progress.setVisible(running)

    def _on_event(self, event: Any) -> None:
        raise NotImplementedError

    def _on_done(self, value: Any) -> None:
        self._end("done")

    def _on_stopped(self) -> None:
        self._end("stopped")

    def _on_error(self, error: Exception) -> None:
        self.show_error(error)
        self._end("failed")

    def _end(self, outcome: str) -> None:
        self._set_running(False)
        self.finished.emit(outcome)
