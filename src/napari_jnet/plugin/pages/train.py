"""The page that trains a network on the painted labels of an image."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import napari
import numpy as np
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QVBoxLayout, QWidget
from superqt.utils import qthrottled

from napari_jnet.cli.console import duration
from napari_jnet.config import Config
from napari_jnet.events import (
    BatchEnd,
    EpochEnd,
    Message,
    NewFrames,
    Preview,
    TrainingEnd,
    TrainingStart,
)
from napari_jnet.hardware import Hardware
from napari_jnet.plugin.guidance import Fix, Problem, assign_roles, check, fine_tune_problem
from napari_jnet.plugin.jobs.runner import JobRunner, TaskQueue
from napari_jnet.plugin.jobs.torch_loading import try_load_torch
from napari_jnet.plugin.jobs.train import (
    Estimate,
    LiveAnnotations,
    PreviewLayer,
    comparison,
    estimate,
    find_device,
    sample,
    short_name,
    training,
)
from napari_jnet.plugin.layers.edit import read_plane, replace_plane, rest_is_unknown
from napari_jnet.plugin.layers.read import pixels
from napari_jnet.plugin.pages.train_form import TrainForm
from napari_jnet.plugin.ui.page import JobWidget
from napari_jnet.plugin.ui.plots import TrainingPlots
from napari_jnet.plugin.ui.theme import set_style
from napari_jnet.plugin.ui.widgets import (
    MessageLine,
    WrappedLabel,
    lay_out,
    plural,
    push_button,
    small_label,
)
from napari_jnet.plugin.workspace import TrainingStatus, Workspace
from napari_jnet.project.runs import RunSummary, read_run


class ProblemList(QWidget):
    """Shows problems, with a button beside each that can be fixed."""

    def __init__(self, fix: Callable[[Problem], None]) -> None:
        super().__init__()
        self._fix = fix
        self.problems: list[Problem] = []
        self._column = lay_out(QVBoxLayout(self), margins=(2, 0, 2, 0), spacing=5)

    @property
    def blocking(self) -> list[Problem]:
        """Those that must be fixed before training."""
        return [problem for problem in self.problems if problem.blocking]

    @property
    def summary(self) -> str:
        """How many there are: "1 problem, 2 warnings"."""
        blocking = len(self.blocking)
        counts = {"problem": blocking, "warning": len(self.problems) - blocking}
        return ", ".join(plural(number, what) for what, number in counts.items() if number)

    def show_problems(self, problems: Sequence[Problem]) -> None:
        """Show these; the same ones are not drawn again."""
        if list(problems) == self.problems:
            return
        self.problems = list(problems)
        while (item := self._column.takeAt(0)) is not None:
            if (row := item.widget()) is not None:
                row.setParent(None)
                row.deleteLater()
        for problem in problems:
            self._column.addWidget(self._row(problem))

    def _row(self, problem: Problem) -> QWidget:
        sign = QLabel("✕" if problem.blocking else "!")
        colour = "@error" if problem.blocking else "@warning"
        set_style(sign, f"color: {colour}; font-weight: bold;")
        sign.setToolTip("Must be fixed before training." if problem.blocking else "Warning")
        text = WrappedLabel(problem.text)
        text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        inner = lay_out(QVBoxLayout(), text, spacing=2)
        if problem.fix is not None:
            button = push_button(problem.fix.value, "", partial(self._fix, problem))
            inner.addWidget(button, 0, Qt.AlignmentFlag.AlignLeft)
        row = QWidget()
        layout = lay_out(QHBoxLayout(row), sign, inner)
        layout.setAlignment(sign, Qt.AlignmentFlag.AlignTop)
        layout.setStretch(1, 1)
        return row


class ModelComparison(QWidget):
    """Compares a new model with the one before, takes the better one and offers the other.

    The model belongs to the labels, and to their project, that the training began with, whichever are
    current when it ends.
    """

    def __init__(self, workspace: Workspace, runner: JobRunner) -> None:
        super().__init__()
        self._workspace, self._runner = workspace, runner
        self._old: Path | None = None
        self._own: Path | None = None
        self._new = self._kept = Path()
        self.labels: Callable[[], Any] = lambda: None  # weakly: those that the training began with
        self._project: Any = None
        self._text = WrappedLabel()
        tip = "Predict, and the next fine-tuning, use the model that is kept."
        self.button = push_button("", tip, self._swap)
        lay_out(QVBoxLayout(self), self._text, self.button, margins=(8, 6, 8, 6))
        self.setVisible(False)

    @property
    def text(self) -> str:
        """What is shown."""
        return self._text.text()

    def begin(self, new: Path) -> None:
        """Remember which model a training begins with."""
        workspace = self._workspace
        self._new, self._old, self._own = new, workspace.model, workspace.own_model
        self.labels, self._project = weakref.ref(workspace.annotation), workspace.project
        self._text.clear()
        self.setVisible(False)

    def end(
        self, annotations: LiveAnnotations, device: str, *, compare: bool, then: Callable[[], None]
    ) -> None:
        """Take the better model, as the validation frames of the annotations say, then call ``then``.

        ``compare=False`` keeps the old model, where there is one: nobody waits, and the new one can be
        resumed.
        """
        new, old = self._new, self._old

        def show(text: str, kept: Path) -> None:
            if not self._keep_chosen():
                self.use(kept)
                self._offer(text, kept)
            then()

        def fail(why: str) -> None:
            show(f"The new model and the one before cannot be compared: {why}", new)

        if not (new / "model.pt").is_file() or self._keep_chosen():
            then()
        elif old is None or old in (new, new / "model.pt") or not old.exists():
            self.use(new)
            then()
        elif not compare:
            if self._own is None:  # the one before is of other labels
                self.use(new)
            then()
        elif not read_run(new).validation_frames:
            fail("there is no validation frame. Give one annotated frame that role.")
        else:
            self._runner.start(
                comparison(annotations, old, new, device),
                on_done=lambda end: show(end.summary, end.kept),
                on_error=lambda error: fail(str(error)),
                on_stopped=lambda: fail("the comparison was stopped."),
                title="comparing two models",
            )

    def use(self, model: Path) -> None:
        """Make a model that of the labels that it was trained on; their project remembers it."""
        workspace, labels, project = self._workspace, self.labels(), self._project
        if project is None and labels is workspace.annotation:
            project = workspace.project  # made while it trained
        workspace.set_model(model, labels, project)

    def _keep_chosen(self) -> bool:
        """Keep a model that the user chose by hand for these labels meanwhile; offer the new one."""
        workspace, chosen = self._workspace, self._workspace.own_model
        if chosen in (None, self._own, self._new) or self.labels() is not workspace.annotation:
            return False
        self._old = chosen
        self._offer(f"You chose {chosen.name} for these labels while this was trained.", chosen)
        return True

    def _offer(self, text: str, kept: Path) -> None:
        self._summary, self._kept = text, kept
        new = kept == self._new
        self._text.setText(
            f"{text} {'The new model is used.' if new else 'The old model is kept.'}"
        )
        self.button.setText("Keep the old one" if new else "Use the new one")
        self.setVisible(True)

    def _swap(self) -> None:
        other = self._old if self._old and self._kept == self._new else self._new
        self._offer(self._summary, other)
        self.use(other)


class TrainingMonitor(QWidget):
    """Shows the events of a training: curves, scores, progress and messages."""

    def __init__(self, progress: QProgressBar, message: MessageLine) -> None:
        super().__init__()
        self._progress, self._message = progress, message
        self._messages: dict[str, str] = {}  # by topic
        self._problems: set[str] = set()  # their topics
        self._frames = ""
        self._batches = 1
        self.device = ""
        self.epoch = 0
        self.part = 0.0  # of the whole training
        self.score_line = small_label()
        self.plot = TrainingPlots()
        lay_out(QVBoxLayout(self), self.score_line, self.plot)

    def begin(self) -> None:
        """Forget the last training."""
        self._messages, self._frames, self.epoch, self.part = {}, "", 0, 0.0
        self._problems.clear()
        self.score_line.clear()
        self.plot.clear()

    def take(self, event: Any) -> None:
        """Show an event."""
        match event:
            case BatchEnd():
                self._batch_end(event)
            case EpochEnd():
                self._epoch_end(event)
            case TrainingStart():
                self.device, self.epoch = event.device, event.start_epoch
                self._batches = event.batches_per_epoch
                self._count(event)
                self.score_line.setText(f"{self._frames}; {event.distance}")
            case NewFrames():
                self._count(event)
                added = ", ".join(map(short_name, event.added)) or "what was painted meanwhile"
                count = plural(len(event.training_frames), "frame")
                self.say("frames", f"Learning from {count} now, with {added}.")
            case Message():
                self.say(event.topic or event.text, event.text, is_problem=event.is_problem)
            case TrainingEnd():
                epochs, time = plural(event.epochs, "epoch"), duration(event.elapsed_s)
                kept = f"epoch {event.best_epoch} is kept. Next: open Predict."
                self.say("end", f"Trained {epochs} in {time}; {kept}")

    def say(self, topic: str, text: str, *, is_problem: bool = False) -> None:
        """Add a message; on the same topic, it takes the place of the one before."""
        self._messages.pop(topic, None)
        self._messages[topic] = text
        (self._problems.add if is_problem else self._problems.discard)(topic)
        self._message.say("\n".join(self._messages.values()), is_error=bool(self._problems))

    def _count(self, event: TrainingStart | NewFrames) -> None:
        frames = plural(len(event.training_frames), "frame")
        self._frames = f"{frames} to learn from, {len(event.validation_frames)} kept for validation"

    def _batch_end(self, event: BatchEnd) -> None:
        self.part = event.progress
        self._progress.setValue(round(1000 * event.progress))
        left = duration(event.remaining_s)
        self._progress.setFormat(f"epoch {event.epoch} · %p % · {left} left")
        self.plot.add_batch(event.epoch - 1 + event.batch / self._batches, event.loss)

    def _epoch_end(self, event: EpochEnd) -> None:
        self.epoch = event.epoch
        self.plot.add_epoch(event)
        scores = {"IoU": event.iou, "SEG": event.seg}
        parts = [f"{name} {score:.3f}" for name, score in scores.items() if score is not None]
        parts.append("not scored" if event.validation_loss is None else "on validation")
        self.score_line.setText(
            f"epoch {event.epoch}: {' · '.join(parts)}\n"
            f"{event.images_per_s:.1f} patches/s · {self._frames}"
        )


_NARROW = 60  # of a button, while the buttons of two states show for a moment
_CHECK_EVERY_MS = 200
_MEASURE_EVERY_MS = 1500  # a stroke seldom comes alone
_FINE_TUNE_TIP = (
    "Continue from the model that Predict shows with all that is painted now, old and new: fewer minutes "
    "do than for training from scratch. The better of both models is kept."
)
_RESUME_TIP = "Continue where it was stopped, with all that is painted now."
_PAUSE_TIP = (
    "Pause and free the CPU/GPU. Closing napari meanwhile loses no more than the epoch under way."
)


class TrainWidget(JobWidget):
    """Trains a network in the background on the layers of a viewer; the window stays alive."""

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        workspace, lifetime = self._workspace, self._lifetime
        self._annotations: LiveAnnotations | None = None  # while it trains
        self._preview: PreviewLayer | None = None
        self._run: Path | None = None
        self._device = "auto"
        self._stopped_here = False  # by this widget, so that the user waits for the end
        self._project_requested = False  # a training begins when it is made
        self._resumable: RunSummary | None = None
        self._prepared = self._measuring = False
        self._tasks = TaskQueue("napari-jnet training form")
        self._check_soon = qthrottled(
            self.check, timeout=_CHECK_EVERY_MS, leading=False, parent=self
        )
        self._measure_soon = qthrottled(
            self.measure, timeout=_MEASURE_EVERY_MS, leading=False, parent=self
        )
        groups = self._group("Learn from"), self._group("Train")
        self._setup = [rows.parentWidget() for rows in groups]
        self.form = TrainForm(*groups, workspace, lifetime)
        self.image_combo, self.labels_combo = self.form.image_combo, self.form.labels_combo
        self.monitor = TrainingMonitor(self.progress, self.message)
        self.plot, self.score_line = self.monitor.plot, self.monitor.score_line
        self.problems = ProblemList(self.fix)
        show = partial(self.bring_into_sight, self.problems)
        self.problems_button = push_button("", "Show problems.", show)
        self.problems_button.setFlat(True)
        set_style(self.problems_button, "text-align: left; color: @warning; padding: 2px;")
        self.comparison = ModelComparison(workspace, self._runner)
        self.device_line = small_label("Device: looking…")
        self.train_button = push_button("", "", self.start)
        self.fine_tune_button = push_button("Fine-tune", "", partial(self.start, fine_tune=True))
        self.resume_button = push_button("", "", self.resume)
        self.pause_button = push_button("", _PAUSE_TIP, self.toggle_pause)
        self.copy_button = self._copy_button(self.form.command)
        self._lay_out()
        self._connect()
        self.check()
        self.read_last_run()
        self._set_running(False)

    def _lay_out(self) -> None:
        self.column.insertWidget(0, self.comparison)  # news: seen without scrolling
        for part in (self.problems, self.device_line, self.monitor):
            self.column.addWidget(part)
        self.column.addStretch(1)
        footer = QWidget()  # stays in sight however small the window is
        buttons = self.train_button, self.fine_tune_button, self.pause_button, self.stop_button
        row = lay_out(QHBoxLayout(), *buttons, self.copy_button)
        for button in buttons:
            # "Train from scratch"
            row.setStretchFactor(button, 3 if button is self.train_button else 2)
            button.setMinimumWidth(_NARROW)
        parts = self.problems_button, row, self.resume_button, self.progress, self.message
        lay_out(QVBoxLayout(footer), *parts, margins=(6, 2, 6, 4), spacing=4)
        self.layout().addWidget(footer)

    def _connect(self) -> None:
        workspace, lifetime, frames = self._workspace, self._lifetime, self._workspace.frames
        data = (frames.changed, frames.kind_changed, workspace.image_changed)
        layers = self._viewer.layers.events
        for emitter in data:
            lifetime.connect(emitter, self._measure_soon)
        for emitter in (*data, workspace.annotation_changed, layers.inserted, layers.removed):
            lifetime.connect(emitter, self._check_soon)
        lifetime.connect(self._viewer.dims.events.current_step, self._follow_viewer)
        lifetime.connect(workspace.annotation_changed, self._other_labels)
        lifetime.connect(workspace.project_changed, self.read_last_run)
        lifetime.connect(workspace.training_changed, self.read_last_run)
        lifetime.connect(workspace.model_changed, lambda _: self.check())
        self.form.changed.connect(self._measure_soon)
        lifetime.at_end(self._tasks.close)
        lifetime.at_end(self._leave)
        lifetime.connect(workspace.commands.changed, self._show_state)
        lifetime.at_end(workspace.commands.attach({"train": self.press}))

    # what scripts use

    @property
    def running(self) -> bool:
        """Whether a training is under way, or its project is being made."""
        return self._runner.running or self._project_requested

    @property
    def paused(self) -> bool:
        """Whether a training is paused."""
        return self._runner.paused

    def set_values(self, **values: Any) -> None:
        """Fill in the form; see `TrainForm.set_values`."""
        self.form.set_values(**values)
        self.check()

    def start(self, *, fine_tune: bool = False, run: Path | None = None) -> None:
        """Start training, as the buttons do; problems are shown in the widget.

        ``fine_tune`` continues from the model of the workspace.  ``run`` is the folder to write, new or
        overwritten; None for the next one of the project.
        """
        if self.running:
            return
        try:
            self.check()
            why = fine_tune_problem(self._workspace) if fine_tune else ""
            if why := why or self._why_not():
                raise ValueError(why)
            config = self.form.training_config(fine_tune=fine_tune)
        except ValueError as error:
            self._refuse(error)
        else:
            start_from = self._workspace.model if fine_tune else None
            begin = partial(self._begin, config, start_from=start_from)
            if run is None:
                self._reserve_run(begin)
            else:
                begin(run)

    def resume(self) -> None:
        """Resume the last training of the project that was stopped, for the time it had left."""
        if not self.running and self._resumable is not None:
            self._begin(self.form.computer(), self._resumable.path, resume=True)

    def press(self) -> None:
        """Do what comes next, for the key: fine-tune where that can work, else train."""
        self.start(fine_tune=not fine_tune_problem(self._workspace))

    def toggle_pause(self) -> None:
        """Pause the training, or let it go on."""
        if not self._runner.running or self._runner.stopping:
            return
        paused = not self._runner.paused
        self._runner.set_paused(paused)
        self.progress.setFormat("paused · %p %" if paused else "resuming…")
        self._report("paused" if paused else "running")

    def stop(self) -> None:
        """Ask the training to stop; `finished` follows."""
        if self._runner.running:
            self._stopped_here = True
            self.pause_button.setEnabled(False)
            self._report("stopping")
        super().stop()

    # a training from its start to its end

    @property
    def _trains_elsewhere(self) -> bool:
        return self._workspace.training.state != "idle" and not self.running

    def _why_not(self) -> str:
        """Return why no training can begin now; "" if one can."""
        if self._trains_elsewhere:
            return "A training runs in another Train window; stop it there first."
        return next((problem.text for problem in self.problems.blocking), "")

    def _reserve_run(self, found: Callable[[Path], None]) -> None:
        """Call with the folder of the next run, when the project is made."""
        labels = self._workspace.annotation

        def made(project: Any) -> None:
            if not self._project_requested:
                return
            self._project_requested = False
            try:
                if labels is not self._workspace.annotation:
                    raise ValueError(
                        f"Other labels than {labels.name!r} were chosen while their project was made; "
                        "press Train again for those that are chosen now."
                    )
                run = project.reserve_run()
            except (ValueError, OSError) as error:
                self._refuse(error)
            else:
                found(run)

        def failed(error: Exception) -> None:
            if self._project_requested:
                self._refuse(error)

        self._project_requested = True
        self._workspace.autosave.ensure_project(made, failed)

    def _begin(
        self, config: Config, run: Path, *, resume: bool = False, start_from: Path | None = None
    ) -> None:
        image = self._workspace.image
        try:
            if why := self._why_not():
                raise ValueError(why)
            self._annotations = annotations = LiveAnnotations(self._workspace)
        except (ValueError, OSError) as error:
            self._refuse(error)
            return
        self._run, self._device, self._stopped_here = run, config.training.device, False
        self._preview = preview = PreviewLayer(self._viewer, image)
        self.monitor.begin()
        self.comparison.begin(run)
        job = training(annotations, run, config, preview, resume=resume, start_from=start_from)
        self._start(job, f"training on {image.name}")
        self._report("running")

    def _refuse(self, error: Exception) -> None:
        self._project_requested = False
        self._set_running(False)
        self.show_error(error)
        self.finished.emit("failed")

    def _on_event(self, event: Any) -> None:
        if isinstance(event, Preview):
            if self._preview is not None:
                self._preview.show(event)
            return
        self.monitor.take(event)
        if self._runner.paused:  # the last events before the pause
            self.progress.setFormat("paused · %p %")
        if self.monitor.device:
            self.device_line.setText(f"Device: {self.monitor.device}")
        if isinstance(event, EpochEnd):
            self._report(self._workspace.training.state)

    def _end(self, outcome: str) -> None:
        annotations = self._annotations
        if annotations is not None:
            annotations.end()
        if outcome == "stopped" and self._run is not None:
            name = self._run.name
            text = f"Stopped. The model so far is kept as run {name}; it can be resumed later."
            self.monitor.say("end", text)
        if outcome == "failed" or annotations is None:
            self._compared(outcome)
            return
        waits = not self.left and (outcome == "done" or self._stopped_here)
        self.pause_button.setEnabled(False)
        self.stop_button.setEnabled(True)
        self.stop_button.setText("Skip comparison")
        self.progress.setFormat("comparing with the model before…")
        then = partial(self._compared, outcome)
        self.comparison.end(annotations, self._device, compare=waits, then=then)

    def _compared(self, outcome: str) -> None:
        self._annotations = None
        self._report("idle", outcome)
        self.check()
        if outcome != "failed" and self.comparison.isHidden():  # else that is the news
            self.bring_into_sight(self.plot)
        super()._end(outcome)  # last: who hears of it may close the window

    def _leave(self) -> None:
        """Leave no training behind in the workspace when the widget is gone."""
        self._project_requested = False
        if self._annotations is not None:
            self._annotations.end()
        if self._runner.running:
            run = self._workspace.training.run
            self._workspace.training = TrainingStatus(run=run, outcome="stopped")

    def _report(self, state: str, outcome: str = "") -> None:
        monitor, labels = self.monitor, self.comparison.labels
        self._workspace.training = TrainingStatus(
            state, self._run, monitor.epoch, monitor.part, outcome, labels
        )

    def _set_running(self, running: bool) -> None:
        super()._set_running(running)
        self.pause_button.setEnabled(running)
        self._area.verticalScrollBar().setValue(0)
        self._show_state()

    def _show_state(self) -> None:
        """Show what can be read and pressed now, and what keeps the other buttons from it."""
        workspace, running, run = self._workspace, self._runner.running, self._resumable
        reason, resumable = self._why_not(), run is not None and not self._trains_elsewhere
        for button, shown, tip in (
            (self.train_button, True, workspace.commands.tooltip("train")),
            (self.fine_tune_button, not fine_tune_problem(workspace), _FINE_TUNE_TIP),
            (self.resume_button, resumable, _RESUME_TIP),
        ):
            button.setVisible(shown and not running)
            button.setEnabled(not running and not reason)
            button.setToolTip(reason or tip)
        self.train_button.setText("Train" if workspace.model is None else "Train from scratch")
        if run is not None:
            self.resume_button.setText(f"Resume the training stopped at epoch {run.epochs}")
        for part in (*self._setup, self.copy_button):  # the curves need the room
            part.setVisible(not running)
        self.problems_button.setText(f"{self.problems.summary} ›")
        for part in (self.problems, self.problems_button):
            part.setVisible(bool(self.problems.problems) and not running)
        self.pause_button.setVisible(running)
        self.pause_button.setText("Resume" if self.paused else "Pause")

    # what changes around it

    def read_last_run(self, _event: Any = None) -> None:
        """Read whether the last run of the project can be resumed; not while one trains."""
        project = self._workspace.project
        if not self.running and self._workspace.training.state == "idle":
            last = None if project is None else project.last_run
            self._resumable = last if last is not None and last.resumable else None
        self._check_soon()
        self._show_state()

    def _other_labels(self, _layer: Any) -> None:
        """Forget the run of other labels; that of these labels' project is read then."""
        self._resumable = None
        self._show_state()
        panel = self.comparison  # what it shows and offers is of the labels that were learned from
        panel.setVisible(bool(panel.text) and panel.labels() is self._workspace.annotation)

    def _follow_viewer(self, _event: Any = None) -> None:
        if self.running and self._preview is not None:
            self._preview.follow()

    # problems and what fixes them

    def check(self) -> None:
        """Check now what stands in the way of a training."""
        self._check_soon.cancel()
        self.problems.show_problems(check(self._workspace))
        self._show_state()

    def fix(self, problem: Problem) -> None:
        """Do what the button beside a problem promises."""
        self.attempt(partial(self._fix, problem))
        self.check()

    def _fix(self, problem: Problem) -> None:
        workspace, frames, positions = self._workspace, self._workspace.frames, problem.positions
        match problem.fix:
            case Fix.OPEN_STACK:
                workspace.page = "stack"
            case Fix.PAINT:
                workspace.page = "annotate"
            case Fix.NEW_ANNOTATION:
                workspace.new_annotation(frames.kind)
                workspace.page = "annotate"
            case Fix.ASSIGN_ROLES:
                frames.set_roles(assign_roles(positions))
            case Fix.MARK_UNKNOWN:
                for index in _planes(frames.layer, positions):
                    plane = read_plane(frames.layer, index)
                    if (plane > 0).any():
                        replace_plane(frames.layer, index, rest_is_unknown(plane, frames.kind))
            case Fix.NUMBER_APART:
                for position in positions:
                    frames.number_apart(position)

    # what is known of the computer and the data

    def showEvent(self, event: QShowEvent) -> None:
        """Look the device up once the widget is on the screen."""
        super().showEvent(event)
        QTimer.singleShot(0, self.prepare)

    def prepare(self) -> None:
        """Find the device and measure the cells; this is the first use of torch."""
        if self._prepared:
            return
        self._prepared = True
        self._tasks.submit(find_device, self._device_found, self.show_error)
        self.measure()
        # last: what the form shows comes first
        self._tasks.submit(partial(try_load_torch, optimizer=True))
        self._tasks.submit(partial(import_module, "pyqtgraph"))  # draws the curves

    def _device_found(self, found: tuple[str, Hardware]) -> None:
        line, hardware = found
        if not self.running:
            self.device_line.setText(f"Device: {line}")
        self.form.set_hardware(hardware)

    def measure(self) -> None:
        """Measure the painted cells; a measurement under way is followed by another."""
        if not self._prepared or self.running:
            return
        if self._measuring:
            self._measure_soon()
            return
        try:
            data, config = sample(self._workspace), self.form.training_config()
        except ValueError:  # shown when training is requested
            return
        if data is None:
            self.form.show_estimate(None)
            return
        self._measuring = True

        def measured(found: Estimate | Exception | None) -> None:
            self._measuring = False
            self.form.show_estimate(None if isinstance(found, Exception) else found)

        self._tasks.submit(lambda: estimate(data, config), measured, measured)


def _planes(layer: Any, positions: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield the indices of the planes of these frames."""
    shape = pixels(layer).shape
    for position in positions:
        for plane in np.ndindex(shape[1:-2]):
            yield (position, *plane) if len(shape) > 2 else ()
