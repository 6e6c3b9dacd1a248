"""The dock widget that trains a network on the painted labels of an image."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Qt, QTimer, Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QApplication,
    QHBoxLayout,
    QLabel,
    QMenu,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_jnet.cli.recipe import train_command, train_script
from napari_jnet.config import Config
from napari_jnet.events import (
    BatchEnd,
    EpochEnd,
    NewFrames,
    Notice,
    RoundEnd,
    TrainingEnd,
    TrainingStart,
)
from napari_jnet.labels import UNKNOWN
from napari_jnet.plugin.guidance import Fix, Problem, check, new_roles
from napari_jnet.plugin.guidance import advice_advise as advise
from napari_jnet.plugin.jobs.runner import JobRunner, TaskQueue
from napari_jnet.plugin.jobs.torch_loading import load_torch
from napari_jnet.plugin.jobs.train import (
    DeviceFound,
    FrameFeed,
    LiveAnnotations,
    Past,
    PlacedPreview,
    PreviewLayer,
    PreviewSource,
    comparison,
    fitting_labels,
    labels_now,
    look_up_device,
    read_past,
    read_split,
    sample,
    short_name,
    time_left,
    training,
)
from napari_jnet.plugin.layers.add import new_annotation
from napari_jnet.plugin.layers.edit import number_pieces_apart, read_plane, replace_plane
from napari_jnet.plugin.layers.read import pixels
from napari_jnet.plugin.pages.train_form import TrainForm
from napari_jnet.plugin.ui.page import JobWidget
from napari_jnet.plugin.ui.plots import TrainingPlots
from napari_jnet.plugin.ui.theme import set_style
from napari_jnet.plugin.ui.widgets import MessageLine, WrappedLabel, small_label
from napari_jnet.plugin.workspace import Lifetime, TrainingStatus, Workspace
from napari_jnet.project.runs import RunSummary, read_run

if TYPE_CHECKING:
    import napari


_BLOCKING, _WARNING = ("✕", "@error"), ("!", "@warning")


class PreflightList(QWidget):
    """Shows problems; takes no room where there is none, or while it is folded."""

    fix_asked = Signal(object)  # a Fix
    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._problems: list[Problem] = []
        self._folded = False
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(2, 0, 2, 0)
        self._column.setSpacing(5)
        self.setVisible(False)

    @property
    def problems(self) -> list[Problem]:
        """What is shown."""
        return list(self._problems)

    @property
    def blocking(self) -> list[Problem]:
        """Those that keep a training from working."""
        return [problem for problem in self._problems if problem.blocking]

    def show_problems(self, problems: Sequence[Problem]) -> None:
        """Show these; the same ones are not drawn again."""
        if list(problems) == self._problems:
            return
        self._problems = list(problems)
        while (item := self._column.takeAt(0)) is not None:
            if (row := item.widget()) is not None:
                row.setParent(None)
                row.deleteLater()
        for problem in problems:
            self._column.addWidget(self._row(problem))
        self.fold(self._folded)

    @property
    def summary(self) -> str:
        """How much there is, in words: "1 thing to mend, 2 hints"."""
        blocking = len(self.blocking)
        counts = {"thing to mend": blocking, "hint": len(self._problems) - blocking}
        return ", ".join(_count(number, what) for what, number in counts.items() if number)

    def fold(self, folded: bool) -> None:
        """Hide the list, or show it again."""
        self._folded = folded
        self.setVisible(bool(self._problems) and not folded)
        self.changed.emit()

    def buttons(self) -> dict[str, QPushButton]:
        """Return the buttons by their titles; for scripts."""
        return {button.text(): button for button in self.findChildren(QPushButton)}

    def _row(self, problem: Problem) -> QWidget:
        mark, colour = _BLOCKING if problem.blocking else _WARNING
        sign = QLabel(mark)
        set_style(sign, f"color: {colour}; font-weight: bold;")
        sign.setToolTip("Training has to wait for this." if problem.blocking else "Good to know.")
        text = WrappedLabel(problem.text)
        text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        inner = QVBoxLayout()
        inner.setSpacing(2)
        inner.addWidget(text)
        if problem.fix is not None:
            inner.addWidget(self._button(problem.fix_title, problem.fix), 0, Qt.AlignLeft)
        row = QWidget()
        layout = QHBoxLayout(row)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(sign, 0, Qt.AlignmentFlag.AlignTop)
        layout.addLayout(inner, 1)
        return row

    def _button(self, title: str, fix: Fix) -> QPushButton:
        button = QPushButton(title)
        button.clicked.connect(lambda *_: self.fix_asked.emit(fix))
        return button


def _count(number: int, what: str) -> str:
    noun, space, rest = what.partition(" ")
    return f"{number} {noun}{'' if number == 1 else 's'}{space}{rest}"


_CHECKS_LATER_MS = 200


class TrainingChecks(QObject):
    """Checks again a moment after anything has changed.

    Parameters
    ----------
    form
        Has the training that is asked for.
    told
        Called with the list after each check.
    failed
        Called with the exception of a fix that does not work.
    """

    def __init__(
        self,
        workspace: Workspace,
        lifetime: Lifetime,
        form: TrainForm,
        told: Callable[[list[Problem]], None],
        failed: Callable[[Exception], None],
    ) -> None:
        super().__init__()
        self._workspace, self._told, self._failed = workspace, told, failed
        self._form = form
        self._edits: list[Callable[[], Any]] = []
        self.list = PreflightList()
        self.list.fix_asked.connect(self.fix)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_CHECKS_LATER_MS)
        self._timer.timeout.connect(self.now)
        self._edited: Any = None
        self._editing = QTimer(self)
        self._editing.setSingleShot(True)
        self._editing.setInterval(0)
        self._editing.timeout.connect(self._edit_next)
        lifetime.at_end(self._editing.stop)
        lifetime.at_end(self._timer.stop)
        frames = workspace.frames
        for emitter in (frames.changed, frames.kind_changed, workspace.image_changed):
            lifetime.connect(emitter, self.later)
        for emitter in (workspace.annotation_changed, workspace.project_changed):
            lifetime.connect(emitter, self.later)
        lifetime.connect(workspace.viewer.layers.events.inserted, self.later)
        lifetime.connect(workspace.viewer.layers.events.removed, self.later)
        form.changed.connect(self.later)

    def later(self, *_: Any) -> None:
        """Check soon."""
        if not self._timer.isActive():
            self._timer.start()

    def now(self) -> list[Problem]:
        """Check now; returns what was found."""
        self._timer.stop()
        found = check(self._form.facts())
        self.list.show_problems(found)
        self._told(found)
        return found

    def fix(self, fix: Fix) -> None:
        """Do what a button of the list promises."""
        actions: dict[str, Callable[[Fix], None]] = {
            "open": lambda _: setattr(self._workspace, "step", "stack"),
            "paint": lambda _: setattr(self._workspace, "step", "annotate"),
            "annotate": self._new_annotation,
            "choose fitting": self._choose_fitting,
            "roles": lambda fix: self._workspace.frames.set_roles(new_roles(fix.positions)),
            "rest unknown": self._rest_unknown,
            "number apart": self._number_apart,
            "folder": lambda _: self._form.set({"folder": None}),
            "default width": lambda _: self._form.set({"network.channels": 16}),
        }
        try:
            actions[fix.action](fix)
        except (ValueError, OSError) as error:
            self._failed(error)
        self.now()

    def _new_annotation(self, _fix: Fix) -> None:
        new_annotation(self._workspace, self._workspace.frames.kind)
        self._workspace.page = "annotate"

    def _choose_fitting(self, _fix: Fix) -> None:
        layer = fitting_labels(self._workspace)
        if layer is not None:
            self._workspace.choose("annotation", layer)

    def _number_apart(self, fix: Fix) -> None:
        """Give each piece of a cell its own number in these frames."""
        frames = self._workspace.frames
        self._edit(partial(number_pieces_apart, frames, position) for position in fix.positions)

    def _rest_unknown(self, fix: Fix) -> None:
        """Mark what is not painted as unknown, in all planes of these frames that have cells."""
        layer = self._workspace.frames.layer
        depths = pixels(layer).shape[1:-2]
        planes = [(p, *inner) for p in fix.positions for inner in np.ndindex(depths)]
        self._edit(
            partial(_mark_rest, layer, index) for index in (planes if layer.ndim > 2 else [()])
        )

    def _edit(self, edits: Iterable[Callable[[], Any]]) -> None:
        """Edit the labels, one undo step each; the window has its turn between two."""
        self._edits, self._edited = list(edits), self._workspace.frames.layer
        self._edit_next()

    def _edit_next(self) -> None:
        if not self._edits or self._edited is not self._workspace.frames.layer:
            self.later()
            return
        try:
            self._edits.pop(0)()
        except ValueError as error:
            self._edits = []
            self._failed(error)
        self._editing.start()


def _mark_rest(layer: Any, index: tuple[int, ...]) -> None:
    plane = read_plane(layer, index)
    if plane.any():
        replace_plane(layer, index, np.where(plane == 0, UNKNOWN, plane))


class HintsLine(QPushButton):
    """One line in place of the list of problems, while that is folded or scrolled out of sight.

    Parameters
    ----------
    problems
        The list.
    area
        What it lies in.
    """

    def __init__(self, problems: PreflightList, area: QScrollArea) -> None:
        super().__init__()
        self._problems, self._area = problems, area
        self.setFlat(True)
        set_style(self, "text-align: left; color: @warning; padding: 2px;")
        self.setToolTip("Show what could be mended before a training.")
        self.clicked.connect(self.show_list)
        # places are known when the layout has settled
        self._later, self._seek = QTimer(self), QTimer(self)
        for timer, act in ((self._later, self.renew), (self._seek, self._to_list)):
            timer.setSingleShot(True)
            timer.setInterval(0)
            timer.timeout.connect(act)
        bar = area.verticalScrollBar()
        assert bar is not None
        for emitter in (problems.changed, bar.valueChanged, bar.rangeChanged):
            emitter.connect(self._soon)
        self.renew()

    def _soon(self, *_: int) -> None:
        self._later.start()

    def renew(self) -> None:
        """Show the line where the list cannot be read."""
        problems = self._problems
        hidden = problems.isHidden()
        if not hidden and problems.isVisible():
            seen = problems.visibleRegion().boundingRect().height()
            hidden = seen < problems.height()
        self.setText(f"{problems.summary} ›")
        self.setVisible(bool(problems.problems) and hidden)

    def show_list(self) -> None:
        """Unfold the list, and scroll to it."""
        self._problems.fold(False)
        self._seek.start()

    def _to_list(self) -> None:
        self._area.ensureWidgetVisible(self._problems)


class TrainFooter(QWidget):
    """Stays in sight however small the window is.

    Parameters
    ----------
    parts
        From the highest to the lowest.
    """

    def __init__(self, *parts: QWidget) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 2, 6, 4)
        column.setSpacing(4)
        for part in parts:
            column.addWidget(part)


class RunPlaces:
    """Has the keeper make the project where there is none yet.

    Parameters
    ----------
    workspace
        Of the viewer.
    form
        Says which folder somebody wants.
    failed
        Called with the error when the project cannot be made, or other labels were chosen meanwhile.
    """

    def __init__(
        self,
        workspace: Workspace,
        lifetime: Lifetime,
        form: TrainForm,
        failed: Callable[[Exception], None],
    ) -> None:
        self._workspace, self._form, self._failed = workspace, form, failed
        self._found: Callable[[Path], None] | None = None
        self._labels: Any = None  # that the project is made for
        lifetime.at_end(self.forget)

    @property
    def waiting(self) -> bool:
        """Whether the project is being made."""
        return self._found is not None

    def find(self, found: Callable[[Path], None]) -> None:
        """Call with the folder of the next run, at once or when the project is there.

        Raises
        ------
        ValueError
            If there is no annotation to keep in a project.
        """
        workspace = self._workspace
        if (folder := self._form.value("folder")) is not None:
            found(folder)
        else:
            self._found, self._labels = found, workspace.annotation
            try:
                workspace.autosave.ensure_project(self._made, self._refused)
            except (ValueError, OSError):
                self.forget()
                raise

    def forget(self) -> None:
        """Wait for nothing any more."""
        self._found = None

    def _made(self, project: Any) -> None:
        found, self._found = self._found, None
        labels, self._labels = self._labels, None
        if found is None:
            return
        if labels is not self._workspace.annotation:
            self._failed(
                ValueError(
                    f"Other labels than {labels.name!r} were chosen while their project was made; press "
                    "Train again for those that are chosen now."
                )
            )
            return
        try:
            run = project.reserve_run()
        except OSError as error:
            self._failed(error)
        else:
            found(run)

    def _refused(self, error: Exception) -> None:
        if self.waiting:
            self.forget()
            self._failed(error)


_ROLES = {True: "@success", False: "@warning", None: "@muted"}


class ComparisonPanel(QWidget):
    """Says how the models compare; its button takes the other one."""

    chosen = Signal(object)  # the path of the model that shall be used

    def __init__(self) -> None:
        super().__init__()
        self._words, self._old, self._new, self._kept = "", Path(), Path(), Path()
        self._text = WrappedLabel()
        self.button = QPushButton()
        self.button.setToolTip("Predict, and the next fine-tuning, use the model that is kept.")
        self.button.clicked.connect(self._swap)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 6, 8, 6)
        column.addWidget(self._text)
        column.addWidget(self.button)
        self.setObjectName("round")
        self.clear()

    @property
    def text(self) -> str:
        """What is said."""
        return self._text.text()

    @property
    def kept(self) -> Path:
        """The model that is used."""
        return self._kept

    def clear(self) -> None:
        """Say nothing."""
        self._text.clear()
        self.setVisible(False)

    def tell(self, words: str) -> None:
        """Say why there is nothing to choose from."""
        self._show(words, None)
        self.button.setVisible(False)

    def offer(self, end: RoundEnd, old: Path, new: Path) -> None:
        """Say how the models compare, which one is used, and offer the other."""
        self._words, self._old, self._new, self._kept = end.words, old, new, end.kept
        self._better = end.better
        self._refresh()

    def _refresh(self) -> None:
        new = self._kept == self._new
        used = "The new model is used." if new else "The old model is kept."
        self._show(f"{self._words} {used}", self._better)
        self.button.setText("Keep the old one" if new else "Use the new one")
        self.button.setVisible(True)

    def _show(self, words: str, better: bool | None) -> None:
        self._text.setText(words)
        set_style(self._text, f"color: {_ROLES[better]};")
        self.setVisible(True)

    def _swap(self) -> None:
        self._kept = self._old if self._kept == self._new else self._new
        self._refresh()
        self.chosen.emit(self._kept)


class ModelComparison:
    """Compares through the relay of the training; the choice is the session's and the project's.

    The model belongs to the labels, and to their project, that the training began with, whichever are
    current when it ends.

    Parameters
    ----------
    workspace
        Its model is the one before the round.
    relay
        Free when a round ends.
    """

    def __init__(self, workspace: Workspace, relay: JobRunner) -> None:
        self._workspace, self._relay = workspace, relay
        self._old: Path | None = None
        self._new = Path()
        self._shown: Path | None = None
        self._of_labels: Path | None = None
        self._annotation: Callable[[], Any] = lambda: None
        self._project: Any = None
        self.panel = ComparisonPanel()
        self.panel.chosen.connect(self.use)

    def begin(self, new: Path) -> None:
        """Remember which model a round begins with."""
        workspace = self._workspace
        old = self._shown = workspace.model
        self._of_labels = workspace.own_model
        self._annotation = weakref.ref(workspace.annotation)
        self._project = workspace.project
        self._new = new
        self._old = old if old is not None and old not in (new, new / "model.pt") else None
        self.panel.clear()

    @property
    def labels(self) -> Callable[[], Any]:
        """A weak reference to the labels that the training began with."""
        return self._annotation

    def use(self, model: Path) -> None:
        """Make a model that of the labels it has learned from, and have their project remember it."""
        workspace, annotation = self._workspace, self._annotation()
        project = self._project
        if project is None and annotation is workspace.annotation:
            project = workspace.project  # made while it trained
        workspace.set_model(model, annotation, project)

    def end(self, feed: FrameFeed, device: str, *, compare: bool, then: Callable[[], None]) -> None:
        """End the round: ``then`` is called when the better model is chosen.

        Parameters
        ----------
        feed
            What was learned from; its validation frames decide.
        device
            Where to compute.
        compare
            False keeps the old model, where there is one: nobody waits, and the new one can go on.
        """
        new, old = self._new, self._old
        if not (new / "model.pt").is_file():
            then()
            return
        if self._keep_chosen():
            then()
            return
        if old is None or not old.exists():
            self.use(new)
            self.panel.tell("The first model: there is none before it to compare it with.")
            then()
            return
        if not compare:
            if self._of_labels is None:  # the one before is of other labels
                self.use(new)
            then()
            return
        if not read_split(new)[1]:
            self._cannot("there is no validation frame. Give one annotated frame that role.", then)
            return

        def compared(end: RoundEnd) -> None:
            if not self._keep_chosen():
                self.use(end.kept)
                self.panel.offer(end, old, new)
            then()

        self._relay.start(
            comparison(feed, old, new, device),
            on_done=compared,
            on_error=lambda error: self._cannot(f"{error}", then),
            on_stopped=lambda: self._cannot("the comparison was stopped.", then),
            title="comparing two models",
        )

    def _keep_chosen(self) -> bool:
        """Keep a model that somebody chose by hand for these labels meanwhile; offer the new one."""
        workspace, chosen = self._workspace, self._workspace.model
        present = self._annotation() is workspace.annotation
        if not present or not workspace.model_by_hand or chosen is None or chosen == self._shown:
            return False
        words = f"You chose {chosen.name} for these labels while this was trained."
        self.panel.offer(RoundEnd(chosen, None, words, ()), chosen, self._new)
        return True

    def _cannot(self, why: Any, then: Callable[[], None]) -> None:
        """Use the new model; the old one is still one click away."""
        if not self._keep_chosen():
            self.use(self._new)
            words = f"The new model and the one before cannot be compared: {why}"
            if self._old is not None:
                self.panel.offer(RoundEnd(self._new, None, words, ()), self._old, self._new)
        then()


_LATER_MS = 1500  # after a stroke: others follow


class Advisor(QObject):
    """Keeps the words on the data and the earlier curves as they are now.

    Parameters
    ----------
    device_found
        Called with `DeviceFound`, or with the exception.
    past_found
        Called with the `Past` of the project.
    busy
        Says whether a training runs: then nothing is measured.

    Attributes
    ----------
    present
        The run that the plots show.
    """

    def __init__(
        self,
        workspace: Workspace,
        lifetime: Lifetime,
        form: TrainForm,
        *,
        device_found: Callable[[DeviceFound | Exception], None],
        past_found: Callable[[Past], None],
        busy: Callable[[], bool],
    ) -> None:
        super().__init__()
        self._workspace, self._form = workspace, form
        self._device_found, self._past_found, self._busy = device_found, past_found, busy
        self.present: Path | None = None
        self._asked = self._pending = False
        self.background = TaskQueue("napari-jnet training form")
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_LATER_MS)
        self._timer.timeout.connect(self.measure)
        lifetime.at_end(self.background.close)
        lifetime.at_end(self._timer.stop)
        lifetime.connect(workspace.frames.changed, self._later)
        lifetime.connect(workspace.frames.kind_changed, self._later)
        lifetime.connect(workspace.image_changed, self._later)
        lifetime.connect(workspace.project_changed, self.read_runs)
        form.changed.connect(self._follow)

    def ask(self) -> None:
        """Look the device up and measure the cells; this is the first use of torch."""
        if self._asked:
            return
        self._asked = True
        self.background.submit(look_up_device, self._device_found, self._device_found)
        self.measure()
        self.read_runs()
        # last: what the form shows comes first
        self.background.submit(_make_ready)

    def _follow(self, name: str) -> None:
        if name in ("network", "preset"):
            self._later()

    def _later(self, *_: Any) -> None:
        if self._asked and not self._timer.isActive():
            self._timer.start()

    def measure(self) -> None:
        """Measure the painted cells; a measurement under way is followed by another."""
        if not self._asked or self._busy():
            return
        if self._pending:
            self._timer.start()
            return
        kind = self._workspace.frames.kind
        data = sample(self._workspace)
        if data is None:
            self._form.set_advice(None, kind)
            return
        try:
            config = self._form.plain_config()
        except ValueError:  # the form says so when training is asked for
            return
        self._pending = True

        def told(advice: Any) -> None:
            self._pending = False
            self._form.set_advice(None if isinstance(advice, Exception) else advice, kind)

        self.background.submit(lambda: advise(data, config), told, told)

    def read_runs(self, _project: Any = None) -> None:
        """Read the runs of the project; while it trains this is done already."""
        project, present = self._workspace.project, self.present
        if self._busy() or (project is None and present is None):
            return

        def read() -> Past:
            if project is not None:
                return Past(None, read_past(project.path / "runs", present), project.last_run)
            assert present is not None
            return Past(None, read_past(present.parent, present), read_run(present))

        def told(past: Past) -> None:
            if self._workspace.project is project:  # else it is of other labels
                self._past_found(past)

        self.background.submit(read, told)


def _make_ready() -> None:
    """Load what the first training needs; where that fails, the training says why."""
    with suppress(ImportError, OSError):
        load_torch(optimizer=True)


class TrainingMonitor(QWidget):
    """Takes the events of a training.

    Parameters
    ----------
    progress, message
        Of the widget; notices and the end are said in the message line.
    """

    def __init__(self, progress: QProgressBar, message: MessageLine) -> None:
        super().__init__()
        self._progress, self._message = progress, message
        self._notices: dict[str, str] = {}
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
        self._handlers: dict[type, Callable[[Any], None]] = {
            BatchEnd: self._batch_end,
            EpochEnd: self._epoch_end,
            TrainingStart: self._start,
            TrainingEnd: self._end,
            NewFrames: self._new_frames,
            Notice: lambda event: self.say(event.text, event.text),
            Past: self._past,
        }

    def begin(self) -> None:
        """Forget the last training."""
        self._notices, self._frames, self.epoch, self.part = {}, "", 0, 0.0
        self._added = []
        self.score_line.clear()
        self.plot.clear()

    def take(self, event: Any) -> None:
        """Show an event."""
        self._handlers[type(event)](event)

    def say(self, topic: str, text: str) -> None:
        """Say something beside what was said; on the same topic, instead of it."""
        self._notices.pop(topic, None)
        self._notices[topic] = text
        self._message.say("\n".join(self._notices.values()))

    def stopped(self, run: Path, project: Any | None) -> None:
        """Say where a stopped training has left its model."""
        inside = project is not None and run.is_relative_to(project.path)
        where = f"as run {run.name}" if inside else f"in {run}"
        self.say("end", f"Stopped. The model so far is kept {where}; it can go on later.")

    def _past(self, past: Past) -> None:
        if past.own is not None:
            self.plot.go_on_from(past.own)
        self.plot.show_earlier(past.earlier)

    def _start(self, event: TrainingStart) -> None:
        self.device = event.device
        self._validated = bool(event.validation_frames)
        self.epoch = event.start_epoch
        self._batches = event.batches_per_epoch
        self._frames = _counted(event.training_frames, event.validation_frames)
        self.score_line.setText(f"{self._frames}; distance bound {event.dt_bound:g} px")

    def _batch_end(self, event: BatchEnd) -> None:
        self.part = event.progress
        self._progress.setValue(round(1000 * event.progress))
        left = time_left(event.remaining_s)
        self._progress.setFormat(f"epoch {event.epoch} · %p % · {left} left")
        self.plot.add_batch(
            event.epoch - 1 + event.batch / self._batches, event.elapsed_s, event.loss
        )

    def _epoch_end(self, event: EpochEnd) -> None:
        self.epoch = event.epoch
        self.plot.add_epoch(event)
        scores = {"IoU": event.iou, "SEG": event.seg}
        said = [f"{name} {score:.3f}" for name, score in scores.items() if score is not None]
        if event.validation_loss is not None and not said:
            said = ["IoU -"]  # none that could be wrong
        best = " · best so far" if event.best else ""
        none = "no validation frame" if not self._validated else "not scored"
        of = "on validation" if event.validation_loss is not None else none
        speed = f"{event.images_per_s:.1f} patches/s"
        memory = "" if event.memory_mb is None else f" · {_memory(event.memory_mb)}"
        self.score_line.setText(
            f"epoch {event.epoch}: {' · '.join([*said, of])}{best}\n"
            f"{speed}{memory} · {self._frames}"
        )

    def _new_frames(self, event: NewFrames) -> None:
        self._validated = bool(event.validation_frames)
        self._frames = _counted(event.training_frames, event.validation_frames)
        count = len(event.training_frames)
        self._added += [short_name(name) for name in event.added]
        present = {short_name(n) for n in (*event.training_frames, *event.validation_frames)}
        added = [name for name in dict.fromkeys(self._added) if name in present]
        new = f"{' and '.join(added)} {'is' if len(added) == 1 else 'are'} new"
        self.say(
            "frames",
            f"Learning from {count} frame{'s' if count != 1 else ''} now "
            f"({new if added else 'with what was painted meanwhile'}).",
        )

    def _end(self, event: TrainingEnd) -> None:
        self.say(
            "end",
            f"Trained {event.epochs} {'epoch' if event.epochs == 1 else 'epochs'} in "
            f"{time_left(event.elapsed_s)}; the best is epoch {event.best_epoch}. Next: open "
            "Predict.",
        )


def _counted(training: tuple[str, ...], validation: tuple[str, ...]) -> str:
    many = "s" if len(training) != 1 else ""
    return f"{len(training)} frame{many} to learn from, {len(validation)} kept for validation"


def _memory(megabytes: float) -> str:
    return f"{megabytes:.0f} MB" if megabytes < 1000 else f"{megabytes / 1024:.1f} GB"


_FINE_TUNE_TIP = (
    "Go on from the model that Predict shows with all that is painted now, old and new: fewer minutes "
    "do than for training anew. The better of both models is kept."
)


_TRAIN_TIP = "Train in the background; painting and browsing go on."


class TrainButtons(QWidget):
    """Shows the buttons that can be pressed now."""

    copied = Signal(str)
    failed = Signal(object)  # the exception of a copy

    def __init__(
        self, stop: QPushButton, command: Callable[[], str], script: Callable[[], str]
    ) -> None:
        super().__init__()
        self._blocking: list[Problem] = []
        self._running = False
        self.elsewhere = False
        self._model: Path | None = None
        self._why_not = ""
        self.resumable: Path | None = None
        self.train = QPushButton("Train")
        self.fine_tune = QPushButton("Fine-tune")
        self.go_on = QPushButton()
        self.go_on.setToolTip("Go on where it was stopped, with all that is painted now.")
        self.pause = QPushButton("Pause")
        self.pause.setToolTip(
            "Rest and free the processor. Closing napari meanwhile loses no more than the epoch "
            "under way."
        )
        self.copy = self._copy_button({"Command": command, "Python": script})
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        for widgets in ((self.train, self.fine_tune, self.pause, stop, self.copy), (self.go_on,)):
            row = QHBoxLayout()
            for widget in widgets:
                row.addWidget(widget, 0 if widget is self.copy else 1)
            column.addLayout(row)
        self._refresh()

    def _copy_button(self, texts: dict[str, Callable[[], str]]) -> QToolButton:
        button = QToolButton()
        button.setText("Copy as ")
        button.setStyleSheet("QToolButton { padding-right: 12px; }")  # room for the arrow
        button.setToolTip("What Train would do, as a line for a terminal or as a Python script.")
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(button)
        for title, make in texts.items():
            menu.addAction(title, lambda title=title, make=make: self._copy(title, make))
        button.setMenu(menu)
        return button

    def _copy(self, title: str, make: Callable[[], str]) -> None:
        try:
            text = make()
        except (ValueError, OSError) as error:
            self.failed.emit(error)
            return
        QApplication.clipboard().setText(text)
        self.copied.emit(title)

    def set_model(self, model: Path | None, why_not: str) -> None:
        """Offer to fine-tune where there is a model, and nothing says why that cannot work."""
        self._model, self._why_not = model, why_not
        self._refresh()

    def set_blocking(self, problems: list[Problem]) -> None:
        """Keep from training while something stands in the way."""
        self._blocking = problems
        self._refresh()

    def set_running(self, running: bool) -> None:
        """Show what can be pressed while it trains, or while it does not."""
        self._running = running
        self.show_paused(False)
        self.pause.setEnabled(running)
        self._refresh()

    def set_elsewhere(self, elsewhere: bool) -> None:
        """Let nothing begin while another widget of the viewer trains."""
        self.elsewhere = elsewhere
        self._refresh()

    def show_paused(self, paused: bool) -> None:
        """Name the button after what it does now."""
        self.pause.setText("Go on" if paused else "Pause")

    def offer(self, run: RunSummary | None) -> None:
        """Offer to go on with a run that was stopped; None, or a run that came to its end: nothing."""
        self.resumable = run.path if run is not None and run.resumable else None
        if run is not None:
            self.go_on.setText(f"Go on with the training stopped at epoch {run.epochs}")
        self._refresh()

    def _refresh(self) -> None:
        free = not self._running
        ready = free and not self._blocking and not self.elsewhere
        self.train.setText("Train" if self._model is None else "Train anew")
        reason = self._blocking[0].text if self._blocking else ""
        if self.elsewhere:
            reason = "A training runs in another Train window; stop it there first."
        self.train.setToolTip(reason or _TRAIN_TIP)
        self.train.setEnabled(ready)
        self.fine_tune.setEnabled(ready)
        self.go_on.setEnabled(ready)
        self.train.setVisible(free)
        self.copy.setVisible(free)
        self.fine_tune.setToolTip(reason or _FINE_TUNE_TIP)
        self.fine_tune.setVisible(free and self._model is not None and not self._why_not)
        self.go_on.setVisible(free and self.resumable is not None and not self.elsewhere)
        self.pause.setVisible(not free)


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
        self._source: PreviewSource | None = None
        self._preview: PreviewLayer | None = None
        self._feed: FrameFeed | None = None
        self._run: Path | None = None
        self._stop_asked = False
        groups = self._group("Learn from"), self._group("Train")
        self._setup = [form.parentWidget() for form in groups]
        self.form = TrainForm(*groups, workspace, lifetime)
        self.image_combo, self.labels_combo = self.form.image_combo, self.form.labels_combo
        self.monitor = TrainingMonitor(self.progress, self.message)
        self.plot, self.score_line = self.monitor.plot, self.monitor.score_line
        self.checks = TrainingChecks(workspace, lifetime, self.form, self._checked, self.show_error)
        self.rounds = ModelComparison(workspace, self._relay)
        self._meanwhile = LiveAnnotations(workspace.frames, lifetime)
        self._places = RunPlaces(workspace, lifetime, self.form, self._refuse)
        self._lower_part()
        self.advisor = Advisor(
            workspace,
            lifetime,
            self.form,
            device_found=self._device_found,
            past_found=self._past_found,
            busy=lambda: self.running,
        )
        lifetime.connect(self._viewer.dims.events.current_step, self._follow_viewer)
        lifetime.connect(workspace.fine_tuning.changed, self._model_changed)
        lifetime.connect(workspace.annotation_changed, self._other_labels)
        self.form.changed.connect(self._ask)
        lifetime.at_end(lambda: workspace.fine_tuning.ask({}))
        lifetime.connect(workspace.training_changed, self._training_changed)
        lifetime.at_end(_forget(workspace, self._relay))
        lifetime.at_end(workspace.commands.attach({"train": self.press}))
        self._model_changed()

    def _lower_part(self) -> None:
        self.device_line = small_label("Device: looking…")
        self.buttons = TrainButtons(self.stop_button, self.command, self.script)
        self.train_button = self.buttons.train
        self.buttons.train.clicked.connect(lambda: self.start())
        self.buttons.fine_tune.clicked.connect(lambda: self.start(fine_tune=True))
        self.buttons.go_on.clicked.connect(self.go_on)
        self.buttons.pause.clicked.connect(self.toggle_pause)
        self.buttons.copied.connect(lambda what: self.message.say(f"{what} copied."))
        self.buttons.failed.connect(self.show_error)
        self.column.insertWidget(0, self.rounds.panel)  # news: seen without scrolling
        for part in (self.checks.list, self.device_line, self.monitor):
            self.column.addWidget(part)
        self.column.addStretch(1)
        self.hints_line = HintsLine(self.checks.list, self._area)
        outer = self.layout()
        assert outer is not None
        outer.addWidget(TrainFooter(self.hints_line, self.buttons, self.progress, self.message))
        self._set_running(False)

    # what scripts use

    @property
    def running(self) -> bool:
        """Whether a training is under way, or its project is being made."""
        return self._relay.running or self._places.waiting

    @property
    def paused(self) -> bool:
        """Whether a training rests."""
        return self._relay.paused

    def set_image(self, layer: Any) -> None:
        """Choose the image layer."""
        self.image_combo.set_layer(layer)

    def set_labels(self, layer: Any) -> None:
        """Choose the labels layer."""
        self.labels_combo.set_layer(layer)

    def set_values(self, **values: Any) -> None:
        """Fill in the form; see `TrainForm.set_values`."""
        self.form.set_values(**values)
        self._ask()
        self.checks.now()

    def start(self, *, fine_tune: bool = False) -> None:
        """Start training, as the buttons do; problems are said in the widget.

        Parameters
        ----------
        fine_tune
            Whether to go on from the model of the session, with all that is painted now.
        """
        if self.running:
            return
        try:
            start_from = self.form.start_from(fine_tune=fine_tune)
            blocking = [problem for problem in self.checks.now() if problem.blocking]
            if blocking:
                raise ValueError(blocking[0].text)
            self._refuse_second()
            resume = self.form.resume and not fine_tune
            config = self.form.training_config(fine_tune=start_from is not None, resume=resume)
            self._places.find(
                lambda run: self._begin(run, config, resume=resume, start_from=start_from)
            )
        except (ValueError, OSError) as error:
            self._refuse(error)

    def go_on(self, *_: Any) -> None:
        """Go on with the last training that was stopped, for the time it had left."""
        run = self.buttons.resumable
        if self.running or run is None:
            return
        try:
            computer = self.form.computer()
        except ValueError as error:
            self._refuse(error)
            return
        self._begin(run, computer, resume=True, start_from=None)

    def _refuse_second(self) -> None:
        if self._trains_elsewhere:
            raise ValueError("A training runs in another Train window; stop it there first.")

    @property
    def _trains_elsewhere(self) -> bool:
        return self._workspace.training.state != "idle" and not self.running

    def press(self) -> None:
        """Do what comes next, for the key: fine-tune where that can work, else train."""
        self.start(fine_tune=self._workspace.fine_tuning.possible)

    def toggle_pause(self, *_: Any) -> None:
        """Let the training rest, or go on."""
        if not self._relay.running or self._relay.stopping:
            return
        paused = not self._relay.paused
        self._relay.set_paused(paused)
        self.buttons.show_paused(paused)
        self.progress.setFormat("paused · %p %" if paused else "going on…")
        self._tell("paused" if paused else "running")

    def stop(self) -> None:
        """Ask the training to stop; `finished` follows."""
        if self._relay.running:
            self._stop_asked = True
            self.buttons.pause.setEnabled(False)
            self._tell("stopping")
        super().stop()

    def command(self, *, fine_tune: bool = False) -> str:
        """Return the line for a terminal that does what Train would do; see `script`."""
        return train_command(self.form.recipe(fine_tune=fine_tune))

    def script(self, *, fine_tune: bool = False) -> str:
        """Return a Python script that does what Train would do.

        Raises
        ------
        ValueError
            If there is no project that the labels are saved in, or no model to fine-tune.
        """
        return train_script(self.form.recipe(fine_tune=fine_tune))

    # what a training is made of

    def _begin(self, run: Path, config: Config, *, resume: bool, start_from: Path | None) -> None:
        image = self._workspace.image
        try:
            self._refuse_second()
            self._feed = feed = FrameFeed(labels_now(self._workspace))
        except (ValueError, OSError) as error:
            self._refuse(error)
            return
        self._run, self._stop_asked = run, False
        self._device = config.training.device
        self._preview = PreviewLayer(self._viewer, image, self._preview)
        self._source = PreviewSource(image, ())
        self._preview.follow(self._source)
        self.monitor.begin()
        self.rounds.begin(run)
        self._meanwhile.begin(feed)
        job = training(feed, run, config, resume, start_from, self._source)
        self._start(job, f"training on {image.name}")
        self._tell("running")

    def _refuse(self, error: Exception) -> None:
        self._set_running(False)
        self.show_error(error)
        self.finished.emit("failed")

    # what changes around the form

    def _checked(self, problems: list[Problem]) -> None:
        self.buttons.set_blocking([problem for problem in problems if problem.blocking])
        self.buttons.set_model(self._workspace.model, self._workspace.fine_tuning.why_not)

    def _model_changed(self, _path: Any = None) -> None:
        self.checks.now()  # tells the buttons too
        if self._workspace.model is not None:
            self.form.offer_model(self._workspace.model)

    def _ask(self, _name: str = "") -> None:
        self._workspace.fine_tuning.ask(self.form.asked())

    def _other_labels(self, _layer: Any) -> None:
        """Let go of the runs of other labels; those of these labels' project are read then."""
        self.advisor.present = None
        self.buttons.offer(None)
        panel = self.rounds.panel  # what it says and offers is of the labels that were learned from
        panel.setVisible(bool(panel.text) and self.rounds.labels() is self._workspace.annotation)

    def _training_changed(self, status: TrainingStatus) -> None:
        """Offer nothing while another widget trains, and what there is then."""
        elsewhere = self._trains_elsewhere
        if elsewhere != self.buttons.elsewhere:
            self.buttons.set_elsewhere(elsewhere)
            if not elsewhere and status.state == "idle":
                self.advisor.read_runs()

    def _follow_viewer(self, _event: Any = None) -> None:
        if self.running and self._preview is not None and self._source is not None:
            self._preview.follow(self._source)

    def showEvent(self, event: QShowEvent) -> None:
        """Look the device up once the widget is on the screen: this is the first use of torch."""
        super().showEvent(event)
        QTimer.singleShot(0, self.advisor.ask)

    def _device_found(self, found: DeviceFound | Exception) -> None:
        if isinstance(found, Exception):
            self.device_line.setText(f"Device: unknown ({found})")
            return
        if not self.running:
            self.device_line.setText(f"Device: {found.line}")
        self.form.set_hardware(found.hardware)

    def _past_found(self, past: Past) -> None:
        if not self.running:
            self.plot.show_earlier(past.earlier)
            self.buttons.offer(past.last)

    # what the training tells

    def _tell(self, state: str, outcome: str = "") -> None:
        self._workspace.training = TrainingStatus(
            state,
            self._run,
            self.monitor.epoch,
            self.monitor.part,
            outcome,
            self.rounds.labels,
        )

    def _on_event(self, event: Any) -> None:
        if isinstance(event, PlacedPreview):
            if self._preview is not None:
                self._preview.show(event)
            return
        self.monitor.take(event)
        if self._relay.paused:  # the last events before the rest
            self.progress.setFormat("paused · %p %")
        if self.monitor.device:
            self.device_line.setText(f"Device: {self.monitor.device}")
        if isinstance(event, EpochEnd):
            self._tell(self._workspace.training.state)

    def _set_running(self, running: bool) -> None:
        super()._set_running(running)
        if hasattr(self, "buttons"):  # the base class begins with this
            self.buttons.set_running(running)
            for group in self._setup:  # the curves need the room, and nothing there acts now
                group.setVisible(not running)
            self.checks.list.fold(running)
            bar = self._area.verticalScrollBar()
            assert bar is not None
            bar.setValue(0)

    def _end(self, outcome: str) -> None:
        self._source = None
        self._meanwhile.end()
        if outcome == "stopped" and self._run is not None:
            self.monitor.stopped(self._run, self._workspace.project)
        if outcome == "failed" or self._feed is None:
            self._ended(outcome)
            return
        seen = not self.left and (outcome == "done" or self._stop_asked)
        self.buttons.pause.setEnabled(False)
        self.stop_button.setEnabled(True)
        self.stop_button.setText("Skip")
        self.progress.setFormat("comparing with the model before…")
        self.rounds.end(self._feed, self._device, compare=seen, then=lambda: self._ended(outcome))

    def _ended(self, outcome: str) -> None:
        self._feed = None
        self._tell("idle", outcome)
        self.checks.now()
        if self.rounds.labels() is self._workspace.annotation:
            self.advisor.present = self._run
        self.advisor.read_runs()
        super()._end(outcome)
        if outcome != "failed" and self.rounds.panel.isHidden():  # else that is the news
            self.bring_into_sight(self.plot)


def _forget(workspace: Workspace, relay: JobRunner) -> Callable[[], None]:
    """Return what says, when the widget is gone with its training, that nothing is trained."""

    def forget() -> None:
        if relay.running:
            workspace.training = TrainingStatus(run=workspace.training.run, outcome="stopped")

    return forget
