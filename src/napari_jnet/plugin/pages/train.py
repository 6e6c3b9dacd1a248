"""The page that trains a network on the painted labels of an image."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import qdebounced, qthrottled

from napari_jnet.budgets import Hardware
from napari_jnet.config import Config
from napari_jnet.events import (
    BatchEnd,
    EpochEnd,
    NewFrames,
    Notice,
    TrainingEnd,
    TrainingStart,
)
from napari_jnet.labels import UNKNOWN
from napari_jnet.plugin.guidance import Fix, Problem, assign_roles, check, fitting_labels
from napari_jnet.plugin.jobs.runner import JobRunner, TaskQueue
from napari_jnet.plugin.jobs.torch_loading import try_load_torch
from napari_jnet.plugin.jobs.train import (
    EarlierRuns,
    EstimatedSettings,
    LiveAnnotations,
    PlacedPreview,
    PreviewLayer,
    comparison,
    estimate_settings,
    find_device,
    read_others,
    sample,
    short_name,
    training,
)
from napari_jnet.plugin.layers.edit import number_pieces_apart, read_plane, replace_plane
from napari_jnet.plugin.layers.read import pixels
from napari_jnet.plugin.pages.train_form import TrainForm
from napari_jnet.plugin.ui.page import JobWidget
from napari_jnet.plugin.ui.plots import TrainingPlots
from napari_jnet.plugin.ui.theme import set_style
from napari_jnet.plugin.ui.widgets import MessageLine, WrappedLabel, plural, small_label
from napari_jnet.plugin.workspace import TrainingStatus, Workspace
from napari_jnet.project.runs import RunSummary, read_run

if TYPE_CHECKING:
    import napari


class ProblemList(QWidget):
    """Shows problems; takes no room where there is none, or while it is folded."""

    fix_requested = Signal(object)  # the Problem
    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.problems: list[Problem] = []
        self._folded = False
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(2, 0, 2, 0)
        self._column.setSpacing(5)
        self.setVisible(False)

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
        self.fold(self._folded)

    def fold(self, folded: bool) -> None:
        """Hide the list, or show it again."""
        self._folded = folded
        self.setVisible(bool(self.problems) and not folded)
        self.changed.emit()

    def _row(self, problem: Problem) -> QWidget:
        sign = QLabel("✕" if problem.blocking else "!")
        colour = "@error" if problem.blocking else "@warning"
        set_style(sign, f"color: {colour}; font-weight: bold;")
        sign.setToolTip("Must be fixed before training." if problem.blocking else "Warning")
        text = WrappedLabel(problem.text)
        text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        inner = QVBoxLayout()
        inner.setSpacing(2)
        inner.addWidget(text)
        if problem.fix is not None:
            button = QPushButton(problem.title or problem.fix.value)
            button.clicked.connect(lambda *_: self.fix_requested.emit(problem))
            inner.addWidget(button, 0, Qt.AlignmentFlag.AlignLeft)
        row = QWidget()
        layout = QHBoxLayout(row)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(sign, 0, Qt.AlignmentFlag.AlignTop)
        layout.addLayout(inner, 1)
        return row


class ProblemLine(QPushButton):
    """One line in place of the list of problems, while that is folded or scrolled out of sight.

    Parameters
    ----------
    problems
        The list.
    area
        What it lies in.
    """

    def __init__(self, problems: ProblemList, area: QScrollArea) -> None:
        super().__init__()
        self._problems, self._area = problems, area
        self.setFlat(True)
        set_style(self, "text-align: left; color: @warning; padding: 2px;")
        self.setToolTip("Show problems.")
        self.clicked.connect(self.show_list)
        # places are known when the layout has settled
        self._refresh_soon = qdebounced(self.refresh, timeout=0, parent=self)
        self._scroll_soon = qdebounced(self._scroll, timeout=0, parent=self)
        bar = area.verticalScrollBar()
        assert bar is not None
        for emitter in (problems.changed, bar.valueChanged, bar.rangeChanged):
            emitter.connect(lambda *_: self._refresh_soon())
        self.refresh()

    def refresh(self) -> None:
        """Show the line where the list cannot be read."""
        problems = self._problems
        hidden = problems.isHidden()
        if problems.isVisible():
            hidden = problems.visibleRegion().boundingRect().height() < problems.height()
        self.setText(f"{problems.summary} ›")
        self.setVisible(bool(problems.problems) and hidden)

    def show_list(self) -> None:
        """Unfold the list, and scroll to it."""
        self._problems.fold(False)
        self._scroll_soon()

    def _scroll(self) -> None:
        self._area.ensureWidgetVisible(self._problems)


class ModelComparison(QWidget):
    """Compares a new model with the one before, takes the better one and offers the other.

    The model belongs to the labels, and to their project, that the training began with, whichever are
    current when it ends.

    Parameters
    ----------
    workspace
        Its model is the one before the training.
    runner
        Of the training; free when it ends.
    """

    def __init__(self, workspace: Workspace, runner: JobRunner) -> None:
        super().__init__()
        self._workspace, self._runner = workspace, runner
        self._model_before: Path | None = None
        self._own_before: Path | None = None
        self._old: Path | None = None
        self._new = self._kept = Path()
        self.labels: Callable[[], Any] = lambda: None  # weakly: those that the training began with
        self._project: Any = None
        self._text = WrappedLabel()
        self.button = QPushButton()
        self.button.setToolTip("Predict, and the next fine-tuning, use the model that is kept.")
        self.button.clicked.connect(self._swap)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 6, 8, 6)
        column.addWidget(self._text)
        column.addWidget(self.button)
        self.setVisible(False)

    @property
    def text(self) -> str:
        """What is shown."""
        return self._text.text()

    def begin(self, new: Path) -> None:
        """Remember which model a training begins with."""
        workspace = self._workspace
        self._model_before, self._own_before = workspace.model, workspace.own_model
        self.labels, self._project = weakref.ref(workspace.annotation), workspace.project
        self._new, self._old = new, workspace.model
        if self._old in (new, new / "model.pt"):
            self._old = None
        self._text.clear()
        self.setVisible(False)

    def end(
        self,
        annotations: LiveAnnotations,
        device: str,
        *,
        compare: bool,
        then: Callable[[], None],
    ) -> None:
        """Take the better model, then call ``then``.

        Parameters
        ----------
        annotations
            What was learned from; its validation frames decide.
        device
            Where to compute.
        compare
            False keeps the old model, where there is one: nobody waits, and the new one can be resumed.
        """
        new, old = self._new, self._old

        def show(text: str, kept: Path, better: bool | None = None) -> None:
            if not self._keep_chosen():
                self.use(kept)
                self._offer(text, kept, better)
            then()

        def fail(why: str) -> None:
            show(f"The new model and the one before cannot be compared: {why}", new)

        if not (new / "model.pt").is_file() or self._keep_chosen():
            then()
        elif old is None or not old.exists():
            self.use(new)
            self._show("The first model: there is none before it to compare it with.")
            self.button.setVisible(False)
            then()
        elif not compare:
            if self._own_before is None:  # the one before is of other labels
                self.use(new)
            then()
        elif not read_run(new).validation_frames:
            fail("there is no validation frame. Give one annotated frame that role.")
        else:
            self._runner.start(
                comparison(annotations, old, new, device),
                on_done=lambda end: show(end.summary, end.kept, end.better),
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
        workspace, chosen = self._workspace, self._workspace.model
        meanwhile = workspace.model_by_hand and chosen != self._model_before
        if chosen is None or not meanwhile or self.labels() is not workspace.annotation:
            return False
        self._old = chosen
        self._offer(f"You chose {chosen.name} for these labels while this was trained.", chosen)
        return True

    def _offer(self, text: str, kept: Path, better: bool | None = None) -> None:
        self._summary, self._kept, self._better = text, kept, better
        new = kept == self._new
        self._show(
            f"{text} {'The new model is used.' if new else 'The old model is kept.'}", better
        )
        self.button.setText("Keep the old one" if new else "Use the new one")
        self.button.setVisible(True)

    def _show(self, text: str, better: bool | None = None) -> None:
        self._text.setText(text)
        colour = {True: "@success", False: "@warning", None: "@muted"}[better]
        set_style(self._text, f"color: {colour};")
        self.setVisible(True)

    def _swap(self) -> None:
        other = self._old if self._old and self._kept == self._new else self._new
        self._offer(self._summary, other, self._better)
        self.use(other)


class TrainingMonitor(QWidget):
    """Shows the events of a training: curves, scores, progress and messages.

    Parameters
    ----------
    progress, message
        Of the page.
    """

    def __init__(self, progress: QProgressBar, message: MessageLine) -> None:
        super().__init__()
        self._progress, self._message = progress, message
        self._messages: dict[str, str] = {}  # by topic
        self._frames = ""
        self._validated = False
        self._added: list[str] = []
        self._batches = 1
        self.device = ""
        self.epoch = 0
        self.part = 0.0  # of the whole training
        self.score_line = small_label()
        self.plot = TrainingPlots()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.score_line)
        column.addWidget(self.plot)

    def begin(self) -> None:
        """Forget the last training."""
        self._messages, self._frames, self.epoch, self.part = {}, "", 0, 0.0
        self._added = []
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
                self.score_line.setText(
                    f"{self._frames}; distance truncated at {event.dt_bound:g} px"
                )
            case NewFrames():
                self._new_frames(event)
            case Notice():
                self.say(event.text, event.text)
            case EarlierRuns():
                for epoch in event.own:
                    self.plot.add_epoch(epoch)
                self.plot.show_earlier(event.others)
            case TrainingEnd():
                epochs, time = plural(event.epochs, "epoch"), _duration(event.elapsed_s)
                best = f"the best is epoch {event.best_epoch}. Next: open Predict."
                self.say("end", f"Trained {epochs} in {time}; {best}")

    def say(self, topic: str, text: str) -> None:
        """Add a message; on the same topic, it takes the place of the one before."""
        self._messages.pop(topic, None)
        self._messages[topic] = text
        self._message.say("\n".join(self._messages.values()))

    def stopped(self, run: Path, project: Any | None) -> None:
        """Show where a stopped training has left its model."""
        inside = project is not None and run.is_relative_to(project.path)
        where = f"as run {run.name}" if inside else f"in {run}"
        self.say("end", f"Stopped. The model so far is kept {where}; it can be resumed later.")

    def _count(self, event: TrainingStart | NewFrames) -> None:
        self._validated = bool(event.validation_frames)
        frames = plural(len(event.training_frames), "frame")
        self._frames = f"{frames} to learn from, {len(event.validation_frames)} kept for validation"

    def _batch_end(self, event: BatchEnd) -> None:
        self.part = event.progress
        self._progress.setValue(round(1000 * event.progress))
        left = _duration(event.remaining_s)
        self._progress.setFormat(f"epoch {event.epoch} · %p % · {left} left")
        part = event.epoch - 1 + event.batch / self._batches
        self.plot.add_batch(part, event.elapsed_s, event.loss)

    def _epoch_end(self, event: EpochEnd) -> None:
        self.epoch = event.epoch
        self.plot.add_epoch(event)
        scores = {"IoU": event.iou, "SEG": event.seg}
        parts = [f"{name} {score:.3f}" for name, score in scores.items() if score is not None]
        if event.validation_loss is not None:
            parts = [*(parts or ["IoU -"]), "on validation"]  # none that could be wrong
        else:
            parts.append("not scored" if self._validated else "no validation frame")
        best = " · best so far" if event.best else ""
        memory = "" if event.memory_mb is None else f" · {_memory(event.memory_mb)}"
        self.score_line.setText(
            f"epoch {event.epoch}: {' · '.join(parts)}{best}\n"
            f"{event.images_per_s:.1f} patches/s{memory} · {self._frames}"
        )

    def _new_frames(self, event: NewFrames) -> None:
        self._count(event)
        self._added += [short_name(name) for name in event.added]
        present = {short_name(n) for n in (*event.training_frames, *event.validation_frames)}
        added = [name for name in dict.fromkeys(self._added) if name in present]
        new = f"{' and '.join(added)} {'is' if len(added) == 1 else 'are'} new"
        self.say(
            "frames",
            f"Learning from {plural(len(event.training_frames), 'frame')} now "
            f"({new if added else 'with what was painted meanwhile'}).",
        )


def _duration(seconds: float) -> str:
    """Return a duration: "45 s", "3 min", "2 h 10 min"."""
    if seconds < 90:
        return f"{max(0, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _memory(megabytes: float) -> str:
    return f"{megabytes:.0f} MB" if megabytes < 1000 else f"{megabytes / 1024:.1f} GB"


_NARROW = 60  # of a button, while the buttons of two states show for a moment
_CHECK_EVERY_MS = 200
_MEASURE_EVERY_MS = 1500  # a stroke seldom comes alone
_ELSEWHERE = "A training runs in another Train window; stop it there first."
_FINE_TUNE_TIP = (
    "Continue from the model that Predict shows with all that is painted now, old and new: fewer minutes "
    "do than for training from scratch. The better of both models is kept."
)
_RESUME_TIP = "Continue where it was stopped, with all that is painted now."
_PAUSE_TIP = (
    "Pause and free the CPU/GPU. Closing napari meanwhile loses no more than the epoch under way."
)


class TrainWidget(JobWidget):
    """Trains a network in the background; the window stays alive.

    Parameters
    ----------
    napari_viewer
        The viewer whose layers are learned from.
    """

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
        self._shown_run: Path | None = None  # that the plots show
        self._prepared = self._measuring = False
        self._edits: Iterator[Callable[[], Any]] = iter(())
        self._edited: Any = None
        self._edit_timer = QTimer(self)
        self._edit_timer.timeout.connect(self._edit_next)
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
        self.problems = ProblemList()
        self.problems.fix_requested.connect(self.fix)
        self.comparison = ModelComparison(workspace, self._runner)
        self.device_line = small_label("Device: looking…")
        self.train_button = QPushButton()
        self.train_button.clicked.connect(lambda: self.start())
        self.fine_tune_button = QPushButton("Fine-tune")
        self.fine_tune_button.clicked.connect(lambda: self.start(fine_tune=True))
        self.resume_button = QPushButton()
        self.resume_button.clicked.connect(self.resume)
        self.pause_button = QPushButton()
        self.pause_button.setToolTip(_PAUSE_TIP)
        self.pause_button.clicked.connect(self.toggle_pause)
        self.copy_button = self._copy_button(self.command)
        self._lay_out()
        self._connect()
        self._model_changed()
        self._set_running(False)

    def _lay_out(self) -> None:
        self.column.insertWidget(0, self.comparison)  # news: seen without scrolling
        for part in (self.problems, self.device_line, self.monitor):
            self.column.addWidget(part)
        self.column.addStretch(1)
        footer = QWidget()  # stays in sight however small the window is
        column = QVBoxLayout(footer)
        column.setContentsMargins(6, 2, 6, 4)
        column.setSpacing(4)
        column.addWidget(ProblemLine(self.problems, self._area))
        row = QHBoxLayout()
        for button in (
            self.train_button,
            self.fine_tune_button,
            self.pause_button,
            self.stop_button,
        ):
            row.addWidget(button, 1)
            button.setMinimumWidth(_NARROW)
        row.addWidget(self.copy_button)
        column.addLayout(row)
        for part in (self.resume_button, self.progress, self.message):
            column.addWidget(part)
        outer = self.layout()
        assert outer is not None
        outer.addWidget(footer)

    def _connect(self) -> None:
        workspace, lifetime, frames = self._workspace, self._lifetime, self._workspace.frames
        for emitter in (frames.changed, frames.kind_changed, workspace.image_changed):
            lifetime.connect(emitter, self._data_changed)
        layers = self._viewer.layers.events
        for emitter in (workspace.annotation_changed, layers.inserted, layers.removed):
            lifetime.connect(emitter, self._check_later)
        lifetime.connect(self._viewer.dims.events.current_step, self._follow_viewer)
        lifetime.connect(workspace.annotation_changed, self._other_labels)
        lifetime.connect(workspace.project_changed, self._project_changed)
        lifetime.connect(workspace.training_changed, self._training_changed)
        lifetime.connect(workspace.fine_tuning.changed, self._model_changed)
        self.form.changed.connect(self._form_changed)
        lifetime.at_end(lambda: workspace.fine_tuning.choose({}))
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

    def set_image(self, layer: Any) -> None:
        """Choose the image layer."""
        self.image_combo.set_layer(layer)

    def set_labels(self, layer: Any) -> None:
        """Choose the labels layer."""
        self.labels_combo.set_layer(layer)

    def set_values(self, **values: Any) -> None:
        """Fill in the form; see `TrainForm.set_values`."""
        self.form.set_values(**values)
        self._form_changed()
        self.check()

    def start(self, *, fine_tune: bool = False) -> None:
        """Start training, as the buttons do; problems are shown in the widget.

        Parameters
        ----------
        fine_tune
            Whether to continue from the model of the workspace, with all that is painted now.
        """
        if self.running:
            return
        try:
            start_from = self.form.start_from(fine_tune=fine_tune)
            for problem in self.check():
                if problem.blocking:
                    raise ValueError(problem.text)
            self._refuse_second()
            resume = self.form.resume and not fine_tune
            config = self.form.training_config(fine_tune=start_from is not None, resume=resume)
            self._find_run(partial(self._begin, config, resume=resume, start_from=start_from))
        except (ValueError, OSError) as error:
            self._refuse(error)

    def resume(self, *_: Any) -> None:
        """Resume the last training that was stopped, for the time it had left."""
        if self.running or self._resumable is None:
            return
        try:
            computer = self.form.computer()
        except ValueError as error:
            self._refuse(error)
        else:
            self._begin(computer, self._resumable.path, resume=True, start_from=None)

    def press(self) -> None:
        """Do what comes next, for the key: fine-tune where that can work, else train."""
        self.start(fine_tune=self._workspace.fine_tuning.possible)

    def toggle_pause(self, *_: Any) -> None:
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

    def command(self, *, fine_tune: bool = False) -> str:
        """Return the line for a terminal that does what Train would do.

        Raises
        ------
        ValueError
            If there is no project that the labels are saved in, or no model to fine-tune.
        """
        return self.form.command(fine_tune=fine_tune)

    # a training from its start to its end

    @property
    def _trains_elsewhere(self) -> bool:
        return self._workspace.training.state != "idle" and not self.running

    def _refuse_second(self) -> None:
        if self._trains_elsewhere:
            raise ValueError(_ELSEWHERE)

    def _find_run(self, found: Callable[[Path], None]) -> None:
        """Call with the folder of the next run, at once or when its project is made."""
        if (folder := self.form.value("folder")) is not None:
            found(folder)
            return
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

    def _begin(self, config: Config, run: Path, *, resume: bool, start_from: Path | None) -> None:
        image = self._workspace.image
        try:
            self._refuse_second()
            self._annotations = annotations = LiveAnnotations(self._workspace)
        except (ValueError, OSError) as error:
            self._refuse(error)
            return
        self._run, self._device, self._stopped_here = run, config.training.device, False
        self._preview = preview = PreviewLayer(self._viewer, image, self._preview)
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
        if isinstance(event, PlacedPreview):
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
            self.monitor.stopped(self._run, self._workspace.project)
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
        if self.comparison.labels() is self._workspace.annotation:
            self._shown_run = self._run
        self._report("idle", outcome)
        self.check()
        super()._end(outcome)
        if outcome != "failed" and self.comparison.isHidden():  # else that is the news
            self.bring_into_sight(self.plot)

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
        for group in self._setup:  # the curves need the room, and nothing there acts now
            group.setVisible(not running)
        self.problems.fold(running)
        bar = self._area.verticalScrollBar()
        assert bar is not None
        bar.setValue(0)
        self._show_state()

    def _show_state(self) -> None:
        """Show the buttons that can be pressed now, and what keeps the others from it."""
        workspace, running, run = self._workspace, self._runner.running, self._resumable
        blocking = [problem.text for problem in self.problems.blocking]
        elsewhere = self._trains_elsewhere
        reason = _ELSEWHERE if elsewhere else next(iter(blocking), "")
        resumable = run is not None and not elsewhere
        for button, shown, tip in (
            (self.train_button, True, workspace.commands.tooltip("train")),
            (self.fine_tune_button, workspace.fine_tuning.possible, _FINE_TUNE_TIP),
            (self.resume_button, resumable, _RESUME_TIP),
        ):
            button.setVisible(shown and not running)
            button.setEnabled(not running and not reason)
            button.setToolTip(reason or tip)
        self.train_button.setText("Train" if workspace.model is None else "Train from scratch")
        if run is not None:
            self.resume_button.setText(f"Resume the training stopped at epoch {run.epochs}")
        self.copy_button.setVisible(not running)
        self.pause_button.setVisible(running)
        self.pause_button.setText("Resume" if self.paused else "Pause")

    # what changes around it

    def _check_later(self, _event: Any = None) -> None:
        self._check_soon()

    def _data_changed(self, _event: Any = None) -> None:
        self._check_soon()
        if self._prepared:
            self._measure_soon()

    def _form_changed(self, name: str = "") -> None:
        self._workspace.fine_tuning.choose(self.form.network_settings())
        self._check_soon()
        if name in ("network", "preset") and self._prepared:
            self._measure_soon()

    def _model_changed(self, _event: Any = None) -> None:
        self.check()
        if self._workspace.model is not None:
            self.form.offer_model(self._workspace.model)

    def _project_changed(self, _project: Any) -> None:
        self._check_soon()
        self.read_runs()

    def _other_labels(self, _layer: Any) -> None:
        """Forget the runs of other labels; those of these labels' project are read then."""
        self._shown_run = self._resumable = None
        self._show_state()
        panel = self.comparison  # what it shows and offers is of the labels that were learned from
        panel.setVisible(bool(panel.text) and panel.labels() is self._workspace.annotation)

    def _training_changed(self, status: TrainingStatus) -> None:
        self._show_state()
        if status.state == "idle":
            self.read_runs()

    def _follow_viewer(self, _event: Any = None) -> None:
        if self.running and self._preview is not None:
            self._preview.follow()

    # problems and what fixes them

    def check(self) -> list[Problem]:
        """Check now what stands in the way of a training; returns what was found."""
        self._check_soon.cancel()
        self.problems.show_problems(check(self.form.facts()))
        self._show_state()
        return self.problems.problems

    def fix(self, problem: Problem) -> None:
        """Do what the button beside a problem promises."""
        workspace, frames, positions = self._workspace, self._workspace.frames, problem.positions
        try:
            match problem.fix:
                case Fix.OPEN_STACK:
                    workspace.page = "stack"
                case Fix.PAINT:
                    workspace.page = "annotate"
                case Fix.NEW_ANNOTATION:
                    workspace.new_annotation(frames.kind)
                    workspace.page = "annotate"
                case Fix.USE_FITTING_LABELS:
                    if (layer := fitting_labels(workspace)) is not None:
                        workspace.choose("annotation", layer)
                case Fix.ASSIGN_ROLES:
                    frames.set_roles(assign_roles(positions))
                case Fix.MARK_UNKNOWN:
                    shape = pixels(frames.layer).shape
                    planes = [(p, *z) for p in positions for z in np.ndindex(shape[1:-2])]
                    indices: list[tuple[int, ...]] = planes if len(shape) > 2 else [()]
                    self._edit(partial(_mark_unknown, frames.layer, index) for index in indices)
                case Fix.NUMBER_APART:
                    self._edit(partial(number_pieces_apart, frames, p) for p in positions)
                case Fix.OTHER_FOLDER:
                    self.form.set({"folder": None})
                case Fix.FEWER_CHANNELS:
                    self.form.set({"network.channels": 16})
        except (ValueError, OSError) as error:
            self.show_error(error)
        self.check()

    def _edit(self, edits: Iterable[Callable[[], Any]]) -> None:
        """Edit the labels, one undo step each; the window has its turn between two."""
        self._edits, self._edited = iter(list(edits)), self._workspace.frames.layer
        self._edit_timer.start(0)

    def _edit_next(self) -> None:
        try:
            same = self._edited is self._workspace.frames.layer
            if same and (edit := next(self._edits, None)) is not None:
                edit()
                return
        except ValueError as error:
            self.show_error(error)
        self._edit_timer.stop()
        self._check_soon()

    # what is known of the computer, the data and earlier runs

    def showEvent(self, event: QShowEvent) -> None:
        """Look the device up once the widget is on the screen."""
        super().showEvent(event)
        QTimer.singleShot(0, self.prepare)

    def prepare(self) -> None:
        """Find the device, measure the cells and read earlier runs; this is the first use of torch."""
        if self._prepared:
            return
        self._prepared = True
        self._tasks.submit(find_device, self._device_found, self._no_device)
        self.measure()
        self.read_runs()
        # last: what the form shows comes first
        self._tasks.submit(partial(try_load_torch, optimizer=True))

    def _device_found(self, found: tuple[str, Hardware]) -> None:
        line, hardware = found
        if not self.running:
            self.device_line.setText(f"Device: {line}")
        self.form.set_hardware(hardware)

    def _no_device(self, error: Exception) -> None:
        self.device_line.setText(f"Device: unknown ({error})")

    def measure(self) -> None:
        """Measure the painted cells; a measurement under way is followed by another."""
        if not self._prepared or self.running:
            return
        if self._measuring:
            self._measure_soon()
            return
        kind, data = self._workspace.frames.kind, sample(self._workspace)
        if data is None:
            self.form.set_estimate(None, kind)
            return
        try:
            config = self.form.plain_config()
        except ValueError:  # shown when training is requested
            return
        self._measuring = True

        def measured(estimate: EstimatedSettings | Exception | None) -> None:
            self._measuring = False
            self.form.set_estimate(None if isinstance(estimate, Exception) else estimate, kind)

        self._tasks.submit(lambda: estimate_settings(data, config), measured, measured)

    def read_runs(self) -> None:
        """Read the runs of the project; while it trains this is done already."""
        project, present = self._workspace.project, self._shown_run
        if self.running or (project is None and present is None):
            return

        def read() -> tuple[Mapping[str, Sequence[EpochEnd]], RunSummary | None]:
            if project is not None:
                return read_others(project.path / "runs", present), project.last_run
            assert present is not None
            return read_others(present.parent, present), read_run(present)

        def done(found: tuple[Mapping[str, Sequence[EpochEnd]], RunSummary | None]) -> None:
            if self._workspace.project is project and not self.running:  # else of other labels
                others, last = found
                self.plot.show_earlier(others)
                self._resumable = last if last is not None and last.resumable else None
                self._show_state()

        self._tasks.submit(read, done)


def _mark_unknown(layer: Any, index: tuple[int, ...]) -> None:
    """Mark what is not painted as unknown, in a plane that has cells."""
    plane = read_plane(layer, index)
    if plane.any():
        replace_plane(layer, index, np.where(plane == 0, UNKNOWN, plane))
